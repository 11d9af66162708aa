use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use ripstop_private_store::{CommittedPrivateData, PrivateSet, PrivateStoreError};
use ripstop_rwset::{Purge, StateError, StateView, UpdateBatch};
use ripstop_state_db::StateWriter;
use ripstop_types::{Digest, Height, ValidationCodes};

/// Namespace, collection, clear key.
type PrivateKey = (String, String, String);

/// A purged key that this peer knows in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PurgedKey {
    key: PrivateKey,
    version: Height,
}

/// The clear keys behind purges, as far as writes kept here, or those of the block itself, name them. The purging
/// transaction's own writes may be missing.
pub(crate) fn purged_keys(
    purges: &[Purge],
    block: &[PrivateSet],
    kept: &CommittedPrivateData,
) -> Result<Vec<PurgedKey>, PrivateStoreError> {
    let (own, mut found) = (own_keys(purges, block), Vec::new());
    for purge in purges {
        let Purge { namespace, collection, key_hash, version } = purge;
        let own = own.get(&(namespace.as_str(), collection.as_str())).and_then(|keys| keys.get(key_hash));
        let clear = match own {
            Some(clear) => Some((*clear).to_owned()),
            None => kept.clear_key(namespace, collection, key_hash)?,
        };
        if let Some(clear) = clear {
            found.push(PurgedKey { key: (namespace.clone(), collection.clone(), clear), version: *version });
        }
    }
    Ok(found)
}

/// The clear keys that a block itself names in the collections of purges, by their hashes.
fn own_keys<'a>(purges: &'a [Purge], block: &'a [PrivateSet]) -> HashMap<(&'a str, &'a str), HashMap<Bytes, &'a str>> {
    let collections = purges.iter().map(|purge| (purge.namespace.as_str(), purge.collection.as_str()));
    let mut own: HashMap<_, _> = collections.map(|name| (name, HashMap::new())).collect();
    for PrivateSet { place, writes } in block {
        let Some(keys) = own.get_mut(&(place.namespace.as_str(), place.collection.as_str())) else { continue };
        for write in &writes.writes {
            keys.insert(Digest::of(write.key.as_bytes()).to_bytes(), write.key.as_str());
        }
    }
    own
}

/// Whether a set belongs to a valid transaction, by the verdicts of its block. Private writes of an invalid one are kept, but
/// change nothing.
pub(crate) fn is_of_valid(set: &PrivateSet, codes: &ValidationCodes) -> bool {
    let code = usize::try_from(set.place.tx).ok().and_then(|tx| codes.as_slice().get(tx));
    code.is_some_and(|code| code.is_valid())
}

/// Changes of clear private keys in the state.
#[derive(Debug, Default)]
pub(crate) struct PrivateUpdates(BTreeMap<PrivateKey, (Option<Bytes>, Height)>);

impl PrivateUpdates {
    /// What a block does: the proven writes of its valid transactions, in block order, and its purges.
    pub(crate) fn of_block(
        sets: &[PrivateSet],
        purged: &[PurgedKey],
        updates: &UpdateBatch,
        before: &dyn StateView,
    ) -> Result<Self, StateError> {
        let mut collected = Self::default();
        for set in sets {
            for (key, value) in writes(set) {
                collected.0.insert(key, (value, set.place.height()));
            }
        }
        for PurgedKey { key, version } in purged {
            if collected.0.get(key).is_none_or(|(_, written)| written <= version) {
                collected.0.insert(key.clone(), (None, *version));
            }
        }
        collected.follow_metadata(
            sets,
            |namespace, collection, key_hash| {
                Ok(updates.hashed(namespace, collection, key_hash).and_then(|update| {
                    let value = update.value.clone()?;
                    Some((value, update.version))
                }))
            },
            before,
        )?;
        Ok(collected)
    }

    /// What writes of valid transactions do that came after their blocks: only those count that the hashes still stand for,
    /// be it with a newer version because metadata was written since; a delete counts where there is no hash any more
    /// (Fabric: `RemoveStaleAndCommitPvtDataOfOldBlocks`).
    pub(crate) fn of_late_sets(sets: &[PrivateSet], state: &dyn StateView) -> Result<Self, StateError> {
        let mut newest: BTreeMap<PrivateKey, (Option<Bytes>, Height)> = BTreeMap::new();
        for set in sets {
            for (key, value) in writes(set) {
                let height = set.place.height();
                if newest.get(&key).is_none_or(|(_, known)| *known < height) {
                    newest.insert(key, (value, height));
                }
            }
        }
        let mut collected = Self::default();
        for ((namespace, collection, key), (value, version)) in newest {
            let hash = state.hashed(&namespace, &collection, Digest::of(key.as_bytes()).as_bytes())?;
            let version = match (&hash, &value) {
                (None, None) => Some(version),
                (Some(hash), _) if hash.version == version => Some(version),
                (Some(hash), Some(value)) if hash.value == Digest::of(value).as_bytes()[..] => Some(hash.version),
                _ => None,
            };
            if let Some(version) = version {
                collected.0.insert((namespace, collection, key), (value, version));
            }
        }
        collected.follow_metadata(
            sets,
            |namespace, collection, key_hash| {
                let hash = state.hashed(namespace, collection, key_hash)?;
                Ok(hash.map(|hash| (hash.value, hash.version)))
            },
            state,
        )?;
        Ok(collected)
    }

