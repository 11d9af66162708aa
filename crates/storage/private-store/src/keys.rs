//! The bytes of keys and values.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `transient` | transaction id `00` SHA-256 of the value | `transientstore.TxPvtReadWriteSetWithConfigInfo` |
//! | `endorsed` | height of endorsement (u64) key in `transient` | empty; of what another peer sent: length of the value in `transient` (u64), its organization |
//! | `written` | block (u64) place in it (u64) namespace `00` collection | height of the ledger when it came (u64), then the `kvrwset.KVRWSet` |
//! | `late` | height of the ledger when it came (u64) key in `written` | empty |
//! | `keys` | namespace `00` collection `00` SHA-256 of a clear key, block (u64) place in it (u64) | the clear key |
//! | `missing` | reason (1 byte) ¬block (u64) namespace `00` collection | places in the block (u64 each, in order) |
//! | `expiring` | block with which it expires (u64) block (u64) namespace `00` collection | empty |
//! | `hashed` | block (u64) place in it (u64) namespace `00` collection `00` SHA-256 of a clear key | SHA-256 of its value |
//! | `purged` | namespace `00` collection `00` SHA-256 of a clear key | block (u64) place in it (u64) of the last purge |
//! | `purging` | key in `purged` | empty |
//!
//! All numbers big-endian; blocks in `missing` are inverted, so the newest comes first. The set of a block that came with
//! it came at the height that is its number; only sets that came afterwards stand in `late`. What is in `purging` still has
//! to be erased from `written` and `keys`. What is in `hashed` was in the snapshot with which the ledger begins; it stands in
//! for the block, which is not here to prove the set, until that comes or expires.

use ripstop_kv::{Keyspace, Reads};
use ripstop_types::{BlockNumber, Digest, Height, MspId, TxId};

use crate::{Absence, PrivatePlace};

pub(crate) const TRANSIENT: Keyspace = Keyspace { name: "transient", reads: Reads::Range };
pub(crate) const ENDORSED: Keyspace = Keyspace { name: "endorsed", reads: Reads::Range };
pub(crate) const WRITTEN: Keyspace = Keyspace { name: "written", reads: Reads::Range };
pub(crate) const LATE: Keyspace = Keyspace { name: "late", reads: Reads::Range };
pub(crate) const KEYS: Keyspace = Keyspace { name: "keys", reads: Reads::Range };
pub(crate) const MISSING: Keyspace = Keyspace { name: "missing", reads: Reads::Range };
pub(crate) const EXPIRING: Keyspace = Keyspace { name: "expiring", reads: Reads::Range };
pub(crate) const HASHED: Keyspace = Keyspace { name: "hashed", reads: Reads::Range };
pub(crate) const PURGED: Keyspace = Keyspace { name: "purged", reads: Reads::Point };
pub(crate) const PURGING: Keyspace = Keyspace { name: "purging", reads: Reads::Range };

/// All keyspaces.
pub(crate) const KEYSPACES: [Keyspace; 10] =
    [TRANSIENT, ENDORSED, WRITTEN, LATE, KEYS, MISSING, EXPIRING, HASHED, PURGED, PURGING];

/// The reasons in `missing`.
impl Absence {
    pub(crate) const ALL: [Self; 3] = [Self::Missing, Self::NotFound, Self::Ineligible];

    const fn byte(self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::NotFound => 1,
            Self::Ineligible => 2,
        }
    }
}

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

/// The height, the transaction and the key in `transient`.
pub(crate) fn read_endorsed(key: &[u8]) -> Option<(u64, TxId, &[u8])> {
    let (height, transient) = take_number(key)?;
    let end = transient.iter().position(|byte| *byte == 0)?;
    Some((height, TxId::new(std::str::from_utf8(transient.get(..end)?).ok()?), transient))
}

/// Who sent a set of so many bytes.
pub(crate) fn sender(bytes: u64, organization: &MspId) -> Vec<u8> {
    [&bytes.to_be_bytes()[..], organization.as_str().as_bytes()].concat()
}

