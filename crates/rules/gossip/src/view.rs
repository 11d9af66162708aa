use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_types::{ChannelId, MspId};

use crate::{Member, PkiId, SignedMessage};

/// What a peer knows of the network at a moment. It is made anew when something changes, and read without locks.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// This peer. `None` before it began.
    pub me: Option<Arc<KnownPeer>>,
    /// The peers that are alive, without this one.
    pub alive: BTreeMap<PkiId, Arc<KnownPeer>>,
    /// What is known of each channel that this peer is in.
    pub channels: BTreeMap<ChannelId, BTreeMap<PkiId, ChannelMember>>,
}

/// A peer that is alive and whose identity is known.
#[derive(Debug, Clone)]
pub struct KnownPeer {
    /// How it is reached.
    pub member: Member,
    /// Its identity as it travels.
    pub identity: Bytes,
    /// Its organization.
    pub organization: MspId,
    /// Its last signed alive message, its internal endpoint included where it is known.
    pub alive: SignedMessage,
}

/// What an alive peer says of itself in a channel. This peer is among the members of its channels.
#[derive(Debug, Clone)]
pub struct ChannelMember {
    /// Who it is.
    pub peer: Arc<KnownPeer>,
    /// Its last signed state info.
    pub state_info: SignedMessage,
    /// The height of its ledger.
    pub height: u64,
    /// The chaincodes that it can execute.
    pub chaincodes: Vec<AnnouncedChaincode>,
}

/// A chaincode that a peer says it can execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedChaincode {
    /// Its name.
    pub name: String,
    /// The version of its definition.
    pub version: String,
    /// What else is said of it; Fabric's peers say nothing.
    pub metadata: Bytes,
}
