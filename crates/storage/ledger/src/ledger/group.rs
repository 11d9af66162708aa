//! Blocks that are committed together: one synchronisation of the disk for all of them, and one batch of changes of the state.
//!
//! A peer that lags behind has many blocks at hand, and waiting for the disk after each would take most of its time. Nothing
//! of a group is visible to anybody else before it is safe, so nobody can tell it from blocks that came one by one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::MutexGuard;
use ripstop_channel_config::ChannelConfig;
use ripstop_kv::{Draft, Durability};
use ripstop_lifecycle::Lifetimes;
use ripstop_rwset::{CHANNEL_CONFIG_KEY, CHANNEL_CONFIG_NAMESPACE};
use ripstop_types::{Block, BlockNumber};
use ripstop_validation::ValidatedBlock;

use super::{Committing, Current, Ledger, PrivateData, organizations, read_config};
use crate::private::{announced_private_data, arrange, erase_purged, purged_keys};
use crate::{CommitError, LedgerError, StateSnapshot, apply};

/// A group that is being committed, and for so long nothing else is. Each of its blocks is validated against [`Self::state`].
/// It is in memory until it is written: who adds blocks bounds it. When it is dropped before [`Self::finish`], what was not
/// written is as if it had never been there. After an error nothing is committed any more until the ledger is opened again.
pub struct Group<'a> {
    ledger: &'a Ledger,
    committing: MutexGuard<'a, Committing>,
    /// What the blocks change, on top of what is written.
    draft: Draft,
    height: u64,
    commit_hash: Bytes,
    /// Those that are not written.
    blocks: Vec<Arc<Block>>,
    times: CommitTimes,
}

/// How long the parts of writing took.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommitTimes {
    /// The private data.
    pub private: Duration,
    /// The blocks themselves.
    pub blocks: Duration,
    /// The state, and what else follows from the blocks.
    pub state: Duration,
}

/// How the last block of those that are written together changes more than the state.
#[derive(Default)]
struct Ending {
    config: Option<Arc<ChannelConfig>>,
    purges: bool,
}

impl<'a> Group<'a> {
    pub(super) fn begin(ledger: &'a Ledger) -> Result<Self, CommitError> {
        let committing = ledger.committing.lock();
        if *committing == Committing::Failed {
            return Err(CommitError::Failed(ledger.channel_id.clone()));
        }
        let state = ledger.snapshot();
        Ok(Self {
            ledger,
            committing,
            draft: Draft::over(state.raw().clone()),
            height: state.height(),
            commit_hash: state.commit_hash().clone(),
            blocks: Vec::new(),
            times: CommitTimes::default(),
        })
    }

    /// The state after the last of its blocks. Not to be held while a block is added: all that changed would be copied.
    pub fn state(&self) -> StateSnapshot {
        StateSnapshot::new(self.draft.snapshot(), self.height, self.commit_hash.clone())
    }

    /// Adds the next block, with its private data. On this occasion blocks may be written, this one among them.
    pub fn add(&mut self, validated: ValidatedBlock, private: &PrivateData) -> Result<(), CommitError> {
        let number = validated.block().number();
        if number.get() != self.height {
            return Err(CommitError::NotNext { offered: number, height: self.height });
        }
        let added = self.add_next(validated, private);
        if added.is_err() {
            *self.committing = Committing::Failed;
        }
        added
    }

    /// Writes what is not written yet. Says how long all of the group took.
    pub fn finish(mut self) -> Result<CommitTimes, CommitError> {
        self.write(Ending::default())?;
        Ok(self.times)
    }

