//! Simulations of the golden chaincode, whose source in Go is three hundred lines of the obvious: each function here makes
//! the same calls. The bytes of the read/write sets must come out as Fabric's endorsers signed them.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{Ledger, RangeId, SimulateError, Simulator};
use ripstop_proto::protos;
use ripstop_rwset::TxRwSet;
use ripstop_types::{ChannelHeader, SignatureHeader, TxId, proposal_hash};
use serde_json::Value;

use crate::{Report, hex_bytes};

const SETS: &str = "read/write sets of simulations, byte for byte";
const POLICY_KEY: &str = "VALIDATION_PARAMETER";
/// The last character, which ends the range of a partial composite key.
const LAST_CHARACTER: char = '\u{10ffff}';

/// Each line is a signed proposal with the answer of Fabric's endorser at the end of the chain.
pub(crate) fn proposals(report: &mut Report, lines: &[Value], ledger: &Ledger) {
    for line in lines {
        let arguments: Vec<&str> = line["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let [chaincode, function, arguments @ ..] = arguments.as_slice() else {
            continue;
        };
        let answer = protos::ProposalResponse::decode(hex_bytes(&line["hex"])).unwrap_or_default();
        let payload = protos::ProposalResponsePayload::decode(answer.payload).unwrap_or_default();
        let action = protos::ChaincodeAction::decode(payload.extension).unwrap_or_default();
        let name = format!("{chaincode} {function} {}", arguments.join(" "));
        let hash = computed_hash(&hex_bytes(&line["signed_proposal_hex"]));
        if !payload.proposal_hash.is_empty() {
            report.compare("proposal hashes (endorsed)", &name, &Some(payload.proposal_hash), &hash, "");
        }
        let result = answer.response.unwrap_or_default().payload;
        let mut simulator = ledger.simulate(TxId::new(line["txid"].as_str().unwrap_or_default()));
        match execute(&mut simulator, chaincode, function, arguments, &result) {
            Ok(true) => {}
            // Compared, or counted, where proposals are executed as a whole.
            Ok(false) => continue,
            Err(error) => {
                report.difference(SETS, format!("{name}: {error}"));
                continue;
            }
        }
        let ours = simulator.finish().public_bytes;
        if ours == action.results {
            report.equal(SETS, 1);
        } else {
            report.compare(SETS, &name, &TxRwSet::parse(action.results), &TxRwSet::parse(ours), "");
        }
    }
}

fn computed_hash(signed_proposal: &[u8]) -> Option<Bytes> {
    let proposal = protos::SignedProposal::decode(signed_proposal).ok()?.proposal_bytes;
    let proposal = protos::Proposal::decode(proposal).ok()?;
    let header = ripstop_proto::common::Header::decode(proposal.header).ok()?;
    let mut payload = protos::ChaincodeProposalPayload::decode(proposal.payload).ok()?;
    payload.transient_map.clear();
    let channel_header = ChannelHeader::parse(header.channel_header).ok()?;
    let signature_header = SignatureHeader::parse(header.signature_header).ok()?;
    Some(proposal_hash(&channel_header, &signature_header, &payload.encode_to_vec()).to_bytes())
}