    /// A write of metadata alone gives the hash a new version; the clear value must follow, if it is the one that the hash
    /// stands for (Fabric: `incrementPvtdataVersionIfNeeded`).
    fn follow_metadata(
        &mut self,
        sets: &[PrivateSet],
        hashed: impl Fn(&str, &str, &[u8]) -> Result<Option<(Bytes, Height)>, StateError>,
        before: &dyn StateView,
    ) -> Result<(), StateError> {
        let touched: BTreeSet<PrivateKey> = sets
            .iter()
            .flat_map(|set| set.writes.metadata_writes.iter().map(|write| private_key(set, &write.key)))
            .collect();
        for key in touched {
            let (namespace, collection, clear) = &key;
            let Some((value_hash, hash_version)) =
                hashed(namespace, collection, Digest::of(clear.as_bytes()).as_bytes())?
            else {
                continue;
            };
            let latest = match self.0.get(&key) {
                Some((value, version)) => value.clone().map(|value| (value, *version)),
                None => before.private(namespace, collection, clear)?.map(|found| (found.value, found.version)),
            };
            let Some((value, version)) = latest else { continue };
            if version != hash_version && value_hash == Digest::of(&value).as_bytes()[..] {
                self.0.insert(key, (Some(value), hash_version));
            }
        }
        Ok(())
    }

    /// Whether a clear key is written or deleted.
    pub(crate) fn touches(&self, namespace: &str, collection: &str, key: &str) -> bool {
        self.0.contains_key(&(namespace.to_owned(), collection.to_owned(), key.to_owned()))
    }

    /// The clear keys that get a value: namespace, collection, key, version.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &str, &str, Height)> {
        self.0.iter().filter(|(_, (value, _))| value.is_some()).map(|((namespace, collection, key), (_, version))| {
            (namespace.as_str(), collection.as_str(), key.as_str(), *version)
        })
    }

    pub(crate) fn put(&self, writer: &mut StateWriter<'_>) {
        for ((namespace, collection, key), (value, version)) in &self.0 {
            writer.put_private(namespace, collection, key, value.as_ref(), *version);
        }
    }
}

fn private_key(set: &PrivateSet, key: &str) -> PrivateKey {
    (set.place.namespace.clone(), set.place.collection.clone(), key.to_owned())
}

fn writes(set: &PrivateSet) -> impl Iterator<Item = (PrivateKey, Option<Bytes>)> {
    set.writes.writes.iter().map(move |write| {
        let value = (!write.deletes()).then(|| write.value.clone());
        (private_key(set, &write.key), value)
    })
}

#[cfg(test)]
mod tests {
    use ripstop_private_store::{PrivatePlace, PrivateStore};
    use ripstop_rwset::RwSetBuilder;
    use ripstop_types::BlockNumber;

    use super::*;

    /// So many that hashing each key for each purge would not come to an end here.
    const MANY: usize = 50_000;

    #[test]
    fn very_many_purges_find_the_keys_that_their_own_block_names() {
        let mut builder = RwSetBuilder::new();
        let keys: Vec<String> = (0..MANY).map(|number| format!("key{number:06}")).collect();
        keys.iter().for_each(|key| builder.private_purge("cc", "coll", key));
        let (_, Some(private)) = builder.build() else { panic!("something was written") };
        let block = BlockNumber::new(9);
        let place = PrivatePlace { block, tx: 0, namespace: "cc".to_owned(), collection: "coll".to_owned() };
        let version = place.height();
        let sets = [PrivateSet { place, writes: private.namespaces[0].collections[0].clone() }];
        let purge = |collection: &str, key: &str| Purge {
            namespace: "cc".to_owned(),
            collection: collection.to_owned(),
            key_hash: Digest::of(key.as_bytes()).to_bytes(),
            version,
        };
        let mut purges: Vec<Purge> = keys.iter().rev().map(|key| purge("coll", key)).collect();
        purges.push(purge("coll", "unknown"));
        purges.push(purge("other", &keys[0]));
        let nothing = tempfile::tempdir().unwrap();
        let kept = PrivateStore::open(&nothing.path().join("private")).unwrap();
        let found = purged_keys(&purges, &sets, kept.committed()).unwrap();
        let found: Vec<String> = found.into_iter().map(|purged| purged.key.2).rev().collect();
        assert!(found == keys, "{} keys were found", found.len());
    }
}
