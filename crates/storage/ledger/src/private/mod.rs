use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ripstop_rwset::{NsPrivateRwSet, PrivateExpectation, StateError, StateView, TxPrivateRwSet, UpdateBatch};
use ripstop_state_db::StateWriter;
use ripstop_types::{BlockNumber, Digest, Height};

/// The clear private writes of a block that the block proves.
pub(crate) fn proven(
    mut gathered: BTreeMap<u64, TxPrivateRwSet>,
    expected: &[PrivateExpectation],
) -> BTreeMap<u64, TxPrivateRwSet> {
    gathered.retain(|place, set| {
        for NsPrivateRwSet { namespace, collections } in &mut set.namespaces {
            collections.retain(|collection| {
                let hash = collection.hash();
                let found = expected.iter().any(|expectation| {
                    expectation.tx == *place
                        && expectation.namespace == *namespace
                        && expectation.collection == collection.collection
                        && expectation.hash == hash.as_bytes()[..]
                });
                if !found {
                    tracing::warn!(
                        "private data of transaction {place} for collection [{namespace}:{}] does not match the hash in its block and is not stored",
                        collection.collection
                    );
                }
                found
            });
        }
        set.namespaces.retain(|ns| !ns.collections.is_empty());
        !set.namespaces.is_empty()
    });
    gathered
}

type PrivateKey = (String, String, String);

/// What a block does to clear private keys.
#[derive(Default)]
pub(crate) struct PrivateUpdates(BTreeMap<PrivateKey, (Option<Bytes>, Height)>);

impl PrivateUpdates {
    /// Collects the proven writes of a block.
    pub(crate) fn collect(
        block: BlockNumber,
        sets: &BTreeMap<u64, TxPrivateRwSet>,
        updates: &UpdateBatch,
        before: &dyn StateView,
    ) -> Result<Self, StateError> {
        let mut collected = Self::default();
        let mut touched = BTreeSet::new();
        for (place, set) in sets {
            for ns in &set.namespaces {
                for collection in &ns.collections {
                    let key = |key: &str| (ns.namespace.clone(), collection.collection.clone(), key.to_owned());
                    for write in &collection.writes {
                        let value = (!write.deletes()).then(|| write.value.clone());
                        collected.0.insert(key(&write.key), (value, Height::new(block, *place)));
                    }
                    touched.extend(collection.metadata_writes.iter().map(|write| key(&write.key)));
                }
            }
        }
        for key in touched {
            collected.follow_metadata(key, updates, before)?;
        }
        Ok(collected)
    }

    /// A write of metadata alone gives the hash a new version; the clear value must follow, if it is the one that the
    /// hash stands for (Fabric: `incrementPvtdataVersionIfNeeded`).
    fn follow_metadata(
        &mut self,
        key: PrivateKey,
        updates: &UpdateBatch,
        before: &dyn StateView,
    ) -> Result<(), StateError> {
        let (namespace, collection, clear) = &key;
        let Some(hashed) = updates.hashed(namespace, collection, Digest::of(clear.as_bytes()).as_bytes()) else {
            return Ok(());
        };
        let latest = match self.0.get(&key) {
            Some((value, version)) => value.clone().map(|value| (value, *version)),
            None => before.private(namespace, collection, clear)?.map(|found| (found.value, found.version)),
        };
        let Some((value, version)) = latest else { return Ok(()) };
        let same_value = hashed.value.as_ref().is_some_and(|hash| *hash == Digest::of(&value).as_bytes()[..]);
        if version != hashed.version && same_value {
            self.0.insert(key, (Some(value), hashed.version));
        }
        Ok(())
    }

    /// Whether the block writes or deletes a clear key.
    pub(crate) fn touches(&self, namespace: &str, collection: &str, key: &str) -> bool {
        self.0.contains_key(&(namespace.to_owned(), collection.to_owned(), key.to_owned()))
    }

    /// The clear keys that the block writes or deletes: namespace, collection, key.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.keys().map(|(namespace, collection, key)| (namespace.as_str(), collection.as_str(), key.as_str()))
    }

    pub(crate) fn put(&self, writer: &mut StateWriter<'_>) {
        for ((namespace, collection, key), (value, version)) in &self.0 {
            writer.put_private(namespace, collection, key, value.as_ref(), *version);
        }
    }
}
