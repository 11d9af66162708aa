//! Networks of peers and orderers under virtual time, with faults and hostile peers.
//!
//! What question this crate answers: *do the machines of `gossip`, `raft` and `sharing` keep their word together, whatever
//! happens?* A seed decides everything: how many peers, organizations and orderers there are, how blocks come to peers, what
//! is lost, late, doubled and cut, who crashes and comes back, and what a hostile peer with a valid identity does. [`live`]
//! goes through one such history and looks at it with the modules of `checks`, which know nothing of how the machines work.
//!
//! Operators are part of it: organizations leave the channel and come back, anchor peers change, certificates end, are revoked
//! and issued anew, collections are defined otherwise; each peer learns of it when it commits the block that says so.
//!
//! The pure crates are the real ones, and so are identities, what organizations and configurations say of them, and the
//! policies of collections (`authority`, `voucher`, `configuration`, `definition`). What is modelled: the network; signatures
//! of messages (digests that need a key; those that open streams are real); ledgers, with the rule by which a configuration
//! comes into force, and the block writer of orderers (`chain`, `orderer`); the drivers with their bounded queues (`world`);
//! what a peer keeps of private values (`values`; whom they are given and who is asked for them, `sharing` decides).
//!
//! Invariants: the same seed gives the same history, which its trace tells; nothing waits for real time.
//!
//! Absent: the services themselves, configurations that nobody authorised, endorsement policies, purging of single values,
//! changes of the orderers' group. Which fault which check sees is in `docs/decisions/0024-networks-are-simulated-whole.md`.

mod authority;
mod chain;
mod checks;
mod configuration;
pub mod cost;
mod definition;
mod history;
mod hostile;
mod orderer;
mod peer;
mod story;
mod trust;
mod values;
mod voucher;
mod world;

pub use history::{Outcome, live};
