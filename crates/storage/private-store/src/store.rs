use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_kv::{Batch, Durability, KvError, Options, Snapshot, Store};
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
}

/// The private data of one channel.
pub struct PrivateStore {
    transient: TransientStore,
    committed: CommittedPrivateData,
}

impl PrivateStore {
    /// Opens the store in a directory. Where there is none, it is made with the first write.
    pub fn open(directory: &Path) -> Result<Self, PrivateStoreError> {
        let lazy = LazyStore { directory: directory.to_owned(), store: Mutex::new(None) };
        if directory.exists() {
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

    /// All entries of committed transactions as they are stored, by keyspace: for comparison with another store.
    pub fn committed_entries(&self) -> Result<Vec<(&'static str, BTreeMap<Vec<u8>, Bytes>)>, PrivateStoreError> {
        let Some(snapshot) = self.committed.snapshot() else { return Ok(vec![]) };
        let of_committed = KEYSPACES.iter().filter(|keyspace| ![TRANSIENT, ENDORSED].contains(keyspace));
        let entries = of_committed.map(|keyspace| {
            let found = snapshot.range(keyspace, &[], None)?.collect::<Result<BTreeMap<_, _>, _>>()?;
            Ok((keyspace.name, found))
        });
        // A store that was made and never written to is none.
        entries.filter(|entries| !entries.as_ref().is_ok_and(|(_, found)| found.is_empty())).collect()
    }
}

/// A key-value store that is opened when there is something to write.
pub(crate) struct LazyStore {
    directory: PathBuf,
    store: Mutex<Option<Arc<Store>>>,
}

impl LazyStore {
    fn opened(&self) -> Result<Arc<Store>, PrivateStoreError> {
        let mut store = self.store.lock();
        if let Some(store) = &*store {
            return Ok(Arc::clone(store));
        }
        let opened = Arc::new(Store::open(&self.directory, &KEYSPACES, OPTIONS)?);
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

    /// What is stored; `None` when nothing was ever written.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        self.store.lock().as_ref().map(|store| store.snapshot())
    }
}
