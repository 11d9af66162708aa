//! What real Fabric wrote, and what we make of it.
//!
//! What question this crate answers: *do we come to the same bytes and verdicts as Fabric 3.1.5?* The folder `fixtures`
//! holds what its unmodified programs produced: a chain of 102 blocks with the state behind it, chains that make Fabric's own
//! peers crash or hang, configuration updates, vectors of hashes, identities and policies, what peers said to each other, and
//! what nodes answered when they were asked for metrics. Each [`suites`] function
//! replays a part and reports into a [`Report`]; `cargo test -p ripstop-conformance` prints it as a table.
//!
//! Invariants: nothing is skipped silently. What is not reached stands in the table as *not yet*, with a count.
//!
//! The chain `golden`: three raft orderers, Org1 and Org2 with two peers each, Org3 (Ed25519) added later; capabilities V3_0 /
//! V2_5. Blocks 89 and 93 to 96 hold malformed transactions, blocks with config updates open and close the Writers policy.

mod fixtures;
mod report;
pub mod suites;

pub use fixtures::{Fixtures, hex_bytes, json_lines};
pub use report::Report;
