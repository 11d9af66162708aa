use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use ripstop_private_store::{CommittedPrivateData, PrivateStoreError, SetPlace};
use ripstop_rwset::{CollectionHashedRwSet, CollectionPrivateRwSet, HashedWrite, KvWrite, TxRwSet};
use ripstop_types::Digest;

/// Why private writes are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The block is not committed here, or none of its transactions announces them, or the snapshot with which the ledger
    /// begins had no hashes of them.
    #[error("nothing in this ledger announces them")]
    NotAnnounced,
    /// They are not what was announced.
    #[error("they do not match the hashes in their block")]
    Mismatch,
    /// Writes are lacking that were not purged here. The sender may know of a purge that this peer will hear of later.
    #[error("only a part of the announced keys is present")]
    Incomplete,
    /// Their time is over.
    #[error("they have expired")]
    Expired,
}

/// What a transaction says in public of its private writes to a collection.
pub(crate) fn hashed<'a>(set: &'a TxRwSet, namespace: &str, collection: &str) -> Option<&'a CollectionHashedRwSet> {
    let namespaces = set.namespaces.iter().filter(|ns| ns.namespace == namespace);
    namespaces.flat_map(|ns| &ns.collections).find(|hashed| hashed.collection == collection)
}

/// Whether a key of a set was purged at its version or later.
pub(crate) fn is_purged(
    kept: &CommittedPrivateData,
    place: &SetPlace,
    key_hash: &Bytes,
) -> Result<bool, PrivateStoreError> {
    let purge = kept.purged(&place.namespace, &place.collection, key_hash)?;
    Ok(purge.is_some_and(|purge| place.height() <= purge))
}

/// What of some private writes may be kept: all of them when their hash is the announced one; where keys were purged, here
/// or at the sender's, the others, each by its own hashes (Fabric: `validateAndRemovePurgedKeys`).
pub(crate) fn prove<E>(
    writes: &CollectionPrivateRwSet,
    hashed: &CollectionHashedRwSet,
    mut is_purged: impl FnMut(&Bytes) -> Result<bool, E>,
) -> Result<Result<CollectionPrivateRwSet, Unproven>, E> {
    let mut expected: BTreeMap<&Bytes, &HashedWrite> = BTreeMap::new();
    let mut purged = false;
    for write in &hashed.writes {
        if is_purged(&write.key_hash)? {
            purged = true;
        } else {
            expected.insert(&write.key_hash, write);
        }
    }
    if !purged && writes.hash().as_bytes()[..] == hashed.private_rwset_hash {
        return Ok(Ok(writes.clone()));
    }
    // Not even one write can be told from a set that was made up.
    if hashed.writes.is_empty() {
        return Ok(Err(Unproven::Mismatch));
    }
    let proven = match key_by_key(writes, expected) {
        Ok(proven) => proven,
        Err(reason) => return Ok(Err(reason)),
    };
    let metadata: HashSet<&Bytes> = hashed.metadata_writes.iter().map(|announced| &announced.key_hash).collect();
    let mut metadata_keys = writes.metadata_writes.iter().map(|write| Digest::of(write.key.as_bytes()).to_bytes());
    let metadata_is_announced = metadata_keys.all(|hash| metadata.contains(&hash));
    if !metadata_is_announced {
        return Ok(Err(Unproven::Mismatch));
    }
    // All expected keys are there. Without any purge, here or there, only their form can differ from what was endorsed.
    if !purged && proven.len() == writes.writes.len() && writes.writes.len() == hashed.writes.len() {
        return Ok(Err(Unproven::Mismatch));
    }
    Ok(Ok(CollectionPrivateRwSet::build(writes.collection.clone(), proven, writes.metadata_writes.clone())))
}

/// What of some private writes may be kept whose block stands before the snapshot with which the ledger begins: the values
/// that the snapshot had hashes of, except purged ones. Nothing here proves the others, which were overwritten before, nor
/// that metadata was written.
pub(crate) fn prove_by_snapshot<E>(
    writes: &CollectionPrivateRwSet,
    hashed: &[HashedWrite],
    mut is_purged: impl FnMut(&Bytes) -> Result<bool, E>,
) -> Result<Result<CollectionPrivateRwSet, Unproven>, E> {
    let mut expected = BTreeMap::new();
    for write in hashed {
        if !is_purged(&write.key_hash)? {
            expected.insert(&write.key_hash, write);
        }
    }
    let proven = key_by_key(writes, expected);
    Ok(proven.map(|proven| CollectionPrivateRwSet::build(writes.collection.clone(), proven, vec![])))
}

