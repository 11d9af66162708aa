//! The bytes of keys and values.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `transient` | transaction id `00` SHA-256 of the value | `transientstore.TxPvtReadWriteSetWithConfigInfo` |
//! | `endorsed` | height of endorsement (u64) key in `transient` | empty |
//! | `committed` | block (u64) place in it (u64) | `rwset.TxPvtReadWriteSet` |
//!
//! All numbers big-endian.

use ripstop_kv::{Keyspace, Reads};
use ripstop_types::{BlockNumber, Digest, TxId};

pub(crate) const TRANSIENT: Keyspace = Keyspace { name: "transient", reads: Reads::Range };
pub(crate) const ENDORSED: Keyspace = Keyspace { name: "endorsed", reads: Reads::Range };
pub(crate) const COMMITTED: Keyspace = Keyspace { name: "committed", reads: Reads::Range };

/// All keyspaces.
pub(crate) const KEYSPACES: [Keyspace; 3] = [TRANSIENT, ENDORSED, COMMITTED];

/// The beginning of all transient keys of a transaction. Transaction ids of checked proposals are hexadecimal.
pub(crate) fn transient_prefix(tx_id: &TxId) -> Vec<u8> {
    [tx_id.as_str().as_bytes(), &[0]].concat()
}

pub(crate) fn transient(tx_id: &TxId, value: &[u8]) -> Vec<u8> {
    [transient_prefix(tx_id).as_slice(), Digest::of(value).as_bytes()].concat()
}

pub(crate) fn endorsed(height: u64, transient_key: &[u8]) -> Vec<u8> {
    [&height.to_be_bytes(), transient_key].concat()
}

pub(crate) fn committed(block: BlockNumber, place: u64) -> Vec<u8> {
    [block.get().to_be_bytes(), place.to_be_bytes()].concat()
}
