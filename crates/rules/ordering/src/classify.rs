use bytes::Bytes;
use prost::Message as _;
use ripstop_proto::common;
use ripstop_types::{Envelope, EnvelopeError, HeaderType};

/// A message for ordering: the envelope, parsed, and the bytes that a block records.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The parsed envelope.
    pub envelope: Envelope,
    /// The canonical encoding of the envelope.
    pub raw: Bytes,
}

impl Message {
    /// Parses a received envelope.
    pub fn parse(envelope: common::Envelope) -> Result<Self, EnvelopeError> {
        let raw = envelope.encode_to_vec().into();
        Ok(Self { envelope: Envelope::from_proto(envelope)?, raw })
    }
}

/// Which path a message takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Ordered as it is. Orderers look at no further type; peers judge the others invalid.
    Normal,
    /// A request to change the channel's configuration.
    ConfigUpdate,
}

/// A message that clients may not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unprocessable {
    /// Orderers alone make configuration transactions; clients send updates.
    #[error("message is of type that cannot be processed directly")]
    Config,
    /// It created channels through the system channel.
    #[error("message is of type that is no longer supported")]
    OrdererTransaction,
}

/// Decides the path by the type in the channel header (Fabric: `StandardChannel.ClassifyMsg`).
pub fn classify(message: &Envelope) -> Result<MessageKind, Unprocessable> {
    match message.channel_header.kind {
        HeaderType::ConfigUpdate => Ok(MessageKind::ConfigUpdate),
        HeaderType::Config => Err(Unprocessable::Config),
        HeaderType::OrdererTransaction => Err(Unprocessable::OrdererTransaction),
        HeaderType::Message
        | HeaderType::EndorserTransaction
        | HeaderType::DeliverSeekInfo
        | HeaderType::ChaincodePackage
        | HeaderType::Unknown(_) => Ok(MessageKind::Normal),
    }
}
