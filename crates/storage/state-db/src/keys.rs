//! The bytes of keys and values.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `state` | `00` namespace `00` key | value of a public key |
//! | `state` | `01` namespace `00` collection `00` SHA-256 of the key | hash of a private value |
//! | `state` | `02` namespace `00` collection `00` key | clear private value |
//! | `hist` | namespace `00` OPV(length of key) key ¬block (u64) ¬place (u32) | empty |
//! | `meta` | `expiry` block (u64) namespace `00` collection `00` SHA-256 of the key | OPV(block that wrote it), then, where known, `00` clear key |
//! | `meta` | `collections` chaincode `~collection` ¬block (u64) | `protos.CollectionConfigPackage` that the block defined |
//! | `meta` | `savepoint` | format (1 byte) OPV(number of the last block) commit hash (0 or 32 bytes) |
//!
//! A value in `state` is: version (OPV block, OPV place) varint(length of metadata) metadata value. Numbers in `hist`
//! and `collections` are inverted and big-endian, so the newest change comes first; chaincodes with collections stand in the
//! order that they have in a snapshot, which comes from the text behind the name. (OPV: [`ripstop_types::put_ordered_varuint`].)

use bytes::{Buf, Bytes};
use ripstop_kv::{Keyspace, Reads};
use ripstop_rwset::StateValue;
use ripstop_types::{BlockNumber, Height, get_ordered_varuint, put_ordered_varuint, put_varuint};

pub(crate) const STATE: Keyspace = Keyspace { name: "state", reads: Reads::Point };
pub(crate) const HISTORY: Keyspace = Keyspace { name: "hist", reads: Reads::Range };
pub(crate) const META: Keyspace = Keyspace { name: "meta", reads: Reads::Range };

/// The keyspaces that state and history need.
pub const KEYSPACES: [Keyspace; 3] = [STATE, HISTORY, META];

pub(crate) const SAVEPOINT_KEY: &[u8] = b"savepoint";

/// The form of all entries described here. Another form is rebuilt from the blocks.
const FORMAT: u8 = 2;

const EXPIRY_PREFIX: &[u8] = b"expiry";

pub(crate) const COLLECTIONS_PREFIX: &[u8] = b"collections";

const COLLECTIONS_SUFFIX: &[u8] = b"~collection";

/// A private key whose value lives for a number of blocks only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The namespace.
    pub namespace: String,
    /// The collection.
    pub collection: String,
    /// SHA-256 of the key.
    pub key_hash: Bytes,
    /// The block that wrote the value. A key that a later block wrote does not expire.
    pub written_by: BlockNumber,
    /// The clear key, where this peer knows it.
    pub key: Option<String>,
}

/// The beginning of the keys of all that expires with a block.
pub(crate) fn expiry_prefix(at: BlockNumber) -> Vec<u8> {
    [EXPIRY_PREFIX, &at.get().to_be_bytes()].concat()
}

impl Expiry {
    pub(crate) fn stored_key(&self, at: BlockNumber) -> Vec<u8> {
        let (namespace, collection) = (self.namespace.as_bytes(), self.collection.as_bytes());
        [&expiry_prefix(at), namespace, &[0], collection, &[0], &self.key_hash].concat()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_ordered_varuint(&mut out, self.written_by.get());
        if let Some(key) = &self.key {
            out.push(0);
            out.extend_from_slice(key.as_bytes());
        }
        out
    }

    /// Reads an entry from what stands behind [`expiry_prefix`] in its key, and its value.
    pub(crate) fn decode(name: &Bytes, value: &Bytes) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let mut parts = name.splitn(3, |byte| *byte == 0);
        let (namespace, collection) = (text(parts.next()?)?, text(parts.next()?)?);
        let key_hash = name.slice_ref(parts.next()?);
        let (block, rest) = get_ordered_varuint(value).ok()?;
        let key = match rest.split_first() {
            None => None,
            Some((0, key)) => Some(text(key)?),
            Some(_) => return None,
        };
        Some(Self { namespace, collection, key_hash, written_by: BlockNumber::new(block), key })
    }
}

/// The beginning of the keys of all definitions of a chaincode's collections.
fn collections_of(chaincode: &str) -> Vec<u8> {
    [COLLECTIONS_PREFIX, chaincode.as_bytes(), COLLECTIONS_SUFFIX].concat()
}

