//! Bringing files and location array into agreement after any kind of end.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common;
use ripstop_types::{Block, Digest, MetadataSlot, data_hash};

use crate::files::Files;
use crate::location::{Location, LocationArray};
use crate::record::{decode_block, record_length};
use crate::store::{BlockStoreError, ChainTip};

/// Where the next block goes.
pub(crate) struct End {
    pub(crate) file: u32,
    pub(crate) offset: u64,
    pub(crate) tip: ChainTip,
}

/// Makes the array name exactly the whole blocks in the files, all of which are safe then, and cuts off the rest of a
/// block that was not written to its end. The first block follows `base`.
pub(crate) fn recover(files: &Files, locations: &mut LocationArray, base: ChainTip) -> Result<End, BlockStoreError> {
    let file_count = files.count()?;
    let survey = locations.survey()?;
    let mut end = last_agreed(files, locations, survey.unbroken, file_count, base)?;
    let first_unsafe = (end.file, end.offset);
    let mut found = Vec::new();
    loop {
        let length = if end.file < file_count { files.length(end.file)? } else { 0 };
        if end.offset >= length {
            if end.file + 1 >= file_count {
                break;
            }
            end.file += 1;
            end.offset = 0;
            continue;
        }
        match next_record(files, &end, length)? {
            Ok((location, block)) => {
                found.push(location);
                end.offset = location.end();
                end.tip.advance(&block);
            }
            Err(torn) => {
                let last_file = end.file + 1 >= file_count;
                let unfinished = match survey.safe {
                    Some(safe) if end.tip.height >= safe => true,
                    Some(_) => torn.at_end && !block_follows(files, &end, length)?,
                    None => !block_follows(files, &end, length)?,
                };
                if !last_file || !unfinished {
                    return Err(BlockStoreError::Damaged { file: end.file, offset: end.offset, reason: torn.reason });
                }
                tracing::warn!(
                    "{}: block {} was not written to its end ({}); its {} bytes are removed",
                    files.path(end.file).display(),
                    end.tip.height,
                    torn.reason,
                    length - end.offset
                );
                files.cut(end.file, end.offset)?;
                break;
            }
        }
    }
    if !found.is_empty() {
        let from = if first_unsafe.0 == end.file { first_unsafe.1 } else { 0 };
        files.writable(end.file)?.rewrite(from, end.offset)?;
    }
    // A file may have been made just before the end of the process that made it.
    files.sync_names()?;
    found.into_iter().try_for_each(|location| locations.push(location))?;
    locations.sync()?;
    Ok(end)
}

/// What is no whole record.
struct Torn {
    reason: String,
    /// Whether nothing but one unfinished write stands there.
    at_end: bool,
}

/// The record at the end of what is known to be whole.
fn next_record(files: &Files, end: &End, length: u64) -> Result<Result<(Location, Block), Torn>, BlockStoreError> {
    let Some(location) = files.locate(end.file, end.offset, length)? else {
        return Ok(Err(Torn { reason: "the record is cut off".to_owned(), at_end: cut_off(files, end, length)? }));
    };
    let block = read_whole(files, location)?.and_then(|block| follows(&end.tip, block));
    match block {
        Ok(_) if files.ends_with_lost_sector(location)? => {
            let reason = "its last bytes are missing".to_owned();
            Ok(Err(Torn { reason, at_end: files.is_zero_from(end.file, location.end(), length)? }))
        }
        Ok(block) => Ok(Ok((location, block))),
        Err(reason) => {
            let at_end = files.is_zero_from(end.file, location.end(), length)?;
            Ok(Err(Torn { reason, at_end }))
        }
    }
}

/// Whether a later block of the chain stands anywhere behind what is no whole record. Blocks are written one behind the
/// other, so that record was whole once, and is damaged.
fn block_follows(files: &Files, end: &End, length: u64) -> Result<bool, BlockStoreError> {
    let rest = files.read_from(end.file, end.offset, length)?;
    Ok((1..rest.len()).any(|start| {
        let Some((content, prefix)) = rest.get(start..).and_then(record_length) else { return false };
        let begin = start + prefix;
        let Some(content) = begin.checked_add(content as usize).filter(|end| *end <= rest.len()) else { return false };
        let block = decode_block(rest.slice(begin..content)).ok().and_then(|block| whole(block).ok());
        block.is_some_and(|block| block.number().get() > end.tip.height)
    }))
}

/// Whether what stands at the end of a file is the beginning of one record, or zeros.
fn cut_off(files: &Files, end: &End, length: u64) -> Result<bool, BlockStoreError> {
    // A record reaches beyond the end of the file, or its length itself is cut off; or nothing was written.
    let starts_with_zero = files.is_zero_from(end.file, end.offset, end.offset + 1)?;
    Ok(!starts_with_zero || files.is_zero_from(end.file, end.offset, length)?)
}

/// Goes back to the last array entry before that of block `unbroken` that is true, and forgets those after it; to `base`
/// where none is.
fn last_agreed(
    files: &Files,
    locations: &mut LocationArray,
    unbroken: u64,
    file_count: u32,
    base: ChainTip,
) -> Result<End, BlockStoreError> {
    locations.truncate(unbroken)?;
    while !locations.is_empty() {
        let last = locations.next() - 1;
        let location = locations.get(last)?;
        let fits = location.file < file_count && location.end() <= files.length(location.file)?;
        let block = if fits { read_whole(files, location)?.ok() } else { None };
        if let Some(block) = block.filter(|block| block.number().get() == last) {
            let mut tip = ChainTip::default();
            tip.advance(&block);
            return Ok(End { file: location.file, offset: location.end(), tip });
        }
        locations.truncate(last)?;
    }
    Ok(End { file: 0, offset: 0, tip: base })
}

/// Reads a block and checks that all of it was written; says what was not. A disk that cannot be read is an error.
fn read_whole(files: &Files, location: Location) -> Result<Result<Block, String>, BlockStoreError> {
    let Some(record) = files.read(location)? else {
        return Ok(Err("the record's length is not the one expected".to_owned()));
    };
    Ok(decode_block(record).map_err(|error| error.to_string()).and_then(whole))
}

fn whole(block: Block) -> Result<Block, String> {
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
