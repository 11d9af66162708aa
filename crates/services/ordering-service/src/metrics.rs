use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec};
use ripstop_operations::{HistogramVec, Metrics};
use ripstop_types::BlockNumber;

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
    committed_block: IntGaugeVec,
    height: IntGaugeVec,
    commit_time: HistogramVec,
    fill_time: HistogramVec,
    pub(crate) snapshot_block: IntGaugeVec,
    pub(crate) normal_proposals: IntCounterVec,
    pub(crate) config_proposals: IntCounterVec,
    pub(crate) proposal_failures: IntCounterVec,
    pub(crate) active_nodes: IntGaugeVec,
    pub(crate) persist: HistogramVec,
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
            height: gauge("ledger_blockchain_height", "Height of the chain in blocks."),
            commit_time: metrics.histogram(
                "ledger_blockstorage_commit_time",
                "Time taken in seconds for committing the block to storage.",
                &channel,
            ),
            fill_time: metrics.histogram(
                "blockcutter_block_fill_duration",
                "The time from first transaction enqueuing to the block being cut in seconds.",
                &channel,
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
            active_nodes: gauge("consensus_etcdraft_active_nodes", "Number of active nodes in this channel."),
            persist: metrics.histogram(
                "consensus_etcdraft_data_persist_duration",
                "The time taken for etcd/raft data to be persisted in storage (in seconds).",
                &channel,
            ),
        }
    }
}

impl ConsensusMetrics {
    /// Says how far a channel has come.
    pub(crate) fn reached(&self, channel: &str, last: BlockNumber) {
        self.committed_block.with_label_values(&[channel]).set(last.get() as i64);
        self.height.with_label_values(&[channel]).set(last.next().get() as i64);
    }

    /// Notes how long blocks took to be stored that were stored together.
    pub(crate) fn stored(&self, channel: &str, blocks: usize, took: Duration) {
        let commit_time = self.commit_time.with_label_values(&[channel]);
        (0..blocks).for_each(|_| commit_time.observe(took.as_secs_f64() / blocks as f64));
    }

    /// Notes how long a batch took to become full.
    pub(crate) fn filled(&self, channel: &str, took: Duration) {
        self.fill_time.with_label_values(&[channel]).observe(took.as_secs_f64());
    }
}

/// What passes between orderers, under Fabric's names.
#[derive(Clone)]
pub(crate) struct ClusterMetrics {
    pub(crate) queue_length: IntGaugeVec,
    pub(crate) queue_capacity: IntGaugeVec,
    pub(crate) queue_workers: IntGaugeVec,
    pub(crate) ingress_streams: IntGaugeVec,
    pub(crate) egress_streams: IntGaugeVec,
    pub(crate) connections: IntGaugeVec,
    pub(crate) send_time: HistogramVec,
    pub(crate) dropped: IntCounterVec,
}

impl ClusterMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let queue = ["host", "msg_type", "channel"];
        let host = ["host", "channel"];
        let channel = ["channel"];
        Self {
            queue_length: metrics.gauge("cluster_comm_egress_queue_length", "Length of the egress queue.", &queue),
            queue_capacity: metrics.gauge(
                "cluster_comm_egress_queue_capacity",
                "Capacity of the egress queue.",
                &queue,
            ),
            queue_workers: metrics.gauge(
                "cluster_comm_egress_queue_workers",
                "Count of egress queue workers.",
                &channel,
            ),
            ingress_streams: metrics.gauge(
                "cluster_comm_ingress_stream_count",
                "Count of streams from other nodes.",
                &[],
            ),
            egress_streams: metrics.gauge(
                "cluster_comm_egress_stream_count",
                "Count of streams to other nodes.",
                &channel,
            ),
            connections: metrics.gauge(
                "cluster_comm_egress_tls_connection_count",
                "Count of TLS connections to other nodes.",
                &[],
            ),
            send_time: metrics.histogram(
                "cluster_comm_msg_send_time",
                "The time it takes to send a message in seconds.",
                &host,
            ),
            dropped: metrics.counter("cluster_comm_msg_dropped_count", "Count of messages dropped.", &host),
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
