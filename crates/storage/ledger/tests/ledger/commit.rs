use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ripstop_ledger::{CommitError, CreateError, PrivateData, StateView};
use ripstop_types::{Block, BlockNumber, Digest, TxId, ValidationCode};

use crate::chain::{VALID, channel, commit, genesis, grow, next_block, only, open, put, set, transaction};

#[test]
fn a_new_ledger_holds_its_first_block_and_configuration() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    assert!(ledgers.list().is_empty());
    let ledger = ledgers.create(genesis()).unwrap();
    assert_eq!(ledgers.list(), [channel()]);
    assert_eq!((ledger.height(), ledger.snapshot().height()), (1, 1));
    assert_eq!(ledger.info().current_hash, genesis().header.hash().to_bytes());
    assert!(ledger.info().previous_hash.is_empty());
    assert!(ledger.commit_hash().is_empty());
    assert_eq!(ledger.config().channel_id(), &channel());
    let stored = ledger.block(BlockNumber::GENESIS).unwrap().unwrap();
    assert_eq!(stored.metadata.validation_codes().unwrap().as_slice(), [VALID]);
    let id = genesis().config_envelope().unwrap().channel_header.tx_id;
    assert_eq!(ledger.validation_code(&id).unwrap(), Some((VALID, BlockNumber::GENESIS)));
    assert!(matches!(ledgers.create(genesis()), Err(CreateError::Exists { .. })));
}

#[test]
fn only_a_first_block_makes_a_ledger_and_a_failure_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let mut second = genesis();
    second.header.number = BlockNumber::new(1);
    assert!(matches!(ledgers.create(second), Err(CreateError::NotGenesis(_))));
    let no_config = Block::new(BlockNumber::GENESIS, Bytes::new(), vec![put("t", "k", "v")]);
    assert!(matches!(ledgers.create(no_config), Err(CreateError::Config(_))));
    let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["fileLock"]);
    // What a crash left of an attempt goes away.
    let left = root.path().join(".creating-golden");
    std::fs::create_dir_all(left.join("blocks")).unwrap();
    drop(ledgers);
    let ledgers = open(root.path());
    assert!(!left.exists());
    std::fs::create_dir_all(left.join("blocks")).unwrap();
    ledgers.create(genesis()).unwrap();
}

#[test]
fn committed_transactions_are_found_by_id_and_block_hash() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    let (good, bad) = (put("good", "k", "v"), put("bad", "k", "w"));
    commit(&ledger, &[(bad.clone(), ValidationCode::MvccReadConflict), (good.clone(), VALID)]);
    let found = ledger.transaction(&TxId::new("good")).unwrap().unwrap();
    assert_eq!((found.envelope, found.code, found.block), (good, VALID, BlockNumber::new(1)));
    let found = ledger.transaction(&TxId::new("bad")).unwrap().unwrap();
    assert_eq!((found.envelope, found.code), (bad, ValidationCode::MvccReadConflict));
    assert!(ledger.transaction(&TxId::new("none")).unwrap().is_none());
    let block = ledger.block(BlockNumber::new(1)).unwrap().unwrap();
    assert_eq!(ledger.block_by_hash(&block.header.hash()).unwrap().unwrap(), block);
    assert_eq!(ledger.block_by_tx_id(&TxId::new("bad")).unwrap().unwrap(), block);
    assert!(ledger.block_by_hash(&Digest::of(b"none")).unwrap().is_none());
    assert_eq!(ledger.snapshot().get("cc", "k").unwrap().unwrap().value, "v");
    assert!(ledger.snapshot().has_transaction(&TxId::new("bad")).unwrap());
}

#[test]
fn the_first_of_several_transactions_with_one_id_counts() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    let id = TxId::new("same");
    let (first, second) = (put("same", "k", "1"), put("same", "k", "2"));
    commit(&ledger, &[(first.clone(), VALID), (second.clone(), ValidationCode::DuplicateTxid)]);
    commit(&ledger, &[(second, ValidationCode::DuplicateTxid)]);
    let found = ledger.transaction(&id).unwrap().unwrap();
    assert_eq!((found.envelope, found.code, found.block), (first, VALID, BlockNumber::new(1)));
}

