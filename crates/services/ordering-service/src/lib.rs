//! Orders messages into blocks: broadcast, channels, consensus, participation.
//!
//! What question this crate answers: *what comes next on each channel?* It drives `ordering` (may this message be ordered,
//! what is in the block) and `raft` (do the consenters agree) with files, clocks and clients. It is step five of the journey
//! of a transaction: between a client's broadcast and the delivery of a block to peers.
//!
//! An [`OrderingService`] holds the channels; [`AtomicBroadcastService`] takes messages and hands requests for blocks to
//! `deliver`; [`ClusterService`] takes what other orderers send; [`participation_routes`] is the HTTP API with which operators join and leave channels.
//!
//! Invariants:
//! - A message is answered with success when it survives `kill -9`. On a channel with one consenter: its block is in the
//!   raft log, or the message is noted there until its block is. With several: its block is written here, so that a
//!   majority of them has it in its log, whoever leads and whatever implementation that is. Fabric answers when the message
//!   is in memory.
//! - Blocks are written in order and once: an entry that is applied again after a restart is known by its block number.
//! - One task a channel owns its consensus; each step runs to its end away from the async threads.
//! - A channel that fails stops and says why; the others go on.
//! - An orderer that fetches blocks takes part in elections; nothing is written before the blocks that come first.
//! - What other consenters send never makes this node wait, and what they do not take does not either.
//!
//! Absent: following a channel without being a consenter, changes of the set of consenters, byzantine consensus. Each is
//! answered with an error that says so.

mod answers;
mod broadcast;
mod channel;
mod cluster;
mod config;
mod consensus;
mod error;
mod info;
mod join;
mod links;
mod members;
mod metrics;
mod participation;
mod produce;
mod registry;
mod run;
mod snapshot_files;
mod throttle;
mod wal;

pub use broadcast::AtomicBroadcastService;
pub use cluster::ClusterService;
pub use config::{ClusterConfig, ExpiredClients, OrderingConfig};
pub use error::{ChannelError, OpenError};
pub use info::{ChannelInfo, ConsensusRelation, Status};
pub use join::{InvalidJoinBlock, JoinBlock};
pub use participation::participation_routes;
pub use registry::OrderingService;
pub use throttle::Throttle;
pub use wal::WalError;

#[cfg(test)]
mod tests;
