//! Block 0 of a channel (Fabric: `common/genesis`).

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common;
use ripstop_types::{Block, BlockNumber, ChannelId, HeaderType, MetadataSlot, Timestamp, TxId};

/// The version in the channel header of a genesis block; all other messages have 0.
const HEADER_VERSION: i32 = 1;

/// Makes the genesis block of a channel from its configuration tree. Nothing in it is signed. Nonce and timestamp make two
/// channels with the same configuration different; the timestamp has whole seconds in Fabric.
pub fn block(channel_id: &ChannelId, root: common::ConfigGroup, nonce: [u8; 24], timestamp: Timestamp) -> Block {
    let config = common::Config { sequence: 0, channel_group: Some(root) };
    let config_envelope = common::ConfigEnvelope { config: Some(config), last_update: None };
    let channel_header = common::ChannelHeader {
        r#type: HeaderType::Config.number(),
        version: HEADER_VERSION,
        timestamp: Some(prost_types::Timestamp { seconds: timestamp.seconds, nanos: timestamp.nanos }),
        channel_id: channel_id.as_str().to_owned(),
        tx_id: TxId::compute(&nonce, &[]).as_str().to_owned(),
        ..Default::default()
    };
    let signature_header = common::SignatureHeader { creator: Bytes::new(), nonce: Bytes::copy_from_slice(&nonce) };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: signature_header.encode_to_vec().into(),
        }),
        data: config_envelope.encode_to_vec().into(),
    };
    let envelope = common::Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() };
    let mut block = Block::new(BlockNumber::GENESIS, Bytes::new(), vec![envelope.encode_to_vec().into()]);
    let last_config = common::LastConfig { index: 0 };
    let orderer_metadata =
        common::OrdererBlockMetadata { last_config: Some(last_config), consenter_metadata: Bytes::new() };
    block.metadata.set(MetadataSlot::Signatures, unsigned_metadata(orderer_metadata.encode_to_vec()));
    block.metadata.set(MetadataSlot::LastConfig, unsigned_metadata(last_config.encode_to_vec()));
    block
}

fn unsigned_metadata(value: Vec<u8>) -> Bytes {
    common::Metadata { value: value.into(), signatures: Vec::new() }.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_genesis_block_is_what_nonce_and_timestamp_make_it() {
        let channel = ChannelId::new("mychannel").unwrap();
        let root = common::ConfigGroup { mod_policy: "Admins".into(), ..Default::default() };
        let block = block(&channel, root.clone(), [7; 24], Timestamp { seconds: 1_700_000_000, nanos: 0 });
        assert_eq!(block.number(), BlockNumber::GENESIS);
        assert!(block.header.previous_hash.is_empty());
        assert_eq!(block.metadata.elements().len(), 5);
        assert_eq!(block.metadata.last_config().unwrap(), BlockNumber::GENESIS);
        assert_eq!(hex(&block.metadata.get(MetadataSlot::Signatures)), "0a020a00");
        assert!(block.metadata.get(MetadataSlot::LastConfig).is_empty());
        let envelope = block.config_envelope().unwrap();
        assert_eq!(envelope.channel_header.channel_id, "mychannel");
        assert_eq!(envelope.channel_header.tx_id, TxId::compute(&[7; 24], b""));
        assert!(envelope.signature.is_empty() && envelope.signature_header.creator.is_empty());
        let config = common::ConfigEnvelope::decode(envelope.data).unwrap();
        assert_eq!(config.config.unwrap().channel_group, Some(root));
        assert!(config.last_update.is_none());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
