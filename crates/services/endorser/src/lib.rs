//! Checks a proposal, simulates it and signs the result.
//!
//! What question this crate answers: *does this peer stand behind what the chaincode answered?* It is step two of the
//! journey: [`EndorserService`] takes a signed proposal, asks who sent it and whether he may, lets the chaincode run
//! against a snapshot of the ledger, and signs what was read and written.
//!
//! Invariants:
//! - nothing runs before the sender's identity, signature and right are checked, in Fabric's order and words;
//! - nothing is endorsed while a ledger that was taken back has not come as far again;
//! - clear private data is stored, and with as many other peers as its collections demand, before the endorsement is given
//!   (`ripstop-private-data`), so that it is there when the transaction commits;
//! - only a chaincode answer below status 400 is endorsed; one of 500 and above returns what would have been signed,
//!   unsigned; the table stands in [`answer`].
//!
//! Absent: endorsement plugins other than Fabric's default.

mod answer;
mod filter;
mod metrics;
mod proposal;
mod service;

pub use filter::Filters;
pub use service::{EndorserConfig, EndorserService};
