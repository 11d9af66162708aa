use prost::Message;
use ripstop_proto::{gateway, protos};
use ripstop_transport::describe_failure;
use tonic::{Code, Status};

use crate::endorser::Location;

/// What a peer says when its chaincode went away in the middle of a call (Fabric: `chaincode.ErrorStreamTerminated`).
const STREAM_TERMINATED: &str = "chaincode stream terminated";

/// `google.rpc.Status`, which travels in the header `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// A status with a detail for each peer or orderer that refused.
pub(crate) fn with_details(code: Code, message: impl Into<String>, details: Vec<gateway::ErrorDetail>) -> Status {
    let message = message.into();
    if details.is_empty() {
        return Status::new(code, message);
    }
    let details = details
        .into_iter()
        .map(|detail| prost_types::Any {
            type_url: "type.googleapis.com/gateway.ErrorDetail".to_owned(),
            value: detail.encode_to_vec(),
        })
        .collect();
    let status = RpcStatus { code: code.into(), message: message.clone(), details };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// Why an endorser's answer is no endorsement, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndorserRefusal {
    /// The code for the application, where this refusal ends the call.
    pub(crate) code: Code,
    /// The words for the detail.
    pub(crate) message: String,
    /// Whether another peer might answer otherwise.
    pub(crate) retry: bool,
    /// Whether the connection should be given up.
    pub(crate) disconnect: bool,
}

/// Judges an endorser's answer (Fabric: `responseStatus` of `internal/pkg/gateway`).
pub(crate) fn judge(
    answer: Result<protos::ProposalResponse, Status>,
    location: Location,
) -> Result<protos::ProposalResponse, EndorserRefusal> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(status) if location == Location::Local => {
            let message = status.message().to_owned();
            return Err(EndorserRefusal { code: Code::FailedPrecondition, message, retry: false, disconnect: false });
        }
        Err(status) => {
            let message = describe_failure(&status);
            return Err(EndorserRefusal { code: Code::Unavailable, message, retry: true, disconnect: true });
        }
    };
    let response = answer.response.clone().unwrap_or_default();
    if (200..400).contains(&response.status) {
        return Ok(answer);
    }
    if answer.payload.is_empty() && response.status == 500 {
        // The peer speaks, not the chaincode: another peer may do better.
        let disconnect = response.message.ends_with(STREAM_TERMINATED);
        return Err(EndorserRefusal { code: Code::Aborted, message: response.message, retry: true, disconnect });
    }
    let message = format!("chaincode response {}, {}", response.status, response.message);
    Err(EndorserRefusal { code: Code::Unknown, message, retry: false, disconnect: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: i32, payload: &'static [u8], message: &str) -> Result<protos::ProposalResponse, Status> {
        let response = protos::Response { status, message: message.to_owned(), ..Default::default() };
        Ok(protos::ProposalResponse { response: Some(response), payload: payload.into(), ..Default::default() })
    }

    #[test]
    fn answers_are_judged_as_fabric_judges_them() {
        assert!(judge(answer(200, b"p", ""), Location::Remote).is_ok());
        let refusal = |answer, location| {
            let refusal = judge(answer, location).unwrap_err();
            (refusal.code, refusal.message, refusal.retry, refusal.disconnect)
        };
        let peer = refusal(answer(500, b"", "error in simulation: no"), Location::Remote);
        assert_eq!(peer, (Code::Aborted, "error in simulation: no".to_owned(), true, false));
        let gone = refusal(answer(500, b"", "txid: abc: chaincode stream terminated"), Location::Remote);
        assert_eq!((gone.2, gone.3), (true, true));
        let chaincode = refusal(answer(500, b"p", "no such asset"), Location::Local);
        assert_eq!(chaincode, (Code::Unknown, "chaincode response 500, no such asset".to_owned(), false, false));
        let local = refusal(Err(Status::unknown("access denied")), Location::Local);
        assert_eq!(local, (Code::FailedPrecondition, "access denied".to_owned(), false, false));
        let remote = refusal(Err(Status::unavailable("down")), Location::Remote);
        assert_eq!(remote, (Code::Unavailable, "rpc error: code = Unavailable desc = down".to_owned(), true, true));
    }

    #[test]
    fn details_travel_as_google_rpc_status() {
        let detail = gateway::ErrorDetail {
            address: "peer0:7051".to_owned(),
            msp_id: "Org1MSP".to_owned(),
            message: "no".to_owned(),
        };
        let status = with_details(Code::Aborted, "failed", vec![detail.clone()]);
        let decoded = RpcStatus::decode(status.details()).unwrap();
        assert_eq!((decoded.code, decoded.message.as_str()), (10, "failed"));
        assert_eq!(gateway::ErrorDetail::decode(decoded.details[0].value.as_slice()), Ok(detail));
    }
}
