use std::collections::{BTreeMap, HashSet};
use std::fmt;

use bytes::Bytes;
use ripstop_types::{Digest, Height};

use crate::{
    CollectionHashedRwSet, CollectionPrivateRwSet, HashedMetadataWrite, HashedRead, HashedWrite, KvRead, KvWrite,
    MetadataEntry, MetadataWrite, NsPrivateRwSet, NsRwSet, PrivateMetadataWrite, RangeQuery, TxPrivateRwSet, TxRwSet,
};

/// Collects what a simulation reads and writes and puts it into the one order that all endorsers produce
/// (Fabric: `rwsetutil.RWSetBuilder`).
///
/// A namespace appears as soon as anything in it is touched. A later read or write of the same key replaces the earlier.
#[derive(Debug, Clone, Default)]
pub struct RwSetBuilder {
    namespaces: BTreeMap<String, Namespace>,
}

#[derive(Debug, Clone, Default)]
struct Namespace {
    reads: BTreeMap<String, Option<Height>>,
    writes: BTreeMap<String, Bytes>,
    metadata_writes: BTreeMap<String, BTreeMap<String, Bytes>>,
    range_queries: Vec<RangeQuery>,
    range_queries_seen: HashSet<(String, String, bool)>,
    collections: BTreeMap<String, Collection>,
}

/// Keys are clear here: the hashed sets are sorted by them.
#[derive(Debug, Clone, Default)]
struct Collection {
    reads: BTreeMap<String, Option<Height>>,
    writes: BTreeMap<String, PrivateWrite>,
    metadata_writes: BTreeMap<String, BTreeMap<String, Bytes>>,
}

#[derive(Clone)]
enum PrivateWrite {
    Value(Bytes),
    Purge,
}

// Values of collections never reach a log line.
impl fmt::Debug for PrivateWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value(_) => "a value",
            Self::Purge => "a purge",
        })
    }
}

impl RwSetBuilder {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that `key` was read at `version`, `None` when it did not exist.
    pub fn read(&mut self, namespace: &str, key: &str, version: Option<Height>) {
        self.namespace(namespace).reads.insert(key.to_owned(), version);
    }

    /// Records a write; an empty value deletes the key.
    pub fn write(&mut self, namespace: &str, key: &str, value: Bytes) {
        self.namespace(namespace).writes.insert(key.to_owned(), value);
    }

    /// Records new metadata of a key; no entries delete it.
    pub fn write_metadata(&mut self, namespace: &str, key: &str, entries: BTreeMap<String, Bytes>) {
        self.namespace(namespace).metadata_writes.insert(key.to_owned(), entries);
    }

    /// Records a finished range query. One with the same start, end and exhaustion as an earlier one is left out.
    pub fn range_query(&mut self, namespace: &str, query: RangeQuery) {
        let namespace = self.namespace(namespace);
        let identity = (query.start_key.clone(), query.end_key.clone(), query.exhausted);
        if namespace.range_queries_seen.insert(identity) {
            namespace.range_queries.push(query);
        }
    }

    /// Records that a private key, or its hash, was read at `version`.
    pub fn private_read(&mut self, namespace: &str, collection: &str, key: &str, version: Option<Height>) {
        self.collection(namespace, collection).reads.insert(key.to_owned(), version);
    }

    /// Records a private write; an empty value deletes the key.
    pub fn private_write(&mut self, namespace: &str, collection: &str, key: &str, value: Bytes) {
        self.collection(namespace, collection).writes.insert(key.to_owned(), PrivateWrite::Value(value));
    }

    /// Records that a private key and all its former values must be removed.
    pub fn private_purge(&mut self, namespace: &str, collection: &str, key: &str) {
        self.collection(namespace, collection).writes.insert(key.to_owned(), PrivateWrite::Purge);
    }

