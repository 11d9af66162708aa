use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use ripstop_sharing::PeerCounts;

/// How private data is shared (`peer.gossip.pvtData`). The defaults are those of Fabric's `core.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateDataConfig {
    /// How long a peer may take to acknowledge what it is sent (`pushAckTimeout`).
    pub push_patience: Duration,
    /// How long a block may wait for private data (`pullRetryThreshold`).
    pub pull_patience: Duration,
    /// A peer is not asked for what it will have forgotten so many blocks from now (`btlPullMargin`).
    pub pull_margin: u64,
    /// What is asked for when a block is committed (`skipPullingInvalidTransactionsDuringCommit`).
    pub pull_at_commit: PullAtCommit,
    /// What was endorsed is forgotten so many blocks later (`transientstoreMaxBlockRetention`).
    pub transient_retention: NonZeroU64,
    /// Who gets values of the organization's own implicit collection (`implicitCollectionDisseminationPolicy`).
    pub implicit: PeerCounts,
    /// `None`: what is missed is never looked for again (`reconciliationEnabled`).
    pub reconciliation: Option<Reconciliation>,
}

/// Which private data peers are asked for when a block is committed. The rest is looked for afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullAtCommit {
    /// All that the block announces.
    Everything,
    /// What its valid transactions wrote.
    OfValidTransactions,
}

/// The search for what was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconciliation {
    /// How long to rest between two searches (`reconcileSleepInterval`).
    pub rest: Duration,
    /// Of how many blocks to look for what is missed at once (`reconcileBatchSize`).
    pub blocks: NonZeroUsize,
    /// How long to leave alone what nobody had (`ledger.pvtdataStore.deprioritizedDataReconcilerInterval`).
    pub retry: Duration,
}

impl Default for PrivateDataConfig {
    fn default() -> Self {
        Self {
            push_patience: Duration::from_secs(3),
            pull_patience: Duration::from_secs(60),
            pull_margin: 10,
            pull_at_commit: PullAtCommit::Everything,
            transient_retention: NonZeroU64::new(20_000).expect("20000 is not zero"),
            implicit: PeerCounts { required: 0, maximum: 1 },
            reconciliation: Some(Reconciliation::default()),
        }
    }
}

impl Default for Reconciliation {
    fn default() -> Self {
        Self {
            rest: Duration::from_secs(60),
            blocks: NonZeroUsize::new(10).expect("10 is not zero"),
            retry: Duration::from_secs(3600),
        }
    }
}
