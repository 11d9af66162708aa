use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_lifecycle::Lifetimes;
use ripstop_private_store::{BlockSets, CommittedPrivateData, PrivatePlace, PrivateSet, PrivateStoreError};
use ripstop_rwset::{CollectionPrivateRwSet, PrivateExpectation};
use ripstop_validation::ValidatedBlock;

use super::{announced_private_data, read_set};
use crate::{CommitError, LedgerError, PrivateData};

/// Puts in order what a block leaves in the private store: what is proven, what is missing, what expires and is purged. Sets
/// that the store has from an earlier attempt to commit the block, or from before a rollback, count like gathered ones.
pub(crate) fn arrange<'a>(
    validated: &'a ValidatedBlock,
    gathered: &'a PrivateData,
    kept: &CommittedPrivateData,
    lifetimes: &mut Lifetimes<'_>,
) -> Result<BlockSets<'a>, CommitError> {
    let block = validated.block().number();
    let purges = validated.updates().purges();
    let mut sets = BlockSets { opened: &gathered.opened, purges, ..BlockSets::default() };
    let announced = announced_private_data(validated);
    let known = if announced.is_empty() { vec![] } else { kept.get(block)? };
    let known = known.into_iter().map(|PrivateSet { place, writes }| (place, writes)).collect();
    for PrivateExpectation { tx, namespace, collection, hash } in announced {
        // Nobody keeps what a forged transaction announces for a collection that does not exist.
        if !lifetimes.exists(&namespace, &collection).map_err(LedgerError::from)? {
            continue;
        }
        if let Some(end) = lifetimes.end(&namespace, &collection, block).map_err(LedgerError::from)? {
            sets.expiring.push((namespace.clone(), collection.clone(), end));
        }
        let place = PrivatePlace { block, tx, namespace, collection };
        let found = match proven(&place, &hash, gathered) {
            Some(set) => Some(set),
            None => still_proven(&place, validated, &known, kept)?,
        };
        match found {
            Some(set) => sets.present.push(set),
            None if gathered.ineligible.contains(&(place.namespace.clone(), place.collection.clone())) => {
                sets.ineligible.push(place);
            }
            None => sets.missing.push(place),
        }
    }
    Ok(sets)
}

/// What was gathered, if the block proves it.
fn proven(place: &PrivatePlace, hash: &Bytes, gathered: &PrivateData) -> Option<PrivateSet> {
    let PrivatePlace { block, tx, namespace, collection } = place;
    let writes = gathered.writes.get(tx)?.collection(namespace, collection)?;
    if writes.hash().as_bytes()[..] != *hash {
        tracing::warn!(
            "private data of transaction {tx} of block {block} for collection [{namespace}:{collection}] does not match the hash in the block and is not stored"
        );
        return None;
    }
    Some(PrivateSet { place: place.clone(), writes: writes.clone() })
}

/// What the store has from before, if the block proves it; keys may have been purged since.
fn still_proven(
    place: &PrivatePlace,
    validated: &ValidatedBlock,
    known: &BTreeMap<PrivatePlace, CollectionPrivateRwSet>,
    kept: &CommittedPrivateData,
) -> Result<Option<PrivateSet>, PrivateStoreError> {
    let Some(writes) = known.get(place) else { return Ok(None) };
    let raw = usize::try_from(place.tx).ok().and_then(|tx| validated.block().data.get(tx));
    let Some(public) = raw.and_then(read_set) else { return Ok(None) };
    let Some(hashed) = public.hashed_collection(&place.namespace, &place.collection) else { return Ok(None) };
    let proven = writes.proven_by(hashed, |key_hash| is_purged(kept, place, key_hash))?;
    Ok(proven.ok().map(|writes| PrivateSet { place: place.clone(), writes }))
}

/// Whether a key of a set was purged at its version or later.
pub(crate) fn is_purged(
    kept: &CommittedPrivateData,
    place: &PrivatePlace,
    key_hash: &Bytes,
) -> Result<bool, PrivateStoreError> {
    let purge = kept.purged(&place.namespace, &place.collection, key_hash)?;
    Ok(purge.is_some_and(|purge| place.height() <= purge))
}
