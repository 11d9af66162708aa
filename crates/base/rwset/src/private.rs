use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::{kvrwset, rwset};
use ripstop_types::Digest;

use crate::{KvWrite, RwSetError};

/// The clear private writes of a transaction (`rwset.TxPvtReadWriteSet`). It never enters a block; it travels from
/// endorser to entitled peers, and a block proves it by [`CollectionPrivateRwSet::hash`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TxPrivateRwSet {
    /// One entry a namespace with private writes.
    pub namespaces: Vec<NsPrivateRwSet>,
}

/// The private writes in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NsPrivateRwSet {
    /// The namespace.
    pub namespace: String,
    /// One entry a collection.
    pub collections: Vec<CollectionPrivateRwSet>,
}

/// The private writes in one collection.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CollectionPrivateRwSet {
    /// The collection.
    pub collection: String,
    /// The bytes of the `kvrwset.KVRWSet` as received or built; the public set holds their hash.
    pub raw: Bytes,
    /// Keys written, deleted or purged.
    pub writes: Vec<KvWrite>,
    /// Keys whose metadata was written. The metadata itself is public and stands in the hashed set.
    pub metadata_writes: Vec<PrivateMetadataWrite>,
}

// Neither values nor keys of collections ever reach a log line.
impl fmt::Debug for CollectionPrivateRwSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { collection, writes, metadata_writes, .. } = self;
        write!(f, "{} writes and {} of metadata in {collection} ({})", writes.len(), metadata_writes.len(), self.hash())
    }
}

/// The key of a metadata write on private data.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateMetadataWrite {
    /// The clear key.
    pub key: String,
}

impl TxPrivateRwSet {
    /// Parses the bytes of a `rwset.TxPvtReadWriteSet`.
    pub fn parse(raw: Bytes) -> Result<Self, RwSetError> {
        Self::from_proto(
            ripstop_proto::read::<rwset::TxPvtReadWriteSet>(raw).map_err(RwSetError::at("the private set"))?,
        )
    }

    /// Takes a decoded message and parses the sets inside.
    pub fn from_proto(message: rwset::TxPvtReadWriteSet) -> Result<Self, RwSetError> {
        let namespaces = message
            .ns_pvt_rwset
            .into_iter()
            .map(|ns| {
                let namespace = ns.namespace;
                let collections = ns
                    .collection_pvt_rwset
                    .into_iter()
                    .map(|set| CollectionPrivateRwSet::parse(&namespace, set.collection_name, set.rwset))
                    .collect::<Result<_, _>>()?;
                Ok(NsPrivateRwSet { namespace, collections })
            })
            .collect::<Result<_, RwSetError>>()?;
        Ok(Self { namespaces })
    }

    /// The message as it travels.
    pub fn to_proto(&self) -> rwset::TxPvtReadWriteSet {
        let ns_pvt_rwset = self
            .namespaces
            .iter()
            .map(|ns| rwset::NsPvtReadWriteSet {
                namespace: ns.namespace.clone(),
                collection_pvt_rwset: ns
                    .collections
                    .iter()
                    .map(|set| rwset::CollectionPvtReadWriteSet {
                        collection_name: set.collection.clone(),
                        rwset: set.raw.clone(),
                    })
                    .collect(),
            })
            .collect();
        rwset::TxPvtReadWriteSet { data_model: 0, ns_pvt_rwset }
    }

    /// The bytes of [`Self::to_proto`].
    pub fn encode(&self) -> Bytes {
        self.to_proto().encode_to_vec().into()
    }

    /// The writes in one collection of one namespace.
    pub fn collection(&self, namespace: &str, collection: &str) -> Option<&CollectionPrivateRwSet> {
        self.namespaces
            .iter()
            .filter(|ns| ns.namespace == namespace)
            .flat_map(|ns| &ns.collections)
            .find(|set| set.collection == collection)
    }
}

impl CollectionPrivateRwSet {
    /// Parses the bytes of the collection's `kvrwset.KVRWSet`.
    pub fn parse(namespace: &str, collection: String, raw: Bytes) -> Result<Self, RwSetError> {
        let set = ripstop_proto::read::<kvrwset::KvrwSet>(raw.clone())
            .map_err(RwSetError::at(format!("private collection '{collection}' of namespace '{namespace}'")))?;
        Ok(Self {
            collection,
            raw,
            writes: set.writes.into_iter().map(KvWrite::from_proto).collect(),
            metadata_writes: set
                .metadata_writes
                .into_iter()
                .map(|write| PrivateMetadataWrite { key: write.key })
                .collect(),
        })
    }

    /// Makes a set of writes and encodes it.
    pub fn build(collection: String, writes: Vec<KvWrite>, metadata_writes: Vec<PrivateMetadataWrite>) -> Self {
        let message = kvrwset::KvrwSet {
            writes: writes.iter().map(KvWrite::to_proto).collect(),
            metadata_writes: metadata_writes
                .iter()
                .map(|write| kvrwset::KvMetadataWrite { key: write.key.clone(), entries: vec![] })
                .collect(),
            ..Default::default()
        };
        Self { collection, raw: message.encode_to_vec().into(), writes, metadata_writes }
    }

    /// The same set without the writes of these keys. It has another hash.
    #[must_use]
    pub fn without(&self, keys: &HashSet<String>) -> Self {
        let writes = self.writes.iter().filter(|write| !keys.contains(&write.key)).cloned().collect();
        Self::build(self.collection.clone(), writes, self.metadata_writes.clone())
    }

    /// The hash that the public set holds (`pvt_rwset_hash`).
    pub fn hash(&self) -> Digest {
        Digest::of(&self.raw)
    }
}
