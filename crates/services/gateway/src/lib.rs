//! The service that applications use.
//!
//! What question this crate answers: *which peers must endorse, and did the transaction commit?* An application sends one
//! signed proposal; the gateway lets the best-placed peer of its own organization endorse it, works out with discovery who has
//! to endorse what that touched, collects endorsements, assembles the transaction, hands the signed one to an orderer, and says
//! how it ended. It is step one of the journey, and the last one: commit status and events.
//!
//! Which peers there are, at which height and with which chaincodes, it reads from what gossip knows
//! ([`ripstop_gossip::View`]). All of them, the peer's own one included, are the same generated gRPC client type.
//!
//! Invariants: no endorser is asked twice for one proposal; peers of the gateway's own organization come first, and among
//! equals those with the highest ledger; transient data goes only to organizations that are entitled to it; what the endorsers
//! signed is compared byte for byte; every failure tells address, organization and words of each peer or orderer that refused;
//! an address that is for the own organization only is told to no application; connections end with the peers and
//! certificates they were made for.
//!
//! Absent: signing anything, for the gateway holds no key of the application's; remembering who failed, for gossip says who
//! lives.

mod commit_status;
mod connections;
mod difference;
mod endorse;
mod endorser;
mod evaluate;
mod events;
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
