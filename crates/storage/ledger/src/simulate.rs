use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_lifecycle::{
    NAMESPACE as LIFECYCLE_NAMESPACE, QueryError, definition, explicit_collections, implicit_collection_config,
    implicit_collection_org,
};
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_rwset::{
    KvRead, RangeQuery, RangeRecorder, RwSetBuilder, StateError, StateIter, StateValue, StateView, TxPrivateRwSet,
    TxRwSet, decode_metadata,
};
use ripstop_types::{Digest, Height, MspId, TxId};

use crate::{SimulatedLifecycle, StateSnapshot};

/// Why a simulation refuses an operation. Texts are Fabric's, because chaincodes and clients see them.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// No such collection.
    #[error("collection [{collection}] not defined in the collection config for chaincode [{namespace}]")]
    UnknownCollection {
        /// The chaincode.
        namespace: String,
        /// The collection.
        collection: String,
    },
    /// The chaincode is not defined, so it has no collections.
    #[error(
        "collection config not defined for chaincode [{0}], pass the collection configuration upon chaincode definition/instantiation"
    )]
    NoCollections(String),
    /// The chaincode's definition could not be read.
    #[error(transparent)]
    Definition(#[from] QueryError),
    /// This peer's private value is older than the hash, or absent.
    #[error(
        "private data matching public hash version is not available. Public hash version = {hash}, Private data version = {clear}"
    )]
    PrivateDataNotAvailable {
        /// The version of the hash.
        hash: VersionText,
        /// The version of the clear value.
        clear: VersionText,
    },
    /// A query over private data after a write.
    #[error("txid [{0}]: unsuppored transaction. Queries on pvt data is supported only in a read-only transaction")]
    PrivateQueryAfterWrite(TxId),
    /// A write after a query over private data.
    #[error(
        "txid [{0}]: unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed"
    )]
    WriteAfterPrivateQuery(TxId),
    /// A paginated query after a write.
    #[error("txid [{0}]: unsuppored transaction. Paginated queries are supported only in a read-only transaction")]
    PaginatedQueryAfterWrite(TxId),
    /// A write after a paginated query.
    #[error(
        "txid [{0}]: unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed"
    )]
    WriteAfterPaginatedQuery(TxId),
    /// A query was used that this simulation did not open, or closed.
    #[error("query iterator not found")]
    UnknownRange,
    /// Only a document database can do this.
    #[error("ExecuteQuery not supported for leveldb")]
    RichQuery,
}

/// A version as Fabric's Go prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionText(pub Option<Height>);

impl std::fmt::Display for VersionText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("<nil>"),
            Some(height) => write!(f, "{{BlockNum: {}, TxNum: {}}}", height.block, height.tx),
        }
    }
}

/// One result of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The namespace.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
}

/// Names a query that a simulation has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RangeId(usize);

/// A key that a simulation wrote, with the metadata it has in the state: who plans endorsements must heed key policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenKey {
    /// The namespace.
    pub namespace: String,
    /// The collection; empty for public data.
    pub collection: String,
    /// The key.
    pub key: String,
    /// The committed metadata; empty where there is none.
    pub metadata: BTreeMap<String, Bytes>,
}

/// What a finished simulation read and wrote.
#[derive(Debug, Clone)]
pub struct SimulationResults {
    /// The read/write set.
    pub public: TxRwSet,
    /// Its bytes, which the endorser signs.
    pub public_bytes: Bytes,
    /// The clear private writes; `None` when there are none.
    pub private: Option<TxPrivateRwSet>,
    /// The configurations of the collections with private writes: namespace and configuration.
    pub written_collections: Vec<(String, StaticCollectionConfig)>,
    /// Namespace and collection of private values that were read in clear.
    pub private_reads: BTreeSet<(String, String)>,
    /// The keys written.
    pub written_keys: Vec<WrittenKey>,
    /// The height of the state that the simulation read.
    pub height: u64,
}

