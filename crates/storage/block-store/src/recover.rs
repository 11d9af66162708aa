//! Bringing files and location array into agreement after any kind of end.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common;
use ripstop_types::{Block, Digest, MetadataSlot, data_hash};

use crate::files::Files;
use crate::location::{Location, LocationArray};
use crate::record::decode_block;
use crate::store::{BlockStoreError, ChainTip};

/// Where the next block goes.
pub(crate) struct End {
    pub(crate) file: u32,
    pub(crate) offset: u64,
    pub(crate) tip: ChainTip,
}

/// Makes the array name exactly the whole blocks in the files, and cuts off the rest of a block that was not written
/// to its end.
pub(crate) fn recover(files: &Files, locations: &mut LocationArray) -> Result<End, BlockStoreError> {
    let file_count = files.count()?;
    let mut end = last_agreed(files, locations, file_count)?;
    loop {
        let length = if end.file < file_count { files.length(end.file)? } else { 0 };
        if end.offset >= length {
            if end.file + 1 >= file_count {
                return Ok(end);
            }
            end.file += 1;
            end.offset = 0;
            continue;
        }
        let location = files.locate(end.file, end.offset, length)?;
        let damaged = |reason: String| BlockStoreError::Damaged { file: end.file, offset: end.offset, reason };
        let block = match location {
            Some(location) => read_whole(files, location).and_then(|block| follows(&end.tip, block)),
            None => Err("the record is cut off".to_owned()),
        };
        match (block, location) {
            (Ok(block), Some(location)) => {
                locations.push(location)?;
                end.offset = location.end();
                end.tip.advance(&block);
            }
            (Err(reason), location) => {
                let last_file = end.file + 1 >= file_count;
                let at_end = match location {
                    Some(location) => files.is_zero_from(end.file, location.end(), length)?,
                    None => cut_off(files, &end, length)?,
                };
                if !last_file || !at_end {
                    return Err(damaged(reason));
                }
                let file = files.writable(end.file)?;
                file.set_length(end.offset)?;
                file.sync()?;
                return Ok(end);
            }
            (Ok(_), None) => return Err(damaged("the record has no place".to_owned())),
        }
    }
}

/// Whether what stands at the end of a file is the beginning of one record, or zeros.
fn cut_off(files: &Files, end: &End, length: u64) -> Result<bool, BlockStoreError> {
    // A record reaches beyond the end of the file, or its length itself is cut off; or nothing was written.
    let starts_with_zero = files.is_zero_from(end.file, end.offset, end.offset + 1)?;
    Ok(!starts_with_zero || files.is_zero_from(end.file, end.offset, length)?)
}

/// Goes back to the last array entry that is true, and forgets those after it.
fn last_agreed(files: &Files, locations: &mut LocationArray, file_count: u32) -> Result<End, BlockStoreError> {
    while let Some(last) = locations.count().checked_sub(1) {
        let location = locations.get(last)?;
        let fits = location.file < file_count && location.end() <= files.length(location.file)?;
        let block = if fits { read_whole(files, location).ok() } else { None };
        if let Some(block) = block.filter(|block| block.number().get() == last) {
            let mut tip = ChainTip::default();
            tip.advance(&block);
            return Ok(End { file: location.file, offset: location.end(), tip });
        }
        locations.truncate(last)?;
    }
    locations.truncate(0)?;
    Ok(End { file: 0, offset: 0, tip: ChainTip::default() })
}

/// Reads a block and checks that all of it was written.
fn read_whole(files: &Files, location: Location) -> Result<Block, String> {
    let block =
        decode_block(files.read(location).map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    if data_hash(&block.data).as_ref() != block.header.data_hash.as_ref() {
        return Err("the transactions do not match the block's data hash".to_owned());
    }
    for slot in [MetadataSlot::Signatures, MetadataSlot::LastConfig, MetadataSlot::CommitHash] {
        let metadata = block.metadata.get(slot);
        if has_hole(&metadata) {
            return Err(format!("metadata {slot:?} was not written to its end"));
        }
        common::Metadata::decode(metadata).map_err(|error| format!("metadata {slot:?}: {error}"))?;
    }
    Ok(block)
}

/// Zeros at the end of a metadata element that no whole element has: signatures and hashes end so once in 2^32.
const ZEROS_AT_END: usize = 4;

/// Zeros in a row inside of a metadata element that no whole element has.
const ZEROS_INSIDE: usize = 16;

/// Whether a loss of power left zeros where metadata should be. No hash covers metadata; transactions have theirs.
fn has_hole(metadata: &[u8]) -> bool {
    metadata.ends_with(&[0; ZEROS_AT_END]) || metadata.windows(ZEROS_INSIDE).any(|part| part == [0; ZEROS_INSIDE])
}

fn follows(tip: &ChainTip, block: Block) -> Result<Block, String> {
    if block.number().get() != tip.height {
        return Err(format!("it is block {}, not block {}", block.number(), tip.height));
    }
    if tip.height > 0 && block.header.previous_hash != tip.current_hash {
        return Err("its previous hash is not the hash of the block before".to_owned());
    }
    Ok(block)
}

impl ChainTip {
    pub(crate) fn advance(&mut self, block: &Block) {
        self.height = block.number().next().get();
        self.previous_hash = block.header.previous_hash.clone();
        self.current_hash = Bytes::copy_from_slice(Digest::as_bytes(&block.header.hash()));
    }
}
