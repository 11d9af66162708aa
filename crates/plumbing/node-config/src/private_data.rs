use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::{ConfigError, Settings};

/// The sharing of private data (`peer.gossip.pvtData`). What a file leaves out is as in Fabric's sample file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivateDataConfig {
    /// How long a block may wait for private data from other peers. Fabric's peer has no default of its own for it: where the
    /// key is left out no block waits, and what is missing is reconciled.
    pub pull_retry_threshold: Duration,
    /// After how many blocks private data of transactions that were never ordered are forgotten.
    pub transient_store_max_block_retention: NonZeroU64,
    /// How long a peer may take to acknowledge private data.
    pub push_ack_timeout: Duration,
    /// A peer is not asked for what it will have forgotten so many blocks from now.
    pub btl_pull_margin: u64,
    /// Of how many blocks missing private data are looked for at once.
    pub reconcile_batch_size: NonZeroUsize,
    /// How long to rest between two searches for missing private data.
    pub reconcile_sleep_interval: Duration,
    /// Whether missing private data are looked for after their block was committed.
    pub reconciliation_enabled: bool,
    /// Whether a block waits for valid transactions only.
    pub skip_pulling_invalid_transactions: bool,
    /// How many other peers must get values of the organization's own implicit collection.
    pub implicit_required_peer_count: usize,
    /// How many others get them.
    pub implicit_maximum_peer_count: usize,
    /// How long private data that nobody had are left alone.
    pub deprioritized_interval: Duration,
}

const SECOND: Duration = Duration::from_secs(1);

impl PrivateDataConfig {
    pub(crate) fn read(s: &Settings) -> Result<Self, ConfigError> {
        let key = |name: &str| format!("peer.gossip.pvtData.{name}");
        let implicit = |name: &str| key(&format!("implicitCollectionDisseminationPolicy.{name}"));
        let config = Self {
            pull_retry_threshold: s.duration(&key("pullRetryThreshold"))?.unwrap_or_default(),
            transient_store_max_block_retention: s
                .count::<u64>(&key("transientstoreMaxBlockRetention"))?
                .and_then(NonZeroU64::new)
                .unwrap_or(const { NonZeroU64::new(20_000).expect("20000 is not zero") }),
            push_ack_timeout: s.duration_or(&key("pushAckTimeout"), 3 * SECOND)?,
            btl_pull_margin: s.count(&key("btlPullMargin"))?.unwrap_or(10),
            reconcile_batch_size: s
                .count::<usize>(&key("reconcileBatchSize"))?
                .and_then(NonZeroUsize::new)
                .unwrap_or(const { NonZeroUsize::new(10).expect("10 is not zero") }),
            reconcile_sleep_interval: s.duration_or(&key("reconcileSleepInterval"), 60 * SECOND)?,
            reconciliation_enabled: s.flag(&key("reconciliationEnabled"))?.unwrap_or(true),
            skip_pulling_invalid_transactions: s
                .flag(&key("skipPullingInvalidTransactionsDuringCommit"))?
                .unwrap_or(false),
            implicit_required_peer_count: s.count(&implicit("requiredPeerCount"))?.unwrap_or(0),
            implicit_maximum_peer_count: s.count(&implicit("maxPeerCount"))?.unwrap_or(1),
            deprioritized_interval: s
                .duration_or("ledger.pvtdataStore.deprioritizedDataReconcilerInterval", 3600 * SECOND)?,
        };
        if config.implicit_maximum_peer_count < config.implicit_required_peer_count {
            return Err(ConfigError::Conflict(format!(
                "{} ({}) cannot be less than requiredPeerCount ({})",
                implicit("maxPeerCount"),
                config.implicit_maximum_peer_count,
                config.implicit_required_peer_count
            )));
        }
        Ok(config)
    }
}
