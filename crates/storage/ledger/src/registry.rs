use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use ripstop_block_store::{BlockStore, BlockStoreOptions, ChainBase};
use ripstop_channel_config::ChannelConfig;
use ripstop_files::FileSystem;
use ripstop_kv::Options;
use ripstop_snapshot::SnapshotFiles;
use ripstop_types::{Block, ChannelId, MspId};
use ripstop_validation::ValidatedBlock;

use crate::directory::{LedgerDirectory, LedgersDirectory};
use crate::snapshots::SnapshotsDirectory;
use crate::{CreateError, Ledger, LedgerStatus, OpenError, PurgeLog};

/// How ledgers use memory, and where snapshots go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerOptions {
    /// Bytes of the state engine's block cache, for each channel.
    pub cache_bytes: u64,
    /// Bytes of the state engine's write buffer, for each keyspace of a channel.
    pub write_buffer_bytes: u64,
    /// Where snapshots for other peers go; none where none are made.
    pub snapshots: Option<PathBuf>,
    /// What is written to the log when private keys are purged.
    pub purge_log: PurgeLog,
}

impl Default for LedgerOptions {
    /// Small: an idle peer with one channel stays within tens of megabytes.
    fn default() -> Self {
        Self { cache_bytes: 16 << 20, write_buffer_bytes: 8 << 20, snapshots: None, purge_log: PurgeLog::Keys }
    }
}

/// All ledgers of a peer. One process at a time has them open.
pub struct Ledgers {
    options: (Options, PurgeLog),
    snapshots: Option<SnapshotsDirectory>,
    open: RwLock<BTreeMap<ChannelId, Arc<Ledger>>>,
    /// Joined, but not taken part in.
    paused: BTreeSet<ChannelId>,
    /// Channels whose ledgers did not open.
    unusable: BTreeSet<ChannelId>,
    /// Held while a ledger is made, so that two attempts for one channel do not meet.
    creating: Mutex<()>,
    /// Last, so that it is given free after the ledgers.
    directory: LedgersDirectory,
}

impl Ledgers {
    /// Opens all ledgers under `root` that are not paused, recovering each; makes the directory where it does not exist.
    pub fn open(root: &Path, options: LedgerOptions) -> Result<Self, OpenError> {
        Self::open_on(&FileSystem::host(), root, options)
    }

    /// As [`Self::open`] on any file system.
    pub fn open_on(files: &FileSystem, root: &Path, options: LedgerOptions) -> Result<Self, OpenError> {
        let (ledgers, failures) = Self::open_each(files, root, options)?;
        match failures.into_iter().next() {
            Some((_, failure)) => Err(failure),
            None => Ok(ledgers),
        }
    }

    /// As [`Self::open`], but a ledger that does not open keeps no other from it. It stays as it is on disk, nobody can use
    /// or replace it, and its channel comes back with the reason.
    pub fn open_usable(root: &Path, options: LedgerOptions) -> Result<(Self, Vec<(ChannelId, OpenError)>), OpenError> {
        Self::open_each(&FileSystem::host(), root, options)
    }

    fn open_each(
        files: &FileSystem,
        root: &Path,
        options: LedgerOptions,
    ) -> Result<(Self, Vec<(ChannelId, OpenError)>), OpenError> {
        let directory = LedgersDirectory::open(files, root)?;
        let snapshots = options.snapshots.as_ref().map(|path| SnapshotsDirectory::open(path)).transpose()?;
        let LedgerOptions { cache_bytes, write_buffer_bytes, purge_log, .. } = options;
        let options = (Options { cache_bytes, write_buffer_bytes }, purge_log);
        let (mut open, mut paused, mut failures) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        for (channel, ledger) in directory.ledgers()? {
            match ledger.status()? {
                LedgerStatus::Active => match Ledger::open(channel.clone(), ledger, options, snapshots.as_ref()) {
                    Ok(ledger) => drop(open.insert(channel, ledger)),
                    Err(failure) => failures.push((channel, failure)),
                },
                LedgerStatus::Inactive => {
                    tracing::info!("channel [{channel}] is paused");
                    paused.insert(channel);
                }
            }
        }
        let unusable = failures.iter().map(|(channel, _)| channel.clone()).collect();
        let (open, creating) = (RwLock::new(open), Mutex::new(()));
        Ok((Self { options, snapshots, open, paused, unusable, creating, directory }, failures))
    }

