//! One channel's truth.
//!
//! What question this crate answers: *what happened in this channel, what is its state now, and how does the next block
//! change it?* Where it stands in the journey: simulation (step 3) reads a snapshot, commit (step 7) writes, and whoever
//! waits for blocks follows (step 8).
//!
//! Invariants:
//! - The block file is the log: a block is appended and synchronised first, all else is derived from it. State, history,
//!   index, savepoint and commit hash of a block are one atomic batch. Opening replays what the batch of a crash lost.
//!   Killing the process at any instant is safe.
//! - Clear private data cannot be derived, so it is synchronised before the block that it belongs to. Only what a block, or
//!   the snapshot before it, proves by its hashes is kept, and only the valid transactions' in the state. What comes later is
//!   kept with the height at which it came and takes effect there again when the state is rebuilt.
//! - Blocks that are at hand together share one synchronisation of the disk and one batch ([`Group`]); nobody sees any of them
//!   before all are safe.
//! - One writer a ledger, on the caller's thread. Readers hold a [`StateSnapshot`] of one exact height and never wait.
//! - [`Ledger::commit`] is the only door into the state, and takes validated blocks only.
//! - A configuration block swaps [`Ledger::config`] after its commit, between two blocks.
//! - Snapshots for other peers are made of one exact state while commits go on. A ledger that begins with a snapshot keeps
//!   its files: together with the blocks behind it they are the truth.
//! - A ledger is taken back, paused or removed only while nobody has it open: [`StoppedLedgers`].
//! - A state directory that will not open, or does not match the blocks, is set aside and rebuilt from them.
//!
//! Absent: verdicts (`validation`), networks, and any knowledge of who may read what.

mod apply;
mod collections;
mod contents;
mod directory;
mod error;
mod expire;
mod export;
mod history;
mod import;
mod late;
mod ledger;
mod lifecycle_state;
mod private;
mod recover;
mod registry;
mod rollback;
mod simulate;
mod snapshot;
mod snapshots;
mod stopped;

pub use contents::{ContentsError, LedgerContents};
pub use directory::LedgerStatus;
pub use error::{
    CommitError, CreateError, GenerateError, LedgerError, OpenError, ReconcileError, SnapshotRequestError,
};
pub use history::{History, KeyModification};
pub use late::{RejectedSet, Rejection};
pub use ledger::{ChainInfo, CommitTimes, CommittedTransaction, Group, Ledger, PrivateData};
pub use lifecycle_state::SimulatedLifecycle;
pub use private::{PurgeLog, announced_private_data};
pub use registry::{LedgerOptions, Ledgers};
pub use ripstop_block_store::{BlockStoreError, Follower};
pub use ripstop_kv::Entries;
pub use ripstop_private_store::{
    Absence, PrivatePlace, PrivateSet, PrivateStoreError, Received, TransientKey, TransientSet, TransientStore,
    by_transaction,
};
pub use ripstop_rwset::{StateError, StateIter, StateValue, StateView, Unproven};
pub use simulate::{KeyValue, RangeId, SimulateError, SimulationResults, Simulator, VersionText, WrittenKey};
pub use snapshot::StateSnapshot;
pub use stopped::{AdministrationError, StoppedLedgers};
