use std::pin::Pin;

use ripstop_proto::protos::ChaincodeMessage;
use ripstop_proto::protos::chaincode_support_server::{ChaincodeSupport, ChaincodeSupportServer};
use ripstop_transport::{BOUNDED_BY_LISTENER, PeerInfo};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::connection;
use crate::host::ChaincodeHost;
use crate::outbound;
use crate::registry::Expected;

/// The service on which chaincode registers that dials the peer.
#[derive(Clone)]
pub struct RegistrationService {
    host: ChaincodeHost,
}

impl RegistrationService {
    pub(crate) fn new(host: ChaincodeHost) -> Self {
        Self { host }
    }

    /// As a gRPC service for a server's routes.
    pub fn into_grpc(self) -> ChaincodeSupportServer<Self> {
        ChaincodeSupportServer::new(self)
            .max_decoding_message_size(BOUNDED_BY_LISTENER)
            .max_encoding_message_size(BOUNDED_BY_LISTENER)
    }
}

#[tonic::async_trait]
impl ChaincodeSupport for RegistrationService {
    type RegisterStream = Pin<Box<dyn Stream<Item = Result<ChaincodeMessage, Status>> + Send>>;

    async fn register(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::RegisterStream>, Status> {
        let (outbound, queued) = outbound::channel();
        let (end, ended) = mpsc::channel(1);
        let host = self.host.clone();
        let expected = Expected::Anyone { certificate: PeerInfo::of(&request).and_then(PeerInfo::certificate_hash) };
        tokio::spawn(async move {
            let reason = connection::serve(host, expected, request.into_inner(), outbound).await;
            // The chaincode reads this as the status of its stream.
            end.send(Err(Status::unknown(reason))).await.ok();
        });
        let messages = queued.map(|queued| Ok(queued.into_message()));
        Ok(Response::new(Box::pin(messages.merge(ReceiverStream::new(ended)))))
    }
}
