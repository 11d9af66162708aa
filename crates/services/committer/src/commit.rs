use std::sync::Arc;

use ripstop_ledger::{CommitError, Ledger, PrivateStoreError, StateError};
use ripstop_private_data::{ChannelPrivateData, Prefetched};
use ripstop_types::{Block, BlockNumber, Digest, MspId};
use ripstop_validation::{BlockRefusal, Undecided, ValidatedBlock, VerifiedBlock};

use crate::CommitMetrics;
use crate::parallel::on_all_cores;
use crate::writing::{Decided, Writing};

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
    pub(crate) organization: Option<MspId>,
    pub(crate) metrics: Option<CommitMetrics>,
    pub(crate) sharing: Option<ChannelPrivateData>,
}

/// Where the next block attaches: ahead of the ledger while a block is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) next: BlockNumber,
    pub(crate) hash: Digest,
}

impl Tip {
    /// Where the block behind another one attaches.
    pub(crate) fn behind(block: &Block) -> Self {
        Self { next: block.number().next(), hash: block.header.hash() }
    }
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
        let verified = match self.verify(block, &self.tip(), on_all_cores) {
            Ok(verified) => verified,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut writing = self.begin()?;
        let decided = writing.decide(verified, &Prefetched::default())?;
        writing.add(decided)?;
        writing.finish().map(Ok)
    }

    /// The end of the ledger.
    pub(crate) fn tip(&self) -> Tip {
        let info = self.ledger.info();
        let hash = <[u8; 32]>::try_from(info.current_hash.as_ref()).map_or_else(|_| Digest::of(&[]), Digest::new);
        Tip { next: BlockNumber::new(info.height), hash }
    }

    /// All that needs no state; `run_all` says where signatures are checked.
    pub(crate) fn verify(
        &self,
        block: Block,
        tip: &Tip,
        run_all: fn(usize, &(dyn Fn(usize) + Sync)),
    ) -> Result<VerifiedBlock, BlockRefusal> {
        let config = self.ledger.config();
        let verified = VerifiedBlock::verify(block, &config, tip.next, tip.hash.as_bytes())?;
        verified.prepare_with(&config, run_all);
        Ok(verified)
    }

    /// Begins to commit blocks. Until that ends nobody else changes the ledger.
    pub(crate) fn begin(&self) -> Result<Writing<'_>, CommitterError> {
        let group = self.ledger.group().map_err(|source| self.refused_by_ledger(source))?;
        Ok(Writing { committer: self, group, done: Vec::new() })
    }

    /// Asks other peers for what is missing of the private data. Blocks nothing but this channel.
    pub(crate) async fn complete(&self, decided: Decided) -> Result<Decided, CommitterError> {
        let Some(sharing) = self.sharing.as_ref().filter(|_| decided.lacks_something()) else { return Ok(decided) };
        let block = decided.validated.block().number();
        let gathered = sharing.fetch(decided.gathered).await.map_err(|source| self.unreadable(block, source))?;
        Ok(Decided { gathered, ..decided })
    }

    /// Whether other peers can be asked for private data.
    pub(crate) const fn can_ask(&self) -> bool {
        self.sharing.is_some()
    }

    /// The channel stops at the first block that is not committed.
    pub(crate) fn refused_by_ledger(&self, source: CommitError) -> CommitterError {
        let block = BlockNumber::new(self.ledger.height());
        CommitterError::Ledger { channel: self.ledger.channel_id().to_string(), block, source }
    }

    pub(crate) fn unreadable(&self, block: BlockNumber, source: StateError) -> CommitterError {
        CommitterError::State { channel: self.ledger.channel_id().to_string(), block, source }
    }

    pub(crate) fn log_refusals(&self, validated: &ValidatedBlock) {
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
}
