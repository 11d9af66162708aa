//! The wire contract of Hyperledger Fabric 3.1: messages and gRPC services.
//!
//! The messages are generated at build time from the `.proto` files beside this crate. One module a protobuf package, named
//! as the package is (`protos` is the peer's package on the wire). Byte fields are [`bytes::Bytes`] slices of the received
//! buffer; map fields are ordered, so encoding is deterministic.
//!
//! Invariants:
//! - what decides a verdict is decoded with [`read()`], which takes and refuses what Go's decoder takes and refuses;
//! - nothing that comes over gRPC is decoded when it would take far more memory than bytes ([`codec`]);
//! - what a peer says to another one, and decides nothing, is decoded with [`read_bounded`], which takes a bounded part of the
//!   memory.
//!
//! Absent: any meaning. Parsing into domain types happens once, in `ripstop-types` and the crates that own a rule.

mod bounded;
pub mod codec;
mod read;
pub mod schema;
pub mod wire;

pub use bounded::{BoundedReadError, read_bounded, take_values};
pub use prost::{Message, Name};
pub use read::read;

/// The release of Fabric whose protocols these are, as commands and nodes say it.
pub const FABRIC_RELEASE: &str = "v3.1.5";

#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod common {
    tonic::include_proto!("common");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod msp {
    tonic::include_proto!("msp");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod protos {
    tonic::include_proto!("protos");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod orderer {
    tonic::include_proto!("orderer");
    pub mod smartbft {
        tonic::include_proto!("orderer.smartbft");
    }
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod etcdraft {
    tonic::include_proto!("etcdraft");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod gateway {
    tonic::include_proto!("gateway");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod gossip {
    tonic::include_proto!("gossip");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod discovery {
    tonic::include_proto!("discovery");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod rwset {
    tonic::include_proto!("rwset");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod kvrwset {
    tonic::include_proto!("kvrwset");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod queryresult {
    tonic::include_proto!("queryresult");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod lifecycle {
    tonic::include_proto!("lifecycle");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod transientstore {
    tonic::include_proto!("transientstore");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod ledger {
    tonic::include_proto!("ledger");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod msgs {
    tonic::include_proto!("msgs");
}
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub, reason = "generated")]
pub mod privacyenabledstate {
    tonic::include_proto!("privacyenabledstate");
}
