use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{Ledger, PrivateData, StateView};
use ripstop_proto::{lifecycle, protos};
use ripstop_rwset::{RwSetBuilder, TxRwSet};
use ripstop_types::Digest;

use crate::chain::{VALID, channel, commit, genesis, next_block, only, open, set, transaction};

/// Defines the chaincode `cc` with the collections `short`, whose values live for one block, and `long`, for ever.
pub(crate) fn definition() -> TxRwSet {
    let short = protos::StaticCollectionConfig { name: "short".into(), block_to_live: 1, ..Default::default() };
    let long = protos::StaticCollectionConfig { name: "long".into(), ..Default::default() };
    definition_with(&[short, long])
}

/// Defines the chaincode `cc` with these collections.
pub(crate) fn definition_with(collections: &[protos::StaticCollectionConfig]) -> TxRwSet {
    use lifecycle::state_data::Type;
    use protos::collection_config::Payload;
    let payload = |collection: &protos::StaticCollectionConfig| protos::CollectionConfig {
        payload: Some(Payload::StaticCollectionConfig(collection.clone())),
    };
    let collections = protos::CollectionConfigPackage { config: collections.iter().map(payload).collect() };
    let fields = [
        ("Sequence", Type::Int64(1)),
        ("EndorsementInfo", Type::Bytes(Bytes::new())),
        ("ValidationInfo", Type::Bytes(Bytes::new())),
        ("Collections", Type::Bytes(collections.encode_to_vec().into())),
    ];
    let names = fields.iter().map(|(name, _)| (*name).to_owned()).collect();
    let metadata = lifecycle::StateMetadata { datatype: "ChaincodeDefinition".into(), fields: names };
    set(|set| {
        set.write("_lifecycle", "namespaces/metadata/cc", metadata.encode_to_vec().into());
        for (name, value) in fields {
            let value = lifecycle::StateData { r#type: Some(value) }.encode_to_vec();
            set.write("_lifecycle", &format!("namespaces/fields/cc/{name}"), value.into());
        }
    })
}

pub(crate) fn define(ledger: &Ledger) {
    commit(ledger, &[(transaction("define", &definition()), VALID)]);
}

/// Commits a block that writes these keys of the collection.
pub(crate) fn write(ledger: &Ledger, keys: &[&str]) {
    let mut builder = RwSetBuilder::new();
    for key in keys {
        builder.private_write("cc", "short", key, Bytes::from(format!("{key} at {}", ledger.height())));
    }
    let (public, private) = builder.build();
    let raw = transaction(&format!("tx{}", ledger.height()), &public);
    let private: BTreeMap<u64, _> = private.into_iter().map(|private| (0, private)).collect();
    ledger.commit(next_block(ledger, &[(raw, VALID)]), PrivateData::from(private)).unwrap();
}

/// The keys that are there, each with hash (`h`) and clear value (`c`).
pub(crate) fn present(ledger: &Ledger) -> String {
    let state = ledger.snapshot();
    let keys = ["a", "b", "c"].map(|key| {
        let hash = state.hashed("cc", "short", Digest::of(key.as_bytes()).as_bytes()).unwrap();
        let clear = state.private("cc", "short", key).unwrap();
        let marks = format!("{}{}", hash.map_or("", |_| "h"), clear.map_or("", |_| "c"));
        if marks.is_empty() { String::new() } else { format!("{key}:{marks}") }
    });
    keys.concat()
}

#[test]
fn private_values_live_as_long_as_their_collection_says() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    define(&ledger);
    // Written by block 2, to expire with block 4.
    write(&ledger, &["a", "b", "c"]);
    assert_eq!(present(&ledger), "a:hcb:hcc:hc");
    // Written again by block 3, and by block 4 itself: these live on.
    write(&ledger, &["b"]);
    assert_eq!(present(&ledger), "a:hcb:hcc:hc");
    write(&ledger, &["c"]);
    assert_eq!(present(&ledger), "b:hcc:hc");
    write(&ledger, &[]);
    assert_eq!(present(&ledger), "c:hc");
    write(&ledger, &[]);
    assert_eq!(present(&ledger), "");
}

