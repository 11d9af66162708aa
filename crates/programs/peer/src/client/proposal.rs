use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;
use ripstop_proto::{common, protos};
use ripstop_types::{HeaderType, Timestamp, TxId};

use ripstop_keys::{SignError, SigningIdentity};

/// A call of a chaincode that a client wants endorsed.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// The channel; empty for calls that concern a peer rather than a channel.
    pub channel: String,
    /// The chaincode's name.
    pub chaincode: String,
    /// The function's name and its arguments.
    pub args: Vec<Bytes>,
    /// Whether this is the call that initialises a chaincode whose definition demands one.
    pub init: bool,
    /// Data that the chaincode sees but that no transaction carries.
    pub transient: BTreeMap<String, Bytes>,
}

impl Invocation {
    /// A call of `function` with `args`.
    pub fn new(channel: &str, chaincode: &str, function: &str, args: impl IntoIterator<Item = Bytes>) -> Self {
        let function = Bytes::copy_from_slice(function.as_bytes());
        Self {
            channel: channel.to_owned(),
            chaincode: chaincode.to_owned(),
            args: std::iter::once(function).chain(args).collect(),
            ..Self::default()
        }
    }

    /// A call of a function of `_lifecycle`, whose single argument is a message.
    pub fn lifecycle(channel: &str, function: &str, argument: &impl Message) -> Self {
        Self::new(channel, LIFECYCLE, function, [argument.encode_to_vec().into()])
    }

    /// The proposal for this call, signed: with a fresh nonce, and the time it is made at.
    pub fn propose(&self, signer: &SigningIdentity, kind: HeaderType) -> Result<Proposal, SignError> {
        let nonce = Bytes::copy_from_slice(&ripstop_keys::nonce());
        Proposal::sign(self, signer, kind, nonce, now())
    }
}

/// The chaincode that keeps all chaincode definitions.
pub(crate) const LIFECYCLE: &str = "_lifecycle";

/// A signed proposal and what its transaction will repeat of it.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The id of the transaction it may become.
    pub tx_id: TxId,
    /// What endorsers receive.
    pub signed: protos::SignedProposal,
    /// The proposal's header, which the transaction's payload repeats.
    pub(super) header: common::Header,
    /// The proposal's payload without transient data, as the transaction carries it.
    pub(super) payload: Bytes,
}

impl Proposal {
    fn sign(
        call: &Invocation,
        signer: &SigningIdentity,
        kind: HeaderType,
        nonce: Bytes,
        timestamp: Timestamp,
    ) -> Result<Self, SignError> {
        let creator = signer.identity().raw.clone();
        let tx_id = TxId::compute(&nonce, &creator);
        let chaincode_id = protos::ChaincodeId { name: call.chaincode.clone(), ..Default::default() };
        let channel_header = common::ChannelHeader {
            r#type: kind.number(),
            tx_id: tx_id.as_str().to_owned(),
            timestamp: Some(prost_types::Timestamp { seconds: timestamp.seconds, nanos: timestamp.nanos }),
            channel_id: call.channel.clone(),
            extension: protos::ChaincodeHeaderExtension { chaincode_id: Some(chaincode_id.clone()) }
                .encode_to_vec()
                .into(),
            ..Default::default()
        };
        let header = common::Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: common::SignatureHeader { creator, nonce }.encode_to_vec().into(),
        };
        let spec = protos::ChaincodeSpec {
            r#type: protos::chaincode_spec::Type::Golang as i32,
            chaincode_id: Some(chaincode_id),
            input: Some(protos::ChaincodeInput { args: call.args.clone(), is_init: call.init, ..Default::default() }),
            ..Default::default()
        };
        let input: Bytes = protos::ChaincodeInvocationSpec { chaincode_spec: Some(spec) }.encode_to_vec().into();
        let payload = protos::ChaincodeProposalPayload { input: input.clone(), transient_map: call.transient.clone() };
        let without_transient = protos::ChaincodeProposalPayload { input, transient_map: BTreeMap::new() };
        let proposal = protos::Proposal {
            header: header.encode_to_vec().into(),
            payload: payload.encode_to_vec().into(),
            extension: Bytes::new(),
        };
        let proposal_bytes: Bytes = proposal.encode_to_vec().into();
        let signature = signer.sign(&proposal_bytes)?;
        Ok(Self {
            tx_id,
            signed: protos::SignedProposal { proposal_bytes, signature },
            header,
            payload: without_transient.encode_to_vec().into(),
        })
    }
}

/// The time by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: i32::try_from(since_epoch.subsec_nanos()).unwrap_or(0) }
}
