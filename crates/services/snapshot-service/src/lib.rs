//! Requests for ledger snapshots.
//!
//! What question this crate answers: *who may have a snapshot made, and of what?* [`SnapshotService`] serves
//! `protos.Snapshot`: the administrators of the peer's own organization request a snapshot, take a request back, and list
//! what is requested. The ledger makes the snapshots.
//!
//! Invariants: a request counts for nothing before its signer is known to be an administrator whose certificate has not
//! ended. Refusals are gRPC errors without a code of their own, in Fabric's words.
//!
//! Absent: joining by a snapshot, which is a call of `cscc`.

mod refusal;
mod service;

pub use service::SnapshotService;
