//! All engines behave as one ordered map, long keys included.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use ripstop_files::{End, Fault, SimulatedDisk};
use ripstop_kv::{Batch, Durability, Keyspace, KvError, Options, Reads, Store, set_aside};

const KEYS: Keyspace = Keyspace { name: "keys", reads: Reads::Point };
const OTHER: Keyspace = Keyspace { name: "other", reads: Reads::Range };

fn simulated_on(disk: &SimulatedDisk) -> Result<Store, KvError> {
    Store::open_on(&disk.file_system(), Path::new("/store"), &[KEYS, OTHER], Options::default())
}

/// Short keys over few letters, and long ones with equal beginnings.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff)], 1..5),
        1 => (59_999usize..60_003, proptest::collection::vec(0u8..3, 0..3)).prop_map(|(length, tail)| {
            let mut key = vec![1; length];
            key.extend(tail);
            key
        }),
    ]
}

fn check(store: &Store, expected: &BTreeMap<Vec<u8>, Bytes>, bounds: &[(Vec<u8>, Vec<u8>)]) {
    let snapshot = store.snapshot();
    for (key, value) in expected {
        assert_eq!(snapshot.get(&KEYS, key).unwrap().as_ref(), Some(value));
    }
    let all: Vec<_> = snapshot.range(&KEYS, &[], None).unwrap().map(Result::unwrap).collect();
    let wanted: Vec<_> = expected.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    assert!(all == wanted, "the whole range differs");
    for (start, end) in bounds {
        let found: Vec<_> = snapshot.range(&KEYS, start, Some(end)).unwrap().map(|pair| pair.unwrap().0).collect();
        let wanted: Vec<_> = expected.keys().filter(|key| *key >= start && *key < end).cloned().collect();
        assert!(found == wanted, "a part of the range differs");
        assert_eq!(snapshot.get(&KEYS, start).unwrap(), expected.get(start).cloned());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_store_is_an_ordered_map(
        batches in proptest::collection::vec(
            proptest::collection::vec((key(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4))), 1..12),
            1..5,
        ),
        bounds in proptest::collection::vec((key(), key()), 1..6),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Store::open(directory.path(), &[KEYS, OTHER], Options::default()).unwrap();
        let memory = Store::memory(&[KEYS, OTHER]);
        let simulated_disk = SimulatedDisk::new(1);
        let simulated = simulated_on(&simulated_disk).unwrap();
        let mut expected = BTreeMap::new();
        for changes in batches {
            for store in [&disk, &memory, &simulated] {
                let mut batch = Batch::new();
                for (key, value) in &changes {
                    match value {
                        Some(value) => batch.put(&KEYS, key.clone(), value.clone()),
                        None => batch.delete(&KEYS, key.clone()),
                    }
                }
                store.write(batch, Durability::Buffered).unwrap();
            }
            for (key, value) in changes {
                match value {
                    Some(value) => expected.insert(key, value.into()),
                    None => expected.remove(&key),
                };
            }
            check(&disk, &expected, &bounds);
            check(&memory, &expected, &bounds);
            check(&simulated, &expected, &bounds);
        }
        drop((disk, simulated));
        check(&simulated_on(&simulated_disk).unwrap(), &expected, &bounds);
        let reopened = Store::open(directory.path(), &[KEYS, OTHER], Options::default()).unwrap();
        check(&reopened, &expected, &bounds);
    }
}

#[test]
fn a_snapshot_does_not_see_later_batches() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Store::open(directory.path(), &[KEYS], Options::default()).unwrap();
    for store in [disk, Store::memory(&[KEYS])] {
        let put = |value: &'static str| {
            let mut batch = Batch::new();
            batch.put(&KEYS, *b"k", value);
            store.write(batch, Durability::Synced).unwrap();
        };
        put("one");
        let before = store.snapshot();
        let scan = before.range(&KEYS, b"a", None).unwrap();
        put("two");
        assert_eq!(before.get(&KEYS, b"k").unwrap().unwrap(), "one");
        assert_eq!(scan.map(|pair| pair.unwrap().1).collect::<Vec<_>>(), ["one"]);
        assert_eq!(store.snapshot().get(&KEYS, b"k").unwrap().unwrap(), "two");
    }
}

#[test]
fn prefixes_and_unknown_keyspaces() {
    let store = Store::memory(&[KEYS]);
    let mut batch = Batch::new();
    for key in [&[1][..], &[1, 0xff], &[1, 0xff, 0xff, 0], &[2], &[0xff, 0xff]] {
        batch.put(&KEYS, key, "");
    }
    store.write(batch, Durability::Buffered).unwrap();
    let count = |prefix: &[u8]| store.snapshot().prefix(&KEYS, prefix).unwrap().count();
    assert_eq!([count(&[1]), count(&[1, 0xff]), count(&[0xff]), count(&[])], [3, 2, 1, 5]);
    assert!(store.snapshot().get(&OTHER, b"k").is_err());
    let mut batch = Batch::new();
    batch.put(&KEYS, [], "");
    assert!(store.write(batch, Durability::Buffered).is_err());
}

