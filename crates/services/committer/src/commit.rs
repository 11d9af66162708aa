use std::sync::Arc;
use std::time::{Duration, Instant};

use ripstop_ledger::{CommitError, Ledger, PrivateStoreError, StateError};
use ripstop_private_data::{ChannelPrivateData, GatherError, Gathered, Prefetched, PrivateDataConfig, gather};
use ripstop_types::{Block, BlockNumber, Digest, MspId, TxId};
use ripstop_validation::{BlockRefusal, Undecided, ValidatedBlock, VerifiedBlock};

use crate::CommitMetrics;
use crate::parallel::on_all_cores;

/// Why a channel stops committing.
#[derive(Debug, thiserror::Error)]
pub enum CommitterError {
    /// Nothing can be decided about a block.
    #[error("channel [{channel}] stops at block [{block}]: {source}")]
    Undecided {
        /// The channel.
        channel: String,
        /// The block.
        block: BlockNumber,
        /// Why not.
        source: Undecided,
    },
    /// The state cannot be read.
    #[error("channel [{channel}] stops at block [{block}]: {source}")]
    State {
        /// The channel.
        channel: String,
        /// The block.
        block: BlockNumber,
        /// Why not.
        source: StateError,
    },
    /// The ledger does not take the block.
    #[error("channel [{channel}] stops at block [{block}]: {source}")]
    Ledger {
        /// The channel.
        channel: String,
        /// The block.
        block: BlockNumber,
        /// Why not.
        source: CommitError,
    },
    /// The transient store fails.
    #[error("channel [{channel}] stops at block [{block}]: {source}")]
    Transient {
        /// The channel.
        channel: String,
        /// The block.
        block: BlockNumber,
        /// Why.
        source: PrivateStoreError,
    },
    /// A stage panicked: a bug.
    #[error("channel [{channel}] stops: committing panicked: {message}")]
    Panicked {
        /// The channel.
        channel: String,
        /// What the runtime says.
        message: String,
    },
}

/// Commits blocks to the ledger of one channel. Everything here blocks; [`Self::run`] does it off the async threads.
#[derive(Clone)]
pub struct Committer {
    pub(crate) ledger: Arc<Ledger>,
    organization: Option<MspId>,
    metrics: Option<CommitMetrics>,
    sharing: Option<ChannelPrivateData>,
}

/// A block whose verdicts are known, with what is known of its private data.
pub(crate) struct Decided {
    validated: ValidatedBlock,
    gathered: Gathered,
    started: Instant,
    validation: Duration,
}

/// Where the next block attaches: ahead of the ledger while a block is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) next: BlockNumber,
    pub(crate) hash: Digest,
}

