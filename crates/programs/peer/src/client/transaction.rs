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

#[cfg(test)]
mod tests {
    use ripstop_testkit::Organization;
    use ripstop_types::{Envelope, HeaderType, Transaction, TxId, proposal_hash};

    use super::*;
    use crate::client::Invocation;

    fn endorsed(endorser: &SigningIdentity, status: i32, payload: &[u8]) -> protos::ProposalResponse {
        let identity = &endorser.identity().raw;
        let signature = endorser.sign(&[payload, identity.as_ref()].concat()).unwrap();
        protos::ProposalResponse {
            version: 1,
            response: Some(protos::Response { status, message: "why".to_owned(), payload: Bytes::new() }),
            payload: Bytes::copy_from_slice(payload),
            endorsement: Some(protos::Endorsement { endorser: identity.clone(), signature }),
            ..Default::default()
        }
    }

    #[test]
    fn a_transaction_repeats_its_proposal_without_transient_data() {
        let organisation = Organization::new("Org1MSP");
        let (client, peer) = (organisation.client("user"), organisation.peer("peer0"));
        let mut call = Invocation::new("mychannel", "basic", "Put", [Bytes::from_static(b"key")]);
        call.transient.insert("secret".to_owned(), Bytes::from_static(b"whisper"));
        let proposal = call.propose(&client, HeaderType::EndorserTransaction).unwrap();
        assert!(proposal.signed.proposal_bytes.windows(7).any(|bytes| bytes == b"whisper"));

        let response = protos::ProposalResponsePayload::default().encode_to_vec();
        let answers = [endorsed(&peer, 200, &response), endorsed(&peer, 200, &response)];
        let envelope = Envelope::from_proto(proposal.assemble(&answers, &client).unwrap()).unwrap();
        assert!(!envelope.payload.windows(7).any(|bytes| bytes == b"whisper"));
        client.certificate().public_key().verify(&envelope.payload, &envelope.signature).unwrap();

        let header = &envelope.signature_header;
        assert_eq!(envelope.channel_header.tx_id, TxId::compute(&header.nonce, &header.creator));
        let transaction = Transaction::parse(envelope.data.clone()).unwrap();
        assert_eq!(transaction.proposal_signature_header, *header);
        assert_eq!(transaction.endorsements.len(), 1, "the same peer's second endorsement is left out");
        let signed = protos::Proposal::decode(proposal.signed.proposal_bytes.clone()).unwrap();
        let payload = protos::ChaincodeProposalPayload::decode(signed.payload).unwrap();
        let without = protos::ChaincodeProposalPayload { transient_map: Default::default(), ..payload };
        assert_eq!(
            proposal_hash(&envelope.channel_header, header, &transaction.proposal_payload),
            proposal_hash(&envelope.channel_header, header, &without.encode_to_vec())
        );
    }

    #[test]
    fn endorsements_that_do_not_fit_are_refused_in_fabrics_words() {
        let organisation = Organization::new("Org1MSP");
        let (client, peer) = (organisation.client("user"), organisation.peer("peer0"));
        let call = Invocation::new("mychannel", "basic", "Put", []);
        let proposal = call.propose(&client, HeaderType::EndorserTransaction).unwrap();
        let unsigned = protos::ProposalResponse { endorsement: None, ..endorsed(&peer, 200, b"a") };
        let cases = [
            (vec![], "at least one proposal response is required"),
            (vec![endorsed(&peer, 500, b"a")], "proposal response was not successful, error code 500, msg why"),
            (
                vec![endorsed(&peer, 200, b"a"), endorsed(&peer, 200, b"b")],
                "ProposalResponsePayloads do not match (base64): 'Yg==' vs 'YQ=='",
            ),
            (vec![unsigned], "no endorsements"),
        ];
        for (answers, words) in cases {
            assert_eq!(proposal.assemble(&answers, &client).unwrap_err().to_string(), words);
        }
    }
}
