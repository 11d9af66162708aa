use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ripstop_ledger::{LedgerOptions, LedgerStatus, Ledgers, OpenError, PrivateData};
use ripstop_private_store::{BlockSets, PrivatePlace, PrivateSet};
use ripstop_rwset::TxPrivateRwSet;
use ripstop_types::BlockNumber;

use crate::chain::{VALID, contents, genesis, grow, next_block, only, open, transaction};

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn part(root: &Path, name: &str) -> PathBuf {
    root.join("golden").join(name)
}

fn private_write(value: &str) -> (ripstop_rwset::TxRwSet, TxPrivateRwSet) {
    let mut builder = ripstop_rwset::RwSetBuilder::new();
    builder.private_write("_lifecycle", "_implicit_org_Org1MSP", "approved", value.to_owned().into());
    let (public, private) = builder.build();
    (public, private.unwrap())
}

fn gathered(writes: TxPrivateRwSet) -> PrivateData {
    PrivateData::from(BTreeMap::from([(0, writes)]))
}

/// A ledger with private data in its middle: its root, and what readers see.
fn ledger() -> (tempfile::TempDir, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    grow(&ledger, 3);
    let (public, private) = private_write("secret");
    let block = next_block(&ledger, &[(transaction("private", &public), VALID)]);
    ledger.commit(block, gathered(private)).unwrap();
    grow(&ledger, 3);
    let seen = contents(&ledger);
    assert!(seen.iter().any(|line| line.contains("secret")));
    (root, seen)
}

#[test]
fn an_opened_ledger_equals_the_closed_one() {
    let (root, seen) = ledger();
    for _ in 0..2 {
        let ledgers = open(root.path());
        assert_eq!(contents(&only(&ledgers)), seen);
    }
    let ledgers = open(root.path());
    grow(&only(&ledgers), 2);
    assert!(!part(root.path(), "state.unusable").exists());
}

#[test]
fn a_state_that_lags_is_brought_up_from_the_blocks() {
    let (root, seen) = ledger();
    for lag_at in 0..4 {
        // The state as it was at some height, under all blocks: the process ended between block and state.
        let older = tempfile::tempdir().unwrap();
        let ledgers = open(older.path());
        let ledger = ledgers.create(genesis()).unwrap();
        if lag_at > 0 {
            grow(&ledger, lag_at);
        }
        drop((ledger, ledgers));
        let test = tempfile::tempdir().unwrap();
        copy(root.path(), test.path());
        std::fs::remove_dir_all(part(test.path(), "state")).unwrap();
        copy(&part(older.path(), "state"), &part(test.path(), "state"));
        let ledgers = open(test.path());
        assert_eq!(contents(&only(&ledgers)), seen);
        assert!(!part(test.path(), "state.unusable").exists(), "the state was continued, not rebuilt");
    }
}

#[test]
fn a_state_that_is_gone_or_garbage_is_rebuilt() {
    let (root, seen) = ledger();
    let damages: [fn(&Path); 4] = [
        |state| std::fs::remove_dir_all(state).unwrap(),
        |state| {
            for entry in std::fs::read_dir(state).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    std::fs::write(path, b"garbage").unwrap();
                }
            }
        },
        |state| {
            std::fs::remove_dir_all(state).unwrap();
            std::fs::write(state, b"a file").unwrap();
        },
        |state| {
            for entry in std::fs::read_dir(state).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    std::fs::remove_dir_all(path).unwrap();
                }
            }
        },
    ];
    for damage in damages {
        let test = tempfile::tempdir().unwrap();
        copy(root.path(), test.path());
        damage(&part(test.path(), "state"));
        let ledgers = open(test.path());
        assert_eq!(contents(&only(&ledgers)), seen);
        grow(&only(&ledgers), 1);
    }
}

#[test]
fn a_state_of_another_history_is_rebuilt() {
    let (root, seen) = ledger();
    let other = tempfile::tempdir().unwrap();
    let ledgers = open(other.path());
    grow(&ledgers.create(genesis()).unwrap(), 5);
    drop(ledgers);
    std::fs::remove_dir_all(part(root.path(), "state")).unwrap();
    copy(&part(other.path(), "state"), &part(root.path(), "state"));
    let ledgers = open(root.path());
    assert_eq!(contents(&only(&ledgers)), seen);
    assert!(part(root.path(), "state.unusable").exists());
}

