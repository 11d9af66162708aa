use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_files::FileSystem;
use ripstop_kv::{Batch, Durability, Entries, Keyspace, KvError, Options, Snapshot, Store};
use ripstop_rwset::RwSetError;

use crate::keys::{ENDORSED, KEYSPACES, TRANSIENT};
use crate::{CommittedPrivateData, TransientStore};

/// Memory for a store that is written to now and then.
const OPTIONS: Options = Options { cache_bytes: 1 << 20, write_buffer_bytes: 2 << 20 };

/// Private data could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PrivateStoreError {
    /// The key-value store failed.
    #[error("private data cannot be read or written: {0}")]
    Store(#[from] KvError),
    /// An entry is damaged.
    #[error("private data on disk does not decode: {0}")]
    Damaged(#[from] prost::DecodeError),
    /// A set in an entry is damaged.
    #[error("private data on disk does not decode: {0}")]
    DamagedSet(#[from] RwSetError),
    /// An entry has not the form in which it was written.
    #[error("an entry of private data on disk, in keyspace '{0}', is damaged")]
    DamagedKey(&'static str),
}

/// The private data of one channel.
pub struct PrivateStore {
    transient: TransientStore,
    committed: CommittedPrivateData,
}

impl PrivateStore {
    /// Opens the store in a directory. Where there is none, it is made with the first write.
    pub fn open(directory: &Path) -> Result<Self, PrivateStoreError> {
        Self::open_on(&FileSystem::host(), directory)
    }

    /// As [`Self::open`] on any file system.
    pub fn open_on(files: &FileSystem, directory: &Path) -> Result<Self, PrivateStoreError> {
        let lazy = LazyStore { files: files.clone(), directory: directory.to_owned(), store: Mutex::new(None) };
        if files.exists(directory).map_err(KvError::from)? {
            lazy.opened()?;
        }
        let lazy = Arc::new(lazy);
        Ok(Self { transient: TransientStore::new(Arc::clone(&lazy)), committed: CommittedPrivateData::new(lazy) })
    }

    /// Private writes between endorsement and commit.
    pub fn transient(&self) -> &TransientStore {
        &self.transient
    }

    /// Private writes of committed transactions.
    pub fn committed(&self) -> &CommittedPrivateData {
        &self.committed
    }

    /// All entries of committed transactions, for comparison with another store; without keyspaces that have none.
    pub fn committed_entries(&self) -> Result<Entries, PrivateStoreError> {
        let Some(snapshot) = self.committed.snapshot() else { return Ok(Entries::new()) };
        let of_committed: Vec<Keyspace> =
            KEYSPACES.into_iter().filter(|keyspace| ![TRANSIENT, ENDORSED].contains(keyspace)).collect();
        let mut entries = snapshot.entries(&of_committed)?;
        entries.retain(|_, found| !found.is_empty());
        Ok(entries)
    }
}

/// A key-value store that is opened when there is something to write.
pub(crate) struct LazyStore {
    files: FileSystem,
    directory: PathBuf,
    store: Mutex<Option<Arc<Store>>>,
}

impl LazyStore {
    fn opened(&self) -> Result<Arc<Store>, PrivateStoreError> {
        let mut store = self.store.lock();
        if let Some(store) = &*store {
            return Ok(Arc::clone(store));
        }
        let opened = Arc::new(Store::open_on(&self.files, &self.directory, &KEYSPACES, OPTIONS)?);
        *store = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Writes, and returns when it is safe.
    pub(crate) fn write(&self, batch: Batch) -> Result<(), PrivateStoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.opened()?.write(batch, Durability::Synced)?)
    }

    /// Removes what may come back with a loss of power, because it is old then and removed again.
    pub(crate) fn forget(&self, batch: Batch) -> Result<(), PrivateStoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.opened()?.write(batch, Durability::Buffered)?)
    }

    /// What is stored; `None` when nothing was ever written.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        self.store.lock().as_ref().map(|store| store.snapshot())
    }
}
