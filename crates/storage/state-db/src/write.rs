use bytes::Bytes;
use ripstop_kv::Batch;
use ripstop_rwset::UpdateBatch;
use ripstop_types::{BlockNumber, Height};

use crate::keys;
use crate::{Expiry, Savepoint};

/// Puts what a block changes into a batch.
#[derive(Debug)]
pub struct StateWriter<'a>(&'a mut Batch);

impl<'a> StateWriter<'a> {
    /// Writes into `batch`.
    pub fn new(batch: &'a mut Batch) -> Self {
        Self(batch)
    }

    /// Public values, hashes of private values, and history.
    pub fn put_updates(&mut self, updates: &UpdateBatch) {
        for (namespace, key, update) in updates.public_updates() {
            let stored_key = keys::public(namespace, key);
            self.put(stored_key, update.value.as_ref(), update.version, &update.metadata);
        }
        for (namespace, collection, key_hash, update) in updates.hashed_updates() {
            let stored_key = keys::hashed(namespace, collection, key_hash);
            self.put(stored_key, update.value.as_ref(), update.version, &update.metadata);
        }
        for entry in updates.history() {
            let key = keys::history(&entry.namespace, &entry.key, entry.version);
            self.0.put(&keys::HISTORY, key, Bytes::new());
        }
    }

    /// A public value as it stands in another peer's state.
    pub fn put_public(&mut self, namespace: &str, key: &str, value: &Bytes, version: Height, metadata: &[u8]) {
        self.put(keys::public(namespace, key), Some(value), version, metadata);
    }

    /// The hash of a private value as it stands in another peer's state.
    pub fn put_hashed(
        &mut self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
        value: &Bytes,
        version: Height,
        metadata: &[u8],
    ) {
        self.put(keys::hashed(namespace, collection, key_hash), Some(value), version, metadata);
    }

    /// A clear private value; `None` removes it.
    pub fn put_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Option<&Bytes>,
        version: Height,
    ) {
        self.put(keys::private(namespace, collection, key), value, version, &[]);
    }

    /// Removes the hash of a private value.
    pub fn delete_hashed(&mut self, namespace: &str, collection: &str, key_hash: &[u8]) {
        self.0.delete(&keys::STATE, keys::hashed(namespace, collection, key_hash));
    }

    /// Notes that a private key is to expire with block `at`.
    pub fn put_expiry(&mut self, at: BlockNumber, expiry: &Expiry) {
        self.0.put(&keys::META, expiry.stored_key(at), expiry.encode());
    }

    /// Drops the note of [`Self::put_expiry`].
    pub fn delete_expiry(&mut self, at: BlockNumber, expiry: &Expiry) {
        self.0.delete(&keys::META, expiry.stored_key(at));
    }

    /// The collections of a chaincode (bytes of a `protos.CollectionConfigPackage`) as a block defines them.
    pub fn put_collections(&mut self, chaincode: &str, block: BlockNumber, collections: impl Into<Bytes>) {
        self.0.put(&keys::META, keys::collections(chaincode, block), collections);
    }

    /// Up to which block the batch brings the state.
    pub fn put_savepoint(&mut self, savepoint: &Savepoint) {
        self.0.put(&keys::META, keys::SAVEPOINT_KEY, savepoint.encode());
    }

    fn put(&mut self, key: Vec<u8>, value: Option<&Bytes>, version: Height, metadata: &[u8]) {
        match value {
            Some(value) => self.0.put(&keys::STATE, key, keys::encode_value(value, version, metadata)),
            None => self.0.delete(&keys::STATE, key),
        }
    }
}
