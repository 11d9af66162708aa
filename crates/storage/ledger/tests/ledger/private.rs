//! The door through which private values come, early or late.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ripstop_ledger::{
    Absence, Ledger, PrivateData, PrivatePlace, PrivateSet, RejectedSet, Rejection, StateView, Unproven,
};
use ripstop_private_store::{BlockSets, PrivateStore};
use ripstop_rwset::{CollectionPrivateRwSet, Purge, RwSetBuilder, TxPrivateRwSet};
use ripstop_types::{BlockNumber, Digest, ValidationCode};

use crate::chain::{VALID, channel, genesis, next_block, only, open, transaction};
use crate::expiry::define;

const COLLECTION: &str = "long";

/// Commits a block of one transaction that does something to `cc`; what it wrote in private is told, and here from the
/// start or not.
pub(crate) fn block(
    ledger: &Ledger,
    code: ValidationCode,
    here: bool,
    fill: impl FnOnce(&mut RwSetBuilder),
) -> PrivateSet {
    let mut builder = RwSetBuilder::new();
    fill(&mut builder);
    let (public, private) = builder.build();
    let private = private.unwrap();
    let number = ledger.height();
    let validated = next_block(ledger, &[(transaction(&format!("tx{number}"), &public), code)]);
    let gathered: BTreeMap<u64, TxPrivateRwSet> = here.then(|| (0, private.clone())).into_iter().collect();
    ledger.commit(validated, PrivateData::from(gathered)).unwrap();
    let ns = &private.namespaces[0];
    let place = PrivatePlace {
        block: BlockNumber::new(number),
        tx: 0,
        namespace: ns.namespace.clone(),
        collection: ns.collections[0].collection.clone(),
    };
    PrivateSet { place, writes: ns.collections[0].clone() }
}

fn write(ledger: &Ledger, here: bool, key: &str, value: &str) -> PrivateSet {
    block(ledger, VALID, here, |set| {
        set.private_write("cc", COLLECTION, key, Bytes::copy_from_slice(value.as_bytes()));
    })
}

fn purge(ledger: &Ledger, here: bool, key: &str) -> PrivateSet {
    block(ledger, VALID, here, |set| set.private_purge("cc", COLLECTION, key))
}

pub(crate) fn accept(ledger: &Ledger, sets: &[&PrivateSet]) -> Vec<RejectedSet> {
    ledger.accept_private_data(sets.iter().map(|set| (*set).clone()).collect(), &[]).unwrap()
}

/// The clear value in the state: with the version of its hash or, in brackets, with another.
fn clear(ledger: &Ledger, key: &str) -> String {
    let state = ledger.snapshot();
    let hash = state.hashed("cc", COLLECTION, Digest::of(key.as_bytes()).as_bytes()).unwrap();
    match state.private("cc", COLLECTION, key).unwrap() {
        None => String::new(),
        Some(found) => {
            let value = String::from_utf8(found.value.to_vec()).unwrap();
            if hash.is_some_and(|hash| hash.version == found.version) { value } else { format!("({value})") }
        }
    }
}

fn missing(ledger: &Ledger, absence: Absence) -> Vec<u64> {
    let newest = BlockNumber::new(u64::MAX);
    ledger.missing_private_data(absence, newest, 100).unwrap().iter().map(|place| place.block.get()).collect()
}

pub(crate) fn keys(ledger: &Ledger, block: u64) -> Option<String> {
    let found = ledger.private_data(BlockNumber::new(block), |_, _| true).unwrap();
    let set = found.get(&0)?.namespaces[0].collections[0].clone();
    Some(set.writes.into_iter().map(|write| write.key).collect())
}

/// A ledger on disk that can be closed and opened again.
pub(crate) struct Disk {
    root: tempfile::TempDir,
    ledgers: Option<ripstop_ledger::Ledgers>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let ledgers = open(root.path());
        define(&ledgers.create(genesis()).unwrap());
        Self { root, ledgers: Some(ledgers) }
    }

    pub(crate) fn ledger(&self) -> std::sync::Arc<Ledger> {
        only(self.ledgers.as_ref().unwrap())
    }

    fn part(&self, name: &str) -> PathBuf {
        self.root.path().join(channel().as_str()).join(name)
    }

    /// Puts a part back as it is in a copy.
    fn restore(&self, name: &str, copy: &Path) {
        fs::remove_dir_all(self.part(name)).unwrap();
        crate::recovery::copy(&copy.join(channel().as_str()).join(name), &self.part(name));
    }

    /// Throws the state away: it must come back out of blocks and private store.
    pub(crate) fn rebuild(&mut self) {
        self.ledgers = None;
        fs::remove_dir_all(self.part("state")).unwrap();
        self.ledgers = Some(open(self.root.path()));
    }

    /// Checks something now, and after the state was rebuilt.
    fn check(&mut self, check: impl Fn(&Ledger)) {
        check(&self.ledger());
        self.rebuild();
        check(&self.ledger());
    }
}