#[test]
fn history_gives_the_newest_change_first_with_deletes_and_without_failures() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    commit(&ledger, &[(put("a", "k", "1"), VALID), (put("b", "k", "2"), VALID)]);
    commit(&ledger, &[(put("c", "k", "3"), ValidationCode::EndorsementPolicyFailure), (put("d", "other", "x"), VALID)]);
    commit(&ledger, &[(put("e", "k", ""), VALID)]);
    commit(&ledger, &[(put("f", "k", "4"), VALID)]);
    let changes: Vec<(String, String, bool)> = ledger
        .history("cc", "k")
        .unwrap()
        .map(|change| {
            let change = change.unwrap();
            let value = String::from_utf8(change.value.to_vec()).unwrap();
            (change.tx_id.as_str().to_owned(), value, change.is_delete)
        })
        .collect();
    let expected = [("f", "4", false), ("e", "", true), ("b", "2", false), ("a", "1", false)];
    assert_eq!(changes, expected.map(|(id, value, deleted)| (id.to_owned(), value.to_owned(), deleted)));
    assert_eq!(ledger.history("cc", "ke").unwrap().count(), 0);
}

#[test]
fn a_block_out_of_turn_is_refused_and_harms_nothing() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    let early = next_block(&ledger, &[(put("a", "k", "1"), VALID)]);
    commit(&ledger, &[(put("b", "k", "2"), VALID)]);
    let refused = ledger.commit(early, PrivateData::default());
    assert!(matches!(refused, Err(CommitError::NotNext { height: 2, .. })));
    grow(&ledger, 1);
    assert_eq!(ledger.height(), 3);
}

#[test]
fn keys_longer_than_the_engine_takes_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    let long: Vec<String> = ["a", "b", "c"].map(|last| "x".repeat(70_000) + last).to_vec();
    let changes = set(|set| {
        for key in &long {
            set.write("cc", key, "v".into());
        }
        set.private_write("_lifecycle", "_implicit_org_Org1MSP", &long[0], "p".into());
    });
    commit(&ledger, &[(transaction("t", &changes), VALID)]);
    drop((ledger, ledgers));
    let ledgers = open(root.path());
    let ledger = only(&ledgers);
    let state = ledger.snapshot();
    assert_eq!(state.get("cc", &long[1]).unwrap().unwrap().value, "v");
    let keys: Vec<String> = state.range("cc", &long[1], "").unwrap().map(|pair| pair.unwrap().0).collect();
    assert!(keys == long[1..]);
    assert_eq!(ledger.history("cc", &long[2]).unwrap().count(), 1);
}

#[tokio::test]
async fn followers_see_the_state_of_the_blocks_they_get() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    let mut follower = ledger.follow(BlockNumber::GENESIS);
    let follow = async {
        for number in 0..6 {
            let block = follower.next().await.unwrap();
            assert_eq!(block.number(), BlockNumber::new(number));
            assert!(ledger.snapshot().height() > number && *ledger.heights().borrow() > number);
        }
    };
    let write = async {
        for _ in 0..5 {
            grow(&ledger, 1);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(follow, write);
}

#[test]
fn readers_never_see_half_a_block() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    grow(&ledger, 1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let state = ledger.snapshot();
                    let last = state.get("cc", "last").unwrap().unwrap();
                    assert_eq!(last.value, (state.height() - 1).to_string());
                    assert_eq!(last.version.block.get(), state.height() - 1);
                    let own = format!("key{:03}", state.height() - 1);
                    assert!(state.get("cc", &own).unwrap().is_some());
                    let id = TxId::new(&format!("tx{}", state.height()));
                    assert!(!state.has_transaction(&id).unwrap());
                }
            });
        }
        grow(&ledger, 60);
        done.store(true, Ordering::Relaxed);
    });
}
