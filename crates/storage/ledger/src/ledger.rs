mod group;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_block_store::{BlockStore, Follower, IndexedTransaction, TransactionLocation};
use ripstop_channel_config::ChannelConfig;
use ripstop_kv::{Durability, Entries, Options, Store};
use ripstop_private_store::{
    Absence, PrivatePlace, PrivateSet, PrivateStore, PrivateStoreError, TransientStore, by_transaction,
};
use ripstop_proto::common;
use ripstop_rwset::{CHANNEL_CONFIG_KEY, CHANNEL_CONFIG_NAMESPACE, StateView, TxPrivateRwSet};
use ripstop_snapshot::SignableMetadata;
use ripstop_types::{Block, BlockNumber, ChannelId, Digest, MspId, TxId, ValidationCode};
use ripstop_validation::ValidatedBlock;
use tokio::sync::watch;

use crate::directory::LedgerDirectory;
use crate::error::{ImportError, LedgerConfigError};
use crate::import::note_missing;
use crate::late::{self, Examination, Examined};
use crate::private::PurgeLog;
use crate::recover::{Origin, open_state};
use crate::rollback::{FormerHeight, open_blocks};
use crate::snapshots::{Snapshots, SnapshotsDirectory};
use crate::{
    CommitError, History, LedgerError, OpenError, ReconcileError, RejectedSet, Simulator, SnapshotRequestError,
    StateSnapshot,
};
pub use group::{CommitTimes, Group};

/// How long a chain is and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInfo {
    /// The number of blocks.
    pub height: u64,
    /// The hash of the last block's header.
    pub current_hash: Bytes,
    /// The hash of the header before that; empty when there is only the genesis block.
    pub previous_hash: Bytes,
    /// The last block of the snapshot with which the ledger begins; none where it begins with the genesis block.
    pub last_block_in_snapshot: Option<BlockNumber>,
}

/// A transaction as it stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedTransaction {
    /// The bytes of its `common.Envelope`.
    pub envelope: Bytes,
    /// The verdict.
    pub code: ValidationCode,
    /// The block it stands in.
    pub block: BlockNumber,
}

/// What is known of a block's private data when it is committed. What the block announces and is not here, or not what was
/// announced, is noted as missing.
#[derive(Debug, Clone, Default)]
pub struct PrivateData {
    pub(crate) writes: BTreeMap<u64, TxPrivateRwSet>,
    pub(crate) ineligible: BTreeSet<(String, String)>,
    pub(crate) opened: Vec<(String, String)>,
}

impl PrivateData {
    /// Names the collections that this peer's organization does not belong to, by namespace and collection: their writes are
    /// not missed.
    #[must_use]
    pub fn ineligible_for(self, collections: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { ineligible: collections.into_iter().collect(), ..self }
    }

    /// Names the collections that the block opens to this peer's organization, by namespace and collection: what was kept from
    /// it is missed from now on.
    #[must_use]
    pub fn opening(self, collections: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { opened: collections.into_iter().collect(), ..self }
    }
}

/// The clear private writes that were gathered, by the transaction's place in the block.
impl From<BTreeMap<u64, TxPrivateRwSet>> for PrivateData {
    fn from(writes: BTreeMap<u64, TxPrivateRwSet>) -> Self {
        Self { writes, ..Self::default() }
    }
}

/// The ledger of one channel. Shared by all who read it; one at a time commits.
pub struct Ledger {
    channel_id: ChannelId,
    blocks: Arc<BlockStore>,
    store: Store,
    private: PrivateStore,
    current: ArcSwap<Current>,
    committing: Mutex<Committing>,
    /// None where there is no directory for snapshots.
    snapshots: Option<Snapshots>,
    former_height: FormerHeight,
    purge_log: PurgeLog,
}

/// All that a commit swaps at once.
struct Current {
    state: Arc<StateSnapshot>,
    config: Arc<ChannelConfig>,
    organizations: Arc<BTreeSet<MspId>>,
}

/// Whether what is on disk is known.
#[derive(PartialEq, Eq)]
enum Committing {
    Ready,
    Failed,
}

