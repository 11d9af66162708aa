use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use ripstop_files::{File, FileError, FileSystem};
use ripstop_types::{Block, BlockNumber, put_varuint};
use tokio::sync::watch;

use crate::base::ChainBase;
use crate::files::Files;
use crate::follow::Follower;
use crate::location::{Location, LocationArray};
use crate::record::{MAX_VARINT, RecordError, decode_block, encode_block};
use crate::recover::recover;

/// How many of the newest blocks stay in memory for those who follow the chain.
const RECENT_BLOCKS: usize = 16;

/// How many bytes of transactions those blocks may have together; above it only the newest is kept.
const RECENT_BYTES: usize = 8 << 20;

/// The file beside the block files that says where each block lies.
pub(crate) const LOCATIONS: &str = "locations";

/// Why the block store cannot read or write.
#[derive(Debug, thiserror::Error)]
pub enum BlockStoreError {
    /// The disk or the file system failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process, or another part of this one, has the blocks open.
    #[error("the block files in {0} are in use by another process")]
    InUse(PathBuf),
    /// A block in the middle of the chain is damaged. Restore the directory from a copy, or remove it and fetch the
    /// chain anew.
    #[error("block file {file} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// The number of the file.
        file: u32,
        /// Where the record begins.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A block file is missing, and later ones are there. Nothing was changed.
    #[error(
        "the block file {path} is missing, but later ones are there; restore it from a copy, or remove the directory and fetch the chain anew",
        path = .0.display()
    )]
    NoFile(PathBuf),
    /// Blocks are gone that had been written safely. Nothing was changed.
    #[error(
        "the block files in {directory} end before block {height}, but blocks up to {last} had been written safely; restore the directory from a copy, or remove it and fetch the chain anew",
        directory = directory.display(),
        last = safe - 1
    )]
    Lost {
        /// Where the block files are.
        directory: PathBuf,
        /// How many blocks are there, with those before the first.
        height: u64,
        /// How many were safe.
        safe: u64,
    },
    /// A block that was whole when the store was opened does not decode.
    #[error("block {block}: {source}")]
    Record {
        /// The block.
        block: BlockNumber,
        /// What is wrong.
        source: RecordError,
    },
    /// The file that says where the chain begins does not decode. Remove the channel's directory and join again.
    #[error("the file that says with which block the chain begins is damaged: {0}")]
    Base(prost::DecodeError),
    /// The chain begins behind a snapshot, and the block stands before it. Fabric's words.
    #[error(
        "cannot serve block [{block}]. The ledger is bootstrapped from a snapshot. First available block = [{first}]"
    )]
    BeforeFirst {
        /// The block.
        block: BlockNumber,
        /// The first block that is here.
        first: BlockNumber,
    },
    /// The block is not the next one.
    #[error("block number should have been {expected} but was {offered}")]
    NotNext {
        /// The number that must come next.
        expected: u64,
        /// The number of the block.
        offered: BlockNumber,
    },
    /// The block does not name the hash of the last one.
    #[error(
        "unexpected Previous block hash of block {block}. Expected PreviousHash = [{expected}], PreviousHash referred in the latest block= [{offered}]"
    )]
    NotChained {
        /// The block.
        block: BlockNumber,
        /// The hash of the last block, hexadecimal.
        expected: String,
        /// The hash it names, hexadecimal.
        offered: String,
    },
    /// The block is longer than a file can hold.
    #[error("block {0} is longer than 4 GiB")]
    TooLong(BlockNumber),
    /// An earlier write failed, and what is on disk is unknown until the store is opened again.
    #[error("the block store must be opened again after a failed write")]
    Failed,
}

/// How block files are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockStoreOptions {
    /// A new file begins when a record would make the last one longer than this many bytes.
    pub max_file_bytes: u64,
}

impl Default for BlockStoreOptions {
    /// As Fabric: 64 MiB.
    fn default() -> Self {
        Self { max_file_bytes: 64 << 20 }
    }
}

/// How long a chain is and how it ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainTip {
    /// The number of blocks, with those before a snapshot.
    pub height: u64,
    /// The hash of the last block's header; empty when there is no block.
    pub current_hash: Bytes,
    /// The hash of the header before that; empty when there is none.
    pub previous_hash: Bytes,
}