/// Executes reads and writes of one proposal against a snapshot and remembers them.
///
/// Fabric's semantics: reads see the committed state, never this simulation's own writes; paginated queries and queries
/// over private data are for read-only transactions.
pub struct Simulator {
    tx_id: TxId,
    state: Arc<StateSnapshot>,
    /// The organizations of the channel, whose implicit collections exist.
    organizations: Arc<BTreeSet<MspId>>,
    /// The collections of the chaincodes whose private data was touched.
    collections: BTreeMap<String, Vec<StaticCollectionConfig>>,
    set: RwSetBuilder,
    ranges: Vec<Range>,
    wrote: bool,
    queried_private: bool,
    queried_pages: bool,
    private_reads: BTreeSet<(String, String)>,
    written_keys: BTreeMap<(String, String, String), BTreeMap<String, Bytes>>,
}

/// A query over a range. What it recorded outlives its closing.
struct Range {
    namespace: String,
    results: Option<StateIter<'static>>,
    remaining: Option<u32>,
    record: Option<RangeRecord>,
}

struct RangeRecord {
    start: String,
    requested_end: String,
    end: String,
    exhausted: bool,
    results: RangeRecorder,
}

impl Simulator {
    pub(crate) fn new(tx_id: TxId, state: Arc<StateSnapshot>, organizations: Arc<BTreeSet<MspId>>) -> Self {
        Self {
            tx_id,
            state,
            organizations,
            collections: BTreeMap::new(),
            set: RwSetBuilder::new(),
            ranges: vec![],
            wrote: false,
            queried_private: false,
            queried_pages: false,
            private_reads: BTreeSet::new(),
            written_keys: BTreeMap::new(),
        }
    }

    /// The transaction.
    pub fn tx_id(&self) -> &TxId {
        &self.tx_id
    }

    /// The state under the simulation. Reading it directly leaves no trace in the read/write set.
    pub fn state(&self) -> &Arc<StateSnapshot> {
        &self.state
    }

    /// Reads a key; `None` when it does not exist.
    pub fn get(&mut self, namespace: &str, key: &str) -> Result<Option<Bytes>, SimulateError> {
        Ok(self.read(namespace, key)?.map(|found| found.value))
    }

