//! Whom to ask.
//!
//! What question this crate answers: *which peers are there, and which of them have to endorse a transaction?*
//! [`DiscoveryService`] answers applications over gRPC (`discovery.Discovery`); [`Discovery`] answers the gateway in this
//! process.
//!
//! Where it stands in the journey: before step 2. It brings together what the ledger says (definitions, collections, the
//! channel's configuration) and what this peer knows of others ([`ripstop_gossip::View`]).
//!
//! Invariants:
//! - A [`Descriptor`] holds only layouts for whose every group the peers it lists suffice.
//! - Nothing is told before it is known that whoever signed the request may ask. A channel that is not there and one that is
//!   not for the asker are refused alike.
//! - Requests of one organization keep only its own waiting.
//! - An answer names peers by what they signed themselves; an internal endpoint is in none.
//!
//! Absent: connecting to peers, and deciding which of several layouts is tried first (`gateway`).

mod access;
mod answer;
mod cache;
mod config;
mod demand;
mod descriptor;
mod endorsement;
mod error;
mod peers;
mod planner;
mod refusal;
mod service;
mod text;
mod turns;

pub use cache::CacheSize;
pub use descriptor::{Candidate, Descriptor, Group, Layout};
pub use error::{Lack, Missing, PlanError};
pub use planner::Discovery;
pub use service::{DiscoveryConfig, DiscoveryService, TlsBinding};
