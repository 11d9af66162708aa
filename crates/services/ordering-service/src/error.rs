use ripstop_channel_config::ConfigError;
use ripstop_proto::common::Status;
use ripstop_raft::NodeId;

use crate::wal::WalError;

/// Why a message that passed the filters is not ordered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    /// Nobody leads the channel's consenters.
    #[error("no Raft leader")]
    NoLeader,
    /// Who leads has changed meanwhile.
    #[error("the Raft leader has changed before the message was in a block; it may come into one nevertheless")]
    LeaderChanged,
    /// The leader could not be reached, or hung up.
    #[error("the message could not be forwarded to the Raft leader {0}")]
    ForwardingFailed(NodeId),
    /// The message did not come into a block for long.
    #[error("the Raft leader {0}, to which the message was forwarded, has not put it into a block")]
    NotOrdered(NodeId),
    /// The channel was removed, or stopped after a failure.
    #[error("chain is stopped")]
    Stopped,
    /// The configuration changed meanwhile, and the message does not fit the new one.
    #[error("{text}")]
    Refused {
        /// What the client is answered with.
        status: Status,
        /// Why.
        text: String,
    },
}

impl OrderError {
    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::NoLeader | Self::LeaderChanged | Self::ForwardingFailed(_) | Self::NotOrdered(_) | Self::Stopped => {
                Status::ServiceUnavailable
            }
            Self::Refused { status, .. } => *status,
        }
    }
}

/// Why a channel's consensus stops. What was acknowledged is safe on disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The raft log.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The block files.
    #[error(transparent)]
    Blocks(#[from] ripstop_block_store::BlockStoreError),
    /// An agreed entry is no block, or not the one that must come.
    #[error("Raft entry {index} cannot be written as a block: {reason}")]
    Entry {
        /// The entry.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// An agreed configuration cannot be applied here.
    #[error("config block [{block}] cannot be applied: {reason}")]
    Config {
        /// The block.
        block: u64,
        /// What is wrong.
        reason: String,
    },
    /// This node cannot sign.
    #[error("cannot sign block [{block}]: {reason}")]
    Sign {
        /// The block.
        block: u64,
        /// What is wrong.
        reason: String,
    },
    /// Raft refuses.
    #[error(transparent)]
    Raft(#[from] ripstop_raft::Refused),
    /// A step ended before it was done.
    #[error("consensus was interrupted: {0}")]
    Interrupted(String),
}

/// Why a channel cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The raft log.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The block files.
    #[error(transparent)]
    Blocks(#[from] ripstop_block_store::BlockStoreError),
    /// The configuration in force cannot be read.
    #[error("the channel's configuration cannot be used: {0}")]
    Config(#[from] ConfigError),
    /// The last block's metadata cannot be read.
    #[error("the metadata of the last block cannot be read: {0}")]
    Metadata(String),
    /// Consensus cannot begin.
    #[error("{0}")]
    Consensus(String),
    /// The directory of ledgers cannot be read.
    #[error("cannot read the ledger directory {path}: {source}")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Two nodes cannot share ledgers.
    #[error(
        "another orderer process uses the ledger directory {0}: stop it, or give this node another FileLedger.Location"
    )]
    InUse(std::path::PathBuf),
    /// Raft refuses its stored state.
    #[error(transparent)]
    Raft(#[from] ripstop_raft::Refused),
}

/// Why this node does not join, leave, change or show a channel. Texts are Fabric's.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// It takes part already.
    #[error("channel already exists")]
    Exists,
    /// It does not take part.
    #[error("channel does not exist")]
    NotFound,
    /// It is being removed.
    #[error("channel pending removal")]
    PendingRemoval,
    /// Removing it failed.
    #[error("channel removal failure")]
    RemovalFailed,
    /// The request cannot be met.
    #[error("{0}")]
    Refused(String),
}