impl Ledger {
    pub(crate) fn open(
        channel_id: ChannelId,
        directory: LedgerDirectory,
        (options, purge_log): (Options, PurgeLog),
        snapshots: Option<&SnapshotsDirectory>,
    ) -> Result<Arc<Self>, OpenError> {
        let blocks =
            open_blocks(&directory).map_err(|source| OpenError::Blocks { channel: channel_id.clone(), source })?;
        let files = directory.files().clone();
        let (blocks, snapshot) = (Arc::new(blocks), directory.snapshot());
        let origin = Origin { files: files.clone(), blocks, snapshot, options, purge_log };
        check_channel(&channel_id, &origin)?;
        let private = PrivateStore::open_on(&files, &directory.private())
            .map_err(|source| OpenError::Private { channel: channel_id.clone(), source })?;
        directory.finish_dropping()?;
        let (store, state) = open_state(&channel_id, &directory.state(), &origin, &private)?;
        let current = Current::new(&channel_id, state)
            .map_err(|source| OpenError::Config { channel: channel_id.clone(), source })?;
        let blocks = Arc::clone(&origin.blocks);
        let snapshots = snapshots
            .map(|place| Snapshots::open(channel_id.clone(), place.clone(), directory.path(), origin, &current.state))
            .transpose()?;
        let former_height = FormerHeight::open(directory, blocks.height())?;
        Ok(Arc::new(Self {
            channel_id,
            blocks,
            store,
            private,
            current: ArcSwap::from_pointee(current),
            committing: Mutex::new(Committing::Ready),
            snapshots,
            former_height,
            purge_log,
        }))
    }

    /// The channel.
    pub fn channel_id(&self) -> &ChannelId {
        &self.channel_id
    }

    /// How many blocks are committed; the next one has this number.
    pub fn height(&self) -> u64 {
        self.blocks.height()
    }

