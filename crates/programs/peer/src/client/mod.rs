//! The client's side of a transaction: propose, endorse, assemble, broadcast, wait for the commit.
//!
//! ```text
//! Invocation --propose--> Proposal --Peer::endorse--> responses --Proposal::assemble--> envelope
//!     --Orderer::broadcast--> (ordered) ... CommitWatch::wait --> committed on every peer that was asked
//! ```
//!
//! Absent: choosing endorsers. The caller names them, as with Fabric's command line; the gateway service plans for itself.

mod commit;
mod connection;
mod proposal;
mod seek;
mod snapshots;
mod submit;
mod transaction;

pub use commit::{CommitError, CommitWatch};
pub use connection::{CallError, Orderer, Peer};
pub(crate) use proposal::now;
pub use proposal::{Invocation, Proposal};
pub use seek::{BlockRequest, Patience, Seek};
pub use submit::{Submission, SubmitError, endorse_on_all};
pub use transaction::AssembleError;
