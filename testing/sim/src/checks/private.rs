//! Private values reach nobody who may not have them, in no message and no line of the log; who may have them gets them
//! if any peer that is there has them.
//!
//! Bound: everybody has the blocks first; then come a few questions, some of them to peers that do not have the value.

use std::time::Duration;

use ripstop_gossip::SignedMessage;

use super::heights;
use crate::story::Story;
use crate::values::{Announced, MARK, collection_of, is_entitled};
use crate::world::World;

/// How long looking for values takes.
const SEARCH: Duration = Duration::from_secs(20);

/// From the moment at which the network is calm.
pub(crate) fn bound(story: &Story) -> Duration {
    heights::bound(story) + SEARCH
}

/// Looks at a message of an honest peer before it goes on its way.
pub(crate) fn inspect(world: &mut World, from: usize, to: usize, message: &SignedMessage) {
    let mut rest = &message.envelope().payload[..];
    while let Some(collection) = collection_of(rest) {
        if !is_entitled(world.story.parts[to].organization, collection) {
            world.faults.push(format!("peer {from} tells peer {to} a private value of collection {collection}"));
        }
        let place = rest.windows(MARK.len()).position(|window| window == MARK.as_bytes()).unwrap_or_default();
        rest = &rest[place + MARK.len()..];
    }
}

/// Looks at a line of a peer's log.
pub(crate) fn inspect_note(world: &mut World, peer: usize, text: &str) {
    if text.contains(MARK) {
        world.faults.push(format!("peer {peer} logs a private value"));
    }
}

/// Whether everybody has what he may have, and nothing else.
pub(crate) fn holds(world: &mut World) -> Result<(), String> {
    let honest = world.honest();
    for peer in &honest {
        let organization = world.story.parts[*peer].organization;
        let shelf = &world.peers[*peer].shelf.values;
        if let Some((tx_id, _)) = shelf
            .iter()
            .find(|(_, value)| collection_of(value).is_some_and(|collection| !is_entitled(organization, collection)))
        {
            return Err(format!("peer {peer} has the private value of {tx_id}"));
        }
        let ledger = &world.peers[*peer].ledger;
        let announced =
            (0..ledger.height()).flat_map(|number| ledger.transactions(number)).filter_map(Announced::parse);
        for announced in announced.filter(|announced| is_entitled(organization, announced.collection)) {
            let has = |peer: &usize| world.peers[*peer].shelf.values.contains_key(&announced.tx_id);
            if !has(peer)
                && let Some(other) = honest.iter().find(|other| has(other))
            {
                return Err(format!(
                    "peer {peer} lacks the private value of {}, which peer {other} has",
                    announced.tx_id
                ));
            }
        }
    }
    Ok(())
}
