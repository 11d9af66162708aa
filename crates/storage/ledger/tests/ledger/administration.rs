//! What an operator does to the ledgers of a peer that does not run.

use std::path::Path;
use std::sync::Arc;

use ripstop_ledger::{CreateError, Ledger, LedgerStatus, Ledgers, PrivateData, StoppedLedgers};
use ripstop_rwset::{RwSetBuilder, TxPrivateRwSet, TxRwSet};
use ripstop_types::{Block, BlockNumber};
use ripstop_validation::ValidatedBlock;

use crate::chain::{VALID, channel, contents, genesis, grow, next_block, only, open, transaction};
use crate::recovery::copy;

const CHANNEL: &str = "golden";

/// A ledger of eight blocks with private data in the middle: its root, what readers see, and its blocks.
fn ledger() -> (tempfile::TempDir, Vec<String>, Vec<Arc<Block>>) {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    grow(&ledger, 3);
    let (public, private) = private_write();
    let block = next_block(&ledger, &[(transaction("private", &public), VALID)]);
    ledger.commit(block, PrivateData::from(std::collections::BTreeMap::from([(0, private)]))).unwrap();
    grow(&ledger, 3);
    let blocks = (0..ledger.height()).map(|number| ledger.block(BlockNumber::new(number)).unwrap().unwrap()).collect();
    (root, contents(&ledger), blocks)
}

fn private_write() -> (TxRwSet, TxPrivateRwSet) {
    let mut builder = RwSetBuilder::new();
    builder.private_write("_lifecycle", "_implicit_org_Org1MSP", "approved", "secret".into());
    let (public, private) = builder.build();
    (public, private.unwrap())
}

#[test]
fn other_users_of_the_machine_cannot_look_into_ledgers() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("ledgersData");
    drop(open(&root));
    assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o007, 0);
}

fn stopped(root: &Path) -> StoppedLedgers {
    StoppedLedgers::open(root).unwrap()
}

/// Commits what follows in `blocks`, as it comes from an orderer: nobody sends the private data again.
fn catch_up(ledger: &Ledger, blocks: &[Arc<Block>]) {
    for block in &blocks[ledger.height() as usize..] {
        let block = ValidatedBlock::replay(Block::clone(block), &*ledger.snapshot()).unwrap();
        ledger.commit(block, PrivateData::default()).unwrap();
    }
}

