//! Private data on this peer's disk, which no block file can give back.
//!
//! What question this crate answers: *which clear private writes does this peer hold for that transaction, and which does it
//! miss?* The [`TransientStore`] keeps them between endorsement and commit; a transaction that is never committed is
//! forgotten after some blocks. The [`CommittedPrivateData`] keeps those of committed transactions, so that the state can be
//! rebuilt and other peers can be given them, and markers for what is not here.
//!
//! Invariants:
//! - What was stored survives a crash (it is synchronised before it is acknowledged). A transient entry is only removed after
//!   the block that holds its transaction is committed, or when it is too old.
//! - What a block leaves is one atomic batch, written before the block; a block that a crash prevented replaces it.
//! - What has expired is gone from the disk, with its markers, as soon as the block is safe with which it did. What was purged
//!   is never given out again, and erased as soon as the state no longer needs the clear key.
//! - The store on disk begins with the first private write or marker: channels without private data have none.
//! - Of values whose blocks are not here, because the ledger begins with a snapshot, the hashes are kept until the values come.
//!
//! Absent: hashes are not compared here, and nobody's eligibility is judged.

mod change;
mod committed;
mod keys;
mod store;
mod transient;

pub use committed::{
    Absence, BlockSets, CommittedPrivateData, Erased, HashedValue, PrivatePlace, PrivateSet, by_transaction,
};
pub use store::{PrivateStore, PrivateStoreError};
pub use transient::{Received, TransientKey, TransientSet, TransientStore};