#[test]
fn late_values_reach_the_state_where_their_hashes_still_stand() {
    let mut disk = Disk::new();
    let ledger = disk.ledger();
    let stale = write(&ledger, false, "a", "1");
    let newest = write(&ledger, false, "a", "2");
    let other = write(&ledger, false, "b", "1");
    assert_eq!(missing(&ledger, Absence::Missing), [4, 3, 2]);
    assert!(accept(&ledger, &[&stale, &other]).is_empty());
    assert_eq!(missing(&ledger, Absence::Missing), [3]);
    drop(ledger);
    disk.check(|ledger| assert_eq!((clear(ledger, "a"), clear(ledger, "b")), (String::new(), "1".into())));
    assert!(accept(&disk.ledger(), &[&newest, &newest]).is_empty());
    disk.check(|ledger| {
        assert_eq!(clear(ledger, "a"), "2");
        assert_eq!(keys(ledger, 2), Some("a".to_owned()), "old values are kept for other peers");
        assert_eq!(missing(ledger, Absence::Missing), [0; 0]);
    });
    // A second time it is known already.
    assert!(accept(&disk.ledger(), &[&stale, &newest]).is_empty());
}

#[test]
fn a_value_that_is_overtaken_later_is_as_stale_after_a_rebuild() {
    let mut disk = Disk::new();
    let ledger = disk.ledger();
    let early = write(&ledger, false, "a", "1");
    accept(&ledger, &[&early]);
    let overtaking = write(&ledger, false, "a", "2");
    drop(ledger);
    // Fabric leaves the old value too; reading it is refused, because its hash has another version.
    disk.check(|ledger| assert_eq!(clear(ledger, "a"), "(1)"));
    accept(&disk.ledger(), &[&overtaking]);
    disk.check(|ledger| assert_eq!(clear(ledger, "a"), "2"));
}

#[test]
fn wrong_values_are_given_back_and_never_stored() {
    let disk = Disk::new();
    let ledger = disk.ledger();
    let right = write(&ledger, false, "a", "1");
    let wrong = |change: fn(&mut PrivateSet)| {
        let mut set = right.clone();
        change(&mut set);
        let place = set.place.clone();
        let rejected = accept(&ledger, &[&set]);
        assert_eq!(rejected.iter().map(|set| &set.place).collect::<Vec<_>>(), [&place]);
        rejected[0].reason
    };
    let other_value = |set: &mut PrivateSet| {
        let mut builder = RwSetBuilder::new();
        builder.private_write("cc", COLLECTION, "a", "2".into());
        set.writes = builder.build().1.unwrap().namespaces[0].collections[0].clone();
    };
    assert_eq!(wrong(other_value), Unproven::Mismatch.into());
    assert_eq!(wrong(|set| set.writes = CollectionPrivateRwSet::default()), Unproven::Incomplete.into());
    assert_eq!(wrong(|set| set.place.collection = "short".to_owned()), Rejection::NotAnnounced);
    assert_eq!(wrong(|set| set.place.tx = 9), Rejection::NotAnnounced);
    assert_eq!(wrong(|set| set.place.block = BlockNumber::new(1)), Rejection::NotAnnounced);
    assert_eq!(wrong(|set| set.place.block = BlockNumber::new(99)), Rejection::NotAnnounced);
    assert_eq!((keys(&ledger, 2), missing(&ledger, Absence::Missing)), (None, vec![2]));
    // Nobody has it: it is looked for later, and is taken also then.
    ledger.accept_private_data(vec![], std::slice::from_ref(&right.place)).unwrap();
    assert_eq!((missing(&ledger, Absence::Missing), missing(&ledger, Absence::NotFound)), (vec![], vec![2]));
    assert!(accept(&ledger, &[&right]).is_empty());
    assert_eq!((clear(&ledger, "a"), missing(&ledger, Absence::NotFound)), ("1".to_owned(), vec![]));
}

