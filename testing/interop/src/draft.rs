use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost_types::Timestamp;
use ripstop_crypto::SigningIdentity;
use ripstop_proto::{Message, common, protos};
use ripstop_types::TxId;

/// The order of the group of P-256 (SEC 2, section 2.4.2).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The messages that are wrapped in each other to make a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `protos.Proposal`
    Proposal,
    /// `common.Header`
    Header,
    /// `common.ChannelHeader`
    ChannelHeader,
    /// `common.SignatureHeader`
    SignatureHeader,
    /// `protos.ChaincodeHeaderExtension`
    Extension,
    /// `protos.ChaincodeProposalPayload`
    Payload,
    /// `protos.ChaincodeInvocationSpec`
    Input,
}

/// A proposal before it is encoded. As made it is a good one; every part can be spoilt.
#[derive(Debug, Clone)]
pub struct DraftProposal {
    /// All but its extension, which is made of [`Self::extension`].
    pub channel_header: common::ChannelHeader,
    /// Who proposes.
    pub signature_header: common::SignatureHeader,
    /// Names the chaincode.
    pub extension: protos::ChaincodeHeaderExtension,
    /// The call.
    pub spec: protos::ChaincodeInvocationSpec,
    /// Bytes that stand where a message should.
    pub replaced: BTreeMap<Level, Bytes>,
}

impl DraftProposal {
    /// A call of a chaincode.
    pub fn new(signer: &SigningIdentity, channel: &str, chaincode: &str, args: &[&[u8]]) -> Self {
        let creator = signer.identity().raw.clone();
        let nonce = Bytes::copy_from_slice(&ripstop_keys::nonce());
        let chaincode_id = Some(protos::ChaincodeId { name: chaincode.to_owned(), ..Default::default() });
        let args = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        let spec = protos::ChaincodeSpec {
            chaincode_id: chaincode_id.clone(),
            input: Some(protos::ChaincodeInput { args, ..Default::default() }),
            ..Default::default()
        };
        Self {
            channel_header: common::ChannelHeader {
                r#type: common::HeaderType::EndorserTransaction as i32,
                tx_id: TxId::compute(&nonce, &creator).to_string(),
                timestamp: Some(now()),
                channel_id: channel.to_owned(),
                ..Default::default()
            },
            signature_header: common::SignatureHeader { creator, nonce },
            extension: protos::ChaincodeHeaderExtension { chaincode_id },
            spec: protos::ChaincodeInvocationSpec { chaincode_spec: Some(spec) },
            replaced: BTreeMap::new(),
        }
    }

    /// The same proposal by someone else, or by no one at all.
    pub fn by(mut self, creator: Bytes) -> Self {
        self.channel_header.tx_id = TxId::compute(&self.signature_header.nonce, &creator).to_string();
        self.signature_header.creator = creator;
        self
    }

    /// The same proposal with other bytes in a place.
    pub fn with(mut self, level: Level, bytes: impl Into<Bytes>) -> Self {
        self.replaced.insert(level, bytes.into());
        self
    }

    /// The bytes that are signed.
    pub fn encode(&self) -> Bytes {
        let at = |level: Level, encoded: Vec<u8>| match self.replaced.get(&level) {
            Some(replaced) => replaced.clone(),
            None => Bytes::from(encoded),
        };
        let extension = at(Level::Extension, self.extension.encode_to_vec());
        let channel_header = common::ChannelHeader { extension, ..self.channel_header.clone() };
        let header = common::Header {
            channel_header: at(Level::ChannelHeader, channel_header.encode_to_vec()),
            signature_header: at(Level::SignatureHeader, self.signature_header.encode_to_vec()),
        };
        let payload = protos::ChaincodeProposalPayload {
            input: at(Level::Input, self.spec.encode_to_vec()),
            transient_map: BTreeMap::new(),
        };
        let proposal = protos::Proposal {
            header: at(Level::Header, header.encode_to_vec()),
            payload: at(Level::Payload, payload.encode_to_vec()),
            extension: Bytes::new(),
        };
        at(Level::Proposal, proposal.encode_to_vec())
    }

    /// The proposal, signed.
    pub fn sign(&self, signer: &SigningIdentity) -> protos::SignedProposal {
        let proposal_bytes = self.encode();
        let signature = signer.sign(&proposal_bytes).expect("the key signs");
        protos::SignedProposal { proposal_bytes, signature }
    }
}

/// An envelope before it is encoded. As made it is a good one, as far as its data is; every part can be spoilt.
#[derive(Debug, Clone)]
pub struct DraftEnvelope {
    /// Channel and type.
    pub channel_header: common::ChannelHeader,
    /// Who sends it.
    pub signature_header: common::SignatureHeader,
    /// The content.
    pub data: Bytes,
}

impl DraftEnvelope {
    /// A message of a type for a channel.
    pub fn new(signer: &SigningIdentity, kind: common::HeaderType, channel: &str, data: impl Into<Bytes>) -> Self {
        let creator = signer.identity().raw.clone();
        let nonce = Bytes::copy_from_slice(&ripstop_keys::nonce());
        Self {
            channel_header: common::ChannelHeader {
                r#type: kind as i32,
                tx_id: TxId::compute(&nonce, &creator).to_string(),
                timestamp: Some(now()),
                channel_id: channel.to_owned(),
                ..Default::default()
            },
            signature_header: common::SignatureHeader { creator, nonce },
            data: data.into(),
        }
    }

    /// The bytes that are signed.
    pub fn encode(&self) -> Bytes {
        let header = common::Header {
            channel_header: self.channel_header.encode_to_vec().into(),
            signature_header: self.signature_header.encode_to_vec().into(),
        };
        common::Payload { header: Some(header), data: self.data.clone() }.encode_to_vec().into()
    }

    /// The envelope, signed.
    pub fn sign(&self, signer: &SigningIdentity) -> common::Envelope {
        let payload = self.encode();
        let signature = signer.sign(&payload).expect("the key signs");
        common::Envelope { payload, signature }
    }
}

/// The time by this machine's clock.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since_epoch.as_secs().cast_signed(), nanos: since_epoch.subsec_nanos().cast_signed() }
}

/// The other valid form of a P-256 signature: `s` becomes the order minus `s`, which is the high one.
///
/// # Panics
/// When the bytes are no DER of two small integers.
pub fn high_s(signature: &[u8]) -> Bytes {
    let r_length = usize::from(signature[3]);
    let (head, s) = signature.split_at(4 + r_length);
    let r = &head[4..];
    let s = &s[2..];
    let s = &s[s.iter().take_while(|byte| **byte == 0).count()..];
    let mut high = P256_ORDER.to_vec();
    let mut borrow = 0;
    for index in 0..high.len() {
        let subtrahend = if index < s.len() { i16::from(s[s.len() - 1 - index]) } else { 0 };
        let place = high.len() - 1 - index;
        let difference = i16::from(high[place]) - subtrahend - borrow;
        borrow = i16::from(difference < 0);
        high[place] = difference.rem_euclid(256) as u8;
    }
    high.insert(0, 0);
    let mut der = vec![0x30, (4 + r.len() + high.len()) as u8, 2, r.len() as u8];
    der.extend_from_slice(r);
    der.extend([2, high.len() as u8]);
    der.extend(high);
    der.into()
}