/// The writes of expected keys, all of which must be there with their values.
fn key_by_key(
    writes: &CollectionPrivateRwSet,
    mut expected: BTreeMap<&Bytes, &HashedWrite>,
) -> Result<Vec<KvWrite>, Unproven> {
    let mut proven = Vec::new();
    for write in &writes.writes {
        let Some(announced) = expected.remove(&Digest::of(write.key.as_bytes()).to_bytes()) else { continue };
        let same = match (write.deletes(), announced.deletes()) {
            (true, true) => true,
            (false, false) => announced.value_hash == Digest::of(&write.value).as_bytes()[..],
            _ => false,
        };
        if !same {
            return Err(Unproven::Mismatch);
        }
        proven.push(write.clone());
    }
    if expected.is_empty() { Ok(proven) } else { Err(Unproven::Incomplete) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use ripstop_rwset::RwSetBuilder;

    use super::*;

    fn set(keys: &[(&str, &str)]) -> (CollectionHashedRwSet, CollectionPrivateRwSet) {
        let mut builder = RwSetBuilder::new();
        for (key, value) in keys {
            builder.private_write("cc", "coll", key, Bytes::copy_from_slice(value.as_bytes()));
        }
        let (public, Some(private)) = builder.build() else { return Default::default() };
        (public.namespaces[0].collections[0].clone(), private.namespaces[0].collections[0].clone())
    }

    fn check(sent: &[(&str, &str)], announced: &[(&str, &str)], purged: &[&str], expected: Result<&[&str], Unproven>) {
        let purged: BTreeSet<Bytes> = purged.iter().map(|key| Digest::of(key.as_bytes()).to_bytes()).collect();
        let (hashed, sent) = (set(announced).0, set(sent).1);
        let Ok(found) = prove::<Infallible>(&sent, &hashed, |key| Ok(purged.contains(key)));
        let found = found.map(|set| set.writes.into_iter().map(|write| write.key).collect::<Vec<_>>());
        let expected = expected.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
        assert_eq!(found, expected, "{sent:?}");
    }

    #[test]
    fn a_key_that_is_named_twice_counts_once() {
        let (hashed, once) = set(&[("a", "1")]);
        let writes = [once.writes.clone(), set(&[("a", "9")]).1.writes].concat();
        let twice = CollectionPrivateRwSet::build(once.collection.clone(), writes, vec![]);
        let Ok(by_block) = prove::<Infallible>(&twice, &hashed, |_| Ok(false));
        let Ok(by_snapshot) = prove_by_snapshot::<Infallible>(&twice, &hashed.writes, |_| Ok(false));
        assert_eq!([by_block, by_snapshot], [Ok(once.clone()), Ok(once)]);
    }

    #[test]
    fn writes_are_proven_as_a_whole_or_key_by_key_where_some_were_purged() {
        let all = [("a", "1"), ("b", "2"), ("c", "")];
        check(&all, &all, &[], Ok(&["a", "b", "c"]));
        check(&[("a", "1"), ("b", "x"), ("c", "")], &all, &[], Err(Unproven::Mismatch));
        check(&[("a", "1"), ("b", "2"), ("c", "x")], &all, &[], Err(Unproven::Mismatch));
        // The sender purged, this peer did not hear of it yet.
        check(&[("a", "1"), ("c", "")], &all, &[], Err(Unproven::Incomplete));
        // Purged here.
        check(&all, &all, &["b"], Ok(&["a", "c"]));
        check(&[("a", "1"), ("b", "anything"), ("c", "")], &all, &["b"], Ok(&["a", "c"]));
        check(&[("a", "9"), ("b", "2"), ("c", "")], &all, &["b"], Err(Unproven::Mismatch));
        // Purged on both sides.
        check(&[("a", "1"), ("c", "")], &all, &["b"], Ok(&["a", "c"]));
        check(&[], &all, &["a", "b", "c"], Ok(&[]));
        check(&all, &all, &["a", "b", "c"], Ok(&[]));
        // Something else was announced.
        check(&[("x", "1")], &all, &[], Err(Unproven::Incomplete));
        check(&[("a", "1"), ("b", "2"), ("c", ""), ("d", "4")], &all, &[], Ok(&["a", "b", "c"]));
    }
}
