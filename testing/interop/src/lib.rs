//! Whoever may come against a real network of ours: official software, enemies, power cuts.
//!
//! What questions this crate answers: *do programs that know nothing of Ripstop work with it, unmodified? Does it stand up
//! to clients that send anything at all? Does it keep what it acknowledged when its processes are killed?* [`Network`] is a
//! real `ripstop up` in a folder of its own, an [`Operator`] runs commands on it, [`Node`] the official JavaScript packages
//! as npm delivers them, a [`Site`] the keys and addresses in a network's folder, [`DraftProposal`] and [`DraftEnvelope`]
//! messages whose every part can be spoilt. The tests drive these and end what they started.
//!
//! Absent: anything that would stand in for official software, or for a part of the network.

mod draft;
mod load;
mod network;
mod node;
mod operator;
mod processes;
mod random;
mod site;

pub use draft::{DraftEnvelope, DraftProposal, Level, high_s, now};
pub use load::{Client, History, Load, SharedHistory, Work};
pub use network::{CHANNEL, Deployment, Instance, Network};
pub use node::{Node, NodeMissing, Running};
pub use operator::Operator;
pub use processes::Processes;
pub use random::Random;
pub use site::Site;