pub(crate) fn collections(chaincode: &str, block: BlockNumber) -> Vec<u8> {
    [collections_of(chaincode).as_slice(), &(!block.get()).to_be_bytes()].concat()
}

/// From the definition before block `below` to the oldest: start and end of a range.
pub(crate) fn collections_below(chaincode: &str, below: BlockNumber) -> Option<(Vec<u8>, Vec<u8>)> {
    let newest = BlockNumber::new(below.get().checked_sub(1)?);
    let mut end = collections(chaincode, BlockNumber::GENESIS);
    end.push(0);
    Some((collections(chaincode, newest), end))
}

/// Chaincode and block of a key of [`collections`].
pub(crate) fn decode_collections(key: &[u8]) -> Option<(String, BlockNumber)> {
    let (name, block) = key.strip_prefix(COLLECTIONS_PREFIX)?.split_last_chunk::<8>()?;
    let chaincode = String::from_utf8(name.strip_suffix(COLLECTIONS_SUFFIX)?.to_vec()).ok()?;
    Some((chaincode, BlockNumber::new(!u64::from_be_bytes(*block))))
}

/// Up to which block the state, history and index are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Savepoint {
    /// The last block.
    pub block: BlockNumber,
    /// Its commit hash; empty where there is none.
    pub commit_hash: Bytes,
}

impl Savepoint {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_ordered_varuint(&mut out, self.block.get());
        out.extend_from_slice(&self.commit_hash);
        out
    }

    pub(crate) fn decode(value: &Bytes) -> Option<Self> {
        let (format, rest) = value.split_first()?;
        let (block, commit_hash) = get_ordered_varuint(rest).ok()?;
        let known = *format == FORMAT && matches!(commit_hash.len(), 0 | 32);
        known.then(|| Self { block: BlockNumber::new(block), commit_hash: value.slice_ref(commit_hash) })
    }
}

pub(crate) const PUBLIC: u8 = 0;
pub(crate) const HASHED: u8 = 1;
const PRIVATE: u8 = 2;

fn joined(kind: u8, names: &[&str], key: &[u8]) -> Vec<u8> {
    let length = names.iter().map(|name| name.len() + 1).sum::<usize>() + key.len() + 1;
    let mut out = Vec::with_capacity(length);
    out.push(kind);
    for name in names {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
    }
    out.extend_from_slice(key);
    out
}

pub(crate) fn public(namespace: &str, key: &str) -> Vec<u8> {
    joined(PUBLIC, &[namespace], key.as_bytes())
}

/// The namespace of a public key and the key.
pub(crate) fn decode_public(stored: &[u8]) -> Option<(String, Bytes)> {
    let rest = stored.strip_prefix(&[PUBLIC])?;
    let separator = rest.iter().position(|byte| *byte == 0)?;
    let (namespace, key) = rest.split_at(separator);
    Some((String::from_utf8(namespace.to_vec()).ok()?, Bytes::copy_from_slice(key.get(1..)?)))
}

/// Namespace and collection of a hashed key.
pub(crate) fn decode_hashed_place(stored: &[u8]) -> Option<(String, String)> {
    let mut parts = stored.strip_prefix(&[HASHED])?.splitn(3, |byte| *byte == 0);
    let mut text = || String::from_utf8(parts.next()?.to_vec()).ok();
    Some((text()?, text()?))
}

pub(crate) fn hashed(namespace: &str, collection: &str, key_hash: &[u8]) -> Vec<u8> {
    joined(HASHED, &[namespace, collection], key_hash)
}

pub(crate) fn private(namespace: &str, collection: &str, key: &str) -> Vec<u8> {
    joined(PRIVATE, &[namespace, collection], key.as_bytes())
}

/// The beginning of all history keys of a key.
pub(crate) fn history_prefix(namespace: &str, key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(namespace.len() + key.len() + 16);
    out.extend_from_slice(namespace.as_bytes());
    out.push(0);
    put_ordered_varuint(&mut out, key.len() as u64);
    out.extend_from_slice(key.as_bytes());
    out
}

pub(crate) fn history(namespace: &str, key: &str, version: Height) -> Vec<u8> {
    let mut out = history_prefix(namespace, key);
    out.extend_from_slice(&(!version.block.get()).to_be_bytes());
    let place = u32::try_from(version.tx).expect("a block has fewer than 2^32 transactions, its bytes are fewer");
    out.extend_from_slice(&(!place).to_be_bytes());
    out
}

