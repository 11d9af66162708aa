use bytes::Bytes;
use prost::Message;
use ripstop_proto::common;
use ripstop_proto::wire::{Fields, Malformed, RawField, WireType};

use crate::{BlockNumber, Digest, Envelope, EnvelopeError, UnknownValidationCode, ValidationCodes, put_der};

/// How many metadata elements a new block carries; each may be empty.
pub const METADATA_SLOTS: usize = 5;

/// The meaning of the elements of a block's metadata (`common.BlockMetadataIndex`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum MetadataSlot {
    /// The orderers' signatures over `OrdererBlockMetadata`.
    Signatures = 0,
    /// The last configuration block (legacy form).
    LastConfig = 1,
    /// One validation code a transaction; written by peers.
    TransactionsFilter = 2,
    /// Consenter metadata (legacy form).
    Orderer = 3,
    /// The chained hash over verdicts and state changes; written by peers.
    CommitHash = 4,
}

/// Number of a block and its place in the chain of hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    /// The number; the genesis block is 0.
    pub number: BlockNumber,
    /// The hash of the header before; empty in the genesis block.
    pub previous_hash: Bytes,
    /// The hash of the data, see [`data_hash`].
    pub data_hash: Bytes,
}

impl BlockHeader {
    /// The DER bytes that are hashed and signed: `SEQUENCE { INTEGER, OCTET STRING, OCTET STRING }`.
    pub fn to_der(&self) -> Vec<u8> {
        let number = self.number.get().to_be_bytes();
        let skip = (self.number.get().leading_zeros() / 8).min(7) as usize;
        let mut integer = Vec::with_capacity(9);
        if number[skip] >= 0x80 {
            integer.push(0);
        }
        integer.extend_from_slice(&number[skip..]);
        let mut body = Vec::with_capacity(80);
        put_der(&mut body, 0x02, &integer);
        put_der(&mut body, 0x04, &self.previous_hash);
        put_der(&mut body, 0x04, &self.data_hash);
        let mut out = Vec::with_capacity(body.len() + 4);
        put_der(&mut out, 0x30, &body);
        out
    }

    /// The block's hash, which the next header carries.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.to_der())
    }
}

/// The hash of a block's data: SHA-256 over all elements one after the other, without lengths between them.
pub fn data_hash(data: &[Bytes]) -> Digest {
    Digest::of_parts(data.iter().map(|element| element.as_ref()))
}

/// Why bytes are no block, or a block has not the form that peers demand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The bytes are no `common.Block`.
    #[error("the bytes are no block: {0}")]
    Decode(prost::DecodeError),
    /// A block without header.
    #[error("the block has no header")]
    NoHeader,
    /// A block without data.
    #[error("block {0} has no data")]
    NoData(BlockNumber),
    /// A transaction whose bytes are not what its content encodes to (Fabric refuses the whole block: two different
    /// byte strings must never mean the same transaction).
    #[error("transaction {index} {reason}")]
    NotWellFormed {
        /// The transaction's place in the block.
        index: usize,
        /// What is wrong, in Fabric's words.
        reason: String,
    },
}

/// A block as it travels and as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Number and hashes.
    pub header: BlockHeader,
    /// The transactions: bytes of `common.Envelope`.
    pub data: Vec<Bytes>,
    /// Signatures, verdicts and hashes about the block; not covered by its hash.
    pub metadata: BlockMetadata,
}

impl Block {
    /// Parses the bytes of a `common.Block`.
    pub fn parse(raw: Bytes) -> Result<Self, BlockError> {
        Self::from_proto(ripstop_proto::read::<common::Block>(raw).map_err(BlockError::Decode)?)
    }

    /// Takes a decoded block.
    pub fn from_proto(block: common::Block) -> Result<Self, BlockError> {
        let header = block.header.ok_or(BlockError::NoHeader)?;
        Ok(Self {
            header: BlockHeader {
                number: BlockNumber::new(header.number),
                previous_hash: header.previous_hash,
                data_hash: header.data_hash,
            },
            data: block.data.unwrap_or_default().data,
            metadata: BlockMetadata(block.metadata.unwrap_or_default().metadata),
        })
    }

    /// The message as it travels. Byte fields are shared, not copied.
    pub fn to_proto(&self) -> common::Block {
        common::Block {
            header: Some(common::BlockHeader {
                number: self.header.number.get(),
                previous_hash: self.header.previous_hash.clone(),
                data_hash: self.header.data_hash.clone(),
            }),
            data: Some(common::BlockData { data: self.data.clone() }),
            metadata: Some(common::BlockMetadata { metadata: self.metadata.0.clone() }),
        }
    }

    /// A new block without signatures: header, data, data hash and five empty metadata elements.
    pub fn new(number: BlockNumber, previous_hash: Bytes, data: Vec<Bytes>) -> Self {
        let data_hash = data_hash(&data).to_bytes();
        Self { header: BlockHeader { number, previous_hash, data_hash }, data, metadata: BlockMetadata::default() }
    }

