use bytes::Bytes;
use ripstop_proto::gateway::ErrorDetail;
use ripstop_types::MspId;

/// Where an endorser runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    /// In this process: errors are its judgement on the proposal.
    Local,
    /// Behind a connection: errors may be the connection's.
    Remote,
}

/// What a peer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An endorsement of a transaction.
    Endorse,
    /// The answer to a query.
    Evaluate,
}

/// A peer that may be asked to endorse, as this peer's view of the channel tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endorser {
    /// Its organization.
    pub(crate) org: MspId,
    /// Where this peer reaches it, `host:port`: perhaps by an address that is for its own organization only.
    pub(crate) address: String,
    /// What applications may know it by: its address for everybody.
    pub(crate) name: String,
    /// Who it is: the bytes of a `SerializedIdentity`; empty where the view does not say.
    pub(crate) identity: Bytes,
    /// How many blocks of the channel it has.
    pub(crate) height: u64,
    /// Where it runs.
    pub(crate) location: Location,
}

impl Endorser {
    /// Whether both are one peer. Its height may have grown in between.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (&self.org, &self.address, &self.identity) == (&other.org, &other.address, &other.identity)
    }

    /// What it said, for the application.
    pub(crate) fn detail(&self, message: &str) -> ErrorDetail {
        ErrorDetail { address: self.name.clone(), msp_id: self.org.as_str().to_owned(), message: message.to_owned() }
    }
}

/// Puts those with the highest ledger first, and of those the gateway's own peer (Fabric: `sorter` of
/// `internal/pkg/gateway/registry.go`). The order of others stays.
pub(crate) fn best_first(endorsers: &mut [Endorser]) {
    endorsers.sort_by_key(|endorser| (std::cmp::Reverse(endorser.height), endorser.location == Location::Remote));
}
