//! Shares private data with other peers.
//!
//! What question this crate answers: *how do clear private values come to the peers that may have them, and to no others?* It
//! is step four of the journey, and the only place where it leaves the straight line. A [`ChannelPrivateData`] sends what
//! was endorsed to entitled peers before the endorsement is given ([`ChannelPrivateData::share`]), keeps what others send,
//! collects what a block announces when it is committed ([`gather`], [`ChannelPrivateData::fetch`]), answers peers that lack
//! something, and looks afterwards for what was not to be had in time ([`ChannelPrivateData::run`]). Who may have what is
//! decided in `ripstop-sharing`.
//!
//! Invariants:
//! - a value leaves for a peer only when the collection's member policy admits it, and never enters a log line;
//! - what another peer says is believed only as far as the hashes in a block prove it;
//! - a block waits for private data only while somebody who might have them has not answered;
//! - what peers of one organization send or ask takes a bounded part of this peer, whatever it is.
//!
//! Absent: streams (`gossip-service`), and the state (`ledger`).

mod channel;
mod config;
mod definitions;
mod fetch;
mod gather;
mod metrics;
mod neighbours;
mod readable;
mod receive;
mod reconcile;
mod run;
mod serve;
mod share;

pub use channel::{ChannelPrivateData, PrivateDataService};
pub use config::{PrivateDataConfig, PullAtCommit, Reconciliation};
pub use gather::{GatherError, Gathered, Missed, Prefetched, TransactionKind, gather};
pub use metrics::PrivateDataMetrics;
pub use neighbours::Neighbours;
pub use readable::{ReadableError, readable};
pub use run::PRIVATE_BATCH;
pub use share::ShareError;
