use serde_json::Value;

use super::golden::{commit_hash, verdicts};
use super::replay::Replay;
use crate::{Fixtures, Report};

const DECIDED: &str = "blocks that stop Fabric's own peers: decided";

/// Chains that make Fabric 3.1.5's own peers crash or hang. Up to there we must agree with them; from there on every
/// block must be decided.
pub fn quirks(report: &mut Report) {
    let fixtures = Fixtures::open("quirks");
    // Block 10 deletes a key and sets its policy: the second has no effect, both are valid.
    chain(report, &fixtures, "crash-del-then-setep", &["10 [VALID, VALID]"]);
    chain(report, &fixtures, "wedge", &[]);
    chain(report, &fixtures, "forged-by-orderer", &[]);
}

/// The two blocks behind the end of the main chain: a write to an empty key, and garbage in a chaincode's definition.
pub(crate) fn golden_extended(report: &mut Report, mut replay: Replay) {
    let fixtures = Fixtures::open("quirks");
    for block in fixtures.blocks("golden-extended") {
        let name = format!("golden, block {}", block.number());
        let Some(replayed) = report.check(DECIDED, &name, replay.commit(block)) else { return };
        let why = replayed.reasons.join("; ");
        report.compare(DECIDED, &name, "[VALID]", &format!("{:?}", replayed.codes), &why);
    }
}

/// Replays the orderer's blocks of a chain. `after` holds expectations about blocks that no peer of Fabric committed.
fn chain(report: &mut Report, fixtures: &Fixtures, name: &str, after: &[&str]) {
    let mut blocks = fixtures.blocks(&format!("{name}/blocks-orderer")).into_iter();
    let summary = fixtures.lines(&format!("{name}/summary.jsonl"));
    let genesis = blocks.next().expect("a chain has a genesis block");
    let Some(mut replay) = report.check("ledger", name, Replay::begin(genesis)) else { return };
    for block in blocks {
        let number = block.number();
        let place = format!("{name}, block {number}");
        let expected: Option<&Value> = summary.iter().find(|line| line["number"].as_u64() == Some(number.get()));
        let topic = if expected.is_some() { "blocks taken: signatures, chaining" } else { DECIDED };
        let Some(replayed) = report.check(topic, &place, replay.commit(block)) else { return };
        if let Some(expected) = expected {
            verdicts(report, number, expected, &replayed);
            commit_hash(report, number, expected, &replayed);
        }
        let codes = format!("{number} {:?}", replayed.codes);
        if let Some(expected) = after.iter().find(|expected| expected.starts_with(&format!("{number} "))) {
            report.compare(DECIDED, &place, *expected, codes.as_str(), &replayed.reasons.join("; "));
        }
    }
}
