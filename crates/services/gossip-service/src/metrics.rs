use prometheus::{IntCounter, IntGaugeVec};
use ripstop_operations::Metrics;

/// What gossip counts, under Fabric's names. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct GossipMetrics {
    pub(crate) sent: IntCounter,
    pub(crate) received: IntCounter,
    pub(crate) overflows: IntCounter,
    known_peers: IntGaugeVec,
    leader: IntGaugeVec,
    waiting: IntGaugeVec,
    height: IntGaugeVec,
}

impl GossipMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter = |name, help| metrics.counter(name, help, &[]).with_label_values::<&str>(&[]);
        let gauge = |name, help| metrics.gauge(name, help, &["channel"]);
        Self {
            sent: counter("gossip_comm_messages_sent", "Number of messages sent"),
            received: counter("gossip_comm_messages_received", "Number of messages received"),
            overflows: counter("gossip_comm_overflow_count", "Number of outgoing queue buffer overflows"),
            known_peers: gauge("gossip_membership_total_peers_known", "Total known peers"),
            leader: gauge("gossip_leader_election_leader", "Peer is leader (1) or follower (0)"),
            waiting: gauge("gossip_payload_buffer_size", "Size of the payload buffer"),
            height: gauge("gossip_state_height", "Current ledger height"),
        }
    }

    /// How many other peers a channel has.
    pub(crate) fn knows(&self, channel: &str, peers: usize) {
        set(&self.known_peers, channel, peers as u64);
    }

    /// Whether this peer was elected.
    pub(crate) fn leads(&self, channel: &str, leads: u64) {
        set(&self.leader, channel, leads);
    }

    /// How many blocks of other peers wait for the committer.
    pub(crate) fn waits(&self, channel: &str, blocks: usize) {
        set(&self.waiting, channel, blocks as u64);
    }

    /// How high the ledger is.
    pub(crate) fn reaches(&self, channel: &str, height: u64) {
        set(&self.height, channel, height);
    }
}

fn set(gauge: &IntGaugeVec, channel: &str, value: u64) {
    gauge.with_label_values(&[channel]).set(i64::try_from(value).unwrap_or(i64::MAX));
}
