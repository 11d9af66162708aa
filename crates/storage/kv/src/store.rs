use std::collections::BTreeMap;
use std::io;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_files::{FileError, FileSystem, remedy};

use crate::disk::Disk;
use crate::key;
use crate::memory::Memory;

/// A named, ordered set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyspace {
    /// The name; part of the format on disk.
    pub name: &'static str,
    /// How it is read.
    pub reads: Reads,
}

/// What a keyspace is tuned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Single keys, which are often absent: worth a filter.
    Point,
    /// Ranges, or keys that are there.
    Range,
}

/// How much memory a store on disk may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the block cache, shared by all keyspaces. A fifth of the memory is a good value for a busy peer.
    pub cache_bytes: u64,
    /// Bytes that a keyspace gathers before they are sorted out to disk; 16 to 32 MiB for a busy peer.
    pub write_buffer_bytes: u64,
}

impl Default for Options {
    /// For an idle peer.
    fn default() -> Self {
        Self { cache_bytes: 8 << 20, write_buffer_bytes: 8 << 20 }
    }
}

/// When a written batch is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// At once against the end of the process; against loss of power some time later. For what can be derived again.
    Buffered,
    /// When the call returns. For what stands nowhere else.
    Synced,
}

/// Why the store cannot read or write.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The engine on disk failed.
    #[error("the key-value store {directory} failed: {source}{advice}", directory = directory.display(), advice = advice(source))]
    Engine {
        /// Where the store is.
        directory: PathBuf,
        /// What the engine says.
        source: fjall::Error,
    },
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// An earlier write failed, and what is on disk is unknown until the store is opened again.
    #[error("the key-value store must be opened again after a failed write")]
    Failed,
    /// A keyspace that was not named when the store was opened.
    #[error("the key-value store has no keyspace '{0}'")]
    NoKeyspace(&'static str),
    /// The engine takes no empty keys.
    #[error("an empty key cannot be stored")]
    EmptyKey,
    /// A stored value has not the form in which it was written.
    #[error("a value in keyspace '{0}' is damaged")]
    Damaged(&'static str),
}

impl KvError {
    /// Whether what is stored is at fault, so that beginning anew helps. A full disk, missing rights, too many open files
    /// or another process that holds the store are of the machine, and pass.
    pub fn is_of_content(&self) -> bool {
        let cause = match self {
            Self::Engine { source: fjall::Error::Locked, .. } => return false,
            Self::Engine { source, .. } => io_cause(source),
            Self::File(error) => Some(&error.source),
            Self::NoKeyspace(_) | Self::EmptyKey | Self::Damaged(_) | Self::Failed => None,
        };
        cause.is_none_or(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::AlreadyExists
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
            )
        })
    }
}

/// The failure of the machine behind one of the engine.
fn io_cause(error: &fjall::Error) -> Option<&io::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

fn advice(error: &fjall::Error) -> &'static str {
    io_cause(error).map_or("", remedy)
}

/// Changes that take effect together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
}

#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) keyspace: &'static str,
    pub(crate) key: Vec<u8>,
    /// `None` deletes.
    pub(crate) value: Option<Bytes>,
}

impl Batch {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key. A later change of the same key in the batch replaces an earlier one.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        let (key, value) = key::encode(key.into(), value.into());
        self.writes.push(Write { keyspace: keyspace.name, key, value: Some(value) });
    }

    /// Removes a key; nothing happens when it is absent.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl Into<Vec<u8>>) {
        self.writes.push(Write { keyspace: keyspace.name, key: key::encode_key(key.into()), value: None });
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// What is behind a store. Implementations apply a batch atomically and durably as asked; `freeze` shows exactly the
/// batches applied before, and is only called while no batch is being applied.
pub(crate) trait Engine: Send + Sync {
    fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<(), KvError>;
    fn freeze(&self) -> Arc<dyn Frozen>;
}

/// Keys and values of an engine at one moment.
pub(crate) trait Frozen: Send + Sync {
    fn get(&self, keyspace: &'static str, key: &[u8]) -> Result<Option<Bytes>, KvError>;
    /// Keys from `start` inclusive to `end` exclusive (`None`: all that follow).
    fn range(&self, keyspace: &'static str, start: &[u8], end: Option<&[u8]>) -> Result<RawScan, KvError>;
}

/// Encoded keys and values in order.
pub(crate) type RawScan = Box<dyn Iterator<Item = Result<(Vec<u8>, Bytes), KvError>> + Send>;

/// A key-value store. Share it in an `Arc`.
pub struct Store {
    writer: Mutex<Writer>,
    published: ArcSwap<Snapshot>,
}

struct Writer {
    engine: Box<dyn Engine>,
    failed: bool,
}

impl Store {
    /// Opens or creates a store in a directory, which one process at a time can hold.
    pub fn open(directory: &Path, keyspaces: &[Keyspace], options: Options) -> Result<Self, KvError> {
        Self::open_on(&FileSystem::host(), directory, keyspaces, options)
    }

    /// As [`Self::open`] on any file system.
    pub fn open_on(
        files: &FileSystem,
        directory: &Path,
        keyspaces: &[Keyspace],
        options: Options,
    ) -> Result<Self, KvError> {
        files.create_directory(directory)?;
        #[cfg(feature = "simulated")]
        if !files.is_host() {
            return Ok(Self::over(Box::new(crate::journal::Journal::open(files, directory, keyspaces)?)));
        }
        Ok(Self::over(Box::new(Disk::open(directory, keyspaces, options)?)))
    }

    /// A store in memory. Each batch copies the keyspaces it touches, so it is for tests and small data.
    pub fn memory(keyspaces: &[Keyspace]) -> Self {
        Self::over(Box::new(Memory::new(keyspaces)))
    }

    fn over(engine: Box<dyn Engine>) -> Self {
        let published = ArcSwap::from_pointee(Snapshot(engine.freeze()));
        Self { writer: Mutex::new(Writer { engine, failed: false }), published }
    }

    /// Applies a batch and publishes the result. Blocks while another batch is applied. After a failure no more is written:
    /// what follows half a batch would not be found again.
    pub fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        let mut writer = self.writer.lock();
        if writer.failed {
            return Err(KvError::Failed);
        }
        let written = writer.engine.write(batch.writes, durability);
        writer.failed = written.is_err();
        written?;
        self.published.store(Arc::new(Snapshot(writer.engine.freeze())));
        Ok(())
    }

    /// All batches written so far, and nothing of one that is being written. Never blocks.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.published.load())
    }
}