    /// The number of committed blocks, now and in future.
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.blocks.heights()
    }

    /// The height that the ledger had before it was taken back to an earlier block; `None` once it has it again.
    pub fn former_height(&self) -> Option<u64> {
        self.former_height.get()
    }

    /// Height and hashes.
    pub fn info(&self) -> ChainInfo {
        let tip = self.blocks.tip();
        ChainInfo {
            height: tip.height,
            current_hash: tip.current_hash,
            previous_hash: tip.previous_hash,
            last_block_in_snapshot: self.blocks.base().map(|base| base.last_block),
        }
    }

    /// The commit hash of the last block; empty where there is none (after the genesis block).
    pub fn commit_hash(&self) -> Bytes {
        self.current.load().state.commit_hash().clone()
    }

    /// The configuration that is in force for the next block.
    pub fn config(&self) -> Arc<ChannelConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The first block that is here: the genesis block, or the one behind the snapshot with which the ledger begins.
    pub fn first_block(&self) -> BlockNumber {
        self.blocks.first()
    }

    /// A block by number; `None` when it is not committed yet.
    pub fn block(&self, number: BlockNumber) -> Result<Option<Arc<Block>>, LedgerError> {
        Ok(self.blocks.block(number)?)
    }

    /// A block by the hash of its header.
    pub fn block_by_hash(&self, hash: &Digest) -> Result<Option<Arc<Block>>, LedgerError> {
        match self.snapshot().block(hash.as_bytes())? {
            Some(number) => Ok(self.blocks.appended_block(number)?),
            None => Ok(None),
        }
    }

    /// The block that holds a transaction. Where an id occurs several times, its first occurrence counts.
    pub fn block_by_tx_id(&self, tx_id: &TxId) -> Result<Option<Arc<Block>>, LedgerError> {
        match self.locate(tx_id)? {
            Some(location) => Ok(self.blocks.appended_block(location.height.block)?),
            None => Ok(None),
        }
    }

    /// A transaction with its verdict (what `qscc` answers as `ProcessedTransaction`).
    pub fn transaction(&self, tx_id: &TxId) -> Result<Option<CommittedTransaction>, LedgerError> {
        let Some(location) = self.locate(tx_id)? else { return Ok(None) };
        let block = self.blocks.appended_block(location.height.block)?;
        let place = usize::try_from(location.height.tx).ok();
        let envelope = block
            .zip(place)
            .and_then(|(block, place)| block.data.get(place).cloned())
            .ok_or_else(|| LedgerError::NoTransaction(tx_id.clone()))?;
        Ok(Some(CommittedTransaction { envelope, code: location.code, block: location.height.block }))
    }

    /// The verdict on a transaction and the block it stands in.
    pub fn validation_code(&self, tx_id: &TxId) -> Result<Option<(ValidationCode, BlockNumber)>, LedgerError> {
        let found = self.locate(tx_id)?;
        Ok(found.map(|location| (location.code, location.height.block)))
    }

    fn locate(&self, tx_id: &TxId) -> Result<Option<TransactionLocation>, LedgerError> {
        match self.snapshot().transaction(tx_id)? {
            None => Ok(None),
            Some(IndexedTransaction::Located(location)) => Ok(Some(location)),
            Some(IndexedTransaction::BeforeSnapshot) => {
                Err(LedgerError::BeforeSnapshot { tx_id: tx_id.clone(), first: self.blocks.first() })
            }
        }
    }

    /// The state after the last committed block.
    pub fn snapshot(&self) -> Arc<StateSnapshot> {
        Arc::clone(&self.current.load().state)
    }

    /// Requests a snapshot of the state after a block: the last one, or one to come; block 0 stands for the last one. It is
    /// made while commits go on, and the request survives a crash.
    pub fn request_snapshot(&self, block: BlockNumber) -> Result<(), SnapshotRequestError> {
        self.requests()?.submit(block, || self.snapshot())
    }

    /// Takes a request back that is not being worked at.
    pub fn cancel_snapshot(&self, block: BlockNumber) -> Result<(), SnapshotRequestError> {
        self.requests()?.cancel(block)
    }

    /// The blocks of which snapshots are requested and not there yet, in order.
    pub fn pending_snapshots(&self) -> Vec<BlockNumber> {
        self.snapshots.as_ref().map(Snapshots::pending).unwrap_or_default()
    }

    /// Waits until the snapshots are there of all requested blocks that are committed, apart from those that cannot be made
    /// before the next start: the log tells why.
    pub fn wait_for_snapshots(&self) {
        if let Some(snapshots) = &self.snapshots {
            snapshots.wait();
        }
    }

    fn requests(&self) -> Result<&Snapshots, SnapshotRequestError> {
        self.snapshots.as_ref().ok_or(SnapshotRequestError::NoDirectory)
    }

    /// Begins a simulation against [`Self::snapshot`]. Any number of simulations may run at once.
    pub fn simulate(&self, tx_id: TxId) -> Simulator {
        let current = self.current.load();
        Simulator::new(tx_id, Arc::clone(&current.state), Arc::clone(&current.organizations))
    }

    /// The changes of a public key, newest first.
    pub fn history(&self, namespace: &str, key: &str) -> Result<History, LedgerError> {
        let versions = self.snapshot().history(namespace, key)?;
        Ok(History::new(Arc::clone(&self.blocks), versions, namespace, key))
    }

    /// Private writes between endorsement and commit.
    pub fn transient(&self) -> &TransientStore {
        self.private.transient()
    }

    /// The private writes of a block that this peer keeps, of the collections that `wanted` says yes to (namespace,
    /// collection), without expired and purged values. Those of invalid transactions are among them.
    pub fn private_data(
        &self,
        block: BlockNumber,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<BTreeMap<u64, TxPrivateRwSet>, PrivateStoreError> {
        // What is stored of a block that is not here comes from before a crash or a rollback.
        if block.get() >= self.height() {
            return Ok(BTreeMap::new());
        }
        let sets = self.private.committed().get(block)?.into_iter();
        Ok(by_transaction(sets.filter(|set| wanted(&set.place.namespace, &set.place.collection))))
    }

    /// What this peer misses of private data that is for its organization, block by block, beginning with the newest at or
    /// below `newest`, from at most `max_blocks` blocks. [`Absence::Missing`] holds what is worth looking for at once,
    /// [`Absence::NotFound`] what nobody had before. ([`Absence::Ineligible`] holds what is for other organizations.)
    pub fn missing_private_data(
        &self,
        absence: Absence,
        newest: BlockNumber,
        max_blocks: usize,
    ) -> Result<Vec<PrivatePlace>, PrivateStoreError> {
        let Some(last) = self.height().checked_sub(1).map(BlockNumber::new) else { return Ok(vec![]) };
        self.private.committed().missing(absence, newest.min(last), max_blocks)
    }

    /// Takes private writes that come after their blocks, and lets wait what was looked for in vain. Each set is compared with
    /// the hashes in its block or, where that is not here, in the snapshot behind it; what is not proven is given back and
    /// never stored. The clear state follows where the hash still stands for the value.
    pub fn accept_private_data(
        &self,
        mut arrived: Vec<PrivateSet>,
        not_found: &[PrivatePlace],
    ) -> Result<Vec<RejectedSet>, ReconcileError> {
        let mut committing = self.committing.lock();
        if *committing == Committing::Failed {
            return Err(ReconcileError::Failed(self.channel_id.clone()));
        }
        let current = self.current.load_full();
        let kept = self.private.committed();
        let mut examination = Examination::new(&self.blocks, kept, &current.state);
        let (mut proven, mut rejected) = (Vec::new(), Vec::new());
        arrived.sort_by(|one, other| one.place.cmp(&other.place));
        for set in arrived {
            match examination.examine(set)? {
                Examined::Known => {}
                Examined::Proven(set) => proven.push(set),
                Examined::Rejected(set) => rejected.push(set),
            }
        }
        let batch = late::batch(&proven, &self.blocks, &current.state)?;
        *committing = Committing::Failed;
        kept.add(current.state.height(), &proven, not_found)?;
        if !batch.is_empty() {
            self.store.write(batch, Durability::Buffered).map_err(LedgerError::from)?;
            let (height, commit_hash) = (current.state.height(), current.state.commit_hash().clone());
            let state = Arc::new(StateSnapshot::new(self.store.snapshot(), height, commit_hash));
            let (config, organizations) = (Arc::clone(&current.config), Arc::clone(&current.organizations));
            self.current.store(Arc::new(Current { state, config, organizations }));
        }
        *committing = Committing::Ready;
        Ok(rejected)
    }

    /// Notes the private data as missing that the snapshot, with which the ledger was just begun, has the hashes of.
    pub(crate) fn note_missing(&self, organization: &MspId) -> Result<(), ImportError> {
        note_missing(&self.snapshot(), &self.config(), organization, self.private.committed())
    }

    /// All entries of committed private data.
    pub(crate) fn private_contents(&self) -> Result<Entries, PrivateStoreError> {
        self.private.committed_entries()
    }

    /// A cursor that gives block `from`, then each one after it, waiting where needed.
    pub fn follow(&self, from: BlockNumber) -> Follower {
        self.blocks.follow(from)
    }

    /// Commits the next block, on the caller's thread: its private data, the block itself, then all that follows from it.
    /// Readers see all of it at once, when it is done.
    pub fn commit(&self, validated: ValidatedBlock, private: PrivateData) -> Result<CommitTimes, CommitError> {
        let mut group = self.group()?;
        group.add(validated, &private)?;
        group.finish()
    }

    /// Begins to commit blocks together. Until that ends, whoever else commits or brings late private data waits.
    pub fn group(&self) -> Result<Group<'_>, CommitError> {
        Group::begin(self)
    }
}

