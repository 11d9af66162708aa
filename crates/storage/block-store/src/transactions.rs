//! The index of blocks by hash and of transactions by id, in a key-value store.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `tx` | transaction id (64 hexadecimal digits as 32 bytes behind a 1; any other id as it is behind a 0) | OPV block, OPV place in the block, verdict (1 byte) |
//! | `blk` | hash of a block header | OPV number |
//!
//! Of several transactions with one id the first counts. (OPV: [`ripstop_types::put_ordered_varuint`].)

use ripstop_kv::{Batch, Keyspace, KvError, Reads, Snapshot};
use ripstop_types::{BlockHeader, BlockNumber, Height, TxId, ValidationCode, get_ordered_varuint, put_ordered_varuint};

const TRANSACTIONS: Keyspace = Keyspace { name: "tx", reads: Reads::Point };
const BLOCKS: Keyspace = Keyspace { name: "blk", reads: Reads::Range };

/// Where a transaction stands, and its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionLocation {
    /// Block and place in it.
    pub height: Height,
    /// The verdict.
    pub code: ValidationCode,
}

/// Writes and reads the index. It has no state of its own: entries go into the caller's batch, so that they take effect
/// together with whatever else the batch holds.
#[derive(Debug, Clone, Copy)]
pub struct TransactionIndex;

impl TransactionIndex {
    /// The keyspaces it needs.
    pub const KEYSPACES: [Keyspace; 2] = [TRANSACTIONS, BLOCKS];

    /// Adds a block.
    pub fn put_block(batch: &mut Batch, header: &BlockHeader) {
        let mut number = Vec::with_capacity(9);
        put_ordered_varuint(&mut number, header.number.get());
        batch.put(&BLOCKS, *header.hash().as_bytes(), number);
    }

    /// Adds a transaction that has an id and stands in no earlier place; the caller makes sure of it.
    pub fn put_transaction(batch: &mut Batch, tx_id: &TxId, location: TransactionLocation) {
        let mut value = location.height.to_bytes();
        value.push(location.code as u8);
        batch.put(&TRANSACTIONS, key(tx_id), value);
    }

    /// The number of the block with this hash.
    pub fn block(snapshot: &Snapshot, hash: &[u8]) -> Result<Option<BlockNumber>, KvError> {
        let Some(value) = snapshot.get(&BLOCKS, hash)? else { return Ok(None) };
        let (number, _) = get_ordered_varuint(&value).map_err(|_| KvError::Damaged(BLOCKS.name))?;
        Ok(Some(BlockNumber::new(number)))
    }

    /// Where a transaction stands.
    pub fn transaction(snapshot: &Snapshot, tx_id: &TxId) -> Result<Option<TransactionLocation>, KvError> {
        let Some(value) = snapshot.get(&TRANSACTIONS, &key(tx_id))? else { return Ok(None) };
        let damaged = || KvError::Damaged(TRANSACTIONS.name);
        let (height, rest) = Height::get(&value).map_err(|_| damaged())?;
        let [code] = rest else { return Err(damaged()) };
        let code = ValidationCode::try_from(*code).map_err(|_| damaged())?;
        Ok(Some(TransactionLocation { height, code }))
    }
}

fn key(tx_id: &TxId) -> Vec<u8> {
    let text = tx_id.as_str().as_bytes();
    let mut key = Vec::with_capacity(33);
    if text.len() == 64 && text.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        key.push(1);
        let digit = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
        key.extend(text.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | digit(*d))));
    } else {
        key.push(0);
        key.extend_from_slice(text);
    }
    key
}