    /// Creates the ledger of the channel that `genesis` begins. After a crash in the middle it is as if not called.
    pub fn create(&self, genesis: Block) -> Result<Arc<Ledger>, CreateError> {
        let _creating = self.creating.lock();
        let channel = ChannelConfig::from_block(&genesis)?.channel_id().clone();
        self.check_new(&channel)?;
        let block = ValidatedBlock::genesis(genesis)?.into_block();
        let directory = self.directory.create(&channel, |directory| {
            let blocks = BlockStore::open_on(directory.files(), &directory.blocks(), BlockStoreOptions::default())?;
            Ok::<_, CreateError>(blocks.append(Arc::new(block))?)
        })?;
        self.open_new(channel, directory)
    }

    /// Creates the ledger of the channel that another peer made a snapshot of, after checking all of it. The snapshot is
    /// copied and may be removed then. Private data of which it has the hashes is noted as missing, or as kept from the peer's
    /// organization. After a crash in the middle it is as if not called.
    pub fn create_from_snapshot(&self, snapshot: &Path, organization: &MspId) -> Result<Arc<Ledger>, CreateError> {
        let _creating = self.creating.lock();
        let given = SnapshotFiles::open(snapshot)?;
        let channel = given.metadata().channel.clone();
        self.check_new(&channel)?;
        let directory = self.directory.create(&channel, |directory| {
            let copy = given.copy_to(&directory.snapshot())?.verify()?;
            let metadata = copy.metadata();
            let base = ChainBase {
                last_block: metadata.last_block,
                last_block_hash: metadata.last_block_hash.clone(),
                previous_block_hash: metadata.previous_block_hash.clone(),
            };
            base.place(&directory.blocks())?;
            // Only what can be opened may become a ledger.
            let ledger = Ledger::open(channel.clone(), LedgerDirectory::clone(directory), self.options, None)?;
            Ok::<_, CreateError>(ledger.note_missing(organization)?)
        })?;
        self.open_new(channel, directory)
    }

    fn check_new(&self, channel: &ChannelId) -> Result<(), CreateError> {
        match self.status(channel) {
            Some(status) => Err(CreateError::Exists { channel: channel.clone(), status }),
            None => Ok(()),
        }
    }

    fn open_new(&self, channel: ChannelId, directory: LedgerDirectory) -> Result<Arc<Ledger>, CreateError> {
        let ledger = Ledger::open(channel.clone(), directory, self.options, self.snapshots.as_ref())?;
        self.open.write().insert(channel, Arc::clone(&ledger));
        Ok(ledger)
    }

    /// The ledger of a channel; none where the channel is paused.
    pub fn get(&self, channel: &ChannelId) -> Option<Arc<Ledger>> {
        self.open.read().get(channel).cloned()
    }

    /// Whether the peer takes part in a channel; `None` when it has not joined it.
    pub fn status(&self, channel: &ChannelId) -> Option<LedgerStatus> {
        match self.get(channel) {
            Some(_) => Some(LedgerStatus::Active),
            None if self.unusable.contains(channel) => Some(LedgerStatus::Active),
            None => self.paused.contains(channel).then_some(LedgerStatus::Inactive),
        }
    }

    /// The channels that are not paused, in order of their names.
    pub fn list(&self) -> Vec<ChannelId> {
        self.open.read().keys().cloned().collect()
    }

    /// Whether a ledger was taken back and has not come as far again. What is endorsed meanwhile could not be committed:
    /// the channels' other peers know more.
    pub fn any_behind(&self) -> bool {
        self.open.read().values().any(|ledger| ledger.former_height().is_some())
    }
}