    fn add_next(&mut self, validated: ValidatedBlock, private: &PrivateData) -> Result<(), CommitError> {
        let number = validated.block().number();
        // What a block leaves in the private store is written before the block itself. Those before it are safe by then: the
        // private store is ahead by one block at most, and what it is asked meanwhile it answers as if they came one by one.
        if self.touches_private_store(&validated, private)? {
            self.write(Ending::default())?;
        }
        let config = match validated.updates().public(CHANNEL_CONFIG_NAMESPACE, CHANNEL_CONFIG_KEY) {
            None => None,
            Some(update) => {
                let envelope = update.value.clone().unwrap_or_default();
                let config = read_config(&self.ledger.channel_id, envelope);
                Some(Arc::new(config.map_err(|source| CommitError::Config { block: number, source })?))
            }
        };
        let purges = !validated.updates().purges().is_empty();
        self.stage(validated, private)?;
        let snapshot_is_wanted = self.ledger.snapshots.as_ref().is_some_and(|snapshots| snapshots.wants(number));
        if config.is_some() || purges || snapshot_is_wanted {
            self.write(Ending { config, purges })?;
        }
        Ok(())
    }

    fn touches_private_store(&self, validated: &ValidatedBlock, private: &PrivateData) -> Result<bool, CommitError> {
        Ok(!private.opened.is_empty()
            || !validated.updates().purges().is_empty()
            || !announced_private_data(validated).is_empty()
            // From before a crash or a rollback.
            || self.ledger.private.committed().has_any_of(validated.block().number())?)
    }

    /// Writes a block's private data, and puts what else it changes on top of the draft.
    fn stage(&mut self, validated: ValidatedBlock, private: &PrivateData) -> Result<(), CommitError> {
        let kept = self.ledger.private.committed();
        let batch = {
            let before = self.state();
            let mut lifetimes = Lifetimes::of(&before);
            let sets = arrange(&validated, private, kept, &mut lifetimes)?;
            let purged = purged_keys(sets.purges, &sets.present, kept)?;
            let batch = apply::batch(&validated, &sets.present, &purged, &before, &mut lifetimes);
            let batch = batch.map_err(LedgerError::from)?;
            let began = Instant::now();
            kept.put(validated.block().number(), &sets)?;
            self.times.private += began.elapsed();
            batch
        };
        self.draft.add(batch);
        self.commit_hash = apply::commit_hash(&validated);
        self.height += 1;
        self.blocks.push(Arc::new(validated.into_block()));
        Ok(())
    }

    /// Writes the blocks and then what follows from them, and lets everybody see it.
    fn write(&mut self, ending: Ending) -> Result<(), CommitError> {
        let Some(last) = self.blocks.last().map(|block| block.number()) else { return Ok(()) };
        let (ledger, kept) = (self.ledger, self.ledger.private.committed());
        *self.committing = Committing::Failed;
        let began = Instant::now();
        ledger.blocks.append_all(std::mem::take(&mut self.blocks)).map_err(LedgerError::from)?;
        self.times.blocks += began.elapsed();
        kept.forget_expired(last)?;
        // Purged values are erased below; the state must not need their clear keys again.
        let durability = if ending.purges { Durability::Synced } else { Durability::Buffered };
        let began = Instant::now();
        let draft = std::mem::replace(&mut self.draft, Draft::over(ledger.store.snapshot()));
        ledger.store.write(draft.into_batch(), durability).map_err(LedgerError::from)?;
        self.draft = Draft::over(ledger.store.snapshot());
        self.times.state += began.elapsed();
        if ending.purges {
            erase_purged(&ledger.channel_id, kept, self.height, ledger.purge_log)?;
        }
        self.publish(last, ending.config);
        *self.committing = Committing::Ready;
        Ok(())
    }

    fn publish(&self, last: BlockNumber, new_config: Option<Arc<ChannelConfig>>) {
        let (ledger, before) = (self.ledger, self.ledger.current.load_full());
        let state = StateSnapshot::new(ledger.store.snapshot(), self.height, self.commit_hash.clone());
        let state = Arc::new(state);
        let (config, organizations) = match new_config {
            None => (Arc::clone(&before.config), Arc::clone(&before.organizations)),
            Some(config) => (Arc::clone(&config), organizations(&config)),
        };
        ledger.current.store(Arc::new(Current { state: Arc::clone(&state), config, organizations }));
        ledger.former_height.reached(last.next().get());
        ledger.blocks.publish();
        if let Some(snapshots) = &ledger.snapshots {
            snapshots.committed(before.state.height(), &state);
        }
    }
}