/// Keyspaces with all their entries.
pub type Entries = BTreeMap<&'static str, BTreeMap<Vec<u8>, Bytes>>;

/// The content of a store at one moment. Cheap to clone; holding one for long keeps the engine from tidying up.
#[derive(Clone)]
pub struct Snapshot(Arc<dyn Frozen>);

impl Snapshot {
    pub(crate) fn new(frozen: Arc<dyn Frozen>) -> Self {
        Self(frozen)
    }

    pub(crate) fn frozen(&self) -> &dyn Frozen {
        &*self.0
    }

    /// The value of a key.
    pub fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let Some(value) = self.0.get(keyspace.name, &key::encode_key(key.to_vec()))? else { return Ok(None) };
        if !key::is_long(key) {
            return Ok(Some(value));
        }
        let (whole, value) = key::decode_long(&value).ok_or(KvError::Damaged(keyspace.name))?;
        // Equal only if nobody finds two keys with one hash.
        Ok((whole == key).then_some(value))
    }

    /// Keys from `start` inclusive to `end` exclusive (`None`: all that follow) in bytewise order.
    pub fn range(&self, keyspace: &Keyspace, start: &[u8], end: Option<&[u8]>) -> Result<Scan, KvError> {
        if end.is_some_and(|end| start >= end) {
            let raw: RawScan = Box::new(std::iter::empty());
            return Ok(Scan { keyspace: keyspace.name, raw: raw.peekable(), start: vec![], end: None, group: vec![] });
        }
        let raw = self.0.range(keyspace.name, key::lower_bound(start), end.map(key::upper_bound).as_deref())?;
        Ok(Scan {
            keyspace: keyspace.name,
            raw: raw.peekable(),
            start: start.to_vec(),
            end: end.map(<[u8]>::to_vec),
            group: vec![],
        })
    }

    /// All entries of these keyspaces, for comparison with another store.
    pub fn entries(&self, keyspaces: &[Keyspace]) -> Result<Entries, KvError> {
        let all = |keyspace: &Keyspace| {
            let found = self.range(keyspace, &[], None)?.collect::<Result<_, _>>()?;
            Ok((keyspace.name, found))
        };
        keyspaces.iter().map(all).collect()
    }

    /// Keys that begin with `prefix`, in bytewise order.
    pub fn prefix(&self, keyspace: &Keyspace, prefix: &[u8]) -> Result<Scan, KvError> {
        self.range(keyspace, prefix, key::after_prefix(prefix).as_deref())
    }
}

/// The keys and values of a range, in key order. Independent of the snapshot it came from.
pub struct Scan {
    keyspace: &'static str,
    raw: Peekable<RawScan>,
    start: Vec<u8>,
    end: Option<Vec<u8>>,
    /// Long keys with the same beginning stand in the order of their hashes; here they are in order, last first.
    group: Vec<(Vec<u8>, Bytes)>,
}

impl Scan {
    /// Takes a long key and all that begin like it.
    fn take_group(&mut self, stored: &[u8], first: (Vec<u8>, Bytes)) -> Result<(), KvError> {
        let mut group = vec![first];
        while let Some(next) =
            self.raw.next_if(|next| next.as_ref().is_ok_and(|(other, _)| key::same_group(stored, other)))
        {
            let (_, value) = next?;
            group.push(key::decode_long(&value).ok_or(KvError::Damaged(self.keyspace))?);
        }
        group.sort_by(|a, b| b.0.cmp(&a.0));
        self.group = group;
        Ok(())
    }

    fn take(&mut self) -> Result<Option<(Vec<u8>, Bytes)>, KvError> {
        loop {
            if let Some(pair) = self.group.pop() {
                return Ok(Some(pair));
            }
            let Some((stored, value)) = self.raw.next().transpose()? else { return Ok(None) };
            if !key::is_stored_long(&stored) {
                return Ok(Some((stored, value)));
            }
            let first = key::decode_long(&value).ok_or(KvError::Damaged(self.keyspace))?;
            self.take_group(&stored, first)?;
        }
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Bytes), KvError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let pair = match self.take().transpose()? {
                Ok(pair) => pair,
                Err(error) => return Some(Err(error)),
            };
            // The engine's bounds are wider where a bound is a long key.
            let (key, _) = &pair;
            if *key >= self.start && self.end.as_ref().is_none_or(|end| key < end) {
                return Some(Ok(pair));
            }
        }
    }
}
