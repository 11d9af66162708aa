//! No honest peer is made to talk without end: whatever others do, it sends at most so many messages in a second.
//!
//! The bound is what the largest of the simulated networks needs when all of its peers begin at once, doubled.

use crate::world::World;

/// Messages of one peer in a second.
pub(crate) const MOST: u64 = 600;

/// Looks at what was sent in the last second.
pub(crate) fn inspect(world: &mut World) {
    for peer in 0..world.peers.len() {
        let said = std::mem::take(&mut world.said[peer]);
        if world.peers[peer].mind.is_none() {
            world.most_said = world.most_said.max(said);
            if said > MOST {
                world.faults.push(format!("peer {peer} sent {said} messages in a second"));
            }
        }
    }
}
