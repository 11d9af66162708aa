use bytes::Bytes;
use ripstop_proto::protos;

use crate::{ChannelHeader, Digest, SignatureHeader, SignedData};

/// Name and version of a chaincode as an endorser states them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChaincodeName {
    /// The name; in a transaction also its namespace.
    pub name: String,
    /// The version of its definition.
    pub version: String,
}

/// The signature of an endorsing peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    /// The endorser: the bytes of a `SerializedIdentity`.
    pub endorser: Bytes,
    /// The signature over response payload and endorser.
    pub signature: Bytes,
}

/// An endorsed transaction: the single action of a `protos.Transaction`, decoded as far as its form is judged
/// before its content.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    /// The signature header of the proposal.
    pub proposal_signature_header: SignatureHeader,
    /// The proposal's payload without its transient part.
    pub proposal_payload: Bytes,
    /// What the endorsers signed, as received: a `protos.ProposalResponsePayload`.
    pub response_payload: Bytes,
    /// [`Self::response_payload`], decoded.
    pub response: ResponsePayload,
    /// The endorsers' signatures, in order.
    pub endorsements: Vec<Endorsement>,
}

/// What every endorser signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponsePayload {
    /// The hash of the proposal it answers.
    pub proposal_hash: Bytes,
    /// A `protos.ChaincodeAction`, not yet decoded: Fabric judges it later and with another code.
    pub extension: Bytes,
}

/// The result of a chaincode call as endorsed.
#[derive(Debug, Clone, PartialEq)]
pub struct ChaincodeAction {
    /// A `rwset.TxReadWriteSet`, not yet decoded.
    pub results: Bytes,
    /// A `protos.ChaincodeEvent`, or empty.
    pub events: Bytes,
    /// What the chaincode answered.
    pub response: Option<protos::Response>,
    /// Which chaincode ran; Fabric tells an absent one from an empty one.
    pub chaincode: Option<ChaincodeName>,
}

/// Why bytes are no endorsed transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The bytes are no `protos.Transaction`.
    #[error("the payload's data is no transaction: {0}")]
    Transaction(prost::DecodeError),
    /// Fabric takes exactly one action.
    #[error("a transaction has exactly one action, this one has {0}")]
    ActionCount(usize),
    /// The action's header is no signature header.
    #[error("the action's header does not decode: {0}")]
    ActionHeader(prost::DecodeError),
    /// The action's header has no nonce or no creator.
    #[error("the action's header has no {0}")]
    ActionHeaderLacks(&'static str),
    /// The action's payload is no `protos.ChaincodeActionPayload`.
    #[error("the action's payload does not decode: {0}")]
    ActionPayload(prost::DecodeError),
    /// The action's payload endorses nothing.
    #[error("the action's payload holds no endorsed action")]
    NoAction,
    /// The endorsed bytes are no `protos.ProposalResponsePayload`.
    #[error("the endorsed response payload does not decode: {0}")]
    ResponsePayload(prost::DecodeError),
}

impl Transaction {
    /// Parses the data of an endorser transaction's envelope.
    pub fn parse(data: Bytes) -> Result<Self, TransactionError> {
        let transaction = ripstop_proto::read::<protos::Transaction>(data).map_err(TransactionError::Transaction)?;
        let count = transaction.actions.len();
        let [action] = <[protos::TransactionAction; 1]>::try_from(transaction.actions)
            .map_err(|_| TransactionError::ActionCount(count))?;
        let proposal_signature_header =
            SignatureHeader::parse(action.header).map_err(TransactionError::ActionHeader)?;
        if proposal_signature_header.nonce.is_empty() {
            return Err(TransactionError::ActionHeaderLacks("nonce"));
        }
        if proposal_signature_header.creator.is_empty() {
            return Err(TransactionError::ActionHeaderLacks("creator"));
        }
        let payload = ripstop_proto::read::<protos::ChaincodeActionPayload>(action.payload)
            .map_err(TransactionError::ActionPayload)?;
        let endorsed = payload.action.ok_or(TransactionError::NoAction)?;
        let response =
            ripstop_proto::read::<protos::ProposalResponsePayload>(endorsed.proposal_response_payload.clone())
                .map_err(TransactionError::ResponsePayload)?;
        Ok(Self {
            proposal_signature_header,
            proposal_payload: payload.chaincode_proposal_payload,
            response_payload: endorsed.proposal_response_payload,
            response: ResponsePayload { proposal_hash: response.proposal_hash, extension: response.extension },
            endorsements: endorsed
                .endorsements
                .into_iter()
                .map(|e| Endorsement { endorser: e.endorser, signature: e.signature })
                .collect(),
        })
    }

    /// Decodes what was endorsed.
    pub fn action(&self) -> Result<ChaincodeAction, prost::DecodeError> {
        let action = ripstop_proto::read::<protos::ChaincodeAction>(self.response.extension.clone())?;
        Ok(ChaincodeAction {
            results: action.results,
            events: action.events,
            response: action.response,
            chaincode: action.chaincode_id.map(|id| ChaincodeName { name: id.name, version: id.version }),
        })
    }

    /// What the endorsers signed: response payload and endorser, one entry an endorsement.
    pub fn endorsement_set(&self) -> Vec<SignedData> {
        self.endorsements
            .iter()
            .map(|endorsement| SignedData {
                identity: endorsement.endorser.clone(),
                message: [self.response_payload.as_ref(), endorsement.endorser.as_ref()].concat().into(),
                signature: endorsement.signature.clone(),
            })
            .collect()
    }
}

/// The hash that ties an endorsement to its proposal: channel header, signature header and the proposal's payload
/// without transient data, as received (Fabric: `protoutil.GetProposalHash2`).
pub fn proposal_hash(channel_header: &ChannelHeader, signature_header: &SignatureHeader, payload: &[u8]) -> Digest {
    Digest::of_parts([channel_header.raw.as_ref(), signature_header.raw.as_ref(), payload])
}

impl From<ChaincodeName> for protos::ChaincodeId {
    fn from(chaincode: ChaincodeName) -> Self {
        Self { path: String::new(), name: chaincode.name, version: chaincode.version }
    }
}
