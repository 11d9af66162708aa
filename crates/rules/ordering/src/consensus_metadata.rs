use ripstop_channel_config::{
    ChannelConfig, ConsensusMetadataError, ConsensusType, OrdererConfig, RaftConsenter, RaftMetadata,
};
use ripstop_crypto::Certificate;

/// Why the consensus part of a new configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsensusRefusal {
    /// Byzantine consensus needs to know each organization's orderers.
    #[error("illegal orderer config detected during consensus metadata validation: endpoints of org {0} are missing")]
    NoEndpoints(String),
    /// A consensus that does not exist.
    #[error("illegal consensus type detected during consensus metadata validation: {0}")]
    IllegalType(String),
    /// Options or consenters that cannot be.
    #[error("invalid new config metadata: {0}")]
    Metadata(#[from] ConsensusMetadataError),
    /// A consenter's certificate that no TLS authority of the ordering organizations issued, or that has expired.
    #[error(
        "invalid new config metadata: consenter {address} has invalid certificate: verifying tls {kind} cert with serial number {serial}: {reason}"
    )]
    Certificate {
        /// The consenter.
        address: String,
        /// `client` or `server`.
        kind: &'static str,
        /// The certificate's number.
        serial: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What the running consensus has against the change of consenters.
    #[error("{0}")]
    Consenters(String),
}

/// Checks the consensus metadata of a new configuration (Fabric: `etcdraft` `ValidateConsensusMetadata`). The certificates
/// of consenters that were there before may have expired.
pub(crate) fn check(current: &ChannelConfig, next: &ChannelConfig, now: i64) -> Result<(), ConsensusRefusal> {
    let Some(orderer) = next.orderer() else { return Ok(()) };
    match &orderer.consensus_type {
        ConsensusType::EtcdRaft => {}
        ConsensusType::Bft => return check_endpoints(orderer),
        ConsensusType::Other(name) => return Err(ConsensusRefusal::IllegalType(name.clone())),
    }
    let metadata = orderer.raft()?;
    let before: Option<RaftMetadata> = current.orderer().and_then(|orderer| orderer.raft().ok());
    let authorities = tls_authorities(orderer);
    for consenter in &metadata.consenters {
        let known = before.iter().flat_map(|metadata| &metadata.consenters);
        let is_new = !known.into_iter().any(|old| old.client_tls_cert == consenter.client_tls_cert);
        check_certificates(consenter, &authorities, is_new.then_some(now))?;
    }
    Ok(())
}

fn check_endpoints(orderer: &OrdererConfig) -> Result<(), ConsensusRefusal> {
    let without = orderer.organizations.iter().find(|(_, organization)| organization.endpoints.is_empty());
    without.map_or(Ok(()), |(name, _)| Err(ConsensusRefusal::NoEndpoints(name.clone())))
}

/// The TLS authorities of all ordering organizations, intermediate ones included.
fn tls_authorities(orderer: &OrdererConfig) -> Vec<Certificate> {
    let roots = orderer.organizations.values().flat_map(|organization| organization.tls_roots.iter());
    roots.filter_map(|root| Certificate::from_pem(root).or_else(|_| Certificate::from_der(root)).ok()).collect()
}

fn check_certificates(
    consenter: &RaftConsenter,
    authorities: &[Certificate],
    now: Option<i64>,
) -> Result<(), ConsensusRefusal> {
    for (kind, pem) in [("client", &consenter.client_tls_cert), ("server", &consenter.server_tls_cert)] {
        // Unreadable ones were refused when the metadata was read.
        let Ok(certificate) = Certificate::from_pem(pem) else { continue };
        let refuse = |reason| ConsensusRefusal::Certificate {
            address: consenter.address(),
            kind,
            serial: certificate.serial_decimal().to_owned(),
            reason,
        };
        if !authorities.iter().any(|authority| certificate.is_issued_by(authority)) {
            return Err(refuse("certificate signed by unknown authority"));
        }
        if now.is_some_and(|now| now >= certificate.not_after() || now < certificate.not_before()) {
            return Err(refuse("certificate has expired or is not yet valid"));
        }
    }
    Ok(())
}
