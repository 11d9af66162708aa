//! What becomes of a chaincode's answer (Fabric: `ProcessProposalSuccessfullyOrError`):
//!
//! | answer | the client gets |
//! |---|---|
//! | the chaincode could not run, or its results cannot be used | status 500, a message, nothing else |
//! | status 500 and above | the answer, what would have been signed, whom it touched; no signature |
//! | any other status, no channel | the answer |
//! | status 400 to 499 | the answer |
//! | below 400 | all of it, signed |

use bytes::Bytes;
use prost::Message;
use ripstop_crypto::{SignError, SigningIdentity};
use ripstop_proto::protos;
use ripstop_types::{ChaincodeName, Digest};

/// From this status on an answer is not endorsed (Fabric: `shim.ERRORTHRESHOLD`).
const ERROR_THRESHOLD: i32 = 400;
/// From this status on the chaincode reports a failure (Fabric: `shim.ERROR`).
const ERROR: i32 = 500;

/// What a proposal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A channel: what comes of it may go into a block.
    Channel,
    /// The peer itself: nothing is signed.
    Peer,
}

/// What a simulation came to.
pub(crate) struct Simulated {
    pub(crate) response: protos::Response,
    /// The encoded read/write set; empty where nothing was simulated.
    pub(crate) results: Bytes,
    pub(crate) event: Option<protos::ChaincodeEvent>,
    pub(crate) chaincode: ChaincodeName,
    pub(crate) interest: Option<protos::ChaincodeInterest>,
}

impl Simulated {
    /// The bytes that an endorser signs.
    fn payload(&self, proposal_hash: Digest) -> Bytes {
        // An answer that is an error carries no event.
        let event = self.event.as_ref().filter(|_| self.response.status < ERROR_THRESHOLD);
        let action = protos::ChaincodeAction {
            results: self.results.clone(),
            events: event.map(|event| event.encode_to_vec().into()).unwrap_or_default(),
            response: Some(self.response.clone()),
            chaincode_id: Some(self.chaincode.clone().into()),
        };
        let payload = protos::ProposalResponsePayload {
            proposal_hash: proposal_hash.to_bytes(),
            extension: action.encode_to_vec().into(),
        };
        payload.encode_to_vec().into()
    }

    /// The answer to the client, signed where it is to be.
    pub(crate) fn endorse(
        self,
        proposal_hash: Digest,
        scope: Scope,
        signer: &SigningIdentity,
    ) -> Result<protos::ProposalResponse, SignError> {
        let status = self.response.status;
        if status < ERROR && (scope == Scope::Peer || status >= ERROR_THRESHOLD) {
            return Ok(protos::ProposalResponse { response: Some(self.response), ..Default::default() });
        }
        let payload = self.payload(proposal_hash);
        let mut answer =
            protos::ProposalResponse { response: Some(self.response), interest: self.interest, ..Default::default() };
        if status < ERROR {
            let endorser = signer.identity().raw.clone();
            let signature = signer.sign(&[payload.as_ref(), endorser.as_ref()].concat())?;
            answer.version = 1;
            answer.endorsement = Some(protos::Endorsement { endorser, signature });
        }
        answer.payload = payload;
        Ok(answer)
    }
}

/// The answer when the peer itself, not the chaincode, has to say no.
pub(crate) fn failure(message: String) -> protos::ProposalResponse {
    protos::ProposalResponse {
        response: Some(protos::Response { status: ERROR, message, payload: Bytes::new() }),
        ..Default::default()
    }
}
