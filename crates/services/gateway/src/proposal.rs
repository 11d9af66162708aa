use ripstop_proto::{common, protos};
use ripstop_types::SignedData;

/// Who may see a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Any organization of the channel.
    Anyone,
    /// Those that the client trusts with its transient data.
    Trusted,
}

/// A proposal, parsed as far as the gateway needs to know it.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) header: common::Header,
    pub(crate) channel: String,
    pub(crate) tx_id: String,
    pub(crate) chaincode: String,
    /// What is missing where it names no chaincode.
    lacking: Option<&'static str>,
    pub(crate) audience: Audience,
    /// The bytes of the `ChaincodeInvocationSpec`.
    pub(crate) input: bytes::Bytes,
    pub(crate) signed: protos::SignedProposal,
}

impl Proposal {
    /// Parses a signed proposal; the error says what is wrong.
    pub(crate) fn parse(signed: protos::SignedProposal) -> Result<Self, String> {
        let proposal = decode::<protos::Proposal>(&signed.proposal_bytes, "Proposal")?;
        let header = decode::<common::Header>(&proposal.header, "Header")?;
        let channel_header = decode::<common::ChannelHeader>(&header.channel_header, "ChannelHeader")?;
        let payload = decode::<protos::ChaincodeProposalPayload>(&proposal.payload, "ChaincodeProposalPayload")?;
        let spec = decode::<protos::ChaincodeInvocationSpec>(&payload.input, "ChaincodeInvocationSpec")?;
        let id = spec.chaincode_spec.map(|spec| spec.chaincode_id);
        let lacking = match &id {
            None => Some("chaincode spec"),
            Some(None) => Some("chaincode id"),
            Some(Some(id)) if id.name.is_empty() => Some("chaincode name"),
            Some(Some(_)) => None,
        };
        Ok(Self {
            header,
            channel: channel_header.channel_id,
            tx_id: channel_header.tx_id,
            chaincode: id.flatten().unwrap_or_default().name,
            lacking,
            audience: if payload.transient_map.is_empty() { Audience::Anyone } else { Audience::Trusted },
            input: payload.input,
            signed,
        })
    }

    /// Who says to have signed it, and what; none if nobody does.
    pub(crate) fn signed_data(&self) -> Option<SignedData> {
        let header = decode::<common::SignatureHeader>(&self.header.signature_header, "SignatureHeader").ok()?;
        Some(SignedData {
            identity: header.creator,
            message: self.signed.proposal_bytes.clone(),
            signature: self.signed.signature.clone(),
        })
    }

    /// Refuses a proposal that names no channel or no chaincode.
    pub(crate) fn check_names(&self) -> Result<(), String> {
        if self.channel.is_empty() {
            return Err("no channel id provided".to_owned());
        }
        match self.lacking {
            Some(what) => Err(format!("no {what} is provided, channel id [{}]", self.channel)),
            None => Ok(()),
        }
    }
}

fn decode<M: ripstop_proto::Name + Default>(bytes: &bytes::Bytes, what: &str) -> Result<M, String> {
    ripstop_proto::read::<M>(bytes.clone()).map_err(|error| format!("error unmarshalling {what}: {error}"))
}
