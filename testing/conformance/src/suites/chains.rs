//! Chains that are not among the fixtures, named by whoever runs the replay.

use std::path::Path;

use bytes::Bytes;
use ripstop_types::{Block, MetadataSlot};

use super::replay::Replay;
use super::snapshots::same_files;
use crate::Report;

/// Names folders of blocks, apart by colons. Each holds one chain as a peer of Fabric serves it, from its genesis block on,
/// in files `NUMBER.block`: serialized `common.Block`, numbers of equal length. A folder `snapshot/NUMBER` in it holds the
/// files of a snapshot that a peer of Fabric made behind that block.
pub const CHAINS_VARIABLE: &str = "RIPSTOP_CONFORMANCE_CHAINS";

/// Replays the chains that [`CHAINS_VARIABLE`] names: verdicts and commit hashes must be those that stand in the blocks,
/// also after the state is rebuilt.
pub fn chains(report: &mut Report) {
    for folder in std::env::var(CHAINS_VARIABLE).unwrap_or_default().split(':').filter(|folder| !folder.is_empty()) {
        let Some(blocks) = report.check("other chains", folder, read(Path::new(folder))) else { continue };
        chain(report, folder, blocks);
    }
}

fn read(folder: &Path) -> Result<Vec<Block>, String> {
    let text = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .map_err(text)?
        .map(|entry| Ok(entry.map_err(text)?.path()))
        .filter(|path| path.as_ref().is_ok_and(|path| path.extension().is_some_and(|extension| extension == "block")))
        .collect::<Result<_, String>>()?;
    files.sort();
    files
        .iter()
        .map(|path| {
            let raw = std::fs::read(path).map_err(text)?;
            Block::parse(Bytes::from(raw)).map_err(|error| format!("{}: {error}", path.display()))
        })
        .collect()
}

fn chain(report: &mut Report, folder: &str, blocks: Vec<Block>) {
    let mut blocks = blocks.into_iter();
    let genesis = blocks.next().ok_or("there is no block").and_then(|block| match block.number().get() {
        0 => Ok(as_ordered(&block)),
        _ => Err("the chain does not begin with block 0"),
    });
    let Some(genesis) = report.check("other chains", folder, genesis) else { return };
    let Some(mut replay) = report.check("other chains", folder, Replay::begin(genesis)) else { return };
    for by_peer in blocks {
        let name = format!("{folder}, block {}", by_peer.number());
        let Some(replayed) = report.check("other chains: blocks taken", &name, replay.commit(as_ordered(&by_peer)))
        else {
            return;
        };
        let codes = by_peer.metadata.validation_codes();
        let Some(codes) = report.check("other chains: blocks taken", &name, codes) else { return };
        for (index, (expected, actual)) in codes.as_slice().iter().zip(&replayed.codes).enumerate() {
            let why = replayed.reasons.get(index).map(String::as_str).unwrap_or_default();
            let name = format!("{name}, transaction {index}");
            report.compare("other chains: verdicts", &name, expected.name(), actual.name(), why);
        }
        let slot = |block: &Block| hex::encode(block.metadata.get(MetadataSlot::CommitHash));
        report.compare("other chains: commit hashes", &name, &slot(&by_peer), &slot(&replayed.block), "");
        let snapshot = Path::new(folder).join("snapshot").join(by_peer.number().to_string());
        if snapshot.is_dir() {
            const TOPIC: &str = "other chains: snapshots, all files byte for byte";
            let Some(made) = report.check(TOPIC, &name, replay.snapshot()) else { return };
            same_files(report, TOPIC, &snapshot, &made);
        }
    }
    let before = replay.ledger().commit_hash();
    let Some(rebuilt) = report.check("other chains", folder, replay.rebuild()) else { return };
    report.compare("other chains: rebuilt", folder, &before, &rebuilt.ledger().commit_hash(), "");
}

/// The block without what a peer adds to it.
fn as_ordered(block: &Block) -> Block {
    let mut block = block.clone();
    block.metadata.set(MetadataSlot::TransactionsFilter, Bytes::new());
    block.metadata.set(MetadataSlot::CommitHash, Bytes::new());
    block
}