#[test]
fn a_state_ahead_of_the_blocks_is_rebuilt_and_the_lost_block_taken_again() {
    let (root, seen) = ledger();
    let before = tempfile::tempdir().unwrap();
    copy(root.path(), before.path());
    let ledgers = open(root.path());
    let ledger = only(&ledgers);
    let block = next_block(&ledger, &[(crate::chain::put("late", "k", "v"), VALID)]);
    let again = block.block().clone();
    ledger.commit(block, PrivateData::default()).unwrap();
    drop((ledger, ledgers));
    let file = |root: &Path| part(root, "blocks").join("blockfile_000000");
    let shorter = std::fs::metadata(file(before.path())).unwrap().len();
    let longer = std::fs::metadata(file(root.path())).unwrap().len();
    for length in (shorter..longer).step_by(((longer - shorter) / 8) as usize) {
        let test = tempfile::tempdir().unwrap();
        copy(root.path(), test.path());
        std::fs::OpenOptions::new().write(true).open(file(test.path())).unwrap().set_len(length).unwrap();
        // Without those, which say that the block was written safely, nobody misses it.
        std::fs::remove_file(part(test.path(), "blocks").join("locations")).unwrap();
        let ledgers = open(test.path());
        let ledger = only(&ledgers);
        assert_eq!(contents(&ledger), seen);
        let block = ripstop_validation::ValidatedBlock::replay(again.clone(), &*ledger.snapshot()).unwrap();
        ledger.commit(block, PrivateData::default()).unwrap();
    }
}

#[test]
fn private_data_of_a_block_that_never_came_does_no_harm() {
    let (root, _) = ledger();
    let ledgers = open(root.path());
    let ledger = only(&ledgers);
    let (public, private) = private_write("second");
    let (_, wrong) = private_write("wrong");
    let raw = transaction("second", &public);
    ledger.commit(next_block(&ledger, &[(raw, VALID)]), gathered(wrong)).unwrap();
    let after_wrong = contents(&ledger);
    assert!(
        after_wrong.iter().all(|line| !line.contains("wrong")),
        "writes that the block does not prove are not kept"
    );
    assert!(after_wrong.iter().any(|line| line.contains("secret")));
    drop((ledger, ledgers));
    // The writes were stored, then the process ended before the block: the block comes again, with better writes.
    let store = ripstop_private_store::PrivateStore::open(&part(root.path(), "private")).unwrap();
    let ns = &private.namespaces[0];
    let place = PrivatePlace {
        block: BlockNumber::new(9),
        tx: 7,
        namespace: ns.namespace.clone(),
        collection: ns.collections[0].collection.clone(),
    };
    let present = vec![PrivateSet { place, writes: ns.collections[0].clone() }];
    store.committed().put(BlockNumber::new(9), &BlockSets { present, ..Default::default() }).unwrap();
    drop(store);
    let ledgers = open(root.path());
    let ledger = only(&ledgers);
    assert_eq!(contents(&ledger), after_wrong);
    let raw = transaction("third", &public);
    ledger.commit(next_block(&ledger, &[(raw, VALID)]), gathered(private)).unwrap();
    assert!(contents(&ledger).iter().any(|line| line.contains("second")));
}

#[test]
fn contents_tell_what_differs() {
    let (root, _) = ledger();
    let (one, other) = (open(root.path()), tempfile::tempdir().unwrap());
    let contents = only(&one).contents().unwrap();
    assert_eq!(contents.height(), only(&one).height());
    copy(root.path(), other.path());
    let other = open(other.path());
    assert_eq!(contents.differences(&only(&other).contents().unwrap()), Vec::<String>::new());
    assert_eq!(contents, only(&other).contents().unwrap());
    grow(&only(&other), 1);
    let told = contents.differences(&only(&other).contents().unwrap()).join("\n");
    assert!(told.starts_with("height: expected 8, found 9\nthe commit hashes differ"), "{told}");
    assert!(
        told.contains("last': expected '") && told.contains("found '") && told.contains("expected nothing"),
        "{told}"
    );
    assert_eq!(only(&one).contents().unwrap(), contents);
}

#[test]
fn a_ledger_in_use_is_left_alone() {
    let (root, seen) = ledger();
    let ledgers = open(root.path());
    let refused = Ledgers::open(root.path(), LedgerOptions::default());
    assert!(matches!(refused, Err(OpenError::InUse(_))));
    assert!(!part(root.path(), "state.unusable").exists());
    grow(&only(&ledgers), 1);
    assert_ne!(contents(&only(&ledgers)), seen);
}

#[test]
fn blocks_of_another_channel_are_not_opened() {
    let (root, _) = ledger();
    std::fs::rename(root.path().join("golden"), root.path().join("silver")).unwrap();
    let refused = Ledgers::open(root.path(), LedgerOptions::default());
    assert!(matches!(refused, Err(OpenError::ForeignBlocks { .. })));
}

#[test]
fn a_ledger_that_does_not_open_keeps_no_other_from_it() {
    let (root, _) = ledger();
    let height = only(&open(root.path())).height();
    let (golden, silver) = (root.path().join("golden"), root.path().join("silver"));
    std::fs::create_dir_all(silver.join("blocks")).unwrap();
    std::fs::copy(golden.join("blocks/blockfile_000000"), silver.join("blocks/blockfile_000000")).unwrap();
    let (usable, failures) = Ledgers::open_usable(root.path(), LedgerOptions::default()).unwrap();
    assert_eq!(only(&usable).height(), height);
    let [(channel, OpenError::ForeignBlocks { .. })] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!(channel.as_str(), "silver");
    // Nobody may put another in its place.
    assert_eq!(usable.status(channel), Some(LedgerStatus::Active));
    assert!(silver.exists());
}
