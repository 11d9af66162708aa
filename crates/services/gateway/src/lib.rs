//! The service that applications use.
//!
//! What question this crate answers: *which peers must endorse, and did the transaction commit?* An application sends one
//! signed proposal; the gateway works out who has to endorse it from the chaincode's endorsement policy, collects
//! endorsements, assembles the transaction, hands the signed one to an orderer, and says how it ended. It is step one of
//! the journey, and the last one: commit status and events.
//!
//! Endorsers, the peer's own one included, are the same generated gRPC client type. Other organisations' peers are those
//! that the channel's configuration names as anchor peers.
//!
//! Invariants: no endorser is asked twice for one proposal; the gateway's own organisation is asked first; transient data
//! goes only to organisations that are entitled to it; what the endorsers signed is compared byte for byte; every failure
//! tells address, organisation and words of each peer or orderer that refused.
//!
//! Absent: signing anything. The gateway holds no key of the application's.

mod commit_status;
mod connections;
mod difference;
mod endorse;
mod endorser;
mod evaluate;
mod events;
mod layout;
mod peers;
mod plan;
mod planning;
mod proposal;
mod refusal;
mod roster;
mod service;
mod submit;

pub use peers::{LocalPeer, PeerDirectory};
pub use service::{Gateway, GatewayConfig};
