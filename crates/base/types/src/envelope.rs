use bytes::Bytes;
use prost::Message;
use ripstop_proto::{common, msp};

use crate::{MspId, TxId};

/// What an envelope carries (`common.HeaderType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeaderType {
    /// An opaque message; orderers take it, peers do not.
    Message,
    /// A configuration transaction, made by an orderer.
    Config,
    /// A request to change the configuration.
    ConfigUpdate,
    /// An endorsed transaction.
    EndorserTransaction,
    /// No longer supported (it created channels through the system channel).
    OrdererTransaction,
    /// A request for blocks.
    DeliverSeekInfo,
    /// A chaincode package.
    ChaincodePackage,
    /// A number without a meaning.
    Unknown(i32),
}

impl From<i32> for HeaderType {
    fn from(number: i32) -> Self {
        match number {
            0 => Self::Message,
            1 => Self::Config,
            2 => Self::ConfigUpdate,
            3 => Self::EndorserTransaction,
            4 => Self::OrdererTransaction,
            5 => Self::DeliverSeekInfo,
            6 => Self::ChaincodePackage,
            other => Self::Unknown(other),
        }
    }
}

impl std::fmt::Display for HeaderType {
    /// As Fabric prints it: its name, or its number where it has none.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Message => "MESSAGE",
            Self::Config => "CONFIG",
            Self::ConfigUpdate => "CONFIG_UPDATE",
            Self::EndorserTransaction => "ENDORSER_TRANSACTION",
            Self::OrdererTransaction => "ORDERER_TRANSACTION",
            Self::DeliverSeekInfo => "DELIVER_SEEK_INFO",
            Self::ChaincodePackage => "CHAINCODE_PACKAGE",
            Self::Unknown(number) => return number.fmt(f),
        })
    }
}

impl HeaderType {
    /// The number on the wire.
    pub const fn number(self) -> i32 {
        match self {
            Self::Message => 0,
            Self::Config => 1,
            Self::ConfigUpdate => 2,
            Self::EndorserTransaction => 3,
            Self::OrdererTransaction => 4,
            Self::DeliverSeekInfo => 5,
            Self::ChaincodePackage => 6,
            Self::Unknown(number) => number,
        }
    }
}

/// The part of a header that names channel, type and transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelHeader {
    /// The bytes as received; proposal hashes cover them.
    pub raw: Bytes,
    /// The type of the message.
    pub kind: HeaderType,
    /// The channel as named by the sender; may be empty or hostile.
    pub channel_id: String,
    /// The transaction id as named by the sender.
    pub tx_id: TxId,
    /// Must be 0.
    pub epoch: u64,
    /// When the sender made it.
    pub timestamp: Option<Timestamp>,
    /// A message that depends on the type.
    pub extension: Bytes,
    /// SHA-256 of the client's TLS certificate, where mutual TLS is in use.
    pub tls_cert_hash: Bytes,
}

/// A point in time of a sender's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: i32,
}

impl ChannelHeader {
    /// Parses the bytes of a `common.ChannelHeader`.
    pub fn parse(raw: Bytes) -> Result<Self, prost::DecodeError> {
        let header = ripstop_proto::read::<common::ChannelHeader>(raw.clone())?;
        Ok(Self {
            raw,
            kind: header.r#type.into(),
            channel_id: header.channel_id,
            tx_id: TxId::new(&header.tx_id),
            epoch: header.epoch,
            timestamp: header.timestamp.map(|t| Timestamp { seconds: t.seconds, nanos: t.nanos }),
            extension: header.extension,
            tls_cert_hash: header.tls_cert_hash,
        })
    }
}

/// The part of a header that names who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeader {
    /// The bytes as received; signatures and hashes cover them.
    pub raw: Bytes,
    /// The signer: the bytes of a [`SerializedIdentity`].
    pub creator: Bytes,
    /// Random bytes that make the transaction id unique.
    pub nonce: Bytes,
}

impl SignatureHeader {
    /// Parses the bytes of a `common.SignatureHeader`.
    pub fn parse(raw: Bytes) -> Result<Self, prost::DecodeError> {
        let header = ripstop_proto::read::<common::SignatureHeader>(raw.clone())?;
        Ok(Self { raw, creator: header.creator, nonce: header.nonce })
    }
}

