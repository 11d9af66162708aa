//! Orders messages into blocks: broadcast, channels, consensus, participation.
//!
//! What question this crate answers: *what comes next on each channel?* It drives `ordering` (may this message be ordered,
//! what is in the block) and `raft` (do the consenters agree) with files, clocks and clients. It is step five of the journey
//! of a transaction: between a client's broadcast and the delivery of a block to peers.
//!
//! An [`OrderingService`] holds the channels; [`AtomicBroadcastService`] takes messages and hands requests for blocks to
//! `deliver`; [`participation_routes`] is the HTTP API with which operators join and leave channels.
//!
//! Invariants:
//! - A message is answered with success when it survives `kill -9` of this node: its block is in the raft log, or the
//!   message is noted there until its block is. Fabric answers when the message is in memory. The price is one sync of the
//!   log, shared by all messages that arrive meanwhile; waiting for the block instead would cost the batch timeout.
//! - Blocks are written in order and once: an entry that is applied again after a restart is known by its block number.
//! - One task a channel owns its consensus; each step runs to its end away from the async threads.
//! - A channel that fails stops and says why; the others go on.
//!
//! Absent: links to other consenters, following a channel without being a consenter, fetching blocks from other orderers,
//! byzantine consensus. Each is answered with an error that says so.

mod broadcast;
mod channel;
mod config;
mod consensus;
mod error;
mod info;
mod join;
mod metrics;
mod participation;
mod produce;
mod registry;
mod run;
mod throttle;
mod wal;

pub use broadcast::AtomicBroadcastService;
pub use config::{ExpiredClients, OrderingConfig};
pub use error::{ChannelError, OpenError};
pub use info::{ChannelInfo, ConsensusRelation, Status};
pub use join::{InvalidJoinBlock, JoinBlock};
pub use participation::participation_routes;
pub use registry::{OrderingService, TrustedRoots};
pub use throttle::Throttle;
pub use wal::WalError;

#[cfg(test)]
mod tests;
