//! Bringing files and location array into agreement after any kind of end.

use bytes::Bytes;
use prost::Message;
use prost::encoding::encoded_len_varint;
use ripstop_proto::common;
use ripstop_types::{Block, BlockMetadata, Digest, MetadataSlot, data_hash};

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
/// block that was not written to its end. The first block follows `base`. After an error nothing was changed that says
/// which blocks were safe.
pub(crate) fn recover(files: &Files, locations: &mut LocationArray, base: ChainTip) -> Result<End, BlockStoreError> {
    let file_count = files.count()?;
    let survey = locations.survey()?;
    let mut end = last_agreed(files, locations, survey.unbroken, file_count, base)?;
    let agreed = end.tip.height;
    let first_unsafe = (end.file, end.offset);
    let mut found = Vec::new();
    loop {
        let length = if end.file < file_count { files.length(end.file)? } else { 0 };
        let is_last_file = end.file + 1 >= file_count;
        if end.offset >= length {
            if is_last_file {
                break;
            }
            end.file += 1;
            end.offset = 0;
            continue;
        }
        // A file is synchronised before the next one begins, and a block before it has an entry.
        let is_safe = !is_last_file || survey.safe.is_some_and(|safe| end.tip.height < safe);
        let record = match next_record(files, &end, length)? {
            Ok((location, block)) if !is_safe && lacks_sector(files, location, &block.metadata, length)? => {
                Err("a part of its metadata was not written".to_owned())
            }
            record => record,
        };
        match record {
            Ok((location, block)) => {
                found.push(location);
                end.offset = location.end();
                end.tip.advance(&block);
            }
            Err(reason) if is_safe || survey.safe.is_none() && block_follows(files, &end, length)? => {
                return Err(BlockStoreError::Damaged { file: end.file, offset: end.offset, reason });
            }
            Err(reason) => {
                tracing::warn!(
                    "{}: block {} was not written to its end ({reason}); its {} bytes are removed",
                    files.path(end.file).display(),
                    end.tip.height,
                    length - end.offset
                );
                files.cut(end.file, end.offset)?;
                break;
            }
        }
    }
    if let Some(safe) = survey.safe.filter(|safe| end.tip.height < *safe) {
        return Err(BlockStoreError::Lost { directory: files.directory().to_owned(), height: end.tip.height, safe });
    }
    if !found.is_empty() {
        let from = if first_unsafe.0 == end.file { first_unsafe.1 } else { 0 };
        files.writable(end.file)?.rewrite(from, end.offset)?;
    }
    // A file may have been made just before the end of the process that made it.
    files.sync_names()?;
    locations.truncate(agreed)?;
    found.into_iter().try_for_each(|location| locations.push(location))?;
    locations.sync()?;
    Ok(end)
}

/// The record at the end of what is known to be whole, or why it is not whole.
fn next_record(
    files: &Files,
    end: &End,
    file_length: u64,
) -> Result<Result<(Location, Block), String>, BlockStoreError> {
    let Some(location) = files.locate(end.file, end.offset, file_length)? else {
        return Ok(Err("the record is cut off".to_owned()));
    };
    let block = read_whole(files, location)?.and_then(|block| follows(&end.tip, block));
    Ok(block.map(|block| (location, block)))
}

/// What disks write as a whole, in bytes.
const SECTOR: u64 = 512;

/// Whether a loss of power left zeros where metadata should be, so that the record reads as whole all the same. No hash
/// covers metadata; transactions have theirs.
///
/// A sector that was not written is zero up to its end, or up to that of the file. It changes a record only if it cuts into
/// an element that is not empty: where it reaches over the length of one, the elements do not fill the record any more,
/// and empty ones are zeros anyway, as at the end of all blocks of an orderer. Whole elements look so where they end with a
/// few zeros and just these stand in a sector of their own, at the end of the file: one in 2^17. Verdicts are zeros where
/// transactions are valid.
fn lacks_sector(
    files: &Files,
    location: Location,
    metadata: &BlockMetadata,
    file_length: u64,
) -> Result<bool, BlockStoreError> {
    let elements = metadata.elements();
    let length: usize = elements.iter().map(|element| element.len() + encoded_len_varint(element.len() as u64)).sum();
    // The sector in which a record begins is not zero.
    let first_sector = (location.offset + 1).next_multiple_of(SECTOR);
    let sectors_from = ((location.end() - length as u64) / SECTOR * SECTOR).max(first_sector);
    let sectors_to = location.end().next_multiple_of(SECTOR).min(file_length);
    if sectors_from >= location.end() {
        return Ok(false);
    }
    let bytes = files.read_range(location.file, sectors_from, sectors_to)?;
    let lost = (sectors_from..).step_by(SECTOR as usize).zip(bytes.chunks(SECTOR as usize));
    let lost: Vec<u64> =
        lost.filter(|(_, sector)| sector.iter().all(|byte| *byte == 0)).map(|(from, _)| from).collect();
    let mut end = location.end();
    for (slot, element) in elements.iter().enumerate().rev() {
        let start = end - element.len() as u64;
        let cuts = |sector: &u64| *sector < end && sector + SECTOR > start;
        if slot != MetadataSlot::TransactionsFilter as usize && start < end && lost.iter().any(cuts) {
            return Ok(true);
        }
        end = start - encoded_len_varint(element.len() as u64) as u64;
    }
    Ok(false)
}

/// Whether a later block of the chain stands anywhere behind what is no whole record. Blocks are written one behind the
/// other, so that record was whole once, and is damaged.
fn block_follows(files: &Files, end: &End, file_length: u64) -> Result<bool, BlockStoreError> {
    let rest = files.read_range(end.file, end.offset, file_length)?;
    Ok((1..rest.len()).any(|start| {
        let Some((content, prefix)) = rest.get(start..).and_then(record_length) else { return false };
        let begin = start + prefix;
        let Some(content) = begin.checked_add(content as usize).filter(|end| *end <= rest.len()) else { return false };
        let block = decode_block(rest.slice(begin..content)).ok().and_then(|block| whole(block).ok());
        block.is_some_and(|block| block.number().get() > end.tip.height)
    }))
}

/// The last array entry before that of block `unbroken` that is true; `base` where none is.
fn last_agreed(
    files: &Files,
    locations: &LocationArray,
    unbroken: u64,
    file_count: u32,
    base: ChainTip,
) -> Result<End, BlockStoreError> {
    for last in (locations.first()..unbroken).rev() {
        let location = locations.get(last)?;
        let fits = location.file < file_count && location.end() <= files.length(location.file)?;
        let block = if fits { read_whole(files, location)?.ok() } else { None };
        if let Some(block) = block.filter(|block| block.number().get() == last) {
            let mut tip = ChainTip::default();
            tip.advance(&block);
            return Ok(End { file: location.file, offset: location.end(), tip });
        }
    }
    Ok(End { file: 0, offset: 0, tip: base })
}

/// Reads a block and checks what shows of itself whether all of it was written; says what was not. A disk that cannot be read
/// is an error.
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
        common::Metadata::decode(block.metadata.get(slot)).map_err(|error| format!("metadata {slot:?}: {error}"))?;
    }
    Ok(block)
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
