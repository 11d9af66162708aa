//! Append-only block files.
//!
//! What question this crate answers: *what is block n?* The files are the log of a channel: a block is safe when
//! [`BlockStore::append`] returns, and everything else on disk can be derived from them. Peers and orderers use the same
//! store; a peer adds a [`TransactionIndex`] in its key-value store.
//!
//! Invariants:
//! - the files have Fabric's format, so Fabric's tools read them and this crate reads files written by Fabric;
//! - blocks are contiguous and chained by their hashes, from the genesis block or from the end of a snapshot
//!   ([`ChainBase`]); each append is one write and one `fdatasync`;
//! - a block that a crash cut off is removed when the store is opened; damage anywhere else is an error, never repaired
//!   by dropping blocks that were acknowledged; so are blocks and files that are gone;
//! - a block is visible to readers only after [`BlockStore::publish`], so that a peer can bring its state up to date first.
//!
//! Absent: the content of blocks, signatures, retention.

mod base;
mod files;
mod follow;
mod location;
mod read;
mod record;
mod recover;
mod store;
mod transactions;
mod truncate;

pub use base::ChainBase;
pub use follow::Follower;
pub use read::BlockReader;
pub use record::{RecordError, decode_block, encode_block};
pub use store::{BlockStore, BlockStoreError, BlockStoreOptions, ChainTip};
pub use transactions::{IndexedTransaction, TransactionIndex, TransactionLocation, TxIds};
pub use truncate::drop_index;
