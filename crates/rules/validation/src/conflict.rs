//! Whether what a transaction read still stands (Fabric: `txmgmt/validation`).

use ripstop_rwset::{
    CollectionHashedRwSet, KvRead, RangeQuery, RangeReads, RangeRecorder, StateError, StateView, TxRwSet, UpdateBatch,
};
use ripstop_types::Height;

use crate::{Found, KeyName, Refusal};

/// Compares reads, range queries and hashed reads of each namespace, in this order, with the state before the block and
/// the changes of the earlier valid transactions. The first difference counts.
pub(crate) fn find_conflict(
    set: &TxRwSet,
    pending: &UpdateBatch,
    before: &dyn StateView,
) -> Result<Option<Refusal>, StateError> {
    for namespace in &set.namespaces {
        let name = namespace.namespace.as_str();
        for read in &namespace.reads {
            if let Some(refusal) = read_conflict(name, read, pending, before)? {
                return Ok(Some(refusal));
            }
        }
        for query in &namespace.range_queries {
            if let Some(why) = phantom(name, query, pending, before)? {
                return Ok(Some(Refusal::Phantom {
                    namespace: name.to_owned(),
                    start: query.start_key.clone(),
                    end: query.end_key.clone(),
                    why,
                }));
            }
        }
        for collection in &namespace.collections {
            if let Some(refusal) = hashed_conflict(name, collection, pending, before)? {
                return Ok(Some(refusal));
            }
        }
    }
    Ok(None)
}

fn read_conflict(
    namespace: &str,
    read: &KvRead,
    pending: &UpdateBatch,
    before: &dyn StateView,
) -> Result<Option<Refusal>, StateError> {
    let found = match pending.public(namespace, &read.key) {
        Some(_) => Found::WrittenInBlock,
        None => match before.get(namespace, &read.key)?.map(|value| value.version) {
            version if version == read.version => return Ok(None),
            version => Found::Committed(version),
        },
    };
    let key = KeyName { namespace: namespace.to_owned(), collection: String::new(), key: read.key.clone() };
    Ok(Some(Refusal::ReadConflict { key, read: read.version, found }))
}

fn hashed_conflict(
    namespace: &str,
    collection: &CollectionHashedRwSet,
    pending: &UpdateBatch,
    before: &dyn StateView,
) -> Result<Option<Refusal>, StateError> {
    for read in &collection.reads {
        let found = match pending.hashed(namespace, &collection.collection, &read.key_hash) {
            Some(_) => Found::WrittenInBlock,
            None => {
                match before.hashed(namespace, &collection.collection, &read.key_hash)?.map(|value| value.version) {
                    version if version == read.version => continue,
                    version => Found::Committed(version),
                }
            }
        };
        let key = KeyName {
            namespace: namespace.to_owned(),
            collection: collection.collection.clone(),
            key: hex::encode(&read.key_hash),
        };
        return Ok(Some(Refusal::ReadConflict { key, read: read.version, found }));
    }
    Ok(None)
}

/// The first difference between a recorded range query and the present content of the range.
fn phantom(
    namespace: &str,
    query: &RangeQuery,
    pending: &UpdateBatch,
    before: &dyn StateView,
) -> Result<Option<String>, StateError> {
    let state = pending.over(before);
    let mut present = match query.exhausted {
        true => state.range(namespace, &query.start_key, &query.end_key)?,
        false => state.range_through(namespace, &query.start_key, &query.end_key)?,
    };
    let expected: &[KvRead] = match &query.reads {
        RangeReads::None => &[],
        RangeReads::Raw(reads) => reads,
        RangeReads::Merkle(summary) => {
            let mut recorder = match RangeRecorder::with_degree(summary.max_degree) {
                Ok(recorder) => recorder,
                Err(error) => return Ok(Some(error.to_string())),
            };
            for entry in present {
                let (key, value) = entry?;
                recorder.add(KvRead { key, version: Some(value.version) });
            }
            let same = recorder.finish() == query.reads;
            return Ok((!same).then(|| "the hashes over the results differ".to_owned()));
        }
    };
    for read in expected {
        let Some(entry) = present.next() else { return Ok(Some(format!("key {:?} is gone", read.key))) };
        let (key, value) = entry?;
        if key != read.key {
            return Ok(Some(format!("key {:?} was read, key {key:?} stands there", read.key)));
        }
        if read.version != Some(value.version) {
            return Ok(Some(format!("key {key:?} was read at version {}, now {}", text(read.version), value.version)));
        }
    }
    match present.next() {
        None => Ok(None),
        Some(entry) => Ok(Some(format!("key {:?} has been added", entry?.0))),
    }
}

fn text(version: Option<Height>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| version.to_string())
}

#[cfg(test)]
mod tests {
    use ripstop_rwset::{HashedRead, KvWrite, MemoryState, MerkleSummary, NsRwSet};
    use ripstop_types::BlockNumber;

    use super::*;

    const fn at(block: u64, tx: u64) -> Height {
        Height::new(BlockNumber::new(block), tx)
    }

    fn read(key: &str, version: Option<Height>) -> KvRead {
        KvRead { key: key.to_owned(), version }
    }

