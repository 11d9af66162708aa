use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_ledger::{Ledger, PrivateData, SimulateError, SimulationResults, Simulator};
use ripstop_rwset::{KvRead, RangeReads};
use ripstop_types::{BlockNumber, Digest, Height, TxId};

use crate::chain::{VALID, commit, genesis, grow, next_block, open, put, set, transaction};

const OWN: &str = "_implicit_org_Org1MSP";

fn simulate(ledger: &Ledger) -> Simulator {
    ledger.simulate(TxId::new("simulated"))
}

fn with_keys(keys: &[&str]) -> (tempfile::TempDir, ripstop_ledger::Ledgers, std::sync::Arc<Ledger>) {
    let root = tempfile::tempdir().unwrap();
    let ledgers = open(root.path());
    let ledger = ledgers.create(genesis()).unwrap();
    let changes = set(|set| keys.iter().for_each(|key| set.write("cc", key, Bytes::from(format!("value of {key}")))));
    commit(&ledger, &[(transaction("keys", &changes), VALID)]);
    (root, ledgers, ledger)
}

/// Commits what a simulation gave, with its private writes.
fn commit_results(ledger: &Ledger, tx_id: &str, results: SimulationResults) {
    let block = next_block(ledger, &[(transaction(tx_id, &results.public), VALID)]);
    let private: BTreeMap<u64, _> = results.private.into_iter().map(|private| (0, private)).collect();
    ledger.commit(block, PrivateData::from(private)).unwrap();
}

#[test]
fn reads_see_the_committed_state_and_not_own_writes() {
    let (_root, _ledgers, ledger) = with_keys(&["k"]);
    let mut simulator = simulate(&ledger);
    simulator.put("cc", "k", "new".into()).unwrap();
    assert_eq!(simulator.get("cc", "k").unwrap().unwrap(), "value of k");
    assert!(simulator.get("cc", "absent").unwrap().is_none());
    // Others commit meanwhile; the simulation stays where it began.
    commit(&ledger, &[(put("other", "k", "other"), VALID)]);
    assert_eq!(simulator.get("cc", "k").unwrap().unwrap(), "value of k");
    let results = simulator.finish();
    let found = &results.public.namespaces[0];
    let version = Some(Height::new(BlockNumber::new(1), 0));
    assert_eq!(found.reads, [KvRead { key: "absent".into(), version: None }, KvRead { key: "k".into(), version }]);
    assert_eq!(found.writes[0].value, "new");
    assert_eq!((results.height, results.private), (2, None));
    assert_eq!(results.public_bytes, results.public.encode());
    assert_eq!(results.written_keys.len(), 1);
}

#[test]
fn a_range_ends_where_the_caller_stopped() {
    let (_root, _ledgers, ledger) = with_keys(&["a", "b", "c", "d"]);
    let mut simulator = simulate(&ledger);
    let never = simulator.range("cc", "a", "z").unwrap();
    let early = simulator.range("cc", "a", "z").unwrap();
    let whole = simulator.range("cc", "b", "d").unwrap();
    assert_eq!(simulator.next(early).unwrap().unwrap().key, "a");
    assert_eq!(simulator.next(early).unwrap().unwrap().key, "b");
    while simulator.next(whole).unwrap().is_some() {}
    simulator.close(early);
    assert!(matches!(simulator.next(early), Err(SimulateError::UnknownRange)));
    let _ = never;
    let results = simulator.finish();
    let queries = &results.public.namespaces[0].range_queries;
    let ends: Vec<(&str, &str, bool)> =
        queries.iter().map(|query| (query.start_key.as_str(), query.end_key.as_str(), query.exhausted)).collect();
    assert_eq!(ends, [("a", "", false), ("a", "b", false), ("b", "d", true)]);
    assert_eq!(queries[0].reads, RangeReads::None);
    assert!(matches!(&queries[2].reads, RangeReads::Raw(reads) if reads.len() == 2));
}

#[test]
fn pages_end_with_a_bookmark_and_forbid_writes() {
    let (_root, _ledgers, ledger) = with_keys(&["a", "b", "c"]);
    let mut simulator = simulate(&ledger);
    let page = simulator.range_page("cc", "a", "", 2).unwrap();
    let keys: Vec<String> = std::iter::from_fn(|| simulator.next(page).unwrap().map(|found| found.key)).collect();
    assert_eq!(keys, ["a", "b"]);
    assert_eq!(simulator.bookmark(page).unwrap(), "c");
    let last = simulator.range_page("cc", "c", "", 2).unwrap();
    while simulator.next(last).unwrap().is_some() {}
    assert_eq!(simulator.bookmark(last).unwrap(), "");
    let refused = simulator.put("cc", "k", "v".into()).unwrap_err().to_string();
    assert_eq!(
        refused,
        "txid [simulated]: unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed"
    );
    let mut writer = simulate(&ledger);
    writer.put("cc", "k", "v".into()).unwrap();
    assert!(matches!(writer.range_page("cc", "a", "", 2), Err(SimulateError::PaginatedQueryAfterWrite(_))));
    assert!(matches!(writer.private_range("_lifecycle", OWN, "", ""), Err(SimulateError::PrivateQueryAfterWrite(_))));
}

