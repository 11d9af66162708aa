//! How keys longer than the engine takes are stored.
//!
//! A key of at most [`PLAIN_LIMIT`] bytes is stored as it is. A longer one is stored as its first [`PLAIN_LIMIT`] bytes
//! and its SHA-256, and the value begins with the whole key: four bytes of length, big-endian, then the key.

use bytes::{BufMut, Bytes, BytesMut};
use ripstop_types::Digest;

/// The longest key that is stored as it is. The engine takes 65 535 bytes.
pub(crate) const PLAIN_LIMIT: usize = 60_000;

pub(crate) fn is_long(key: &[u8]) -> bool {
    key.len() > PLAIN_LIMIT
}

/// Whether a stored key is a shortened one: no plain key is so long.
pub(crate) fn is_stored_long(stored: &[u8]) -> bool {
    stored.len() > PLAIN_LIMIT
}

pub(crate) fn encode_key(mut key: Vec<u8>) -> Vec<u8> {
    if is_long(&key) {
        let hash = Digest::of(&key);
        key.truncate(PLAIN_LIMIT);
        key.extend_from_slice(hash.as_bytes());
    }
    key
}

pub(crate) fn encode(key: Vec<u8>, value: Bytes) -> (Vec<u8>, Bytes) {
    if !is_long(&key) {
        return (key, value);
    }
    let mut whole = BytesMut::with_capacity(4 + key.len() + value.len());
    whole.put_u32(u32::try_from(key.len()).expect("a key that fits into a message is below 4 GiB"));
    whole.put_slice(&key);
    whole.put_slice(&value);
    (encode_key(key), whole.freeze())
}

/// The whole key and the value of a shortened entry.
pub(crate) fn decode_long(stored_value: &Bytes) -> Option<(Vec<u8>, Bytes)> {
    let (length, rest) = stored_value.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let key = rest.get(..length)?.to_vec();
    Some((key, stored_value.slice(4 + length..)))
}

/// Whether two shortened keys begin alike, so that their order is that of their whole keys.
pub(crate) fn same_group(one: &[u8], other: &[u8]) -> bool {
    is_stored_long(one) && is_stored_long(other) && one.get(..PLAIN_LIMIT) == other.get(..PLAIN_LIMIT)
}

/// A stored key not above any stored key whose whole key is at least `start`.
pub(crate) fn lower_bound(start: &[u8]) -> &[u8] {
    start.get(..PLAIN_LIMIT).unwrap_or(start)
}

/// A stored key above every stored key whose whole key is below `end`.
pub(crate) fn upper_bound(end: &[u8]) -> Vec<u8> {
    match end.get(..PLAIN_LIMIT).filter(|_| is_long(end)) {
        Some(beginning) => [beginning, &[0xff; 33]].concat(),
        None => end.to_vec(),
    }
}

/// The first key that does not begin with `prefix` and follows all that do; none where all that follow do.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}
