//! What the transactions of a block do to the state, and the bytes of it.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use proptest::prelude::*;
use ripstop_rwset::{
    CollectionHashedRwSet, KvWrite, MemoryState, MetadataEntry, MetadataWrite, NsRwSet, PrivateExpectation,
    RwSetBuilder, StateValue, StateView, TxRwSet, UpdateBatch, commit_hash, encode_metadata,
};
use ripstop_types::{BlockNumber, Height, ValidationCode, ValidationCodes};

fn at(block: u64, tx: u64) -> Height {
    Height::new(BlockNumber::new(block), tx)
}

fn metadata(value: &'static str) -> BTreeMap<String, Bytes> {
    BTreeMap::from([("name".to_owned(), value.into())])
}

fn stored(value: &'static str) -> Bytes {
    encode_metadata(&[MetadataEntry { name: "name".into(), value: value.into() }])
}

/// Applies each transaction in turn, as transactions of block 2.
fn apply(before: &MemoryState, transactions: Vec<TxRwSet>) -> UpdateBatch {
    let mut updates = UpdateBatch::new();
    for (tx, set) in transactions.iter().enumerate() {
        updates.apply(set, at(2, tx as u64), before).unwrap();
    }
    updates
}

fn built(fill: impl FnOnce(&mut RwSetBuilder)) -> TxRwSet {
    let mut builder = RwSetBuilder::new();
    fill(&mut builder);
    builder.build().0
}

fn forged(writes: &[&'static str], metadata_writes: &[&'static str]) -> TxRwSet {
    let write = |value: &&'static str| KvWrite { key: "k".into(), is_delete: false, value: (*value).into() };
    let metadata = |value: &&'static str| MetadataWrite {
        key: "k".into(),
        entries: vec![MetadataEntry { name: "name".into(), value: (*value).into() }],
    };
    TxRwSet {
        namespaces: vec![NsRwSet {
            namespace: "ns".into(),
            writes: writes.iter().map(write).collect(),
            metadata_writes: metadata_writes.iter().map(metadata).collect(),
            ..NsRwSet::default()
        }],
    }
}

fn state() -> MemoryState {
    let mut state = MemoryState::new();
    state.put("ns", "k", "old", at(1, 0));
    state.put_metadata("ns", "k", stored("m"));
    state
}

/// Value and metadata of the key after the block.
fn outcome(before: &MemoryState, transactions: Vec<TxRwSet>) -> Option<(Bytes, Bytes, Height)> {
    let updates = apply(before, transactions);
    let pending = updates.over(before).get("ns", "k").unwrap();
    let mut after = before.clone();
    after.apply(&updates);
    assert_eq!(after.get("ns", "k").unwrap(), pending);
    pending.map(|StateValue { value, metadata, version }| (value, metadata, version))
}

#[test]
fn private_sets_are_announced_once_and_only_where_something_is_written() {
    let set = built(|set| {
        set.private_write("ns", "written", "k", "v".into());
        set.private_write_metadata("ns", "marked", "k", metadata("m"));
        set.private_read("ns", "read", "k", None);
    });
    let announced = |set: &TxRwSet| -> Vec<(u64, String)> {
        PrivateExpectation::of(3, set).into_iter().map(|announced| (announced.tx, announced.collection)).collect()
    };
    assert_eq!(announced(&set), [(3, "marked".to_owned()), (3, "written".to_owned())]);
    let mut forged = set.clone();
    let collections = &mut forged.namespaces[0].collections;
    collections[1].private_rwset_hash = "a hash without writes".into();
    collections[2].private_rwset_hash = Bytes::new();
    collections.push(collections[0].clone());
    assert_eq!(announced(&forged), [(3, "marked".to_owned())]);
}

#[test]
fn a_private_set_without_some_keys_is_encoded_anew() {
    let build = |keys: &[&str]| {
        let mut builder = RwSetBuilder::new();
        keys.iter().for_each(|key| builder.private_write("ns", "coll", key, "v".into()));
        builder.private_write_metadata("ns", "coll", "k", metadata("m"));
        builder.build().1.unwrap().namespaces[0].collections[0].clone()
    };
    assert_eq!(build(&["a", "b", "c"]).without(&["b", "x"].map(String::from).into()), build(&["a", "c"]));
    assert_eq!(build(&["a"]).without(&HashSet::new()), build(&["a"]));
}

/// So many that looking at each of them for each of them would not come to an end here.
const MANY: usize = 100_000;

