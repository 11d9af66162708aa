use bytes::Bytes;
use prost::Message;
use ripstop_crypto::{SignError, SigningIdentity};
use ripstop_proto::common;
use ripstop_types::{ChannelId, HeaderType, Timestamp, TxId};

/// The length of the random number that makes a signature header unique.
pub const NONCE_BYTES: usize = 24;

/// Fresh random bytes for a signature header.
pub fn nonce() -> [u8; NONCE_BYTES] {
    let mut bytes = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system's source of random numbers works");
    bytes
}

/// What a sender chooses about an envelope's channel header.
#[derive(Debug, Clone)]
pub struct EnvelopeHeader<'a> {
    /// What the envelope carries.
    pub kind: HeaderType,
    /// The channel; `None` where the message concerns none.
    pub channel_id: Option<&'a ChannelId>,
    /// The transaction; `None` where the message is no transaction.
    pub tx_id: Option<&'a TxId>,
    /// A message that depends on the kind, or empty.
    pub extension: Bytes,
    /// SHA-256 of the sender's TLS certificate where mutual TLS is in use, else empty.
    pub tls_cert_hash: Bytes,
    /// The sender's clock.
    pub timestamp: Timestamp,
}

/// A signature header of the signer with a fresh nonce, encoded.
pub fn signature_header(signer: &SigningIdentity) -> Bytes {
    let header =
        common::SignatureHeader { creator: signer.identity().raw.clone(), nonce: Bytes::copy_from_slice(&nonce()) };
    header.encode_to_vec().into()
}

/// Wraps data into headers with a fresh nonce and signs (Fabric: `CreateSignedEnvelopeWithTLSBinding`).
pub fn sign_envelope(
    signer: &SigningIdentity,
    header: &EnvelopeHeader<'_>,
    data: Bytes,
) -> Result<common::Envelope, SignError> {
    let channel_header = common::ChannelHeader {
        r#type: header.kind.number(),
        version: 0,
        timestamp: Some(prost_types::Timestamp { seconds: header.timestamp.seconds, nanos: header.timestamp.nanos }),
        channel_id: header.channel_id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        tx_id: header.tx_id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        epoch: 0,
        extension: header.extension.clone(),
        tls_cert_hash: header.tls_cert_hash.clone(),
    };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: signature_header(signer),
        }),
        data,
    };
    let payload = Bytes::from(payload.encode_to_vec());
    let signature = signer.sign(&payload)?;
    Ok(common::Envelope { payload, signature })
}
