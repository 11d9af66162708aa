//! What gossip costs as networks grow: `cargo run --release -p ripstop-sim -- cost`.
//!
//! Peers of up to ten organizations with Fabric's default settings, in one channel in which one peer of each organization
//! gets the blocks and gossip spreads them. [`measure`] measures it with the machine itself; [`epidemic`] models it where that
//! would take too long.

mod crowd;
pub mod epidemic;
mod load;
mod one;
pub mod picture;
pub mod table;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::crowd::measure;
pub use self::one::{Need, need};

/// The size of a certificate, of a signature and of a block, in bytes.
const CERTIFICATE: usize = 800;
const SIGNATURE: usize = 71;
const BLOCK: usize = 10_000;
/// How long a message is on its way at most.
const LATENCY: Duration = Duration::from_millis(20);
/// Within which time all peers begin.
const BEGIN: Duration = Duration::from_secs(5);
/// How long the network gets to find itself, and for how long what it says is counted: a multiple of all intervals of networks
/// of up to 1,000 peers.
const WARM_UP: Duration = Duration::from_secs(40);
const STEADY: Duration = Duration::from_secs(32);
/// How long is waited for something to be known everywhere.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many peers an organization has at least, where there are several.
const SMALLEST: usize = 5;
/// How many organizations there are at most.
const ORGANIZATIONS: usize = 10;

/// Kinds of messages: how many, and their bytes.
pub type Kinds = BTreeMap<&'static str, (u64, u64)>;

/// What a network of a size costs.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// How many peers.
    pub peers: usize,
    /// Bytes that a peer sends in a second.
    pub bytes: f64,
    /// Messages that a peer sends in a second.
    pub messages: f64,
    /// How often in an hour a peer gives up another that lives.
    pub given_up_wrongly: f64,
    /// Until a block is everywhere.
    pub block: Times,
    /// Until everybody holds a new peer alive.
    pub newcomer: Times,
    /// Until nobody holds a peer alive any more whose machine is gone.
    pub vanished: Times,
    /// The same of a peer whose machine refuses connections.
    pub refusing: Times,
    /// How many messages of each kind were sent in all, and their bytes.
    pub by_kind: Kinds,
}

/// How long something takes; `None` is too long to be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Until 99 of 100 peers know.
    pub most: Option<Duration>,
    /// Until all do.
    pub all: Option<Duration>,
}

impl Times {
    /// Of the times at which peers came to know; so many were to know.
    fn of(mut known: Vec<Duration>, all: usize) -> Self {
        known.sort_unstable();
        let at = |count: usize| known.get(count.saturating_sub(1)).copied();
        Self { most: at((all * 99).div_ceil(100)), all: at(all) }
    }

    /// What is in the middle of several.
    fn median(several: &[Self]) -> Self {
        let middle = |time: fn(&Self) -> Option<Duration>| {
            let mut all: Vec<_> = several.iter().map(|times| time(times).unwrap_or(Duration::MAX)).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().filter(|time| *time != Duration::MAX)
        };
        Self { most: middle(|times| times.most), all: middle(|times| times.all) }
    }
}

/// How many organizations so many peers have.
fn organizations(peers: usize) -> usize {
    (peers / SMALLEST).clamp(1, ORGANIZATIONS)
}

/// Of which organization a peer is.
fn organization(index: usize, peers: usize) -> usize {
    index % organizations(peers)
}

#[cfg(test)]
mod tests {
    use super::epidemic::{Rules, tell};
    use super::*;

    #[test]
    fn the_model_says_of_a_network_what_the_machines_do() {
        let (machine, model) = (crowd::measure_once(25, 1), tell(25, Rules::Ripstop, 30));
        let is_near = |one: f64, other: f64, percent: f64| (one / other - 1.0).abs() < percent / 100.0;
        assert!(is_near(model.messages, machine.messages, 5.0), "{} {}", model.messages, machine.messages);
        assert!(is_near(model.bytes, machine.bytes, 10.0), "{} {}", model.bytes, machine.bytes);
        for cost in [machine, model] {
            let all = [cost.block, cost.newcomer, cost.vanished, cost.refusing].map(|times| times.all);
            let [Some(block), Some(newcomer), Some(vanished), Some(refusing)] = all else {
                panic!("something took too long: {all:?}")
            };
            assert!(block < Duration::from_secs(6) && newcomer < Duration::from_secs(16));
            assert!((20..40).contains(&vanished.as_secs()) && refusing < Duration::from_secs(30));
        }
    }
}
