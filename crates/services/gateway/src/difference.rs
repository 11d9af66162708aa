use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use ripstop_policy::SignaturePolicy;
use ripstop_proto::protos;
use ripstop_rwset::{RwSetError, TxRwSet};
use ripstop_types::shortened;

use crate::endorser::Endorser;

/// How many differences between two responses are logged.
const MAX_LOGGED: usize = 32;
/// How much of a value is logged, in characters.
const MAX_VALUE: usize = 256;
/// The name under which a key's metadata holds its endorsement policy.
const KEY_POLICY: &str = "VALIDATION_PARAMETER";

/// An endorser came to another result than the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    initial: String,
    invoked: String,
    parts: String,
    heights: Option<String>,
    /// Nothing where one of them is no response of a chaincode.
    differences: Option<Vec<Difference>>,
}

/// One difference: names and values, as Fabric logs them (`internal/pkg/gateway/diff.go`).
type Difference = Vec<(&'static str, String)>;

impl Mismatch {
    /// Compares the response of the first endorser with that of another one.
    pub(crate) fn between(first: (&Endorser, &Bytes), other: (&Endorser, &Bytes)) -> Self {
        let name = |endorser: &Endorser| format!("{} ({})", endorser.name, endorser.org);
        let heights = (first.0.height != other.0.height).then(|| {
            let (name, height) = (&other.0.name, other.0.height);
            let (first_name, first_height) = (&first.0.name, first.0.height);
            let place = if height < first_height { "behind" } else { "ahead of" };
            format!("{name} has {height} blocks and is {place} {first_name}, which has {first_height}")
        });
        let responses = action(first.1).zip(action(other.1));
        let parts = match &responses {
            Some(((hash, first), (other_hash, other))) => format!(
                "it differs from the first endorser's in {}; chaincode must come to the same result on every peer, and peers must have the same height",
                differing_parts(hash == other_hash, first, other)
            ),
            None => "one of them is no response of a chaincode".to_owned(),
        };
        let differences = responses.and_then(|((_, first), (_, other))| differences(&first, &other).ok());
        Self { initial: name(first.0), invoked: name(other.0), parts, heights, differences }
    }

    /// For the application: Fabric's words, and the cause behind them.
    pub(crate) fn explanation(&self) -> String {
        let mut text = format!("ProposalResponsePayloads do not match: {}", self.parts);
        if let Some(heights) = &self.heights {
            let _ = write!(text, "; {heights}");
        }
        text
    }

    /// Logs each difference, as Fabric does. Neither private values nor the result itself, which may hold such, are logged.
    pub(crate) fn warn(&self) {
        let Self { initial, invoked, .. } = self;
        tracing::warn!(target: "gateway", "ProposalResponsePayloads do not match. See [gateway.responsechecker] log warnings for details.");
        let peers = format!("initial-endorser=\"{initial}\" invoked-endorser=\"{invoked}\"");
        let Some(differences) = &self.differences else {
            tracing::warn!(target: "gateway.responsechecker", "Failed to analyse response mismatch: {} {peers}", self.parts);
            return;
        };
        tracing::warn!(target: "gateway.responsechecker", "Compared to the initial endorser's response, the following log entries detail the differences in this invoked endorser's response. {peers}");
        for difference in differences.iter().take(MAX_LOGGED) {
            let fields: Vec<_> = difference.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            tracing::warn!(target: "gateway.responsechecker", "Proposal response mismatch: {peers} {}", fields.join(" "));
        }
        if differences.len() > MAX_LOGGED {
            let more = differences.len() - MAX_LOGGED;
            tracing::warn!(target: "gateway.responsechecker", "Proposal response mismatch: {peers} and {more} differences more");
        }
    }
}

fn action(payload: &Bytes) -> Option<(Bytes, protos::ChaincodeAction)> {
    let payload = ripstop_proto::read::<protos::ProposalResponsePayload>(payload.clone()).ok()?;
    let action = ripstop_proto::read::<protos::ChaincodeAction>(payload.extension).ok()?;
    Some((payload.proposal_hash, action))
}

fn differing_parts(same_proposal: bool, first: &protos::ChaincodeAction, other: &protos::ChaincodeAction) -> String {
    let parts = [
        ("the proposal", !same_proposal),
        ("the chaincode's name or version", first.chaincode_id != other.chaincode_id),
        ("the chaincode's response", first.response != other.response),
        ("the event", first.events != other.events),
        ("what was read and written", first.results != other.results),
    ];
    let differing: Vec<_> = parts.into_iter().filter_map(|(part, differs)| differs.then_some(part)).collect();
    differing.join(", ")
}

fn differences(
    first: &protos::ChaincodeAction,
    other: &protos::ChaincodeAction,
) -> Result<Vec<Difference>, RwSetError> {
    let (initial, invoked) = (entries(&first.results)?, entries(&other.results)?);
    let text = |value: Option<&(Bytes, String)>| value.map(|(_, text)| text.clone());
    let mut keys: Vec<&Entry> = initial.keys().chain(invoked.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let differing = keys.into_iter().filter(|key| initial.get(*key) != invoked.get(*key));
    let mut found: Vec<_> =
        differing.map(|entry| entry.difference(text(initial.get(entry)), text(invoked.get(entry)))).collect();
    if first.events != other.events {
        found.push(vec![
            ("type", "chaincode event mismatch".to_owned()),
            ("initial-endorser-event", event(&first.events)),
            ("invoked-endorser-event", event(&other.events)),
        ]);
    }
    if first.response != other.response {
        found.push(vec![
            ("type", "chaincode response mismatch".to_owned()),
            ("initial-endorser-response", response(first.response.as_ref())),
            ("invoked-endorser-response", response(other.response.as_ref())),
        ]);
    }
    Ok(found)
}

/// Something that a transaction read or wrote. The order is that in which differences are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Read { namespace: String, key: String },
    Write { namespace: String, key: String },
    Metadata { namespace: String, key: String, name: String },
    Collection { namespace: String, collection: String },
}

/// What a transaction read (the block of the version) and wrote (the value, or the hash of private ones): in bytes, and in
/// words.
fn entries(results: &Bytes) -> Result<BTreeMap<Entry, (Bytes, String)>, RwSetError> {
    let mut entries = BTreeMap::new();
    for set in TxRwSet::parse(results.clone())?.namespaces {
        let namespace = || set.namespace.clone();
        for read in &set.reads {
            let block = read.version.map_or(0, |version| version.block.get()).to_string();
            let entry = Entry::Read { namespace: namespace(), key: read.key.clone() };
            entries.insert(entry, (block.clone().into(), block));
        }
        for write in &set.writes {
            let entry = Entry::Write { namespace: namespace(), key: write.key.clone() };
            entries.insert(entry, (write.value.clone(), shown(&write.value)));
        }
        for write in &set.metadata_writes {
            for entry in &write.entries {
                let text = if entry.name == KEY_POLICY { policy(&entry.value) } else { shown(&entry.value) };
                let (key, name) = (write.key.clone(), entry.name.clone());
                entries.insert(Entry::Metadata { namespace: namespace(), key, name }, (entry.value.clone(), text));
            }
        }
        for hashed in &set.collections {
            let hash = &hashed.private_rwset_hash;
            let text = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let collection = hashed.collection.clone();
            entries.insert(Entry::Collection { namespace: namespace(), collection }, (hash.clone(), text));
        }
    }
    Ok(entries)
}

impl Entry {
    fn difference(&self, initial: Option<String>, invoked: Option<String>) -> Difference {
        let kind = |mismatch: &str, extraneous: &str, missing: &str| {
            let words = match (&initial, &invoked) {
                (None, _) => extraneous,
                (_, None) => missing,
                _ => mismatch,
            };
            words.to_owned()
        };
        let or = |value: &Option<String>, absent: &str| value.clone().unwrap_or_else(|| absent.to_owned());
        let values = |absent: &str| {
            [("initial-endorser-value", or(&initial, absent)), ("invoked-endorser-value", or(&invoked, absent))]
        };
        match self.clone() {
            Self::Read { namespace, key } => {
                let kind = kind("read value mismatch", "extraneous read", "missing read");
                [("type", kind), ("namespace", namespace), ("key", key)].into_iter().chain(values("0")).collect()
            }
            Self::Write { namespace, key } => {
                let kind = kind("write value mismatch", "extraneous write", "missing write");
                [("type", kind), ("namespace", namespace), ("key", key)].into_iter().chain(values("")).collect()
            }
            Self::Metadata { namespace, key, name } => {
                let mut kind = kind("write metadata mismatch", "extraneous metadata write", "missing metadata write");
                if name == KEY_POLICY {
                    kind.push_str(" (SBE policy)");
                }
                let fields = [("type", kind), ("namespace", namespace), ("key", key), ("name", name)];
                fields.into_iter().chain(values("")).collect()
            }
            Self::Collection { namespace, collection } => vec![
                ("type", "private collection hash mismatch".to_owned()),
                ("namespace", namespace),
                ("collection", collection),
                ("initial-endorser-hash", or(&initial, "")),
                ("invoked-endorser-hash", or(&invoked, "")),
            ],
        }
    }
}

fn shown(value: &[u8]) -> String {
    shortened(String::from_utf8_lossy(value).into_owned(), MAX_VALUE)
}

fn policy(value: &[u8]) -> String {
    match SignaturePolicy::parse(value) {
        Ok(policy) => shortened(policy.to_string(), MAX_VALUE),
        Err(error) => format!("Error unmarshalling SBE policy: {error}"),
    }
}

fn event(events: &Bytes) -> String {
    let event = ripstop_proto::read::<protos::ChaincodeEvent>(events.clone()).unwrap_or_default();
    let (chaincode, name, value) = (event.chaincode_id, event.event_name, shown(&event.payload));
    format!("chaincodeId: {chaincode}, name: {name}, value: {value}")
}

fn response(response: Option<&protos::Response>) -> String {
    let response = response.cloned().unwrap_or_default();
    let (status, message) = (response.status, shortened(response.message, MAX_VALUE));
    format!("status: {status}, message: {message}, payload: {} bytes", response.payload.len())
}

#[cfg(test)]
mod tests;
