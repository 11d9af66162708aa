//! The engine for a simulated disk: all keys in memory, behind a journal of batches on the disk.
//!
//! ```text
//! journal = magic (1 byte) batch...
//! batch   = length of writes (u32) crc32 of writes (u32) writes
//! writes  = for each: length of keyspace (u32) keyspace, length of key (u32) key, 0 or 1 length of value (u32) value
//! ```
//! It promises and breaks what the engine on disk does: a batch is there as a whole or not at all, and after a loss of power
//! those that were not synchronised may be missing, the last ones first.

use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use parking_lot::Mutex;
use ripstop_files::{Access, File, FileSystem};

use crate::memory::Memory;
use crate::store::{Durability, Engine, Frozen, RawScan, Write};
use crate::{Keyspace, KvError};

const MAGIC: u8 = b'J';
const BATCH_HEADER: usize = 8;

/// The journal, and what follows from it.
pub(crate) struct Journal {
    file: File,
    end: Mutex<u64>,
    memory: Memory,
}

impl Journal {
    pub(crate) fn open(files: &FileSystem, directory: &Path, keyspaces: &[Keyspace]) -> Result<Self, KvError> {
        let file = files.open(&directory.join("journal"), Access::Create)?;
        file.lock()?;
        files.sync_directory(directory)?;
        let mut content = vec![0; file.length()? as usize];
        file.read_exact_at(&mut content, 0)?;
        let memory = Memory::new(keyspaces);
        let mut end = 0;
        if content.first() == Some(&MAGIC) {
            end = 1;
            let mut rest = Bytes::from(content).slice(1..);
            while let Some(batch) = take_batch(&mut rest) {
                end += (BATCH_HEADER + batch.len()) as u64;
                memory.write(read_writes(batch, keyspaces)?, Durability::Buffered)?;
            }
        } else {
            file.write_all_at(&[MAGIC], 0)?;
            end += 1;
        }
        file.set_length(end)?;
        file.rewrite(0, end)?;
        Ok(Self { file, end: Mutex::new(end), memory })
    }
}

fn take_batch(rest: &mut Bytes) -> Option<Bytes> {
    let mut header = rest.get(..BATCH_HEADER)?;
    let (length, checksum) = (header.get_u32() as usize, header.get_u32());
    let writes = rest.get(BATCH_HEADER..BATCH_HEADER + length)?;
    if length == 0 || crc32fast::hash(writes) != checksum {
        return None;
    }
    rest.advance(BATCH_HEADER);
    Some(rest.split_to(length))
}

fn read_writes(mut batch: Bytes, keyspaces: &[Keyspace]) -> Result<Vec<Write>, KvError> {
    let mut writes = Vec::new();
    while batch.has_remaining() {
        let mut part = || {
            let length = batch.get_u32() as usize;
            batch.split_to(length)
        };
        let (name, key) = (part(), part());
        let value = (batch.get_u8() == 1).then(|| {
            let length = batch.get_u32() as usize;
            batch.split_to(length)
        });
        let keyspace = keyspaces.iter().find(|keyspace| keyspace.name.as_bytes() == name);
        let keyspace = keyspace.ok_or(KvError::NoKeyspace("of the journal"))?.name;
        writes.push(Write { keyspace, key: key.to_vec(), value });
    }
    Ok(writes)
}

fn put_writes(writes: &[Write]) -> Vec<u8> {
    let mut batch = Vec::new();
    for write in writes {
        for part in [write.keyspace.as_bytes(), &write.key] {
            batch.put_u32(part.len() as u32);
            batch.extend_from_slice(part);
        }
        match &write.value {
            None => batch.push(0),
            Some(value) => {
                batch.push(1);
                batch.put_u32(value.len() as u32);
                batch.extend_from_slice(value);
            }
        }
    }
    batch
}

impl Engine for Journal {
    fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<(), KvError> {
        let mut end = self.end.lock();
        let batch = put_writes(&writes);
        let mut framed = Vec::with_capacity(BATCH_HEADER + batch.len());
        framed.put_u32(batch.len() as u32);
        framed.put_u32(crc32fast::hash(&batch));
        framed.extend_from_slice(&batch);
        self.file.write_all_at(&framed, *end)?;
        if durability == Durability::Synced {
            self.file.sync()?;
        }
        *end += framed.len() as u64;
        self.memory.write(writes, durability)
    }

    fn freeze(&self) -> Arc<dyn Frozen> {
        Arc::new(FrozenJournal { file: self.file.clone(), memory: self.memory.freeze() })
    }
}

struct FrozenJournal {
    file: File,
    memory: Arc<dyn Frozen>,
}

impl FrozenJournal {
    /// The engine on disk reads where this one has all in memory; so that reads may fail here too, the disk is asked.
    fn ask_disk(&self) -> Result<(), KvError> {
        Ok(self.file.read_exact_at(&mut [0], 0)?)
    }
}

impl Frozen for FrozenJournal {
    fn get(&self, keyspace: &'static str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.ask_disk()?;
        self.memory.get(keyspace, key)
    }

    fn range(&self, keyspace: &'static str, start: &[u8], end: Option<&[u8]>) -> Result<RawScan, KvError> {
        self.ask_disk()?;
        self.memory.range(keyspace, start, end)
    }
}
