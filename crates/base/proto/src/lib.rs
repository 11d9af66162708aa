//! The wire contract of Hyperledger Fabric 3.1: messages and gRPC services.
//!
//! Everything here is generated at build time from the `.proto` files beside this crate; nothing is written by hand.
//! One module a protobuf package, named as the package is (`protos` is the peer's package on the wire).
//! Byte fields are [`bytes::Bytes`] slices of the received buffer; map fields are ordered, so encoding is deterministic.
//!
//! Absent: any meaning. Parsing into domain types happens once, in `ripstop-types` and the crates that own a rule.
#![allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub)]

pub mod common {
    tonic::include_proto!("common");
}
pub mod msp {
    tonic::include_proto!("msp");
}
pub mod protos {
    tonic::include_proto!("protos");
}
pub mod orderer {
    tonic::include_proto!("orderer");
    pub mod smartbft {
        tonic::include_proto!("orderer.smartbft");
    }
}
pub mod etcdraft {
    tonic::include_proto!("etcdraft");
}
pub mod gateway {
    tonic::include_proto!("gateway");
}
pub mod gossip {
    tonic::include_proto!("gossip");
}
pub mod discovery {
    tonic::include_proto!("discovery");
}
pub mod rwset {
    tonic::include_proto!("rwset");
}
pub mod kvrwset {
    tonic::include_proto!("kvrwset");
}
pub mod queryresult {
    tonic::include_proto!("queryresult");
}
pub mod lifecycle {
    tonic::include_proto!("lifecycle");
}
pub mod transientstore {
    tonic::include_proto!("transientstore");
}
pub mod ledger {
    tonic::include_proto!("ledger");
}

pub use prost::Message;