impl Committer {
    /// The committer of a channel. A ledger must not have two at a time.
    pub const fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, organization: None, metrics: None, sharing: None }
    }

    /// Says whose peer this is. A peer of nobody keeps no private data.
    pub fn of_organization(self, organization: MspId) -> Self {
        Self { organization: Some(organization), ..self }
    }

    /// Counts what is committed.
    pub fn counting(self, metrics: CommitMetrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Asks other peers for private data that is not here. Without it such data is noted as missing.
    pub fn sharing(self, sharing: ChannelPrivateData) -> Self {
        Self { sharing: Some(sharing), ..self }
    }

    /// Verifies, checks, validates and commits one block, with the private data that are here; the outer result says whether the
    /// channel goes on, the inner one whether the block was taken.
    pub fn commit(&self, block: Block) -> Result<Result<(), BlockRefusal>, CommitterError> {
        match self.verify(block, &self.tip()) {
            Ok(verified) => {
                let decided = self.decide(verified, &Prefetched::default())?;
                self.write(decided).map(Ok)
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// The end of the ledger.
    pub(crate) fn tip(&self) -> Tip {
        let info = self.ledger.info();
        let hash = <[u8; 32]>::try_from(info.current_hash.as_ref()).map_or_else(|_| Digest::of(&[]), Digest::new);
        Tip { next: BlockNumber::new(info.height), hash }
    }

    /// All that needs no state.
    pub(crate) fn verify(&self, block: Block, tip: &Tip) -> Result<VerifiedBlock, BlockRefusal> {
        let config = self.ledger.config();
        let verified = VerifiedBlock::verify(block, &config, tip.next, tip.hash.as_bytes())?;
        verified.prepare_with(&config, on_all_cores);
        Ok(verified)
    }

    /// All that needs the state after the block before, and the private data that are here.
    pub(crate) fn decide(&self, verified: VerifiedBlock, prefetched: &Prefetched) -> Result<Decided, CommitterError> {
        let channel = self.ledger.channel_id().as_str();
        let block = verified.block().number();
        let started = Instant::now();
        let config = self.ledger.config();
        let before = self.ledger.snapshot();
        let checked = verified
            .check_with(&config, &*before, on_all_cores)
            .map_err(|source| CommitterError::Undecided { channel: channel.to_owned(), block, source })?;
        tracing::info!(
            target: "committer.txvalidator",
            "[{channel}] Validated block [{block}] in {}ms", started.elapsed().as_millis()
        );
        let validating = Instant::now();
        let validated =
            checked.validate(&*before, &self.ledger.commit_hash()).map_err(|source| self.unreadable(block, source))?;
        self.log_refusals(&validated);
        let (validation, gathering) = (validating.elapsed(), Instant::now());
        let gathered =
            gather(&self.ledger, self.organization.as_ref(), &validated, prefetched).map_err(|error| match error {
                GatherError::State(source) => self.unreadable(block, source),
                GatherError::Transient(source) => {
                    CommitterError::Transient { channel: channel.to_owned(), block, source }
                }
            })?;
        if let Some(sharing) = &self.sharing {
            sharing.metrics().validated(channel, gathering - started);
            sharing.metrics().listed(channel, gathering.elapsed());
        }
        Ok(Decided { validated, gathered, started, validation })
    }

    /// Asks other peers for what is missing of the private data. Blocks nothing but this channel.
    pub(crate) async fn complete(&self, decided: Decided) -> Result<Decided, CommitterError> {
        let Some(sharing) = self.sharing.as_ref().filter(|_| !decided.gathered.missed().is_empty()) else {
            return Ok(decided);
        };
        let block = decided.validated.block().number();
        let gathered = sharing.fetch(decided.gathered).await.map_err(|source| self.unreadable(block, source))?;
        Ok(Decided { gathered, ..decided })
    }

    /// Writes what was decided.
    pub(crate) fn write(&self, decided: Decided) -> Result<(), CommitterError> {
        let Decided { validated, gathered, started, validation } = decided;
        let (channel, block) = (self.ledger.channel_id().as_str(), validated.block().number());
        let transactions: Vec<TxId> = validated.transactions().iter().map(|t| t.tx_id.clone()).collect();
        let hash = validated.commit_hash().map(|hash| hash.to_string()).unwrap_or_default();
        if let Some(metrics) = &self.metrics {
            metrics.count(channel, validated.transactions());
        }
        let (private, writing) = (gathered.finish(&self.ledger), Instant::now());
        let times = self.ledger.commit(validated, private).map_err(|source| CommitterError::Ledger {
            channel: channel.to_owned(),
            block,
            source,
        })?;
        if let Some(metrics) = &self.metrics {
            metrics.observe(channel, started.elapsed(), times);
        }
        if let Some(sharing) = &self.sharing {
            sharing.metrics().committed(channel, writing.elapsed());
        }
        tracing::info!(
            target: "kvledger",
            "[{channel}] Committed block [{block}] with {} transaction(s) in {}ms (state_validation={}ms block_and_pvtdata_commit={}ms state_commit={}ms) commitHash=[{hash}]",
            transactions.len(),
            started.elapsed().as_millis(),
            validation.as_millis(),
            (times.blocks + times.private).as_millis(),
            times.state.as_millis()
        );
        self.forget(&transactions, block);
        Ok(())
    }

    fn unreadable(&self, block: BlockNumber, source: StateError) -> CommitterError {
        CommitterError::State { channel: self.ledger.channel_id().to_string(), block, source }
    }

    fn log_refusals(&self, validated: &ValidatedBlock) {
        let channel = self.ledger.channel_id();
        let block = validated.block().number();
        for (index, transaction, refusal) in validated.refusals() {
            tracing::warn!(
                target: "validation",
                "Channel [{channel}]: Block [{block}] Transaction index [{index}] TxId [{}] marked as invalid by committer. Reason code [{}]: {refusal}",
                transaction.tx_id, transaction.code
            );
        }
    }

    /// A failure is not fatal: what stays behind is forgotten by its age.
    fn forget(&self, transactions: &[TxId], block: BlockNumber) {
        let began = Instant::now();
        let retention = match &self.sharing {
            Some(sharing) => sharing.config().transient_retention,
            None => PrivateDataConfig::default().transient_retention,
        };
        let retention = retention.get();
        let transient = self.ledger.transient();
        let mut done = transient.purge(transactions);
        if block.get() > 0 && block.get().is_multiple_of(retention) {
            done = done.and(transient.purge_below(BlockNumber::new(block.get() - retention)));
        }
        if let Err(error) = done {
            tracing::warn!(
                target: "gossip.privdata",
                "[{}] Purging the transient store after block [{block}] failed: {error}", self.ledger.channel_id()
            );
        }
        if let Some(sharing) = &self.sharing {
            sharing.committed(transactions);
            sharing.metrics().purged(self.ledger.channel_id().as_str(), began.elapsed());
        }
    }
}
