//! Private writes come back until their time is over.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::PathBuf;

use ripstop_private_store::{
    Absence, BlockSets, CommittedPrivateData, Erased, HashedValue, PrivatePlace, PrivateSet, PrivateStore, TransientSet,
};
use ripstop_rwset::{CollectionPrivateRwSet, Purge, RwSetBuilder, TxPrivateRwSet};
use ripstop_types::{BlockNumber, Digest, Height, TxId};
use tempfile::TempDir;

fn writes(keys: &[(&str, &str)]) -> TxPrivateRwSet {
    let mut builder = RwSetBuilder::new();
    for (key, value) in keys {
        builder.private_write("cc", "coll", key, (*value).to_owned().into());
    }
    builder.build().1.unwrap()
}

fn transient(endorsed_at: u64, value: &str) -> TransientSet {
    TransientSet { endorsed_at, writes: writes(&[("key", value)]), ..TransientSet::default() }
}

fn place(block: u64, tx: u64) -> PrivatePlace {
    PrivatePlace { block: BlockNumber::new(block), tx, namespace: "cc".to_owned(), collection: "coll".to_owned() }
}

fn set(block: u64, tx: u64, keys: &[(&str, &str)]) -> PrivateSet {
    let writes = if keys.is_empty() {
        CollectionPrivateRwSet { collection: "coll".to_owned(), ..Default::default() }
    } else {
        writes(keys).namespaces[0].collections[0].clone()
    };
    PrivateSet { place: place(block, tx), writes }
}

/// A store on disk that can be closed and opened again.
struct Disk {
    directory: TempDir,
    store: Option<PrivateStore>,
}

impl Disk {
    fn new() -> Self {
        let mut disk = Self { directory: tempfile::tempdir().unwrap(), store: None };
        disk.reopen();
        disk
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("private")
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(PrivateStore::open(&self.path()).unwrap());
    }

    fn committed(&self) -> &CommittedPrivateData {
        self.store.as_ref().unwrap().committed()
    }

    fn put(&self, block: u64, sets: BlockSets<'_>) {
        self.committed().put(BlockNumber::new(block), &sets).unwrap();
    }

    /// The keys of a block's sets: `tx:keys`.
    fn keys(&self, block: u64) -> String {
        let sets = self.committed().get(BlockNumber::new(block)).unwrap();
        let keys = |set: &PrivateSet| set.writes.writes.iter().map(|write| write.key.clone()).collect::<String>();
        sets.iter().map(|set| format!("{}:{} ", set.place.tx, keys(set))).collect()
    }

    /// The markers of a reason: `block.tx`.
    fn missing(&self, absence: Absence) -> String {
        let missing = self.committed().missing(absence, BlockNumber::new(u64::MAX), usize::MAX).unwrap();
        missing.iter().map(|place| format!("{}.{} ", place.block, place.tx)).collect()
    }
}

fn hash(key: &str) -> Digest {
    Digest::of(key.as_bytes())
}

fn purge(key: &str, block: u64, tx: u64) -> Purge {
    Purge {
        namespace: "cc".to_owned(),
        collection: "coll".to_owned(),
        key_hash: hash(key).to_bytes(),
        version: Height::new(BlockNumber::new(block), tx),
    }
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
    store.transient().put(&one, &transient(5, "a")).unwrap();
    store.transient().put(&one, &transient(6, "b")).unwrap();
    store.transient().put(&one, &transient(6, "b")).unwrap();
    store.transient().put(&two, &transient(6, "a")).unwrap();
    store.transient().put(&three, &transient(7, "a")).unwrap();
    drop(store);
    let store = PrivateStore::open(&path).unwrap();
    let mut found = store.transient().get(&one).unwrap();
    found.sort_by_key(|set| set.endorsed_at);
    assert_eq!(found, [transient(5, "a"), transient(6, "b")]);
    store.transient().purge(std::slice::from_ref(&one)).unwrap();
    assert!(store.transient().get(&one).unwrap().is_empty());
    assert_eq!(store.transient().get(&two).unwrap().len(), 1);
    store.transient().purge_below(BlockNumber::new(7)).unwrap();
    assert!(store.transient().get(&two).unwrap().is_empty());
    assert_eq!(store.transient().get(&three).unwrap(), [transient(7, "a")]);
}

