//! Taking a ledger back to one of its earlier blocks.
//!
//! A record in the ledger's directory says what is going on, so that after a crash the ledger is either what it was or what
//! it is to become. It holds the height that the ledger had, in decimal digits, and behind it, until the chain is cut, the
//! number of the block that is to be the last. What is left then tells up to which height the peer knew the channel before:
//! below it, it answers no proposals (Fabric: `__preResetHeight`).
//!
//! Private data stays: the blocks come again, and their private data may come from nowhere else.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use ripstop_block_store::{BlockStore, BlockStoreError, BlockStoreOptions};
use ripstop_files::FileError;
use ripstop_types::BlockNumber;

use crate::directory::LedgerDirectory;

/// The record of a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    former_height: u64,
    cut_after: Option<BlockNumber>,
}

impl Record {
    fn read(directory: &LedgerDirectory) -> Result<Option<Self>, FileError> {
        let Some(raw) = directory.rollback()? else { return Ok(None) };
        let damaged = || FileError {
            action: "understand",
            path: directory.path().join("rollback"),
            source: io::Error::new(io::ErrorKind::InvalidData, "it is damaged"),
        };
        let mut numbers = raw.split(|byte| *byte == b' ').map(|digits| {
            let digits = std::str::from_utf8(digits).ok();
            digits.and_then(|digits| digits.parse::<u64>().ok()).ok_or_else(damaged)
        });
        let former_height = numbers.next().ok_or_else(damaged)??;
        let cut_after = numbers.next().transpose()?.map(BlockNumber::new);
        match numbers.next() {
            None => Ok(Some(Self { former_height, cut_after })),
            Some(_) => Err(damaged()),
        }
    }

    fn write(self, directory: &LedgerDirectory) -> Result<(), FileError> {
        let text = match self.cut_after {
            None => self.former_height.to_string(),
            Some(last) => format!("{} {last}", self.former_height),
        };
        directory.put_rollback(text.as_bytes())
    }
}

/// Opens the blocks of a ledger; where a rollback was interrupted, it is finished.
pub(crate) fn open_blocks(directory: &LedgerDirectory) -> Result<BlockStore, BlockStoreError> {
    let blocks = BlockStore::open_on(directory.files(), &directory.blocks(), BlockStoreOptions::default())?;
    match Record::read(directory)? {
        Some(Record { former_height, cut_after: Some(last) }) => {
            cut(directory, blocks, former_height, last)?;
            BlockStore::open_on(directory.files(), &directory.blocks(), BlockStoreOptions::default())
        }
        _ => Ok(blocks),
    }
}

/// Makes `last` the last block of a chain that may have later ones.
pub(crate) fn roll_back(
    directory: &LedgerDirectory,
    blocks: BlockStore,
    last: BlockNumber,
) -> Result<(), BlockStoreError> {
    // After several rollbacks the greatest height counts.
    let before = Record::read(directory)?.map_or(0, |record| record.former_height);
    let former_height = before.max(blocks.appended());
    Record { former_height, cut_after: Some(last) }.write(directory)?;
    cut(directory, blocks, former_height, last)
}

fn cut(
    directory: &LedgerDirectory,
    blocks: BlockStore,
    former_height: u64,
    last: BlockNumber,
) -> Result<(), BlockStoreError> {
    directory.drop_state()?;
    blocks.truncate_after(last)?;
    Ok(Record { former_height, cut_after: None }.write(directory)?)
}

/// The height that a ledger had before it was taken back, until it has it again.
pub(crate) struct FormerHeight {
    directory: LedgerDirectory,
    /// 0: the ledger was not taken back, or has come as far again.
    height: AtomicU64,
}

impl FormerHeight {
    /// Reads it for a ledger of this height.
    pub(crate) fn open(directory: LedgerDirectory, height: u64) -> Result<Self, FileError> {
        let former = Record::read(&directory)?.map_or(0, |record| record.former_height);
        let former = Self { directory, height: AtomicU64::new(former) };
        former.reached(height);
        Ok(former)
    }

    pub(crate) fn get(&self) -> Option<u64> {
        Some(self.height.load(Ordering::Acquire)).filter(|former| *former > 0)
    }

    /// Takes note of the ledger's height.
    pub(crate) fn reached(&self, height: u64) {
        let Some(former) = self.get().filter(|former| height >= *former) else { return };
        // It does no harm if the record stays: the next time it says nothing new.
        if let Err(error) = self.directory.remove_rollback() {
            tracing::warn!("the record of a rollback in {} stays: {error}", self.directory.path().display());
        }
        tracing::debug!("{} has its former height {former} again", self.directory.path().display());
        self.height.store(0, Ordering::Release);
    }
}
