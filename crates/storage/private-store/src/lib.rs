//! Private data on this peer's disk, which no block file can give back.
//!
//! What question this crate answers: *which clear private writes does this peer hold for that transaction?* The
//! [`TransientStore`] keeps them between endorsement and commit; a transaction that is never committed is forgotten after
//! some blocks. The [`CommittedPrivateData`] keeps those of committed transactions, so that the state can be rebuilt.
//!
//! Invariants: what was stored survives a crash (it is synchronised before it is acknowledged); a transient entry is only
//! removed after the block that holds its transaction is committed, or when it is too old. The store on disk begins with
//! the first private write: channels without private data have none.
//!
//! Absent: hashes are not compared here. Expiry of committed private data and reconciliation of missing data come later.

mod committed;
mod keys;
mod store;
mod transient;

pub use committed::CommittedPrivateData;
pub use store::{PrivateStore, PrivateStoreError};
pub use transient::{TransientSet, TransientStore};
