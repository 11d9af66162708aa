//! Where each block lies: an array on disk beside the block files, derived from them.
//!
//! ```text
//! header = magic (8 bytes) number of the first block (u64)
//! entry  = file (u32) offset of the record (u64) length of the record with its prefix (u32)
//! ```
//! All numbers big-endian; entry i belongs to the i-th block after the first, but callers speak
//! of block numbers. An entry is written after its block was
//! synchronised, and some time later synchronised itself. So after a crash the array may lag behind the files, and a loss of
//! power may have left holes in it; but where an entry is, the blocks up to its own are safe.

use std::path::Path;

use ripstop_files::{Access, File, FileError, FileSystem};

const MAGIC: &[u8; 8] = b"RSBLOCK1";
const HEADER: u64 = 16;
const ENTRY: u64 = 16;

/// How many entries are read at once.
const ENTRIES_A_READ: usize = 4096;

/// The array is synchronised after this many entries: so many blocks may be without one after a loss of power.
const ENTRIES_A_SYNC: u64 = 64;

/// Where a block's record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    /// The number in the file's name.
    pub(crate) file: u32,
    /// Where the record begins.
    pub(crate) offset: u64,
    /// Its length, with the length prefix.
    pub(crate) length: u32,
}

impl Location {
    pub(crate) fn end(self) -> u64 {
        self.offset + u64::from(self.length)
    }

    fn decode(entry: [u8; ENTRY as usize]) -> Self {
        let entry = u128::from_be_bytes(entry);
        Self { file: (entry >> 96) as u32, offset: (entry >> 32) as u64, length: entry as u32 }
    }

    /// Whether its record can stand behind another, or at the beginning.
    fn follows(self, before: Option<Self>) -> bool {
        let (file, end) = before.map_or((0, 0), |before| (before.file, before.end()));
        self.length > 0
            && ((self.file, self.offset) == (file, end) || (Some(self.file), self.offset) == (file.checked_add(1), 0))
    }
}

/// What an array tells that may have holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Survey {
    /// The block up to which, without it, the entries name records that lie one behind the other.
    pub(crate) unbroken: u64,
    /// The block up to which, without it, all are safe, by the last entry that says anything. `None`: the array was removed.
    pub(crate) safe: Option<u64>,
}

pub(crate) struct LocationArray {
    file: File,
    /// The number of the first block.
    first: u64,
    /// How many entries there are.
    count: u64,
    /// Whether it was there when it was opened.
    kept: bool,
}

impl LocationArray {
    /// Opens the array of blocks from `first` on, or begins an empty one where there is none or another's. One at a time
    /// can hold it: another attempt fails with [`std::io::ErrorKind::WouldBlock`].
    pub(crate) fn open(files: &FileSystem, path: &Path, first: u64) -> Result<Self, FileError> {
        let file = files.open(path, Access::Create)?;
        file.lock()?;
        let length = file.length()?;
        let mut header = [0; HEADER as usize];
        if length >= HEADER {
            file.read_exact_at(&mut header, 0)?;
        }
        let mut expected = [0; HEADER as usize];
        expected[..8].copy_from_slice(MAGIC);
        expected[8..].copy_from_slice(&first.to_be_bytes());
        let valid = header == expected;
        if !valid {
            file.set_length(0)?;
            file.write_all_at(&expected, 0)?;
        }
        let count = if valid { (length - HEADER) / ENTRY } else { 0 };
        Ok(Self { file, first, count, kept: valid })
    }

    /// The number of the first block, whether it has an entry or not.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the block behind the last that has an entry.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.count
    }

    /// The entry of a block between the first and [`Self::next`].
    pub(crate) fn get(&self, block: u64) -> Result<Location, FileError> {
        let mut entry = [0; ENTRY as usize];
        self.file.read_exact_at(&mut entry, HEADER + (block - self.first) * ENTRY)?;
        Ok(Location::decode(entry))
    }

    /// Reads all entries.
    pub(crate) fn survey(&self) -> Result<Survey, FileError> {
        let mut survey = Survey { unbroken: self.first, safe: self.kept.then_some(self.first) };
        let (mut before, mut block) = (None, self.first);
        while block < self.next() {
            let mut chunk = vec![0; (self.next() - block).min(ENTRIES_A_READ as u64) as usize * ENTRY as usize];
            self.file.read_exact_at(&mut chunk, HEADER + (block - self.first) * ENTRY)?;
            let (entries, _) = chunk.as_chunks::<{ ENTRY as usize }>();
            for entry in entries {
                let location = Location::decode(*entry);
                if survey.unbroken == block && location.follows(before) {
                    survey.unbroken += 1;
                    before = Some(location);
                }
                block += 1;
                if location.length > 0 {
                    survey.safe = Some(block);
                }
            }
        }
        Ok(survey)
    }

    /// Adds the entry of a block that was synchronised.
    pub(crate) fn push(&mut self, location: Location) -> Result<(), FileError> {
        let entry = u128::from(location.file) << 96 | u128::from(location.offset) << 32 | u128::from(location.length);
        self.file.write_all_at(&entry.to_be_bytes(), HEADER + self.count * ENTRY)?;
        self.count += 1;
        Ok(())
    }

    /// Whether it is time for [`Self::sync`], when [`Self::next`] was `before` a moment ago.
    pub(crate) fn is_sync_due(&self, before: u64) -> bool {
        before / ENTRIES_A_SYNC != self.next() / ENTRIES_A_SYNC
    }

    /// Makes the entries as they are survive.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        self.file.sync()
    }

    /// Forgets the entries of block `next` and of all behind it.
    pub(crate) fn truncate(&mut self, next: u64) -> Result<(), FileError> {
        self.count = self.count.min(next.saturating_sub(self.first));
        self.file.set_length(HEADER + self.count * ENTRY)
    }
}
