//! Private data of the golden chain. A peer of Fabric delivered blocks 29 to 35 with it, once to a member of Org1, then to a
//! peer of Org2.

use prost::Message;
use ripstop_proto::protos::{self, deliver_response::Type};
use ripstop_rwset::TxPrivateRwSet;
use ripstop_types::BlockNumber;
use serde_json::Value;

use super::replay::PrivateWrites;
use crate::hex_bytes;

/// The private writes that the first of the two was given.
pub(crate) fn delivered(lines: &[Value]) -> PrivateWrites {
    let mut delivered = PrivateWrites::new();
    for line in lines {
        let Some(number) = line["block"].as_u64() else { break };
        let answer = protos::DeliverResponse::decode(hex_bytes(&line["hex"])).expect("the fixture decodes");
        let Some(Type::BlockAndPrivateData(block)) = answer.r#type else { continue };
        let sets = block
            .private_data_map
            .into_iter()
            .map(|(place, set)| (place, TxPrivateRwSet::from_proto(set).expect("the fixture decodes")));
        delivered.insert(BlockNumber::new(number), sets.collect());
    }
    delivered
}
