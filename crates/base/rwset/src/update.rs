use std::collections::{BTreeMap, HashSet};
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::ledger;
use ripstop_types::{Height, TxId};

use crate::{
    CHANNEL_CONFIG_KEY, CHANNEL_CONFIG_NAMESPACE, MetadataEntry, StateError, StateIter, StateValue, StateView, TxRwSet,
    encode_metadata,
};

/// What a block does to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The new value, `None` to delete the key. Of a hashed key the hash of the value.
    pub value: Option<Bytes>,
    /// The new metadata; empty for none.
    pub metadata: Bytes,
    /// The transaction that does it.
    pub version: Height,
}

impl Update {
    fn into_state(self) -> Option<StateValue> {
        let Self { value, metadata, version } = self;
        value.map(|value| StateValue { value, version, metadata })
    }
}

/// A public key written or deleted by a valid endorsed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The namespace.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The transaction.
    pub version: Height,
}

/// A transaction announces private writes; whoever has them proves them by this hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateExpectation {
    /// The transaction's place in the block.
    pub tx: u64,
    /// The namespace.
    pub namespace: String,
    /// The collection.
    pub collection: String,
    /// SHA-256 of the writes' bytes.
    pub hash: Bytes,
}

impl PrivateExpectation {
    /// What a transaction at this place in its block announces. A collection without writes announces nothing, whatever hash
    /// stands beside it (Fabric: `containsWrites`); of several entries of one collection the first counts.
    pub fn of(tx: u64, set: &TxRwSet) -> Vec<Self> {
        let (mut announced, mut known) = (Vec::new(), HashSet::new());
        for ns in &set.namespaces {
            for collection in &ns.collections {
                let writes = !collection.writes.is_empty() || !collection.metadata_writes.is_empty();
                let counts = writes && !collection.private_rwset_hash.is_empty();
                if counts && known.insert((&ns.namespace, &collection.collection)) {
                    announced.push(Self {
                        tx,
                        namespace: ns.namespace.clone(),
                        collection: collection.collection.clone(),
                        hash: collection.private_rwset_hash.clone(),
                    });
                }
            }
        }
        announced
    }
}

/// A private key whose former values must vanish from disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// The namespace.
    pub namespace: String,
    /// The collection.
    pub collection: String,
    /// SHA-256 of the key.
    pub key_hash: Bytes,
    /// The transaction that demands it; later values stay.
    pub version: Height,
}

/// All changes of the state by the valid transactions of one block, collected in block order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateBatch {
    public: BTreeMap<String, BTreeMap<String, Update>>,
    hashed: BTreeMap<String, BTreeMap<String, BTreeMap<Bytes, Update>>>,
    history: Vec<HistoryEntry>,
    private: Vec<PrivateExpectation>,
    purges: Vec<Purge>,
}

impl UpdateBatch {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the writes of a valid endorsed transaction. `before` is the state before the block: a write that leaves
    /// metadata alone keeps what was there, and one of metadata alone keeps the value.
    pub fn apply(&mut self, set: &TxRwSet, version: Height, before: &dyn StateView) -> Result<(), StateError> {
        for (key, op) in collect_ops(set) {
            let Some(update) = op.settle(&key, version, self, before)? else { continue };
            match key.collection {
                None => {
                    let keys = entry(&mut self.public, key.namespace);
                    keys.insert(String::from_utf8_lossy(key.key).into_owned(), update);
                }
                Some(collection) => {
                    let keys = entry(entry(&mut self.hashed, key.namespace), collection);
                    keys.insert(Bytes::copy_from_slice(key.key), update);
                }
            }
        }
        self.private.extend(PrivateExpectation::of(version.tx, set));
        for ns in &set.namespaces {
            self.history.extend(ns.writes.iter().map(|write| HistoryEntry {
                namespace: ns.namespace.clone(),
                key: write.key.clone(),
                version,
            }));
            for collection in &ns.collections {
                self.purges.extend(collection.writes.iter().filter(|write| write.is_purge).map(|write| Purge {
                    namespace: ns.namespace.clone(),
                    collection: collection.collection.clone(),
                    key_hash: write.key_hash.clone(),
                    version,
                }));
            }
        }
        Ok(())
    }

