//! Every member of the channel has the last configuration and the last definition.
//!
//! Bound: who is behind has to get blocks, as for heights; who was outside of the channel first has to be met again, and its
//! leader may have yielded, because no orderer would talk to it.

use std::time::Duration;

use super::heights;
use crate::story::Story;
use crate::world::World;

/// For how many times the threshold a leader that yielded lets others go first.
const YIELD_THRESHOLDS: u32 = 6;

/// From the moment at which the network is calm.
pub(crate) fn bound(story: &Story) -> Duration {
    heights::bound(story) + story.options.election.leader_alive_threshold * YIELD_THRESHOLDS
}

/// Whether it is so.
pub(crate) fn holds(world: &mut World) -> Result<(), String> {
    if world.is_changing() {
        return Err("a configuration or a definition is not ordered".to_owned());
    }
    let last = (world.configurations.len() - 1, world.definitions.len() - 1);
    for peer in world.honest().into_iter().filter(|peer| world.is_in_channel(*peer)) {
        let ledger = &world.peers[peer].ledger;
        let reached = (ledger.configuration(), ledger.definition());
        if reached != last {
            return Err(format!("peer {peer} has configuration and definition {reached:?}, the last are {last:?}"));
        }
    }
    Ok(())
}
