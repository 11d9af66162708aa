//! No honest peer ever believes in a peer that is not, in an endpoint or organization that a peer does not have, or in a
//! height that an honest peer has not; no internal endpoint and no hidden peer is known outside of its organization, and no
//! honest peer tells internal endpoints there. (That
//! there is a hidden peer, a hostile one of its organization can tell everybody.)

use ripstop_gossip::{Content, SignedMessage};
use ripstop_proto::gossip::Envelope;

use crate::world::{World, is_open};

/// Looks at a message of an honest peer before it goes on its way: what hides an internal endpoint stays at home.
pub(crate) fn inspect_message(world: &mut World, from: usize, to: usize, message: &SignedMessage) {
    let is_own = world.story.parts[from].organization == world.story.parts[to].organization;
    if !is_own && holds_secret(message) {
        world.faults.push(format!("peer {from} tells peer {to} of another organisation internal endpoints"));
    }
}

fn holds_secret(message: &SignedMessage) -> bool {
    let hides = |envelope: &Envelope| envelope.secret_envelope.is_some();
    match &message.message().content {
        Content::MembershipRequest { about_me, .. } => hides(about_me.envelope()),
        Content::MembershipResponse { alive, dead } => alive.iter().chain(dead).any(hides),
        _ => hides(message.envelope()),
    }
}

/// Looks at what all honest peers believe.
pub(crate) fn inspect(world: &mut World) {
    for peer in world.honest() {
        if let Err(fault) = look(world, peer) {
            world.faults.push(fault);
        }
    }
}

fn look(world: &mut World, peer: usize) -> Result<(), String> {
    let view = world.peers[peer].view();
    let organization = &world.peers[peer].about.organization;
    for (pki_id, known) in &view.alive {
        let Some(other) = world.peer_of(pki_id) else {
            return Err(format!("peer {peer} believes in a peer that is not: {known:?}"));
        };
        let about = &world.peers[other].about;
        let is_own = about.organization == *organization;
        if known.organization != about.organization || known.identity != about.identity {
            return Err(format!("peer {peer} takes peer {other} for another"));
        }
        if !is_own && !known.member.internal_endpoint.is_empty() {
            return Err(format!("peer {peer} knows the internal endpoint of peer {other}"));
        }
        if !is_own && !is_open(&world.story, other) && !has_traitor(world, other) {
            return Err(format!("peer {peer} knows the hidden peer {other}"));
        }
        if world.peers[other].mind.is_some() {
            continue;
        }
        if known.member.endpoint != about.external_endpoint
            || ![about.endpoint.as_str(), ""].contains(&known.member.internal_endpoint.as_str())
        {
            return Err(format!("peer {peer} seeks peer {other} at {:?}", known.member));
        }
    }
    for (pki_id, member) in view.channels.get(&world.channel).into_iter().flatten() {
        let Some(other) = world.peer_of(pki_id).filter(|other| world.peers[*other].mind.is_none()) else { continue };
        if member.height > world.peers[other].ledger.height() {
            return Err(format!("peer {peer} believes that peer {other} is at height {}", member.height));
        }
    }
    Ok(())
}

/// Whether there is a hostile peer in a peer's organization.
fn has_traitor(world: &World, peer: usize) -> bool {
    let organization = world.story.parts[peer].organization;
    world.story.parts.iter().any(|part| part.is_hostile && part.organization == organization)
}
