use bytes::Bytes;
use prost::Message;
use ripstop_proto::{kvrwset, rwset};
use ripstop_types::{BlockNumber, Height};

/// Why bytes are no read/write set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the read/write set does not decode at {place}: {source}")]
pub struct RwSetError {
    /// Which part, with namespace and collection.
    pub place: String,
    /// Why not.
    pub source: prost::DecodeError,
}

impl RwSetError {
    pub(crate) fn at(place: impl Into<String>) -> impl FnOnce(prost::DecodeError) -> Self {
        move |source| Self { place: place.into(), source }
    }
}

/// All that a transaction read and wrote: public data in clear, private data as hashes (`rwset.TxReadWriteSet`).
///
/// A parsed set holds what a sender wrote, in the sender's order: namespaces may repeat, keys may repeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TxRwSet {
    /// One entry a namespace (chaincode) that was touched, be it only by reading.
    pub namespaces: Vec<NsRwSet>,
}

/// Reads and writes in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NsRwSet {
    /// The namespace.
    pub namespace: String,
    /// Keys read, with the version found.
    pub reads: Vec<KvRead>,
    /// Range queries, with what they found.
    pub range_queries: Vec<RangeQuery>,
    /// Keys written or deleted.
    pub writes: Vec<KvWrite>,
    /// Keys whose metadata was written or deleted.
    pub metadata_writes: Vec<MetadataWrite>,
    /// Private collections that were touched.
    pub collections: Vec<CollectionHashedRwSet>,
}

/// A key that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvRead {
    /// The key.
    pub key: String,
    /// Its version; `None` when the key did not exist.
    pub version: Option<Height>,
}

/// A key that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvWrite {
    /// The key.
    pub key: String,
    /// What the sender says; [`Self::deletes`] is what counts.
    pub is_delete: bool,
    /// The new value.
    pub value: Bytes,
}

impl KvWrite {
    /// Whether the write removes the key: it says so, or its value is empty.
    pub fn deletes(&self) -> bool {
        self.is_delete || self.value.is_empty()
    }
}

/// A key whose metadata was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataWrite {
    /// The key.
    pub key: String,
    /// The new metadata; none removes it.
    pub entries: Vec<MetadataEntry>,
}

/// One piece of metadata of a key, such as its endorsement policy under the name `VALIDATION_PARAMETER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataEntry {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Bytes,
}

/// A range query and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// The first key of the range, inclusive.
    pub start_key: String,
    /// When [`Self::exhausted`] the requested end, exclusive (empty: the end of the namespace); otherwise the last key
    /// that the caller took, inclusive.
    pub end_key: String,
    /// Whether the caller read until nothing was left.
    pub exhausted: bool,
    /// The results.
    pub reads: RangeReads,
}

/// The results of a range query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeReads {
    /// No result, and therefore nothing on the wire.
    None,
    /// The results themselves.
    Raw(Vec<KvRead>),
    /// A summary of many results.
    Merkle(MerkleSummary),
}

/// The top of a Merkle tree over the results of a range query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerkleSummary {
    /// How many nodes a level may have before they are combined.
    pub max_degree: u32,
    /// The level of the hashes; leaves are level 1.
    pub max_level: u32,
    /// The hashes of that level.
    pub max_level_hashes: Vec<Bytes>,
}

/// Reads and writes in one private collection, by hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CollectionHashedRwSet {
    /// The collection.
    pub collection: String,
    /// Keys read.
    pub reads: Vec<HashedRead>,
    /// Keys written, deleted or purged.
    pub writes: Vec<HashedWrite>,
    /// Keys whose metadata was written or deleted.
    pub metadata_writes: Vec<HashedMetadataWrite>,
    /// SHA-256 of the clear writes' bytes ([`crate::CollectionPrivateRwSet::raw`]); empty when nothing was written.
    pub private_rwset_hash: Bytes,
}

/// A private key that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedRead {
    /// SHA-256 of the key.
    pub key_hash: Bytes,
    /// The version; `None` when the key did not exist.
    pub version: Option<Height>,
}

/// A private key that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedWrite {
    /// SHA-256 of the key.
    pub key_hash: Bytes,
    /// What the sender says; [`Self::deletes`] is what counts.
    pub is_delete: bool,
    /// SHA-256 of the new value.
    pub value_hash: Bytes,
    /// Whether all earlier values must vanish from disks too.
    pub is_purge: bool,
}

/// SHA-256 of nothing: a value with this hash is empty, and an empty value is a delete.
const EMPTY_HASH: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

impl HashedWrite {
    /// Whether the write removes the key: it says so, or its value is empty (Fabric: FAB-18386).
    pub fn deletes(&self) -> bool {
        self.is_delete || self.value_hash.is_empty() || self.value_hash == EMPTY_HASH[..]
    }
}

