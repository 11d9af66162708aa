//! Networks of peers and orderers under virtual time, with faults and hostile peers.
//!
//! What question this crate answers: *do the machines of `gossip`, `raft` and `sharing` keep their word together, whatever
//! happens?* A seed decides everything: how many peers, organizations and orderers there are, how blocks come to peers, what
//! is lost, late, doubled and cut, who crashes and comes back, and what a hostile peer with a valid identity does. [`live`]
//! goes through one such history and looks at it with the modules of `checks`, which know nothing of how the machines work.
//!
//! The pure crates are the real ones. What is modelled: the network; signatures (digests that need a key); ledgers and the
//! block writer of orderers (`chain`, `orderer`); the drivers (`world`); which organizations may have private values
//! (`values`; whom they are given and who is asked for them, `sharing` decides).
//!
//! Invariants: the same seed gives the same history, which its trace tells; nothing waits for real time.
//!
//! Absent: the services and their queues, real policies and signatures, changes of the channel's configuration.

mod chain;
mod checks;
pub mod cost;
mod history;
mod hostile;
mod orderer;
mod peer;
mod story;
mod trust;
mod values;
mod world;

pub use history::{Outcome, live};