    /// Records new metadata of a private key; no entries delete it.
    pub fn private_write_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        entries: BTreeMap<String, Bytes>,
    ) {
        self.collection(namespace, collection).metadata_writes.insert(key.to_owned(), entries);
    }

    /// The public set, and the private one when there is any private write.
    pub fn build(self) -> (TxRwSet, Option<TxPrivateRwSet>) {
        let mut public = TxRwSet::default();
        let mut private = TxPrivateRwSet::default();
        for (name, namespace) in self.namespaces {
            let mut clear = NsPrivateRwSet { namespace: name.clone(), collections: vec![] };
            let mut collections = Vec::with_capacity(namespace.collections.len());
            for (collection_name, collection) in namespace.collections {
                let (hashed, written) = collection.build(collection_name);
                collections.push(hashed);
                clear.collections.extend(written);
            }
            if !clear.collections.is_empty() {
                private.namespaces.push(clear);
            }
            public.namespaces.push(NsRwSet {
                namespace: name,
                reads: namespace.reads.into_iter().map(|(key, version)| KvRead { key, version }).collect(),
                range_queries: namespace.range_queries,
                writes: namespace.writes.into_iter().map(|(key, value)| kv_write(key, value)).collect(),
                metadata_writes: namespace
                    .metadata_writes
                    .into_iter()
                    .map(|(key, entries)| MetadataWrite { key, entries: entry_list(entries) })
                    .collect(),
                collections,
            });
        }
        (public, (!private.namespaces.is_empty()).then_some(private))
    }

    fn namespace(&mut self, namespace: &str) -> &mut Namespace {
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.to_owned(), Namespace::default());
        }
        self.namespaces.get_mut(namespace).expect("the namespace was inserted just now")
    }

    fn collection(&mut self, namespace: &str, collection: &str) -> &mut Collection {
        self.namespace(namespace).collections.entry(collection.to_owned()).or_default()
    }
}

impl Collection {
    fn build(self, name: String) -> (CollectionHashedRwSet, Option<CollectionPrivateRwSet>) {
        let hash = |key: &str| Digest::of(key.as_bytes()).to_bytes();
        let hashed_writes = self.writes.iter().map(|(key, write)| match write {
            PrivateWrite::Value(value) if !value.is_empty() => HashedWrite {
                key_hash: hash(key),
                is_delete: false,
                value_hash: Digest::of(value).to_bytes(),
                is_purge: false,
            },
            other => HashedWrite {
                key_hash: hash(key),
                is_delete: true,
                value_hash: Bytes::new(),
                is_purge: matches!(other, PrivateWrite::Purge),
            },
        });
        let mut hashed = CollectionHashedRwSet {
            collection: name.clone(),
            reads: self
                .reads
                .iter()
                .map(|(key, version)| HashedRead { key_hash: hash(key), version: *version })
                .collect(),
            writes: hashed_writes.collect(),
            metadata_writes: self
                .metadata_writes
                .iter()
                .map(|(key, entries)| HashedMetadataWrite { key_hash: hash(key), entries: entry_list(entries.clone()) })
                .collect(),
            private_rwset_hash: Bytes::new(),
        };
        if self.writes.is_empty() && self.metadata_writes.is_empty() {
            return (hashed, None);
        }
        let writes = self.writes.into_iter().map(|(key, write)| match write {
            PrivateWrite::Value(value) => kv_write(key, value),
            PrivateWrite::Purge => kv_write(key, Bytes::new()),
        });
        let metadata_writes = self.metadata_writes.into_keys().map(|key| PrivateMetadataWrite { key }).collect();
        let clear = CollectionPrivateRwSet::build(name, writes.collect(), metadata_writes);
        hashed.private_rwset_hash = clear.hash().to_bytes();
        (hashed, Some(clear))
    }
}

fn kv_write(key: String, value: Bytes) -> KvWrite {
    KvWrite { key, is_delete: value.is_empty(), value }
}

fn entry_list(entries: BTreeMap<String, Bytes>) -> Vec<MetadataEntry> {
    entries.into_iter().map(|(name, value)| MetadataEntry { name, value }).collect()
}