/// A private key whose metadata was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedMetadataWrite {
    /// SHA-256 of the key.
    pub key_hash: Bytes,
    /// The new metadata; none removes it.
    pub entries: Vec<MetadataEntry>,
}

impl TxRwSet {
    /// Parses the bytes of a `rwset.TxReadWriteSet`, with the sets inside.
    pub fn parse(raw: Bytes) -> Result<Self, RwSetError> {
        let message = ripstop_proto::read::<rwset::TxReadWriteSet>(raw).map_err(RwSetError::at("the transaction"))?;
        let namespaces = message.ns_rwset.into_iter().map(NsRwSet::from_proto).collect::<Result<_, _>>()?;
        Ok(Self { namespaces })
    }

    /// The bytes that endorsers sign. Entries stand in the order given here; [`crate::RwSetBuilder`] sorts them.
    pub fn encode(&self) -> Bytes {
        let ns_rwset = self.namespaces.iter().map(NsRwSet::to_proto).collect();
        rwset::TxReadWriteSet { data_model: 0, ns_rwset }.encode_to_vec().into()
    }

    /// The first entry of a namespace.
    pub fn namespace(&self, namespace: &str) -> Option<&NsRwSet> {
        self.namespaces.iter().find(|set| set.namespace == namespace)
    }

    /// What is said in public of the private writes to a collection.
    pub fn hashed_collection(&self, namespace: &str, collection: &str) -> Option<&CollectionHashedRwSet> {
        let namespaces = self.namespaces.iter().filter(|set| set.namespace == namespace);
        namespaces.flat_map(|set| &set.collections).find(|hashed| hashed.collection == collection)
    }
}

impl NsRwSet {
    /// Whether anything is written: keys, metadata, or hashes of either.
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
            || !self.metadata_writes.is_empty()
            || self.collections.iter().any(|c| !c.writes.is_empty() || !c.metadata_writes.is_empty())
    }

    fn from_proto(message: rwset::NsReadWriteSet) -> Result<Self, RwSetError> {
        let namespace = message.namespace;
        let public = ripstop_proto::read::<kvrwset::KvrwSet>(message.rwset)
            .map_err(RwSetError::at(format!("namespace '{namespace}'")))?;
        let collections = message
            .collection_hashed_rwset
            .into_iter()
            .map(|collection| CollectionHashedRwSet::from_proto(&namespace, collection))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            namespace,
            reads: public.reads.into_iter().map(KvRead::from_proto).collect(),
            range_queries: public.range_queries_info.into_iter().map(RangeQuery::from_proto).collect(),
            writes: public.writes.into_iter().map(KvWrite::from_proto).collect(),
            metadata_writes: public.metadata_writes.into_iter().map(MetadataWrite::from_proto).collect(),
            collections,
        })
    }

    fn to_proto(&self) -> rwset::NsReadWriteSet {
        let public = kvrwset::KvrwSet {
            reads: self.reads.iter().map(KvRead::to_proto).collect(),
            range_queries_info: self.range_queries.iter().map(RangeQuery::to_proto).collect(),
            writes: self.writes.iter().map(KvWrite::to_proto).collect(),
            metadata_writes: self.metadata_writes.iter().map(MetadataWrite::to_proto).collect(),
        };
        rwset::NsReadWriteSet {
            namespace: self.namespace.clone(),
            rwset: public.encode_to_vec().into(),
            collection_hashed_rwset: self.collections.iter().map(CollectionHashedRwSet::to_proto).collect(),
        }
    }
}

fn version_from_proto(version: Option<kvrwset::Version>) -> Option<Height> {
    version.map(|v| Height::new(BlockNumber::new(v.block_num), v.tx_num))
}

fn version_to_proto(version: Option<Height>) -> Option<kvrwset::Version> {
    version.map(|v| kvrwset::Version { block_num: v.block.get(), tx_num: v.tx })
}

impl KvRead {
    fn from_proto(read: kvrwset::KvRead) -> Self {
        Self { key: read.key, version: version_from_proto(read.version) }
    }

    pub(crate) fn to_proto(&self) -> kvrwset::KvRead {
        kvrwset::KvRead { key: self.key.clone(), version: version_to_proto(self.version) }
    }
}

impl KvWrite {
    pub(crate) fn from_proto(write: kvrwset::KvWrite) -> Self {
        Self { key: write.key, is_delete: write.is_delete, value: write.value }
    }

    pub(crate) fn to_proto(&self) -> kvrwset::KvWrite {
        kvrwset::KvWrite { key: self.key.clone(), is_delete: self.is_delete, value: self.value.clone() }
    }
}

impl MetadataEntry {
    pub(crate) fn list_from_proto(entries: Vec<kvrwset::KvMetadataEntry>) -> Vec<Self> {
        entries.into_iter().map(|entry| Self { name: entry.name, value: entry.value }).collect()
    }