    fn set(namespace: NsRwSet) -> TxRwSet {
        TxRwSet { namespaces: vec![NsRwSet { namespace: "cc".to_owned(), ..namespace }] }
    }

    /// Keys a, b, c of block 1, and the writes of an earlier transaction: b deleted, d added.
    fn scene() -> (MemoryState, UpdateBatch) {
        let mut state = MemoryState::new();
        for (tx, key) in ["a", "b", "c"].into_iter().enumerate() {
            state.put("cc", key, key, at(1, tx as u64));
        }
        state.put_private("cc", "coll", "secret", "value", at(1, 3));
        let write = |key: &str, value: &'static str| KvWrite {
            key: key.to_owned(),
            is_delete: value.is_empty(),
            value: value.into(),
        };
        let writes = set(NsRwSet { writes: vec![write("b", ""), write("d", "d")], ..NsRwSet::default() });
        let mut pending = UpdateBatch::new();
        pending.apply(&writes, at(2, 0), &state).unwrap();
        (state, pending)
    }

    fn check(set: &TxRwSet, expected: Option<&str>) {
        let (state, pending) = scene();
        let found = find_conflict(set, &pending, &state).unwrap().map(|refusal| refusal.to_string());
        match (expected, &found) {
            (None, None) => {}
            (Some(expected), Some(found)) => assert!(found.contains(expected), "{found}"),
            _ => panic!("expected {expected:?}, found {found:?}"),
        }
    }

    #[test]
    fn a_read_holds_while_nobody_wrote_the_key() {
        let reads = |reads| set(NsRwSet { reads, ..NsRwSet::default() });
        check(&reads(vec![read("a", Some(at(1, 0))), read("x", None)]), None);
        check(&reads(vec![read("a", Some(at(1, 7)))]), Some("committed version is 1:0"));
        check(&reads(vec![read("a", None)]), Some("version none (no such key)"));
        check(&reads(vec![read("x", Some(at(1, 0)))]), Some("none (no such key)"));
        check(&reads(vec![read("b", Some(at(1, 1)))]), Some("an earlier transaction of this block writes it"));
        check(&reads(vec![read("d", None)]), Some("an earlier transaction of this block writes it"));
    }

    #[test]
    fn a_hashed_read_holds_while_nobody_wrote_the_key() {
        let hashed = |key: &str, version| {
            let key_hash = ripstop_types::Digest::of(key.as_bytes()).to_bytes();
            let reads = vec![HashedRead { key_hash, version }];
            let collection =
                CollectionHashedRwSet { collection: "coll".to_owned(), reads, ..CollectionHashedRwSet::default() };
            set(NsRwSet { collections: vec![collection], ..NsRwSet::default() })
        };
        check(&hashed("secret", Some(at(1, 3))), None);
        check(&hashed("other", None), None);
        check(&hashed("secret", None), Some("committed version is 1:3"));
    }

    #[test]
    fn a_range_holds_while_its_content_is_the_same() {
        let range = |start: &str, end: &str, exhausted, reads| {
            let query = RangeQuery { start_key: start.to_owned(), end_key: end.to_owned(), exhausted, reads };
            set(NsRwSet { range_queries: vec![query], ..NsRwSet::default() })
        };
        let raw = |reads: &[(&str, Height)]| {
            RangeReads::Raw(reads.iter().map(|(key, version)| read(key, Some(*version))).collect())
        };
        let now = raw(&[("a", at(1, 0)), ("c", at(1, 2)), ("d", at(2, 0))]);
        check(&range("", "", true, now.clone()), None);
        check(&range("a", "d", true, raw(&[("a", at(1, 0)), ("c", at(1, 2))])), None);
        check(&range("a", "d", false, now), None);
        check(&range("x", "z", true, RangeReads::None), None);
        check(&range("a", "b", true, RangeReads::None), Some("\"a\" has been added"));
        check(&range("a", "", false, RangeReads::None), Some("\"a\" has been added"));
        check(&range("a", "c", true, raw(&[("a", at(1, 0)), ("b", at(1, 1))])), Some("\"b\" is gone"));
        check(&range("a", "b", true, raw(&[("a", at(1, 9))])), Some("at version 1:9, now 1:0"));
        check(&range("a", "b", true, RangeReads::Raw(vec![read("a", None)])), Some("at version none"));
        // Keys of any bytes: a log line must stay one line of text.
        check(&range("\0a", "b", true, RangeReads::None), Some("[\"\\0a\", \"b\")"));
        let merkle = |max_degree| {
            RangeReads::Merkle(MerkleSummary { max_degree, max_level: 1, max_level_hashes: vec![vec![7; 32].into()] })
        };
        check(&range("a", "", true, merkle(50)), Some("hashes over the results differ"));
        check(&range("a", "", true, merkle(0)), Some("should not be less than 2"));
        let mut recorder = RangeRecorder::with_degree(2).unwrap();
        for (key, version) in [("a", at(1, 0)), ("c", at(1, 2)), ("d", at(2, 0))] {
            recorder.add(read(key, Some(version)));
        }
        let summary = recorder.finish();
        assert!(matches!(summary, RangeReads::Merkle(_)));
        check(&range("a", "", true, summary), None);
    }
}
