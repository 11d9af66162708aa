use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_proto::gossip::Envelope;
use ripstop_types::{ChannelId, MspId};

/// What a peer says about a channel it has joined.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChannelMember {
    /// How many blocks it has.
    pub height: u64,
    /// The chaincodes it can run, each with its version, which is the sequence of the definition in decimals.
    pub chaincodes: Vec<(String, String)>,
    /// What it signed to say so (a `StateInfo` message).
    pub state_info: Envelope,
}

/// A peer that is alive as far as this one knows.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownPeer {
    /// Its organisation.
    pub organization: MspId,
    /// Who it is: the bytes of a `SerializedIdentity`.
    pub identity: Bytes,
    /// Where everybody reaches it, `host:port`; empty for a peer that only its own organisation is to know of, and which is
    /// therefore in no answer.
    pub endpoint: String,
    /// What it signed to say that it is alive (an `AliveMessage`). The secret part, if there is one, leaves no answer.
    pub alive: Envelope,
    /// The channels it has joined and not left.
    pub channels: BTreeMap<ChannelId, ChannelMember>,
}

/// Where discovery learns which peers there are: from gossip in a peer, from a list in tests. The answer holds the peer
/// that asks as well, and nobody who is dead, left or has no place in a channel it is listed for.
pub trait KnownPeers: Send + Sync {
    /// All peers now.
    fn known_peers(&self) -> Vec<Arc<KnownPeer>>;
}
