//! Blocks on their way into the ledger: verdicts, private data, and what is told of each when it is there.

use std::time::{Duration, Instant};

use ripstop_ledger::{CommitTimes, Group};
use ripstop_private_data::{GatherError, Gathered, Prefetched, PrivateDataConfig, gather};
use ripstop_types::{BlockNumber, TxId};
use ripstop_validation::{ValidatedBlock, VerifiedBlock};

use crate::parallel::on_all_cores;
use crate::{Committer, CommitterError};

/// Blocks that are committed together. When it is dropped without [`Self::finish`], those that are not written yet are not
/// committed.
pub(crate) struct Writing<'a> {
    pub(crate) committer: &'a Committer,
    pub(crate) group: Group<'a>,
    pub(crate) done: Vec<Done>,
}

/// A block whose verdicts are known, with what is known of its private data.
pub(crate) struct Decided {
    pub(crate) validated: ValidatedBlock,
    pub(crate) gathered: Gathered,
    /// How long that took: all of it, and what of it was spent on the comparison with the state.
    pub(crate) took: Duration,
    pub(crate) validation: Duration,
}

impl Decided {
    /// Whether private data is missing that may be elsewhere.
    pub(crate) fn lacks_something(&self) -> bool {
        !self.gathered.missed().is_empty()
    }
}

/// What is told of a block when it is committed.
pub(crate) struct Done {
    number: BlockNumber,
    transactions: Vec<TxId>,
    commit_hash: String,
    took: Duration,
    validation: Duration,
}

impl Writing<'_> {
    /// All that needs the state after the block before, and the private data that are here.
    pub(crate) fn decide(
        &mut self,
        verified: VerifiedBlock,
        prefetched: &Prefetched,
    ) -> Result<Decided, CommitterError> {
        let committer = self.committer;
        let channel = committer.ledger.channel_id().as_str();
        let block = verified.block().number();
        let started = Instant::now();
        let config = committer.ledger.config();
        let before = self.group.state();
        let checked = verified
            .check_with(&config, &before, on_all_cores)
            .map_err(|source| CommitterError::Undecided { channel: channel.to_owned(), block, source })?;
        tracing::info!(
            target: "committer.txvalidator",
            "[{channel}] Validated block [{block}] in {}ms", started.elapsed().as_millis()
        );
        let validating = Instant::now();
        let validated =
            checked.validate(&before, before.commit_hash()).map_err(|source| committer.unreadable(block, source))?;
        committer.log_refusals(&validated);
        let (validation, gathering) = (validating.elapsed(), Instant::now());
        let organization = committer.organization.as_ref();
        let gathered =
            gather(&committer.ledger, &before, organization, &validated, prefetched).map_err(|error| match error {
                GatherError::State(source) => committer.unreadable(block, source),
                GatherError::Transient(source) => {
                    CommitterError::Transient { channel: channel.to_owned(), block, source }
                }
            })?;
        if let Some(sharing) = &committer.sharing {
            sharing.metrics().validated(channel, gathering - started);
            sharing.metrics().listed(channel, gathering.elapsed());
        }
        Ok(Decided { validated, gathered, took: started.elapsed(), validation })
    }

    /// Adds what was decided. Blocks may be written on this occasion.
    pub(crate) fn add(&mut self, decided: Decided) -> Result<(), CommitterError> {
        let Decided { validated, gathered, took, validation } = decided;
        let number = validated.block().number();
        let committer = self.committer;
        let adding = Instant::now();
        if let Some(metrics) = &committer.metrics {
            metrics.count(committer.ledger.channel_id().as_str(), validated.transactions());
        }
        let transactions = validated.transactions().iter().map(|transaction| transaction.tx_id.clone()).collect();
        let commit_hash = validated.commit_hash().map(|hash| hash.to_string()).unwrap_or_default();
        let private = gathered.finish(&committer.ledger);
        let added = self.group.add(validated, &private);
        added.map_err(|source| committer.refused_by_ledger(source))?;
        let took = took + adding.elapsed();
        self.done.push(Done { number, transactions, commit_hash, took, validation });
        Ok(())
    }

    /// Writes what is not written yet, and tells of all of it.
    pub(crate) fn finish(self) -> Result<(), CommitterError> {
        let Self { committer, group, done } = self;
        let writing = Instant::now();
        let times = group.finish().map_err(|source| committer.refused_by_ledger(source))?;
        let count = u32::try_from(done.len()).unwrap_or(u32::MAX).max(1);
        // What was done for all of them at once counts in equal parts.
        let shared = writing.elapsed() / count;
        let times =
            CommitTimes { private: times.private / count, blocks: times.blocks / count, state: times.state / count };
        for block in &done {
            committer.tell(block, shared, times);
        }
        committer.forget(&done);
        Ok(())
    }
}

impl Committer {
    fn tell(&self, block: &Done, shared: Duration, times: CommitTimes) {
        let Done { number, transactions, commit_hash, took, validation } = block;
        let (channel, took) = (self.ledger.channel_id().as_str(), *took + shared);
        if let Some(metrics) = &self.metrics {
            metrics.observe(channel, took, times);
        }
        if let Some(sharing) = &self.sharing {
            sharing.metrics().committed(channel, shared);
        }
        tracing::info!(
            target: "kvledger",
            "[{channel}] Committed block [{number}] with {} transaction(s) in {}ms (state_validation={}ms block_and_pvtdata_commit={}ms state_commit={}ms) commitHash=[{commit_hash}]",
            transactions.len(),
            took.as_millis(),
            validation.as_millis(),
            (times.blocks + times.private).as_millis(),
            times.state.as_millis()
        );
    }

    /// A failure is not fatal: what stays behind is forgotten by its age.
    fn forget(&self, done: &[Done]) {
        let Some(last) = done.last().map(|block| block.number) else { return };
        let began = Instant::now();
        let retention = match &self.sharing {
            Some(sharing) => sharing.config().transient_retention,
            None => PrivateDataConfig::default().transient_retention,
        };
        let retention = retention.get();
        let transactions: Vec<TxId> = done.iter().flat_map(|block| block.transactions.iter().cloned()).collect();
        let transient = self.ledger.transient();
        let mut purged = transient.purge(&transactions);
        let due = done.iter().map(|block| block.number.get()).filter(|number| number.is_multiple_of(retention));
        for number in due.filter(|number| *number > 0) {
            purged = purged.and_then(|()| transient.purge_below(BlockNumber::new(number - retention)));
        }
        if let Err(error) = purged {
            tracing::warn!(
                target: "gossip.privdata",
                "[{}] Purging the transient store after block [{last}] failed: {error}", self.ledger.channel_id()
            );
        }
        if let Some(sharing) = &self.sharing {
            sharing.committed(&transactions);
            sharing.metrics().purged(self.ledger.channel_id().as_str(), began.elapsed());
        }
    }
}