#[test]
fn private_data_of_invalid_transactions_is_kept_beside_the_state() {
    let mut disk = Disk::new();
    let ledger = disk.ledger();
    let fill = |set: &mut RwSetBuilder| set.private_write("cc", COLLECTION, "a", "1".into());
    block(&ledger, ValidationCode::MvccReadConflict, true, fill);
    let late = block(&ledger, ValidationCode::EndorsementPolicyFailure, false, fill);
    assert_eq!(missing(&ledger, Absence::Missing), [3]);
    assert!(accept(&ledger, &[&late]).is_empty());
    drop(ledger);
    disk.check(|ledger| {
        assert_eq!(clear(ledger, "a"), "");
        assert_eq!((keys(ledger, 2), keys(ledger, 3)), (Some("a".into()), Some("a".into())));
    });
}

#[test]
fn a_purged_key_leaves_nothing_and_takes_nothing() {
    let mut disk = Disk::new();
    let ledger = disk.ledger();
    let two_keys = |set: &mut RwSetBuilder| {
        for key in ["a", "b"] {
            set.private_write("cc", COLLECTION, key, "1".into());
        }
    };
    block(&ledger, VALID, true, two_keys);
    let late = block(&ledger, VALID, false, two_keys);
    let only_a = write(&ledger, false, "a", "2");
    // The purge's own private writes do not come, so only what is kept here says which key is meant.
    purge(&ledger, false, "a");
    assert_eq!(keys(&ledger, 2), Some("b".to_owned()));
    assert!(accept(&ledger, &[&late, &only_a]).is_empty());
    drop(ledger);
    disk.check(|ledger| {
        assert_eq!((clear(ledger, "a"), clear(ledger, "b")), (String::new(), "1".into()));
        assert_eq!(
            [2, 3, 4, 5].map(|block| keys(ledger, block)),
            [Some("b".into()), Some("b".into()), Some(String::new()), None]
        );
        assert_eq!(missing(ledger, Absence::Missing), [5]);
    });
    let ledger = disk.ledger();
    write(&ledger, true, "a", "3");
    drop(ledger);
    disk.check(|ledger| assert_eq!((clear(ledger, "a"), keys(ledger, 6)), ("3".into(), Some("a".into()))));
}

#[test]
fn a_purge_that_a_crash_interrupted_is_finished() {
    let mut disk = Disk::new();
    write(&disk.ledger(), true, "a", "1");
    disk.ledgers = None;
    let before = tempfile::tempdir().unwrap();
    crate::recovery::copy(disk.root.path(), before.path());
    disk.ledgers = Some(open(disk.root.path()));
    let purge = purge(&disk.ledger(), false, "a").place;
    disk.ledgers = None;
    // The process ended when private store and blocks had the purge, but the state had not, and nothing was erased.
    for part in ["state", "private"] {
        disk.restore(part, before.path());
    }
    let store = PrivateStore::open(&disk.part("private")).unwrap();
    let purged = Purge {
        namespace: purge.namespace.clone(),
        collection: purge.collection.clone(),
        key_hash: Digest::of(b"a").to_bytes(),
        version: purge.height(),
    };
    let sets = BlockSets { missing: vec![purge.clone()], purges: &[purged], ..Default::default() };
    store.committed().put(purge.block, &sets).unwrap();
    drop(store);
    disk.ledgers = Some(open(disk.root.path()));
    assert_eq!((clear(&disk.ledger(), "a"), keys(&disk.ledger(), 2)), (String::new(), Some(String::new())));
    disk.ledgers = None;
    assert!(!PrivateStore::open(&disk.part("private")).unwrap().committed().has_purged().unwrap());
}

#[test]
fn metadata_that_comes_late_renews_the_value_and_values_follow_metadata() {
    let mut disk = Disk::new();
    let ledger = disk.ledger();
    let entries = BTreeMap::from([("VALIDATION_PARAMETER".to_owned(), Bytes::from_static(b"policy"))]);
    write(&ledger, true, "a", "1");
    let late_value = write(&ledger, false, "b", "1");
    let late_metadata = block(&ledger, VALID, false, |set| {
        for key in ["a", "b"] {
            set.private_write_metadata("cc", COLLECTION, key, entries.clone());
        }
    });
    assert_eq!((clear(&ledger, "a"), clear(&ledger, "b")), ("(1)".into(), String::new()));
    assert!(accept(&ledger, &[&late_value]).is_empty());
    assert_eq!((clear(&ledger, "a"), clear(&ledger, "b")), ("(1)".into(), "1".into()));
    assert!(accept(&ledger, &[&late_metadata]).is_empty());
    drop(ledger);
    disk.check(|ledger| assert_eq!((clear(ledger, "a"), clear(ledger, "b")), ("1".into(), "1".into())));
}