/// Whether the function is known here and was executed. `result` is what the chaincode returned, which some functions
/// also wrote.
fn execute(
    simulator: &mut Simulator,
    chaincode: &str,
    function: &str,
    arguments: &[&str],
    result: &Bytes,
) -> Result<bool, SimulateError> {
    if !["basic", "other", "sbe"].contains(&chaincode) {
        return Ok(false);
    }
    begin(simulator, chaincode)?;
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    match (function, arguments) {
        ("get", [key]) => drop(simulator.get(chaincode, key)?),
        ("put", [key, value]) | ("evput", [key, value, ..]) => simulator.put(chaincode, key, text(value))?,
        ("mput", pairs) => {
            for pair in pairs.chunks_exact(2) {
                simulator.put(chaincode, pair[0], text(pair[1]))?;
            }
        }
        ("mget", keys) => {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            simulator.get_many(chaincode, &keys)?;
        }
        ("del", [key]) => simulator.delete(chaincode, key)?,
        ("rmw", [key]) => {
            simulator.get(chaincode, key)?;
            simulator.put(chaincode, key, result.clone())?;
        }
        ("range", [start, end]) => drop(read_range(simulator, chaincode, start, end)?),
        ("rangeput", [start, end, key]) => {
            let count = read_range(simulator, chaincode, start, end)?;
            simulator.put(chaincode, key, text(&count.to_string()))?;
        }
        ("page", [start, end, size, _]) => {
            let size = size.parse().unwrap_or(0);
            let page = simulator.range_page(chaincode, start, end, size)?;
            // A full page is answered without a look at what follows.
            for _ in 0..size {
                simulator.next(page)?;
            }
            simulator.bookmark(page)?;
        }
        ("ckrange", [kind, attributes]) => {
            let parts = std::iter::once(*kind).chain(attributes.split(','));
            let start: String = std::iter::once("\0".to_owned()).chain(parts.map(|part| format!("{part}\0"))).collect();
            read_range(simulator, chaincode, &start, &format!("{start}{LAST_CHARACTER}"))?;
        }
        ("callput", [callee, key, value, own]) => {
            begin(simulator, callee)?;
            simulator.put(callee, key, text(value))?;
            simulator.put(chaincode, own, text(&format!("called {callee}")))?;
        }
        ("batch", [count, prefix]) => {
            for index in 0..count.parse::<u32>().unwrap_or(0) {
                simulator.put(chaincode, &format!("{prefix}{index:04}"), text(&index.to_string()))?;
            }
        }
        ("warn399", []) => simulator.put(chaincode, "warn", text("w"))?,
        ("history" | "info" | "noop" | "fail", _) => {}
        _ => return execute_on_private_values(simulator, chaincode, function, arguments, result),
    }
    Ok(true)
}

/// The functions for private values and for policies of keys.
fn execute_on_private_values(
    simulator: &mut Simulator,
    chaincode: &str,
    function: &str,
    arguments: &[&str],
    result: &Bytes,
) -> Result<bool, SimulateError> {
    let policy = |policy: &Bytes| BTreeMap::from([(POLICY_KEY.to_owned(), policy.clone())]);
    match (function, arguments) {
        ("phashput", [collection, private, key]) => {
            let hash = simulator.get_private_hash(chaincode, collection, private)?.unwrap_or_default();
            simulator.put(chaincode, key, hex::encode(hash).into())?;
        }
        ("pdel", [collection, key]) => simulator.delete_private(chaincode, collection, key)?,
        ("ppurge", [collection, key]) => simulator.purge_private(chaincode, collection, key)?,
        ("setep", [key, ..]) => simulator.put_metadata(chaincode, key, policy(result))?,
        ("getep", [key]) => drop(simulator.get_metadata(chaincode, key)?),
        ("psetep", [collection, key, ..]) => {
            simulator.put_private_metadata(chaincode, collection, key, policy(result))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Peers look up the definition of a chaincode inside of the simulation, so the read becomes part of the set.
fn begin(simulator: &mut Simulator, chaincode: &str) -> Result<(), SimulateError> {
    simulator.get("_lifecycle", &format!("namespaces/fields/{chaincode}/Sequence")).map(drop)
}

fn read_range(simulator: &mut Simulator, chaincode: &str, start: &str, end: &str) -> Result<usize, SimulateError> {
    // The shim asks for the first key after the empty one, so that composite keys stay out of the range.
    let start = if start.is_empty() { "\u{1}" } else { start };
    let range = simulator.range(chaincode, start, end)?;
    exhaust(simulator, range)
}

fn exhaust(simulator: &mut Simulator, range: RangeId) -> Result<usize, SimulateError> {
    let mut count = 0;
    while simulator.next(range)?.is_some() {
        count += 1;
    }
    simulator.close(range);
    Ok(count)
}
