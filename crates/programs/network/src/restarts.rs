//! Which process is started again when it was killed, when, and when no longer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::plan::{OrdererPlan, PeerPlan, Plan};

/// A process that the network can do without for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Spare<'a> {
    /// An orderer, where the others are a majority.
    Orderer(&'a OrdererPlan),
    /// A peer of an organization that has more.
    Peer(&'a PeerPlan),
}

impl<'a> Spare<'a> {
    /// The process of that name, if the network can do without it.
    pub(crate) fn named(name: &str, plan: &'a Plan) -> Option<Self> {
        let orderers = plan.orderers.iter().filter(|_| plan.orderers.len() > 2).map(Self::Orderer);
        let several = plan.organisations.iter().filter(|organisation| organisation.peers.len() > 1);
        let peers = several.flat_map(|organisation| &organisation.peers).map(Self::Peer);
        orderers.chain(peers).find(|spare| spare.name() == name)
    }

    fn name(self) -> &'a str {
        match self {
            Self::Orderer(orderer) => &orderer.name,
            Self::Peer(peer) => &peer.name,
        }
    }
}

/// A process that ends sooner than this after its start may end so for ever.
const SOON: Duration = Duration::from_secs(10);
/// The pause before the start that follows one such end; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// After this many such ends in a row a process is not started again.
pub(crate) const MAX_ENDS: u32 = 5;

/// How often each process ended soon after its start, one time after the other.
#[derive(Debug, Default)]
pub(crate) struct Restarts(BTreeMap<String, u32>);

impl Restarts {
    /// A process was killed that had lived so long: the pause before it is started again; none when it is given up.
    pub(crate) fn pause(&mut self, name: &str, lived: Duration) -> Option<Duration> {
        let ends = self.0.entry(name.to_owned()).or_default();
        *ends = if lived < SOON { *ends + 1 } else { 0 };
        match *ends {
            0 => Some(Duration::ZERO),
            MAX_ENDS.. => None,
            ends => Some(FIRST_PAUSE * 2_u32.pow(ends - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;
    use crate::plan::ports_from;

    #[test]
    fn a_network_does_without_what_it_has_more_of() {
        let plan = |peers, orderers| Plan::new(Size { organisations: 2, peers, orderers }, ports_from(7000)).unwrap();
        let spare = |plan: &Plan, name: &str| Spare::named(name, plan).is_some();
        let names = ["orderer.example.com", "peer1.org2.example.com", "peer0.org1.example.com", "contract"];
        assert_eq!(names.map(|name| spare(&plan(3, 3), name)), [true, true, true, false]);
        assert_eq!(names.map(|name| spare(&plan(2, 1), name)), [false, true, true, false]);
        assert_eq!(names.map(|name| spare(&plan(1, 2), name)), [false; 4]);
    }

    #[test]
    fn who_ends_soon_after_each_start_is_started_later_and_later_and_then_given_up() {
        let mut restarts = Restarts::default();
        let mut pause =
            |name: &str, lived| restarts.pause(name, Duration::from_secs(lived)).map(|pause| pause.as_secs());
        assert_eq!(pause("orderer0", 60), Some(0));
        assert_eq!([1, 0, 9].map(|lived| pause("orderer0", lived)), [Some(1), Some(2), Some(4)]);
        assert_eq!(pause("orderer1", 1), Some(1), "each for itself");
        assert_eq!(pause("orderer0", 10), Some(0), "it ran in between");
        assert_eq!([0; 5].map(|lived| pause("orderer0", lived)), [Some(1), Some(2), Some(4), Some(8), None]);
    }
}
