use std::fmt;

use bytes::Bytes;
use ripstop_gossip::{Contact, PkiId, PrivateDigest, PrivateElement, PrivatePayload};
use tokio::sync::{mpsc, oneshot, watch};

/// How many private messages of a channel may wait. What comes when it is full is dropped; a sender that wants to know is
/// told so.
pub(crate) const PRIVATE_QUEUE: usize = 64;
/// How many blocks of a channel may wait behind those that are being committed. When it is full the next ones wait in the loop;
/// the machine gives no more of them than `peer.gossip.state.blockBufferSize` beyond the ledger.
pub(crate) const BLOCK_QUEUE: usize = 16;

/// Where what other peers send for a channel comes in. Dropping a part of it refuses what would come there.
#[derive(Debug)]
pub struct ChannelDoor {
    /// Private data and questions for them.
    pub private: mpsc::Receiver<PrivateIncoming>,
    /// Blocks, in order, from the height of the ledger on.
    pub blocks: mpsc::Receiver<ReceivedBlock>,
    /// Whether this peer leads.
    pub leadership: watch::Receiver<Leadership>,
}

/// Whether a peer pulls a channel's blocks from the orderers for its organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// It does.
    Leads,
    /// It gets them from other peers.
    Follows,
}

/// A private message of a peer that may read the channel. Whether it is entitled to a collection is not said by that.
pub enum PrivateIncoming {
    /// Private data of a transaction that was endorsed just now.
    Data {
        /// Who sent it.
        from: Contact,
        /// What.
        payload: PrivatePayload,
        /// Where to say that it is kept, or why not; the sender waits for it. Dropped: an error.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Somebody lacks private data.
    Request {
        /// Who asks.
        from: Contact,
        /// For what.
        digests: Vec<PrivateDigest>,
        /// Where to put what it may have; nothing else leaves. Dropped: nothing is answered.
        reply: oneshot::Sender<Vec<PrivateElement>>,
    },
    /// A block is about to be sent to a peer that lags behind: which of its private data may go with it?
    ForBlock {
        /// Who gets the block.
        from: Contact,
        /// The block's number.
        block: u64,
        /// Where to put encoded `PvtDataPayload`s. Dropped: none.
        reply: oneshot::Sender<Vec<Bytes>>,
    },
}

// Values of collections never reach a log line.
impl fmt::Debug for PrivateIncoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { from, payload, .. } => write!(f, "{payload:?} from {from:?}"),
            Self::Request { from, digests, .. } => write!(f, "request of {from:?} for {digests:?}"),
            Self::ForBlock { from, block, .. } => write!(f, "private data for block {block} to {from:?}"),
        }
    }
}

/// A block that another peer sent. Nobody has verified it.
pub struct ReceivedBlock {
    /// Its number.
    pub number: u64,
    /// The encoded block.
    pub block: Bytes,
    /// Encoded `PvtDataPayload`s that came with it, unverified.
    pub private_data: Vec<Bytes>,
    /// Who sent it.
    pub from: PkiId,
}

impl fmt::Debug for ReceivedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} from {}", self.number, self.from)
    }
}

/// The inner side of a [`ChannelDoor`].
#[derive(Debug)]
pub(crate) struct DoorKeeper {
    pub(crate) private: mpsc::Sender<PrivateIncoming>,
    pub(crate) blocks: mpsc::Sender<ReceivedBlock>,
    pub(crate) leadership: watch::Sender<Leadership>,
}

/// Both sides of a door.
pub(crate) fn door(leadership: Leadership) -> (DoorKeeper, ChannelDoor) {
    let (private, private_door) = mpsc::channel(PRIVATE_QUEUE);
    let (blocks, blocks_door) = mpsc::channel(BLOCK_QUEUE);
    let (leadership, leadership_door) = watch::channel(leadership);
    let door = ChannelDoor { private: private_door, blocks: blocks_door, leadership: leadership_door };
    (DoorKeeper { private, blocks, leadership }, door)
}
