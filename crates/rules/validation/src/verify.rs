use std::sync::OnceLock;

use ripstop_channel_config::ChannelConfig;
use ripstop_policy::{PolicyRefusal, Reader};
use ripstop_proto::common;
use ripstop_types::{
    Block, BlockError, BlockHeader, BlockMetadata, BlockNumber, ChannelId, Digest, Envelope, EnvelopeError, HeaderType,
    METADATA_SLOTS, MetadataError, SerializedIdentity, SignatureHeader, SignedData, data_hash,
};

use crate::form::Prepared;

/// The policy that the orderers' signatures on a block must satisfy.
pub const BLOCK_VALIDATION_POLICY: &str = "/Channel/Orderer/BlockValidation";

/// Why a block is not taken. Another source may have the right one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BlockRefusal {
    /// Not the block that comes next.
    #[error("expected block number is [{expected}] but actual block number inside block is [{actual}]")]
    Number {
        /// The number that comes next.
        expected: BlockNumber,
        /// The block's number.
        actual: BlockNumber,
    },
    /// The block follows another block than the last one here.
    #[error(
        "Header.PreviousHash of block [{block}] is different from Hash(block.Header) of previous block, on channel [{channel}], received: {received}, expected: {expected}"
    )]
    PreviousHash {
        /// The block.
        block: BlockNumber,
        /// The channel.
        channel: ChannelId,
        /// As the block says, in hex.
        received: String,
        /// The hash of the last header here, in hex.
        expected: String,
    },
    /// Elements of the metadata are missing.
    #[error("block with id [{block}] on channel [{channel}] does not have metadata or contains too few entries")]
    Metadata {
        /// The block.
        block: BlockNumber,
        /// The channel.
        channel: ChannelId,
    },
    /// Transactions whose bytes are not what they encode to, or none at all.
    #[error(
        "failed to verify transactions are well formed for block with id [{block}] on channel [{channel}]: {source}"
    )]
    Form {
        /// The block.
        block: BlockNumber,
        /// The channel.
        channel: ChannelId,
        /// What is wrong.
        source: BlockError,
    },
    /// The header is about other data.
    #[error(
        "Header.DataHash is different from Hash(block.Data) for block with id [{block}] on channel [{channel}]; Header: {header}, Data: {data}"
    )]
    DataHash {
        /// The block.
        block: BlockNumber,
        /// The channel.
        channel: ChannelId,
        /// As the header says, in hex.
        header: String,
        /// Over the data.
        data: Digest,
    },
    /// A configuration for another channel.
    #[error("config block channel ID [{given}] does not match expected: [{channel}]")]
    ForeignConfig {
        /// This channel.
        channel: ChannelId,
        /// As the configuration transaction says.
        given: String,
    },
    /// The orderers' signatures do not suffice.
    #[error("block [{block}] on channel [{channel}]: {refusal}")]
    Signatures {
        /// The block.
        block: BlockNumber,
        /// The channel.
        channel: ChannelId,
        /// Why not.
        refusal: SignatureRefusal,
    },
}

/// Why the signatures on a block do not suffice.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SignatureRefusal {
    /// The signatures cannot be read.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The header of a signature cannot be read.
    #[error("failed unmarshalling {what} header for block {block}: {source}")]
    Header {
        /// Which kind of header.
        what: &'static str,
        /// The block.
        block: BlockNumber,
        /// Why not.
        source: prost::DecodeError,
    },
    /// The policy for blocks is not satisfied.
    #[error("the orderers' signatures do not satisfy {BLOCK_VALIDATION_POLICY}: {}", .0.text(Reader::Member))]
    Policy(PolicyRefusal),
}

/// A block that follows the last one of its channel and that the channel's orderers signed. What its transactions are
/// worth is not known yet.
#[derive(Debug)]
pub struct VerifiedBlock {
    block: Block,
    pub(crate) transactions: Vec<ParsedTransaction>,
}

/// An envelope of the block, parsed once, and what is known about it without the state.
#[derive(Debug)]
pub(crate) struct ParsedTransaction {
    pub(crate) envelope: Result<Envelope, EnvelopeError>,
    pub(crate) prepared: OnceLock<Prepared>,
}

impl VerifiedBlock {
    /// Checks that `block` is the one that follows: number, hash of the header before, metadata, well-formedness, data
    /// hash and the orderers' signatures, in the order of Fabric's deliver client (`BlockVerificationAssistant`).
    ///
    /// `config` is the channel's configuration after the block before, `previous_hash` the hash of that block's header.
    pub fn verify(
        block: Block,
        config: &ChannelConfig,
        number: BlockNumber,
        previous_hash: &[u8],
    ) -> Result<Self, BlockRefusal> {
        check_content(&block, config.channel_id(), number, previous_hash)?;
        verify_signatures(&block.header, &block.metadata, config).map_err(|refusal| BlockRefusal::Signatures {
            block: number,
            channel: config.channel_id().clone(),
            refusal,
        })?;
        Ok(Self::trusted(block))
    }

