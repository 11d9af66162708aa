use std::sync::Arc;
use std::time::Instant;

use ripstop_ledger::{CommitError, Ledger, PrivateStoreError, StateError};
use ripstop_types::{Block, BlockNumber, Digest, MspId, TxId};
use ripstop_validation::{BlockRefusal, Undecided, ValidatedBlock, VerifiedBlock};

use crate::CommitMetrics;
use crate::gather::{GatherError, gather};
use crate::parallel::on_all_cores;

/// Private writes of proposals that are never ordered are forgotten after this many blocks
/// (Fabric: `peer.gossip.pvtData.transientstoreMaxBlockRetention`).
const TRANSIENT_RETENTION: u64 = 20_000;

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
        Self { ledger, organization: None, metrics: None }
    }

    /// Says whose peer this is. A peer of nobody keeps no private data.
    pub fn of_organization(self, organization: MspId) -> Self {
        Self { organization: Some(organization), ..self }
    }

    /// Counts what is committed.
    pub fn counting(self, metrics: CommitMetrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Verifies, checks, validates and commits one block; the outer result says whether the channel goes on, the inner
    /// one whether the block was taken.
    pub fn commit(&self, block: Block) -> Result<Result<(), BlockRefusal>, CommitterError> {
        match self.verify(block, &self.tip()) {
            Ok(verified) => self.commit_verified(verified).map(Ok),
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

    /// All that needs the state after the block before.
    pub(crate) fn commit_verified(&self, verified: VerifiedBlock) -> Result<(), CommitterError> {
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
        let validated = checked
            .validate(&*before, &self.ledger.commit_hash())
            .map_err(|source| CommitterError::State { channel: channel.to_owned(), block, source })?;
        self.log_refusals(&validated);
        let validation = validating.elapsed();
        let private = gather(&self.ledger, self.organization.as_ref(), &validated).map_err(|error| {
            let channel = channel.to_owned();
            match error {
                GatherError::State(source) => CommitterError::State { channel, block, source },
                GatherError::Transient(source) => CommitterError::Transient { channel, block, source },
            }
        })?;
        let transactions: Vec<TxId> = validated.transactions().iter().map(|t| t.tx_id.clone()).collect();
        let hash = validated.commit_hash().map(|hash| hash.to_string()).unwrap_or_default();
        if let Some(metrics) = &self.metrics {
            metrics.count(channel, validated.transactions());
        }
        let times = self.ledger.commit(validated, private).map_err(|source| CommitterError::Ledger {
            channel: channel.to_owned(),
            block,
            source,
        })?;
        if let Some(metrics) = &self.metrics {
            metrics.observe(channel, started.elapsed(), times);
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
        let transient = self.ledger.transient();
        let mut done = transient.purge(transactions);
        if block.get() > 0 && block.get().is_multiple_of(TRANSIENT_RETENTION) {
            done = done.and(transient.purge_below(BlockNumber::new(block.get() - TRANSIENT_RETENTION)));
        }
        if let Err(error) = done {
            tracing::warn!(
                target: "gossip.privdata",
                "[{}] Purging the transient store after block [{block}] failed: {error}", self.ledger.channel_id()
            );
        }
    }
}