#[test]
fn a_store_in_use_is_not_taken_for_a_damaged_one() {
    let directory = tempfile::tempdir().unwrap();
    let _held = Store::open(directory.path(), &[KEYS], Options::default()).unwrap();
    let Err(refused) = Store::open(directory.path(), &[KEYS], Options::default()) else { panic!("opened twice") };
    assert!(!refused.is_of_content());
    let file = directory.path().join("file");
    std::fs::write(&file, b"no directory").unwrap();
    let Err(refused) = Store::open(&file, &[KEYS], Options::default()) else { panic!("opened a file") };
    assert!(refused.is_of_content());
}

#[test]
fn a_damaged_store_can_be_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    for _ in 0..2 {
        let store = Store::open(&path, &[KEYS], Options::default()).unwrap();
        let mut batch = Batch::new();
        batch.put(&KEYS, *b"k", "v");
        store.write(batch, Durability::Synced).unwrap();
        drop(store);
        let aside = set_aside(&path).unwrap();
        assert!(aside.exists() && !path.exists());
    }
    assert!(Store::open(&path, &[KEYS], Options::default()).unwrap().snapshot().get(&KEYS, b"k").unwrap().is_none());
}

#[test]
fn on_a_failing_disk_a_batch_is_there_as_a_whole_or_not_at_all() {
    const BATCHES: u8 = 12;
    let key = |batch: u8, place: u8| vec![batch, place];
    for seed in 0..200 {
        let disk = SimulatedDisk::new(seed);
        let faults = [Fault::PowerLoss, Fault::Kill, Fault::Full, Fault::WriteError, Fault::SyncError];
        let fault = faults[seed as usize % faults.len()];
        let store = simulated_on(&disk).unwrap();
        disk.arm(fault, seed / 10);
        let (mut written, mut safe) = (0, 0);
        for number in 0..BATCHES {
            let mut batch = Batch::new();
            (0..3).for_each(|place| batch.put(&KEYS, key(number, place), vec![number; 400]));
            let durability = if number % 3 == 2 { Durability::Synced } else { Durability::Buffered };
            if store.write(batch, durability).is_err() {
                let refused = store.write(Batch::new(), Durability::Buffered);
                assert!(matches!(refused, Err(KvError::Failed)));
                break;
            }
            written = number + 1;
            if durability == Durability::Synced {
                safe = written;
            }
        }
        if !matches!(fault, Fault::PowerLoss | Fault::Kill) {
            assert_eq!(store.snapshot().range(&KEYS, &[], None).unwrap().count(), usize::from(written) * 3);
        }
        drop(store);
        let (end, least) = if fault == Fault::PowerLoss { (End::Machine, safe) } else { (End::Process, written) };
        disk.restart(end);
        let found = simulated_on(&disk).unwrap().snapshot().entries(&[KEYS]).unwrap();
        let batches = u8::try_from(found["keys"].len() / 3).unwrap();
        assert!((least..=written + 1).contains(&batches), "seed {seed}, {fault:?}: {least} {batches} {written}");
        let expected =
            (0..batches).flat_map(|number| (0..3).map(move |place| (key(number, place), vec![number; 400].into())));
        assert_eq!(found["keys"], expected.collect(), "seed {seed}, {fault:?}");
    }
}

#[test]
fn after_a_failed_write_the_journals_are_made_safe_before_they_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Store::open(directory.path(), &[KEYS], Options::default()).unwrap();
    let mut batch = Batch::new();
    batch.put(&KEYS, *b"k", "v");
    open().write(batch, Durability::Synced).unwrap();
    let mark = directory.path().join("write-failed");
    std::fs::write(&mark, "").unwrap();
    assert_eq!(open().snapshot().get(&KEYS, b"k").unwrap().unwrap(), "v");
    assert!(!mark.exists());
}

#[test]
fn a_read_that_fails_is_an_error_and_nothing_else() {
    let disk = SimulatedDisk::new(1);
    let store = simulated_on(&disk).unwrap();
    disk.arm(Fault::ReadError, 0);
    assert!(matches!(store.snapshot().get(&KEYS, b"k"), Err(KvError::File(_))));
    assert_eq!(store.snapshot().get(&KEYS, b"k").unwrap(), None);
    store.write(Batch::new(), Durability::Synced).unwrap();
}
