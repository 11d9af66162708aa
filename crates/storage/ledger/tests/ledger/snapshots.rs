use std::fs;
use std::path::{Path, PathBuf};

use ripstop_ledger::{CreateError, Ledger, LedgerOptions, Ledgers, SnapshotRequestError, StateView};
use ripstop_types::{BlockNumber, Digest, MspId, TxId};
use tempfile::TempDir;

use crate::chain::{channel, commit, genesis, grow, only, open, put};
use crate::expiry::{define, present, write};

/// The organization of peers that join.
pub(crate) fn org1() -> MspId {
    MspId::new("Org1MSP")
}

/// A peer: ledgers and snapshots.
pub(crate) struct Peer {
    place: TempDir,
    pub(crate) ledgers: Ledgers,
}

fn open_in(place: &TempDir) -> Ledgers {
    let options = LedgerOptions { snapshots: Some(place.path().join("snapshots")), ..LedgerOptions::default() };
    Ledgers::open(&place.path().join("ledgers"), options).unwrap()
}

impl Peer {
    pub(crate) fn empty() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { ledgers: open_in(&place), place }
    }

    fn with_blocks(blocks: u64) -> Self {
        let peer = Self::empty();
        grow(&peer.ledgers.create(genesis()).unwrap(), blocks);
        peer
    }

    pub(crate) fn ledger(&self) -> std::sync::Arc<Ledger> {
        only(&self.ledgers)
    }

    /// Ends without warning, and begins again.
    pub(crate) fn restart(self) -> Self {
        let Self { place, ledgers } = self;
        drop(ledgers);
        Self { ledgers: open_in(&place), place }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.place.path().join("ledgers").join(channel().as_str())
    }

    fn completed(&self, block: u64) -> PathBuf {
        self.place.path().join("snapshots/completed").join(channel().as_str()).join(block.to_string())
    }

    /// Makes a snapshot of the last block.
    pub(crate) fn snapshot(&self) -> PathBuf {
        let ledger = self.ledger();
        ledger.request_snapshot(BlockNumber::GENESIS).unwrap();
        ledger.wait_for_snapshots();
        self.completed(ledger.height() - 1)
    }

    pub(crate) fn join(snapshot: &Path) -> Self {
        let peer = Self::empty();
        peer.ledgers.create_from_snapshot(snapshot, &org1()).unwrap();
        peer
    }
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

fn replace(directory: &Path, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let content = change(fs::read(directory.join(file)).unwrap());
    fs::remove_file(directory.join(file)).unwrap();
    fs::write(directory.join(file), content).unwrap();
}

fn numbers(blocks: &[u64]) -> Vec<BlockNumber> {
    blocks.iter().map(|block| BlockNumber::new(*block)).collect()
}

