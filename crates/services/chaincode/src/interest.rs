//! What an endorsement plan has to heed: which chaincodes and collections a simulation touched, and the policies of single
//! keys it wrote.

use std::collections::BTreeMap;

use prost::Message;
use ripstop_ledger::SimulationResults;
use ripstop_proto::{common, protos};

use crate::is_system_chaincode;

/// The name under which a key's own endorsement policy is kept.
const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

/// What is known of one chaincode.
#[derive(Default)]
struct Touched {
    /// Policies of keys that were written.
    key_policies: Vec<common::SignaturePolicyEnvelope>,
    /// By collection (empty for public data): whether its own policy is needed.
    needs_policy: BTreeMap<String, bool>,
}

/// Sums a simulation up. System chaincodes are left out: their policies are no subject of plans.
pub(crate) fn interest(results: &SimulationResults) -> Result<protos::ChaincodeInterest, prost::DecodeError> {
    let mut touched: BTreeMap<&str, Touched> = BTreeMap::new();
    for written in &results.written_keys {
        let chaincode = touched.entry(&written.namespace).or_default();
        chaincode.needs_policy.entry(String::new()).or_default();
        match written.metadata.get(VALIDATION_PARAMETER) {
            Some(policy) => {
                chaincode.key_policies.push(common::SignaturePolicyEnvelope::decode(policy.clone())?);
            }
            None => drop(chaincode.needs_policy.insert(written.collection.clone(), true)),
        }
    }
    for namespace in &results.public.namespaces {
        // Only read: its policy counts all the same.
        touched
            .entry(&namespace.namespace)
            .or_insert_with(|| Touched { needs_policy: BTreeMap::from([(String::new(), true)]), ..Default::default() });
    }
    for (namespace, collection) in &results.private_reads {
        touched.entry(namespace).or_default().needs_policy.insert(collection.clone(), true);
    }
    let chaincodes = touched
        .into_iter()
        .filter(|(name, _)| !is_system_chaincode(name))
        .flat_map(|(name, touched)| calls(name, touched, results))
        .collect();
    Ok(protos::ChaincodeInterest { chaincodes })
}

fn calls(name: &str, touched: Touched, results: &SimulationResults) -> Vec<protos::ChaincodeCall> {
    let Touched { mut key_policies, needs_policy } = touched;
    let mut calls = Vec::new();
    for (collection, needed) in needs_policy {
        let call = protos::ChaincodeCall { name: name.to_owned(), ..Default::default() };
        if !collection.is_empty() {
            let was_read = results.private_reads.contains(&(name.to_owned(), collection.clone()));
            calls.push(protos::ChaincodeCall {
                collection_names: vec![collection],
                no_private_reads: !was_read,
                ..call
            });
        } else if needed || !key_policies.is_empty() {
            let key_policies = std::mem::take(&mut key_policies);
            let disregard_namespace_policy = !needed && !key_policies.is_empty();
            calls.push(protos::ChaincodeCall { key_policies, disregard_namespace_policy, ..call });
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use ripstop_ledger::WrittenKey;
    use ripstop_rwset::{NsRwSet, TxRwSet};

    use super::*;

    fn written(namespace: &str, collection: &str, key: &str, policy: Option<i32>) -> WrittenKey {
        let policy = policy.map(|version| {
            let envelope = common::SignaturePolicyEnvelope { version, ..Default::default() };
            (VALIDATION_PARAMETER.to_owned(), envelope.encode_to_vec().into())
        });
        WrittenKey {
            namespace: namespace.to_owned(),
            collection: collection.to_owned(),
            key: key.to_owned(),
            metadata: policy.into_iter().collect(),
        }
    }

    fn check(touched: &[&str], written: Vec<WrittenKey>, private_reads: &[(&str, &str)], expected: &[&str]) {
        let namespaces = touched
            .iter()
            .map(|namespace| NsRwSet { namespace: (*namespace).to_owned(), ..Default::default() })
            .collect();
        let private_reads: BTreeSet<_> =
            private_reads.iter().map(|(ns, coll)| ((*ns).to_owned(), (*coll).to_owned())).collect();
        let results = SimulationResults {
            public: TxRwSet { namespaces },
            public_bytes: Bytes::new(),
            private: None,
            written_collections: vec![],
            private_reads,
            written_keys: written,
            height: 1,
        };
        let found: Vec<String> = interest(&results)
            .unwrap()
            .chaincodes
            .into_iter()
            .map(|call| {
                let flags =
                    [(call.no_private_reads, " no-private-reads"), (call.disregard_namespace_policy, " keys-only")];
                let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, text)| *text).collect();
                format!("{}{:?} {}{flags}", call.name, call.collection_names, call.key_policies.len())
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_chaincode_and_collection_counts_once() {
        check(&["_lifecycle", "basic", "lscc"], vec![], &[], &["basic[] 0"]);
        check(&["basic", "other"], vec![written("basic", "", "a", None)], &[], &["basic[] 0", "other[] 0"]);
        check(
            &["basic"],
            vec![written("basic", "collAll", "a", None)],
            &[],
            &[r#"basic["collAll"] 0 no-private-reads"#],
        );
        check(&["basic"], vec![], &[("basic", "collAll")], &["basic[] 0", r#"basic["collAll"] 0"#]);
    }

    #[test]
    fn policies_of_keys_may_stand_for_the_chaincodes() {
        check(&["sbe"], vec![written("sbe", "", "a", Some(1))], &[], &["sbe[] 1 keys-only"]);
        let mixed = vec![written("sbe", "", "a", Some(1)), written("sbe", "", "b", None)];
        check(&["sbe"], mixed, &[], &["sbe[] 1"]);
    }
}