/// What a transaction does.
type Fill = fn(&mut RwSetBuilder);

/// Commits a block of one transaction for each step; its private writes are here or not.
fn steps(ledger: &Ledger, steps: &[(bool, Fill)]) {
    let number = ledger.height();
    let (mut transactions, mut gathered) = (Vec::new(), BTreeMap::new());
    for (tx, (is_here, fill)) in (0..).zip(steps) {
        let mut builder = RwSetBuilder::new();
        fill(&mut builder);
        let (public, private) = builder.build();
        transactions.push((transaction(&format!("tx{number}.{tx}"), &public), VALID));
        gathered.extend(private.filter(|_| *is_here).map(|private| (tx, private)));
    }
    ledger.commit(next_block(ledger, &transactions), PrivateData::from(gathered)).unwrap();
}

fn set_a(set: &mut RwSetBuilder) {
    set.private_write("cc", "short", "a", "value".into());
}

fn delete_a(set: &mut RwSetBuilder) {
    set.private_write("cc", "short", "a", Bytes::new());
}

fn purge_a(set: &mut RwSetBuilder) {
    set.private_purge("cc", "short", "a");
}

fn touch_a(set: &mut RwSetBuilder) {
    let entries = BTreeMap::from([("name".to_owned(), Bytes::from_static(b"value"))]);
    set.private_write_metadata("cc", "short", "a", entries);
}

#[test]
fn what_a_block_does_to_a_key_counts_for_more_than_that_it_expires_with_it() {
    // What the block with which `a` expires does, whether its private writes are here, and what is there after it.
    let cases: [(Fill, bool, &str, &str); 8] = [
        (set_a, true, "a:hc", "a:hc"),
        // The old value goes, the new one is missing.
        (set_a, false, "a:h", "a:h"),
        (delete_a, true, "", ""),
        (delete_a, false, "", ""),
        (purge_a, true, "", ""),
        (purge_a, false, "", ""),
        // Metadata renews hash and value; where it is not known that it does, the value goes.
        (touch_a, true, "a:hc", "a:hc"),
        (touch_a, false, "a:h", "a:h"),
    ];
    for (number, (fill, is_here, then, later)) in cases.into_iter().enumerate() {
        let root = tempfile::tempdir().unwrap();
        let ledgers = open(root.path());
        let ledger = ledgers.create(genesis()).unwrap();
        define(&ledger);
        steps(&ledger, &[(true, set_a)]);
        steps(&ledger, &[]);
        steps(&ledger, &[(is_here, fill)]);
        assert_eq!(present(&ledger), then, "case {number}");
        steps(&ledger, &[]);
        assert_eq!(present(&ledger), later, "case {number}");
        steps(&ledger, &[]);
        assert_eq!(present(&ledger), "", "case {number}");
    }
}

#[test]
fn a_value_whose_hash_went_in_the_same_block_expires_too() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    define(&ledger);
    // The delete is missing here, so the value stays beside no hash.
    steps(&ledger, &[(true, set_a), (false, delete_a)]);
    steps(&ledger, &[]);
    assert_eq!(present(&ledger), "a:c");
    steps(&ledger, &[]);
    assert_eq!(present(&ledger), "");
}

#[test]
fn a_rebuilt_state_has_forgotten_the_same_values() {
    let root = tempfile::tempdir().unwrap();
    {
        let ledgers = open(root.path());
        let ledger = ledgers.create(genesis()).unwrap();
        define(&ledger);
        write(&ledger, &["a", "b"]);
        write(&ledger, &["b"]);
        write(&ledger, &[]);
        assert_eq!(present(&ledger), "b:hc");
    }
    fs::remove_dir_all(root.path().join(channel().as_str()).join("state")).unwrap();
    let ledgers = open(root.path());
    assert_eq!(present(&only(&ledgers)), "b:hc");
    write(&only(&ledgers), &[]);
    assert_eq!(present(&only(&ledgers)), "");
}