#[test]
fn late_values_expire_with_the_others() {
    let mut disk = Disk::new();
    let ledger = disk.ledger();
    let short = |set: &mut RwSetBuilder| set.private_write("cc", "short", "a", "1".into());
    let value = |ledger: &Ledger| ledger.snapshot().private("cc", "short", "a").unwrap().map(|found| found.value);
    // Written by block 2, to expire with block 4.
    let late = block(&ledger, VALID, false, short);
    write(&ledger, true, "x", "1");
    assert!(accept(&ledger, &[&late]).is_empty());
    assert_eq!(value(&ledger).unwrap(), "1");
    write(&ledger, true, "x", "2");
    drop(ledger);
    disk.check(|ledger| assert_eq!((value(ledger), keys(ledger, 2)), (None, None)));
    let ledger = disk.ledger();
    assert_eq!(accept(&ledger, &[&late])[0].reason, Rejection::Expired);
    // What was missing when it expired is missed no more.
    block(&ledger, VALID, false, short);
    assert_eq!(missing(&ledger, Absence::Missing), [5]);
    write(&ledger, true, "x", "3");
    write(&ledger, true, "x", "4");
    assert_eq!(missing(&ledger, Absence::Missing), [0; 0]);
}

#[test]
fn what_a_lost_block_left_counts_when_it_comes_again() {
    let mut disk = Disk::new();
    let ledger = disk.ledger();
    let mut builder = RwSetBuilder::new();
    builder.private_write("cc", COLLECTION, "a", "1".into());
    let (public, private) = builder.build();
    let raw = transaction("again", &public);
    let whole = tempfile::tempdir().unwrap();
    drop(ledger);
    disk.ledgers = None;
    crate::recovery::copy(disk.root.path(), whole.path());
    disk.ledgers = Some(open(disk.root.path()));
    let ledger = disk.ledger();
    let validated = next_block(&ledger, &[(raw.clone(), VALID)]);
    ledger.commit(validated, PrivateData::from(BTreeMap::from([(0, private.unwrap())]))).unwrap();
    drop(ledger);
    disk.ledgers = None;
    // The block is lost, the private store is not; and the transient store has forgotten.
    for part in ["blocks", "state"] {
        disk.restore(part, whole.path());
    }
    disk.ledgers = Some(open(disk.root.path()));
    let ledger = disk.ledger();
    assert_eq!((keys(&ledger, 2), clear(&ledger, "a")), (None, String::new()));
    ledger.commit(next_block(&ledger, &[(raw, VALID)]), PrivateData::default()).unwrap();
    drop(ledger);
    disk.check(|ledger| {
        assert_eq!((keys(ledger, 2), clear(ledger, "a")), (Some("a".into()), "1".into()));
        assert_eq!(missing(ledger, Absence::Missing), [0; 0]);
    });
}

#[test]
fn what_was_kept_out_is_missing_when_its_collection_opens() {
    let mut disk = Disk::new();
    let ledger = disk.ledger();
    let mut builder = RwSetBuilder::new();
    builder.private_write("cc", COLLECTION, "a", "1".into());
    let (public, private) = builder.build();
    let name = ("cc".to_owned(), COLLECTION.to_owned());
    let private_data = PrivateData::default().ineligible_for([name.clone()]);
    ledger.commit(next_block(&ledger, &[(transaction("out", &public), VALID)]), private_data).unwrap();
    assert_eq!((missing(&ledger, Absence::Missing), missing(&ledger, Absence::Ineligible)), (vec![], vec![2]));
    let private_data = PrivateData::default().opening([name]);
    ledger.commit(next_block(&ledger, &[]), private_data).unwrap();
    let found = ledger.missing_private_data(Absence::Missing, BlockNumber::new(2), 1).unwrap();
    assert_eq!((found.len(), missing(&ledger, Absence::Ineligible)), (1, vec![]));
    let writes = private.unwrap().namespaces[0].collections[0].clone();
    assert!(accept(&ledger, &[&PrivateSet { place: found[0].clone(), writes }]).is_empty());
    drop(ledger);
    disk.check(|ledger| assert_eq!((clear(ledger, "a"), missing(ledger, Absence::Missing)), ("1".into(), vec![])));
}

#[test]
fn readers_choose_collections() {
    let disk = Disk::new();
    let ledger = disk.ledger();
    write(&ledger, true, "a", "1");
    let found = |wanted: fn(&str, &str) -> bool| ledger.private_data(BlockNumber::new(2), wanted).unwrap().len();
    assert_eq!(found(|namespace, collection| (namespace, collection) == ("cc", COLLECTION)), 1);
    assert_eq!(found(|_, collection| collection == "short"), 0);
    assert!(ledger.private_data(BlockNumber::new(3), |_, _| true).unwrap().is_empty());
}
