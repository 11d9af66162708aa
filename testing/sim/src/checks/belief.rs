//! No honest peer ever believes in a peer that is not, whose identity is not valid any more or whose organization left the
//! channel, as far as it knows, in a member of another channel, in an endpoint or organization that a peer does not have, or in a
//! height that an honest peer has not; no internal endpoint and no hidden peer is known outside of its organization, and no
//! honest peer tells internal endpoints there. (That
//! there is a hidden peer, a hostile one of its organization can tell everybody.)

use std::time::Duration;

use ripstop_crypto::Certificate;
use ripstop_gossip::{Content, KnownPeer, Moment, SignedMessage};
use ripstop_proto::gossip::Envelope;
use ripstop_types::SerializedIdentity;

use crate::world::{World, is_open};

/// How long it may take until an identity is forgotten that ended.
const PURGE: Duration = Duration::from_secs(2);

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
        if known.organization != about.organization || (*pki_id == about.pki_id && known.identity != about.identity) {
            return Err(format!("peer {peer} takes peer {other} for another"));
        }
        is_valid(world, peer, other, known).map_err(|why| format!("peer {peer} believes in peer {other}, {why}"))?;
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
        if world.peer_of(pki_id).is_some_and(|other| !world.story.parts[other].joins) {
            return Err(format!("peer {peer} takes {pki_id} for a member, which is in another channel"));
        }
        let told = &world.peers[peer].told;
        // A peer does not judge itself.
        if *pki_id != world.peers[peer].about.pki_id && told.draft.revokes(&member.peer.identity) {
            return Err(format!("peer {peer} takes {pki_id} for a member, whose identity is revoked"));
        }
        let Some(other) = world.peer_of(pki_id).filter(|other| world.peers[*other].mind.is_none()) else { continue };
        if member.height > world.peers[other].ledger.height() {
            return Err(format!("peer {peer} believes that peer {other} is at height {}", member.height));
        }
    }
    Ok(())
}

/// Whether an identity is one that a peer may believe in, as far as the peer knows.
fn is_valid(world: &World, peer: usize, other: usize, known: &KnownPeer) -> Result<(), &'static str> {
    let organization = world.story.parts[other].organization;
    let (told, is_own) = (&world.peers[peer].told, world.story.parts[peer].organization == organization);
    // What the own organization says of its own, its peers read when they begin.
    if !is_own && !told.has(organization) {
        return Err("whose organisation left the channel");
    }
    if !is_own && told.draft.revokes(&known.identity) {
        return Err("whose identity is revoked");
    }
    let certificate = SerializedIdentity::parse(known.identity.clone()).ok();
    let certificate = certificate.and_then(|identity| Certificate::from_pem(&identity.id_bytes).ok());
    let ends = certificate.map(|certificate| certificate.not_after().unsigned_abs()).unwrap_or_default();
    if Moment::from_nanoseconds(ends * 1_000_000_000) + PURGE < world.now {
        return Err("whose certificate ended");
    }
    Ok(())
}

/// Whether there is a hostile peer in a peer's organization.
fn has_traitor(world: &World, peer: usize) -> bool {
    let organization = world.story.parts[peer].organization;
    world.story.parts.iter().any(|part| part.is_hostile && part.organization == organization)
}
