//! Private data that lives for a number of blocks only (a collection's `block_to_live`).
//!
//! With the block `written + block_to_live + 1` the hash vanishes from the state, and the clear value with it, unless a
//! later block wrote the key. Hashes are part of what transactions read, so all peers must do this at the same block. The
//! commit hash does not cover it (Fabric: `pvtstatepurgemgmt`).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use ripstop_lifecycle::{Committed, QueryError, RecordError, definition, explicit_collections};
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

/// Notes when the private keys that this block writes will expire.
pub(crate) fn schedule(
    writer: &mut StateWriter<'_>,
    block: BlockNumber,
    updates: &UpdateBatch,
    private: &PrivateUpdates,
    before: &StateSnapshot,
) -> Result<(), StateError> {
    let mut lifetimes = HashMap::new();
    let mut clear_keys: Option<BTreeMap<(&str, &str, Bytes), &str>> = None;
    for (namespace, collection, key_hash, update) in updates.hashed_updates() {
        if update.value.is_none() {
            continue;
        }
        let lifetime = match lifetimes.get(&(namespace, collection)) {
            Some(lifetime) => *lifetime,
            None => *lifetimes.entry((namespace, collection)).or_insert(block_to_live(before, namespace, collection)?),
        };
        let Some(at) = block.get().checked_add(lifetime).and_then(|last| last.checked_add(1)).filter(|_| lifetime > 0)
        else {
            continue;
        };
        let clear_keys = clear_keys.get_or_insert_with(|| {
            let hash = |key: &str| Digest::of(key.as_bytes()).to_bytes();
            private.keys().map(|(ns, collection, key)| ((ns, collection, hash(key)), key)).collect()
        });
        let key = clear_keys.get(&(namespace, collection, key_hash.clone())).map(|key| (*key).to_owned());
        let expiry = Expiry {
            namespace: namespace.to_owned(),
            collection: collection.to_owned(),
            key_hash: key_hash.clone(),
            written_by: block,
            key,
        };
        writer.put_expiry(BlockNumber::new(at), &expiry);
    }
    Ok(())
}

/// How many blocks the values of a collection live; 0 is for ever. Implicit collections have no limit, and a definition
/// that makes no sense has none either.
fn block_to_live(before: &StateSnapshot, namespace: &str, collection: &str) -> Result<u64, StateError> {
    let definition = match definition(&mut Committed(before), namespace) {
        Ok(definition) => definition,
        Err(QueryError::Record { context, error: error @ RecordError::State { .. } }) => {
            return Err(StateError::new(format!("{context}: {error}")));
        }
        Err(_) => None,
    };
    let collections = definition.map(|definition| definition.parameters.collections).unwrap_or_default();
    let found = explicit_collections(&collections).find(|candidate| candidate.name == collection);
    Ok(found.map_or(0, |collection| collection.block_to_live))
}