/// An identity as it travels: an MSP id and a PEM certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SerializedIdentity {
    /// The bytes as received. Two creators are the same when these are equal.
    pub raw: Bytes,
    /// The MSP that should know the identity.
    pub msp_id: MspId,
    /// The PEM text of the certificate.
    pub id_bytes: Bytes,
}

impl SerializedIdentity {
    /// Parses the bytes of an `msp.SerializedIdentity`.
    pub fn parse(raw: Bytes) -> Result<Self, prost::DecodeError> {
        let identity = ripstop_proto::read::<msp::SerializedIdentity>(raw.clone())?;
        Ok(Self { raw, msp_id: MspId::new(&identity.mspid), id_bytes: identity.id_bytes })
    }

    /// The identity of the holder of a certificate.
    pub fn new(msp_id: MspId, certificate_pem: Bytes) -> Self {
        let message = msp::SerializedIdentity { mspid: msp_id.as_str().to_owned(), id_bytes: certificate_pem.clone() };
        Self { raw: message.encode_to_vec().into(), msp_id, id_bytes: certificate_pem }
    }
}

/// Something that was signed, by whom, and the signature: what a policy judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedData {
    /// The signer: the bytes of a [`SerializedIdentity`].
    pub identity: Bytes,
    /// The signed bytes.
    pub message: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// A signed message with its headers parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The signed bytes.
    pub payload: Bytes,
    /// The signature over [`Self::payload`].
    pub signature: Bytes,
    /// Channel, type and transaction.
    pub channel_header: ChannelHeader,
    /// Who signed.
    pub signature_header: SignatureHeader,
    /// The content, by type.
    pub data: Bytes,
}

/// Why bytes are no envelope. The variants stand in the order in which Fabric checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes are no `common.Envelope`.
    #[error("the bytes are no envelope: {0}")]
    Envelope(prost::DecodeError),
    /// The payload is no `common.Payload`.
    #[error("the envelope's payload does not decode: {0}")]
    Payload(prost::DecodeError),
    /// The payload has no header.
    #[error("the envelope's payload has no header")]
    NoHeader,
    /// The channel header does not decode.
    #[error("the channel header does not decode: {0}")]
    ChannelHeader(prost::DecodeError),
    /// The signature header does not decode.
    #[error("the signature header does not decode: {0}")]
    SignatureHeader(prost::DecodeError),
}

impl Envelope {
    /// Parses the bytes of a `common.Envelope`, down to both headers.
    pub fn parse(raw: Bytes) -> Result<Self, EnvelopeError> {
        Self::from_proto(ripstop_proto::read::<common::Envelope>(raw).map_err(EnvelopeError::Envelope)?)
    }

    /// Parses the headers of a decoded envelope.
    pub fn from_proto(envelope: common::Envelope) -> Result<Self, EnvelopeError> {
        let payload =
            ripstop_proto::read::<common::Payload>(envelope.payload.clone()).map_err(EnvelopeError::Payload)?;
        let header = payload.header.ok_or(EnvelopeError::NoHeader)?;
        Ok(Self {
            payload: envelope.payload,
            signature: envelope.signature,
            channel_header: ChannelHeader::parse(header.channel_header).map_err(EnvelopeError::ChannelHeader)?,
            signature_header: SignatureHeader::parse(header.signature_header)
                .map_err(EnvelopeError::SignatureHeader)?,
            data: payload.data,
        })
    }

    /// The message as it travels.
    pub fn to_proto(&self) -> common::Envelope {
        common::Envelope { payload: self.payload.clone(), signature: self.signature.clone() }
    }

    /// What the creator signed.
    pub fn signed_data(&self) -> SignedData {
        SignedData {
            identity: self.signature_header.creator.clone(),
            message: self.payload.clone(),
            signature: self.signature.clone(),
        }
    }

    /// The bytes that limits are measured in: payload and signature (Fabric: the orderer's size filter and block cutter).
    pub fn size(&self) -> usize {
        self.payload.len() + self.signature.len()
    }
}
