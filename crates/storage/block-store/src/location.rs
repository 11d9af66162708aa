//! Where each block lies: an array on disk beside the block files, derived from them.
//!
//! ```text
//! header = magic (8 bytes) number of the first block (u64)
//! entry  = file (u32) offset of the record (u64) length of the record with its prefix (u32)
//! ```
//! All numbers big-endian; entry i belongs to the i-th block after the first. The array may lag behind the files after a
//! crash, or hold entries that a loss of power damaged: recovery checks the last entry and mends the rest.

use std::path::Path;

use ripstop_files::{Access, File, FileError, FileSystem};

const MAGIC: &[u8; 8] = b"RSBLOCK1";
const HEADER: u64 = 16;
const ENTRY: u64 = 16;

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
}

pub(crate) struct LocationArray {
    file: File,
    count: u64,
}

impl LocationArray {
    /// Opens the array, or begins an empty one where there is none or another's. One at a time can hold it: another
    /// attempt fails with [`std::io::ErrorKind::WouldBlock`].
    pub(crate) fn open(files: &FileSystem, path: &Path) -> Result<Self, FileError> {
        let file = files.open(path, Access::Create)?;
        file.lock()?;
        let length = file.length()?;
        let mut header = [0; HEADER as usize];
        let valid = length >= HEADER && file.read_exact_at(&mut header, 0).is_ok() && header.starts_with(MAGIC);
        if !valid {
            file.set_length(0)?;
            let mut header = [0; HEADER as usize];
            header[..8].copy_from_slice(MAGIC);
            file.write_all_at(&header, 0)?;
        }
        let count = if valid { (length - HEADER) / ENTRY } else { 0 };
        Ok(Self { file, count })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn get(&self, index: u64) -> Result<Location, FileError> {
        let mut entry = [0; ENTRY as usize];
        self.file.read_exact_at(&mut entry, HEADER + index * ENTRY)?;
        let entry = u128::from_be_bytes(entry);
        Ok(Location { file: (entry >> 96) as u32, offset: (entry >> 32) as u64, length: entry as u32 })
    }

    pub(crate) fn push(&mut self, location: Location) -> Result<(), FileError> {
        let entry = u128::from(location.file) << 96 | u128::from(location.offset) << 32 | u128::from(location.length);
        self.file.write_all_at(&entry.to_be_bytes(), HEADER + self.count * ENTRY)?;
        self.count += 1;
        Ok(())
    }

    /// Forgets all but the first `count` entries.
    pub(crate) fn truncate(&mut self, count: u64) -> Result<(), FileError> {
        self.count = self.count.min(count);
        self.file.set_length(HEADER + self.count * ENTRY)
    }
}
