//! Versioned world state and history.
//!
//! What question this crate answers: *what stands under this key, since which transaction, and which transactions changed
//! it?* It turns the changes of a block into entries of a [`Batch`](ripstop_kv::Batch) ([`StateWriter`]) and reads them
//! back from a snapshot ([`StateReader`]). Public values, hashes of private values and clear private values live in one
//! keyspace; the bytes are documented in the module `keys`.
//!
//! Invariants: the [`Savepoint`] stands in the same batch as the changes it names, so a snapshot always shows the state
//! after one exact block. All of it can be rebuilt from the block files (and clear private values from the private store).
//!
//! Absent: rich queries over JSON.

mod keys;
mod read;
mod write;

pub use keys::{Expiry, KEYSPACES, Savepoint};
pub use read::{HistoryIter, StateReader};
pub use write::StateWriter;
