//! No honest peer is made to talk, to compute or to remember without end: whatever others do, it sends at most so many messages
//! in a second, answers one peer only so often, refuses only so many blocks before it leaves their senders alone, and keeps only
//! so many blocks that cannot be committed yet.
//!
//! The bounds are what the largest of the simulated networks needs when all of its peers begin at once, doubled; or they follow
//! from the named bounds of the machines.

use ripstop_gossip::{Content, SignedMessage};

use crate::world::World;

/// Messages of one peer in a second.
pub(crate) const MOST: u64 = 600;
/// Answers of one kind to one peer in a second. A peer may have many blocks sent when it catches up.
const ANSWERS: u32 = 14;
const RANGES: u32 = 360;
/// Alive messages in the name of one peer that another one sends in a second.
const HEARTBEATS: u32 = 60;
/// Refused blocks of one process.
const REFUSED: u32 = 30;

/// Counts a message of an honest peer.
pub(crate) fn count(world: &mut World, from: usize, to: usize, message: &SignedMessage) {
    let counted = match &message.message().content {
        Content::MembershipResponse { .. } => (from, to, "membership"),
        Content::StateInfoSnapshot(_) => (from, to, "state infos"),
        Content::StateResponse(_) => (from, to, "blocks"),
        Content::Alive(alive) => match world.peer_of(&alive.pki_id) {
            Some(about) => (from, about, "heartbeats"),
            None => return,
        },
        _ => return,
    };
    *world.answered.entry(counted).or_default() += 1;
}

/// Looks at what was sent in the last second.
pub(crate) fn inspect(world: &mut World) {
    for ((from, to, kind), count) in std::mem::take(&mut world.answered) {
        let most = match kind {
            "blocks" => RANGES,
            "heartbeats" => HEARTBEATS,
            _ => ANSWERS,
        };
        if count > most {
            world.faults.push(format!("peer {from} tells {to} or of it {count} times in a second: {kind}"));
        }
    }
    for peer in 0..world.peers.len() {
        let said = std::mem::take(&mut world.said[peer]);
        if world.peers[peer].mind.is_some() {
            continue;
        }
        world.most_said = world.most_said.max(said);
        let refused = world.peers[peer].refused;
        let waiting = world.peers[peer].node.as_ref().map_or(0, |node| node.waiting_blocks(&world.channel));
        if said > MOST {
            world.faults.push(format!("peer {peer} sent {said} messages in a second"));
        }
        if refused > REFUSED {
            world.faults.push(format!("peer {peer} refused {refused} blocks"));
        }
        if waiting > 2 * world.story.options.state.block_buffer_size {
            world.faults.push(format!("peer {peer} keeps {waiting} blocks for later"));
        }
    }
}