#[test]
fn metadata_is_read_with_its_key_and_told_about_written_keys() {
    let (_root, _ledgers, ledger) = with_keys(&["k"]);
    let entries = BTreeMap::from([("VALIDATION_PARAMETER".to_owned(), Bytes::from_static(b"policy"))]);
    let mut simulator = simulate(&ledger);
    simulator.put_metadata("cc", "k", entries.clone()).unwrap();
    simulator.put_metadata("cc", "absent", entries.clone()).unwrap();
    commit_results(&ledger, "metadata", simulator.finish());
    let mut simulator = simulate(&ledger);
    assert_eq!(simulator.get_metadata("cc", "k").unwrap(), entries);
    assert!(simulator.get_metadata("cc", "absent").unwrap().is_empty());
    assert_eq!(simulator.get("cc", "k").unwrap().unwrap(), "value of k");
    simulator.put("cc", "k", "new".into()).unwrap();
    let results = simulator.finish();
    assert_eq!(results.written_keys[0].metadata, entries);
    assert_eq!(results.public.namespaces[0].reads.len(), 2);
}

#[test]
fn private_values_come_back_where_this_peer_has_them() {
    let (_root, _ledgers, ledger) = with_keys(&[]);
    let mut simulator = simulate(&ledger);
    simulator.put_private("_lifecycle", OWN, "k", "secret".into()).unwrap();
    simulator.put_private("_lifecycle", "_implicit_org_Org2MSP", "k", "theirs".into()).unwrap();
    let mut results = simulator.finish();
    // This peer is of Org1: it does not get what is for Org2.
    results.private.as_mut().unwrap().namespaces[0].collections.retain(|set| set.collection == OWN);
    commit_results(&ledger, "approve", results);
    let mut simulator = simulate(&ledger);
    assert_eq!(simulator.get_private("_lifecycle", OWN, "k").unwrap().unwrap(), "secret");
    assert!(simulator.get_private("_lifecycle", OWN, "absent").unwrap().is_none());
    let hash = simulator.get_private_hash("_lifecycle", "_implicit_org_Org2MSP", "k").unwrap().unwrap();
    assert_eq!(hash, Digest::of(b"theirs").as_bytes()[..]);
    let refused = simulator.get_private("_lifecycle", "_implicit_org_Org2MSP", "k").unwrap_err().to_string();
    assert_eq!(
        refused,
        "private data matching public hash version is not available. Public hash version = {BlockNum: 2, TxNum: 0}, Private data version = <nil>"
    );
    let range = simulator.private_range("_lifecycle", OWN, "", "").unwrap();
    assert_eq!(simulator.next(range).unwrap().unwrap().value, "secret");
    assert!(simulator.next(range).unwrap().is_none());
    assert!(matches!(simulator.put("cc", "k", "v".into()), Err(SimulateError::WriteAfterPrivateQuery(_))));
    let results = simulator.finish();
    assert_eq!(results.private_reads.len(), 1);
    assert_eq!(results.public.namespaces[0].collections.len(), 2);
}

#[test]
fn private_metadata_alone_renews_the_clear_value_and_a_delete_removes_it() {
    let (_root, _ledgers, ledger) = with_keys(&[]);
    let mut simulator = simulate(&ledger);
    simulator.put_private("_lifecycle", OWN, "k", "secret".into()).unwrap();
    commit_results(&ledger, "one", simulator.finish());
    let entries = BTreeMap::from([("VALIDATION_PARAMETER".to_owned(), Bytes::from_static(b"policy"))]);
    let mut simulator = simulate(&ledger);
    simulator.put_private_metadata("_lifecycle", OWN, "k", entries.clone()).unwrap();
    commit_results(&ledger, "two", simulator.finish());
    let mut simulator = simulate(&ledger);
    assert_eq!(simulator.get_private("_lifecycle", OWN, "k").unwrap().unwrap(), "secret");
    assert_eq!(simulator.get_private_metadata("_lifecycle", OWN, "k").unwrap(), entries);
    simulator.delete_private("_lifecycle", OWN, "k").unwrap();
    commit_results(&ledger, "three", simulator.finish());
    let mut simulator = simulate(&ledger);
    assert!(simulator.get_private("_lifecycle", OWN, "k").unwrap().is_none());
    assert!(simulator.get_private_metadata("_lifecycle", OWN, "k").unwrap().is_empty());
}

#[test]
fn unknown_collections_are_refused_in_fabrics_words() {
    let (_root, _ledgers, ledger) = with_keys(&[]);
    let mut simulator = simulate(&ledger);
    let refused = simulator.get_private("_lifecycle", "_implicit_org_NoMSP", "k").unwrap_err().to_string();
    assert_eq!(
        refused,
        "collection [_implicit_org_NoMSP] not defined in the collection config for chaincode [_lifecycle]"
    );
    let refused = simulator.put_private("undefined", OWN, "k", "v".into()).unwrap_err();
    assert!(matches!(refused, SimulateError::NoCollections(_)));
    assert!(simulator.finish().private.is_none());
}

#[test]
fn many_simulations_run_beside_commits() {
    let (_root, _ledgers, ledger) = with_keys(&["k"]);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut simulator = simulate(&ledger);
                    let height = simulator.state().height();
                    simulator.get("cc", "k").unwrap().unwrap();
                    let range = simulator.range("cc", "", "").unwrap();
                    while simulator.next(range).unwrap().is_some() {}
                    assert_eq!(simulator.finish().height, height);
                }
            });
        }
        grow(&ledger, 20);
    });
}