fn refusal(result: Result<(), SnapshotRequestError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn requests_follow_fabrics_rules() {
    let peer = Peer::with_blocks(3);
    let ledger = peer.ledger();
    assert_eq!(
        refusal(ledger.request_snapshot(BlockNumber::new(2))),
        "requested snapshot for block number 2 cannot be less than the last committed block number 3"
    );
    ledger.request_snapshot(BlockNumber::new(6)).unwrap();
    ledger.request_snapshot(BlockNumber::new(5)).unwrap();
    assert_eq!(ledger.pending_snapshots(), numbers(&[5, 6]));
    assert_eq!(refusal(ledger.request_snapshot(BlockNumber::new(5))), "duplicate snapshot request for block number 5");
    ledger.cancel_snapshot(BlockNumber::new(6)).unwrap();
    assert_eq!(refusal(ledger.cancel_snapshot(BlockNumber::new(6))), "no snapshot request exists for block number 6");
    grow(&ledger, 2);
    ledger.wait_for_snapshots();
    assert_eq!(ledger.pending_snapshots(), []);
    assert!(peer.completed(5).exists());
    for last in [0, 5] {
        assert_eq!(
            refusal(ledger.request_snapshot(BlockNumber::new(last))),
            "snapshot already generated for block number 5"
        );
    }
}

#[test]
fn without_a_directory_there_are_no_snapshots() {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    assert!(matches!(ledger.request_snapshot(BlockNumber::new(9)), Err(SnapshotRequestError::NoDirectory)));
    assert!(matches!(ledger.cancel_snapshot(BlockNumber::new(9)), Err(SnapshotRequestError::NoDirectory)));
    assert_eq!(ledger.pending_snapshots(), []);
}

#[test]
fn a_snapshot_shows_its_block_while_others_are_committed() {
    let peer = Peer::with_blocks(2);
    let ledger = peer.ledger();
    for block in 3..8 {
        ledger.request_snapshot(BlockNumber::new(block)).unwrap();
    }
    grow(&ledger, 8);
    ledger.wait_for_snapshots();
    for block in 3..8 {
        let slow = Peer::with_blocks(block);
        assert_eq!(files(&peer.completed(block)), files(&slow.snapshot()), "block {block}");
    }
}

#[test]
fn requests_survive_and_what_a_crash_prevented_is_made_later() {
    let peer = Peer::with_blocks(4);
    peer.ledger().request_snapshot(BlockNumber::new(9)).unwrap();
    // As if it had ended while snapshots of blocks 2 and 4 were being made.
    fs::write(peer.directory().join("snapshot-requests"), "2\n4\n9\n").unwrap();
    let temporary = peer.place.path().join("snapshots/temp");
    fs::create_dir(temporary.join("golden-2")).unwrap();
    fs::write(temporary.join("golden-2/txids.data"), "half").unwrap();
    let peer = peer.restart();
    peer.ledger().wait_for_snapshots();
    assert_eq!(peer.ledger().pending_snapshots(), numbers(&[9]));
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    for block in [2, 4] {
        assert_eq!(files(&peer.completed(block)), files(&Peer::with_blocks(block).snapshot()), "block {block}");
    }
    let peer = peer.restart();
    assert_eq!(peer.ledger().pending_snapshots(), numbers(&[9]));
}

#[test]
fn what_a_failing_disk_prevented_is_made_at_the_next_start() {
    let peer = Peer::with_blocks(4);
    let ledger = peer.ledger();
    let temporary = peer.place.path().join("snapshots/temp");
    fs::remove_dir(&temporary).unwrap();
    fs::write(&temporary, "no directory").unwrap();
    ledger.request_snapshot(BlockNumber::new(4)).unwrap();
    ledger.request_snapshot(BlockNumber::new(5)).unwrap();
    grow(&ledger, 2);
    ledger.wait_for_snapshots();
    assert_eq!(ledger.pending_snapshots(), numbers(&[4, 5]));
    assert_eq!(
        refusal(ledger.request_snapshot(BlockNumber::new(4))),
        "requested snapshot for block number 4 cannot be less than the last committed block number 6"
    );
    ledger.cancel_snapshot(BlockNumber::new(5)).unwrap();
    drop(ledger);
    fs::remove_file(&temporary).unwrap();
    let peer = peer.restart();
    peer.ledger().wait_for_snapshots();
    assert_eq!(peer.ledger().pending_snapshots(), []);
    assert_eq!(files(&peer.completed(4)), files(&Peer::with_blocks(4).snapshot()));
    assert!(!peer.completed(5).exists());
}

#[test]
fn a_request_that_cannot_be_written_is_not_kept() {
    let peer = Peer::with_blocks(2);
    let ledger = peer.ledger();
    ledger.request_snapshot(BlockNumber::new(7)).unwrap();
    let new = peer.directory().join("snapshot-requests.new");
    fs::create_dir(&new).unwrap();
    for block in [2, 9] {
        let refused = refusal(ledger.request_snapshot(BlockNumber::new(block)));
        assert!(refused.starts_with("the requests for snapshots cannot be written: "), "{refused}");
    }
    ledger.cancel_snapshot(BlockNumber::new(7)).unwrap_err();
    ledger.wait_for_snapshots();
    assert_eq!(ledger.pending_snapshots(), numbers(&[7]));
    assert!(!peer.completed(2).exists());
    fs::remove_dir(&new).unwrap();
    ledger.request_snapshot(BlockNumber::new(9)).unwrap();
    assert_eq!(fs::read_to_string(peer.directory().join("snapshot-requests")).unwrap(), "7\n9\n");
}

#[test]
fn the_number_of_requests_is_bounded() {
    let peer = Peer::with_blocks(1);
    let requests: String = (1001..=2000).map(|block| format!("{block}\n")).collect();
    fs::write(peer.directory().join("snapshot-requests"), requests).unwrap();
    let peer = peer.restart();
    let refused = refusal(peer.ledger().request_snapshot(BlockNumber::new(5)));
    assert!(refused.starts_with("1000 requested snapshots are not made yet"), "{refused}");
    peer.ledger().cancel_snapshot(BlockNumber::new(1500)).unwrap();
    peer.ledger().request_snapshot(BlockNumber::new(5)).unwrap();
}

#[test]
fn who_joins_by_a_snapshot_goes_on_like_all_others() {
    let old = Peer::with_blocks(5);
    let new = Peer::join(&old.snapshot());
    let ledger = new.ledger();
    assert_eq!(ledger.height(), old.ledger().height());
    assert_eq!(ledger.commit_hash(), old.ledger().commit_hash());
    assert_eq!(ledger.info().current_hash, old.ledger().info().current_hash);
    assert_eq!(ledger.info().previous_hash, old.ledger().info().previous_hash);
    assert_eq!(ledger.info().last_block_in_snapshot, Some(BlockNumber::new(5)));
    assert_eq!(ledger.config().sequence(), old.ledger().config().sequence());
    for peer in [&old, &new] {
        grow(&peer.ledger(), 3);
    }
    assert_eq!(files(&old.snapshot()), files(&new.snapshot()));
    // And a third one joins by what the second one made.
    let third = Peer::join(&new.completed(8));
    grow(&old.ledger(), 2);
    grow(&third.ledger(), 2);
    assert_eq!(files(&old.snapshot()), files(&third.snapshot()));
}

#[test]
fn contents_behind_a_snapshot_tell_blocks_by_their_numbers() {
    let old = Peer::with_blocks(5);
    let snapshot = old.snapshot();
    let (one, other) = (Peer::join(&snapshot), Peer::join(&snapshot));
    grow(&one.ledger(), 2);
    grow(&other.ledger(), 1);
    let contents = one.ledger().contents().unwrap();
    let told = |other: &Peer| contents.differences(&other.ledger().contents().unwrap());
    assert_eq!(contents.height(), 8);
    assert_eq!(told(&other)[0], "height: expected 8, found 7");
    commit(&other.ledger(), &[]);
    assert_eq!(told(&other)[0], "block [7] is another one");
    grow(&old.ledger(), 1);
    assert_eq!(told(&old)[..2], ["first block: expected [6], found [0]", "height: expected 8, found 7"]);
    assert!(!told(&old).iter().any(|difference| difference.ends_with("is another one")));
}

#[test]
fn what_stands_before_the_snapshot_is_known_but_not_there() {
    let old = Peer::with_blocks(5);
    let new = Peer::join(&old.snapshot());
    grow(&new.ledger(), 2);
    let ledger = new.ledger();
    let (before, behind) = (TxId::new("tx3"), TxId::new("tx6"));
    assert!(ledger.snapshot().has_transaction(&before).unwrap());
    let expected =
        "details for the TXID [tx3] not available. Ledger bootstrapped from a snapshot. First available block = [6]";
    assert_eq!(ledger.transaction(&before).unwrap_err().to_string(), expected);
    assert_eq!(ledger.block_by_tx_id(&before).unwrap_err().to_string(), expected);
    assert_eq!(ledger.validation_code(&before).unwrap_err().to_string(), expected);
    assert_eq!(ledger.transaction(&behind).unwrap().unwrap().block, BlockNumber::new(6));
    assert!(ledger.transaction(&TxId::new("never")).unwrap().is_none());
    assert_eq!(
        ledger.block(BlockNumber::new(5)).unwrap_err().to_string(),
        "cannot serve block [5]. The ledger is bootstrapped from a snapshot. First available block = [6]"
    );
    assert_eq!(ledger.block(BlockNumber::new(6)).unwrap().unwrap().number(), BlockNumber::new(6));
    assert_eq!(ledger.history("cc", "last").unwrap().count(), 2);
}

#[test]
fn a_state_that_is_lost_comes_back_from_the_snapshot_and_the_blocks() {
    let old = Peer::with_blocks(4);
    let snapshot = old.snapshot();
    let new = Peer::join(&snapshot);
    fs::remove_dir_all(snapshot).unwrap();
    grow(&new.ledger(), 3);
    grow(&old.ledger(), 3);
    fs::remove_dir_all(new.directory().join("state")).unwrap();
    let new = new.restart();
    assert_eq!(files(&old.snapshot()), files(&new.snapshot()));
    // A request for an earlier block is made good from there, too.
    fs::remove_dir_all(new.completed(7)).unwrap();
    fs::write(new.directory().join("snapshot-requests"), "7\n").unwrap();
    let new = new.restart();
    grow(&new.ledger(), 1);
    new.ledger().wait_for_snapshots();
    assert_eq!(files(&old.completed(7)), files(&new.completed(7)));
    // One before the snapshot cannot be made, and is dropped.
    fs::write(new.directory().join("snapshot-requests"), "3\n").unwrap();
    let new = new.restart();
    new.ledger().wait_for_snapshots();
    assert_eq!(new.ledger().pending_snapshots(), []);
    assert!(!new.completed(3).exists());
}

#[test]
fn private_data_of_a_snapshot_expires_with_the_same_block_everywhere() {
    let old = Peer::empty();
    let ledger = old.ledgers.create(genesis()).unwrap();
    define(&ledger);
    // Written by block 2, to expire with block 4; by block 3, to expire with block 5.
    write(&ledger, &["a", "b"]);
    write(&ledger, &["b"]);
    let new = Peer::join(&old.snapshot());
    assert_eq!(present(&new.ledger()), "a:hb:h");
    for remaining in ["b:h", ""] {
        for peer in [&old, &new] {
            commit(&peer.ledger(), &[]);
        }
        assert_eq!(present(&new.ledger()), remaining);
        assert_eq!(files(&old.snapshot()), files(&new.snapshot()));
    }
}

#[test]
fn collections_are_remembered_by_the_block_that_defined_them() {
    let old = Peer::empty();
    let ledger = old.ledgers.create(genesis()).unwrap();
    define(&ledger);
    grow(&ledger, 2);
    define(&ledger);
    let new = Peer::join(&old.snapshot());
    for ledger in [old.ledger(), new.ledger()] {
        let defined = |below| {
            let found = ledger.snapshot().collections_below("cc", BlockNumber::new(below)).unwrap();
            found.map(|(block, collections)| (block.get(), collections.config.len()))
        };
        assert_eq!(defined(0), None);
        assert_eq!(defined(1), None);
        assert_eq!(defined(2), Some((1, 2)));
        assert_eq!(defined(4), Some((1, 2)));
        assert_eq!(defined(5), Some((4, 2)));
        assert_eq!(defined(u64::MAX), Some((4, 2)));
        assert!(ledger.snapshot().collections_below("c", BlockNumber::new(9)).unwrap().is_none());
    }
}

#[test]
fn a_snapshot_that_cannot_be_used_leaves_nothing() {
    let old = Peer::with_blocks(3);
    let new = Peer::empty();
    let snapshot = old.snapshot();
    let refuse = |snapshot: &Path, reason: &str| {
        let refused = new.ledgers.create_from_snapshot(snapshot, &org1()).map(drop).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
        assert!(new.ledgers.list().is_empty());
        assert!(!new.directory().exists());
    };
    refuse(&old.place.path().join("nowhere"), "No such file");
    replace(&snapshot, "public_state.data", |mut content| {
        content.push(0);
        content
    });
    refuse(&snapshot, "hash mismatch for file [public_state.data]");
    // Hashes that fit do not make sense of it.
    let forged = Digest::of(&fs::read(snapshot.join("public_state.data")).unwrap()).to_string();
    let signable = "_snapshot_signable_metadata.json";
    replace(&snapshot, signable, |content| {
        let text = String::from_utf8(content).unwrap();
        let start = text.find("public_state.data\": \"").unwrap() + "public_state.data\": \"".len();
        [&text[..start], &forged, &text[start + 64..]].concat().into_bytes()
    });
    let hash = Digest::of(&fs::read(snapshot.join(signable)).unwrap()).to_string();
    replace(&snapshot, "_snapshot_additional_metadata.json", |content| {
        let text = String::from_utf8(content).unwrap();
        let start = text.find("snapshot_hash\": \"").unwrap() + "snapshot_hash\": \"".len();
        [&text[..start], &hash, &text[start + 64..]].concat().into_bytes()
    });
    refuse(&snapshot, "public_state.data is damaged: 1 bytes follow");
    // Nothing hinders another attempt.
    grow(&old.ledger(), 1);
    new.ledgers.create_from_snapshot(&old.snapshot(), &org1()).unwrap();
    let again = new.ledgers.create_from_snapshot(&old.completed(4), &org1()).map(drop);
    assert!(matches!(again, Err(CreateError::Exists { .. })));
}

#[test]
fn a_ledger_half_made_from_a_snapshot_vanishes() {
    let old = Peer::with_blocks(3);
    let snapshot = old.snapshot();
    let new = Peer::empty();
    let half = new.place.path().join("ledgers").join(format!(".creating-{}", channel()));
    fs::create_dir_all(half.join("snapshot")).unwrap();
    fs::write(half.join("snapshot/txids.data"), "half").unwrap();
    let new = new.restart();
    assert!(!half.exists());
    new.ledgers.create_from_snapshot(&snapshot, &org1()).unwrap();
    commit(&new.ledger(), &[(put("after", "key", "value"), crate::chain::VALID)]);
    assert_eq!(new.restart().ledger().height(), 5);
}
