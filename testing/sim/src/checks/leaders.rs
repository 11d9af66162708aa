//! Each organization has exactly one leading peer in each part of the network, where leaders are elected.
//!
//! Bound: members must know of each other first, and then of each other's channel; a peer that starts looks whether its
//! membership stands still; then it takes a takeover, and the time in which one of two leaders hears of the other.
//!
//! Where no orderer can be reached there may be none: leaders yield. Of an organization with a hostile peer nothing is asked:
//! whoever has a valid identity of it may say that it leads.

use std::time::Duration;

use ripstop_gossip::takeover_bound;

use crate::story::{Distribution, Story};
use crate::world::World;

/// From the moment at which the network is calm.
pub(crate) fn bound(story: &Story) -> Duration {
    let options = &story.options;
    super::membership::bound(story)
        + options.request_state_info_interval * 2
        + options.election.startup_grace_period
        + takeover_bound(&options.election)
        + options.election.leader_alive_threshold
}

/// Whether it is so.
pub(crate) fn holds(world: &mut World) -> Result<(), String> {
    if world.story.distribution != Distribution::ElectedLeaders {
        return Ok(());
    }
    for organization in 0..world.story.organizations {
        let of = |peer: usize| world.story.parts[peer].organization == organization;
        if (0..world.peers.len()).any(|peer| of(peer) && world.peers[peer].mind.is_some()) {
            continue;
        }
        for group in 0..2 {
            let inside: Vec<_> =
                world.honest().into_iter().filter(|peer| of(*peer) && world.groups[*peer] == group).collect();
            let leaders: Vec<_> = inside.iter().filter(|peer| world.peers[**peer].leads).collect();
            let has_orderer = (0..world.orderers.len()).any(|orderer| {
                world.orderers[orderer].is_up() && world.groups[world.place_of_orderer(orderer)] == group
            });
            let is_right = match (inside.is_empty(), has_orderer) {
                (true, _) => true,
                (false, true) => leaders.len() == 1,
                (false, false) => leaders.len() <= 1,
            };
            if !is_right {
                return Err(format!(
                    "of {inside:?}, organisation {organization} in part {group}, these lead: {leaders:?}"
                ));
            }
        }
    }
    Ok(())
}
