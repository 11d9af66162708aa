use bytes::Bytes;
use prost::Message;
use ripstop_channel_config::ChannelConfig;
use ripstop_channel_config::acl::AclRefusal;
use ripstop_msp::{Claim, Identity, LocalMsp, VerifyError};
use ripstop_proto::{common, protos};
use ripstop_types::{ChannelHeader, Digest, HeaderType, SignatureHeader, SignedData, TxId};
use std::sync::Arc;

/// Why a proposal is refused before anything runs. Sent as a gRPC error; begins with Fabric's words. Who the creator is was
/// checked before policies are asked, so whoever is told of policies is a member of the channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProposalError {
    #[error("error unmarshalling {what}: {reason}")]
    Decode { what: &'static str, reason: String },
    #[error("ChaincodeHeaderExtension.ChaincodeId is nil")]
    NoChaincodeId,
    #[error("ChaincodeHeaderExtension.ChaincodeId.Name is empty")]
    NoChaincodeName,
    #[error("chaincode invocation spec did not contain chaincode spec")]
    NoSpec,
    #[error("chaincode input did not contain any input")]
    NoInput,
    #[error("error validating proposal: invalid header type {0}")]
    HeaderType(String),
    #[error("error validating proposal: epoch is non-zero")]
    Epoch,
    #[error("error validating proposal: nonce is empty")]
    NoNonce,
    #[error("error validating proposal: creator is empty")]
    NoCreator,
    #[error("error validating proposal: incorrectly computed txid '{stated}' -- expected '{expected}'")]
    TxId { stated: TxId, expected: TxId },
    #[error("error validating proposal: empty proposal bytes")]
    NoProposal,
    #[error("error validating proposal: empty signature bytes")]
    NoSignature,
    #[error("error validating proposal: access denied: channel [{channel}] {}", denied(.source, .claim))]
    Creator { channel: String, source: VerifyError, claim: Claim },
    #[error("duplicate transaction found [{tx_id}]. Creator [{creator}]")]
    Duplicate { tx_id: TxId, creator: String },
    #[error(transparent)]
    Access(AclRefusal),
    #[error("{0}")]
    Ledger(String),
}

/// Fabric's words, and then what is wrong with what was sent.
fn denied(reason: &VerifyError, claim: &Claim) -> String {
    let words = match (reason, claim.msp_id()) {
        (VerifyError::Identity(_), _) | (_, None) => "creator org unknown, creator is malformed".to_owned(),
        (VerifyError::Invalid(_) | VerifyError::Signature(_), Some(org)) => format!("creator org [{org}]"),
    };
    format!("{words}: {reason}: the creator is {claim}")
}

/// A proposal, parsed once.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) signed: protos::SignedProposal,
    pub(crate) channel_header: ChannelHeader,
    pub(crate) signature_header: SignatureHeader,
    /// The chaincode to call: the header's, not the one the input names.
    pub(crate) chaincode: String,
    pub(crate) input: protos::ChaincodeInput,
    /// What ties endorsements to this proposal.
    pub(crate) hash: Digest,
}

fn decode<M: ripstop_proto::Name + Default>(bytes: &Bytes, what: &'static str) -> Result<M, ProposalError> {
    ripstop_proto::read::<M>(bytes.clone()).map_err(|error| ProposalError::Decode { what, reason: error.to_string() })
}

impl Proposal {
    /// Parses a signed proposal down to the chaincode's input.
    pub(crate) fn parse(signed: protos::SignedProposal) -> Result<Self, ProposalError> {
        let proposal: protos::Proposal = decode(&signed.proposal_bytes, "Proposal")?;
        let header: common::Header = decode(&proposal.header, "Header")?;
        let undecodable =
            |what| move |error: prost::DecodeError| ProposalError::Decode { what, reason: error.to_string() };
        let channel_header = ChannelHeader::parse(header.channel_header).map_err(undecodable("ChannelHeader"))?;
        let signature_header =
            SignatureHeader::parse(header.signature_header).map_err(undecodable("SignatureHeader"))?;
        let extension: protos::ChaincodeHeaderExtension =
            decode(&channel_header.extension, "ChaincodeHeaderExtension")?;
        let chaincode = extension.chaincode_id.ok_or(ProposalError::NoChaincodeId)?.name;
        if chaincode.is_empty() {
            return Err(ProposalError::NoChaincodeName);
        }
        let payload: protos::ChaincodeProposalPayload = decode(&proposal.payload, "ChaincodeProposalPayload")?;
        let invocation: protos::ChaincodeInvocationSpec = decode(&payload.input, "ChaincodeInvocationSpec")?;
        let spec = invocation.chaincode_spec.ok_or(ProposalError::NoSpec)?;
        let input = spec.input.ok_or(ProposalError::NoInput)?;
        // Transient data never leaves the peer: the hash covers the payload as it will stand in the transaction.
        let ordered = protos::ChaincodeProposalPayload { input: payload.input, transient_map: Default::default() };
        let hash = ripstop_types::proposal_hash(&channel_header, &signature_header, &ordered.encode_to_vec());
        Ok(Self { signed, channel_header, signature_header, chaincode, input, hash })
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel_header.channel_id
    }

    pub(crate) fn tx_id(&self) -> &TxId {
        &self.channel_header.tx_id
    }

    /// What the creator signed.
    pub(crate) fn signed_data(&self) -> SignedData {
        SignedData {
            identity: self.signature_header.creator.clone(),
            message: self.signed.proposal_bytes.clone(),
            signature: self.signed.signature.clone(),
        }
    }

    /// Checks form, creator and signature. Without a channel the creator must be of the peer's own organization.
    pub(crate) fn check(
        &self,
        channel: Option<&ChannelConfig>,
        local_msp: &LocalMsp,
    ) -> Result<Arc<Identity>, ProposalError> {
        self.check_form()?;
        let signed = self.signed_data();
        let verified = match channel {
            Some(config) => config.msps().verify(&signed),
            None => local_msp.verify(&signed),
        };
        verified.map_err(|source| ProposalError::Creator {
            channel: self.channel().to_owned(),
            source,
            claim: Claim::of(&signed.identity),
        })
    }

    fn check_form(&self) -> Result<(), ProposalError> {
        // Fabric lets configuration transactions through here too.
        if !matches!(self.channel_header.kind, HeaderType::EndorserTransaction | HeaderType::Config) {
            return Err(ProposalError::HeaderType(header_type_name(self.channel_header.kind)));
        }
        if self.channel_header.epoch != 0 {
            return Err(ProposalError::Epoch);
        }
        let SignatureHeader { nonce, creator, .. } = &self.signature_header;
        if nonce.is_empty() {
            return Err(ProposalError::NoNonce);
        }
        if creator.is_empty() {
            return Err(ProposalError::NoCreator);
        }
        let expected = TxId::compute(nonce, creator);
        if *self.tx_id() != expected {
            return Err(ProposalError::TxId { stated: self.tx_id().clone(), expected });
        }
        if self.signed.proposal_bytes.is_empty() {
            return Err(ProposalError::NoProposal);
        }
        if self.signed.signature.is_empty() {
            return Err(ProposalError::NoSignature);
        }
        Ok(())
    }
}

fn header_type_name(kind: HeaderType) -> String {
    match common::HeaderType::try_from(kind.number()) {
        Ok(kind) => kind.as_str_name().to_owned(),
        Err(_) => kind.number().to_string(),
    }
}

/// The first letters of a transaction id, as log lines carry it.
pub(crate) fn short(tx_id: &TxId) -> &str {
    tx_id.as_str().get(..8).unwrap_or(tx_id.as_str())
}
