use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use bytes::Bytes;

use crate::store::{Frozen, RawScan, Write};
use crate::{Batch, KvError, Snapshot};

/// Batches that are not written yet, on top of a snapshot: shows what a store will hold when they are. All of it is in
/// memory; who adds to it bounds it.
pub struct Draft(Arc<Layered>);

/// What the batches do to each key, as it is stored: `None` deletes.
type Changes = BTreeMap<Vec<u8>, Option<Bytes>>;

#[derive(Clone)]
struct Layered {
    below: Snapshot,
    changes: BTreeMap<&'static str, Changes>,
}

impl Draft {
    /// Nothing but the snapshot.
    pub fn over(snapshot: Snapshot) -> Self {
        Self(Arc::new(Layered { below: snapshot, changes: BTreeMap::new() }))
    }

    /// Adds a batch. Snapshots that were taken before do not show it; while there are none, nothing is copied.
    pub fn add(&mut self, batch: Batch) {
        let layered = Arc::make_mut(&mut self.0);
        for Write { keyspace, key, value } in batch.writes {
            layered.changes.entry(keyspace).or_default().insert(key, value);
        }
    }

    /// The content that a store will have after these batches.
    pub fn snapshot(&self) -> Snapshot {
        let frozen: Arc<dyn Frozen> = Arc::<Layered>::clone(&self.0);
        Snapshot::new(frozen)
    }

    /// The batches as one, each key once, in the order of keyspaces and keys.
    pub fn into_batch(self) -> Batch {
        let changes = Arc::try_unwrap(self.0).map_or_else(|shared| shared.changes.clone(), |own| own.changes);
        let of_keyspace = |(keyspace, changes): (&'static str, Changes)| {
            changes.into_iter().map(move |(key, value)| Write { keyspace, key, value })
        };
        Batch { writes: changes.into_iter().flat_map(of_keyspace).collect() }
    }
}

impl Frozen for Layered {
    fn get(&self, keyspace: &'static str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        match self.changes.get(keyspace).and_then(|changes| changes.get(key)) {
            Some(change) => Ok(change.clone()),
            None => self.below.frozen().get(keyspace, key),
        }
    }

    fn range(&self, keyspace: &'static str, start: &[u8], end: Option<&[u8]>) -> Result<RawScan, KvError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let below = self.below.frozen().range(keyspace, start, end)?;
        let Some(changes) = self.changes.get(keyspace) else { return Ok(below) };
        let changed = changes.range::<[u8], _>((Included(start), end.map_or(Unbounded, Excluded)));
        let changed: Vec<_> = changed.map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Box::new(Merged { below: below.peekable(), changed: changed.into_iter().peekable() }))
    }
}

/// What is below with changes on top of it, in the order of the keys.
struct Merged {
    below: Peekable<RawScan>,
    changed: Peekable<std::vec::IntoIter<(Vec<u8>, Option<Bytes>)>>,
}

impl Iterator for Merged {
    type Item = Result<(Vec<u8>, Bytes), KvError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let below = match self.below.peek() {
                Some(Ok((key, _))) => Some(key),
                Some(Err(_)) => return self.below.next(),
                None => None,
            };
            let Some((key, _)) = self.changed.peek() else { return self.below.next() };
            if below.is_some_and(|below| below < key) {
                return self.below.next();
            }
            if below == Some(key) {
                self.below.next();
            }
            if let Some((key, Some(value))) = self.changed.next() {
                return Some(Ok((key, value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Durability, Keyspace, Reads, Store};

    const ONE: Keyspace = Keyspace { name: "one", reads: Reads::Point };
    const TWO: Keyspace = Keyspace { name: "two", reads: Reads::Range };

    fn batch(changes: &[(bool, u8, Option<u8>)]) -> Batch {
        let mut batch = Batch::new();
        for (first, key, value) in changes {
            let keyspace = if *first { &ONE } else { &TWO };
            match value {
                Some(value) => batch.put(keyspace, vec![*key], vec![*value]),
                None => batch.delete(keyspace, vec![*key]),
            }
        }
        batch
    }

    fn changes() -> impl Strategy<Value = Vec<(bool, u8, Option<u8>)>> {
        prop::collection::vec((any::<bool>(), 0..8_u8, any::<Option<u8>>()), 0..8)
    }

    proptest! {
        #[test]
        fn a_draft_shows_what_the_store_holds_after_its_batches(
            before in changes(),
            batches in prop::collection::vec(changes(), 0..5),
            start in 0..8_u8,
            end in 0..9_u8,
        ) {
            let (store, expected) = (Store::memory(&[ONE, TWO]), Store::memory(&[ONE, TWO]));
            for store in [&store, &expected] {
                store.write(batch(&before), Durability::Buffered).unwrap();
            }
            let mut draft = Draft::over(store.snapshot());
            let mut kept = Vec::new();
            for changes in &batches {
                draft.add(batch(changes));
                expected.write(batch(changes), Durability::Buffered).unwrap();
                kept.push((draft.snapshot(), expected.snapshot()));
            }
            kept.push((draft.snapshot(), expected.snapshot()));
            for (drafted, expected) in &kept {
                for keyspace in [&ONE, &TWO] {
                    for key in 0..8_u8 {
                        prop_assert_eq!(drafted.get(keyspace, &[key]).unwrap(), expected.get(keyspace, &[key]).unwrap());
                    }
                    let range = |snapshot: &Snapshot| -> Vec<_> {
                        snapshot.range(keyspace, &[start], Some(&[end])).unwrap().map(|found| found.unwrap()).collect()
                    };
                    prop_assert_eq!(range(drafted), range(expected));
                }
            }
            store.write(draft.into_batch(), Durability::Buffered).unwrap();
            prop_assert_eq!(
                store.snapshot().entries(&[ONE, TWO]).unwrap(),
                expected.snapshot().entries(&[ONE, TWO]).unwrap()
            );
        }
    }
}
