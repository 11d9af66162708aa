use bytes::Bytes;
use prost::Message;
use ripstop_proto::common;
use ripstop_types::{Block, BlockHeader, BlockNumber, MetadataError, MetadataSlot};

/// Where a leader's next block goes: after the last one it made, whether that is written yet or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextBlock {
    number: BlockNumber,
    previous_hash: Bytes,
}

impl NextBlock {
    /// The block after this one.
    pub fn after(header: &BlockHeader) -> Self {
        Self { number: header.number.next(), previous_hash: header.hash().to_bytes() }
    }

    /// The number it will have.
    pub const fn number(&self) -> BlockNumber {
        self.number
    }

    /// Makes the block: header, data and five empty metadata elements.
    pub fn create(&mut self, batch: Vec<Bytes>) -> Block {
        let block = Block::new(self.number, self.previous_hash.clone(), batch);
        *self = Self::after(&block.header);
        block
    }
}

/// A block whose metadata is complete but for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockToSign {
    block: Block,
    value: Bytes,
    signature_header: Bytes,
}

impl BlockToSign {
    /// Completes the metadata: the last configuration block (the block itself if it is one), and what consensus records
    /// about itself, bare; etcdraft wraps it into a `Metadata` message, and so does this.
    pub fn new(mut block: Block, last_config: BlockNumber, consensus: Bytes, signature_header: Bytes) -> Self {
        let last_config = common::LastConfig { index: last_config.get() };
        let legacy = common::Metadata { value: last_config.encode_to_vec().into(), signatures: Vec::new() };
        block.metadata.set(MetadataSlot::LastConfig, legacy.encode_to_vec().into());
        let wrapped = common::Metadata { value: consensus, signatures: Vec::new() };
        let value = common::OrdererBlockMetadata {
            last_config: Some(last_config),
            consenter_metadata: wrapped.encode_to_vec().into(),
        };
        Self { block, value: value.encode_to_vec().into(), signature_header }
    }

    /// The bytes to sign: metadata value, signature header, DER of the block header.
    pub fn message(&self) -> Vec<u8> {
        [self.value.as_ref(), self.signature_header.as_ref(), &self.block.header.to_der()].concat()
    }

    /// The block as it is stored and delivered.
    pub fn signed(mut self, signature: Bytes) -> Block {
        let signature = common::MetadataSignature {
            signature_header: self.signature_header,
            signature,
            identifier_header: Bytes::new(),
        };
        let metadata = common::Metadata { value: self.value, signatures: vec![signature] };
        self.block.metadata.set(MetadataSlot::Signatures, metadata.encode_to_vec().into());
        self.block
    }
}

/// What consensus recorded in a block, unwrapped; empty in a genesis block and after a change of consensus.
pub fn consenter_metadata(block: &Block) -> Result<Bytes, MetadataError> {
    let (slot, bytes) = match block.metadata.orderer_metadata()? {
        Some(metadata) => (MetadataSlot::Signatures, metadata.consenter_metadata),
        None => (MetadataSlot::Orderer, block.metadata.get(MetadataSlot::Orderer)),
    };
    Ok(ripstop_proto::read::<common::Metadata>(bytes).map_err(|source| MetadataError::Decode { slot, source })?.value)
}

#[cfg(test)]
mod tests {
    use ripstop_types::data_hash;

    use super::*;

    #[test]
    fn blocks_chain_and_carry_what_fabric_signs() {
        let genesis = Block::new(BlockNumber::GENESIS, Bytes::new(), vec!["config".into()]);
        let mut next = NextBlock::after(&genesis.header);
        let first = next.create(vec!["a".into(), "b".into()]);
        let second = next.create(vec!["c".into()]);
        assert_eq!((first.number().get(), second.number().get(), next.number().get()), (1, 2, 3));
        assert_eq!(first.header.previous_hash, genesis.header.hash().to_bytes());
        assert_eq!(second.header.previous_hash, first.header.hash().to_bytes());
        assert_eq!(first.header.data_hash, data_hash(&first.data).to_bytes());

        let to_sign = BlockToSign::new(first, BlockNumber::GENESIS, "raft".into(), "header".into());
        let message = to_sign.message();
        let block = to_sign.signed("signature".into());
        let (value, signatures) = block.metadata.signatures().unwrap();
        assert_eq!(message, [value.as_ref(), b"header", &block.header.to_der()].concat());
        assert_eq!(signatures.len(), 1);
        assert_eq!(block.metadata.last_config().unwrap(), BlockNumber::GENESIS);
        assert_eq!(consenter_metadata(&block).unwrap(), "raft");
        assert_eq!(consenter_metadata(&genesis).unwrap(), "");
        assert_eq!(block.metadata.elements().len(), 5);
    }

    /// Value and legacy slot of two blocks that a cluster of three Fabric 3.1.5 orderers wrote.
    #[test]
    fn metadata_has_fabrics_bytes() {
        let bytes = |hex: &[u8]| Bytes::copy_from_slice(hex);
        for (number, last_config, raft, value, legacy) in [
            (
                30,
                2,
                b"\x0a\x03\x01\x02\x03\x10\x04\x18\x22",
                b"\x0a\x02\x08\x02\x12\x0b\x0a\x09\x0a\x03\x01\x02\x03\x10\x04\x18\x22",
                b"\x0a\x02\x08\x02",
            ),
            (
                101,
                101,
                b"\x0a\x03\x01\x02\x03\x10\x04\x18\x69",
                b"\x0a\x02\x08\x65\x12\x0b\x0a\x09\x0a\x03\x01\x02\x03\x10\x04\x18\x69",
                b"\x0a\x02\x08\x65",
            ),
        ] {
            let block = Block::new(BlockNumber::new(number), Bytes::new(), vec!["x".into()]);
            let to_sign = BlockToSign::new(block, BlockNumber::new(last_config), bytes(raft), "header".into());
            let block = to_sign.signed("signature".into());
            assert_eq!(block.metadata.signatures().unwrap().0, bytes(value));
            assert_eq!(block.metadata.get(MetadataSlot::LastConfig), bytes(legacy));
            assert_eq!(consenter_metadata(&block).unwrap(), bytes(raft));
        }
    }
}