    /// The block's number.
    pub const fn number(&self) -> BlockNumber {
        self.header.number
    }

    /// The only envelope of a block that is a configuration block, `None` for any other.
    pub fn config_envelope(&self) -> Option<Envelope> {
        let [only] = self.data.as_slice() else { return None };
        Envelope::parse(only.clone()).ok().filter(|envelope| envelope.channel_header.kind == crate::HeaderType::Config)
    }

    /// The channel that the first transaction names.
    pub fn channel_id(&self) -> Result<String, BlockError> {
        let first = self.data.first().ok_or(BlockError::NoData(self.number()))?;
        let not_well_formed = |_: EnvelopeError| BlockError::NotWellFormed {
            index: 0,
            reason: "has no readable channel header".to_owned(),
        };
        Envelope::parse(first.clone()).map(|envelope| envelope.channel_header.channel_id).map_err(not_well_formed)
    }

    /// Checks that every transaction's bytes are exactly what Go encodes its envelope to: payload, signature, then fields
    /// that nobody knows, as they came. A configuration block is exempt (Fabric:
    /// `protoutil.VerifyTransactionsAreWellFormed`).
    pub fn check_well_formed(&self) -> Result<(), BlockError> {
        if self.data.is_empty() {
            return Err(BlockError::NoData(self.number()));
        }
        if self.config_envelope().is_some() {
            return Ok(());
        }
        for (index, raw) in self.data.iter().enumerate() {
            let refuse = |reason: &str| Err(BlockError::NotWellFormed { index, reason: reason.to_owned() });
            let envelope = match ripstop_proto::read::<common::Envelope>(raw.clone()) {
                Ok(envelope) => envelope,
                Err(error) => return refuse(&format!("is invalid: {error}")),
            };
            if envelope.payload.is_empty() {
                return refuse("has no payload");
            }
            if envelope.signature.is_empty() {
                return refuse("has no signature");
            }
            // Go keeps what it does not know and encodes it behind the rest.
            let mut encoded = envelope.encode_to_vec();
            for field in Fields::of(raw) {
                match field {
                    Ok(field) if is_unknown_to_envelopes(&field) => encoded.extend_from_slice(field.whole),
                    Ok(_) => {}
                    Err(Malformed) => return refuse("is invalid: its fields cannot be told apart"),
                }
            }
            if encoded.len() < raw.len() {
                return refuse(&format!("has {} trailing bytes", raw.len() - encoded.len()));
            }
            if encoded != *raw {
                return refuse("does not match its raw form");
            }
        }
        Ok(())
    }
}

/// Whether a field is neither payload nor signature of an envelope.
fn is_unknown_to_envelopes(field: &RawField<'_>) -> bool {
    !(matches!(field.number, 1 | 2) && field.wire_type == WireType::Length)
}

/// The elements of a block's metadata. Reading an absent element gives empty bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMetadata(Vec<Bytes>);

impl Default for BlockMetadata {
    fn default() -> Self {
        Self(vec![Bytes::new(); METADATA_SLOTS])
    }
}

/// A signature over a block, and how it names its signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSignature {
    /// A `common.SignatureHeader`; empty where the signer is named by number.
    pub signature_header: Bytes,
    /// A `common.IdentifierHeader` (byzantine consensus only); empty otherwise.
    pub identifier_header: Bytes,
    /// The signature over metadata value, whichever header is present, and DER of the block header.
    pub signature: Bytes,
}

/// Why a block's metadata cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// An element does not decode.
    #[error("metadata element {slot:?} does not decode: {source}")]
    Decode {
        /// Which element.
        slot: MetadataSlot,
        /// Why not.
        source: prost::DecodeError,
    },
    /// Nothing says which block was the last configuration block.
    #[error("the metadata does not name the last configuration block")]
    NoLastConfig,
    /// The verdicts hold a number without a meaning.
    #[error(transparent)]
    Verdict(#[from] UnknownValidationCode),
}

impl BlockMetadata {
    /// Takes received elements as they are.
    pub const fn new(elements: Vec<Bytes>) -> Self {
        Self(elements)
    }

    /// The elements as they travel.
    pub fn elements(&self) -> &[Bytes] {
        &self.0
    }

    /// The bytes of one element; empty when absent.
    pub fn get(&self, slot: MetadataSlot) -> Bytes {
        self.0.get(slot as usize).cloned().unwrap_or_default()
    }

    /// Replaces one element, adding empty ones before it where needed.
    pub fn set(&mut self, slot: MetadataSlot, bytes: Bytes) {
        if self.0.len() <= slot as usize {
            self.0.resize(slot as usize + 1, Bytes::new());
        }
        self.0[slot as usize] = bytes;
    }

    /// The signed value of slot 0 (a `common.OrdererBlockMetadata`) and the signatures over it.
    pub fn signatures(&self) -> Result<(Bytes, Vec<BlockSignature>), MetadataError> {
        let metadata = self.decode(MetadataSlot::Signatures)?;
        let signatures = metadata
            .signatures
            .into_iter()
            .map(|s| BlockSignature {
                signature_header: s.signature_header,
                identifier_header: s.identifier_header,
                signature: s.signature,
            })
            .collect();
        Ok((metadata.value, signatures))
    }

