//! A ledger as files that another peer can begin from.
//!
//! What question this crate answers: *what does a ledger look like as files?* A snapshot holds what a peer needs to go on
//! behind one block without the blocks before it. The format is Fabric's, and so are the bytes: all peers of a channel
//! make the same files of the same block, so a hash compares whole ledgers.
//!
//! | file | content | order |
//! |---|---|---|
//! | `txids.data` | ids of all transactions, each once | by length, then bytewise |
//! | `confighistory.data` | key and value for each definition of a chaincode's collections | bytewise by key |
//! | `public_state.data` | a `SnapshotRecord` for each public key | namespace, then key |
//! | `private_state_hashes.data` | the same for each hash of a private value | namespace, then hash of the key |
//! | `….metadata` | how many entries the data file has; for state: how many in each namespace | as in the data file |
//! | `_snapshot_signable_metadata.json` | channel, last block, hashes of all files above | |
//! | `_snapshot_additional_metadata.json` | hash of the signable metadata, last commit hash | |
//!
//! A data file and its metadata are absent where there is nothing to put in. Data and metadata files begin with the byte 1;
//! numbers are varints, texts and messages have their length in front (Fabric: `common/ledger/snapshot/file.go`).
//!
//! Invariants: what is read is bounded by what the file holds, and every deviation is an error that names the file. A
//! [`VerifiedSnapshot`] can only be made by comparing all hashes; whoever reads without that says
//! [`unverified`](SnapshotFiles::unverified). [`SnapshotWriter::finish`] returns after all is on disk.
//!
//! Absent: where the content comes from and where it goes (`ledger`), and trust: whoever joins by a snapshot compares its
//! hash with other organizations.

mod config_history;
mod error;
mod file;
mod metadata;
mod read;
mod state;
mod write;

pub use config_history::{CollectionsChange, ConfigHistory};
pub use error::SnapshotError;
pub use metadata::{AdditionalMetadata, Part, SIMPLE_STATE, SignableMetadata};
pub use read::{SnapshotContent, SnapshotFiles, TxIds, VerifiedSnapshot};
pub use state::{StateRecord, StateRecords, hashed_namespace, split_hashed_namespace};
pub use write::{SnapshotTip, SnapshotWriter};
