//! The bytes of a block in a file: Fabric's, which are not those of `common.Block`
//! (Fabric: `blkstorage/block_serialization.go`).
//!
//! ```text
//! record   = varint(length of block) block
//! block    = varint(number) bytes(data_hash) bytes(previous_hash)
//!            varint(transactions) bytes(transaction)...
//!            varint(metadata elements) bytes(metadata element)...
//! bytes(x) = varint(length of x) x
//! ```

use bytes::{Buf, Bytes};
use ripstop_types::{Block, BlockHeader, BlockMetadata, BlockNumber, put_varuint};

/// Bytes that are no block record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block record is damaged: {0}")]
pub struct RecordError(&'static str);

impl RecordError {
    pub(crate) const NOT_THERE: Self = Self("another record stands where it should be");
}

/// The most bytes a varint takes.
pub(crate) const MAX_VARINT: usize = 10;

/// The bytes of a block in a file, without the record's length.
pub fn encode_block(block: &Block) -> Vec<u8> {
    let content: usize = block.data.iter().chain(block.metadata.elements()).map(|part| part.len() + MAX_VARINT).sum();
    let mut out = Vec::with_capacity(content + 128);
    put_varuint(&mut out, block.number().get());
    put_bytes(&mut out, &block.header.data_hash);
    put_bytes(&mut out, &block.header.previous_hash);
    for list in [block.data.as_slice(), block.metadata.elements()] {
        put_varuint(&mut out, list.len() as u64);
        for part in list {
            put_bytes(&mut out, part);
        }
    }
    out
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varuint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what [`encode_block`] wrote. Transactions and metadata are slices of `raw`.
pub fn decode_block(mut raw: Bytes) -> Result<Block, RecordError> {
    let number = BlockNumber::new(take_varint(&mut raw)?);
    let data_hash = take_bytes(&mut raw)?;
    let previous_hash = take_bytes(&mut raw)?;
    let data = take_list(&mut raw)?;
    let metadata = take_list(&mut raw)?;
    if raw.has_remaining() {
        return Err(RecordError("bytes follow the metadata"));
    }
    let header = BlockHeader { number, previous_hash, data_hash };
    Ok(Block { header, data, metadata: BlockMetadata::new(metadata) })
}

fn take_list(raw: &mut Bytes) -> Result<Vec<Bytes>, RecordError> {
    let count = take_varint(raw)?;
    // Each element takes a byte at least, so a forged count cannot reserve more than the record's length.
    if count > raw.len() as u64 {
        return Err(RecordError("more elements than bytes"));
    }
    (0..count).map(|_| take_bytes(raw)).collect()
}

fn take_bytes(raw: &mut Bytes) -> Result<Bytes, RecordError> {
    let length = take_varint(raw)?;
    if length > raw.len() as u64 {
        return Err(RecordError("an element is longer than the record"));
    }
    Ok(raw.split_to(length as usize))
}

fn take_varint(raw: &mut Bytes) -> Result<u64, RecordError> {
    prost::encoding::decode_varint(raw).map_err(|_| RecordError("a number is cut off"))
}

/// The length of a record and of its length prefix, from its first bytes. `None`: too few bytes, or no varint.
pub(crate) fn record_length(mut start: &[u8]) -> Option<(u64, usize)> {
    let available = start.len();
    let length = prost::encoding::decode_varint(&mut start).ok()?;
    Some((length, available - start.len()))
}
