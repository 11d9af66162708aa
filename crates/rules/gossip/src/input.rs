use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_types::{ChannelId, MspId};

use crate::{AnnouncedChaincode, Contact, Endpoint, PkiId, SignedMessage};

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A stream came up, and its handshake was judged well.
    Connected {
        /// Who is at the other end.
        contact: Contact,
        /// Where it was dialled; `None` when the other peer opened the stream.
        dialled: Option<Endpoint>,
    },
    /// A message or a stream could not be brought to an endpoint: nobody there, the wrong one there, or it broke off while
    /// sending.
    Unreachable {
        /// Where. Empty when the message was for a stream that is gone.
        endpoint: Endpoint,
        /// For whom; `None` when that was not known.
        pki_id: Option<PkiId>,
        /// Why, for the log.
        reason: String,
    },
    /// The last stream of a peer ended. That alone says nothing about its life.
    Closed {
        /// Whose.
        pki_id: PkiId,
    },
    /// A message came in on the stream of a peer. Acknowledgements, and messages about private data, are not for this
    /// machine; it drops them.
    Received {
        /// Whose stream.
        from: PkiId,
        /// What it said.
        message: SignedMessage,
    },
    /// Something happened in a channel.
    Channel(ChannelId, ChannelInput),
    /// Configurations changed: [`crate::Trust`] may answer otherwise than before.
    TrustChanged,
    /// The moment came that `wake_at` named.
    Wake,
    /// The process ends: nothing is begun any more.
    Stopping,
}

/// What happened in a channel. Without `Joined` before it, each of them is dropped.
#[derive(Debug)]
pub enum ChannelInput {
    /// This peer is in the channel: since now, or since the last run of the process.
    Joined {
        /// Its organizations.
        organizations: ChannelOrganizations,
        /// The height of the ledger.
        height: u64,
        /// What this peer can execute.
        chaincodes: Vec<AnnouncedChaincode>,
    },
    /// Its configuration changed. Comes behind the commit of the configuration block.
    Reconfigured(ChannelOrganizations),
    /// The ledger reached a height: all blocks below it are committed.
    Height(u64),
    /// What this peer can execute changed.
    Chaincodes(Vec<AnnouncedChaincode>),
    /// A block came from the orderers and was verified: spread it. (The committer has it already.)
    Pulled {
        /// Its number.
        number: u64,
        /// The encoded block.
        block: Bytes,
    },
    /// The committer refused a block that `Effect::Block` gave it: fetch it from somebody else. Blocks behind it that were
    /// given to the committer come again.
    Refused {
        /// Its number.
        number: u64,
        /// Who had sent it.
        from: PkiId,
    },
    /// No orderer can be reached: let another peer of the organization lead (Fabric: `Yield`).
    OrderersUnreachable,
}

/// The organizations of a channel, from its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelOrganizations {
    /// The configuration's sequence number; an older one than the last is dropped.
    pub sequence: u64,
    /// The anchor peers of each application organization.
    pub anchors: BTreeMap<MspId, Vec<AnchorPeer>>,
}

/// An anchor peer, as the configuration says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorPeer {
    /// Its host.
    pub host: String,
    /// Its port; a configuration may say nonsense.
    pub port: i32,
}

impl AnchorPeer {
    /// Where it is reached, IPv6 addresses in brackets.
    pub fn endpoint(&self) -> Endpoint {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}
