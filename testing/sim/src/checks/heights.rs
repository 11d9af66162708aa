//! All members have the same blocks, none of them behind the one with which their organization left the channel, and come to the same height and commit hash as the orderers.
//!
//! Bound: leaders first; then who is behind compares heights and asks for ranges, perhaps first of a peer that lies about
//! what it has.

use std::time::Duration;

use ripstop_types::Digest;

use super::{acknowledged, leaders};
use crate::chain::Ledger;
use crate::story::Story;
use crate::world::World;

/// How often heights may have to be compared.
const COMPARISONS: u32 = 4;
/// How many questions may be in vain.
const IN_VAIN: u32 = 10;

/// From the moment at which the network is calm.
pub(crate) fn bound(story: &Story) -> Duration {
    let state = &story.options.state;
    leaders::bound(story).max(acknowledged::bound(story))
        + state.check_interval * COMPARISONS
        + state.response_timeout * IN_VAIN
}

/// A peer committed a block: it must be the one that orderers have at this height.
pub(crate) fn inspect(world: &mut World, peer: usize) {
    let ledger = &world.peers[peer].ledger;
    let number = ledger.height() - 1;
    let ordered = world.orderers.iter().any(|orderer| orderer.ledger.block(number) == ledger.block(number));
    if !ordered {
        world.faults.push(format!("peer {peer} committed a block {number} that no orderer has"));
    }
    let ledgers = world.orderers.iter().map(|orderer| &orderer.ledger);
    let Some(newest) = ledgers.max_by_key(|ledger| ledger.height()) else { return };
    let organization = world.story.parts[peer].organization;
    if !world.configurations[newest.configuration()].has(organization) && number > newest.configured_by() {
        world.faults.push(format!("peer {peer} committed block {number}, though its organisation left before"));
    }
}

/// Whether everybody has what was ordered when the network became calm.
pub(crate) fn follow(world: &mut World) -> Result<(), String> {
    let behind = world
        .honest()
        .into_iter()
        .find(|peer| world.is_in_channel(*peer) && world.peers[*peer].ledger.height() < world.ordered_before);
    match behind {
        Some(peer) => Err(format!(
            "peer {peer} is at height {}, {} was ordered long ago",
            world.peers[peer].ledger.height(),
            world.ordered_before
        )),
        None => Ok(()),
    }
}

/// Whether everybody is at the same height, with the same commit hash.
pub(crate) fn holds(world: &mut World) -> Result<(), String> {
    let state = |ledger: &Ledger| -> (u64, Digest) { (ledger.height(), *ledger.commit_hash()) };
    let ordered =
        world.orderers.iter().map(|orderer| state(&orderer.ledger)).max().unwrap_or_else(|| (0, Digest::of(b"")));
    for orderer in world.orderers.iter().filter(|orderer| orderer.is_up()) {
        if state(&orderer.ledger) != ordered {
            return Err(format!("orderer {} is at {:?}, another at {ordered:?}", orderer.id, state(&orderer.ledger)));
        }
    }
    for peer in world.honest().into_iter().filter(|peer| world.is_in_channel(*peer)) {
        let reached = state(&world.peers[peer].ledger);
        if reached != ordered {
            return Err(format!("peer {peer} is at {reached:?}, the orderers are at {ordered:?}"));
        }
    }
    Ok(())
}