    /// The decoded value of slot 0; `None` when the slot has no value, as in blocks of very old orderers.
    pub fn orderer_metadata(&self) -> Result<Option<common::OrdererBlockMetadata>, MetadataError> {
        let (value, _) = self.signatures()?;
        if value.is_empty() {
            return Ok(None);
        }
        ripstop_proto::read::<common::OrdererBlockMetadata>(value)
            .map(Some)
            .map_err(|source| MetadataError::Decode { slot: MetadataSlot::Signatures, source })
    }

    /// The number of the last configuration block: from slot 0 where that has a value, else from the legacy slot 1.
    pub fn last_config(&self) -> Result<BlockNumber, MetadataError> {
        let last_config = match self.orderer_metadata()? {
            Some(metadata) => metadata.last_config.ok_or(MetadataError::NoLastConfig)?,
            None => {
                let metadata = self.decode(MetadataSlot::LastConfig)?;
                ripstop_proto::read::<common::LastConfig>(metadata.value)
                    .map_err(|source| MetadataError::Decode { slot: MetadataSlot::LastConfig, source })?
            }
        };
        Ok(BlockNumber::new(last_config.index))
    }

    /// The verdicts that a peer recorded, one a transaction; empty in a block fresh from an orderer.
    pub fn validation_codes(&self) -> Result<ValidationCodes, MetadataError> {
        Ok(ValidationCodes::try_from(self.get(MetadataSlot::TransactionsFilter).as_ref())?)
    }

    /// The commit hash that a peer recorded; empty where there is none.
    pub fn commit_hash(&self) -> Result<Bytes, MetadataError> {
        Ok(self.decode(MetadataSlot::CommitHash)?.value)
    }

    fn decode(&self, slot: MetadataSlot) -> Result<common::Metadata, MetadataError> {
        ripstop_proto::read::<common::Metadata>(self.get(slot)).map_err(|source| MetadataError::Decode { slot, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: u64, previous: &[u8], data: &[u8]) -> BlockHeader {
        BlockHeader {
            number: BlockNumber::new(number),
            previous_hash: Bytes::copy_from_slice(previous),
            data_hash: Bytes::copy_from_slice(data),
        }
    }

    #[test]
    fn header_bytes_and_hashes_match_fabric() {
        let empty = Digest::of(b"");
        let genesis = header(0, b"", empty.as_bytes());
        assert_eq!(
            hex::encode(genesis.to_der()),
            "302702010004000420e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(genesis.hash().to_string(), "9cae6f5c10756febc407bba95fc23853774c1f65f10354895bfdab6443d66ed3");
        let next = header(1, genesis.hash().as_bytes(), empty.as_bytes());
        assert_eq!(next.hash().to_string(), "91832d32531bdfd1a285dd117422f8d77eea07ca7f937b91b55deda9e63d726e");
        let last = header(u64::MAX, &[0x11; 32], &[0x22; 32]);
        assert!(hex::encode(last.to_der()).starts_with("304f020900ffffffffffffffff"));
        assert_eq!(last.hash().to_string(), "6bd48f16ae9e5a452a33346c254ee299c24c94470654a897e60bbd94e2906e25");
    }

    #[test]
    fn data_hash_has_no_lengths_between_elements() {
        let hash = data_hash(&[Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        assert_eq!(hash, Digest::of(b"abc"));
    }

    #[test]
    fn envelopes_with_trailing_bytes_are_not_well_formed() {
        let envelope =
            common::Envelope { payload: Bytes::from_static(b"p"), signature: Bytes::from_static(b"s") }.encode_to_vec();
        let block = |raw: Vec<u8>| Block::new(BlockNumber::new(1), Bytes::new(), vec![raw.into()]);
        assert!(block(envelope.clone()).check_well_formed().is_ok());
        let followed_by = |more: &[u8]| block([&envelope, more].concat()).check_well_formed();
        // Go keeps what it does not know and encodes it behind the rest.
        for unknown in [&[0x1a, 0x00][..], &[0x08, 0x01, 0x10, 0x80, 0x00], &[0x1b, 0x0a, 0x01, b'x', 0x1c]] {
            assert!(followed_by(unknown).is_ok(), "{unknown:?}");
            assert!(block([unknown, &envelope].concat()).check_well_formed().is_err(), "{unknown:?}");
        }
        for refused in [&[0x12, 0x01, b's'][..], &[0x0a, 0x00], &[0x00], &[0x1a, 0x05], &[0x1c]] {
            assert!(followed_by(refused).is_err(), "{refused:?}");
        }
        let twice = followed_by(&[0x12, 0x01, b's']).unwrap_err();
        assert_eq!(twice.to_string(), "transaction 0 has 3 trailing bytes");
        assert!(Block::new(BlockNumber::new(1), Bytes::new(), vec![]).check_well_formed().is_err());
    }
}