fn refusal<T>(result: Result<T, ripstop_ledger::AdministrationError>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn a_channel_taken_back_to_any_block_comes_to_the_same_state_again() {
    let (source, seen, blocks) = ledger();
    for last in 0..7 {
        let root = tempfile::tempdir().unwrap();
        copy(source.path(), root.path());
        stopped(root.path()).roll_back(CHANNEL, BlockNumber::new(last)).unwrap();
        let ledgers = open(root.path());
        let ledger = only(&ledgers);
        assert_eq!((ledger.height(), ledger.snapshot().height()), (last + 1, last + 1));
        assert!(ledgers.any_behind());
        catch_up(&ledger, &blocks[..7]);
        assert_eq!(ledger.former_height(), Some(8));
        catch_up(&ledger, &blocks);
        assert!(!ledgers.any_behind());
        assert_eq!(contents(&ledger), seen);
        drop((ledger, ledgers));
        let ledgers = open(root.path());
        assert!(!ledgers.any_behind());
        assert_eq!(contents(&only(&ledgers)), seen);
    }
}

#[test]
fn the_greatest_height_counts_when_a_channel_is_taken_back_several_times() {
    let (root, seen, blocks) = ledger();
    stopped(root.path()).roll_back(CHANNEL, BlockNumber::new(5)).unwrap();
    stopped(root.path()).reset().unwrap();
    stopped(root.path()).reset().unwrap();
    let ledgers = open(root.path());
    let ledger = only(&ledgers);
    assert_eq!((ledger.height(), ledger.former_height()), (1, Some(8)));
    catch_up(&ledger, &blocks);
    assert_eq!(ledger.former_height(), None);
    assert_eq!(contents(&ledger), seen);
}

#[test]
fn a_rollback_that_a_crash_interrupted_is_finished_when_the_ledger_is_opened() {
    let (source, seen, blocks) = ledger();
    // What a crash leaves behind the record: nothing done, the state half removed, the state gone.
    let steps: [fn(&Path); 3] = [
        |_| {},
        |channel| std::fs::rename(channel.join("state"), channel.join("state.dropped")).unwrap(),
        |channel| std::fs::remove_dir_all(channel.join("state")).unwrap(),
    ];
    for step in steps {
        let root = tempfile::tempdir().unwrap();
        copy(source.path(), root.path());
        let channel = root.path().join(CHANNEL);
        std::fs::write(channel.join("rollback"), "8 2").unwrap();
        step(&channel);
        let ledgers = open(root.path());
        let ledger = only(&ledgers);
        assert_eq!((ledger.height(), ledger.former_height()), (3, Some(8)));
        assert!(!channel.join("state.dropped").exists() && !channel.join("state.unusable").exists());
        catch_up(&ledger, &blocks);
        assert_eq!(contents(&ledger), seen);
    }
    // Before the record was whole, nothing happened.
    std::fs::write(source.path().join(CHANNEL).join("rollback.new"), "8").unwrap();
    assert_eq!(contents(&only(&open(source.path()))), seen);
}

#[test]
fn what_is_derived_comes_back_from_the_blocks() {
    let (root, seen, _) = ledger();
    stopped(root.path()).drop_derived().unwrap();
    assert!(!root.path().join(CHANNEL).join("state").exists());
    let ledgers = open(root.path());
    assert_eq!(contents(&only(&ledgers)), seen);
    assert!(!ledgers.any_behind());
}

#[test]
fn a_paused_channel_is_not_opened_until_it_is_resumed() {
    let (root, seen, blocks) = ledger();
    for _ in 0..2 {
        stopped(root.path()).set_status(CHANNEL, LedgerStatus::Inactive).unwrap();
    }
    let ledgers = open(root.path());
    assert!(ledgers.list().is_empty() && ledgers.get(&channel()).is_none());
    assert_eq!(ledgers.status(&channel()), Some(LedgerStatus::Inactive));
    let refused = ledgers.create(genesis()).err().unwrap();
    assert!(matches!(refused, CreateError::Exists { .. }));
    assert_eq!(refused.to_string(), "ledger [golden] already exists with state [INACTIVE]");
    drop(ledgers);
    // It can be taken back meanwhile.
    stopped(root.path()).roll_back(CHANNEL, BlockNumber::new(3)).unwrap();
    assert!(!open(root.path()).any_behind());
    for _ in 0..2 {
        stopped(root.path()).set_status(CHANNEL, LedgerStatus::Active).unwrap();
    }
    let ledgers = open(root.path());
    assert!(ledgers.any_behind());
    catch_up(&only(&ledgers), &blocks);
    assert_eq!(contents(&only(&ledgers)), seen);
}

#[test]
fn a_channel_that_was_left_can_be_joined_again() {
    let (root, seen, blocks) = ledger();
    stopped(root.path()).unjoin(CHANNEL).unwrap();
    let ledgers = open(root.path());
    assert_eq!(ledgers.status(&channel()), None);
    let ledger = ledgers.create(genesis()).unwrap();
    catch_up(&ledger, &blocks);
    // The private data is gone with the channel.
    assert_eq!(ledger.commit_hash(), blocks[7].metadata.commit_hash().unwrap());
    assert_ne!(contents(&ledger), seen);
    drop((ledger, ledgers));
    // A crash in the middle of leaving.
    std::fs::rename(root.path().join(CHANNEL), root.path().join(".deleting-golden")).unwrap();
    assert!(open(root.path()).list().is_empty());
    assert!(!root.path().join(".deleting-golden").exists());
}

#[test]
fn what_cannot_be_done_is_refused_in_fabrics_words() {
    let (root, seen, _) = ledger();
    let ledgers = open(root.path());
    let lock = root.path().join("fileLock");
    let in_use = format!(
        "as another peer node command is executing, wait for that command to complete its execution or terminate it before retrying: lock is already acquired on file {}",
        lock.display()
    );
    assert_eq!(refusal(StoppedLedgers::open(root.path())), in_use);
    drop(ledgers);
    let stopped = stopped(root.path());
    assert_eq!(Ledgers::open(root.path(), Default::default()).err().unwrap().to_string(), in_use);
    let status = "cannot update ledger status, ledger [silver] does not exist";
    assert_eq!(refusal(stopped.set_status("silver", LedgerStatus::Inactive)), status);
    assert_eq!(refusal(stopped.unjoin("silver")), format!("unjoin channel [silver]: {status}"));
    assert_eq!(refusal(stopped.roll_back("../golden", BlockNumber::GENESIS)), "ledgerID [../golden] does not exist");
    for target in [7, 8, u64::MAX] {
        let expected = format!("target block number [{target}] should be less than the biggest block number [7]");
        assert_eq!(refusal(stopped.roll_back(CHANNEL, BlockNumber::new(target))), expected);
    }
    drop(stopped);
    assert_eq!(contents(&only(&open(root.path()))), seen);
}

#[test]
fn a_peer_with_a_channel_from_a_snapshot_takes_no_channel_back() {
    let (root, seen, _) = ledger();
    // What marks such a ledger.
    let marked = root.path().join("silver");
    std::fs::create_dir_all(marked.join("snapshot")).unwrap();
    let stopped = stopped(root.path());
    let because = "because the peer contains channel(s) [silver] that were bootstrapped from snapshot";
    let refusals = [
        (refusal(stopped.roll_back(CHANNEL, BlockNumber::GENESIS)), "cannot rollback any channel"),
        (refusal(stopped.reset()), "cannot reset channels"),
        (refusal(stopped.drop_derived()), "cannot rebuild databases"),
    ];
    for (refusal, what) in refusals {
        assert_eq!(refusal, format!("{what} {because}"));
    }
    stopped.unjoin("silver").unwrap();
    drop(stopped);
    assert_eq!(contents(&only(&open(root.path()))), seen);
}
