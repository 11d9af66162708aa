use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ripstop_private_store::{CommittedPrivateData, PlacedSet, PrivateStoreError};
use ripstop_rwset::{Purge, StateError, StateView, UpdateBatch};
use ripstop_state_db::StateWriter;
use ripstop_types::{Digest, Height};

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
    block: &[PlacedSet],
    kept: &CommittedPrivateData,
) -> Result<Vec<PurgedKey>, PrivateStoreError> {
    let mut found = Vec::new();
    for purge in purges {
        let Purge { namespace, collection, key_hash, version } = purge;
        let own = block
            .iter()
            .filter(|set| set.place.namespace == *namespace && set.place.collection == *collection)
            .flat_map(|set| &set.writes.writes)
            .find(|write| *key_hash == Digest::of(write.key.as_bytes()).as_bytes()[..]);
        let clear = match own {
            Some(write) => Some(write.key.clone()),
            None => kept.clear_key(namespace, collection, key_hash)?,
        };
        if let Some(clear) = clear {
            found.push(PurgedKey { key: (namespace.clone(), collection.clone(), clear), version: *version });
        }
    }
    Ok(found)
}

/// Changes of clear private keys in the state.
#[derive(Debug, Default)]
pub(crate) struct PrivateUpdates(BTreeMap<PrivateKey, (Option<Bytes>, Height)>);

impl PrivateUpdates {
    /// What a block does: the proven writes of its valid transactions, in block order, and its purges.
    pub(crate) fn of_block(
        sets: &[PlacedSet],
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
    pub(crate) fn of_late_sets(sets: &[PlacedSet], state: &dyn StateView) -> Result<Self, StateError> {
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
        sets: &[PlacedSet],
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

fn private_key(set: &PlacedSet, key: &str) -> PrivateKey {
    (set.place.namespace.clone(), set.place.collection.clone(), key.to_owned())
}

fn writes(set: &PlacedSet) -> impl Iterator<Item = (PrivateKey, Option<Bytes>)> {
    set.writes.writes.iter().map(move |write| {
        let value = (!write.deletes()).then(|| write.value.clone());
        (private_key(set, &write.key), value)
    })
}
