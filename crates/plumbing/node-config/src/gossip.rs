use std::time::Duration;

use ripstop_gossip::{ElectionOptions, Options, StateOptions};

use crate::{ConfigError, Settings};

/// How a peer takes part in gossip (`peer.gossip`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipConfig {
    /// Where peers of its organization reach it; `None` for [`super::PeerConfig::advertised_address`].
    pub endpoint: Option<String>,
    /// Where peers of other organizations reach it; `None` when they shall not.
    pub external_endpoint: Option<String>,
    /// Everything else but `pvtData` ([`crate::PrivateDataConfig`]).
    pub options: Options,
}

impl GossipConfig {
    pub(crate) fn read(s: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            endpoint: s.non_empty("peer.gossip.endpoint")?,
            external_endpoint: s.non_empty("peer.gossip.externalEndpoint")?,
            options: read_options(&Keys { settings: s, under: "peer.gossip" })?,
        })
    }
}

/// Keys below one of them. Of most, Fabric takes a zero as one that is not there.
struct Keys<'a> {
    settings: &'a Settings,
    under: &'static str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.under)
    }

    fn time(&self, name: &str, default: Duration) -> Result<Duration, ConfigError> {
        self.settings.duration_or(&self.key(name), default)
    }

    fn number<T: TryFrom<i64> + PartialEq + Default>(&self, name: &str, default: T) -> Result<T, ConfigError> {
        Ok(self.settings.count(&self.key(name))?.filter(|number| *number != T::default()).unwrap_or(default))
    }

    /// A number that may be zero.
    fn number_or_zero<T: TryFrom<i64>>(&self, name: &str, default: T) -> Result<T, ConfigError> {
        Ok(self.settings.count(&self.key(name))?.unwrap_or(default))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        Ok(self.settings.flag(&self.key(name))?.unwrap_or(default))
    }
}

fn read_options(keys: &Keys<'_>) -> Result<Options, ConfigError> {
    let default = Options::default();
    let use_leader_election = keys.flag("useLeaderElection", false)?;
    let org_leader = keys.flag("orgLeader", !use_leader_election)?;
    if use_leader_election && org_leader {
        return Err(ConfigError::Conflict(
            "Setting both orgLeader and useLeaderElection to true isn't supported, aborting execution: set one of \
             peer.gossip.orgLeader and peer.gossip.useLeaderElection to false"
                .to_owned(),
        ));
    }
    let alive_time_interval = keys.time("aliveTimeInterval", default.alive_time_interval)?;
    let alive_expiration_timeout = keys.time("aliveExpirationTimeout", alive_time_interval.saturating_mul(5))?;
    let below = |under| Keys { settings: keys.settings, under };
    Ok(Options {
        bootstrap: read_bootstrap(keys)?,
        use_leader_election,
        org_leader,
        membership_tracker_interval: keys.time("membershipTrackerInterval", default.membership_tracker_interval)?,
        max_block_count_to_store: keys.number("maxBlockCountToStore", default.max_block_count_to_store)?,
        max_propagation_burst_latency: keys
            .time("maxPropagationBurstLatency", default.max_propagation_burst_latency)?,
        max_propagation_burst_size: keys.number("maxPropagationBurstSize", default.max_propagation_burst_size)?,
        propagate_iterations: keys.number("propagateIterations", default.propagate_iterations)?,
        propagate_peer_num: keys.number("propagatePeerNum", default.propagate_peer_num)?,
        pull_interval: keys.time("pullInterval", default.pull_interval)?,
        pull_peer_num: keys.number("pullPeerNum", default.pull_peer_num)?,
        request_state_info_interval: keys.time("requestStateInfoInterval", default.request_state_info_interval)?,
        publish_state_info_interval: keys.time("publishStateInfoInterval", default.publish_state_info_interval)?,
        publish_cert_period: keys.time("publishCertPeriod", default.publish_cert_period)?,
        dial_timeout: keys.time("dialTimeout", default.dial_timeout)?,
        conn_timeout: keys.time("connTimeout", default.conn_timeout)?,
        recv_buff_size: keys.number("recvBuffSize", default.recv_buff_size)?,
        send_buff_size: keys.number("sendBuffSize", default.send_buff_size)?,
        digest_wait_time: keys.time("digestWaitTime", default.digest_wait_time)?,
        request_wait_time: keys.time("requestWaitTime", default.request_wait_time)?,
        response_wait_time: keys.time("responseWaitTime", default.response_wait_time)?,
        alive_time_interval,
        alive_expiration_timeout,
        reconnect_interval: keys.time("reconnectInterval", alive_expiration_timeout)?,
        max_connection_attempts: keys.number("maxConnectionAttempts", default.max_connection_attempts)?,
        msg_expiration_factor: keys.number("msgExpirationFactor", default.msg_expiration_factor)?,
        election: read_election(&below("peer.gossip.election"))?,
        state: read_state(&below("peer.gossip.state"))?,
    })
}

