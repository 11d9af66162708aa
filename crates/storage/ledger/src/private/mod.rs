//! Clear private data: what a block announces, what of it is here, and what it does to the state.

mod announced;
mod arrange;
mod erase;
mod updates;

pub use announced::announced_private_data;
pub(crate) use announced::read_set;
pub(crate) use arrange::{arrange, is_purged};
pub use erase::PurgeLog;
pub(crate) use erase::erase_purged;
pub(crate) use updates::{PrivateUpdates, PurgedKey, is_of_valid, purged_keys};
