//! The bytes that endorsers sign.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use ripstop_rwset::{
    CollectionHashedRwSet, HashedMetadataWrite, HashedRead, HashedWrite, KvRead, KvWrite, MerkleSummary, MetadataEntry,
    MetadataWrite, NsRwSet, RangeQuery, RangeReads, RwSetBuilder, TxPrivateRwSet, TxRwSet, decode_metadata,
    encode_metadata,
};
use ripstop_types::{BlockNumber, Digest, Height};

fn at(block: u64, tx: u64) -> Height {
    Height::new(BlockNumber::new(block), tx)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..8).prop_map(Bytes::from)
}

fn version() -> impl Strategy<Value = Option<Height>> {
    proptest::option::of((any::<u64>(), any::<u64>()).prop_map(|(block, tx)| at(block, tx)))
}

fn reads() -> impl Strategy<Value = Vec<KvRead>> {
    proptest::collection::vec((".{0,4}", version()).prop_map(|(key, version)| KvRead { key, version }), 0..3)
}

fn entries() -> impl Strategy<Value = Vec<MetadataEntry>> {
    proptest::collection::vec((".{0,4}", bytes()).prop_map(|(name, value)| MetadataEntry { name, value }), 0..3)
}

fn range_query() -> impl Strategy<Value = RangeQuery> {
    let found = prop_oneof![
        Just(RangeReads::None),
        reads().prop_map(RangeReads::Raw),
        (any::<u32>(), any::<u32>(), proptest::collection::vec(bytes(), 0..3)).prop_map(
            |(max_degree, max_level, max_level_hashes)| {
                RangeReads::Merkle(MerkleSummary { max_degree, max_level, max_level_hashes })
            }
        ),
    ];
    (".{0,3}", ".{0,3}", any::<bool>(), found).prop_map(|(start_key, end_key, exhausted, reads)| RangeQuery {
        start_key,
        end_key,
        exhausted,
        reads,
    })
}

fn collection() -> impl Strategy<Value = CollectionHashedRwSet> {
    let read = (bytes(), version()).prop_map(|(key_hash, version)| HashedRead { key_hash, version });
    let write =
        (bytes(), any::<bool>(), bytes(), any::<bool>()).prop_map(|(key_hash, is_delete, value_hash, is_purge)| {
            HashedWrite { key_hash, is_delete, value_hash, is_purge }
        });
    let metadata = (bytes(), entries()).prop_map(|(key_hash, entries)| HashedMetadataWrite { key_hash, entries });
    let list = 0..3;
    (
        ".{0,4}",
        proptest::collection::vec(read, list.clone()),
        proptest::collection::vec(write, list.clone()),
        proptest::collection::vec(metadata, list),
        bytes(),
    )
        .prop_map(|(collection, reads, writes, metadata_writes, private_rwset_hash)| CollectionHashedRwSet {
            collection,
            reads,
            writes,
            metadata_writes,
            private_rwset_hash,
        })
}

fn namespace() -> impl Strategy<Value = NsRwSet> {
    let write =
        (".{0,4}", any::<bool>(), bytes()).prop_map(|(key, is_delete, value)| KvWrite { key, is_delete, value });
    let metadata = (".{0,4}", entries()).prop_map(|(key, entries)| MetadataWrite { key, entries });
    (
        ".{0,4}",
        reads(),
        proptest::collection::vec(range_query(), 0..3),
        proptest::collection::vec(write, 0..3),
        proptest::collection::vec(metadata, 0..3),
        proptest::collection::vec(collection(), 0..3),
    )
        .prop_map(|(namespace, reads, range_queries, writes, metadata_writes, collections)| NsRwSet {
            namespace,
            reads,
            range_queries,
            writes,
            metadata_writes,
            collections,
        })
}

