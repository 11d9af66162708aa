use ripstop_channel_config::acl::AclRefusal;
use ripstop_ledger::SnapshotRequestError;
use ripstop_msp::Expired;

/// Why a request is refused; the client reads it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("failed to unmarshal snapshot request: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("missing signature header")]
    NoSignatureHeader,
    #[error("client identity expired: {0}")]
    Expired(#[from] Expired),
    #[error(transparent)]
    Denied(#[from] AclRefusal),
    #[error("missing channel ID")]
    NoChannel,
    #[error("cannot find ledger for channel {0}")]
    UnknownChannel(String),
    #[error(transparent)]
    Request(#[from] SnapshotRequestError),
    #[error("the request could not be handled to its end: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What the client is told, and the log.
pub(crate) fn refused(refusal: Refusal) -> tonic::Status {
    tracing::warn!(target: "snapshotgrpc", error = %refusal, "snapshot request refused");
    tonic::Status::unknown(refusal.to_string())
}
