use ripstop_channel_config::{ChannelConfig, ConsensusState};
use ripstop_crypto::Certificate;
use ripstop_msp::Expired;
use ripstop_policy::{PolicyRefusal, Reader};
use ripstop_proto::common::Status;
use ripstop_types::{Envelope, MspId, SerializedIdentity};

const WRITERS: &str = "/Channel/Writers";
const ORDERER_WRITERS: &str = "/Channel/Orderer/Writers";

/// Whether messages of identities whose certificate has expired are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpirationRule {
    /// They are, at this time in seconds since the Unix epoch.
    At(i64),
    /// They are not (`General.Authentication.NoExpirationChecks`).
    Off,
}

/// Why a message is not ordered. Texts begin as Fabric's do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The envelope has no payload.
    #[error("Message was empty")]
    Empty,
    /// Payload and signature are larger than the channel allows.
    #[error("message payload is {size} bytes and exceeds maximum allowed {limit} bytes")]
    TooLarge {
        /// Bytes of payload and signature.
        size: usize,
        /// `BatchSize.AbsoluteMaxBytes`.
        limit: u32,
    },
    /// The sender's certificate has expired.
    #[error("broadcast client identity expired: {0}")]
    Expired(Expired),
    /// The sender may not write to the channel.
    #[error("{}", permission_denied(.0, Reader::Signer))]
    PermissionDenied(PolicyRefusal),
    /// The channel takes configuration updates only.
    #[error("normal transactions are rejected: maintenance mode")]
    Maintenance,
    /// The channel has no configuration for ordering.
    #[error("the channel has no orderer configuration")]
    NoOrdererConfig,
}

fn permission_denied(refusal: &PolicyRefusal, reader: Reader) -> String {
    let denied = format!("{}: permission denied", refusal.headline());
    match refusal.explanation(reader) {
        "" => denied,
        explanation => format!("{denied}: {explanation}"),
    }
}

impl Refusal {
    /// All that a reader may know. Displays as for the sender.
    pub fn text(&self, reader: Reader) -> String {
        match self {
            Self::PermissionDenied(refusal) => permission_denied(refusal, reader),
            other => other.to_string(),
        }
    }

    /// The status that a client is answered with (Fabric: `broadcast.ClassifyError`).
    pub const fn status(&self) -> Status {
        match self {
            Self::Empty | Self::TooLarge { .. } | Self::Expired(_) => Status::BadRequest,
            Self::PermissionDenied(_) => Status::Forbidden,
            Self::Maintenance => Status::ServiceUnavailable,
            Self::NoOrdererConfig => Status::InternalServerError,
        }
    }
}

/// Checks a normal message against the configuration in force.
pub fn check_normal(config: &ChannelConfig, message: &Envelope, expiration: ExpirationRule) -> Result<(), Refusal> {
    let orderer = config.orderer().ok_or(Refusal::NoOrdererConfig)?;
    if orderer.capabilities.consensus_type_migration() && orderer.state != ConsensusState::Normal {
        return Err(Refusal::Maintenance);
    }
    check(config, message, expiration)
}

/// The filters that every message passes, in Fabric's order: not empty, not too large, not expired, allowed to write.
pub fn check(config: &ChannelConfig, message: &Envelope, expiration: ExpirationRule) -> Result<(), Refusal> {
    let orderer = config.orderer().ok_or(Refusal::NoOrdererConfig)?;
    if message.payload.is_empty() {
        return Err(Refusal::Empty);
    }
    let limit = orderer.batch_size.absolute_max_bytes;
    if u32::try_from(message.size()).map_or(true, |size| size > limit) {
        return Err(Refusal::TooLarge { size: message.size(), limit });
    }
    if orderer.capabilities.expiration_check()
        && let ExpirationRule::At(now) = expiration
    {
        check_expiration(config, message, now)?;
    }
    let policy = if orderer.state == ConsensusState::Maintenance { ORDERER_WRITERS } else { WRITERS };
    config.policies().evaluate(policy, &[message.signed_data()], config.msps()).map_err(Refusal::PermissionDenied)
}

/// Identities that cannot be read never expire; the policy refuses them (Fabric: `crypto.ExpiresAt`).
fn check_expiration(config: &ChannelConfig, message: &Envelope, now: i64) -> Result<(), Refusal> {
    let creator = &message.signature_header.creator;
    if let Ok(identity) = config.msps().identify(creator) {
        return refuse_expired(identity.certificate(), identity.msp_id(), now);
    }
    let Ok(identity) = SerializedIdentity::parse(creator.clone()) else { return Ok(()) };
    let Ok(certificate) = Certificate::from_pem(&identity.id_bytes) else { return Ok(()) };
    refuse_expired(&certificate, &identity.msp_id, now)
}

fn refuse_expired(certificate: &Certificate, msp_id: &MspId, now: i64) -> Result<(), Refusal> {
    if now < certificate.not_after() { Ok(()) } else { Err(Refusal::Expired(Expired::new(certificate, msp_id))) }
}