#[test]
fn very_many_collections_are_announced_each_once() {
    let mut set = built(|set| set.private_write("ns", "coll", "k", "v".into()));
    let collections = &mut set.namespaces[0].collections;
    let first = collections[0].clone();
    collections.extend((0..2 * MANY).map(|number| {
        let collection = format!("coll{}", number % MANY);
        CollectionHashedRwSet { collection, ..first.clone() }
    }));
    let announced = PrivateExpectation::of(3, &set);
    assert_eq!(announced.len(), MANY + 1);
    assert_eq!(announced[MANY].collection, format!("coll{}", MANY - 1));
}

#[test]
fn very_many_keys_are_taken_out_of_a_private_set() {
    let mut builder = RwSetBuilder::new();
    let keys: Vec<String> = (0..MANY).map(|number| format!("key{number}")).collect();
    keys.iter().chain(["left".to_owned()].iter()).for_each(|key| builder.private_write("ns", "coll", key, "v".into()));
    let set = builder.build().1.unwrap().namespaces[0].collections[0].clone();
    let left = set.without(&keys.into_iter().collect());
    assert_eq!(left.writes.iter().map(|write| write.key.as_str()).collect::<Vec<_>>(), ["left"]);
}

#[test]
fn a_value_alone_keeps_the_metadata() {
    let write = built(|set| set.write("ns", "k", "new".into()));
    assert_eq!(outcome(&state(), vec![write.clone()]), Some(("new".into(), stored("m"), at(2, 0))));
    assert_eq!(outcome(&MemoryState::new(), vec![write]), Some(("new".into(), Bytes::new(), at(2, 0))));
}

#[test]
fn metadata_alone_keeps_the_value_and_does_nothing_to_an_absent_key() {
    let write = built(|set| set.write_metadata("ns", "k", metadata("n")));
    assert_eq!(outcome(&state(), vec![write.clone()]), Some(("old".into(), stored("n"), at(2, 0))));
    assert_eq!(outcome(&MemoryState::new(), vec![write]), None);
    let clear = built(|set| set.write_metadata("ns", "k", BTreeMap::new()));
    assert_eq!(outcome(&state(), vec![clear]), Some(("old".into(), Bytes::new(), at(2, 0))));
}

#[test]
fn value_and_metadata_replace_both_and_a_delete_wins() {
    let both = built(|set| {
        set.write("ns", "k", "new".into());
        set.write_metadata("ns", "k", metadata("n"));
    });
    assert_eq!(outcome(&state(), vec![both]), Some(("new".into(), stored("n"), at(2, 0))));
    let deleted = built(|set| {
        set.write("ns", "k", Bytes::new());
        set.write_metadata("ns", "k", metadata("n"));
    });
    assert_eq!(outcome(&state(), vec![deleted]), None);
}

#[test]
fn later_transactions_see_the_earlier_ones_of_the_block() {
    let value = built(|set| set.write("ns", "k", "new".into()));
    let meta = built(|set| set.write_metadata("ns", "k", metadata("n")));
    let delete = built(|set| set.write("ns", "k", Bytes::new()));
    assert_eq!(outcome(&state(), vec![value.clone(), meta.clone()]), Some(("new".into(), stored("n"), at(2, 1))));
    assert_eq!(outcome(&state(), vec![meta.clone(), value.clone()]), Some(("new".into(), stored("n"), at(2, 1))));
    // Where real peers stop: metadata of a key that the block deleted has no effect.
    assert_eq!(outcome(&state(), vec![delete.clone(), meta]), None);
    // A key that was deleted comes back without its metadata.
    assert_eq!(outcome(&state(), vec![delete, value]), Some(("new".into(), Bytes::new(), at(2, 1))));
}

#[test]
fn a_forged_set_adds_up_as_in_fabric() {
    // Two values count as "metadata only": the old value stays, its metadata goes.
    assert_eq!(outcome(&state(), vec![forged(&["a", "b"], &[])]), Some(("old".into(), Bytes::new(), at(2, 0))));
    assert_eq!(outcome(&MemoryState::new(), vec![forged(&["a", "b"], &[])]), None);
    // Three values count as value and metadata.
    assert_eq!(outcome(&state(), vec![forged(&["a", "b", "c"], &[])]), Some(("c".into(), Bytes::new(), at(2, 0))));
    // Two deletes delete nothing.
    let twice = outcome(&state(), vec![forged(&["", ""], &[])]);
    assert_eq!(twice, Some(("old".into(), Bytes::new(), at(2, 0))));
    // Two metadata writes count as removing it, but the last entries stay.
    assert_eq!(outcome(&state(), vec![forged(&[], &["a", "b"])]), Some(("old".into(), stored("b"), at(2, 0))));
}

