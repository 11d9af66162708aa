use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use ripstop_channel_config::acl::{self, Resource};
use ripstop_ledger::{Ledger, Ledgers, SnapshotRequestError};
use ripstop_msp::{Expired, LocalMsp};
use ripstop_proto::protos::snapshot_server::{Snapshot, SnapshotServer};
use ripstop_proto::{common, protos};
use ripstop_types::{BlockNumber, ChannelId, SignedData};
use tonic::{Request, Response, Status};

use crate::refusal::{Refusal, refused};

/// `protos.Snapshot`.
pub struct SnapshotService {
    ledgers: Arc<Ledgers>,
    local_msp: Arc<LocalMsp>,
}

impl SnapshotService {
    /// Serves the ledgers of a peer to the administrators of its organization.
    pub fn new(ledgers: Arc<Ledgers>, local_msp: Arc<LocalMsp>) -> Self {
        Self { ledgers, local_msp }
    }

    /// The gRPC service.
    pub fn into_server(self) -> SnapshotServer<Self> {
        SnapshotServer::new(self)
    }

    /// Who signed it, and may he?
    fn authorize(
        &self,
        resource: Resource,
        signed: &protos::SignedSnapshotRequest,
        header: Option<common::SignatureHeader>,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let creator = header.ok_or(Refusal::NoSignatureHeader)?.creator;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
        Expired::check(&creator, now)?;
        let signed =
            SignedData { identity: creator, message: signed.request.clone(), signature: signed.signature.clone() };
        Ok(acl::check(resource, None, &self.local_msp, &signed)?)
    }

    fn ledger(&self, channel: &str) -> Result<Arc<Ledger>, Refusal> {
        if channel.is_empty() {
            return Err(Refusal::NoChannel);
        }
        let ledger = ChannelId::new(channel).ok().and_then(|id| self.ledgers.get(&id));
        ledger.ok_or_else(|| Refusal::UnknownChannel(channel.to_owned()))
    }

    /// Lets whoever signed change the requests of a ledger, on a thread that may write files.
    async fn change(
        &self,
        resource: Resource,
        signed: protos::SignedSnapshotRequest,
        change: impl FnOnce(&Ledger, BlockNumber) -> Result<(), SnapshotRequestError> + Send + 'static,
    ) -> Result<(), Refusal> {
        let request = protos::SnapshotRequest::decode(signed.request.clone())?;
        self.authorize(resource, &signed, request.signature_header, SystemTime::now())?;
        let ledger = self.ledger(&request.channel_id)?;
        let block = BlockNumber::new(request.block_number);
        Ok(tokio::task::spawn_blocking(move || change(&ledger, block)).await??)
    }

    async fn pending(&self, signed: protos::SignedSnapshotRequest) -> Result<Vec<BlockNumber>, Refusal> {
        let query = protos::SnapshotQuery::decode(signed.request.clone())?;
        self.authorize(Resource::SnapshotListPending, &signed, query.signature_header, SystemTime::now())?;
        let ledger = self.ledger(&query.channel_id)?;
        Ok(tokio::task::spawn_blocking(move || ledger.pending_snapshots()).await?)
    }
}

#[tonic::async_trait]
impl Snapshot for SnapshotService {
    async fn generate(&self, request: Request<protos::SignedSnapshotRequest>) -> Result<Response<()>, Status> {
        self.change(Resource::SnapshotSubmitRequest, request.into_inner(), Ledger::request_snapshot)
            .await
            .map_err(refused)?;
        Ok(Response::new(()))
    }

    async fn cancel(&self, request: Request<protos::SignedSnapshotRequest>) -> Result<Response<()>, Status> {
        self.change(Resource::SnapshotCancelRequest, request.into_inner(), Ledger::cancel_snapshot)
            .await
            .map_err(refused)?;
        Ok(Response::new(()))
    }

    async fn query_pendings(
        &self,
        request: Request<protos::SignedSnapshotRequest>,
    ) -> Result<Response<protos::QueryPendingSnapshotsResponse>, Status> {
        let pending = self.pending(request.into_inner()).await.map_err(refused)?;
        let block_numbers = pending.into_iter().map(BlockNumber::get).collect();
        Ok(Response::new(protos::QueryPendingSnapshotsResponse { block_numbers }))
    }
}
