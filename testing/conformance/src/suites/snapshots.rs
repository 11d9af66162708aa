//! Snapshots that two Fabric peers made of the golden chain.

use std::fs;
use std::path::{Path, PathBuf};

use ripstop_snapshot::{SnapshotError, SnapshotFiles, SnapshotTip, SnapshotWriter, VerifiedSnapshot};
use tempfile::TempDir;

use super::replay::Replay;
use crate::{Fixtures, Report};

/// The peers, and the block at which they made their snapshots.
const SNAPSHOTS: [&str; 2] = ["p0-org1/101", "p0-org2/101"];

/// Where others join: while private data waits for its end, and just before a chaincode gets another collection.
const JOINS: [u64; 2] = [33, 78];

/// The files, unpacked.
pub(crate) struct Snapshots(TempDir);

impl Snapshots {
    /// Unpacks them.
    ///
    /// # Panics
    /// When there is no room for them.
    pub(crate) fn unpack() -> Self {
        Self(Fixtures::open("snapshot").unpack())
    }

    /// Their directories.
    pub(crate) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        SNAPSHOTS.iter().map(|snapshot| self.0.path().join(snapshot))
    }
}

/// Reads what Fabric wrote, and writes it again.
pub fn snapshots(report: &mut Report) {
    const READ: &str = "snapshots of peers: read and verified";
    let snapshots = Snapshots::unpack();
    for (name, directory) in SNAPSHOTS.iter().zip(snapshots.directories()) {
        let verified = SnapshotFiles::open(&directory).and_then(SnapshotFiles::verify);
        let Some(verified) = report.check(READ, name, verified) else { continue };
        let copy = snapshots.0.path().join("copy").join(name);
        if report.check(READ, name, write_again(&verified, &copy)).is_some() {
            same_files(report, "snapshots of peers: written again", &directory, &copy);
        }
    }
    joined_on_the_way(report, &snapshots);
}

/// Makes a snapshot of the ledger where the peers made theirs, and compares all files. Then a new peer joins by it and makes
/// one itself; it is given back.
pub(crate) fn same_as_fabric(report: &mut Report, replay: &Replay) -> Option<Replay> {
    const TOPIC: &str = "snapshots of peers: made here, all files byte for byte";
    let snapshots = Snapshots::unpack();
    let made = report.check(TOPIC, "made", replay.snapshot())?;
    for directory in snapshots.directories() {
        same_files(report, TOPIC, &directory, &made);
    }
    let joined = report.check(TOPIC, "joined by it", Replay::join(&made))?;
    if let Some(again) = report.check(TOPIC, "made by who joined", joined.snapshot()) {
        same_files(report, TOPIC, &made, &again);
    }
    Some(joined)
}

/// Peers join by snapshots in the middle of the chain, take the blocks behind them, and end like the peers that took all.
fn joined_on_the_way(report: &mut Report, snapshots: &Snapshots) {
    const TOPIC: &str = "snapshots of peers: made by who joined on the way";
    let mut blocks = Fixtures::open("golden").blocks("blocks-orderer").into_iter();
    let genesis = blocks.next().expect("the chain has a genesis block");
    let Some(mut first) = report.check(TOPIC, "genesis block", Replay::begin(genesis)) else { return };
    let mut joined = Vec::new();
    for block in blocks {
        let number = block.number();
        for replay in joined.iter_mut().chain([&mut first]) {
            report.check(TOPIC, &format!("block {number}"), replay.commit(block.clone()).map(drop));
        }
        if JOINS.contains(&number.get()) {
            let made = first.snapshot().and_then(|snapshot| Replay::join(&snapshot));
            joined.extend(report.check(TOPIC, &format!("joined behind block {number}"), made));
        }
    }
    for replay in &joined {
        let Some(made) = report.check(TOPIC, "made", replay.snapshot()) else { return };
        snapshots.directories().take(1).for_each(|directory| same_files(report, TOPIC, &directory, &made));
    }
}

fn write_again(snapshot: &VerifiedSnapshot, copy: &Path) -> Result<(), SnapshotError> {
    fs::create_dir_all(copy.parent().unwrap_or(copy)).expect("tests may write temporary files");
    let (content, metadata) = (snapshot.content(), snapshot.metadata());
    let mut writer = SnapshotWriter::create(copy)?;
    content.tx_ids()?.try_for_each(|tx_id| writer.tx_id(&tx_id?))?;
    content.config_history()?.try_for_each(|change| writer.collections(&change?))?;
    content.public_state()?.try_for_each(|record| writer.public(&record?))?;
    content.private_state_hashes()?.try_for_each(|record| writer.private_hash(&record?))?;
    writer.finish(&SnapshotTip {
        channel: metadata.channel.clone(),
        last_block: metadata.last_block,
        last_block_hash: metadata.last_block_hash.clone(),
        previous_block_hash: metadata.previous_block_hash.clone(),
        last_commit_hash: snapshot.additional().last_commit_hash.clone(),
    })?;
    Ok(())
}

/// Compares all files of two directories byte by byte.
pub(crate) fn same_files(report: &mut Report, topic: &str, expected: &Path, actual: &Path) {
    let read = |directory: &Path| -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap_or_default()))
            .collect();
        files.sort();
        files
    };
    let (expected, actual) = (read(expected), read(actual));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    report.compare(topic, "names of the files", &names(&expected), &names(&actual), "");
    for ((name, expected), (_, actual)) in expected.iter().zip(&actual) {
        report.compare(topic, name, expected, actual, "");
    }
}
