//! The state in a key-value store answers exactly as the state in memory.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use proptest::prelude::*;
use ripstop_kv::{Batch, Durability, Store};
use ripstop_rwset::{MemoryState, RwSetBuilder, StateView, UpdateBatch};
use ripstop_state_db::{KEYSPACES, Savepoint, StateReader, StateWriter};
use ripstop_types::{BlockNumber, Digest, Height};

#[derive(Debug, Clone)]
enum Op {
    Put(&'static str, String, &'static str),
    Metadata(&'static str, String, &'static str),
    Private(&'static str, String, &'static str),
}

fn op() -> impl Strategy<Value = Op> {
    let ns = prop_oneof![Just("a"), Just("ab"), Just("b")];
    let key = prop_oneof![Just("".to_owned()), "[a-c]{1,2}", Just("\u{0}k\u{10ffff}".to_owned())];
    let value = prop_oneof![Just(""), Just("one"), Just("two")];
    prop_oneof![
        3 => (ns.clone(), key.clone(), value.clone()).prop_map(|(ns, key, value)| Op::Put(ns, key, value)),
        1 => (ns.clone(), key.clone(), value.clone()).prop_map(|(ns, key, value)| Op::Metadata(ns, key, value)),
        1 => (ns, key, value).prop_map(|(ns, key, value)| Op::Private(ns, key, value)),
    ]
}

fn updates(block: u64, transactions: &[Vec<Op>], before: &MemoryState) -> UpdateBatch {
    let mut updates = UpdateBatch::new();
    for (tx, ops) in transactions.iter().enumerate() {
        let mut builder = RwSetBuilder::new();
        for op in ops {
            match op {
                Op::Put(ns, key, value) => builder.write(ns, key, (*value).into()),
                Op::Metadata(ns, key, value) => {
                    let entries = [("name".to_owned(), (*value).into())];
                    builder.write_metadata(ns, key, entries.into_iter().filter(|_| !value.is_empty()).collect());
                }
                Op::Private(ns, key, value) => builder.private_write(ns, "coll", key, (*value).into()),
            }
        }
        updates.apply(&builder.build().0, Height::new(BlockNumber::new(block), tx as u64), before).unwrap();
    }
    updates
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn state_on_a_store_equals_state_in_memory(
        blocks in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(op(), 0..4), 0..4), 1..5),
        bounds in proptest::collection::vec(("[a-c]{0,2}", "[a-c]{0,2}"), 1..4),
    ) {
        let store = Store::memory(&KEYSPACES);
        let mut memory = MemoryState::new();
        let mut history: Vec<(String, String, Height)> = vec![];
        for (number, transactions) in blocks.iter().enumerate() {
            let updates = updates(number as u64, transactions, &memory);
            memory.apply(&updates);
            history.extend(updates.history().iter().map(|e| (e.namespace.clone(), e.key.clone(), e.version)));
            let mut batch = Batch::new();
            let mut writer = StateWriter::new(&mut batch);
            writer.put_updates(&updates);
            let block = BlockNumber::new(number as u64);
            let savepoint = Savepoint { block, commit_hash: Digest::of(b"x").to_bytes() };
            writer.put_savepoint(&savepoint);
            store.write(batch, Durability::Buffered).unwrap();
            let reader = StateReader::new(store.snapshot());
            prop_assert_eq!(reader.savepoint().unwrap(), Some(savepoint));
            for ns in ["a", "ab", "b"] {
                for (start, end) in bounds.iter().map(|(s, e)| (s.as_str(), e.as_str())).chain([("", "")]) {
                    let found: Vec<_> = reader.public_range(ns, start, end).unwrap().map(Result::unwrap).collect();
                    let wanted: Vec<_> = memory.range(ns, start, end).unwrap().map(Result::unwrap).collect();
                    prop_assert_eq!(found, wanted);
                    prop_assert_eq!(reader.public(ns, start).unwrap(), memory.get(ns, start).unwrap());
                    let hash = Digest::of(start.as_bytes());
                    let found = reader.hashed(ns, "coll", hash.as_bytes()).unwrap();
                    prop_assert_eq!(found, memory.hashed(ns, "coll", hash.as_bytes()).unwrap());
                    let found: Vec<_> = reader.history(ns, start).unwrap().map(Result::unwrap).collect();
                    let mut wanted: Vec<_> =
                        history.iter().filter(|(n, k, _)| n == ns && k == start).map(|(_, _, v)| *v).collect();
                    wanted.sort_by(|a, b| b.cmp(a));
                    prop_assert_eq!(found, wanted);
                }
            }
        }
    }
}

#[test]
fn private_values_stand_apart_by_collection() {
    let store = Store::memory(&KEYSPACES);
    let mut batch = Batch::new();
    let mut writer = StateWriter::new(&mut batch);
    let version = Height::new(BlockNumber::new(3), 1);
    writer.put_private("ns", "one", "k", Some(&"v".into()), version);
    writer.put_private("ns", "one", "l", Some(&"w".into()), version);
    writer.put_private("ns", "two", "k", Some(&"x".into()), version);
    writer.put_private("ns", "one", "l", None, version);
    store.write(batch, Durability::Buffered).unwrap();
    let reader = StateReader::new(store.snapshot());
    assert_eq!(reader.private("ns", "two", "k").unwrap().unwrap().value, "x");
    let all: Vec<_> = reader.private_range("ns", "one", "", "").unwrap().map(|pair| pair.unwrap().0).collect();
    assert_eq!(all, ["k"]);
    assert!(reader.public("ns", "k").unwrap().is_none());
}
