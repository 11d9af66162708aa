//! Private writes come back until their time is over.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;

use ripstop_private_store::{PrivateStore, TransientSet};
use ripstop_rwset::{RwSetBuilder, TxPrivateRwSet};
use ripstop_types::{BlockNumber, TxId};

fn writes(value: &'static str) -> TxPrivateRwSet {
    let mut builder = RwSetBuilder::new();
    builder.private_write("_lifecycle", "_implicit_org_Org1MSP", "key", value.into());
    builder.build().1.unwrap()
}

fn set(endorsed_at: u64, value: &'static str) -> TransientSet {
    TransientSet { endorsed_at, writes: writes(value) }
}

#[test]
fn transient_writes_survive_until_they_are_purged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("private");
    let (one, two, three) = (TxId::new("one"), TxId::new("two"), TxId::new("three"));
    let store = PrivateStore::open(&path).unwrap();
    assert!(store.transient().get(&one).unwrap().is_empty());
    store.transient().purge(std::slice::from_ref(&one)).unwrap();
    assert!(!path.exists(), "reading and purging make no store");
    store.transient().put(&one, &set(5, "a")).unwrap();
    store.transient().put(&one, &set(6, "b")).unwrap();
    store.transient().put(&one, &set(6, "b")).unwrap();
    store.transient().put(&two, &set(6, "a")).unwrap();
    store.transient().put(&three, &set(7, "a")).unwrap();
    drop(store);
    let store = PrivateStore::open(&path).unwrap();
    let mut found = store.transient().get(&one).unwrap();
    found.sort_by_key(|set| set.endorsed_at);
    assert_eq!(found, [set(5, "a"), set(6, "b")]);
    store.transient().purge(std::slice::from_ref(&one)).unwrap();
    assert!(store.transient().get(&one).unwrap().is_empty());
    assert_eq!(store.transient().get(&two).unwrap().len(), 1);
    store.transient().purge_below(BlockNumber::new(7)).unwrap();
    assert!(store.transient().get(&two).unwrap().is_empty());
    assert_eq!(store.transient().get(&three).unwrap(), [set(7, "a")]);
}

#[test]
fn committed_writes_of_a_block_are_replaced_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = PrivateStore::open(&directory.path().join("private")).unwrap();
    let block = BlockNumber::new(9);
    store.committed().put(block, &BTreeMap::from([(0, writes("a")), (3, writes("b"))])).unwrap();
    let replaced = BTreeMap::from([(3, writes("c"))]);
    store.committed().put(block, &replaced).unwrap();
    assert_eq!(store.committed().get(block).unwrap(), replaced);
    assert!(store.committed().get(block.next()).unwrap().is_empty());
}
