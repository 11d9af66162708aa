//! Read/write sets.
//!
//! What question this crate answers: *what did a transaction read and write, in which bytes, and what does a block change?*
//! An endorser builds a set with [`RwSetBuilder`] and signs its encoding, so endorsers must produce equal bytes; a
//! committer parses the set ([`TxRwSet::parse`]), compares what was read with a [`StateView`], and collects the writes of
//! the valid transactions in an [`UpdateBatch`], whose canonical bytes go into the [`commit_hash`] that all peers compare.
//!
//! Where it stands in the journey: simulation (step 3) and commit (step 7).
//!
//! Invariants, each a rule of Fabric that golden vectors guard:
//! - an empty value *is* a delete;
//! - hashed entries are sorted by the clear key, not by its hash;
//! - range queries stand in the order of their first use, everything else is sorted bytewise;
//! - more than [`RANGE_MERKLE_DEGREE`] results of a range query are summarised as a Merkle tree ([`RangeRecorder`]).
//!
//! Absent: I/O, and the verdict. Whether a changed version makes a transaction invalid is decided in `validation`.

mod builder;
mod commit_hash;
mod memory;
mod private;
mod proof;
mod range;
mod set;
mod state;
mod update;

pub use builder::RwSetBuilder;
pub use commit_hash::commit_hash;
pub use memory::MemoryState;
pub use private::{CollectionPrivateRwSet, NsPrivateRwSet, PrivateMetadataWrite, ReceivedSets, TxPrivateRwSet};
pub use proof::Unproven;
pub use range::{InvalidMerkleDegree, RANGE_MERKLE_DEGREE, RangeRecorder};
pub use set::{
    CollectionHashedRwSet, HashedMetadataWrite, HashedRead, HashedWrite, KvRead, KvWrite, MerkleSummary, MetadataEntry,
    MetadataWrite, NsRwSet, RangeQuery, RangeReads, RwSetError, TxRwSet,
};
pub use state::{StateError, StateIter, StateValue, StateView, decode_metadata, encode_metadata};
pub use update::{HistoryEntry, PendingState, PrivateExpectation, Purge, Update, UpdateBatch};

/// The namespace in which a peer keeps the channel's configuration. No chaincode can have this name.
pub const CHANNEL_CONFIG_NAMESPACE: &str = "";

/// The key in [`CHANNEL_CONFIG_NAMESPACE`] whose value is the last `common.ConfigEnvelope` as it stood in its block.
pub const CHANNEL_CONFIG_KEY: &str = "CHANNEL_CONFIG_ENV_BYTES";
