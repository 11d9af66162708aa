//! Private data in the state that lives for a number of blocks only (a collection's `block_to_live`).
//!
//! With the block `written + block_to_live + 1` the hash vanishes from the state, and the clear value with it, unless a
//! later block wrote the key. Hashes are part of what transactions read, so all peers must do this at the same block. The
//! commit hash does not cover it (Fabric: `pvtstatepurgemgmt`).

use std::collections::HashSet;

use bytes::Bytes;
use ripstop_lifecycle::Lifetimes;
use ripstop_rwset::{StateError, StateView, UpdateBatch};
use ripstop_state_db::{Expiry, StateWriter};
use ripstop_types::{BlockNumber, Digest, Height};

use crate::StateSnapshot;
use crate::private::PrivateUpdates;

/// Removes what expires with this block. Keys that the block itself writes stay.
pub(crate) fn expire(
    writer: &mut StateWriter<'_>,
    block: BlockNumber,
    updates: &UpdateBatch,
    private: &PrivateUpdates,
    before: &StateSnapshot,
) -> Result<(), StateError> {
    for expiry in before.expiries(block)? {
        writer.delete_expiry(block, &expiry);
        let Expiry { namespace, collection, key_hash, written_by, key } = &expiry;
        let hash = before.hashed(namespace, collection, key_hash)?;
        let hash_expires = hash.is_some_and(|hash| hash.version.block == *written_by);
        if hash_expires && updates.hashed(namespace, collection, key_hash).is_none() {
            writer.delete_hashed(namespace, collection, key_hash);
        }
        let Some(key) = key.as_ref().filter(|key| !private.touches(namespace, collection, key)) else { continue };
        // A clear value may be older than its hash, where the newer one never reached this peer.
        let Some(clear) = before.private(namespace, collection, key)? else { continue };
        if hash_expires || clear.version.block == *written_by {
            writer.put_private(namespace, collection, key, None, Height::new(block, 0));
        }
    }
    Ok(())
}

/// Notes when the private keys that this block writes will expire. A clear value is noted also where a later transaction of
/// the block deletes the hash and this peer lacks that write: the value would stay for ever (Fabric: `buildExpirySchedule`).
pub(crate) fn schedule(
    writer: &mut StateWriter<'_>,
    block: BlockNumber,
    updates: &UpdateBatch,
    private: &PrivateUpdates,
    lifetimes: &mut Lifetimes<'_>,
) -> Result<(), StateError> {
    let noted = schedule_values(writer, private, lifetimes)?;
    for (namespace, collection, key_hash, update) in updates.hashed_updates() {
        if update.value.is_none() || noted.contains(&(namespace, collection, key_hash.clone())) {
            continue;
        }
        let Some(at) = lifetimes.end(namespace, collection, block)? else { continue };
        let expiry = Expiry {
            namespace: namespace.to_owned(),
            collection: collection.to_owned(),
            key_hash: key_hash.clone(),
            written_by: block,
            key: None,
        };
        writer.put_expiry(at, &expiry);
    }
    Ok(())
}

/// Notes when clear values, and their hashes with them, will expire. Gives namespace, collection and hash of what it noted.
pub(crate) fn schedule_values<'a>(
    writer: &mut StateWriter<'_>,
    private: &'a PrivateUpdates,
    lifetimes: &mut Lifetimes<'_>,
) -> Result<HashSet<(&'a str, &'a str, Bytes)>, StateError> {
    let mut noted = HashSet::new();
    for (namespace, collection, key, version) in private.values() {
        let Some(at) = lifetimes.end(namespace, collection, version.block)? else { continue };
        let key_hash = Digest::of(key.as_bytes()).to_bytes();
        let expiry = Expiry {
            namespace: namespace.to_owned(),
            collection: collection.to_owned(),
            key_hash: key_hash.clone(),
            written_by: version.block,
            key: Some(key.to_owned()),
        };
        writer.put_expiry(at, &expiry);
        noted.insert((namespace, collection, key_hash));
    }
    Ok(noted)
}
