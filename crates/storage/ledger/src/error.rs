use std::error::Error;
use std::path::PathBuf;

use ripstop_block_store::BlockStoreError;
use ripstop_channel_config::ConfigError;
use ripstop_files::FileError;
use ripstop_kv::KvError;
use ripstop_private_store::PrivateStoreError;
use ripstop_rwset::StateError;
use ripstop_snapshot::SnapshotError;
use ripstop_types::{BlockNumber, ChannelId, MetadataError, TxId};
use ripstop_validation::{GenesisError, ReplayError};

use crate::LedgerStatus;

/// A ledger could not be read. The storage is damaged or the disk fails; nothing can be decided.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] KvError),
    /// The blocks could not be read.
    #[error(transparent)]
    Blocks(#[from] BlockStoreError),
    /// The index names a transaction that the blocks do not have.
    #[error("transaction [{0}] is indexed, but its block does not hold it")]
    NoTransaction(TxId),
    /// The transaction stands in a block before the snapshot with which the ledger begins. Fabric's words.
    #[error(
        "details for the TXID [{tx_id}] not available. Ledger bootstrapped from a snapshot. First available block = [{first}]"
    )]
    BeforeSnapshot {
        /// The transaction.
        tx_id: TxId,
        /// The first block that the ledger has.
        first: BlockNumber,
    },
    /// The history names a transaction that does not write the key. Fabric's words.
    #[error(
        "no namespace or key is found for namespace {namespace} and key {key} with decoded blockNum {block} and tranNum {transaction}"
    )]
    NoHistory {
        /// The namespace.
        namespace: String,
        /// The key.
        key: String,
        /// The block.
        block: BlockNumber,
        /// The transaction's place in it.
        transaction: u64,
    },
}

/// A ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory could not be read, made or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process has the ledgers: a peer, or a command that changes them. Fabric's words.
    #[error(
        "as another peer node command is executing, wait for that command to complete its execution or terminate it before retrying: lock is already acquired on file {path}",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// The blocks could not be read. They are the truth; restore them from a copy, or remove the channel's directory and
    /// join again.
    #[error("channel [{channel}]: {source}")]
    Blocks {
        /// The channel.
        channel: ChannelId,
        /// Why not.
        source: BlockStoreError,
    },
    /// The state could not be brought up to the blocks, for a reason that building it anew does not remedy.
    #[error("channel [{channel}]: the state cannot be brought up to the blocks: {source}")]
    Recover {
        /// The channel.
        channel: ChannelId,
        /// Why not.
        source: RecoverError,
    },
    /// The private data could not be read. It stands nowhere else on this peer; restore it from a copy, or move the
    /// directory `private` away and do without.
    #[error("channel [{channel}]: {source}")]
    Private {
        /// The channel.
        channel: ChannelId,
        /// Why not.
        source: PrivateStoreError,
    },
    /// The channel's configuration could not be read.
    #[error("channel [{channel}]: the configuration in the state: {source}")]
    Config {
        /// The channel.
        channel: ChannelId,
        /// Why not.
        source: LedgerConfigError,
    },
    /// The blocks belong to another channel than the directory's name says.
    #[error("the directory of channel [{directory}] holds the blocks of channel [{found}]")]
    ForeignBlocks {
        /// The directory.
        directory: ChannelId,
        /// What its first block says.
        found: String,
    },
    /// There is no block.
    #[error("channel [{0}] has no block; remove its directory and join again")]
    Empty(ChannelId),
}

