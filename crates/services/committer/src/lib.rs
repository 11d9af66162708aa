//! Receives blocks, checks them, commits them.
//!
//! What question this crate answers: *how does a block from an orderer become part of the ledger?* It is step seven of
//! the journey of a transaction. Each channel has one [`Committer`]; [`Committer::run`] takes blocks from a puller, in
//! order, through verify, check, validate, gather, commit. The rules of all of these are in `ripstop-validation`; here
//! they meet threads, disks and the log. Private data that are not here come from other peers, through
//! `ripstop-private-data`.
//!
//! Invariants:
//! - signatures of the next block are checked while the one before is written, but never past a configuration block,
//!   which changes who may sign;
//! - a block that is not what it should be is refused and its sender left; the channel goes on with another one;
//! - a block about which nothing can be decided ends this channel's task with a message, never the process.
//!
//! Absent: gossip.

mod commit;
mod metrics;
mod parallel;
mod run;

pub use commit::{Committer, CommitterError};
pub use metrics::CommitMetrics;
pub use run::BLOCK_QUEUE;
