//! Private data that comes after its block: what is missing, how it is taken, and how the state follows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use ripstop_block_store::BlockStore;
use ripstop_kv::Batch;
use ripstop_lifecycle::Lifetimes;
use ripstop_private_store::{CommittedPrivateData, PrivatePlace, PrivateSet};
use ripstop_rwset::{CollectionPrivateRwSet, StateError, TxRwSet, Unproven};
use ripstop_state_db::StateWriter;
use ripstop_types::Block;

use crate::private::{PrivateUpdates, is_of_valid, is_purged, read_set};
use crate::{LedgerError, ReconcileError, StateSnapshot, expire};

/// Private writes that were not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedSet {
    /// Where they were said to belong.
    pub place: PrivatePlace,
    /// Why they were not taken.
    pub reason: Rejection,
}

/// Why late private writes are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The block is not committed here, or none of its transactions announces them, or the snapshot with which the ledger
    /// begins had no hashes of them.
    #[error("nothing in this ledger announces them")]
    NotAnnounced,
    /// Their time is over.
    #[error("they have expired")]
    Expired,
    /// They are not what was announced.
    #[error(transparent)]
    Unproven(#[from] Unproven),
}

/// What became of private writes that came late.
pub(crate) enum Examined {
    /// They are here already.
    Known,
    /// They may be kept, as far as they stand here.
    Proven(PrivateSet),
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
    /// The block that was read last. Reading one costs far more than anything else here, and keeping many takes much memory.
    block: Option<Arc<Block>>,
}

impl<'a> Examination<'a> {
    pub(crate) fn new(blocks: &'a BlockStore, kept: &'a CommittedPrivateData, state: &'a StateSnapshot) -> Self {
        let height = state.height();
        Self { blocks, kept, lifetimes: Lifetimes::of(state), height, block: None }
    }

    /// Says what becomes of some writes. Those of one block are best asked for one after the other.
    pub(crate) fn examine(&mut self, set: PrivateSet) -> Result<Examined, ReconcileError> {
        let PrivateSet { place, writes } = set;
        if self.kept.contains(&place)? && place.block.get() < self.height {
            return Ok(Examined::Known);
        }
        match self.prove(&place, &writes)? {
            Ok(writes) => Ok(Examined::Proven(PrivateSet { place, writes })),
            Err(reason) => Ok(Examined::Rejected(RejectedSet { place, reason })),
        }
    }

    fn prove(
        &mut self,
        place: &PrivatePlace,
        writes: &CollectionPrivateRwSet,
    ) -> Result<Result<CollectionPrivateRwSet, Rejection>, ReconcileError> {
        if place.block.get() >= self.height {
            return Ok(Err(Rejection::NotAnnounced));
        }
        let end = self.lifetimes.end(&place.namespace, &place.collection, place.block).map_err(LedgerError::from)?;
        if end.is_some_and(|end| end.get() < self.height) {
            return Ok(Err(Rejection::Expired));
        }
        let kept = self.kept;
        if place.block < self.blocks.first() {
            let hashed = kept.hashed(place)?;
            if hashed.is_empty() {
                return Ok(Err(Rejection::NotAnnounced));
            }
            return Ok(writes
                .proven_by_key(&hashed, |key_hash| is_purged(kept, place, key_hash))?
                .map_err(Rejection::from));
        }
        let public = self.public(place)?;
        match public.as_ref().and_then(|set| set.hashed_collection(&place.namespace, &place.collection)) {
            Some(hashed) => {
                Ok(writes.proven_by(hashed, |key_hash| is_purged(kept, place, key_hash))?.map_err(Rejection::from))
            }
            None => Ok(Err(Rejection::NotAnnounced)),
        }
    }

    /// What the transaction announced.
    fn public(&mut self, place: &PrivatePlace) -> Result<Option<TxRwSet>, LedgerError> {
        if self.block.as_ref().is_none_or(|known| known.number() != place.block) {
            self.block = self.blocks.appended_block(place.block)?;
        }
        let place = usize::try_from(place.tx).ok();
        let raw = self.block.as_ref().zip(place).and_then(|(block, place)| block.data.get(place));
        Ok(raw.and_then(read_set))
    }
}

/// What late writes do to the state.
pub(crate) fn batch(sets: &[PrivateSet], blocks: &BlockStore, state: &StateSnapshot) -> Result<Batch, LedgerError> {
    let valid = of_valid_transactions(sets, blocks)?;
    let updates = PrivateUpdates::of_late_sets(&valid, state)?;
    let mut batch = Batch::new();
    let mut writer = StateWriter::new(&mut batch);
    updates.put(&mut writer);
    expire::schedule_values(&mut writer, &updates, &mut Lifetimes::of(state))?;
    Ok(batch)
}

fn of_valid_transactions(sets: &[PrivateSet], blocks: &BlockStore) -> Result<Vec<PrivateSet>, LedgerError> {
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