/// The length and the organization; `None` of what this peer endorsed itself.
pub(crate) fn read_sender(value: &[u8]) -> Option<(u64, MspId)> {
    let (bytes, organization) = take_number(value)?;
    Some((bytes, MspId::new(std::str::from_utf8(organization).ok()?)))
}

fn collection(namespace: &str, collection: &str) -> Vec<u8> {
    [namespace.as_bytes(), &[0], collection.as_bytes()].concat()
}

fn read_collection(bytes: &[u8]) -> Option<(String, String)> {
    let mut parts = bytes.splitn(2, |byte| *byte == 0).map(|part| String::from_utf8(part.to_vec()).ok());
    Some((parts.next()??, parts.next()??))
}

fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

pub(crate) fn written(place: &PrivatePlace) -> Vec<u8> {
    let collection = collection(&place.namespace, &place.collection);
    [&place.block.get().to_be_bytes()[..], &place.tx.to_be_bytes(), &collection].concat()
}

/// The beginning of all keys in `written` and `hashed` of a block.
pub(crate) fn written_prefix(block: BlockNumber) -> [u8; 8] {
    block.get().to_be_bytes()
}

pub(crate) fn read_written(key: &[u8]) -> Option<PrivatePlace> {
    let (block, rest) = take_number(key)?;
    let (tx, rest) = take_number(rest)?;
    let (namespace, collection) = read_collection(rest)?;
    Some(PrivatePlace { block: BlockNumber::new(block), tx, namespace, collection })
}

pub(crate) fn late(arrived: u64, written: &[u8]) -> Vec<u8> {
    [&arrived.to_be_bytes(), written].concat()
}

/// The height and the key in `written`.
pub(crate) fn read_late(key: &[u8]) -> Option<(u64, &[u8])> {
    take_number(key)
}

/// The beginning of all keys in `hashed` of a set.
pub(crate) fn hashed_prefix(place: &PrivatePlace) -> Vec<u8> {
    [&written(place)[..], &[0]].concat()
}

pub(crate) fn hashed(place: &PrivatePlace, key_hash: &[u8]) -> Vec<u8> {
    [&hashed_prefix(place)[..], key_hash].concat()
}

/// The set that a key in `hashed` belongs to.
pub(crate) fn read_hashed(key: &[u8]) -> Option<PrivatePlace> {
    // Names hold no zero byte; what a forged transaction takes for a hash may, and have any length.
    let (end, _) = key.iter().enumerate().skip(16).filter(|(_, byte)| **byte == 0).nth(1)?;
    read_written(key.get(..end)?)
}

/// The key in `purged`, and the beginning of those in `keys`.
pub(crate) fn clear_key(namespace: &str, collection_name: &str, key_hash: &[u8]) -> Vec<u8> {
    [&collection(namespace, collection_name)[..], &[0], key_hash].concat()
}

/// The set that a key in `keys` belongs to: its block and place, behind the prefix.
pub(crate) fn clear_key_at(prefix: &[u8], height: Height) -> Vec<u8> {
    [prefix, &height_bytes(height)].concat()
}

/// Whether a key in `keys` consists of exactly this prefix and a place. A forged purge may name a hash that is too short and
/// must not stand for all keys that begin so.
pub(crate) fn is_behind(prefix: &[u8], key: &[u8]) -> bool {
    key.len() == prefix.len() + 16
}

pub(crate) fn height_bytes(height: Height) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&height.block.get().to_be_bytes());
    bytes[8..].copy_from_slice(&height.tx.to_be_bytes());
    bytes
}

/// The height at the end of some bytes.
pub(crate) fn read_height(bytes: &[u8]) -> Option<Height> {
    let (rest, tx) = bytes.split_last_chunk::<8>()?;
    let (_, block) = rest.split_last_chunk::<8>()?;
    Some(Height::new(BlockNumber::new(u64::from_be_bytes(*block)), u64::from_be_bytes(*tx)))
}

