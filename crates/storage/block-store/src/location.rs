//! Where each block lies: an array on disk beside the block files, derived from them.
//!
//! ```text
//! header = magic (8 bytes) number of the first block (u64)
//! entry  = file (u32) offset of the record (u64) length of the record with its prefix (u32)
//! ```
//! All numbers big-endian; entry i belongs to the i-th block after the first. An entry is written after its block was
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
    /// How many entries from the first on name records that lie one behind the other.
    pub(crate) unbroken: u64,
    /// How many blocks from the first on are safe, by the last entry that says anything. `None`: the array was removed.
    pub(crate) safe: Option<u64>,
}

pub(crate) struct LocationArray {
    file: File,
    count: u64,
    /// Whether it was there when it was opened.
    kept: bool,
}

impl LocationArray {
    /// Opens the array, or begins an empty one where there is none or another's. One at a time can hold it: another
    /// attempt fails with [`std::io::ErrorKind::WouldBlock`].
    pub(crate) fn open(files: &FileSystem, path: &Path) -> Result<Self, FileError> {
        let file = files.open(path, Access::Create)?;
        file.lock()?;
        let length = file.length()?;
        let mut header = [0; HEADER as usize];
        if length >= HEADER {
            file.read_exact_at(&mut header, 0)?;
        }
        let valid = header.starts_with(MAGIC);
        if !valid {
            file.set_length(0)?;
            let mut header = [0; HEADER as usize];
            header[..8].copy_from_slice(MAGIC);
            file.write_all_at(&header, 0)?;
        }
        let count = if valid { (length - HEADER) / ENTRY } else { 0 };
        Ok(Self { file, count, kept: valid })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn get(&self, index: u64) -> Result<Location, FileError> {
        let mut entry = [0; ENTRY as usize];
        self.file.read_exact_at(&mut entry, HEADER + index * ENTRY)?;
        Ok(Location::decode(entry))
    }

    /// Reads all entries.
    pub(crate) fn survey(&self) -> Result<Survey, FileError> {
        let mut survey = Survey { unbroken: 0, safe: self.kept.then_some(0) };
        let (mut before, mut index) = (None, 0);
        while index < self.count {
            let mut chunk = vec![0; (self.count - index).min(ENTRIES_A_READ as u64) as usize * ENTRY as usize];
            self.file.read_exact_at(&mut chunk, HEADER + index * ENTRY)?;
            let (entries, _) = chunk.as_chunks::<{ ENTRY as usize }>();
            for entry in entries {
                let location = Location::decode(*entry);
                if survey.unbroken == index && location.follows(before) {
                    survey.unbroken += 1;
                    before = Some(location);
                }
                index += 1;
                if location.length > 0 {
                    survey.safe = Some(index);
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

    /// Whether it is time for [`Self::sync`], when there were `before` entries a moment ago.
    pub(crate) fn is_sync_due(&self, before: u64) -> bool {
        before / ENTRIES_A_SYNC != self.count / ENTRIES_A_SYNC
    }

    /// Makes the entries as they are survive.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        self.file.sync()
    }

    /// Forgets all but the first `count` entries.
    pub(crate) fn truncate(&mut self, count: u64) -> Result<(), FileError> {
        self.count = self.count.min(count);
        self.file.set_length(HEADER + self.count * ENTRY)
    }
}
