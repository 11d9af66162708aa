use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fjall::config::{FilterPolicy, PartitioningPolicy, PinningPolicy};
use fjall::{Database, KeyspaceCreateOptions, PersistMode, Readable};
use ripstop_files::{Access, FileError, FileSystem};

use crate::store::{Durability, Engine, Frozen, RawScan, Write};
use crate::{Keyspace, KvError, Options, Reads};

/// Bytes of all journals together; the least that the engine takes. Opening reads them all.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Threads that sort write buffers out to disk and merge files.
const WORKER_THREADS: usize = 2;

/// How many files the engine keeps open.
const OPEN_FILES: usize = 200;

/// The engine on disk.
pub(crate) struct Disk {
    database: Database,
    handles: Arc<Handles>,
}

/// What snapshots read from, too.
struct Handles {
    directory: PathBuf,
    keyspaces: Vec<(&'static str, fjall::Keyspace)>,
}

impl Handles {
    fn find(&self, name: &'static str) -> Result<&fjall::Keyspace, KvError> {
        let found = self.keyspaces.iter().find(|(keyspace, _)| *keyspace == name);
        found.map(|(_, handle)| handle).ok_or(KvError::NoKeyspace(name))
    }

    fn failed(&self, source: fjall::Error) -> KvError {
        KvError::Engine { directory: self.directory.clone(), source }
    }
}

impl Disk {
    pub(crate) fn open(directory: &Path, keyspaces: &[Keyspace], options: Options) -> Result<Self, KvError> {
        make_safe(directory)?;
        let failed = |source| KvError::Engine { directory: directory.to_owned(), source };
        let database = Database::builder(directory)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(OPEN_FILES))
            .worker_threads(WORKER_THREADS)
            .open()
            .map_err(failed)?;
        let keyspaces = keyspaces
            .iter()
            .map(|keyspace| Ok((keyspace.name, database.keyspace(keyspace.name, || tuned(keyspace.reads, options))?)))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        Ok(Self { database, handles: Arc::new(Handles { directory: directory.to_owned(), keyspaces }) })
    }
}

/// The name of a file that says that a write failed.
const WRITE_FAILED: &str = "write-failed";

/// After a failed sync the engine would read from the kernel's memory what never comes to the disk, and write behind it what
/// a loss of power then cuts off. So the journals are written again before they are read.
fn make_safe(directory: &Path) -> Result<(), FileError> {
    let files = FileSystem::host();
    let mark = directory.join(WRITE_FAILED);
    if !files.exists(&mark)? {
        return Ok(());
    }
    for path in files.list(directory)?.iter().filter(|path| path.extension().is_some_and(|kind| kind == "jnl")) {
        let journal = files.open(path, Access::Write)?;
        journal.rewrite(0, journal.length()?)?;
    }
    files.remove_file(&mark)
}

fn tuned(reads: Reads, options: Options) -> KeyspaceCreateOptions {
    let tuned = KeyspaceCreateOptions::default()
        .max_memtable_size(options.write_buffer_bytes)
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .index_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_partitioning_policy(PartitioningPolicy::all(false))
        .index_block_partitioning_policy(PartitioningPolicy::all(false));
    match reads {
        Reads::Point => tuned,
        Reads::Range => tuned.filter_policy(FilterPolicy::disabled()).expect_point_read_hits(true),
    }
}

impl Engine for Disk {
    fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<(), KvError> {
        let mode = match durability {
            Durability::Buffered => PersistMode::Buffer,
            Durability::Synced => PersistMode::SyncData,
        };
        let mut batch = self.database.batch().durability(Some(mode));
        for write in writes {
            let keyspace = self.handles.find(write.keyspace)?;
            if write.key.is_empty() {
                return Err(KvError::EmptyKey);
            }
            match write.value {
                Some(value) => batch.insert(keyspace, write.key, value.as_ref()),
                None => batch.remove(keyspace, write.key),
            }
        }
        batch.commit().map_err(|error| {
            // Whoever opens the store next finds it, unless the machine was off, and then it is not needed.
            if let Err(error) = FileSystem::host().open(&self.handles.directory.join(WRITE_FAILED), Access::Create) {
                tracing::error!("a failed write could not be noted: {error}");
            }
            self.handles.failed(error)
        })
    }

    fn freeze(&self) -> Arc<dyn Frozen> {
        Arc::new(FrozenDisk { snapshot: self.database.snapshot(), handles: Arc::clone(&self.handles) })
    }
}

struct FrozenDisk {
    snapshot: fjall::Snapshot,
    handles: Arc<Handles>,
}

impl Frozen for FrozenDisk {
    fn get(&self, keyspace: &'static str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        if key.is_empty() {
            return Ok(None);
        }
        let found = self.snapshot.get(self.handles.find(keyspace)?, key);
        let found = found.map_err(|error| self.handles.failed(error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(&self, keyspace: &'static str, start: &[u8], end: Option<&[u8]>) -> Result<RawScan, KvError> {
        let keyspace = self.handles.find(keyspace)?;
        let found = match end {
            Some(end) => self.snapshot.range(keyspace, start..end),
            None => self.snapshot.range(keyspace, start..),
        };
        let handles = Arc::clone(&self.handles);
        Ok(Box::new(found.map(move |entry| {
            let (key, value) = entry.into_inner().map_err(|error| handles.failed(error))?;
            Ok((key.to_vec(), Bytes::copy_from_slice(&value)))
        })))
    }
}

/// Moves a store's directory that cannot be used out of the way, beside itself, so that it can be rebuilt and looked
/// into. Only the last one is kept. The store must not be open.
pub fn set_aside(directory: &Path) -> Result<PathBuf, FileError> {
    set_aside_on(&FileSystem::host(), directory)
}

/// As [`set_aside`] on any file system.
pub fn set_aside_on(files: &FileSystem, directory: &Path) -> Result<PathBuf, FileError> {
    let mut name = directory.file_name().unwrap_or_default().to_os_string();
    name.push(".unusable");
    let aside = directory.with_file_name(name);
    files.remove_directory(&aside)?;
    if files.exists(directory)? {
        files.rename(directory, &aside)?;
    }
    Ok(aside)
}
