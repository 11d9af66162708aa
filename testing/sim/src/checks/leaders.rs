//! Each organization has exactly one leading peer in each part of the network, where leaders are elected.
//!
//! Bound: members must know of each other first, and then of each other's channel; a peer that starts looks whether its
//! membership stands still; then it takes a takeover, and the time in which one of two leaders hears of the other.
//!
//! Where no orderer can be reached there may be none: leaders yield. Of an organization with a hostile peer that says that it
//! leads nothing is asked: whoever has a valid identity of it may say so. If it only forges what others say, and repeats what they
//! once said, there is one leader all the same.

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
        let is_taken = |peer: usize| world.peers[peer].mind.as_ref().is_some_and(|mind| !mind.is_sly);
        if !world.latest().has(organization) || (0..world.peers.len()).any(|peer| of(peer) && is_taken(peer)) {
            continue;
        }
        for group in 0..2 {
            let takes_part = |peer: &usize| {
                let is_up = world.peers[*peer].is_up() && world.story.parts[*peer].joins;
                let is_admitted = world.latest().admits(world.now, &world.peers[*peer].voucher.issued);
                of(*peer) && world.groups[*peer] == group && is_up && is_admitted
            };
            let inside: Vec<_> = (0..world.peers.len()).filter(takes_part).collect();
            let leading = inside.iter().copied().filter(|peer| world.peers[*peer].leads);
            let (sly, leaders): (Vec<usize>, Vec<usize>) = leading.partition(|peer| world.peers[*peer].mind.is_some());
            let has_orderer = (0..world.orderers.len()).any(|orderer| {
                world.orderers[orderer].is_up() && world.groups[world.place_of_orderer(orderer)] == group
            });
            let is_right = match (inside.is_empty(), has_orderer) {
                (true, _) => true,
                (false, true) => leaders.len() == 1 || (leaders.is_empty() && !sly.is_empty()),
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