/// Namespace and collection of a key in `purged`.
pub(crate) fn read_purged(key: &[u8]) -> Option<(String, String)> {
    let (names, _) = key.split_last_chunk::<32>()?;
    read_collection(names.strip_suffix(&[0])?)
}

pub(crate) fn missing(absence: Absence, block: BlockNumber, namespace: &str, collection_name: &str) -> Vec<u8> {
    [&missing_from(absence, block)[..], &collection(namespace, collection_name)].concat()
}

/// Where the markers of a block, and of those before it, begin.
pub(crate) fn missing_from(absence: Absence, block: BlockNumber) -> [u8; 9] {
    let mut bytes = [absence.byte(); 9];
    bytes[1..].copy_from_slice(&(!block.get()).to_be_bytes());
    bytes
}

/// Where the markers of a reason end.
pub(crate) const fn missing_end(absence: Absence) -> [u8; 1] {
    [absence.byte() + 1]
}

/// Block, namespace and collection of a marker.
pub(crate) fn read_missing(key: &[u8]) -> Option<(BlockNumber, String, String)> {
    let (block, rest) = take_number(key.get(1..)?)?;
    let (namespace, collection) = read_collection(rest)?;
    Some((BlockNumber::new(!block), namespace, collection))
}

pub(crate) fn expiring(at: BlockNumber, block: BlockNumber, namespace: &str, collection_name: &str) -> Vec<u8> {
    let collection = collection(namespace, collection_name);
    [&at.get().to_be_bytes()[..], &block.get().to_be_bytes(), &collection].concat()
}

/// Block, namespace and collection of what expires.
pub(crate) fn read_expiring(key: &[u8]) -> Option<(BlockNumber, String, String)> {
    let (_, rest) = take_number(key)?;
    let (block, rest) = take_number(rest)?;
    let (namespace, collection) = read_collection(rest)?;
    Some((BlockNumber::new(block), namespace, collection))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(block: u64, tx: u64) -> PrivatePlace {
        PrivatePlace {
            block: BlockNumber::new(block),
            tx,
            namespace: "cc".to_owned(),
            collection: "_implicit_org_Org1MSP".to_owned(),
        }
    }

    #[test]
    fn keys_are_read_back() {
        let place = place(0x0102, 3);
        let (namespace, collection) = (place.namespace.as_str(), place.collection.as_str());
        let names = (place.block, place.namespace.clone(), place.collection.clone());
        let written = written(&place);
        assert_eq!(read_written(&written), Some(place.clone()));
        assert_eq!(read_late(&late(7, &written)), Some((7, written.as_slice())));
        assert_eq!(read_hashed(&hashed(&place, &[0; 32])), Some(place.clone()));
        assert_eq!(read_missing(&missing(Absence::NotFound, place.block, namespace, collection)), Some(names.clone()));
        assert_eq!(read_expiring(&expiring(BlockNumber::new(9), place.block, namespace, collection)), Some(names));
        let height = Height::new(BlockNumber::new(5), 6);
        let purged = clear_key(namespace, collection, &[0; 32]);
        assert_eq!(read_purged(&purged), Some((namespace.to_owned(), collection.to_owned())));
        assert_eq!(read_height(&clear_key_at(&purged, height)), Some(height));
        for damaged in [&b""[..], b"short", &[0xff; 20]] {
            assert!(read_written(damaged).is_none() && read_missing(damaged).is_none());
            assert!(read_hashed(damaged).is_none());
            assert!(read_expiring(damaged).is_none() && read_purged(damaged).is_none());
        }
    }

    #[test]
    fn newer_markers_come_first_and_queues_stay_apart() {
        let key = |absence, block| missing(absence, BlockNumber::new(block), "cc", "coll");
        assert!(key(Absence::Missing, 9) < key(Absence::Missing, 8));
        assert!(key(Absence::Missing, 0) < missing_end(Absence::Missing).to_vec());
        assert!(missing_end(Absence::Missing).to_vec() < key(Absence::NotFound, u64::MAX));
        assert!(missing_from(Absence::NotFound, BlockNumber::new(8)).to_vec() > key(Absence::NotFound, 9));
    }
}