/// Why a state does not follow from the blocks.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The key-value store failed.
    #[error(transparent)]
    Store(#[from] KvError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The blocks could not be read.
    #[error(transparent)]
    Blocks(#[from] BlockStoreError),
    /// The private data could not be read.
    #[error(transparent)]
    Private(#[from] PrivateStoreError),
    /// A ledger's parts could not be read together.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A block cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A block's metadata does not decode.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The snapshot with which the ledger begins cannot be read. It is as much the truth as the blocks are: restore it from
    /// a copy, or remove the channel's directory and join again.
    #[error("the snapshot with which the ledger begins: {0}")]
    Snapshot(#[from] SnapshotError),
    /// The snapshot with which the ledger begins cannot be taken over.
    #[error("the snapshot with which the ledger begins: {0}")]
    Import(#[from] ImportError),
    /// The ledger is being closed; the state was only wanted for it.
    #[error("the ledger is being closed")]
    Stopped,
    /// The state is ahead of the blocks.
    #[error("the state is written up to block {state}, but there are only {blocks} blocks")]
    Ahead {
        /// The last block in the state.
        state: BlockNumber,
        /// The number of blocks.
        blocks: u64,
    },
    /// The state came about in another way than the blocks say.
    #[error("block {block} records commit hash [{recorded}], but the state has [{computed}]")]
    Diverged {
        /// The block.
        block: BlockNumber,
        /// What the block says.
        recorded: String,
        /// What follows from the state.
        computed: String,
    },
}

impl RecoverError {
    /// Whether the state itself is at fault, so that building it anew may help. A full disk, missing rights, and damaged
    /// blocks or private data are no reason to throw a state away.
    pub(crate) fn blames_state(&self) -> bool {
        match self {
            Self::Store(error) | Self::Import(ImportError::Store(error)) => error.is_of_content(),
            Self::State(error)
            | Self::Replay(ReplayError::State(error))
            | Self::Ledger(LedgerError::State(error))
            | Self::Import(ImportError::State(error)) => is_of_content(error),
            Self::Ahead { .. } | Self::Diverged { .. } => true,
            Self::Blocks(_)
            | Self::Private(_)
            | Self::Replay(_)
            | Self::Ledger(_)
            | Self::Metadata(_)
            | Self::Snapshot(_)
            | Self::Import(_)
            | Self::Stopped => false,
        }
    }
}

/// Whether what the state holds is at fault, and not the machine that could not read it.
fn is_of_content(error: &StateError) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(store) = error.downcast_ref::<KvError>() {
            return store.is_of_content();
        }
        cause = error.source();
    }
    true
}

/// Why the content of a snapshot cannot become a state.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file of the snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state could not be written.
    #[error(transparent)]
    Store(#[from] KvError),
    /// What is missing could not be noted.
    #[error(transparent)]
    Private(#[from] PrivateStoreError),
    /// A public key is no text.
    #[error("a key of namespace [{0}] is not UTF-8")]
    Key(String),
    /// The namespace of hashes names no collection.
    #[error("the namespace [{0}] of hashes names no collection")]
    Namespace(String),
    /// Nobody can say for whom private values are.
    #[error("block {block} wrote to collection [{namespace}:{collection}], which no definition before it has")]
    NoCollection {
        /// The namespace.
        namespace: String,
        /// The collection.
        collection: String,
        /// The block.
        block: BlockNumber,
    },
}

/// Why a snapshot could not be made. The request for it stands and is tried again at the next start, except for
/// [`Self::NoBlock`].
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The blocks could not be read.
    #[error(transparent)]
    Blocks(#[from] BlockStoreError),
    /// The ledger does not have the block: it begins behind it. No attempt can succeed, so the request is dropped.
    #[error("block {0} is not there")]
    NoBlock(BlockNumber),
    /// The files could not be written.
    #[error(transparent)]
    Write(#[from] SnapshotError),
    /// A directory could not be made, moved or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state after an earlier block could not be computed.
    #[error("the state of that block: {0}")]
    Rebuild(#[from] RecoverError),
    /// The ledger is being closed. The snapshot is made when it is opened again.
    #[error("the ledger is being closed")]
    Stopped,
    /// A bug. The process has said where.
    #[error("the thread that made it panicked")]
    Panicked,
}

/// A request for a snapshot is refused, in Fabric's words.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotRequestError {
    /// The block has others behind it.
    #[error("requested snapshot for block number {block} cannot be less than the last committed block number {last}")]
    Past {
        /// The block.
        block: BlockNumber,
        /// The last one.
        last: BlockNumber,
    },
    /// The snapshot is there.
    #[error("snapshot already generated for block number {0}")]
    Made(BlockNumber),
    /// It is requested already.
    #[error("duplicate snapshot request for block number {0}")]
    Duplicate(BlockNumber),
    /// There are as many requests as are kept.
    #[error(
        "{0} requested snapshots are not made yet, which is the limit of a channel; cancel some, or wait for their blocks"
    )]
    TooMany(usize),
    /// It is not requested.
    #[error("no snapshot request exists for block number {0}")]
    Unknown(BlockNumber),
    /// It is being made.
    #[error("cannot cancel the snapshot request because it is under processing")]
    InProgress,
    /// The ledger has no place for snapshots.
    #[error("no directory for snapshots is configured; set ledger.snapshots.rootDir")]
    NoDirectory,
    /// The request could not be noted.
    #[error("the requests for snapshots cannot be written: {0}")]
    File(#[from] FileError),
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum LedgerConfigError {
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is none.
    #[error("there is none")]
    Missing,
    /// It does not decode.
    #[error("it does not decode: {0}")]
    Decode(#[from] prost::DecodeError),
    /// It breaks a rule.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A ledger could not be created. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The channel has one already. Fabric's words.
    #[error("ledger [{channel}] already exists with state [{status}]")]
    Exists {
        /// The channel.
        channel: ChannelId,
        /// Whether the peer takes part in it.
        status: LedgerStatus,
    },
    /// The block cannot begin a channel.
    #[error("the block cannot begin a channel: {0}")]
    NotGenesis(#[from] GenesisError),
    /// The block's configuration breaks a rule.
    #[error("the block cannot begin a channel: {0}")]
    Config(#[from] ConfigError),
    /// The blocks of the new ledger could not be written.
    #[error("cannot create the ledger: {0}")]
    Blocks(#[from] BlockStoreError),
    /// A directory could not be made or moved.
    #[error("cannot create the ledger: {0}")]
    File(#[from] FileError),
    /// The snapshot cannot be used.
    #[error("error while verifying snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
    /// What the snapshot does not bring along could not be noted.
    #[error("error while importing the hashes of private data: {0}")]
    Import(#[from] ImportError),
    /// The new ledger could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A block could not be committed. Nothing of it is visible; except for [`Self::NotNext`] the channel must stop and the
/// ledger be opened again.
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
    /// The private data could not be written.
    #[error(transparent)]
    Private(#[from] PrivateStoreError),
    /// The new configuration cannot be used.
    #[error("the configuration of block {block}: {source}")]
    Config {
        /// The block.
        block: BlockNumber,
        /// Why not.
        source: LedgerConfigError,
    },
    /// An earlier commit failed.
    #[error("the ledger of channel [{0}] must be opened again after a failed commit")]
    Failed(ChannelId),
}

/// Private data that came after its block could not be taken. Where something could not be written the channel must stop and
/// the ledger be opened again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The private data could not be read or written.
    #[error(transparent)]
    Private(#[from] PrivateStoreError),
    /// An earlier commit failed.
    #[error("the ledger of channel [{0}] must be opened again after a failed commit")]
    Failed(ChannelId),
}
