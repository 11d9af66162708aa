use std::collections::BTreeSet;

use base64::Engine as _;
use bytes::Bytes;
use prost::Message;
use ripstop_proto::{common, protos};

use super::Proposal;
use ripstop_keys::SigningIdentity;

/// Why endorsements cannot become a transaction. The texts are those of Fabric's `protoutil`.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// No peer answered.
    #[error("at least one proposal response is required")]
    NoResponses,
    /// A peer refused.
    #[error("proposal response was not successful, error code {status}, msg {message}")]
    Unsuccessful {
        /// The chaincode's or the peer's status.
        status: i32,
        /// The reason it gave.
        message: String,
    },
    /// Two peers came to different results.
    #[error("ProposalResponsePayloads do not match (base64): '{other}' vs '{first}'")]
    Mismatch {
        /// The result that differs.
        other: String,
        /// The first peer's result.
        first: String,
    },
    /// No answer carried a signature.
    #[error("no endorsements")]
    NoEndorsements,
    /// The client's key did not sign.
    #[error(transparent)]
    Sign(#[from] ripstop_keys::SignError),
}

impl Proposal {
    /// The transaction that consists of this proposal and its endorsements, signed by the client. All endorsers must
    /// have come to the same result; a second endorsement of the same peer is left out.
    pub fn assemble(
        &self,
        responses: &[protos::ProposalResponse],
        signer: &SigningIdentity,
    ) -> Result<common::Envelope, AssembleError> {
        let first = responses.first().ok_or(AssembleError::NoResponses)?;
        for response in responses {
            let answer = response.response.clone().unwrap_or_default();
            if !(200..400).contains(&answer.status) {
                return Err(AssembleError::Unsuccessful { status: answer.status, message: answer.message });
            }
            if response.payload != first.payload {
                let base64 = |bytes: &Bytes| base64::engine::general_purpose::STANDARD.encode(bytes);
                return Err(AssembleError::Mismatch {
                    other: base64(&response.payload),
                    first: base64(&first.payload),
                });
            }
        }
        let mut endorsers = BTreeSet::new();
        let endorsements: Vec<_> = responses
            .iter()
            .filter_map(|response| response.endorsement.clone())
            .filter(|endorsement| endorsers.insert(endorsement.endorser.clone()))
            .collect();
        if endorsements.is_empty() {
            return Err(AssembleError::NoEndorsements);
        }
        let endorsed =
            protos::ChaincodeEndorsedAction { proposal_response_payload: first.payload.clone(), endorsements };
        let action =
            protos::ChaincodeActionPayload { chaincode_proposal_payload: self.payload.clone(), action: Some(endorsed) };
        let transaction = protos::Transaction {
            actions: vec![protos::TransactionAction {
                header: self.header.signature_header.clone(),
                payload: action.encode_to_vec().into(),
            }],
        };
        let payload: Bytes =
            common::Payload { header: Some(self.header.clone()), data: transaction.encode_to_vec().into() }
                .encode_to_vec()
                .into();
        let signature = signer.sign(&payload)?;
        Ok(common::Envelope { payload, signature })
    }
}