fn codes(codes: &[u8]) -> ValidationCodes {
    ValidationCodes::new(codes.iter().map(|code| ValidationCode::try_from(*code).unwrap()).collect())
}

#[test]
fn commit_hashes_match_fabric() {
    let set = built(|set| {
        set.write("cc", "a", "1".into());
        set.private_write("cc", "col", "k", Bytes::new());
    });
    let mut updates = UpdateBatch::new();
    updates.set_config("left out".into(), at(1, 0));
    updates.apply(&set, at(1, 0), &MemoryState::new()).unwrap();
    let bytes = updates.canonical_bytes();
    assert_eq!(
        hex::encode(&bytes),
        "0a0f0a0263631a01612a013132030101000a2e1203636f6c1a208254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a20013203010100"
    );
    let first = commit_hash(&codes(&[0, 11]), &bytes, &[]);
    assert_eq!(first.to_string(), "5cf1cd5c32c59bb555a41224543567eb1dd6950de177145a360e4e3745ab83f5");
    let next = commit_hash(&codes(&[0]), &[], first.as_bytes());
    assert_eq!(next.to_string(), "442d6491327e71429bfc6eb14e580ccb6f7287d6f4c9aa0cd2ad56d67ac98945");
}

#[test]
fn namespace_and_collection_are_named_once() {
    let set = built(|set| {
        for (namespace, key) in [("b", "1"), ("b", "2"), ("a", "1")] {
            set.write(namespace, key, "v".into());
        }
        for (namespace, collection, key) in [("b", "d", "1"), ("b", "c", "1"), ("b", "c", "2"), ("c", "c", "1")] {
            set.private_write(namespace, collection, key, "v".into());
        }
    });
    let bytes = apply(&MemoryState::new(), vec![set]).canonical_bytes();
    use prost::Message;
    let updates = ripstop_proto::ledger::Updates::decode(bytes.as_slice()).unwrap();
    let named: Vec<(&str, &str)> =
        updates.kvwrites.iter().map(|write| (write.namespace.as_str(), write.collection.as_str())).collect();
    assert_eq!(named, [("a", ""), ("b", ""), ("", ""), ("", "c"), ("", ""), ("", "d"), ("c", "c")]);
}

#[test]
fn what_else_a_block_says_is_noted() {
    let set = built(|set| {
        set.write("ns", "k", "v".into());
        set.write("ns", "gone", Bytes::new());
        set.write_metadata("ns", "m", metadata("n"));
        set.private_purge("ns", "coll", "p");
        set.private_read("ns", "read", "p", None);
    });
    let updates = apply(&MemoryState::new(), vec![TxRwSet::default(), set]);
    let history: Vec<&str> = updates.history().iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(history, ["gone", "k"]);
    assert_eq!(updates.purges().len(), 1);
    let expected = updates.private_expectations();
    assert_eq!(expected.len(), 1);
    assert_eq!((expected[0].tx, expected[0].collection.as_str()), (1, "coll"));
}

proptest! {
    #[test]
    fn ranges_over_pending_changes_equal_ranges_after_them(
        committed in proptest::collection::btree_map("[a-d]{1,2}", "[x-z]", 0..8),
        writes in proptest::collection::btree_map("[a-d]{1,2}", proptest::option::of("[x-z]"), 0..8),
        start in "[a-d]{0,2}",
        end in "[a-d]{0,2}",
        exhausted: bool,
    ) {
        let mut before = MemoryState::new();
        for (key, value) in &committed {
            before.put("ns", key, value.clone(), at(1, 0));
        }
        let set = built(|set| {
            for (key, value) in &writes {
                set.write("ns", key, value.clone().unwrap_or_default().into());
            }
        });
        let updates = apply(&before, vec![set]);
        let pending = updates.over(&before);
        let mut after = before.clone();
        after.apply(&updates);
        let mut wanted: Vec<_> = after.range("ns", &start, &end).unwrap().map(Result::unwrap).collect();
        let found: Vec<_> = pending.range("ns", &start, &end).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(&found, &wanted);
        wanted.extend(after.get("ns", &end).unwrap().map(|value| (end.clone(), value)));
        let found: Vec<_> = pending.range_through("ns", &start, &end).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(found, wanted);
    }
}
