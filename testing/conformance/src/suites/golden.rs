use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use ripstop_committer::Committer;
use ripstop_deliver::filtered_block;
use ripstop_proto::protos::{self, deliver_response::Type};
use ripstop_rwset::{StateValue, decode_metadata};
use ripstop_types::{Block, BlockNumber, Envelope, Height, MetadataSlot, MspId, TxId};
use ripstop_validation::verify_signatures;
use serde_json::Value;

use super::definitions::definitions;
use super::execution::execution;
use super::private;
use super::proposals::proposals;
use super::refusals::refusals;
use super::replay::{Replay, Replayed};
use crate::{Fixtures, Report, hex_bytes};

/// The main chain: hashes, signatures, verdicts, commit hashes, metadata, state.
pub fn golden(report: &mut Report) {
    let fixtures = Fixtures::open("golden");
    let by_peer = fixtures.blocks("blocks");
    let by_orderer = fixtures.blocks("blocks-orderer");
    let summary = fixtures.lines("summary.jsonl");
    report.compare("blocks", "number of them", &summary.len(), &by_peer.len(), "");
    for (block, expected) in by_peer.iter().zip(&summary) {
        headers(report, block, expected);
    }
    let mut blocks = by_orderer.into_iter();
    let genesis = blocks.next().expect("the chain has a genesis block");
    let Some(mut replay) = report.check("ledger", "genesis block", Replay::begin(genesis)) else { return };
    let delivered = fixtures.lines("deliver-with-private-data.jsonl");
    replay.private = private::gathered(&delivered);
    for ((block, by_peer), expected) in blocks.zip(by_peer.iter().skip(1)).zip(summary.iter().skip(1)) {
        let number = block.number();
        let signatures = verify_signatures(&by_peer.header, &by_peer.metadata, &replay.config());
        report.check("block signatures, of another orderer", &number.to_string(), signatures);
        definitions(report, &block, replay.ledger());
        // Everything after a block that was not taken would differ.
        let Some(replayed) =
            report.check("blocks taken: signatures, chaining", &number.to_string(), replay.commit(block))
        else {
            return;
        };
        verdicts(report, number, expected, &replayed);
        commit_hash(report, number, expected, &replayed);
        same_bytes(report, by_peer, &replayed);
    }
    let state = fixtures.lines("state.jsonl");
    world_state(report, "world state", &state, &replay);
    index(report, &summary, &replay);
    private::reconcile_purged(report, replay.ledger());
    private::kept(report, "in time", &delivered, replay.ledger());
    let clear_state = private::clear_state(report, replay.ledger());
    if let Some(joined) = super::snapshots::same_as_fabric(report, &replay) {
        private::reconcile_joined(report, &delivered, joined.ledger());
        private::same_clear_state(report, &clear_state, joined.ledger());
    }
    let endorsed = fixtures.lines("process-proposal.jsonl");
    proposals(report, &endorsed, replay.ledger());
    execution(report, &endorsed, replay.ledgers(), &replay.shared_ledger());
    refusals(report, &endorsed, replay.ledgers(), &replay.shared_ledger());
    let Some(replay) = report.check("ledger", "rebuild from blocks", replay.rebuild()) else { return };
    world_state(report, "world state, rebuilt from blocks", &state, &replay);
    private::kept(report, "rebuilt", &delivered, replay.ledger());
    private::same_clear_state(report, &clear_state, replay.ledger());
    super::quirks::golden_extended(report, replay);
    filtered(report, &fixtures.lines("deliver-filtered.jsonl"), &by_peer);
    let committed = through_committer(report, fixtures.blocks("blocks-orderer"), &by_peer);
    if let Some(late) = committed {
        private::reconcile(report, &delivered, late.ledger());
        private::kept(report, "late", &delivered, late.ledger());
        private::same_clear_state(report, &clear_state, late.ledger());
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn headers(report: &mut Report, block: &Block, expected: &Value) {
    let name = format!("block {}", block.number());
    report.compare("header hashes", &name, text(&expected["header_hash"]), &block.header.hash().to_string(), "");
    let data_hash = ripstop_types::data_hash(&block.data).to_string();
    report.compare("data hashes", &name, text(&expected["data_hash"]), &data_hash, "");
    let last_config = block.metadata.last_config().map(BlockNumber::get).map_err(|error| error.to_string());
    report.compare(
        "last configuration blocks",
        &name,
        &Ok(expected["last_config"].as_u64().unwrap_or(0)),
        &last_config,
        "",
    );
    for (index, transaction) in expected["txs"].as_array().into_iter().flatten().enumerate() {
        let tx_id = block.data.get(index).and_then(|raw| Envelope::parse(raw.clone()).ok());
        let tx_id = tx_id.map(|envelope| envelope.channel_header.tx_id.as_str().to_owned()).unwrap_or_default();
        report.compare("transaction ids", &format!("{name}, {index}"), text(&transaction["txid"]), &tx_id, "");
    }
}

pub(crate) fn verdicts(report: &mut Report, number: BlockNumber, expected: &Value, replayed: &Replayed) {
    let transactions = expected["txs"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, expected) in transactions.iter().enumerate() {
        let actual = replayed.codes.get(index).map_or("none", |code| code.name());
        let why = replayed.reasons.get(index).map(String::as_str).unwrap_or_default();
        let name = format!("block {number}, transaction {index}");
        report.compare("verdicts", &name, text(&expected["code"]), actual, why);
    }
}

pub(crate) fn commit_hash(report: &mut Report, number: BlockNumber, expected: &Value, replayed: &Replayed) {
    let actual = replayed.block.metadata.commit_hash().unwrap_or_default();
    let name = format!("block {number}");
    report.compare("commit hashes", &name, text(&expected["commit_hash"]), &hex::encode(actual), "");
}

/// The block as our peer would serve it must be the block as Fabric's peer serves it, but for the signature: the two got
/// it from different orderers.
fn same_bytes(report: &mut Report, by_peer: &Block, replayed: &Replayed) {
    let mut expected = by_peer.clone();
    expected.metadata.set(MetadataSlot::Signatures, replayed.block.metadata.get(MetadataSlot::Signatures));
    let name = format!("block {}", by_peer.number());
    let (expected, actual) = (expected.to_proto().encode_to_vec(), replayed.block.to_proto().encode_to_vec());
    report.compare("blocks as a peer serves them", &name, &hex::encode(expected), &hex::encode(actual), "");
}

/// Blocks as clients without access to all data see them. Five blocks with malformed transactions cannot be shown.
fn filtered(report: &mut Report, lines: &[Value], by_peer: &[Block]) {
    const TOPIC: &str = "blocks in filtered form";
    for line in lines {
        let number = line["block"].as_u64().and_then(|number| usize::try_from(number).ok());
        let Some(block) = number.and_then(|number| by_peer.get(number)) else { continue };
        let name = format!("block {}", block.number());
        let answer = protos::DeliverResponse::decode(hex_bytes(&line["hex"])).expect("the fixture decodes");
        let actual = filtered_block(block);
        match answer.r#type {
            Some(Type::FilteredBlock(expected)) => {
                if let Some(actual) = report.check(TOPIC, &name, actual) {
                    report.compare(TOPIC, &name, &expected, &actual, "");
                }
            }
            _ => report.compare(TOPIC, &name, &false, &actual.is_ok(), "such a block ends the stream"),
        }
    }
}

/// The same chain once more through the committer of a peer of Org1, which works on all cores.
fn through_committer(report: &mut Report, blocks: Vec<Block>, by_peer: &[Block]) -> Option<Replay> {
    const TOPIC: &str = "blocks through the committer";
    let mut blocks = blocks.into_iter();
    let genesis = blocks.next().expect("the chain has a genesis block");
    let replay = report.check(TOPIC, "genesis block", Replay::begin(genesis))?;
    let committer = Committer::new(replay.shared_ledger()).of_organization(MspId::new("Org1MSP"));
    for (block, expected) in blocks.zip(by_peer.iter().skip(1)) {
        let number = block.number();
        let name = format!("block {number}");
        let taken = report.check(TOPIC, &name, committer.commit(block))?;
        report.check(TOPIC, &name, taken)?;
        let stored = replay.ledger().block(number).ok().flatten();
        let codes = stored.map(|block| block.metadata.validation_codes());
        report.compare(TOPIC, &name, &Some(expected.metadata.validation_codes()), &codes, "");
    }
    let last = by_peer.last().and_then(|block| block.metadata.commit_hash().ok()).unwrap_or_default();
    report.compare(TOPIC, "last commit hash", &last, &replay.ledger().commit_hash(), "");
    Some(replay)
}

/// Transactions by id; of several with one id the first counts.
fn index(report: &mut Report, summary: &[Value], replay: &Replay) {
    let mut seen = BTreeSet::new();
    for block in summary {
        let number = BlockNumber::new(block["number"].as_u64().unwrap_or_default());
        for transaction in block["txs"].as_array().into_iter().flatten() {
            let tx_id = text(&transaction["txid"]);
            if tx_id.is_empty() || !seen.insert(tx_id) {
                continue;
            }
            let found = replay.ledger().validation_code(&TxId::new(tx_id));
            let found = found.map(|found| found.map(|(code, block)| (code.name(), block))).map_err(|e| e.to_string());
            let expected = Ok(Some((text(&transaction["code"]), number)));
            report.compare("verdicts by transaction id", tx_id, &expected, &found, "");
        }
    }
}

fn world_state(report: &mut Report, topic: &str, expected: &[Value], replay: &Replay) {
    let (public_topic, hashed_topic) = (format!("{topic}: public"), format!("{topic}: hashes of private keys"));
    let state = replay.state();
    let mut public: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    let mut hashed: BTreeMap<(String, String), BTreeMap<Bytes, Value>> = BTreeMap::new();
    for entry in expected {
        let namespace = text(&entry["ns"]).to_owned();
        match namespace.split_once("$$h") {
            Some((namespace, collection)) => {
                let keys = hashed.entry((namespace.to_owned(), collection.to_owned())).or_default();
                keys.insert(hex_bytes(&entry["key_hex"]), entry.clone());
            }
            None => {
                let key = String::from_utf8(hex_bytes(&entry["key_hex"]).to_vec()).expect("public keys are UTF-8");
                public.entry(namespace).or_default().insert(key, entry.clone());
            }
        }
    }
    let namespaces: BTreeSet<&String> = replay.public_keys.keys().chain(public.keys()).collect();
    for namespace in namespaces {
        let expected = public.get(namespace);
        let mut found = BTreeMap::new();
        let keys = state.range(namespace, "", "").and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let Some(keys) = report.check("namespaces read", namespace, keys) else { continue };
        found.extend(keys);
        for (key, value) in &found {
            let name = format!("{namespace}/{}", key.escape_debug());
            match expected.and_then(|keys| keys.get(key)) {
                Some(expected) => compare_value(report, &public_topic, &name, expected, value),
                None => report.difference(&public_topic, format!("{name}: should not exist, is {value:?}")),
            }
        }
        for key in expected.into_iter().flat_map(BTreeMap::keys).filter(|key| !found.contains_key(*key)) {
            report.difference(&public_topic, format!("{namespace}/{}: is missing", key.escape_debug()));
        }
    }
    let touched = replay.hashed_keys.iter().flat_map(|(place, keys)| keys.iter().map(move |key| (place, key)));
    for (place, key) in touched {
        if hashed.get(place).is_some_and(|keys| keys.contains_key(key)) {
            continue;
        }
        let name = format!("{}/{} {}", place.0, place.1, hex::encode(key));
        let found = state.hashed(&place.0, &place.1, key);
        match report.check("namespaces read", &name, found) {
            Some(Some(value)) => {
                report.difference(&hashed_topic, format!("{name}: should not exist, is {value:?}"));
            }
            _ => report.equal(&hashed_topic, 1),
        }
    }
    for (place, keys) in &hashed {
        for (key, expected) in keys {
            let name = format!("{}/{} {}", place.0, place.1, hex::encode(key));
            match state.hashed(&place.0, &place.1, key) {
                Ok(Some(value)) => compare_value(report, &hashed_topic, &name, expected, &value),
                other => report.difference(&hashed_topic, format!("{name}: is missing: {other:?}")),
            }
        }
    }
}

fn compare_value(report: &mut Report, topic: &str, name: &str, expected: &Value, actual: &StateValue) {
    let number = |field: &str| expected[field].as_u64().unwrap_or_default();
    let height = Height::new(BlockNumber::new(number("block")), number("tx"));
    let metadata: BTreeMap<String, String> = decode_metadata(&actual.metadata)
        .map(|entries| entries.into_iter().map(|(name, value)| (name, hex::encode(value))).collect())
        .unwrap_or_default();
    let expected_metadata: BTreeMap<String, String> = expected["metadata"]
        .as_object()
        .map(|entries| entries.iter().map(|(name, value)| (name.clone(), text(value).to_owned())).collect())
        .unwrap_or_default();
    report.compare(
        topic,
        name,
        &(text(&expected["value_hex"]), height, text(&expected["metadata_hex"]), &expected_metadata),
        &(hex::encode(&actual.value).as_str(), actual.version, hex::encode(&actual.metadata).as_str(), &metadata),
        "",
    );
}
