use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use bytes::Bytes;
use ripstop_types::{Digest, Height, TxId};

use crate::{StateError, StateIter, StateValue, StateView, UpdateBatch};

/// A world state in memory: for tests, simulations and tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryState {
    public: BTreeMap<String, BTreeMap<String, StateValue>>,
    hashed: BTreeMap<(String, String), BTreeMap<Bytes, StateValue>>,
    private: BTreeMap<(String, String), BTreeMap<String, StateValue>>,
    transactions: HashSet<TxId>,
}

impl MemoryState {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a public key; its metadata becomes empty.
    pub fn put(&mut self, namespace: &str, key: &str, value: impl Into<Bytes>, version: Height) {
        let value = StateValue { value: value.into(), version, metadata: Bytes::new() };
        self.public.entry(namespace.to_owned()).or_default().insert(key.to_owned(), value);
    }

    /// Sets the metadata of an existing public key to bytes as [`crate::encode_metadata`] makes them.
    pub fn put_metadata(&mut self, namespace: &str, key: &str, metadata: Bytes) {
        if let Some(value) = self.public.get_mut(namespace).and_then(|keys| keys.get_mut(key)) {
            value.metadata = metadata;
        }
    }

    /// Sets a private key: the clear value and the hash.
    pub fn put_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: impl Into<Bytes>,
        version: Height,
    ) {
        let value = value.into();
        let name = (namespace.to_owned(), collection.to_owned());
        let hash = StateValue { value: Digest::of(&value).to_bytes(), version, metadata: Bytes::new() };
        self.hashed.entry(name.clone()).or_default().insert(Digest::of(key.as_bytes()).to_bytes(), hash);
        let value = StateValue { value, version, metadata: Bytes::new() };
        self.private.entry(name).or_default().insert(key.to_owned(), value);
    }

    /// Records that a transaction stands in the chain.
    pub fn add_transaction(&mut self, tx_id: TxId) {
        self.transactions.insert(tx_id);
    }

    /// Takes the public and hashed changes of a block.
    pub fn apply(&mut self, updates: &UpdateBatch) {
        for (namespace, key, update) in updates.public_updates() {
            let keys = self.public.entry(namespace.to_owned()).or_default();
            match &update.value {
                None => drop(keys.remove(key)),
                Some(value) => {
                    let value =
                        StateValue { value: value.clone(), version: update.version, metadata: update.metadata.clone() };
                    keys.insert(key.to_owned(), value);
                }
            }
        }
        for (namespace, collection, key_hash, update) in updates.hashed_updates() {
            let keys = self.hashed.entry((namespace.to_owned(), collection.to_owned())).or_default();
            match &update.value {
                None => drop(keys.remove(key_hash)),
                Some(value) => {
                    let value =
                        StateValue { value: value.clone(), version: update.version, metadata: update.metadata.clone() };
                    keys.insert(key_hash.clone(), value);
                }
            }
        }
    }

    /// All public keys: namespace, key, value; sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &StateValue)> {
        self.public
            .iter()
            .flat_map(|(ns, keys)| keys.iter().map(move |(key, value)| (ns.as_str(), key.as_str(), value)))
    }
}

fn range<'a>(keys: Option<&'a BTreeMap<String, StateValue>>, start: &str, end: &str) -> StateIter<'a> {
    let Some(keys) = keys.filter(|_| end.is_empty() || start < end) else { return Box::new(std::iter::empty()) };
    let below = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
    let found = keys.range::<str, _>((Bound::Included(start), below));
    Box::new(found.map(|(key, value)| Ok((key.clone(), value.clone()))))
}

impl StateView for MemoryState {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        Ok(self.public.get(namespace).and_then(|keys| keys.get(key)).cloned())
    }

    fn range(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'_>, StateError> {
        Ok(range(self.public.get(namespace), start, end))
    }

    fn hashed(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Result<Option<StateValue>, StateError> {
        let keys = self.hashed.get(&(namespace.to_owned(), collection.to_owned()));
        Ok(keys.and_then(|keys| keys.get(key_hash)).cloned())
    }

    fn private(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        let keys = self.private.get(&(namespace.to_owned(), collection.to_owned()));
        Ok(keys.and_then(|keys| keys.get(key)).cloned())
    }

    fn private_range(
        &self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateIter<'_>, StateError> {
        Ok(range(self.private.get(&(namespace.to_owned(), collection.to_owned())), start, end))
    }

    fn has_transaction(&self, tx_id: &TxId) -> Result<bool, StateError> {
        Ok(self.transactions.contains(tx_id))
    }
}