    /// Sets the channel's configuration: the data of a valid configuration transaction, a `common.ConfigEnvelope`.
    pub fn set_config(&mut self, config_envelope: Bytes, version: Height) {
        let update = Update { value: Some(config_envelope), metadata: Bytes::new(), version };
        entry(&mut self.public, CHANNEL_CONFIG_NAMESPACE).insert(CHANNEL_CONFIG_KEY.to_owned(), update);
    }

    /// What the block does to a public key so far; `None` when no transaction touched it.
    pub fn public(&self, namespace: &str, key: &str) -> Option<&Update> {
        self.public.get(namespace)?.get(key)
    }

    /// What the block does to a private key so far, by the key's hash.
    pub fn hashed(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Option<&Update> {
        self.hashed.get(namespace)?.get(collection)?.get(key_hash)
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.public.is_empty() && self.hashed.is_empty()
    }

    /// All changes of public keys: namespace, key, change; sorted.
    pub fn public_updates(&self) -> impl Iterator<Item = (&str, &str, &Update)> {
        self.public
            .iter()
            .flat_map(|(ns, keys)| keys.iter().map(move |(key, update)| (ns.as_str(), key.as_str(), update)))
    }

    /// All changes of private keys: namespace, collection, hash of the key, change; sorted.
    pub fn hashed_updates(&self) -> impl Iterator<Item = (&str, &str, &Bytes, &Update)> {
        self.hashed.iter().flat_map(|(ns, collections)| {
            collections.iter().flat_map(move |(collection, keys)| {
                keys.iter().map(move |(key, update)| (ns.as_str(), collection.as_str(), key, update))
            })
        })
    }

    /// The public keys that valid endorsed transactions wrote or deleted, in block order.
    pub fn history(&self) -> &[HistoryEntry] {
        &self.history
    }

    /// The private writes that valid transactions announce, in block order.
    pub fn private_expectations(&self) -> &[PrivateExpectation] {
        &self.private
    }

    /// The private keys to be forgotten, in block order.
    pub fn purges(&self) -> &[Purge] {
        &self.purges
    }

    /// The state as it is after the transactions so far.
    pub fn over<'a>(&'a self, before: &'a dyn StateView) -> PendingState<'a> {
        PendingState { before, updates: self }
    }

    /// The bytes of the changes that go into the commit hash: a `ledger.Updates`, namespaces in order, in each first the
    /// public keys, then the collections. Namespace and collection are named on their first entry only; the channel's
    /// configuration is left out (Fabric: `update_batch_bytes.go`).
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut namespaces: Vec<&String> = self.public.keys().chain(self.hashed.keys()).collect();
        namespaces.sort();
        namespaces.dedup();
        let mut updates = ledger::Updates::default();
        for namespace in namespaces {
            if namespace == CHANNEL_CONFIG_NAMESPACE {
                continue;
            }
            let first = updates.kvwrites.len();
            for (key, update) in self.public.get(namespace).into_iter().flatten() {
                updates.kvwrites.push(kv_write(Bytes::copy_from_slice(key.as_bytes()), update));
            }
            for (collection, keys) in self.hashed.get(namespace).into_iter().flatten() {
                let first = updates.kvwrites.len();
                updates.kvwrites.extend(keys.iter().map(|(key, update)| kv_write(key.clone(), update)));
                if let Some(write) = updates.kvwrites.get_mut(first) {
                    write.collection.clone_from(collection);
                }
            }
            if let Some(write) = updates.kvwrites.get_mut(first) {
                write.namespace.clone_from(namespace);
            }
        }
        updates.encode_to_vec()
    }
}