/// The blocks of one channel, in files. Share it in an `Arc`; one at a time appends.
pub struct BlockStore {
    pub(crate) files: Files,
    options: BlockStoreOptions,
    base: Option<ChainBase>,
    writer: Mutex<Writer>,
    /// Separate from the writer, so that reading does not wait for an append.
    pub(crate) locations: RwLock<LocationArray>,
    recent: RwLock<VecDeque<Arc<Block>>>,
    visible: RwLock<ChainTip>,
    heights: watch::Sender<u64>,
}

struct Writer {
    file: File,
    number: u32,
    offset: u64,
    tip: ChainTip,
    failed: bool,
}

impl BlockStore {
    /// Opens the block files of a directory, or begins an empty chain; removes a block that a crash cut off. All whole
    /// blocks are visible. A directory can be open once at a time.
    pub fn open(directory: &Path, options: BlockStoreOptions) -> Result<Self, BlockStoreError> {
        Self::open_on(&FileSystem::host(), directory, options)
    }

    /// As [`Self::open`] on any file system.
    pub fn open_on(system: &FileSystem, directory: &Path, options: BlockStoreOptions) -> Result<Self, BlockStoreError> {
        system.create_directory(directory)?;
        let files = Files::new(system, directory);
        let base = ChainBase::read(system, directory)?;
        let before = base.as_ref().map(ChainBase::tip).unwrap_or_default();
        let locations = LocationArray::open(system, &directory.join(LOCATIONS), before.height);
        let mut locations = locations.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => BlockStoreError::InUse(directory.to_owned()),
            _ => error.into(),
        })?;
        let end = recover(&files, &mut locations, before)?;
        let writer = Writer {
            file: files.writable(end.file)?,
            number: end.file,
            offset: end.offset,
            tip: end.tip.clone(),
            failed: false,
        };
        Ok(Self {
            files,
            options,
            base,
            writer: Mutex::new(writer),
            locations: RwLock::new(locations),
            recent: RwLock::new(VecDeque::with_capacity(RECENT_BLOCKS)),
            heights: watch::Sender::new(end.tip.height),
            visible: RwLock::new(end.tip),
        })
    }

    /// Writes the next block. When this returns, the block survives a crash; it becomes visible with
    /// [`Self::publish`]. After an error nothing of the block remains, or the store must be opened again.
    pub fn append(&self, block: Arc<Block>) -> Result<(), BlockStoreError> {
        self.append_all(vec![block])
    }

    /// As [`Self::append`] for several blocks in order, with one `fdatasync` for all of them.
    pub fn append_all(&self, blocks: Vec<Arc<Block>>) -> Result<(), BlockStoreError> {
        let mut writer = self.writer.lock();
        if writer.failed {
            return Err(BlockStoreError::Failed);
        }
        let mut tip = writer.tip.clone();
        let mut records = Vec::with_capacity(blocks.len());
        for block in &blocks {
            check_next(&tip, block)?;
            let content = encode_block(block);
            let mut record = Vec::with_capacity(content.len() + MAX_VARINT);
            put_varuint(&mut record, content.len() as u64);
            record.extend_from_slice(&content);
            let length = u32::try_from(record.len()).map_err(|_| BlockStoreError::TooLong(block.number()))?;
            records.push((record, length));
            tip.advance(block);
        }
        if let Err(error) = self.write(&mut writer, &records) {
            writer.failed = true;
            return Err(error.into());
        }
        writer.tip = tip;
        blocks.into_iter().for_each(|block| self.remember(block));
        Ok(())
    }

    fn write(&self, writer: &mut Writer, records: &[(Vec<u8>, u32)]) -> Result<(), FileError> {
        let mut written = Vec::with_capacity(records.len());
        for (record, length) in records {
            if writer.offset > 0 && writer.offset + u64::from(*length) > self.options.max_file_bytes {
                writer.file.sync()?;
                writer.file = self.files.begin(writer.number + 1)?;
                writer.number += 1;
                writer.offset = 0;
            }
            writer.file.write_all_at(record, writer.offset)?;
            let location = Location { file: writer.number, offset: writer.offset, length: *length };
            writer.offset = location.end();
            written.push(location);
        }
        writer.file.sync()?;
        let mut locations = self.locations.write();
        let before = locations.next();
        written.into_iter().try_for_each(|location| locations.push(location))?;
        // Reading goes on meanwhile.
        let locations = RwLockWriteGuard::downgrade(locations);
        if locations.is_sync_due(before) { locations.sync() } else { Ok(()) }
    }

    /// Makes all appended blocks visible and wakes those who wait for them.
    pub fn publish(&self) {
        let tip = self.writer.lock().tip.clone();
        let height = tip.height;
        *self.visible.write() = tip;
        self.heights.send_replace(height);
    }

    /// Where the chain begins, if it does not with the genesis block.
    pub fn base(&self) -> Option<&ChainBase> {
        self.base.as_ref()
    }

    /// The number of the first block, whether it is there yet or not.
    pub fn first(&self) -> BlockNumber {
        self.base.as_ref().map_or(BlockNumber::GENESIS, |base| base.last_block.next())
    }

    /// How many blocks are visible, with those before the first; the next one has this number.
    pub fn height(&self) -> u64 {
        *self.heights.borrow()
    }

    /// How many blocks are safe on disk, visible or not.
    pub fn appended(&self) -> u64 {
        self.writer.lock().tip.height
    }

    /// Height and hashes of the visible chain.
    pub fn tip(&self) -> ChainTip {
        self.visible.read().clone()
    }

    /// The number of visible blocks, now and in future.
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.heights.subscribe()
    }

    /// A cursor that gives block `from`, then each one after it, waiting where needed.
    pub fn follow(self: &Arc<Self>, from: BlockNumber) -> Follower {
        Follower::new(Arc::clone(self), from)
    }

    /// A visible block; `None` when there is none of that number yet.
    pub fn block(&self, number: BlockNumber) -> Result<Option<Arc<Block>>, BlockStoreError> {
        if number.get() >= self.height() {
            return Ok(None);
        }
        self.appended_block(number)
    }

    /// A block on disk, visible or not.
    pub fn appended_block(&self, number: BlockNumber) -> Result<Option<Arc<Block>>, BlockStoreError> {
        if let Some(found) = self.recall(number) {
            return Ok(Some(found));
        }
        if number < self.first() {
            return Err(BlockStoreError::BeforeFirst { block: number, first: self.first() });
        }
        let location = {
            let locations = self.locations.read();
            if number.get() >= locations.next() {
                return Ok(None);
            }
            locations.get(number.get())?
        };
        let record = self.files.read(location)?.ok_or(RecordError::NOT_THERE);
        let block = record.and_then(decode_block);
        Ok(Some(Arc::new(block.map_err(|source| BlockStoreError::Record { block: number, source })?)))
    }

    fn recall(&self, number: BlockNumber) -> Option<Arc<Block>> {
        let recent = self.recent.read();
        let first = recent.front()?.number().get();
        let position = usize::try_from(number.get().checked_sub(first)?).ok()?;
        recent.get(position).cloned()
    }

    fn remember(&self, block: Arc<Block>) {
        let mut recent = self.recent.write();
        recent.push_back(block);
        let bytes = |recent: &VecDeque<Arc<Block>>| -> usize {
            recent.iter().flat_map(|block| &block.data).map(Bytes::len).sum()
        };
        while recent.len() > 1 && (recent.len() > RECENT_BLOCKS || bytes(&recent) > RECENT_BYTES) {
            recent.pop_front();
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a block continues a chain.
fn check_next(tip: &ChainTip, block: &Block) -> Result<(), BlockStoreError> {
    if block.number().get() != tip.height {
        return Err(BlockStoreError::NotNext { expected: tip.height, offered: block.number() });
    }
    if tip.height > 0 && block.header.previous_hash != tip.current_hash {
        return Err(BlockStoreError::NotChained {
            block: block.number(),
            expected: hex(&tip.current_hash),
            offered: hex(&block.header.previous_hash),
        });
    }
    Ok(())
}