/// The version at the end of a history key.
pub(crate) fn history_version(key: &[u8]) -> Option<Height> {
    let (rest, place) = key.split_last_chunk::<4>()?;
    let (_, block) = rest.split_last_chunk::<8>()?;
    Some(Height::new(BlockNumber::new(!u64::from_be_bytes(*block)), u64::from(!u32::from_be_bytes(*place))))
}

pub(crate) fn encode_value(value: &[u8], version: Height, metadata: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + metadata.len() + 16);
    version.put(&mut out);
    put_varuint(&mut out, metadata.len() as u64);
    out.extend_from_slice(metadata);
    out.extend_from_slice(value);
    out
}

pub(crate) fn decode_value(mut stored: Bytes) -> Option<StateValue> {
    let (version, rest) = Height::get(&stored).ok()?;
    stored.advance(stored.len() - rest.len());
    let length = usize::try_from(take_varuint(&mut stored)?).ok()?;
    if length > stored.len() {
        return None;
    }
    let metadata = stored.split_to(length);
    Some(StateValue { value: stored, version, metadata })
}

fn take_varuint(input: &mut Bytes) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *input.first()?;
        input.advance(1);
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_survive(value: Vec<u8>, metadata: Vec<u8>, block: u64, tx: u64) {
            let version = Height::new(BlockNumber::new(block), tx);
            let decoded = decode_value(encode_value(&value, version, &metadata).into()).unwrap();
            prop_assert_eq!(decoded, StateValue { value: value.into(), version, metadata: metadata.into() });
        }

        #[test]
        fn no_bytes_make_the_readers_panic(raw: Vec<u8>) {
            let raw = Bytes::from(raw);
            let _ = decode_value(raw.clone());
            let _ = history_version(&raw);
            let _ = Savepoint::decode(&raw);
            let _ = Expiry::decode(&raw, &raw);
            let _ = decode_public(&raw);
            let _ = decode_hashed_place(&raw);
            let _ = decode_collections(&raw);
        }

        #[test]
        fn expiries_survive(hash: [u8; 32], written_by: u64, key: Option<String>) {
            let expiry = Expiry {
                namespace: "cc".to_owned(),
                collection: "coll".to_owned(),
                key_hash: Bytes::copy_from_slice(&hash),
                written_by: BlockNumber::new(written_by),
                key,
            };
            let at = BlockNumber::new(7);
            let name = Bytes::from(expiry.stored_key(at)).slice(expiry_prefix(at).len()..);
            prop_assert_eq!(Expiry::decode(&name, &expiry.encode().into()), Some(expiry));
        }

        #[test]
        fn places_and_definitions_survive(namespace in "[^\0]*", collection in "[^\0]*", key: String, block: u64) {
            let stored = public(&namespace, &key);
            prop_assert_eq!(decode_public(&stored), Some((namespace.clone(), Bytes::from(key.clone()))));
            let place = (namespace.clone(), collection.clone());
            prop_assert_eq!(decode_hashed_place(&hashed(&namespace, &collection, key.as_bytes())), Some(place));
            let defined = (namespace.clone(), BlockNumber::new(block));
            prop_assert_eq!(decode_collections(&collections(&namespace, defined.1)), Some(defined));
        }

        #[test]
        fn newer_changes_come_first(one in any::<(u64, u32)>(), two in any::<(u64, u32)>()) {
            let version = |(block, tx): (u64, u32)| Height::new(BlockNumber::new(block), u64::from(tx));
            let (one, two) = (version(one), version(two));
            let order = history("ns", "key", one).cmp(&history("ns", "key", two));
            prop_assert_eq!(order, two.cmp(&one));
            prop_assert_eq!(history_version(&history("ns", "key", one)), Some(one));
        }

        #[test]
        fn savepoints_survive(block: u64, hashed: bool) {
            let commit_hash = if hashed { Bytes::from_static(&[7; 32]) } else { Bytes::new() };
            let savepoint = Savepoint { block: BlockNumber::new(block), commit_hash };
            prop_assert_eq!(Savepoint::decode(&savepoint.encode().into()), Some(savepoint));
        }
    }
}
