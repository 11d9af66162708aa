//! What goes into a block? Message filters, block cutter, block assembly.
//!
//! Where it stands in the journey: a client's envelope is classified ([`classify`]), checked against the channel's
//! configuration ([`check_normal`], [`propose_config`]), collected by a [`BlockCutter`] and put into a [`NextBlock`]; once
//! consensus agrees on the block, [`BlockToSign`] says what its orderer signs.
//!
//! Invariants:
//! - Filters run in Fabric's order, and each refusal has the status and begins with the words that Fabric answers with.
//! - Time is passed in; keys are elsewhere: this crate says what must be signed and takes the signature.
//! - Header and data of a block are the same on every orderer; only the signature in its metadata differs.
//! - Transactions are recorded as the canonical encoding of their envelope, because peers refuse any other.
//!
//! Absent: consensus (`raft`), files, sockets; which consenters are alive and how many may change at once.

mod assembly;
mod classify;
mod config_message;
mod consensus_metadata;
mod cutter;
mod filter;
mod maintenance;
mod rate;

pub use assembly::{BlockToSign, NextBlock, consenter_metadata};
pub use classify::{Message, MessageKind, Unprocessable, classify};
pub use config_message::{
    ConfigRefusal, ProposedConfig, UpdateRefusal, check_foreign_config, check_produced, propose_config,
};
pub use consensus_metadata::ConsensusRefusal;
pub use cutter::{BatchLimits, BlockCutter, Cut};
pub use filter::{ExpirationRule, Refusal, check, check_normal};
pub use maintenance::MaintenanceRefusal;
pub use rate::SharedRate;

#[cfg(test)]
mod tests;
