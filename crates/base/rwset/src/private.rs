use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::{kvrwset, rwset, take_values};
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

/// How many values the sets of one message from another peer may hold before anything proves them: an empty write takes two
/// bytes on the wire and fifty times as many in memory.
const MAX_UNPROVEN: usize = 1 << 21;

/// What is left of the values that one message from another peer may bring.
#[derive(Debug)]
pub struct ReceivedSets(usize);

impl Default for ReceivedSets {
    fn default() -> Self {
        Self(MAX_UNPROVEN)
    }
}

impl ReceivedSets {
    /// Parses the private writes of a transaction; `None` when they are none, or too many values.
    pub fn transaction(&mut self, raw: Bytes) -> Option<TxPrivateRwSet> {
        if !take_values::<rwset::TxPvtReadWriteSet>(&raw, &mut self.0) {
            return None;
        }
        let message = ripstop_proto::read::<rwset::TxPvtReadWriteSet>(raw).ok()?;
        let sets = message.ns_pvt_rwset.iter().flat_map(|ns| &ns.collection_pvt_rwset);
        for set in sets {
            if !take_values::<kvrwset::KvrwSet>(&set.rwset, &mut self.0) {
                return None;
            }
        }
        TxPrivateRwSet::from_proto(message).ok()
    }

    /// Parses the private writes in one collection; `None` when they are none, or too many values.
    pub fn collection(&mut self, namespace: &str, collection: String, raw: Bytes) -> Option<CollectionPrivateRwSet> {
        if !take_values::<kvrwset::KvrwSet>(&raw, &mut self.0) {
            return None;
        }
        CollectionPrivateRwSet::parse(namespace, collection, raw).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_that_nothing_proves_bring_a_bounded_number_of_values() {
        // Empty writes: two bytes each.
        let writes = |count: usize| Bytes::from([0x1a, 0].repeat(count));
        let mut unproven = ReceivedSets::default();
        assert_eq!(unproven.collection("ns", "c".into(), writes(1000)).unwrap().writes.len(), 1000);
        assert!(unproven.collection("ns", "c".into(), writes(MAX_UNPROVEN)).is_none());
        let set = |count| {
            let collection_pvt_rwset =
                vec![rwset::CollectionPvtReadWriteSet { collection_name: "c".into(), rwset: writes(count) }];
            let ns_pvt_rwset = vec![rwset::NsPvtReadWriteSet { namespace: "ns".into(), collection_pvt_rwset }];
            Bytes::from(rwset::TxPvtReadWriteSet { data_model: 0, ns_pvt_rwset }.encode_to_vec())
        };
        let mut unproven = ReceivedSets::default();
        assert_eq!(unproven.transaction(set(5)), Some(TxPrivateRwSet::parse(set(5)).unwrap()));
        assert_eq!(unproven.transaction(set(MAX_UNPROVEN)), None);
        assert_eq!(ReceivedSets::default().transaction(Bytes::from_static(b"\xff")), None);
    }
}
