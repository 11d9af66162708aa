//! Private values reach nobody who may not have them, in no message and no line of the log; who may have them gets them
//! if any peer that is there has them.
//!
//! Bound: everybody has the blocks first; then come a few questions, some of them to peers that do not have the value.

use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::SignedMessage;

use super::heights;
use crate::definition::{Definition, PULL_MARGIN, is_gone, lifetime};
use crate::story::Story;
use crate::values::{Announced, Claim, MARK};
use crate::world::World;

/// How long looking for values takes.
const SEARCH: Duration = Duration::from_secs(20);

/// From the moment at which the network is calm.
pub(crate) fn bound(story: &Story) -> Duration {
    heights::bound(story) + SEARCH
}

/// Looks at a message of an honest peer before it goes on its way. A value is for the organizations of its collection, by the
/// definition by which it was endorsed and by those that followed, as far as its sender knows them.
pub(crate) fn inspect(world: &mut World, from: usize, to: usize, message: &SignedMessage) {
    let mut rest = &message.envelope().payload[..];
    while let Some(claim) = Claim::find(rest) {
        let known = world.peers[from].ledger.definition();
        if !is_entitled(world, to, claim, known) {
            world.faults.push(format!("peer {from} tells peer {to} a private value of {claim:?}, knowing {known}"));
        }
        let place = rest.windows(MARK.len()).position(|window| window == MARK.as_bytes()).unwrap_or_default();
        rest = &rest[place + MARK.len()..];
    }
}

/// Whether a peer may have a value, by the definitions up to one.
fn is_entitled(world: &World, peer: usize, claim: Claim, last: usize) -> bool {
    let organization = world.story.parts[peer].organization;
    let Some(definitions) = world.definitions.get(claim.definition..=last.max(claim.definition)) else { return false };
    definitions.iter().any(|definition| {
        definition.members.get(claim.collection).is_some_and(|members| members.contains(&organization))
    })
}

/// Looks at a line of a peer's log.
pub(crate) fn inspect_note(world: &mut World, peer: usize, text: &str) {
    if text.contains(MARK) {
        world.faults.push(format!("peer {peer} logs a private value"));
    }
}

/// Whether everybody has what he may have, and nothing else. What was written by a definition that kept an organization out, and
/// never opened to it, is not for it.
pub(crate) fn holds(world: &mut World) -> Result<(), String> {
    let honest: Vec<_> = world.honest().into_iter().filter(|peer| world.is_in_channel(*peer)).collect();
    let last = world.definitions.len() - 1;
    for peer in &honest {
        let (shelf, ledger) = (&world.peers[*peer].shelf.values, &world.peers[*peer].ledger);
        let is_wrong = |value: &Bytes| Claim::find(value).is_none_or(|claim| !is_entitled(world, *peer, claim, last));
        if let Some((tx_id, _)) = shelf.iter().find(|(_, kept)| is_wrong(&kept.value)) {
            return Err(format!("peer {peer} has the private value of {tx_id}"));
        }
        for block in 0..ledger.height() {
            for announced in ledger.transactions(block).filter_map(Announced::parse) {
                let is_over = is_gone(announced.collection, block, ledger.height());
                let has = |peer: &usize| world.peers[*peer].shelf.values.contains_key(&announced.tx_id);
                if is_over && has(peer) {
                    return Err(format!(
                        "peer {peer} has the private value of {}, which lived long enough",
                        announced.tx_id
                    ));
                }
                let is_due = |definition: &Definition| {
                    definition.members[announced.collection].contains(&world.story.parts[*peer].organization)
                };
                let for_block = ledger.definition_for(block);
                let is_meant = world.definitions[for_block..].iter().any(is_due);
                // Who will forget it soon is not asked for it any more.
                let life = lifetime(announced.collection);
                let is_ending = life > 0 && ledger.height() + PULL_MARGIN >= block + life;
                if !is_ending
                    && is_meant
                    && is_due(&world.definitions[last])
                    && !has(peer)
                    && let Some(other) = honest.iter().find(|other| has(other))
                {
                    let tx_id = &announced.tx_id;
                    return Err(format!("peer {peer} lacks the private value of {tx_id}, which peer {other} has"));
                }
            }
        }
    }
    Ok(())
}
