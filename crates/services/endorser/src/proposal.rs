use bytes::Bytes;
use prost::Message;
use ripstop_channel_config::ChannelConfig;
use ripstop_msp::{Identity, LocalMsp};
use ripstop_proto::{common, protos};
use ripstop_types::{ChannelHeader, Digest, HeaderType, SerializedIdentity, SignatureHeader, SignedData, TxId};
use std::sync::Arc;

/// Why a proposal is refused before anything runs. Sent as a gRPC error; begins with Fabric's words.
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
    #[error("error validating proposal: access denied: channel [{channel}] creator org unknown, creator is malformed")]
    UnknownCreator { channel: String },
    #[error("error validating proposal: access denied: channel [{channel}] creator org [{org}]")]
    InvalidCreator { channel: String, org: String },
    #[error("duplicate transaction found [{tx_id}]. Creator [{creator}]")]
    Duplicate { tx_id: TxId, creator: String },
    #[error("{0}")]
    Access(String),
    #[error("{0}")]
    Ledger(String),
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

    /// Checks form, creator and signature. Without a channel the creator must be of the peer's own organisation.
    ///
    /// The sender learns only that access is denied; the reason goes to the log.
    pub(crate) fn check(
        &self,
        channel: Option<&ChannelConfig>,
        local_msp: &LocalMsp,
    ) -> Result<Arc<Identity>, ProposalError> {
        self.check_form()?;
        let creator = &self.signature_header.creator;
        let identified = match channel {
            Some(config) => config.msps().identify(creator),
            None => local_msp.identify(creator),
        };
        let identity = identified.map_err(|error| {
            tracing::warn!(target: "endorser", channel = self.channel(), txID = short(self.tx_id()), "access denied: {error}; identity is {}", describe(creator));
            ProposalError::UnknownCreator { channel: self.channel().to_owned() }
        })?;
        let denied = |why: String| {
            tracing::warn!(target: "endorser", channel = self.channel(), txID = short(self.tx_id()), "access denied: {why}; identity is {}", describe(creator));
            ProposalError::InvalidCreator {
                channel: self.channel().to_owned(),
                org: identity.msp_id().as_str().to_owned(),
            }
        };
        identity.validate().map_err(|error| denied(format!("identity is not valid: {error}")))?;
        identity
            .verify(&self.signed.proposal_bytes, &self.signed.signature)
            .map_err(|error| denied(format!("creator's signature over the proposal is not valid: {error}")))?;
        Ok(identity)
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

/// Whom bytes claim to be, for the log: organisation, subject, serial number and time of validity.
fn describe(identity: &Bytes) -> String {
    let Ok(identity) = SerializedIdentity::parse(identity.clone()) else {
        return "no serialized identity".to_owned();
    };
    let org = &identity.msp_id;
    match ripstop_crypto::Certificate::from_pem(&identity.id_bytes) {
        Ok(certificate) => format!(
            "{} of {org}, issued by {}, serial {}, valid until {}",
            certificate.subject(),
            certificate.issuer(),
            certificate.serial_decimal(),
            time_text(certificate.not_after())
        ),
        Err(error) => format!("a member of {org} without a readable certificate: {error}"),
    }
}

/// A time as RFC 3339.
pub(crate) fn time_text(unix_seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(unix_seconds)
        .ok()
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| format!("{unix_seconds} (Unix seconds)"))
}
