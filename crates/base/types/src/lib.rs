//! The words of a ledger.
//!
//! What question this crate answers: *what is this thing called, and what do its bytes say?* Identifiers and numbers with a
//! unit are newtypes, hostile bytes become [`Envelope`], [`Transaction`] and [`Block`] exactly once, and the hashes that all
//! peers must agree on ([`BlockHeader::hash`], [`data_hash`], [`TxId::compute`]) are defined here.
//!
//! Invariants: parsing keeps slices of the received buffer, because signatures and hashes cover the bytes as received,
//! never a re-encoding. Nothing here judges: who signed and whether it suffices is decided in the rules above.
//!
//! Absent: I/O, signatures, policies, configuration.

mod block;
mod code;
mod duration;
mod encoding;
mod envelope;
mod height;
mod id;
mod shown;
mod transaction;

pub use block::{
    Block, BlockError, BlockHeader, BlockMetadata, BlockSignature, METADATA_SLOTS, MetadataError, MetadataSlot,
    data_hash,
};
pub use code::{UnknownValidationCode, ValidationCode, ValidationCodes};
pub use duration::{GoDuration, InvalidDuration};
pub use encoding::{OrderedVaruintError, get_ordered_varuint, put_der, put_ordered_varuint, put_varuint};
pub use envelope::{
    ChannelHeader, Envelope, EnvelopeError, HeaderType, SerializedIdentity, SignatureHeader, SignedData, Timestamp,
};
pub use height::Height;
pub use id::{BlockNumber, ChannelId, InvalidChannelId, MspId, TxId};
pub use shown::{rfc3339, shortened};
pub use transaction::{
    ChaincodeAction, ChaincodeName, Endorsement, ResponsePayload, Transaction, TransactionError, proposal_hash,
};

/// A SHA-256 digest. Every hash of a block, a transaction or private data is SHA-256, whatever the channel's
/// `HashingAlgorithm` says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// A digest received from outside.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The SHA-256 of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self::of_parts([data])
    }

    /// The SHA-256 of the concatenation of `parts`, without building it.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 32 bytes as a shared buffer.
    pub fn to_bytes(self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(&self.0)
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
