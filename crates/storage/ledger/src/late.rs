//! Private data that comes after its block: what is missing, how it is taken, and how the state follows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ripstop_block_store::BlockStore;
use ripstop_kv::Batch;
use ripstop_private_store::{CommittedPrivateData, PlacedSet, SetPlace};
use ripstop_rwset::{CollectionPrivateRwSet, StateError, TxRwSet};
use ripstop_state_db::StateWriter;
use ripstop_types::BlockNumber;

use crate::private::{
    Lifetimes, PrivateUpdates, Unproven, hashed, is_of_valid, is_purged, prove, prove_by_snapshot, read_set,
};
use crate::{LedgerError, ReconcileError, StateSnapshot, expire};

/// Private writes that were not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedSet {
    /// Where they were said to belong.
    pub place: SetPlace,
    /// Why they were not taken.
    pub reason: Unproven,
}

/// What became of private writes that came late.
pub(crate) enum Examined {
    /// They are here already.
    Known,
    /// They may be kept, as far as they stand here.
    Proven(PlacedSet),
    /// They may not.
    Rejected(RejectedSet),
}

/// Compares private writes that came late with what their blocks announce or, where those are not here, with the hashes of
/// the snapshot with which the ledger begins.
pub(crate) struct Examination<'a> {
    blocks: &'a BlockStore,
    kept: &'a CommittedPrivateData,
    lifetimes: Lifetimes<'a>,
    height: u64,
    /// Read/write sets by block and place in it.
    public: BTreeMap<(BlockNumber, u64), Option<TxRwSet>>,
}

impl<'a> Examination<'a> {
    pub(crate) fn new(blocks: &'a BlockStore, kept: &'a CommittedPrivateData, state: &'a StateSnapshot) -> Self {
        let height = state.height();
        Self { blocks, kept, lifetimes: Lifetimes::new(state), height, public: BTreeMap::new() }
    }

    /// Says what becomes of some writes.
    pub(crate) fn examine(&mut self, set: PlacedSet) -> Result<Examined, ReconcileError> {
        let PlacedSet { place, writes } = set;
        if self.kept.contains(&place)? && place.block.get() < self.height {
            return Ok(Examined::Known);
        }
        match self.prove(&place, &writes)? {
            Ok(writes) => Ok(Examined::Proven(PlacedSet { place, writes })),
            Err(reason) => Ok(Examined::Rejected(RejectedSet { place, reason })),
        }
    }

    fn prove(
        &mut self,
        place: &SetPlace,
        writes: &CollectionPrivateRwSet,
    ) -> Result<Result<CollectionPrivateRwSet, Unproven>, ReconcileError> {
        if place.block.get() >= self.height {
            return Ok(Err(Unproven::NotAnnounced));
        }
        let end = self.lifetimes.end(&place.namespace, &place.collection, place.block).map_err(LedgerError::from)?;
        if end.is_some_and(|end| end.get() < self.height) {
            return Ok(Err(Unproven::Expired));
        }
        let kept = self.kept;
        if place.block < self.blocks.first() {
            let hashed = kept.hashed(place)?;
            if hashed.is_empty() {
                return Ok(Err(Unproven::NotAnnounced));
            }
            return Ok(prove_by_snapshot(writes, &hashed, |key_hash| is_purged(kept, place, key_hash))?);
        }
        let public = self.public(place)?;
        match public.and_then(|set| hashed(set, &place.namespace, &place.collection)) {
            Some(hashed) => Ok(prove(writes, hashed, |key_hash| is_purged(kept, place, key_hash))?),
            None => Ok(Err(Unproven::NotAnnounced)),
        }
    }

    fn public(&mut self, place: &SetPlace) -> Result<Option<&TxRwSet>, LedgerError> {
        let set = match self.public.entry((place.block, place.tx)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let block = self.blocks.appended_block(place.block)?;
                let raw = block.zip(usize::try_from(place.tx).ok()).and_then(|(block, tx)| block.data.get(tx).cloned());
                unknown.insert(raw.as_ref().and_then(read_set))
            }
        };
        Ok(set.as_ref())
    }
}

/// What late writes do to the state.
pub(crate) fn batch(sets: &[PlacedSet], blocks: &BlockStore, state: &StateSnapshot) -> Result<Batch, LedgerError> {
    let valid = of_valid_transactions(sets, blocks)?;
    let updates = PrivateUpdates::of_late_sets(&valid, state)?;
    let mut batch = Batch::new();
    let mut writer = StateWriter::new(&mut batch);
    updates.put(&mut writer);
    expire::schedule_values(&mut writer, &updates, &mut Lifetimes::new(state))?;
    Ok(batch)
}

fn of_valid_transactions(sets: &[PlacedSet], blocks: &BlockStore) -> Result<Vec<PlacedSet>, LedgerError> {
    let mut valid = Vec::with_capacity(sets.len());
    let mut codes = BTreeMap::new();
    for set in sets {
        let number = set.place.block;
        // Only valid transactions left hashes in the snapshot with which the ledger begins.
        if number < blocks.first() {
            valid.push(set.clone());
            continue;
        }
        let codes = match codes.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => match blocks.appended_block(number)? {
                None => continue,
                Some(block) => unknown.insert(block.metadata.validation_codes().map_err(StateError::new)?),
            },
        };
        if is_of_valid(set, codes) {
            valid.push(set.clone());
        }
    }
    Ok(valid)
}