impl Current {
    fn new(channel_id: &ChannelId, state: StateSnapshot) -> Result<Self, LedgerConfigError> {
        let stored = state.get(CHANNEL_CONFIG_NAMESPACE, CHANNEL_CONFIG_KEY)?.ok_or(LedgerConfigError::Missing)?;
        let config = Arc::new(read_config(channel_id, stored.value)?);
        let organizations = organizations(&config);
        Ok(Self { state: Arc::new(state), config, organizations })
    }
}

fn read_config(channel_id: &ChannelId, envelope: Bytes) -> Result<ChannelConfig, LedgerConfigError> {
    let envelope = ripstop_proto::read::<common::ConfigEnvelope>(envelope)?;
    let config = envelope.config.ok_or(LedgerConfigError::Missing)?;
    Ok(ChannelConfig::new(channel_id.clone(), config)?)
}

fn organizations(config: &ChannelConfig) -> Arc<BTreeSet<MspId>> {
    let members = config.application().into_iter().flat_map(|application| application.organizations.values());
    Arc::new(members.map(|organization| organization.msp_id.clone()).collect())
}

/// Whether the first block, or the snapshot before it, is of the channel that the directory is named after.
fn check_channel(channel_id: &ChannelId, origin: &Origin) -> Result<(), OpenError> {
    let found = match origin.blocks.base() {
        Some(_) => SignableMetadata::read(&origin.snapshot)
            .map_err(|source| OpenError::Recover { channel: channel_id.clone(), source: source.into() })?
            .channel
            .to_string(),
        None => origin
            .blocks
            .block(BlockNumber::GENESIS)
            .map_err(|source| OpenError::Blocks { channel: channel_id.clone(), source })?
            .ok_or_else(|| OpenError::Empty(channel_id.clone()))?
            .channel_id()
            .unwrap_or_default(),
    };
    if found != channel_id.as_str() {
        return Err(OpenError::ForeignBlocks { directory: channel_id.clone(), found });
    }
    Ok(())
}
