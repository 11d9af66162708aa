use prometheus::{IntCounterVec, IntGaugeVec};
use ripstop_operations::{HistogramVec, Metrics};

/// What happens to messages, under Fabric's names.
#[derive(Clone)]
pub(crate) struct BroadcastMetrics {
    pub(crate) processed: IntCounterVec,
    pub(crate) validate: HistogramVec,
    pub(crate) enqueue: HistogramVec,
}

impl BroadcastMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let labels = ["channel", "type", "status"];
        Self {
            processed: metrics.counter("broadcast_processed_count", "The number of transactions processed.", &labels),
            validate: metrics.histogram(
                "broadcast_validate_duration",
                "The time to validate a transaction in seconds.",
                &labels,
            ),
            enqueue: metrics.histogram(
                "broadcast_enqueue_duration",
                "The time to enqueue a transaction in seconds.",
                &labels,
            ),
        }
    }
}

/// What happens in consensus, under Fabric's names.
#[derive(Clone)]
pub(crate) struct ConsensusMetrics {
    pub(crate) cluster_size: IntGaugeVec,
    pub(crate) is_leader: IntGaugeVec,
    pub(crate) leader_changes: IntCounterVec,
    pub(crate) committed_block: IntGaugeVec,
    pub(crate) snapshot_block: IntGaugeVec,
    pub(crate) normal_proposals: IntCounterVec,
    pub(crate) config_proposals: IntCounterVec,
    pub(crate) proposal_failures: IntCounterVec,
}

impl ConsensusMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let channel = ["channel"];
        let gauge = |name, help| metrics.gauge(name, help, &channel);
        let counter = |name, help| metrics.counter(name, help, &channel);
        Self {
            cluster_size: gauge("consensus_etcdraft_cluster_size", "Number of nodes in this channel."),
            is_leader: gauge(
                "consensus_etcdraft_is_leader",
                "The leadership status of the current node: 1 if it is the leader else 0.",
            ),
            leader_changes: counter(
                "consensus_etcdraft_leader_changes",
                "The number of leader changes since process start.",
            ),
            committed_block: gauge(
                "consensus_etcdraft_committed_block_number",
                "The block number of the latest block committed.",
            ),
            snapshot_block: gauge(
                "consensus_etcdraft_snapshot_block_number",
                "The block number of the latest snapshot.",
            ),
            normal_proposals: counter(
                "consensus_etcdraft_normal_proposals_received",
                "The total number of proposals received for normal type transactions.",
            ),
            config_proposals: counter(
                "consensus_etcdraft_config_proposals_received",
                "The total number of proposals received for config type transactions.",
            ),
            proposal_failures: counter("consensus_etcdraft_proposal_failures", "The number of proposal failures."),
        }
    }
}

/// This node's part in its channels, under Fabric's names.
#[derive(Clone)]
pub(crate) struct ParticipationMetrics {
    relation: IntGaugeVec,
    status: IntGaugeVec,
}

impl ParticipationMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            relation: metrics.gauge(
                "participation_consensus_relation",
                "The channel participation consensus relation of the node: 0 if other, 1 if consenter, 2 if follower, 3 if config-tracker.",
                &["channel"],
            ),
            status: metrics.gauge(
                "participation_status",
                "The channel participation status of the node: 0 if inactive, 1 if active, 2 if onboarding, 3 if failed.",
                &["channel"],
            ),
        }
    }

    pub(crate) fn consenter(&self, channel: &str) {
        self.relation.with_label_values(&[channel]).set(1);
        self.status.with_label_values(&[channel]).set(1);
    }

    pub(crate) fn failed(&self, channel: &str) {
        self.status.with_label_values(&[channel]).set(3);
    }

    pub(crate) fn removed(&self, channel: &str) {
        let _ = self.relation.remove_label_values(&[channel]);
        let _ = self.status.remove_label_values(&[channel]);
    }
}
