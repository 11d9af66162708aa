//! Serves blocks, and pulls them.
//!
//! What question this crate answers: *who may see which blocks, from where on?* A [`DeliverService`] answers requests for
//! blocks over a [`Channels`] of [`BlockSource`]s (the ledgers of a peer, the chains of an orderer), and a [`BlockPuller`]
//! is the client that keeps a channel's committer supplied. It is step six of the journey of a transaction.
//!
//! Invariants:
//! - a stream's client is checked when the stream begins, and again after every change of the channel's configuration and
//!   when its certificate expires;
//! - blocks are sent in order and without gaps;
//! - the puller judges nothing: who receives its blocks verifies them, and tells the puller to look elsewhere.
//!
//! Absent: who may read which private data beside blocks (their source says so), header streams against censorship.

mod filtered;
mod pull;
mod seek;
mod service;
mod session;
mod source;
#[cfg(test)]
mod tests;

pub use filtered::{FilterError, filtered_block};
pub use pull::{
    BlockOrigin, BlockPuller, ErrorResponse, PullConfig, PullEnd, PullError, PullTarget, PulledBlock, WhenOutlasted,
};
pub use service::{DeliverConfig, DeliverService, Delivery, ExpirationCheck, PeerDeliver, TlsBinding};
pub use source::{BlockForm, BlockSource, Channels, Refusal, SourceError};
