use std::path::PathBuf;

use ripstop_rwset::StateError;
use ripstop_types::{BlockNumber, ChannelId};

/// A ledger could not be read. The storage is damaged or the disk fails; nothing can be decided.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory could not be read or made.
    #[error("cannot open the ledger at {path}: {source}", path = path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// A ledger could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The channel has one already. Fabric's words.
    #[error("ledger [{0}] already exists with state [ACTIVE]")]
    Exists(ChannelId),
    /// The block cannot begin a channel.
    #[error("the block cannot begin a channel: {0}")]
    NotGenesis(String),
    /// The new ledger could not be written.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A block could not be committed. Nothing of it is visible; the channel must stop and be opened again.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The block is not the next one.
    #[error("block {offered} cannot be committed at height {height}")]
    NotNext {
        /// The block.
        offered: BlockNumber,
        /// The ledger's height.
        height: u64,
    },
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
