//! A ledger on disk: reading, simulating, committing, and coming back after every kind of end.
//!
//! The first block is one that Fabric 3.1 made (channel `golden`, organizations Org1MSP and Org2MSP); the blocks after it
//! are made here, with verdicts as a peer records them.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod administration;
mod chain;
mod commit;
mod expiry;
mod faults;
mod left_behind;
mod model;
mod private;
mod recovery;
mod simulation;
mod snapshots;
