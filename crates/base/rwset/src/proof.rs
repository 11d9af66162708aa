//! What hashes prove of clear private writes.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use ripstop_types::Digest;

use crate::{CollectionHashedRwSet, CollectionPrivateRwSet, HashedWrite, KvWrite};

/// Why private writes are not those that were announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// They are others.
    #[error("they do not match the hashes in their block")]
    Mismatch,
    /// Writes are lacking that were not purged here. The sender may know of a purge that this peer will hear of later.
    #[error("only a part of the announced keys is present")]
    Incomplete,
}

impl CollectionPrivateRwSet {
    /// What of these writes may be kept: all of them when their hash is the announced one; where keys were purged, here or at
    /// the sender's, the others, each by its own hashes (Fabric: `validateAndRemovePurgedKeys`). `is_purged` is asked by the
    /// hash of a key.
    pub fn proven_by<E>(
        &self,
        announced: &CollectionHashedRwSet,
        mut is_purged: impl FnMut(&Bytes) -> Result<bool, E>,
    ) -> Result<Result<Self, Unproven>, E> {
        let (expected, purged) = expected(&announced.writes, &mut is_purged)?;
        if !purged && self.hash().as_bytes()[..] == announced.private_rwset_hash {
            return Ok(Ok(self.clone()));
        }
        // Not even one write can be told from a set that was made up.
        if announced.writes.is_empty() {
            return Ok(Err(Unproven::Mismatch));
        }
        let proven = match self.key_by_key(expected) {
            Ok(proven) => proven,
            Err(reason) => return Ok(Err(reason)),
        };
        let metadata: HashSet<&Bytes> = announced.metadata_writes.iter().map(|write| &write.key_hash).collect();
        let mut metadata_keys = self.metadata_writes.iter().map(|write| Digest::of(write.key.as_bytes()).to_bytes());
        if !metadata_keys.all(|hash| metadata.contains(&hash)) {
            return Ok(Err(Unproven::Mismatch));
        }
        // All expected keys are there. Without any purge, here or there, only their form can differ from what was endorsed.
        if !purged && proven.len() == self.writes.len() && self.writes.len() == announced.writes.len() {
            return Ok(Err(Unproven::Mismatch));
        }
        Ok(Ok(Self::build(self.collection.clone(), proven, self.metadata_writes.clone())))
    }

    /// What of these writes may be kept where only the hashes of some values are known, not the set that announced them: those
    /// values, except purged ones. Nothing proves the other writes, nor that metadata was written.
    pub fn proven_by_key<E>(
        &self,
        hashed: &[HashedWrite],
        mut is_purged: impl FnMut(&Bytes) -> Result<bool, E>,
    ) -> Result<Result<Self, Unproven>, E> {
        let (expected, _) = expected(hashed, &mut is_purged)?;
        let proven = self.key_by_key(expected);
        Ok(proven.map(|proven| Self::build(self.collection.clone(), proven, vec![])))
    }

    /// The writes of expected keys, all of which must be there with their values.
    fn key_by_key(&self, mut expected: BTreeMap<&Bytes, &HashedWrite>) -> Result<Vec<KvWrite>, Unproven> {
        let mut proven = Vec::new();
        for write in &self.writes {
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
}

/// The announced writes that were not purged, by the hashes of their keys, and whether any was.
fn expected<'a, E>(
    announced: &'a [HashedWrite],
    is_purged: &mut impl FnMut(&Bytes) -> Result<bool, E>,
) -> Result<(BTreeMap<&'a Bytes, &'a HashedWrite>, bool), E> {
    let (mut expected, mut purged) = (BTreeMap::new(), false);
    for write in announced {
        if is_purged(&write.key_hash)? {
            purged = true;
        } else {
            expected.insert(&write.key_hash, write);
        }
    }
    Ok((expected, purged))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;
    use crate::RwSetBuilder;

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
        let Ok(found) = sent.proven_by::<Infallible>(&hashed, |key| Ok(purged.contains(key)));
        let found = found.map(|set| set.writes.into_iter().map(|write| write.key).collect::<Vec<_>>());
        let expected = expected.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
        assert_eq!(found, expected, "{sent:?}");
    }

    #[test]
    fn a_key_that_is_named_twice_counts_once() {
        let (hashed, once) = set(&[("a", "1")]);
        let writes = [once.writes.clone(), set(&[("a", "9")]).1.writes].concat();
        let twice = CollectionPrivateRwSet::build(once.collection.clone(), writes, vec![]);
        let Ok(by_block) = twice.proven_by::<Infallible>(&hashed, |_| Ok(false));
        let Ok(by_snapshot) = twice.proven_by_key::<Infallible>(&hashed.writes, |_| Ok(false));
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
