//! Chaincodes that are part of the peer.

mod channels;
mod definitions;
mod ledgers;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::protos::{self, ChaincodeMessage, chaincode_message::Type};

use crate::call::Call;
use crate::error::Refusal;
use crate::host::ChaincodeHost;
use crate::protocol::message;

/// The status of an answer that worked.
const OK: i32 = 200;
/// The status of an answer about something that does not exist.
const NOT_FOUND: i32 = 404;
/// The status of an answer that did not work.
const ERROR: i32 = 500;

/// What a system chaincode is called with.
struct SystemCall {
    host: ChaincodeHost,
    call: Arc<Call>,
    args: Vec<Bytes>,
}

type Answer = Result<Bytes, Refusal>;

/// Calls a system chaincode on a thread that may block, and gives its answer as any chaincode's.
pub(crate) async fn call(host: ChaincodeHost, call: Arc<Call>, name: String, args: Vec<Bytes>) -> ChaincodeMessage {
    let disabled = host.options().disabled.contains(&name);
    let request = SystemCall { host, call, args };
    let answered = tokio::task::spawn_blocking(move || match name.as_str() {
        _ if disabled => Err(Refusal::Failed(format!(
            "system chaincode {name} is switched off on this peer; its operator enables it by chaincode.system.{name} in core.yaml"
        ))),
        ripstop_lifecycle::NAMESPACE => definitions::answer(&request),
        "cscc" => channels::answer(&request),
        "qscc" => ledgers::answer(&request),
        other => Err(Refusal::Failed(format!(
            "{other} served channels below capability V2_0, which this peer does not; use _lifecycle"
        ))),
    })
    .await
    .unwrap_or_else(|error| Err(Refusal::Failed(format!("the system chaincode panicked: {error}"))));
    let response = match answered {
        Ok(payload) => protos::Response { status: OK, message: String::new(), payload },
        Err(refusal) => {
            let status = match refusal {
                Refusal::NotFound(_) => NOT_FOUND,
                Refusal::Failed(_) => ERROR,
            };
            protos::Response { status, message: refusal.to_string(), payload: Bytes::new() }
        }
    };
    message(Type::Completed, response.encode_to_vec().into())
}

/// An argument as text; what is no text is shown as far as it is.
fn text(argument: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(argument)
}