fn kv_write(key: Bytes, update: &Update) -> ledger::KvWrite {
    ledger::KvWrite {
        namespace: String::new(),
        collection: String::new(),
        key,
        is_delete: update.value.is_none(),
        value: update.value.clone().unwrap_or_default(),
        version_bytes: update.version.to_bytes().into(),
    }
}

/// The entry of a map by a borrowed key, which is copied only when it is new.
fn entry<'m, V: Default>(map: &'m mut BTreeMap<String, V>, key: &str) -> &'m mut V {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), V::default());
    }
    map.get_mut(key).expect("the key was inserted just now")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct OpKey<'a> {
    namespace: &'a str,
    collection: Option<&'a str>,
    key: &'a [u8],
}

/// What one transaction does to one key.
///
/// Fabric *adds up* flags, and so do we, because the outcome is consensus: a forged set that writes the same key twice
/// sums up to "metadata only" and keeps the old value, one that deletes it twice deletes nothing.
#[derive(Debug, Default)]
struct KeyOp {
    flags: u8,
    value: Option<Bytes>,
    metadata: Bytes,
}

const UPSERT: u8 = 1;
const METADATA_UPDATE: u8 = 2;
const METADATA_DELETE: u8 = 4;
const DELETE: u8 = 8;

impl KeyOp {
    fn write(&mut self, deletes: bool, value: &Bytes) {
        if deletes {
            self.flags = self.flags.wrapping_add(DELETE);
        } else {
            self.flags = self.flags.wrapping_add(UPSERT);
            self.value = Some(value.clone());
        }
    }

    fn write_metadata(&mut self, entries: &[MetadataEntry]) {
        if entries.is_empty() {
            self.flags = self.flags.wrapping_add(METADATA_DELETE);
        } else {
            self.flags = self.flags.wrapping_add(METADATA_UPDATE);
            self.metadata = encode_metadata(entries);
        }
    }

    /// The change, completed by what the key holds before this transaction. `None`: nothing changes.
    fn settle(
        self,
        key: &OpKey<'_>,
        version: Height,
        pending: &UpdateBatch,
        before: &dyn StateView,
    ) -> Result<Option<Update>, StateError> {
        if self.flags & DELETE != 0 {
            return Ok(Some(Update { value: None, metadata: Bytes::new(), version }));
        }
        let upsert = self.flags & UPSERT != 0;
        if upsert && self.flags & (METADATA_UPDATE | METADATA_DELETE) != 0 {
            return Ok(Some(Update { value: self.value, metadata: self.metadata, version }));
        }
        let latest = key.latest(pending, before)?;
        if self.flags == UPSERT || self.flags == 0 {
            let metadata = latest.map(|latest| latest.metadata).unwrap_or_default();
            return Ok(self.value.map(|value| Update { value: Some(value), metadata, version }));
        }
        // Metadata of a key that does not exist has no effect. (Fabric's peers stop when an earlier transaction of the
        // block deleted the key; there is nothing to be equal to.)
        Ok(latest.map(|latest| Update { value: Some(latest.value), metadata: self.metadata, version }))
    }
}

impl OpKey<'_> {
    fn latest(&self, pending: &UpdateBatch, before: &dyn StateView) -> Result<Option<StateValue>, StateError> {
        match self.collection {
            None => {
                let key = String::from_utf8_lossy(self.key);
                match pending.public(self.namespace, &key) {
                    Some(update) => Ok(update.clone().into_state()),
                    None => before.get(self.namespace, &key),
                }
            }
            Some(collection) => match pending.hashed(self.namespace, collection, self.key) {
                Some(update) => Ok(update.clone().into_state()),
                None => before.hashed(self.namespace, collection, self.key),
            },
        }
    }
}