#[test]
fn what_a_block_leaves_is_replaced_as_a_whole() {
    let mut disk = Disk::new();
    assert!(disk.committed().get(BlockNumber::new(9)).unwrap().is_empty());
    disk.put(8, BlockSets::default());
    assert!(!disk.path().exists(), "a block without private data makes no store");
    let present = vec![set(9, 0, &[("a", "1")]), set(9, 3, &[("b", "2")])];
    let (missing, ineligible) = (vec![place(9, 1), place(9, 2)], vec![place(9, 4)]);
    disk.put(9, BlockSets { present, missing, ineligible, ..Default::default() });
    disk.reopen();
    assert_eq!(disk.keys(9), "0:a 3:b ");
    assert_eq!((disk.missing(Absence::Missing), disk.missing(Absence::Ineligible)), ("9.1 9.2 ".into(), "9.4 ".into()));
    // A crash prevented the block; it comes again, with other verdicts.
    disk.put(
        9,
        BlockSets { present: vec![set(9, 3, &[("c", "3")])], missing: vec![place(9, 0)], ..Default::default() },
    );
    disk.reopen();
    assert_eq!(disk.keys(9), "3:c ");
    assert_eq!((disk.missing(Absence::Missing), disk.missing(Absence::Ineligible)), ("9.0 ".into(), String::new()));
    assert_eq!(disk.committed().clear_key("cc", "coll", hash("b").as_bytes()).unwrap(), None);
    assert_eq!(disk.committed().clear_key("cc", "coll", hash("c").as_bytes()).unwrap(), Some("c".to_owned()));
}

#[test]
fn missing_sets_are_named_from_the_newest_block_on() {
    let disk = Disk::new();
    for block in [3, 700, 5] {
        disk.put(block, BlockSets { missing: vec![place(block, 1), place(block, 0)], ..Default::default() });
    }
    let missing = |newest, max| {
        let found = disk.committed().missing(Absence::Missing, BlockNumber::new(newest), max).unwrap();
        found.iter().map(|place| (place.block.get(), place.tx)).collect::<Vec<_>>()
    };
    assert_eq!(missing(1000, 2), [(700, 0), (700, 1), (5, 0), (5, 1)]);
    assert_eq!(missing(699, 1), [(5, 0), (5, 1)]);
    assert_eq!(missing(2, 9), []);
    // What nobody has is looked for later; what came is missed no more.
    disk.committed().add(701, &[set(700, 0, &[("a", "1")])], &[place(5, 0), place(4, 4)]).unwrap();
    assert_eq!(
        (disk.missing(Absence::Missing), disk.missing(Absence::NotFound)),
        ("700.1 5.1 3.0 3.1 ".into(), "5.0 ".into())
    );
    disk.committed().add(702, &[set(5, 0, &[("a", "1")])], &[]).unwrap();
    assert_eq!(disk.missing(Absence::NotFound), "");
}

#[test]
fn late_sets_are_known_by_the_height_at_which_they_came() {
    let mut disk = Disk::new();
    disk.put(2, BlockSets { present: vec![set(2, 0, &[("a", "1")])], ..Default::default() });
    disk.committed().add(4, &[set(2, 1, &[("b", "2")])], &[]).unwrap();
    disk.committed().add(6, &[set(3, 0, &[("c", "3")])], &[]).unwrap();
    disk.reopen();
    let late = |from, to| disk.committed().late(from, to).unwrap();
    assert_eq!(late(4, Some(5)), [set(2, 1, &[("b", "2")])]);
    assert_eq!(late(5, Some(6)), []);
    assert_eq!(late(0, None).len(), 2);
    assert_eq!(disk.committed().on_time(BlockNumber::new(2)).unwrap(), [set(2, 0, &[("a", "1")])]);
    assert_eq!(disk.keys(2), "0:a 1:b ");
}

#[test]
fn an_opened_collection_turns_what_was_kept_out_into_what_is_missing() {
    let disk = Disk::new();
    let other = |place: PrivatePlace| PrivatePlace { collection: "other".to_owned(), ..place };
    disk.put(2, BlockSets { ineligible: vec![place(2, 0), other(place(2, 0))], ..Default::default() });
    let opened = [("cc".to_owned(), "coll".to_owned())];
    let (missing, ineligible) = (vec![place(3, 1)], vec![place(3, 0)]);
    disk.put(3, BlockSets { missing, ineligible, opened: &opened, ..Default::default() });
    assert_eq!(
        (disk.missing(Absence::Missing), disk.missing(Absence::Ineligible)),
        ("3.0 3.1 2.0 ".into(), "2.0 ".into())
    );
}

#[test]
fn expired_sets_and_markers_are_gone_from_the_disk() {
    let mut disk = Disk::new();
    let expiring = |at| vec![("cc".to_owned(), "coll".to_owned(), BlockNumber::new(at))];
    let present = vec![set(2, 0, &[("a", "1")])];
    let (missing, ineligible) = (vec![place(2, 1), place(2, 3)], vec![place(2, 2)]);
    disk.put(2, BlockSets { present, missing, ineligible, expiring: expiring(4), ..Default::default() });
    disk.put(3, BlockSets { present: vec![set(3, 0, &[("a", "2")])], expiring: expiring(5), ..Default::default() });
    disk.committed().add(4, &[set(2, 1, &[("b", "1")])], &[place(2, 3)]).unwrap();
    assert_eq!(disk.keys(2), "0:a 1:b ");
    disk.put(4, BlockSets::default());
    assert_eq!(disk.keys(2), "0:a 1:b ", "block 4 may still not come to be");
    disk.committed().forget_expired(BlockNumber::new(4)).unwrap();
    disk.reopen();
    assert_eq!((disk.keys(2), disk.keys(3)), (String::new(), "0:a ".into()));
    assert!(disk.committed().late(0, None).unwrap().is_empty());
    for absence in [Absence::Missing, Absence::NotFound, Absence::Ineligible] {
        assert_eq!(disk.missing(absence), "");
    }
    assert_eq!(disk.committed().clear_key("cc", "coll", hash("b").as_bytes()).unwrap(), None);
    // Blocks may have been passed over without private data.
    disk.committed().forget_expired(BlockNumber::new(9)).unwrap();
    assert_eq!(disk.keys(3), "");
}

