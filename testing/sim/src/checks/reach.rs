//! Nobody is told what is not for it: by an honest peer that knows that an organization left the channel, nothing is told to
//! peers of that organization; nor are blocks to those that are not in the channel or whose identity is revoked; what is for
//! the own organization stays in it; and no more blocks are sent at once than may be asked for.

use ripstop_gossip::{Content, DataKind, SignedMessage, Tag};

use crate::world::World;

/// Looks at a message of an honest peer before it goes on its way.
pub(crate) fn inspect(world: &mut World, from: usize, to: usize, message: &SignedMessage) {
    if let Err(fault) = look(world, from, to, message) {
        world.faults.push(format!("peer {from} tells peer {to} {fault}"));
    }
}

fn look(world: &World, from: usize, to: usize, message: &SignedMessage) -> Result<(), String> {
    let organization = world.story.parts[to].organization;
    let (told, is_own) = (&world.peers[from].told, world.story.parts[from].organization == organization);
    let content = &message.message().content;
    if !is_own && world.story.parts[from].joins && !told.has(organization) {
        return Err(format!("of an organisation that left the channel something: {content:?}"));
    }
    let tag = message.message().tag;
    if !is_own && matches!(tag, Tag::Organization | Tag::ChannelAndOrganization) {
        return Err(format!("what is for its own organisation: {content:?}"));
    }
    let blocks = match content {
        Content::Block(_) | Content::Update { kind: DataKind::Blocks, .. } => 1,
        Content::StateResponse(payloads) => payloads.len() as u64,
        _ => 0,
    };
    if blocks > world.story.options.state.batch_size + 1 {
        return Err(format!("{blocks} blocks at once"));
    }
    let is_revoked = told.draft.revokes(&world.peers[to].about.identity);
    if blocks > 0 && (!world.story.parts[to].joins || is_revoked) {
        let why = if is_revoked { "whose identity is revoked" } else { "who is not in the channel" };
        return Err(format!("{blocks} blocks, {why}: {}", message.message().nonce));
    }
    Ok(())
}
