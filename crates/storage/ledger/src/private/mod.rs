//! Clear private data: what a block announces, what of it is here, and what it does to the state.

mod announced;
mod arrange;
mod lifetime;
mod proof;
mod updates;

pub use announced::announced_private_data;
pub(crate) use announced::read_set;
pub(crate) use arrange::arrange;
pub(crate) use lifetime::Lifetimes;
pub use proof::Unproven;
pub(crate) use proof::{hashed, is_purged, prove, prove_by_snapshot};
pub(crate) use updates::{PrivateUpdates, PurgedKey, is_of_valid, purged_keys};