#[test]
fn purged_values_are_hidden_at_once_and_erased_when_the_state_allows() {
    let mut disk = Disk::new();
    disk.put(2, BlockSets { present: vec![set(2, 0, &[("a", "1"), ("b", "1")])], ..Default::default() });
    // The purging transaction knows the key too.
    let present = vec![set(3, 0, &[("a", "2")]), set(3, 1, &[("a", ""), ("c", "1")]), set(3, 2, &[("a", "3")])];
    disk.put(3, BlockSets { present, purges: &[purge("a", 3, 1)], ..Default::default() });
    for erased in [false, true] {
        assert_eq!((disk.keys(2), disk.keys(3)), ("0:b ".into(), "0: 1:c 2:a ".into()));
        assert_eq!(disk.committed().has_purged().unwrap(), !erased);
        disk.committed().erase_purged(3).unwrap();
        assert_eq!(disk.committed().has_purged().unwrap(), !erased, "block 3 is not in the state yet");
        let gone = disk.committed().erase_purged(4).unwrap();
        let places: Vec<_> =
            gone.writes.iter().map(|(place, key)| (place.block.get(), place.tx, key.as_str())).collect();
        match erased {
            false => assert_eq!((gone.keys, places), (1, vec![(2, 0, "a"), (3, 0, "a"), (3, 1, "a")])),
            true => assert_eq!(gone, Erased::default()),
        }
        disk.reopen();
    }
    let purged = |key: &str| disk.committed().purged("cc", "coll", hash(key).as_bytes()).unwrap();
    assert_eq!((purged("a"), purged("b")), (Some(Height::new(BlockNumber::new(3), 1)), None));
    assert_eq!(disk.committed().clear_key("cc", "coll", hash("a").as_bytes()).unwrap(), Some("a".to_owned()));
    disk.put(4, BlockSets { purges: &[purge("a", 4, 0)], ..Default::default() });
    disk.committed().erase_purged(5).unwrap();
    assert_eq!(disk.committed().clear_key("cc", "coll", hash("a").as_bytes()).unwrap(), None);
}

#[test]
fn a_forged_purge_erases_nothing_else() {
    let disk = Disk::new();
    disk.put(2, BlockSets { present: vec![set(2, 0, &[("a", "1")])], ..Default::default() });
    let whole = hash("a").to_bytes();
    for forged in [bytes::Bytes::new(), whole.slice(..16), [&whole[..], &[0; 16]].concat().into()] {
        let forged = Purge { key_hash: forged, ..purge("a", 3, 0) };
        disk.put(3, BlockSets { purges: &[forged], ..Default::default() });
        disk.committed().erase_purged(4).unwrap();
        assert_eq!(disk.keys(2), "0:a ");
    }
}

#[test]
fn hashes_of_a_snapshot_stay_until_their_set_comes_or_expires() {
    let mut disk = Disk::new();
    let value = |block, tx, key: &str, expires: Option<u64>| HashedValue {
        place: place(block, tx),
        key_hash: hash(key).to_bytes(),
        value_hash: hash("value").to_bytes(),
        absence: Absence::Missing,
        expires: expires.map(BlockNumber::new),
    };
    // A set may be told in several parts, and a forged one may have hashes of any length.
    let forged = HashedValue { key_hash: "short".into(), ..value(3, 1, "", Some(9)) };
    disk.committed().put_hashed(&[value(2, 0, "a", None), value(3, 0, "a", Some(9)), forged]).unwrap();
    disk.committed().put_hashed(&[value(2, 0, "b", None), value(2, 1, "a", None)]).unwrap();
    disk.reopen();
    let counts = |disk: &Disk| {
        [(2, 0), (2, 1), (3, 0), (3, 1)].map(|(block, tx)| disk.committed().hashed(&place(block, tx)).unwrap().len())
    };
    assert_eq!((counts(&disk), disk.missing(Absence::Missing)), ([2, 1, 1, 1], "3.0 3.1 2.0 2.1 ".to_owned()));
    disk.committed().add(8, &[set(2, 0, &[("a", "value")])], &[]).unwrap();
    assert_eq!((counts(&disk), disk.missing(Absence::Missing)), ([0, 1, 1, 1], "3.0 3.1 2.1 ".to_owned()));
    disk.committed().forget_expired(BlockNumber::new(9)).unwrap();
    assert_eq!((counts(&disk), disk.missing(Absence::Missing)), ([0, 1, 0, 0], "2.1 ".to_owned()));
    assert_eq!(disk.keys(2), "0:a ");
}