fn collect_ops(set: &TxRwSet) -> BTreeMap<OpKey<'_>, KeyOp> {
    let mut ops: BTreeMap<OpKey<'_>, KeyOp> = BTreeMap::new();
    for ns in &set.namespaces {
        let public = |key| OpKey { namespace: &ns.namespace, collection: None, key };
        for write in &ns.writes {
            ops.entry(public(write.key.as_bytes())).or_default().write(write.deletes(), &write.value);
        }
        for write in &ns.metadata_writes {
            ops.entry(public(write.key.as_bytes())).or_default().write_metadata(&write.entries);
        }
        for collection in &ns.collections {
            // Fabric keeps public keys and those of a collection without name apart by that name alone.
            let name = Some(collection.collection.as_str()).filter(|name| !name.is_empty());
            let hashed = |key| OpKey { namespace: &ns.namespace, collection: name, key };
            for write in &collection.writes {
                ops.entry(hashed(&write.key_hash)).or_default().write(write.deletes(), &write.value_hash);
            }
            for write in &collection.metadata_writes {
                ops.entry(hashed(&write.key_hash)).or_default().write_metadata(&write.entries);
            }
        }
    }
    ops
}

/// The state before a block with the changes of its transactions so far on top.
#[derive(Clone, Copy)]
pub struct PendingState<'a> {
    before: &'a dyn StateView,
    updates: &'a UpdateBatch,
}

impl<'a> PendingState<'a> {
    /// As [`StateView::range`], and `end` itself: what a committer compares with a recorded range query whose simulation
    /// stopped early, with `end` as the last key that it took (Fabric: `validation/combined_iterator.go`).
    pub fn range_through(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'a>, StateError> {
        let keys = self.merged(namespace, start, end)?;
        let last = self.get(namespace, end)?.map(|value| Ok((end.to_owned(), value)));
        Ok(Box::new(keys.chain(last)))
    }

    fn merged(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'a>, StateError> {
        if !end.is_empty() && start >= end {
            return Ok(Box::new(std::iter::empty()));
        }
        let below = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let pending = self
            .updates
            .public
            .get(namespace)
            .map(|keys| keys.range::<str, _>((Bound::Included(start), below)))
            .into_iter()
            .flatten()
            .map(|(key, update)| (key.as_str(), update));
        let committed = self.before.range(namespace, start, end)?.peekable();
        Ok(Box::new(Merged { committed, pending: pending.peekable() }))
    }
}

/// Two ordered sequences as one; of equal keys the pending one counts, and deleted keys are left out.
struct Merged<'a, P: Iterator<Item = (&'a str, &'a Update)>> {
    committed: Peekable<StateIter<'a>>,
    pending: Peekable<P>,
}

impl<'a, P: Iterator<Item = (&'a str, &'a Update)>> Iterator for Merged<'a, P> {
    type Item = Result<(String, StateValue), StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, update) = match (self.committed.peek(), self.pending.peek()) {
                (Some(Err(_)), _) | (_, None) => return self.committed.next(),
                (Some(Ok((committed, _))), Some((pending, _))) if committed.as_str() < *pending => {
                    return self.committed.next();
                }
                (committed, Some((pending, update))) => {
                    let found = (*pending, *update);
                    if matches!(committed, Some(Ok((committed, _))) if committed == pending) {
                        self.committed.next();
                    }
                    found
                }
            };
            self.pending.next();
            if let Some(value) = update.clone().into_state() {
                return Some(Ok((key.to_owned(), value)));
            }
        }
    }
}

impl StateView for PendingState<'_> {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        match self.updates.public(namespace, key) {
            Some(update) => Ok(update.clone().into_state()),
            None => self.before.get(namespace, key),
        }
    }

    fn range(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'_>, StateError> {
        self.merged(namespace, start, end)
    }

    fn hashed(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Result<Option<StateValue>, StateError> {
        match self.updates.hashed(namespace, collection, key_hash) {
            Some(update) => Ok(update.clone().into_state()),
            None => self.before.hashed(namespace, collection, key_hash),
        }
    }

    fn private(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        self.before.private(namespace, collection, key)
    }

    fn private_range(
        &self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateIter<'_>, StateError> {
        self.before.private_range(namespace, collection, start, end)
    }

    fn has_transaction(&self, tx_id: &TxId) -> Result<bool, StateError> {
        self.before.has_transaction(tx_id)
    }
}
