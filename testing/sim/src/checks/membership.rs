//! Every living peer knows of every living peer that it may know of, and of no dead one.
//!
//! Bound for the living: an attempt to reach an introducing or a dead peer that begins just before the calm has to fail first
//! (dialling, the handshake, the wait for an answer), then comes the next one; what was learned by it spreads in a few
//! rounds of alive messages. Bound for the dead: the last alive message may come by up to four pulls later than it was said,
//! from when on it is held good for the expiration time-out, plus one look at what is expired.

use std::time::Duration;

use crate::story::Story;
use crate::world::{World, is_open};

/// How long an answer to a membership request is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// How many rounds of alive messages reach everybody.
const ROUNDS: u32 = 6;
/// How many pulls spread what only one peer heard.
const PULLS: u32 = 4;

/// How often a hostile peer may make a dead one live, with alive messages that it kept back before the other one died.
const HELD_BACK: u32 = 4;

/// From the moment at which the network is calm.
pub(crate) fn bound(story: &Story) -> Duration {
    let options = &story.options;
    let learn = options.dial_timeout
        + options.conn_timeout
        + ANSWER
        + options.reconnect_interval
        + options.alive_time_interval * ROUNDS;
    let late = if story.parts.iter().any(|part| part.is_hostile) { HELD_BACK } else { 1 };
    let forget = options.alive_expiration_timeout * late
        + options.alive_expiration_check_interval()
        + options.pull_interval * PULLS;
    learn.max(forget)
}

/// Whether it is so.
pub(crate) fn holds(world: &mut World) -> Result<(), String> {
    let hostile = |world: &World, peer: usize| world.peers[peer].mind.is_some();
    for peer in world.honest() {
        let view = world.peers[peer].view();
        let former =
            view.alive.keys().find(|id| world.peer_of(id).is_some_and(|of| world.peers[of].about.pki_id != **id));
        if let Some(former) = former {
            return Err(format!("peer {peer} holds {former} alive, which has another identity now"));
        }
        for other in (0..world.peers.len()).filter(|other| *other != peer) {
            let is_own = world.story.parts[peer].organization == world.story.parts[other].organization;
            // Who is in no channel trusts nobody else, but others may hear of it.
            let joins = world.story.parts[peer].joins && world.story.parts[other].joins;
            if hostile(world, other) || !(is_own || joins) {
                continue;
            }
            let knows = view.alive.contains_key(&world.peers[other].about.pki_id);
            let is_linked = world.is_linked(peer, other);
            let is_trusted = is_own || (world.is_in_channel(peer) && world.is_in_channel(other));
            let is_there = world.peers[other].is_up() && is_linked && is_trusted;
            let may_know = is_own || (is_open(&world.story, peer) && is_open(&world.story, other));
            if knows && !is_there {
                return Err(format!("peer {peer} holds peer {other} alive, which is not there"));
            }
            if !knows && is_there && may_know {
                return Err(format!("peer {peer} does not know of peer {other}"));
            }
        }
    }
    Ok(())
}
