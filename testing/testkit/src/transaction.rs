use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_proto::{Message, common, protos};
use ripstop_types::{
    Block, BlockNumber, ChannelHeader, HeaderType, MetadataSlot, SignatureHeader, TxId, proposal_hash,
};

/// An endorsed transaction in the making: valid as it is, and every part can be spoilt before it is signed. Parts that are
/// absent here are computed from the others.
#[derive(Debug, Clone)]
pub struct DraftTransaction<'a> {
    /// Who submits.
    pub creator: &'a SigningIdentity,
    /// Who endorses.
    pub endorsers: Vec<&'a SigningIdentity>,
    /// The type in the header.
    pub kind: HeaderType,
    /// The channel in the header.
    pub channel: String,
    /// The epoch in the header.
    pub epoch: u64,
    /// The id in the header.
    pub tx_id: Option<String>,
    /// The nonce in the header.
    pub nonce: Bytes,
    /// The creator in the header.
    pub creator_in_header: Option<Bytes>,
    /// The extension of the header.
    pub header_extension: Option<Bytes>,
    /// The bytes of the action's `ChaincodeActionPayload`.
    pub action_payload: Option<Bytes>,
    /// The proposal without transient data, as the action holds it.
    pub proposal_payload: Bytes,
    /// The proposal's hash in what endorsers sign.
    pub proposal_hash: Option<Bytes>,
    /// The bytes that endorsers sign.
    pub response_payload: Option<Bytes>,
    /// The bytes of the `ChaincodeAction` in them.
    pub action: Option<Bytes>,
    /// The chaincode that is said to have run.
    pub chaincode: Option<protos::ChaincodeId>,
    /// The bytes of the `TxReadWriteSet`.
    pub results: Bytes,
    /// The bytes of the `ChaincodeEvent`.
    pub events: Bytes,
    /// How many actions the transaction has, all the same.
    pub actions: usize,
    /// The payload's data.
    pub data: Option<Bytes>,
    /// The envelope's signature.
    pub signature: Option<Bytes>,
}

impl<'a> DraftTransaction<'a> {
    /// A valid transaction of chaincode `basic`, version 1.0.
    pub fn new(
        channel: &str,
        creator: &'a SigningIdentity,
        endorsers: impl IntoIterator<Item = &'a SigningIdentity>,
    ) -> Self {
        Self {
            creator,
            endorsers: endorsers.into_iter().collect(),
            kind: HeaderType::EndorserTransaction,
            channel: channel.to_owned(),
            epoch: 0,
            tx_id: None,
            nonce: Bytes::from_static(b"a nonce that is used but once"),
            creator_in_header: None,
            header_extension: None,
            action_payload: None,
            proposal_payload: Bytes::from_static(b"\x0a\x00"),
            proposal_hash: None,
            response_payload: None,
            action: None,
            chaincode: Some(protos::ChaincodeId { name: "basic".into(), version: "1.0".into(), path: String::new() }),
            results: Bytes::new(),
            events: Bytes::new(),
            actions: 1,
            data: None,
            signature: None,
        }
    }

    /// The signed envelope.
    pub fn envelope(&self) -> common::Envelope {
        let creator = self.creator_in_header.clone().unwrap_or_else(|| self.creator.identity().raw.clone());
        let tx_id = self.tx_id.clone().unwrap_or_else(|| TxId::compute(&self.nonce, &creator).as_str().to_owned());
        let extension = self.header_extension.clone().unwrap_or_else(|| {
            protos::ChaincodeHeaderExtension { chaincode_id: self.chaincode.clone() }.encode_to_vec().into()
        });
        let channel_header = common::ChannelHeader {
            r#type: self.kind.number(),
            channel_id: self.channel.clone(),
            tx_id,
            epoch: self.epoch,
            extension,
            ..Default::default()
        };
        let channel_header = Bytes::from(channel_header.encode_to_vec());
        let signature_header = common::SignatureHeader { creator, nonce: self.nonce.clone() };
        let signature_header = Bytes::from(signature_header.encode_to_vec());
        let data = self.data.clone().unwrap_or_else(|| self.transaction(&channel_header, &signature_header));
        let payload = common::Payload { header: Some(common::Header { channel_header, signature_header }), data };
        let payload = Bytes::from(payload.encode_to_vec());
        let signature = self.signature.clone().unwrap_or_else(|| self.creator.sign(&payload).expect("the key signs"));
        common::Envelope { payload, signature }
    }

    /// The bytes of [`Self::envelope`].
    pub fn bytes(&self) -> Bytes {
        self.envelope().encode_to_vec().into()
    }

    fn transaction(&self, channel_header: &Bytes, signature_header: &Bytes) -> Bytes {
        let payload = self
            .action_payload
            .clone()
            .unwrap_or_else(|| self.endorsed(channel_header, signature_header).encode_to_vec().into());
        let action = protos::TransactionAction { header: signature_header.clone(), payload };
        protos::Transaction { actions: vec![action; self.actions] }.encode_to_vec().into()
    }

    fn endorsed(&self, channel_header: &Bytes, signature_header: &Bytes) -> protos::ChaincodeActionPayload {
        let response = self.response_payload.clone().unwrap_or_else(|| {
            let extension = self.action.clone().unwrap_or_else(|| {
                let action = protos::ChaincodeAction {
                    results: self.results.clone(),
                    events: self.events.clone(),
                    response: Some(protos::Response { status: 200, ..Default::default() }),
                    chaincode_id: self.chaincode.clone(),
                };
                action.encode_to_vec().into()
            });
            let hash = self.proposal_hash.clone().unwrap_or_else(|| {
                let channel_header = ChannelHeader::parse(channel_header.clone()).expect("it was encoded just now");
                let signature_header =
                    SignatureHeader::parse(signature_header.clone()).expect("it was encoded just now");
                proposal_hash(&channel_header, &signature_header, &self.proposal_payload).to_bytes()
            });
            protos::ProposalResponsePayload { proposal_hash: hash, extension }.encode_to_vec().into()
        });
        let endorsements = self.endorsers.iter().map(|endorser| {
            let identity = endorser.identity().raw.clone();
            let signature = endorser.sign(&[response.as_ref(), &identity].concat()).expect("the key signs");
            protos::Endorsement { endorser: identity, signature }
        });
        protos::ChaincodeActionPayload {
            chaincode_proposal_payload: self.proposal_payload.clone(),
            action: Some(protos::ChaincodeEndorsedAction {
                proposal_response_payload: response.clone(),
                endorsements: endorsements.collect(),
            }),
        }
    }
}

/// A block as an orderer signs it.
pub fn signed_block(orderer: &SigningIdentity, number: BlockNumber, previous_hash: Bytes, data: Vec<Bytes>) -> Block {
    let mut block = Block::new(number, previous_hash, data);
    let value = common::OrdererBlockMetadata {
        last_config: Some(common::LastConfig { index: 0 }),
        consenter_metadata: Bytes::new(),
    };
    let value = Bytes::from(value.encode_to_vec());
    let header = common::SignatureHeader {
        creator: orderer.identity().raw.clone(),
        nonce: Bytes::from_static(b"a nonce of an orderer...."),
    };
    let header = Bytes::from(header.encode_to_vec());
    let message = [value.as_ref(), &header, &block.header.to_der()].concat();
    let signature = common::MetadataSignature {
        signature_header: header,
        signature: orderer.sign(&message).expect("the key signs"),
        identifier_header: Bytes::new(),
    };
    let metadata = common::Metadata { value, signatures: vec![signature] };
    block.metadata.set(MetadataSlot::Signatures, metadata.encode_to_vec().into());
    block
}
