//! `ledgerutil verify`: are the blocks what their hashes say?

use std::path::Path;

use anyhow::{anyhow, bail};
use ripstop_block_store::BlockReader;
use ripstop_types::{Block, BlockError, BlockNumber, Digest, data_hash};

use crate::chains;
use crate::report::{ListFile, object, result_directory, text};

const DATA_HASH_MISMATCH: &str = "DataHash mismatch";
const PREVIOUS_HASH_MISMATCH: &str = "PreviousHash mismatch";

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All blocks of all channels are what they should be.
    Sound,
    /// Some are not; the result files say which.
    Unsound,
}

/// Checks the blocks of all channels of a peer; for each channel a directory of results is made.
pub(crate) fn run(file_system: &Path, output: &Path) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict::Sound;
    for chain in chains::find(file_system, "verify")? {
        let directory = result_directory(output, &format!("{}_verification_result", chain.channel), "verify")?;
        let mut results = ListFile::begin(directory.join("blocks.json"), "")?;
        let mut before: Option<(BlockNumber, Digest)> = None;
        for block in BlockReader::open(&chain.directory)? {
            let block = block.map_err(|error| anyhow!("{}: {error}", chain.channel))?;
            let next = before.as_ref().map_or(block.number(), |(number, _)| number.next());
            if block.number() != next {
                bail!("The next block is expected to be {next} but got {}", block.number());
            }
            let errors = errors(&block, before.as_ref().map(|(_, hash)| hash));
            if !errors.is_empty() {
                verdict = Verdict::Unsound;
                let errors: Vec<String> = errors.iter().map(text).collect();
                results.push(&object([
                    ("blockNum", block.number().to_string()),
                    ("valid", "false".to_owned()),
                    ("errors", format!("[{}]", errors.join(","))),
                ]))?;
            }
            before = Some((block.number(), block.header.hash()));
        }
        results.end("")?;
    }
    Ok(verdict)
}

/// What is wrong with a block. One whose transactions are not well-formed has no data hash.
fn errors(block: &Block, previous_hash: Option<&Digest>) -> Vec<String> {
    let mut errors = Vec::new();
    let form = block.check_well_formed();
    let sound = form.is_ok() && data_hash(&block.data).as_bytes()[..] == block.header.data_hash;
    errors.extend(form.err().map(|error| match error {
        BlockError::NoData(_) => "empty block".to_owned(),
        other => other.to_string(),
    }));
    if !sound {
        errors.push(DATA_HASH_MISMATCH.to_owned());
    }
    if previous_hash.is_some_and(|hash| hash.as_bytes()[..] != block.header.previous_hash) {
        errors.push(PREVIOUS_HASH_MISMATCH.to_owned());
    }
    errors
}
