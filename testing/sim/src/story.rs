//! What a seed decides beforehand: who takes part, how blocks come to peers, and how bad the network is.

use std::time::Duration;

use ripstop_gossip::{ElectionOptions, Options, StateOptions};

use crate::trust::Reach;

/// How blocks come to peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// Every peer pulls from the orderers: the default of Fabric 3.
    EveryPeerPulls,
    /// One peer of each organization does because it is configured so; blocks are gossiped and fetched from others.
    StaticLeaders,
    /// The peers of an organization elect one that does; blocks are gossiped and fetched from others.
    ElectedLeaders,
}

/// What becomes of a message over a link that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its sender learns that it did not arrive.
    Refused,
    /// Nobody learns anything.
    Silent,
}

/// What a network does to messages while there is trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Of a thousand messages so many are lost.
    pub(crate) lost: u32,
    /// Of a thousand messages so many come twice.
    pub(crate) doubled: u32,
    /// How long a message is on its way at most. Each takes its own time, so that they overtake each other.
    pub(crate) delay: Duration,
    /// What cut links do.
    pub(crate) cut: Cut,
}

/// The weather without trouble.
pub(crate) const CALM: Weather = Weather { lost: 0, doubled: 0, delay: Duration::from_millis(20), cut: Cut::Refused };

/// A peer that takes part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Its organization.
    pub(crate) organization: usize,
    /// Who can reach it.
    pub(crate) reach: Reach,
    /// Whether others find the network by it.
    pub(crate) is_anchor: bool,
    /// Whether it is hostile.
    pub(crate) is_hostile: bool,
    /// Whether it takes part in the channel.
    pub(crate) joins: bool,
    /// How long its first certificate lasts; longer than the history where that is not said.
    pub(crate) lasts: Option<Duration>,
}

/// A history as far as it is decided before it begins.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    /// The peers, those of an organization behind each other.
    pub(crate) parts: Vec<Part>,
    /// How many organizations there are.
    pub(crate) organizations: usize,
    /// How many orderers there are.
    pub(crate) orderers: usize,
    /// How blocks come to peers.
    pub(crate) distribution: Distribution,
    /// The network while there is trouble.
    pub(crate) weather: Weather,
    /// How long there is trouble.
    pub(crate) trouble: Duration,
    /// Whether the network falls into two parts in the calm.
    pub(crate) splits: bool,
    /// Whether the hostile peer, if there is one, is a sly one.
    pub(crate) is_sly: bool,
    /// Whether operators change the configuration, certificates and definitions.
    pub(crate) changes: bool,
    /// The settings of all peers, but for who leads.
    pub(crate) options: Options,
}

/// How many peers may lead an organization without other peers: the first one does.
pub(crate) const STATIC_LEADER: usize = 0;

impl Story {
    /// The story of a seed.
    pub(crate) fn of(random: &mut fastrand::Rng) -> Self {
        let organizations = random.usize(2..=3);
        let changes = random.u32(..100) < 60;
        let mut parts = Vec::new();
        for organization in 0..organizations {
            for number in 0..random.usize(2..=4) {
                let is_hidden = number > 1 && random.u32(..100) < 20;
                let reach = if is_hidden { Reach::OwnOrganization } else { Reach::Everybody };
                let joins = number < 2 || random.u32(..100) >= 15;
                let lasts = lasts(random, changes);
                parts.push(Part { organization, reach, is_anchor: number < 2, is_hostile: false, joins, lasts });
            }
        }
        if random.u32(..100) < 60 {
            let organization = random.usize(..organizations);
            let (reach, lasts) = (Reach::Everybody, lasts(random, changes));
            parts.push(Part { organization, reach, is_anchor: false, is_hostile: true, joins: true, lasts });
        }
        let distribution = match random.u32(..4) {
            0 => Distribution::EveryPeerPulls,
            1 => Distribution::StaticLeaders,
            _ => Distribution::ElectedLeaders,
        };
        let weather = Weather {
            lost: random.u32(..150),
            doubled: random.u32(..80),
            delay: Duration::from_millis(random.u64(5..1500)),
            cut: if random.bool() { Cut::Refused } else { Cut::Silent },
        };
        Self {
            parts,
            organizations,
            orderers: if random.u32(..4) == 0 { 5 } else { 3 },
            distribution,
            weather,
            trouble: Duration::from_secs(random.u64(20..60)),
            splits: random.bool(),
            is_sly: random.bool(),
            changes,
            options: options(random, distribution),
        }
    }

    /// The settings of a peer, who comes as the `rank`th of its organization.
    pub(crate) fn options_of(&self, rank: usize, bootstrap: Vec<String>) -> Options {
        let org_leader = match self.distribution {
            Distribution::EveryPeerPulls => true,
            Distribution::StaticLeaders => rank == STATIC_LEADER,
            Distribution::ElectedLeaders => false,
        };
        let use_leader_election = self.distribution == Distribution::ElectedLeaders;
        Options { bootstrap, org_leader, use_leader_election, ..self.options.clone() }
    }
}

/// How long a certificate lasts: most of them for long.
fn lasts(random: &mut fastrand::Rng, changes: bool) -> Option<Duration> {
    (changes && random.u32(..100) < 12).then(|| Duration::from_secs(random.u64(8..70)))
}

/// Fabric's defaults in most stories, all of it quicker in the others.
fn options(random: &mut fastrand::Rng, distribution: Distribution) -> Options {
    let mut options = Options::default();
    options.state.enabled = distribution != Distribution::EveryPeerPulls;
    if random.u32(..3) == 0 {
        options.alive_time_interval = Duration::from_secs(1);
        options.alive_expiration_timeout = Duration::from_secs(6);
        options.reconnect_interval = Duration::from_secs(5);
        options.pull_interval = Duration::from_secs(2);
        options.request_state_info_interval = Duration::from_secs(2);
        options.publish_state_info_interval = Duration::from_secs(1);
        options.election = ElectionOptions {
            startup_grace_period: Duration::from_secs(4),
            membership_sample_interval: Duration::from_millis(500),
            leader_alive_threshold: Duration::from_secs(4),
            leader_election_duration: Duration::from_secs(2),
        };
        options.state = StateOptions { check_interval: Duration::from_secs(3), ..options.state };
    }
    options
}
