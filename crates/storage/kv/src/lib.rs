//! The embedded ordered key-value engine behind one small interface.
//!
//! What question this crate answers: *what stands under this key, and which keys stand between these two?* All derived data
//! of a ledger (state, history, indexes) lives here; none of it is the truth, which is in the block files.
//!
//! Invariants, each tied to something observed of the engine on disk (fjall):
//! - A batch is atomic across keyspaces. Writers take turns; after each batch the *writer* opens a snapshot and publishes
//!   it. Readers only ever see published snapshots, so none sees half a batch.
//! - A key may be longer than the engine takes (64 KiB): long keys are shortened by a hash and kept whole in the value;
//!   ranges still come in key order.
//! - [`Store::open`] may fail after a loss of power. The caller moves the directory out of the way ([`set_aside`]) and
//!   rebuilds. An error of a write is final: the store must be opened again.
//!
//! Absent: transactions with reads, merging, expiry. Implementations: on disk, and for tests in memory and on a
//! simulated disk.

mod disk;
mod draft;
#[cfg(feature = "simulated")]
mod journal;
mod key;
mod memory;
mod store;

pub use disk::{set_aside, set_aside_on};
pub use draft::Draft;
pub use store::{Batch, Durability, Entries, Keyspace, KvError, Options, Reads, Scan, Snapshot, Store};
