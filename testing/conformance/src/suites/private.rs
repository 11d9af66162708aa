//! Private data of the golden chain. A peer of Fabric's Org1 delivered blocks 29 to 35 with what it keeps of it, after a key was
//! purged and the values of a collection had expired.

use std::collections::BTreeMap;

use prost::Message;
use ripstop_ledger::{Absence, Ledger, PrivatePlace, PrivateSet, Rejection, StateView, Unproven};
use ripstop_proto::protos::{self, deliver_response::Type};
use ripstop_rwset::{NsPrivateRwSet, RwSetBuilder, TxPrivateRwSet};
use ripstop_types::BlockNumber;
use serde_json::Value;

use super::replay::PrivateWrites;
use crate::{Report, hex_bytes};

const KEPT: &str = "private data that a peer keeps, after purge and expiry";
const LATE: &str = "private data that comes late";
const JOINED: &str = "private data of blocks before a snapshot";
const COLLECTIONS: [&str; 3] = ["collAll", "collOrg1", "_implicit_org_Org1MSP"];
/// The key `ok2` of this set was purged; its value stands nowhere any more.
const PURGED_AS_A_WHOLE: (u64, u64) = (30, 4);

/// What Fabric's peer delivered, by block and place in it. The fixture holds it twice, for two readers.
pub(crate) fn delivered(lines: &[Value]) -> PrivateWrites {
    let mut delivered = PrivateWrites::new();
    for line in lines {
        let Some(number) = line["block"].as_u64() else { break };
        let answer = protos::DeliverResponse::decode(hex_bytes(&line["hex"])).expect("the fixture decodes");
        let Some(Type::BlockAndPrivateData(block)) = answer.r#type else { continue };
        let sets = block
            .private_data_map
            .into_iter()
            .map(|(place, set)| (place, TxPrivateRwSet::from_proto(set).expect("the fixture decodes")));
        delivered.insert(BlockNumber::new(number), sets.collect());
    }
    delivered
}

/// What the peer had gathered when the blocks came, as far as it is known: with the key that was purged later (the chaincode
/// numbers its values), and with the purging writes themselves.
pub(crate) fn gathered(lines: &[Value]) -> PrivateWrites {
    let set = |fill: &dyn Fn(&mut RwSetBuilder)| {
        let mut builder = RwSetBuilder::new();
        fill(&mut builder);
        builder.build().1.expect("something is written")
    };
    let purge = |collection: &str, key: &str| set(&|set| set.private_purge("basic", collection, key));
    let mut gathered = delivered(lines);
    let mut put = |block, tx, set| {
        gathered.entry(BlockNumber::new(block)).or_default().insert(tx, set);
    };
    let bulk = set(&|set| {
        for number in 0..12 {
            set.private_write("basic", "collAll", &format!("pm{number:03}"), format!("{number}:bulk").into());
        }
    });
    put(30, 5, bulk);
    put(32, 1, purge("collAll", "pm003"));
    put(32, 2, purge("collAll", "no-such-private-key"));
    put(32, 3, purge("collOrg1", "ok2"));
    gathered
}

/// The ledger must keep what Fabric's peer keeps, byte for byte.
pub(crate) fn kept(report: &mut Report, when: &str, lines: &[Value], ledger: &Ledger) {
    for (block, expected) in delivered(lines) {
        let name = format!("block {block}, {when}");
        if let Some(found) = report.check(KEPT, &name, ledger.private_data(block, |_, _| true)) {
            report.compare(KEPT, &name, &expected, &found, "");
        }
    }
}

/// Gives a ledger that took the blocks without private data what the delivering peer has. Keys that were purged are lacking
/// there, as they must be here.
pub(crate) fn reconcile(report: &mut Report, lines: &[Value], ledger: &Ledger) {
    let sets = sets(lines);
    let places: Vec<PrivatePlace> = sets.iter().map(|set| set.place.clone()).collect();
    let wrong = sets.first().map(|first| {
        let place = first.place.clone();
        let writes = sets.get(1).map(|other| other.writes.clone()).unwrap_or_default();
        vec![PrivateSet { place, writes }]
    });
    let rejected = ledger.accept_private_data(wrong.unwrap_or_default(), &[]);
    if let Some(rejected) = report.check(LATE, "a wrong set", rejected) {
        let reasons: Vec<Rejection> = rejected.into_iter().map(|set| set.reason).collect();
        report.compare(LATE, "a wrong set", &vec![Unproven::Incomplete.into()], &reasons, "");
    }
    let before = missing(report, ledger);
    let known = places.iter().all(|place| before.contains(place));
    report.compare(LATE, "all of it was missed", &true, &known, "");
    if let Some(rejected) = report.check(LATE, "accepted", ledger.accept_private_data(sets, &[])) {
        report.compare(LATE, "nothing is rejected", &vec![], &rejected, "");
    }
    let left = missing(report, ledger);
    report.compare(LATE, "the rest is missed", &(before.len() - places.len()), &left.len(), "");
}