    pub(crate) fn list_to_proto(entries: &[Self]) -> Vec<kvrwset::KvMetadataEntry> {
        entries
            .iter()
            .map(|entry| kvrwset::KvMetadataEntry { name: entry.name.clone(), value: entry.value.clone() })
            .collect()
    }
}

impl MetadataWrite {
    fn from_proto(write: kvrwset::KvMetadataWrite) -> Self {
        Self { key: write.key, entries: MetadataEntry::list_from_proto(write.entries) }
    }

    fn to_proto(&self) -> kvrwset::KvMetadataWrite {
        kvrwset::KvMetadataWrite { key: self.key.clone(), entries: MetadataEntry::list_to_proto(&self.entries) }
    }
}

impl RangeQuery {
    fn from_proto(info: kvrwset::RangeQueryInfo) -> Self {
        use kvrwset::range_query_info::ReadsInfo;
        let reads = match info.reads_info {
            None => RangeReads::None,
            Some(ReadsInfo::RawReads(reads)) => {
                RangeReads::Raw(reads.kv_reads.into_iter().map(KvRead::from_proto).collect())
            }
            Some(ReadsInfo::ReadsMerkleHashes(summary)) => RangeReads::Merkle(MerkleSummary {
                max_degree: summary.max_degree,
                max_level: summary.max_level,
                max_level_hashes: summary.max_level_hashes,
            }),
        };
        Self { start_key: info.start_key, end_key: info.end_key, exhausted: info.itr_exhausted, reads }
    }

    fn to_proto(&self) -> kvrwset::RangeQueryInfo {
        use kvrwset::range_query_info::ReadsInfo;
        let reads_info = match &self.reads {
            RangeReads::None => None,
            RangeReads::Raw(reads) => Some(ReadsInfo::RawReads(raw_reads(reads))),
            RangeReads::Merkle(summary) => Some(ReadsInfo::ReadsMerkleHashes(kvrwset::QueryReadsMerkleSummary {
                max_degree: summary.max_degree,
                max_level: summary.max_level,
                max_level_hashes: summary.max_level_hashes.clone(),
            })),
        };
        kvrwset::RangeQueryInfo {
            start_key: self.start_key.clone(),
            end_key: self.end_key.clone(),
            itr_exhausted: self.exhausted,
            reads_info,
        }
    }
}

pub(crate) fn raw_reads(reads: &[KvRead]) -> kvrwset::QueryReads {
    kvrwset::QueryReads { kv_reads: reads.iter().map(KvRead::to_proto).collect() }
}

impl CollectionHashedRwSet {
    fn from_proto(namespace: &str, message: rwset::CollectionHashedReadWriteSet) -> Result<Self, RwSetError> {
        let collection = message.collection_name;
        let hashed = ripstop_proto::read::<kvrwset::HashedRwSet>(message.hashed_rwset)
            .map_err(RwSetError::at(format!("collection '{collection}' of namespace '{namespace}'")))?;
        Ok(Self {
            collection,
            reads: hashed
                .hashed_reads
                .into_iter()
                .map(|read| HashedRead { key_hash: read.key_hash, version: version_from_proto(read.version) })
                .collect(),
            writes: hashed
                .hashed_writes
                .into_iter()
                .map(|write| HashedWrite {
                    key_hash: write.key_hash,
                    is_delete: write.is_delete,
                    value_hash: write.value_hash,
                    is_purge: write.is_purge,
                })
                .collect(),
            metadata_writes: hashed
                .metadata_writes
                .into_iter()
                .map(|write| HashedMetadataWrite {
                    key_hash: write.key_hash,
                    entries: MetadataEntry::list_from_proto(write.entries),
                })
                .collect(),
            private_rwset_hash: message.pvt_rwset_hash,
        })
    }

    fn to_proto(&self) -> rwset::CollectionHashedReadWriteSet {
        let hashed = kvrwset::HashedRwSet {
            hashed_reads: self
                .reads
                .iter()
                .map(|read| kvrwset::KvReadHash {
                    key_hash: read.key_hash.clone(),
                    version: version_to_proto(read.version),
                })
                .collect(),
            hashed_writes: self
                .writes
                .iter()
                .map(|write| kvrwset::KvWriteHash {
                    key_hash: write.key_hash.clone(),
                    is_delete: write.is_delete,
                    value_hash: write.value_hash.clone(),
                    is_purge: write.is_purge,
                })
                .collect(),
            metadata_writes: self
                .metadata_writes
                .iter()
                .map(|write| kvrwset::KvMetadataWriteHash {
                    key_hash: write.key_hash.clone(),
                    entries: MetadataEntry::list_to_proto(&write.entries),
                })
                .collect(),
        };
        rwset::CollectionHashedReadWriteSet {
            collection_name: self.collection.clone(),
            hashed_rwset: hashed.encode_to_vec().into(),
            pvt_rwset_hash: self.private_rwset_hash.clone(),
        }
    }
}
