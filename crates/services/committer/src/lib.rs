//! Receives blocks, checks them, commits them.
//!
//! What question this crate answers: *how does a block from an orderer become part of the ledger?* It is step seven of
//! the journey of a transaction. Each channel has one [`Committer`]; [`Committer::run`] takes blocks from a puller, in
//! order, through verify, check, validate, gather, commit. The rules of all of these are in `ripstop-validation`; here
//! they meet threads, disks and the log. Private data that are not here come from other peers, through
//! `ripstop-private-data`.
//!
//! Invariants:
//! - signatures of the next blocks are checked while those before are written, but never past a configuration block, which
//!   changes who may sign;
//! - blocks that are ready together are written together, so that a peer that lags behind does not wait for the disk after
//!   each; one that is in step writes each block as it comes;
//! - a block that is not what it should be is refused and its sender left; the channel goes on with another one;
//! - a block about which nothing can be decided ends this channel's task with a message, never the process.
//!
//! Absent: gossip.

mod commit;
mod line;
mod metrics;
mod parallel;
mod run;
mod writing;

pub use commit::{Committer, CommitterError};
pub use line::{GROUP_BLOCKS, GROUP_BYTES};
pub use metrics::CommitMetrics;
pub use run::BLOCK_QUEUE;