/// Gives a ledger that joined behind all of its blocks what the delivering peer has. The snapshot's hashes prove what still
/// counted then; what has no live key left is not missed, and not taken.
pub(crate) fn reconcile_joined(report: &mut Report, lines: &[Value], ledger: &Ledger) {
    let missed = missing(report, ledger);
    let (live, stale): (Vec<_>, Vec<_>) = sets(lines).into_iter().partition(|set| missed.contains(&set.place));
    report.compare(
        JOINED,
        "some of it counts, some does not",
        &(false, false),
        &(live.is_empty(), stale.is_empty()),
        "",
    );
    let unproven: Vec<_> = stale.iter().map(|_| Rejection::NotAnnounced).collect();
    for (name, sets, expected) in [("what does not count", stale, unproven), ("what counts", live, vec![])] {
        if let Some(rejected) = report.check(JOINED, name, ledger.accept_private_data(sets, &[])) {
            let reasons: Vec<Rejection> = rejected.into_iter().map(|set| set.reason).collect();
            report.compare(JOINED, name, &expected, &reasons, "");
        }
    }
}

fn sets(lines: &[Value]) -> Vec<PrivateSet> {
    let sets = delivered(lines).into_iter();
    sets.flat_map(|(block, sets)| sets.into_iter().flat_map(move |(tx, set)| placed(block, tx, set))).collect()
}

fn missing(report: &mut Report, ledger: &Ledger) -> Vec<PrivatePlace> {
    let all = ledger.missing_private_data(Absence::Missing, BlockNumber::new(u64::MAX), usize::MAX);
    report.check(LATE, "what is missing", all).unwrap_or_default()
}

/// The set whose only key was purged: whatever comes for it, nothing of it is kept.
pub(crate) fn reconcile_purged(report: &mut Report, ledger: &Ledger) {
    let (block, tx) = PURGED_AS_A_WHOLE;
    let place =
        PrivatePlace { block: BlockNumber::new(block), tx, namespace: "basic".into(), collection: "collOrg1".into() };
    let mut builder = RwSetBuilder::new();
    builder.private_write("basic", "collOrg1", "ok2", "made up".into());
    let sets = placed(place.block, tx, builder.build().1.unwrap_or_default());
    if let Some(rejected) = report.check(LATE, "a purged set", ledger.accept_private_data(sets, &[])) {
        report.compare(LATE, "a purged set", &vec![], &rejected, "");
    }
}

/// Values that came late must have led to the state to which values in time lead.
pub(crate) fn same_clear_state(report: &mut Report, in_time: &BTreeMap<String, Vec<String>>, ledger: &Ledger) {
    let late = clear_state(report, ledger);
    report.compare(LATE, "clear state", in_time, &late, "");
    let values = in_time.get("collAll").map(|keys| keys.join(" ")).unwrap_or_default();
    let found = ["pk1=secret-1++ ", "pm003=after purge ", "pm004=4:bulk "].map(|value| values.contains(value));
    report.compare(LATE, "values that clients of Fabric read", &[true; 3], &found, "");
}

/// The clear private keys of the chaincode by collection.
pub(crate) fn clear_state(report: &mut Report, ledger: &Ledger) -> BTreeMap<String, Vec<String>> {
    let state = ledger.snapshot();
    let mut all = BTreeMap::new();
    for collection in COLLECTIONS {
        let keys = state.private_range("basic", collection, "", "").and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let keys = report.check(LATE, collection, keys).unwrap_or_default();
        let text = |(key, value): (String, ripstop_rwset::StateValue)| {
            format!("{key}={} at {}", String::from_utf8_lossy(&value.value), value.version)
        };
        all.insert(collection.to_owned(), keys.into_iter().map(text).collect());
    }
    all
}

fn placed(block: BlockNumber, tx: u64, set: TxPrivateRwSet) -> Vec<PrivateSet> {
    let placed = |NsPrivateRwSet { namespace, collections }| {
        collections.into_iter().map(move |writes| {
            let collection = writes.collection.clone();
            PrivateSet { place: PrivatePlace { block, tx, namespace: String::clone(&namespace), collection }, writes }
        })
    };
    set.namespaces.into_iter().flat_map(placed).collect()
}
