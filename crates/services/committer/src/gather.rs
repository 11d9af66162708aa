use std::collections::{BTreeMap, BTreeSet};

use ripstop_ledger::{
    Ledger, PrivateData, PrivatePlace, PrivateSet, PrivateStoreError, StateError, TransientSet, announced_private_data,
    by_transaction,
};
use ripstop_lifecycle::{
    CommittedCollections, Eligibility, NAMESPACE as LIFECYCLE, eligibility, keys, opened_collections,
};
use ripstop_rwset::{CollectionPrivateRwSet, PrivateExpectation, StateView};
use ripstop_types::{BlockNumber, MspId};
use ripstop_validation::ValidatedBlock;

/// Why the private data of a block cannot be gathered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Transient(#[from] PrivateStoreError),
}

/// Gathers the private data of a block: for each set of private writes that is for this peer's organisation, those that this
/// peer endorsed itself. What the organisation is kept out of is not looked for (Fabric: `PvtdataProvider`).
pub(crate) fn gather(
    ledger: &Ledger,
    organization: Option<&MspId>,
    validated: &ValidatedBlock,
) -> Result<PrivateData, GatherError> {
    let (before, config) = (ledger.snapshot(), ledger.config());
    let opened = opened(ledger, organization, validated, &*before)?;
    let mut collections = CommittedCollections::of(&*before);
    let mut known: BTreeMap<(String, String), Option<Eligibility>> = BTreeMap::new();
    let mut endorsed: Option<(u64, Vec<TransientSet>)> = None;
    let (mut found, mut missing, mut ineligible) = (Vec::new(), Vec::new(), BTreeSet::new());
    for expected in announced_private_data(validated) {
        let name = (expected.namespace.clone(), expected.collection.clone());
        let eligible = match (known.get(&name), organization) {
            (Some(eligible), _) => *eligible,
            (None, None) => Some(Eligibility::Ineligible),
            (None, Some(org)) => eligibility(&mut collections, config.msps(), org, &name.0, &name.1)?,
        };
        known.insert(name.clone(), eligible);
        match eligible {
            Some(Eligibility::Eligible) => {}
            Some(Eligibility::Ineligible) => {
                ineligible.insert(name);
                continue;
            }
            // No such collection: forged.
            None => continue,
        }
        let Some(transaction) = usize::try_from(expected.tx).ok().and_then(|tx| validated.transactions().get(tx))
        else {
            continue;
        };
        // The sets stand in block order, so each transaction is looked up once.
        if endorsed.as_ref().is_none_or(|(tx, _)| *tx != expected.tx) {
            endorsed = Some((expected.tx, ledger.transient().get(&transaction.tx_id)?));
        }
        let sets = endorsed.as_ref().map(|(_, sets)| sets.as_slice()).unwrap_or_default();
        match matching(&expected, sets) {
            Some(writes) => {
                let PrivateExpectation { tx, namespace, collection, .. } = expected;
                let place = PrivatePlace { block: validated.block().number(), tx, namespace, collection };
                found.push(PrivateSet { place, writes: writes.clone() });
            }
            None => missing.push(format!(
                "txID: {}, seq: {}, namespace: {}, collection: {}",
                transaction.tx_id, expected.tx, expected.namespace, expected.collection
            )),
        }
    }
    log(ledger, validated.block().number(), found.len(), &missing);
    Ok(PrivateData::from(by_transaction(found)).ineligible_for(ineligible).opening(opened))
}

/// The collections that definitions in this block open to the organisation.
fn opened(
    ledger: &Ledger,
    organization: Option<&MspId>,
    validated: &ValidatedBlock,
    before: &dyn StateView,
) -> Result<Vec<(String, String)>, StateError> {
    let Some(organization) = organization else { return Ok(vec![]) };
    let (config, updates) = (ledger.config(), validated.updates());
    let mut opened = Vec::new();
    let changed = updates.public_updates().filter(|(namespace, ..)| *namespace == LIFECYCLE);
    for chaincode in changed.filter_map(|(_, key, _)| keys::defined_chaincode(key)) {
        let after = updates.over(before);
        let collections = opened_collections(before, &after, config.msps(), organization, chaincode)?;
        for collection in collections {
            tracing::info!(
                target: "pvtdatastorage",
                "[{}] Converting missing data entries from ineligible to eligible for [ns={chaincode}, coll={collection}]",
                ledger.channel_id()
            );
            opened.push((chaincode.to_owned(), collection));
        }
    }
    Ok(opened)
}

fn log(ledger: &Ledger, block: BlockNumber, found: usize, missing: &[String]) {
    let channel = ledger.channel_id();
    let total = found + missing.len();
    let sources = format!("(0 from local cache, {found} from transient store, 0 from other peers)");
    if total == 0 {
        tracing::debug!(
            target: "gossip.privdata",
            "[{channel}] No eligible collection private write sets to fetch for block [{block}]"
        );
    } else if missing.is_empty() {
        tracing::info!(
            target: "gossip.privdata",
            "[{channel}] Successfully fetched (or marked to reconcile later) all {total} eligible collection private write sets for block [{block}] {sources}"
        );
    } else {
        tracing::warn!(
            target: "gossip.privdata",
            "[{channel}] Could not fetch (or mark to reconcile later) {} eligible collection private write sets for block [{block}] {sources}. Will commit block with missing private write sets:[{}]",
            missing.len(), missing.join("; ")
        );
    }
}

/// The endorsed writes that a block announces. Of several endorsements only one has the announced hash.
fn matching<'a>(expected: &PrivateExpectation, sets: &'a [TransientSet]) -> Option<&'a CollectionPrivateRwSet> {
    sets.iter()
        .filter_map(|set| set.writes.collection(&expected.namespace, &expected.collection))
        .find(|writes| writes.hash().as_bytes()[..] == expected.hash)
}
