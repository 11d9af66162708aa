use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_proto::rwset;
use ripstop_types::{Block, BlockNumber, SignedData};
use tokio::sync::watch;

/// In which form a client wants blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockForm {
    /// Whole blocks (`Deliver`).
    Full,
    /// Transaction ids, verdicts and event names only (`DeliverFiltered`).
    Filtered,
    /// Whole blocks, and of their private data what the client may read (`DeliverWithPrivateData`).
    WithPrivateData,
}

/// A client may not read the channel. The text says why; it goes to the log, never to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// A block cannot be read though it should be there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// The channels a node serves.
pub trait Channels: Send + Sync + 'static {
    /// The blocks of a channel; none when the node does not have it.
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>>;
}

/// The blocks of one channel: a peer's ledger or an orderer's chain.
pub trait BlockSource: Send + Sync + 'static {
    /// How many blocks the chain has, now and in future. The sender is dropped when the channel ends.
    fn heights(&self) -> watch::Receiver<u64>;

    /// The first block that can be read: 0, or the height at which the ledger was set up from a snapshot.
    fn first_block(&self) -> BlockNumber {
        BlockNumber::GENESIS
    }

    /// Reads a block that exists. May block on files; called outside of the async threads.
    fn block(&self, number: BlockNumber) -> Result<Arc<Block>, SourceError>;

    /// The sequence of the channel's configuration. When it grows, every open stream's client is authorised anew.
    fn config_sequence(&self) -> u64;

    /// Whether blocks may be stale because consensus is unavailable; strict requests are then answered with
    /// `SERVICE_UNAVAILABLE`, and open ones end so. None: never, as on peers.
    fn errored(&self) -> Option<watch::Receiver<bool>> {
        None
    }

    /// The private data of a block that whoever signed the request may read, by the transaction's place in it. Only peers
    /// have any. May block on files; called outside of the async threads.
    fn private_data(
        &self,
        number: BlockNumber,
        request: &SignedData,
    ) -> Result<BTreeMap<u64, rwset::TxPvtReadWriteSet>, SourceError> {
        let _ = (number, request);
        Ok(BTreeMap::new())
    }

    /// Whether whoever signed the request may read blocks in this form.
    fn authorize(&self, form: BlockForm, request: &SignedData) -> Result<(), Refusal>;
}
