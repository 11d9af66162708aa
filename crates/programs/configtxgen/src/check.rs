//! What a profile's ordering must say before a channel is made of it.

use ripstop_types::GoDuration;

use crate::{BftConsenter, Consensus, EtcdRaft, Orderer, Profile, ProfileError, RaftConsenter};

impl Profile {
    /// Checks what Fabric checks when it loads a profile. Profiles that nobody uses may be incomplete.
    pub fn check(&self) -> Result<(), ProfileError> {
        self.orderer.as_ref().map_or(Ok(()), Orderer::check).map_err(ProfileError::Ordering)
    }
}

impl Orderer {
    fn check(&self) -> Result<(), String> {
        let name = self.consensus.name();
        match &self.consensus {
            Consensus::Solo => Ok(()),
            Consensus::EtcdRaft(None) => Err(format!("{name} configuration missing")),
            Consensus::EtcdRaft(Some(raft)) => check_raft(raft),
            Consensus::Bft { consenters, .. } if consenters.is_empty() => {
                Err(format!("{name} configuration did not specify any consenter"))
            }
            Consensus::Bft { consenters, .. } => {
                consenters.iter().try_for_each(|consenter| complete(name, &needed_of_bft(consenter)))
            }
            Consensus::Other(name) => Err(format!("unknown orderer type: {name}")),
        }
    }
}

fn check_raft(raft: &EtcdRaft) -> Result<(), String> {
    if raft.consenters.is_empty() {
        return Err("etcdraft configuration did not specify any consenter".into());
    }
    let options = &raft.options;
    if GoDuration::parse(&options.tick_interval).is_err() {
        return Err(format!("Etcdraft TickInterval ({}) must be in time duration format", options.tick_interval));
    }
    if options.election_tick <= options.heartbeat_tick {
        return Err("election tick must be greater than heartbeat tick".into());
    }
    raft.consenters.iter().try_for_each(|consenter| complete("etcdraft", &needed_of_raft(consenter)))
}

/// What a consenter must say, in Fabric's words, and whether it does.
type Needed<const N: usize> = [(&'static str, bool); N];

fn needed_of_raft(consenter: &RaftConsenter) -> Needed<4> {
    [
        ("host", !consenter.host.is_empty()),
        ("port", consenter.port != 0),
        ("client TLS cert", !consenter.client_tls_cert.as_os_str().is_empty()),
        ("server TLS cert", !consenter.server_tls_cert.as_os_str().is_empty()),
    ]
}

fn needed_of_bft(consenter: &BftConsenter) -> Needed<6> {
    [
        ("host", !consenter.host.is_empty()),
        ("port", consenter.port != 0),
        ("client TLS cert", !consenter.client_tls_cert.as_os_str().is_empty()),
        ("server TLS cert", !consenter.server_tls_cert.as_os_str().is_empty()),
        ("MSP ID", !consenter.msp_id.as_str().is_empty()),
        ("identity certificate", !consenter.identity.as_os_str().is_empty()),
    ]
}

fn complete(consensus: &str, needed: &[(&str, bool)]) -> Result<(), String> {
    match needed.iter().find(|(_, given)| !given) {
        None => Ok(()),
        Some((what, _)) => Err(format!("consenter info in {consensus} configuration did not specify {what}")),
    }
}
