//! The blocks of a directory one after the other, for those who look into block files without serving them.

use std::path::Path;

use ripstop_files::FileSystem;
use ripstop_types::Block;

use crate::BlockStoreError;
use crate::files::Files;
use crate::record::decode_block;

/// Reads block files from the first block on. Nothing is changed or locked, so a copy or a peer's own files will do; what
/// stands at the end of the last file but is no whole record is left out.
///
/// Only the form of records is checked: hashes and numbers are for the caller to judge.
pub struct BlockReader {
    files: Files,
    file: u32,
    offset: u64,
    count: u32,
}

impl BlockReader {
    /// Begins with the first block in a directory.
    pub fn open(directory: &Path) -> Result<Self, BlockStoreError> {
        let files = Files::new(&FileSystem::host(), directory);
        let count = files.count()?;
        Ok(Self { files, file: 0, offset: 0, count })
    }

    fn read(&mut self) -> Result<Option<Block>, BlockStoreError> {
        while self.file < self.count {
            let length = self.files.length(self.file)?;
            if self.offset >= length {
                self.file += 1;
                self.offset = 0;
                continue;
            }
            let Some(location) = self.files.locate(self.file, self.offset, length)? else {
                if self.file + 1 == self.count {
                    return Ok(None);
                }
                return Err(self.damaged("the record is cut off"));
            };
            let record = self.files.read(location)?.ok_or_else(|| self.damaged("the record has changed"))?;
            let block = decode_block(record).map_err(|error| self.damaged(error))?;
            self.offset = location.end();
            return Ok(Some(block));
        }
        Ok(None)
    }

    fn damaged(&self, reason: impl ToString) -> BlockStoreError {
        BlockStoreError::Damaged { file: self.file, offset: self.offset, reason: reason.to_string() }
    }
}

impl Iterator for BlockReader {
    type Item = Result<Block, BlockStoreError>;

    /// Nothing follows an error.
    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.is_err() {
            self.count = 0;
        }
        read.transpose()
    }
}