    /// Reads several keys, in the order given.
    pub fn get_many(&mut self, namespace: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, SimulateError> {
        keys.iter().map(|key| self.get(namespace, key)).collect()
    }

    /// Reads the metadata of a key; empty when there is none. Counts as a read of the key.
    pub fn get_metadata(&mut self, namespace: &str, key: &str) -> Result<BTreeMap<String, Bytes>, SimulateError> {
        match self.read(namespace, key)? {
            None => Ok(BTreeMap::new()),
            Some(found) => Ok(decode_metadata(&found.metadata)?),
        }
    }

    /// Writes a key; an empty value deletes it.
    pub fn put(&mut self, namespace: &str, key: &str, value: Bytes) -> Result<(), SimulateError> {
        self.begin_write()?;
        self.set.write(namespace, key, value);
        self.note_written(namespace, key)
    }

    /// Deletes a key.
    pub fn delete(&mut self, namespace: &str, key: &str) -> Result<(), SimulateError> {
        self.put(namespace, key, Bytes::new())
    }

    /// Replaces the metadata of a key; no entries remove it.
    pub fn put_metadata(
        &mut self,
        namespace: &str,
        key: &str,
        entries: BTreeMap<String, Bytes>,
    ) -> Result<(), SimulateError> {
        self.begin_write()?;
        self.set.write_metadata(namespace, key, entries);
        self.note_written(namespace, key)
    }

    /// Opens a query over the keys from `start` (inclusive) to `end` (exclusive; empty means all that follow).
    pub fn range(&mut self, namespace: &str, start: &str, end: &str) -> Result<RangeId, SimulateError> {
        self.open_range(namespace, start, end, None)
    }

    /// Opens a query that gives at most `page_size` results; [`Self::bookmark`] tells where the next page begins.
    pub fn range_page(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        page_size: u32,
    ) -> Result<RangeId, SimulateError> {
        if self.wrote {
            return Err(SimulateError::PaginatedQueryAfterWrite(self.tx_id.clone()));
        }
        self.queried_pages = true;
        self.open_range(namespace, start, end, Some(page_size).filter(|size| *size > 0))
    }

    /// Opens a query over the clear private keys of a range. Its results are not recorded.
    pub fn private_range(
        &mut self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<RangeId, SimulateError> {
        self.begin_private_query(namespace, collection)?;
        let results = self.state.private_range_owned(namespace, collection, start, end)?;
        self.ranges.push(Range {
            namespace: namespace.to_owned(),
            results: Some(results),
            remaining: None,
            record: None,
        });
        Ok(RangeId(self.ranges.len() - 1))
    }

    /// Refuses a query of a private collection's contents as Fabric does: its rules come first, then what no state database
    /// here can do.
    pub fn private_query(&mut self, namespace: &str, collection: &str) -> SimulateError {
        match self.begin_private_query(namespace, collection) {
            Ok(()) => SimulateError::RichQuery,
            Err(error) => error,
        }
    }

    /// The next result of a query. `None` at its end; asking is what makes the end part of the read set.
    pub fn next(&mut self, range: RangeId) -> Result<Option<KeyValue>, SimulateError> {
        let range = self.ranges.get_mut(range.0).ok_or(SimulateError::UnknownRange)?;
        let results = range.results.as_mut().ok_or(SimulateError::UnknownRange)?;
        let found = match range.remaining {
            Some(0) => None,
            _ => results.next().transpose()?,
        };
        if let Some(record) = &mut range.record {
            record.note(found.as_ref());
        }
        let Some((key, value)) = found else { return Ok(None) };
        range.remaining = range.remaining.map(|remaining| remaining - 1);
        Ok(Some(KeyValue { namespace: range.namespace.clone(), key, value: value.value }))
    }

    /// Closes a query and tells the first key it did not give; empty when none is left.
    pub fn bookmark(&mut self, range: RangeId) -> Result<String, SimulateError> {
        let range = self.ranges.get_mut(range.0).ok_or(SimulateError::UnknownRange)?;
        let mut results = range.results.take().ok_or(SimulateError::UnknownRange)?;
        Ok(results.next().transpose()?.map(|(key, _)| key).unwrap_or_default())
    }

    /// Closes a query. What it gave stays in the read set.
    pub fn close(&mut self, range: RangeId) {
        if let Some(range) = self.ranges.get_mut(range.0) {
            range.results = None;
        }
    }

    /// Reads a private value in clear. The hash must have the same version, or this peer's value is out of date.
    pub fn get_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, SimulateError> {
        self.check_collection(namespace, collection)?;
        let clear = self.state.private(namespace, collection, key)?;
        let hash = self.state.hashed(namespace, collection, Digest::of(key.as_bytes()).as_bytes())?;
        let (clear_version, hash_version) = (version(clear.as_ref()), version(hash.as_ref()));
        if clear_version != hash_version {
            return Err(SimulateError::PrivateDataNotAvailable {
                hash: VersionText(hash_version),
                clear: VersionText(clear_version),
            });
        }
        self.note_private_read(namespace, collection, key, clear_version);
        Ok(clear.map(|found| found.value))
    }

    /// Reads several private values in clear, in the order given. Fabric does not compare versions here.
    pub fn get_private_many(
        &mut self,
        namespace: &str,
        collection: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, SimulateError> {
        self.check_collection(namespace, collection)?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let clear = self.state.private(namespace, collection, key)?;
            self.note_private_read(namespace, collection, key, version(clear.as_ref()));
            values.push(clear.map(|found| found.value));
        }
        Ok(values)
    }

    /// Reads the hash of a private value, which every peer has.
    pub fn get_private_hash(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, SimulateError> {
        Ok(self.read_hash(namespace, collection, key)?.map(|found| found.value))
    }

    /// Reads the metadata of a private key; empty when there is none.
    pub fn get_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<BTreeMap<String, Bytes>, SimulateError> {
        match self.read_hash(namespace, collection, key)? {
            None => Ok(BTreeMap::new()),
            Some(found) => Ok(decode_metadata(&found.metadata)?),
        }
    }

    /// Writes a private key; an empty value deletes it.
    pub fn put_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), SimulateError> {
        self.check_collection(namespace, collection)?;
        self.begin_write()?;
        self.set.private_write(namespace, collection, key, value);
        self.note_written_private(namespace, collection, key)
    }

    /// Deletes a private key.
    pub fn delete_private(&mut self, namespace: &str, collection: &str, key: &str) -> Result<(), SimulateError> {
        self.put_private(namespace, collection, key, Bytes::new())
    }

    /// Deletes a private key and all its former values.
    pub fn purge_private(&mut self, namespace: &str, collection: &str, key: &str) -> Result<(), SimulateError> {
        self.check_collection(namespace, collection)?;
        self.begin_write()?;
        self.set.private_purge(namespace, collection, key);
        self.note_written_private(namespace, collection, key)
    }

    /// Replaces the metadata of a private key; no entries remove it.
    pub fn put_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        entries: BTreeMap<String, Bytes>,
    ) -> Result<(), SimulateError> {
        self.check_collection(namespace, collection)?;
        self.begin_write()?;
        self.set.private_write_metadata(namespace, collection, key, entries);
        self.note_written_private(namespace, collection, key)
    }

    /// The configuration of a chaincode's collection; `None` when it has none of that name. Of implicit collections also
    /// those of strangers have one, though no operation accepts them (Fabric: `CollectionInfo`).
    pub fn collection(
        &mut self,
        namespace: &str,
        collection: &str,
    ) -> Result<Option<StaticCollectionConfig>, SimulateError> {
        let found = self.collections(namespace)?.iter().find(|config| config.name == collection).cloned();
        Ok(found.or_else(|| implicit_collection_org(collection).map(|org| implicit_collection_config(&org))))
    }

    /// Ends the simulation and gives what it read and wrote.
    pub fn finish(mut self) -> SimulationResults {
        for range in self.ranges {
            if let Some(record) = range.record {
                self.set.range_query(&range.namespace, record.finish());
            }
        }
        let (public, private) = self.set.build();
        let public_bytes = public.encode();
        let written_keys = self
            .written_keys
            .into_iter()
            .map(|((namespace, collection, key), metadata)| WrittenKey { namespace, collection, key, metadata })
            .collect();
        let written_collections = written_collections(private.as_ref(), &self.collections);
        let height = self.state.height();
        SimulationResults {
            public,
            public_bytes,
            private,
            written_collections,
            private_reads: self.private_reads,
            written_keys,
            height,
        }
    }

    fn read(&mut self, namespace: &str, key: &str) -> Result<Option<StateValue>, SimulateError> {
        let found = self.state.get(namespace, key)?;
        self.set.read(namespace, key, version(found.as_ref()));
        Ok(found)
    }

    fn read_hash(&mut self, namespace: &str, collection: &str, key: &str) -> Result<Option<StateValue>, SimulateError> {
        self.check_collection(namespace, collection)?;
        let found = self.state.hashed(namespace, collection, Digest::of(key.as_bytes()).as_bytes())?;
        self.set.private_read(namespace, collection, key, version(found.as_ref()));
        Ok(found)
    }

    fn open_range(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        page_size: Option<u32>,
    ) -> Result<RangeId, SimulateError> {
        self.ranges.push(Range {
            namespace: namespace.to_owned(),
            results: Some(self.state.range_owned(namespace, start, end)?),
            remaining: page_size,
            record: Some(RangeRecord {
                start: start.to_owned(),
                requested_end: end.to_owned(),
                end: String::new(),
                exhausted: false,
                results: RangeRecorder::new(),
            }),
        });
        Ok(RangeId(self.ranges.len() - 1))
    }

    fn begin_private_query(&mut self, namespace: &str, collection: &str) -> Result<(), SimulateError> {
        if self.wrote {
            return Err(SimulateError::PrivateQueryAfterWrite(self.tx_id.clone()));
        }
        self.queried_private = true;
        self.check_collection(namespace, collection)
    }

    fn begin_write(&mut self) -> Result<(), SimulateError> {
        if self.queried_private {
            return Err(SimulateError::WriteAfterPrivateQuery(self.tx_id.clone()));
        }
        if self.queried_pages {
            return Err(SimulateError::WriteAfterPaginatedQuery(self.tx_id.clone()));
        }
        self.wrote = true;
        Ok(())
    }

    /// Whether the chaincode has the collection, explicit or implicit.
    fn check_collection(&mut self, namespace: &str, collection: &str) -> Result<(), SimulateError> {
        if self.collections(namespace)?.iter().any(|config| config.name == collection) {
            return Ok(());
        }
        Err(SimulateError::UnknownCollection { namespace: namespace.to_owned(), collection: collection.to_owned() })
    }

    /// The collections of a chaincode. Fabric reads the definition through the simulation, so it becomes part of the read
    /// set.
    fn collections(&mut self, namespace: &str) -> Result<&[StaticCollectionConfig], SimulateError> {
        if !self.collections.contains_key(namespace) {
            let collections = self.read_collections(namespace)?;
            self.collections.insert(namespace.to_owned(), collections);
        }
        Ok(self.collections.get(namespace).map(Vec::as_slice).unwrap_or_default())
    }

    fn read_collections(&mut self, namespace: &str) -> Result<Vec<StaticCollectionConfig>, SimulateError> {
        let mut collections = Vec::new();
        if namespace != LIFECYCLE_NAMESPACE {
            let defined = definition(&mut SimulatedLifecycle::new(self), namespace)?;
            let defined = defined.ok_or_else(|| SimulateError::NoCollections(namespace.to_owned()))?;
            collections.extend(explicit_collections(&defined.parameters.collections).cloned());
        }
        collections.extend(self.organizations.iter().map(implicit_collection_config));
        Ok(collections)
    }

    fn note_private_read(&mut self, namespace: &str, collection: &str, key: &str, version: Option<Height>) {
        self.set.private_read(namespace, collection, key, version);
        self.private_reads.insert((namespace.to_owned(), collection.to_owned()));
    }

    fn note_written(&mut self, namespace: &str, key: &str) -> Result<(), SimulateError> {
        let metadata = metadata(self.state.get(namespace, key)?)?;
        self.written_keys.insert((namespace.to_owned(), String::new(), key.to_owned()), metadata);
        Ok(())
    }

    fn note_written_private(&mut self, namespace: &str, collection: &str, key: &str) -> Result<(), SimulateError> {
        let found = self.state.hashed(namespace, collection, Digest::of(key.as_bytes()).as_bytes())?;
        self.written_keys.insert((namespace.to_owned(), collection.to_owned(), key.to_owned()), metadata(found)?);
        Ok(())
    }
}

impl RangeRecord {
    /// While results come, the end is the last of them, because the caller may stop here; at the end it is what was asked.
    fn note(&mut self, found: Option<&(String, StateValue)>) {
        match found {
            Some((key, value)) => {
                self.results.add(KvRead { key: key.clone(), version: Some(value.version) });
                self.end.clone_from(key);
            }
            None => {
                self.exhausted = true;
                self.end.clone_from(&self.requested_end);
            }
        }
    }

    fn finish(self) -> RangeQuery {
        RangeQuery { start_key: self.start, end_key: self.end, exhausted: self.exhausted, reads: self.results.finish() }
    }
}

fn written_collections(
    private: Option<&TxPrivateRwSet>,
    known: &BTreeMap<String, Vec<StaticCollectionConfig>>,
) -> Vec<(String, StaticCollectionConfig)> {
    let mut written = Vec::new();
    for ns in private.into_iter().flat_map(|private| &private.namespaces) {
        let is_written = |name: &str| ns.collections.iter().any(|set| set.collection == name);
        let configs = known.get(&ns.namespace).into_iter().flatten().filter(|config| is_written(&config.name));
        written.extend(configs.map(|config| (ns.namespace.clone(), config.clone())));
    }
    written
}

fn version(found: Option<&StateValue>) -> Option<Height> {
    found.map(|found| found.version)
}

fn metadata(found: Option<StateValue>) -> Result<BTreeMap<String, Bytes>, StateError> {
    found.map(|found| decode_metadata(&found.metadata)).transpose().map(Option::unwrap_or_default)
}
