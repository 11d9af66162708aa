//! Whom to ask.
//!
//! What question this crate answers: *which peers are there, and which of them have to endorse a transaction?*
//! [`Discovery`] answers applications over gRPC (`discovery.Discovery`), and the gateway in this process
//! ([`Discovery::endorsement_plan`]).
//!
//! Where it stands in the journey: before step 2. It brings together what the ledger says (definitions, collections, the
//! channel's configuration) and what this peer knows of others
//! ([`ripstop_gossip::View`]).
//!
//! Invariants:
//! - A [`Descriptor`] holds only layouts that the peers it lists can complete.
//! - An answer names peers by what they signed themselves; an internal endpoint is in none.
//!
//! Absent: connecting to peers, and deciding which of several layouts is tried first (`gateway`).

mod descriptor;
mod error;
mod service;

pub use descriptor::{Candidate, Descriptor, Group, Layout};
pub use error::PlanError;
pub use service::Discovery;