/// A list, or one text with spaces.
fn read_bootstrap(keys: &Keys<'_>) -> Result<Vec<String>, ConfigError> {
    let listed = keys.settings.list(&keys.key("bootstrap"))?;
    Ok(listed.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect())
}

fn read_election(keys: &Keys<'_>) -> Result<ElectionOptions, ConfigError> {
    let default = ElectionOptions::default();
    Ok(ElectionOptions {
        startup_grace_period: keys.time("startupGracePeriod", default.startup_grace_period)?,
        membership_sample_interval: keys.time("membershipSampleInterval", default.membership_sample_interval)?,
        leader_alive_threshold: keys.time("leaderAliveThreshold", default.leader_alive_threshold)?,
        leader_election_duration: keys.time("leaderElectionDuration", default.leader_election_duration)?,
    })
}

fn read_state(keys: &Keys<'_>) -> Result<StateOptions, ConfigError> {
    let default = StateOptions::default();
    Ok(StateOptions {
        enabled: keys.flag("enabled", default.enabled)?,
        check_interval: keys.time("checkInterval", default.check_interval)?,
        response_timeout: keys.time("responseTimeout", default.response_timeout)?,
        batch_size: keys.number_or_zero("batchSize", default.batch_size)?,
        block_buffer_size: keys.number_or_zero("blockBufferSize", default.block_buffer_size)?,
        max_retries: keys.number_or_zero("maxRetries", default.max_retries)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EmptyVariable, Value};

    fn read(yaml: &str, variables: &[(&str, &str)]) -> Result<GossipConfig, ConfigError> {
        let root = Value::parse_yaml(yaml).unwrap();
        let variables = variables.iter().copied().collect();
        GossipConfig::read(&Settings::new(root, "/net/core.yaml".into(), "CORE", EmptyVariable::Replaces, variables))
    }

    #[test]
    fn what_is_not_said_is_as_in_fabric() {
        let config = read("peer: {}", &[]).unwrap();
        assert_eq!(config.options, Options::default());
        assert_eq!((config.endpoint, config.external_endpoint), (None, None));
        let config = read("peer: {gossip: {aliveTimeInterval: 1s, orgLeader: false, sendBuffSize: 0}}", &[]).unwrap();
        assert_eq!(config.options.alive_expiration_timeout, Duration::from_secs(5));
        assert_eq!(config.options.reconnect_interval, Duration::from_secs(5));
        assert_eq!(config.options.send_buff_size, 20);
        assert!(!config.options.org_leader && !config.options.use_leader_election);
    }

    #[test]
    fn a_zero_is_as_good_as_nothing_but_for_state_transfer() {
        let config = read("peer: {gossip: {pullPeerNum: 0, state: {maxRetries: 0}}}", &[]).unwrap();
        assert_eq!((config.options.pull_peer_num, config.options.state.max_retries), (3, 0));
    }

    #[test]
    fn bootstrap_peers_are_a_list_or_one_text() {
        let peers = ["a:1", "b:2"];
        for yaml in ["peer: {gossip: {bootstrap: 'a:1 b:2'}}", "peer: {gossip: {bootstrap: ['a:1', 'b:2']}}"] {
            assert_eq!(read(yaml, &[]).unwrap().options.bootstrap, peers, "{yaml}");
        }
        let variable = ("CORE_PEER_GOSSIP_BOOTSTRAP", "a:1 b:2");
        assert_eq!(read("peer: {}", &[variable]).unwrap().options.bootstrap, peers);
        assert!(read("peer: {gossip: {bootstrap: ''}}", &[]).unwrap().options.bootstrap.is_empty());
    }

    #[test]
    fn one_who_is_elected_is_not_appointed() {
        let elected = read("peer: {gossip: {useLeaderElection: true}}", &[]).unwrap();
        assert!(elected.options.use_leader_election && !elected.options.org_leader);
        let both = read("peer: {gossip: {useLeaderElection: true, orgLeader: true}}", &[]).unwrap_err().to_string();
        assert!(both.starts_with("Setting both orgLeader and useLeaderElection to true isn't supported"), "{both}");
    }
}
