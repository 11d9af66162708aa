//! Official Fabric software against a real network of ours.
//!
//! What question this crate answers: *do programs that know nothing of Ripstop work with it, unmodified?* [`Network`] is a
//! real `ripstop up` in a folder of its own, [`Node`] the official JavaScript packages as npm delivers them. The tests drive
//! both and end what they started.
//!
//! Absent: anything that would stand in for official software.

mod network;
mod node;

pub use network::{Deployment, Instance, Network};
pub use node::{Node, NodeMissing, Running};
