//! Peers talk to each other.
//!
//! What question this crate answers: *how do the decisions of `ripstop-gossip` meet streams, timers and this peer's
//! ledgers?* It stands beside the journey of a transaction: private data go from peer to peer by it before they are ordered,
//! blocks may, and everybody asks it who is there.
//!
//! One [`Gossip`] a peer. [`Gossip::view`] says who is alive and what each has; [`Gossip::join`] opens a [`ChannelDoor`],
//! through which comes what other peers send for a channel; [`Gossip::send`] and its relatives send to one peer.
//!
//! Invariants:
//! - what comes through a door comes from a peer that proved who it is ([`Contact`](ripstop_gossip::Contact)) and that may
//!   read the channel; what it says is unverified;
//! - a peer that is slow, silent or loud costs others nothing: every queue has a bound, and what does not fit is dropped;
//! - whoever sends is told when the message surely did not leave; that it arrived only an acknowledgement says.
//!
//! Absent: who is entitled to private data, and what is done with them (`ripstop-private-data`); verification of blocks.

mod ask;
mod assemble;
mod channel;
mod clock;
mod config;
mod conversation;
mod dial;
mod door;
mod event;
mod handle;
mod metrics;
mod notes;
mod router;
mod run;
mod serve;
mod server;
mod stream;
mod trust;

pub use ask::{AcknowledgeError, AskError, SendError};
pub use config::{GossipConfig, GossipParts, GossipTls, Spreading};
pub use door::{ChannelDoor, Leadership, PrivateIncoming, ReceivedBlock};
pub use handle::Gossip;
pub use server::GossipService;
