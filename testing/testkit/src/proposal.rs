use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_proto::{Message, common, protos};
use ripstop_types::{ChannelId, Digest, TxId};

/// When all proposals are made, in seconds since 1970.
const PROPOSED: i64 = 1_704_067_200;

/// What an application sends to peers, and later to the orderer.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The proposal with its signature.
    pub signed: protos::SignedProposal,
    /// The transaction it becomes.
    pub tx_id: TxId,
    /// Who proposes: bytes of a `SerializedIdentity`.
    pub creator: Bytes,
    /// The chaincode called.
    pub chaincode: String,
    /// With what it is called.
    pub input: protos::ChaincodeInput,
    header: common::Header,
    payload: Bytes,
}

impl Proposal {
    /// Proposes to call a chaincode; without a channel for what concerns the peer itself.
    pub fn new(channel: Option<&ChannelId>, signer: &SigningIdentity, chaincode: &str, args: &[&[u8]]) -> Self {
        let args = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        Self::with_input(channel, signer, chaincode, protos::ChaincodeInput { args, ..Default::default() })
    }

    /// Proposes to call a chaincode with this very input.
    pub fn with_input(
        channel: Option<&ChannelId>,
        signer: &SigningIdentity,
        chaincode: &str,
        input: protos::ChaincodeInput,
    ) -> Self {
        let id = protos::ChaincodeId { name: chaincode.to_owned(), ..Default::default() };
        let creator = signer.identity().raw.clone();
        let nonce = Bytes::copy_from_slice(&ripstop_keys::nonce());
        let tx_id = TxId::compute(&nonce, &creator);
        let extension = protos::ChaincodeHeaderExtension { chaincode_id: Some(id.clone()) };
        let channel_header = common::ChannelHeader {
            r#type: common::HeaderType::EndorserTransaction.into(),
            timestamp: Some(prost_types::Timestamp { seconds: PROPOSED, nanos: 0 }),
            channel_id: channel.map(ToString::to_string).unwrap_or_default(),
            tx_id: tx_id.to_string(),
            extension: extension.encode_to_vec().into(),
            ..Default::default()
        };
        let signature_header = common::SignatureHeader { creator: creator.clone(), nonce };
        let header = common::Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: signature_header.encode_to_vec().into(),
        };
        let spec = protos::ChaincodeSpec { chaincode_id: Some(id), input: Some(input.clone()), ..Default::default() };
        let invocation = protos::ChaincodeInvocationSpec { chaincode_spec: Some(spec) };
        let payload = protos::ChaincodeProposalPayload {
            input: invocation.encode_to_vec().into(),
            transient_map: BTreeMap::new(),
        };
        let payload = Bytes::from(payload.encode_to_vec());
        let proposal = protos::Proposal {
            header: header.encode_to_vec().into(),
            payload: payload.clone(),
            extension: Bytes::new(),
        };
        let proposal_bytes = Bytes::from(proposal.encode_to_vec());
        let signature = signer.sign(&proposal_bytes).expect("the key signs");
        let signed = protos::SignedProposal { proposal_bytes, signature };
        Self { signed, tx_id, creator, chaincode: chaincode.to_owned(), input, header, payload }
    }

    /// The transaction that it becomes when these peers endorse a result: the bytes of an envelope.
    pub fn transaction(
        &self,
        signer: &SigningIdentity,
        action: &protos::ChaincodeAction,
        endorsers: &[SigningIdentity],
    ) -> Bytes {
        let hash = Digest::of_parts([
            self.header.channel_header.as_ref(),
            self.header.signature_header.as_ref(),
            self.payload.as_ref(),
        ]);
        let response = protos::ProposalResponsePayload {
            proposal_hash: hash.to_bytes(),
            extension: action.encode_to_vec().into(),
        };
        let response = Bytes::from(response.encode_to_vec());
        let endorse = |endorser: &SigningIdentity| {
            let identity = endorser.identity().raw.clone();
            let message = [response.as_ref(), identity.as_ref()].concat();
            protos::Endorsement { signature: endorser.sign(&message).expect("the key signs"), endorser: identity }
        };
        let endorsed = protos::ChaincodeEndorsedAction {
            proposal_response_payload: response.clone(),
            endorsements: endorsers.iter().map(endorse).collect(),
        };
        let payload =
            protos::ChaincodeActionPayload { chaincode_proposal_payload: self.payload.clone(), action: Some(endorsed) };
        let action = protos::TransactionAction {
            header: self.header.signature_header.clone(),
            payload: payload.encode_to_vec().into(),
        };
        let data = protos::Transaction { actions: vec![action] }.encode_to_vec().into();
        let payload = Bytes::from(common::Payload { header: Some(self.header.clone()), data }.encode_to_vec());
        let signature = signer.sign(&payload).expect("the key signs");
        common::Envelope { payload, signature }.encode_to_vec().into()
    }
}
