//! The index of blocks by hash and of transactions by id, in a key-value store.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `tx` | transaction id: `01` and 32 bytes for 64 hexadecimal digits; `00` OPV(length) and the id for any other | OPV block, OPV place in the block, verdict (1 byte); empty where the id came with a snapshot |
//! | `blk` | hash of a block header | OPV number |
//!
//! Of several transactions with one id the first counts. (OPV: [`ripstop_types::put_ordered_varuint`].)

use std::iter::Peekable;

use bytes::Bytes;
use ripstop_kv::{Batch, Keyspace, KvError, Reads, Scan, Snapshot};
use ripstop_types::{BlockHeader, BlockNumber, Height, TxId, ValidationCode, get_ordered_varuint, put_ordered_varuint};

const TRANSACTIONS: Keyspace = Keyspace { name: "tx", reads: Reads::Point };
const BLOCKS: Keyspace = Keyspace { name: "blk", reads: Reads::Range };

/// What is known of a transaction in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexedTransaction {
    /// It stands in a block of this store.
    Located(TransactionLocation),
    /// It stands somewhere in the blocks before the snapshot with which the chain begins here.
    BeforeSnapshot,
}

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

    /// Adds the id of a transaction in blocks that this store does not have.
    pub fn put_before_snapshot(batch: &mut Batch, tx_id: &TxId) {
        batch.put(&TRANSACTIONS, key(tx_id), Bytes::new());
    }

    /// The number of the block with this hash.
    pub fn block(snapshot: &Snapshot, hash: &[u8]) -> Result<Option<BlockNumber>, KvError> {
        let Some(value) = snapshot.get(&BLOCKS, hash)? else { return Ok(None) };
        let (number, _) = get_ordered_varuint(&value).map_err(|_| KvError::Damaged(BLOCKS.name))?;
        Ok(Some(BlockNumber::new(number)))
    }

    /// What is known of a transaction.
    pub fn transaction(snapshot: &Snapshot, tx_id: &TxId) -> Result<Option<IndexedTransaction>, KvError> {
        let Some(value) = snapshot.get(&TRANSACTIONS, &key(tx_id))? else { return Ok(None) };
        if value.is_empty() {
            return Ok(Some(IndexedTransaction::BeforeSnapshot));
        }
        let damaged = || KvError::Damaged(TRANSACTIONS.name);
        let (height, rest) = Height::get(&value).map_err(|_| damaged())?;
        let [code] = rest else { return Err(damaged()) };
        let code = ValidationCode::try_from(*code).map_err(|_| damaged())?;
        Ok(Some(IndexedTransaction::Located(TransactionLocation { height, code })))
    }

    /// The ids of all transactions: shorter ids first, ids of one length in bytewise order.
    pub fn tx_ids(snapshot: &Snapshot) -> Result<TxIds, KvError> {
        let ids = |form: u8| snapshot.prefix(&TRANSACTIONS, &[form]).map(Iterator::peekable);
        Ok(TxIds { digests: ids(DIGEST)?, texts: ids(TEXT)? })
    }
}

/// See [`TransactionIndex::tx_ids`]: two ranges of keys, each in order, as one.
pub struct TxIds {
    digests: Peekable<Scan>,
    texts: Peekable<Scan>,
}

impl Iterator for TxIds {
    type Item = Result<TxId, KvError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text_is_first = match (self.digests.peek(), self.texts.peek()) {
            (Some(Ok((digest, _))), Some(Ok((text, _)))) => match (id_of(digest), id_of(text)) {
                (Some(digest), Some(text)) => {
                    (text.as_str().len(), text.as_str()) < (digest.as_str().len(), digest.as_str())
                }
                _ => return Some(Err(KvError::Damaged(TRANSACTIONS.name))),
            },
            (digest, text) => digest.is_none() || text.is_some_and(Result::is_err),
        };
        let next = if text_is_first { self.texts.next()? } else { self.digests.next()? };
        Some(next.and_then(|(key, _)| id_of(&key).ok_or(KvError::Damaged(TRANSACTIONS.name))))
    }
}

/// The first byte of the key of an id that is a digest.
const DIGEST: u8 = 1;

/// The first byte of the key of any other id.
const TEXT: u8 = 0;

fn key(tx_id: &TxId) -> Vec<u8> {
    let text = tx_id.as_str();
    let mut digest = [0; 32];
    // Capital digits would come back as small ones.
    let is_digest = hex::decode_to_slice(text, &mut digest).is_ok() && !text.contains(|c: char| c.is_ascii_uppercase());
    let mut key = Vec::with_capacity(33);
    if is_digest {
        key.push(DIGEST);
        key.extend_from_slice(&digest);
    } else {
        key.push(TEXT);
        put_ordered_varuint(&mut key, text.len() as u64);
        key.extend_from_slice(text.as_bytes());
    }
    key
}

fn id_of(key: &[u8]) -> Option<TxId> {
    match key.split_first()? {
        (&DIGEST, digest) => Some(TxId::new(&hex::encode(digest))),
        (_, text) => Some(TxId::new(std::str::from_utf8(get_ordered_varuint(text).ok()?.1).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ripstop_kv::{Durability, Store};

    proptest! {
        #[test]
        fn ids_come_back_by_length_then_bytes(ids in prop::collection::btree_set("[0-9a-f]{64}|[0-9a-fA-F]{64}|[!-~]{64}|.{0,70}", 0..20)) {
            let store = Store::memory(&TransactionIndex::KEYSPACES);
            let mut batch = Batch::new();
            ids.iter().for_each(|id| TransactionIndex::put_before_snapshot(&mut batch, &TxId::new(id)));
            store.write(batch, Durability::Buffered).unwrap();
            let found: Vec<_> =
                TransactionIndex::tx_ids(&store.snapshot()).unwrap().map(|id| id.unwrap().to_string()).collect();
            let mut expected: Vec<_> = ids.into_iter().collect();
            expected.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
            prop_assert_eq!(found, expected);
        }
    }
}
