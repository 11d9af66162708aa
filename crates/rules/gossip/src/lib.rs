//! Who is there, what does each have, and who tells whom? Fabric's gossip as a state machine.
//!
//! What question this crate answers: *which peers are alive, in which channels, at which height, and what must be said to
//! whom so that all of them come to know the same?* It stands beside the journey of a transaction: blocks and private data
//! travel by it, and discovery tells applications what it knows.
//!
//! A driver feeds a machine with input (streams that came up, messages of authenticated streams, what the ledger did) and
//! carries out its effects. All machines here have one shape: `handle(now, input)`, then effects until there are none, and
//! `wake_at` for the next moment at which time alone changes something.
//!
//! Invariants:
//! - nothing that a message says is believed before its signature is verified by [`Trust`], and nothing is told to an
//!   organization that it may not know: internal endpoints never leave the own organization, channels only members;
//! - every store has a named bound; what a single peer or organization can put into one is bounded too;
//! - the same inputs and seed give the same effects.
//!
//! Absent: sockets, clocks, files, random numbers of the operating system; verification of blocks.

mod allowance;
mod channel;
mod crowd;
mod effect;
mod election;
mod encode;
pub mod handshake;
mod identities;
mod input;
mod membership;
mod message;
mod moment;
mod node;
mod options;
mod parse;
mod peer;
mod pull;
mod push;
mod roster;
mod signed;
mod strangers;
mod transfer;
mod trust;
mod turn;
mod view;

#[cfg(test)]
mod tests;

pub use effect::{Effect, Logger, Note, NoteLevel};
pub(crate) use effect::{Effects, Surroundings};
pub use election::takeover_bound;
pub use handshake::IdentityRefusal;
pub use input::{AnchorPeer, ChannelInput, ChannelOrganizations, Input};
pub use message::{
    Alive, Content, DataKind, Leadership, Message, PeerTime, PrivateDigest, PrivateElement, PrivatePayload, StateInfo,
    StatePayload, Tag,
};
pub use moment::Moment;
pub use node::{Counters, Node, SelfDescription};
pub use options::{ElectionOptions, Options, StateOptions};
pub use parse::{Culprit, Malformed};
pub use peer::{Endpoint, Member, PkiId};
pub use signed::SignedMessage;
pub use trust::{Contact, Distrust, Standing, Trust};
pub use view::{AnnouncedChaincode, ChannelMember, KnownPeer, View};