    /// Parses a block that needs no verification because this node verified it before.
    pub(crate) fn trusted(block: Block) -> Self {
        let parse = |raw: &bytes::Bytes| ParsedTransaction {
            envelope: Envelope::parse(raw.clone()),
            prepared: OnceLock::new(),
        };
        let transactions = block.data.iter().map(parse).collect();
        Self { block, transactions }
    }

    /// The block as received.
    pub const fn block(&self) -> &Block {
        &self.block
    }

    /// Whether the block replaces the channel's configuration, so that nothing about later blocks can be known yet.
    pub fn is_config(&self) -> bool {
        self.transactions.iter().any(|transaction| {
            transaction.envelope.as_ref().is_ok_and(|envelope| envelope.channel_header.kind == HeaderType::Config)
        })
    }

    pub(crate) fn into_parts(self) -> (Block, Vec<ParsedTransaction>) {
        (self.block, self.transactions)
    }
}

/// Checks what a block says about itself, without signatures: its place in the chain, metadata, well-formed data and
/// their hash. An orderer that fetches a chain uses it with [`verify_signatures`].
pub fn check_content(
    block: &Block,
    channel: &ChannelId,
    number: BlockNumber,
    previous_hash: &[u8],
) -> Result<(), BlockRefusal> {
    if block.number() != number {
        return Err(BlockRefusal::Number { expected: number, actual: block.number() });
    }
    if block.header.previous_hash != previous_hash {
        return Err(BlockRefusal::PreviousHash {
            block: number,
            channel: channel.clone(),
            received: hex::encode(&block.header.previous_hash),
            expected: hex::encode(previous_hash),
        });
    }
    if block.metadata.elements().len() < METADATA_SLOTS {
        return Err(BlockRefusal::Metadata { block: number, channel: channel.clone() });
    }
    block.check_well_formed().map_err(|source| BlockRefusal::Form {
        block: number,
        channel: channel.clone(),
        source,
    })?;
    let data = data_hash(&block.data);
    if block.header.data_hash != data.as_bytes()[..] {
        return Err(BlockRefusal::DataHash {
            block: number,
            channel: channel.clone(),
            header: hex::encode(&block.header.data_hash),
            data,
        });
    }
    if let Some(config) = block.config_envelope() {
        let given = config.channel_header.channel_id;
        if given != channel.as_str() {
            return Err(BlockRefusal::ForeignConfig { channel: channel.clone(), given });
        }
    }
    Ok(())
}

/// Checks the orderers' signatures over a header and its metadata against [`BLOCK_VALIDATION_POLICY`]
/// (Fabric: `protoutil.BlockSignatureVerifier`). The data may be missing.
pub fn verify_signatures(
    header: &BlockHeader,
    metadata: &BlockMetadata,
    config: &ChannelConfig,
) -> Result<(), SignatureRefusal> {
    let (value, signatures) = metadata.signatures()?;
    let signed_header = header.to_der();
    let by_number = config.capabilities().consensus_type_bft();
    let mut signed = Vec::with_capacity(signatures.len());
    for signature in signatures {
        let names_by_number =
            by_number && signature.signature_header.is_empty() && !signature.identifier_header.is_empty();
        let (raw, identity) = if names_by_number {
            let identifier = ripstop_proto::read::<common::IdentifierHeader>(signature.identifier_header.clone())
                .map_err(|source| SignatureRefusal::Header { what: "identifier", block: header.number, source })?;
            // A number that is not in the consenter set counts for nothing; the policy decides on the others.
            let Some(identity) = consenter_identity(config, identifier.identifier) else { continue };
            (signature.identifier_header, identity)
        } else {
            let parsed = SignatureHeader::parse(signature.signature_header.clone())
                .map_err(|source| SignatureRefusal::Header { what: "signature", block: header.number, source })?;
            (signature.signature_header, parsed.creator)
        };
        signed.push(SignedData {
            identity,
            message: [value.as_ref(), raw.as_ref(), &signed_header].concat().into(),
            signature: signature.signature,
        });
    }
    config.policies().evaluate(BLOCK_VALIDATION_POLICY, &signed, config.msps()).map_err(SignatureRefusal::Policy)
}

fn consenter_identity(config: &ChannelConfig, number: u32) -> Option<bytes::Bytes> {
    let consenter = config.orderer()?.consenters.iter().find(|consenter| consenter.id == number)?;
    Some(SerializedIdentity::new(consenter.msp_id.clone(), consenter.identity.clone()).raw)
}
