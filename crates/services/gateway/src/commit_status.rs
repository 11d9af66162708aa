use prost::Message;
use ripstop_channel_config::acl::Resource;
use ripstop_proto::gateway;
use ripstop_types::{SignedData, TxId};
use tonic::Status;

use crate::service::Gateway;

impl Gateway {
    /// Says how a transaction ended, waiting for it where needed.
    pub(crate) async fn status_of_commit(
        &self,
        signed: gateway::SignedCommitStatusRequest,
    ) -> Result<gateway::CommitStatusResponse, Status> {
        if signed.request.is_empty() {
            return Err(Status::invalid_argument("a commit status request is required"));
        }
        let request = gateway::CommitStatusRequest::decode(signed.request.clone())
            .map_err(|error| Status::invalid_argument(format!("invalid status request: {error}")))?;
        if request.identity.is_empty() {
            return Err(Status::invalid_argument("no identity provided"));
        }
        if request.channel_id.is_empty() {
            return Err(Status::invalid_argument("no channel ID provided"));
        }
        if request.transaction_id.is_empty() {
            return Err(Status::invalid_argument("transaction ID should not be empty"));
        }
        let signed = SignedData { identity: request.identity, message: signed.request, signature: signed.signature };
        self.check_access(Resource::GatewayCommitStatus, &request.channel_id, &signed)?;
        let ledger = self
            .ledger(&request.channel_id)
            .ok_or_else(|| Status::not_found(format!("channel not found: {}", request.channel_id)))?;
        let tx_id = TxId::new(&request.transaction_id);
        // Watch first, then look: a commit in between is not missed.
        let mut heights = ledger.heights();
        loop {
            heights.borrow_and_update();
            let found = ledger.validation_code(&tx_id).map_err(|error| Status::aborted(error.to_string()))?;
            if let Some((code, block)) = found {
                return Ok(gateway::CommitStatusResponse { result: code as i32, block_number: block.get() });
            }
            if heights.changed().await.is_err() {
                return Err(Status::aborted("unexpected close of commit notification channel"));
            }
        }
    }
}
