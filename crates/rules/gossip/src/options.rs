use std::time::Duration;

use crate::Endpoint;

/// Settings of gossip: the keys below `peer.gossip`, named as there. Absent are those of private data, which gossip only
/// carries, and endpoints: see [`crate::SelfDescription`].
///
/// `default()` is what Fabric's code takes where a key is absent; where that would be useless (`orgLeader`), what the
/// `core.yaml` says that comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Peers of the own organization that are asked at the start who else is there.
    pub bootstrap: Vec<Endpoint>,
    /// Whether the peers of an organization agree on one that pulls blocks from the orderers.
    pub use_leader_election: bool,
    /// Whether this peer pulls blocks from the orderers without an election.
    pub org_leader: bool,
    /// How often changes of a channel's membership are reported.
    pub membership_tracker_interval: Duration,
    /// How many blocks of a channel are kept for pushing and pulling.
    pub max_block_count_to_store: usize,
    /// How long a message waits at most for others before it is pushed.
    pub max_propagation_burst_latency: Duration,
    /// How many messages are pushed at once at most; as many are pushed without waiting.
    pub max_propagation_burst_size: usize,
    /// How often a message is pushed; with 0 nothing is pushed.
    pub propagate_iterations: u32,
    /// To how many peers a message is pushed.
    pub propagate_peer_num: usize,
    /// How often is pulled, and how often others are asked for their membership.
    pub pull_interval: Duration,
    /// From how many peers is pulled.
    pub pull_peer_num: usize,
    /// How often state infos are asked for.
    pub request_state_info_interval: Duration,
    /// How often this peer's state info is published, if it changed.
    pub publish_state_info_interval: Duration,
    /// For how long alive messages carry the identity, from the start.
    pub publish_cert_period: Duration,
    /// How long a connection may take to come up.
    pub dial_timeout: Duration,
    /// How long the first answer on a connection may take: ping and handshake.
    pub conn_timeout: Duration,
    /// How many received messages wait at most on a stream.
    pub recv_buff_size: usize,
    /// How many messages wait at most to be sent on a stream.
    pub send_buff_size: usize,
    /// How long a pull waits for digests before it sends requests.
    pub digest_wait_time: Duration,
    /// How long a peer that said hello may send requests.
    pub request_wait_time: Duration,
    /// How long a pull waits for answers to its requests.
    pub response_wait_time: Duration,
    /// How often an alive message is sent.
    pub alive_time_interval: Duration,
    /// After how long without an alive message a peer is dead.
    pub alive_expiration_timeout: Duration,
    /// How often dead and unreachable peers are tried.
    pub reconnect_interval: Duration,
    /// How often a bootstrap or anchor peer is tried (Fabric's tools set it; it is not in `core.yaml`).
    pub max_connection_attempts: u32,
    /// A peer that was not heard of for this many times the expiration time-out is forgotten.
    pub msg_expiration_factor: u32,
    /// `peer.gossip.election`.
    pub election: ElectionOptions,
    /// `peer.gossip.state`.
    pub state: StateOptions,
}

/// Settings of the election of a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectionOptions {
    /// How long a starting peer waits at most for its membership to stand still.
    pub startup_grace_period: Duration,
    /// How often it looks whether it does.
    pub membership_sample_interval: Duration,
    /// After how long without a declaration a leader counts as gone.
    pub leader_alive_threshold: Duration,
    /// How long an election takes.
    pub leader_election_duration: Duration,
}

/// Settings of state transfer: blocks that peers fetch from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateOptions {
    /// Whether blocks are fetched from other peers.
    pub enabled: bool,
    /// How often the own height is compared with that of others.
    pub check_interval: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
    /// How many blocks are asked for at once, and sent at most.
    pub batch_size: u64,
    /// How many blocks wait at most for those before them; twice as many from the orderers.
    pub block_buffer_size: usize,
    /// How often an unanswered request is sent to another peer.
    pub max_retries: u32,
}

impl Options {
    /// How often is looked for peers that died.
    pub fn alive_expiration_check_interval(&self) -> Duration {
        self.alive_expiration_timeout / 10
    }

    /// After how long a peer that is not heard of is forgotten.
    pub fn alive_message_lifetime(&self) -> Duration {
        self.alive_expiration_timeout.saturating_mul(self.msg_expiration_factor)
    }

    /// How long a state info is remembered that is only passed on.
    pub fn state_info_lifetime(&self) -> Duration {
        self.publish_state_info_interval.saturating_mul(100)
    }

    /// How long a block is kept for pushing and pulling.
    pub fn block_lifetime(&self) -> Duration {
        self.pull_interval.saturating_mul(100)
    }

    /// How often state infos of peers that are gone are removed.
    pub fn state_info_sweep_interval(&self) -> Duration {
        self.pull_interval.saturating_mul(5)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            use_leader_election: false,
            org_leader: true,
            membership_tracker_interval: Duration::from_secs(5),
            max_block_count_to_store: 10,
            max_propagation_burst_latency: Duration::from_millis(10),
            max_propagation_burst_size: 10,
            propagate_iterations: 1,
            propagate_peer_num: 3,
            pull_interval: Duration::from_secs(4),
            pull_peer_num: 3,
            request_state_info_interval: Duration::from_secs(4),
            publish_state_info_interval: Duration::from_secs(4),
            publish_cert_period: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(3),
            conn_timeout: Duration::from_secs(2),
            recv_buff_size: 20,
            send_buff_size: 20,
            digest_wait_time: Duration::from_secs(1),
            request_wait_time: Duration::from_millis(1500),
            response_wait_time: Duration::from_secs(2),
            alive_time_interval: Duration::from_secs(5),
            alive_expiration_timeout: Duration::from_secs(25),
            reconnect_interval: Duration::from_secs(25),
            max_connection_attempts: 120,
            msg_expiration_factor: 20,
            election: ElectionOptions::default(),
            state: StateOptions::default(),
        }
    }
}

impl Default for ElectionOptions {
    fn default() -> Self {
        Self {
            startup_grace_period: Duration::from_secs(15),
            membership_sample_interval: Duration::from_secs(1),
            leader_alive_threshold: Duration::from_secs(10),
            leader_election_duration: Duration::from_secs(5),
        }
    }
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            check_interval: Duration::from_secs(10),
            response_timeout: Duration::from_secs(3),
            batch_size: 10,
            block_buffer_size: 20,
            max_retries: 3,
        }
    }
}
