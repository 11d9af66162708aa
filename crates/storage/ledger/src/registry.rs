use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use ripstop_block_store::{BlockStore, BlockStoreOptions, ChainBase};
use ripstop_channel_config::ChannelConfig;
use ripstop_files::FileSystem;
use ripstop_kv::Options;
use ripstop_snapshot::SnapshotFiles;
use ripstop_types::{Block, ChannelId};
use ripstop_validation::ValidatedBlock;

use crate::ledger::SNAPSHOT;
use crate::snapshots::SnapshotsDirectory;
use crate::{CreateError, Ledger, OpenError};

/// The beginning of the names of directories in which a ledger is being made. No channel's name begins so.
const CREATING: &str = ".creating-";

/// How ledgers use memory, and where snapshots go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerOptions {
    /// Bytes of the state engine's block cache, for each channel.
    pub cache_bytes: u64,
    /// Bytes of the state engine's write buffer, for each keyspace of a channel.
    pub write_buffer_bytes: u64,
    /// Where snapshots for other peers go; none where none are made.
    pub snapshots: Option<PathBuf>,
}

impl Default for LedgerOptions {
    /// Small: an idle peer with one channel stays within tens of megabytes.
    fn default() -> Self {
        Self { cache_bytes: 16 << 20, write_buffer_bytes: 8 << 20, snapshots: None }
    }
}

/// All ledgers of a peer: one directory, in it one directory a channel.
pub struct Ledgers {
    files: FileSystem,
    root: PathBuf,
    options: Options,
    snapshots: Option<SnapshotsDirectory>,
    open: RwLock<BTreeMap<ChannelId, Arc<Ledger>>>,
    /// Held while a ledger is made, so that two attempts for one channel do not meet.
    creating: Mutex<()>,
}

impl Ledgers {
    /// Opens all ledgers under `root`, recovering each; makes the directory where it does not exist.
    pub fn open(root: &Path, options: LedgerOptions) -> Result<Self, OpenError> {
        Self::open_on(&FileSystem::host(), root, options)
    }

    /// As [`Self::open`] on any file system.
    pub fn open_on(files: &FileSystem, root: &Path, options: LedgerOptions) -> Result<Self, OpenError> {
        let snapshots = options.snapshots.as_ref().map(|path| SnapshotsDirectory::open(path).map_err(OpenError::from));
        let snapshots = snapshots.transpose()?;
        let options = Options { cache_bytes: options.cache_bytes, write_buffer_bytes: options.write_buffer_bytes };
        files.create_directory(root)?;
        let mut open = BTreeMap::new();
        for path in files.list(root)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(CREATING) {
                files.remove_directory(&path)?;
            } else if let Ok(channel) = ChannelId::new(&name) {
                open.insert(channel.clone(), Ledger::open(files, channel, &path, options, snapshots.as_ref())?);
            } else if path.is_dir() {
                tracing::warn!("{} is no ledger and is left alone", path.display());
            }
        }
        let (files, root) = (files.clone(), root.to_owned());
        Ok(Self { files, root, options, snapshots, open: RwLock::new(open), creating: Mutex::new(()) })
    }

    /// Creates the ledger of the channel that `genesis` begins. After a crash in the middle it is as if not called.
    pub fn create(&self, genesis: Block) -> Result<Arc<Ledger>, CreateError> {
        let _creating = self.creating.lock();
        let channel = ChannelConfig::from_block(&genesis)?.channel_id().clone();
        if self.get(&channel).is_some() {
            return Err(CreateError::Exists(channel));
        }
        let block = ValidatedBlock::genesis(genesis)?.into_block();
        self.place(&channel, |directory| {
            let blocks = BlockStore::open_on(&self.files, &directory.join("blocks"), BlockStoreOptions::default())?;
            Ok(blocks.append(Arc::new(block))?)
        })?;
        self.open_placed(channel)
    }

    /// Creates the ledger of the channel that another peer made a snapshot of, after checking all of it. The snapshot is
    /// copied and may be removed then. After a crash in the middle it is as if not called.
    pub fn create_from_snapshot(&self, snapshot: &Path) -> Result<Arc<Ledger>, CreateError> {
        let _creating = self.creating.lock();
        let given = SnapshotFiles::open(snapshot)?;
        let channel = given.metadata().channel.clone();
        if self.get(&channel).is_some() {
            return Err(CreateError::Exists(channel));
        }
        self.place(&channel, |directory| {
            let copy = given.copy_to(&directory.join(SNAPSHOT))?.verify()?;
            let metadata = copy.metadata();
            let base = ChainBase {
                last_block: metadata.last_block,
                last_block_hash: metadata.last_block_hash.clone(),
                previous_block_hash: metadata.previous_block_hash.clone(),
            };
            base.place(&directory.join("blocks"))?;
            // Only what can be opened may become a ledger.
            Ledger::open(&self.files, channel.clone(), directory, self.options, None)?;
            Ok(())
        })?;
        self.open_placed(channel)
    }

    /// Fills a directory beside the ledgers, then puts it in its place: a directory with a channel's name always holds a
    /// whole ledger.
    fn place(
        &self,
        channel: &ChannelId,
        fill: impl FnOnce(&Path) -> Result<(), CreateError>,
    ) -> Result<(), CreateError> {
        let files = &self.files;
        let creating = self.root.join(format!("{CREATING}{channel}"));
        files.remove_directory(&creating)?;
        files.create_directory(&creating)?;
        fill(&creating)?;
        files.sync_directory(&creating)?;
        files.rename(&creating, &self.root.join(channel.as_str()))?;
        Ok(files.sync_directory(&self.root)?)
    }

    fn open_placed(&self, channel: ChannelId) -> Result<Arc<Ledger>, CreateError> {
        let directory = self.root.join(channel.as_str());
        let ledger = Ledger::open(&self.files, channel.clone(), &directory, self.options, self.snapshots.as_ref())?;
        self.open.write().insert(channel, Arc::clone(&ledger));
        Ok(ledger)
    }

    /// The ledger of a channel.
    pub fn get(&self, channel: &ChannelId) -> Option<Arc<Ledger>> {
        self.open.read().get(channel).cloned()
    }

    /// All channels, in order of their names.
    pub fn list(&self) -> Vec<ChannelId> {
        self.open.read().keys().cloned().collect()
    }
}