proptest! {
    #[test]
    fn every_set_survives_its_bytes(namespaces in proptest::collection::vec(namespace(), 0..3)) {
        let set = TxRwSet { namespaces };
        prop_assert_eq!(TxRwSet::parse(set.encode()).unwrap(), set);
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(raw in proptest::collection::vec(any::<u8>(), 0..120)) {
        let raw = Bytes::from(raw);
        let _ = TxRwSet::parse(raw.clone());
        let _ = TxPrivateRwSet::parse(raw.clone());
        let _ = decode_metadata(&raw);
    }

    #[test]
    fn the_private_set_matches_the_hashes_in_the_public_one(
        ops in proptest::collection::vec(("[ab]", "[cd]", "[k-m]", 0..4u8), 1..12),
    ) {
        let mut builder = RwSetBuilder::new();
        for (namespace, collection, key, op) in &ops {
            match op {
                0 => builder.private_write(namespace, collection, key, Bytes::from_static(b"value")),
                1 => builder.private_write(namespace, collection, key, Bytes::new()),
                2 => builder.private_purge(namespace, collection, key),
                _ => builder.private_write_metadata(namespace, collection, key, BTreeMap::new()),
            }
        }
        let (public, private) = builder.build();
        let private = TxPrivateRwSet::parse(private.unwrap().encode()).unwrap();
        for ns in &public.namespaces {
            for collection in &ns.collections {
                let clear = private.collection(&ns.namespace, &collection.collection).unwrap();
                prop_assert_eq!(&collection.private_rwset_hash, &clear.hash().to_bytes());
                let hashed: Vec<&[u8]> = collection.writes.iter().map(|write| &write.key_hash[..]).collect();
                let expected: Vec<Digest> = clear.writes.iter().map(|write| Digest::of(write.key.as_bytes())).collect();
                prop_assert_eq!(hashed, expected.iter().map(|hash| &hash.as_bytes()[..]).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_set_has_fabrics_bytes() {
    let mut builder = RwSetBuilder::new();
    builder.write("cc", "k3", Bytes::new());
    builder.write("cc", "k2", Bytes::from_static(b"v"));
    builder.read("cc", "k1", Some(at(1, 1)));
    builder.read("cc", "k1", Some(at(3, 1)));
    let (public, private) = builder.build();
    assert_eq!(
        hex::encode(public.encode()),
        "12230a026363121d0a0a0a026b311204080310011a070a026b321a01761a060a026b331001"
    );
    assert!(private.is_none());
}

#[test]
fn reading_private_data_leaves_no_private_set() {
    let mut builder = RwSetBuilder::new();
    builder.private_read("cc", "coll", "k", None);
    let (public, private) = builder.build();
    assert!(private.is_none());
    assert!(public.namespaces[0].collections[0].private_rwset_hash.is_empty());
    assert!(!public.namespaces[0].has_writes());
}

#[test]
fn equal_range_queries_are_kept_once_in_the_order_of_their_use() {
    let query = |end: &str, exhausted| RangeQuery {
        start_key: "a".into(),
        end_key: end.into(),
        exhausted,
        reads: RangeReads::None,
    };
    let mut builder = RwSetBuilder::new();
    for (end, exhausted) in [("z", true), ("b", false), ("z", true), ("b", true)] {
        builder.range_query("cc", query(end, exhausted));
    }
    let found = builder.build().0.namespaces.remove(0).range_queries;
    assert_eq!(found, [query("z", true), query("b", false), query("b", true)]);
}

#[test]
fn an_empty_value_is_a_delete_in_clear_and_hashed() {
    let write = KvWrite { key: "k".into(), is_delete: false, value: Bytes::new() };
    assert!(write.deletes());
    let hashed = |value_hash| HashedWrite { key_hash: Bytes::new(), is_delete: false, value_hash, is_purge: false };
    assert!(hashed(Bytes::new()).deletes());
    assert!(hashed(Digest::of(b"").to_bytes()).deletes());
    assert!(!hashed(Digest::of(b"v").to_bytes()).deletes());
}

#[test]
fn metadata_is_kept_as_a_metadata_write_without_key() {
    let entries = [MetadataEntry { name: "n".into(), value: Bytes::from_static(b"v") }];
    let encoded = encode_metadata(&entries);
    assert_eq!(hex::encode(&encoded), "12060a016e120176");
    assert_eq!(decode_metadata(&encoded).unwrap(), BTreeMap::from([("n".to_owned(), Bytes::from_static(b"v"))]));
}

#[test]
fn private_values_never_stand_in_what_is_printed() {
    let mut builder = RwSetBuilder::new();
    builder.private_write("cc", "coll", "key", "a secret".into());
    let before = format!("{builder:?}");
    let (public, private) = builder.build();
    let printed = [before, format!("{public:?}"), format!("{:?}", private.unwrap())];
    for printed in printed {
        assert!(printed.contains("coll") && !printed.contains("secret"), "{printed}");
    }
}
