//! The service for other orderers: `orderer.Cluster/Step`. Whoever may use it is told by its TLS certificate, whose public
//! key must be that of a consenter of the channel it sends something for.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use ripstop_crypto::Certificate;
use ripstop_ordering::{Message, MessageKind, classify};
use ripstop_proto::orderer::cluster_server::{Cluster, ClusterServer};
use ripstop_proto::orderer::step_request::Payload;
use ripstop_proto::orderer::{ConsensusRequest, StepRequest, StepResponse, SubmitRequest};
use ripstop_raft::NodeId;
use ripstop_transport::{BOUNDED_BY_LISTENER, PeerInfo, in_go_words};
use ripstop_types::HeaderType;
use tonic::{Request, Response, Status, Streaming};

use crate::channel::Channel;
use crate::consensus::{Arrival, Order, OrderKind, Origin};
use crate::links::Counted;
use crate::registry::OrderingService;

const LOG: &str = "orderer.common.cluster";
const NOT_AUTHORIZED: &str = "certificate extracted from TLS connection isn't authorized";

/// The `orderer.Cluster` service.
pub struct ClusterService {
    ordering: OrderingService,
}

impl ClusterService {
    /// Takes what other orderers send for these channels.
    pub fn new(ordering: OrderingService) -> Self {
        Self { ordering }
    }

    /// The gRPC service.
    pub fn into_server(self) -> ClusterServer<Self> {
        ClusterServer::new(self)
            .max_decoding_message_size(BOUNDED_BY_LISTENER)
            .max_encoding_message_size(BOUNDED_BY_LISTENER)
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    type StepStream = BoxStream<'static, Result<StepResponse, Status>>;

    async fn step(&self, request: Request<Streaming<StepRequest>>) -> Result<Response<Self::StepStream>, Status> {
        let sender = Sender::of(&request).map_err(|text| {
            tracing::warn!(target: LOG, "Refused a stream of {}: {text}", address(&request));
            Status::unknown(text)
        })?;
        let ordering = self.ordering.clone();
        let conversation = async move {
            let streams = ordering.inner.cluster_metrics.ingress_streams.with_label_values::<&str>(&[]);
            let _stream = Counted::new(streams);
            receive(request.into_inner(), &ordering, &sender).await.err().map(Err)
        };
        // Nothing is answered: a sender learns what became of a message from the blocks.
        Ok(Response::new(stream::once(conversation).filter_map(std::future::ready).boxed()))
    }
}

fn address<T>(request: &Request<T>) -> String {
    PeerInfo::of(request).map_or_else(|| "unknown".to_owned(), |peer| peer.address().to_string())
}

/// The orderer at the other end.
struct Sender {
    /// Its name and address, for the log.
    name: String,
    /// The public key of its certificate.
    key: Bytes,
}

impl Sender {
    fn of<T>(request: &Request<T>) -> Result<Self, &'static str> {
        let der = PeerInfo::of(request).and_then(PeerInfo::certificate).ok_or("no TLS certificate sent")?;
        let certificate = Certificate::from_der(der).map_err(|_| NOT_AUTHORIZED)?;
        let name = format!("{}({})", certificate.common_name(), address(request));
        Ok(Self { name, key: certificate.public_key().spki().clone() })
    }
}

async fn receive(
    mut requests: Streaming<StepRequest>,
    ordering: &OrderingService,
    sender: &Sender,
) -> Result<(), Status> {
    tracing::debug!(target: LOG, "Connection from {}", sender.name);
    loop {
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            Ok(None) => {
                tracing::debug!(target: LOG, "{} disconnected", sender.name);
                return Ok(());
            }
            Err(status) => {
                tracing::warn!(target: LOG, "Stream read from {} failed: {}", sender.name, status.message());
                return Err(in_go_words(status));
            }
        };
        let passed_on = match request.payload {
            Some(Payload::ConsensusRequest(request)) => consensus(ordering, sender, request).await,
            Some(Payload::SubmitRequest(request)) => submit(ordering, sender, request).await,
            None => Err("message is neither a Submit nor a Consensus request".to_owned()),
        };
        passed_on.map_err(|text| {
            tracing::warn!(target: LOG, "Refused a message of {}: {text}", sender.name);
            Status::unknown(text)
        })?;
    }
}

/// The channel that something is for, and which of its consenters sent it.
fn identify(ordering: &OrderingService, sender: &Sender, channel: &str) -> Result<(Arc<Channel>, NodeId), String> {
    if channel.is_empty() {
        return Err("badly formatted message, cannot extract channel".to_owned());
    }
    let found = ordering.channel(channel).ok_or_else(|| format!("channel {channel} doesn't exist"))?;
    let node = found.shared.members.load().by_client_key(&sender.key).ok_or_else(|| NOT_AUTHORIZED.to_owned())?;
    Ok((found, node))
}

async fn consensus(ordering: &OrderingService, sender: &Sender, request: ConsensusRequest) -> Result<(), String> {
    let (channel, from) = identify(ordering, sender, &request.channel)?;
    let arrival = Arrival { from, payload: request.payload, metadata: request.metadata };
    channel.arrivals.send(arrival).await.map_err(|_| "chain is stopped".to_owned())
}

async fn submit(ordering: &OrderingService, sender: &Sender, request: SubmitRequest) -> Result<(), String> {
    let (channel, from) = identify(ordering, sender, &request.channel)?;
    let message =
        Message::parse(request.payload.unwrap_or_default()).map_err(|error| format!("bad message: {error}"))?;
    let kind = match message.envelope.channel_header.kind {
        HeaderType::Config => OrderKind::Config,
        _ => match classify(&message.envelope) {
            Ok(MessageKind::Normal) => OrderKind::Normal,
            Ok(MessageKind::ConfigUpdate) => return Err("bad message: a config update that was not processed".into()),
            Err(error) => return Err(format!("bad message: {error}")),
        },
    };
    let order = Order { message, kind, validated_at: request.last_validation_seq, origin: Origin::Consenter(from) };
    channel.orders.send(order).await.map_err(|_| "chain is stopped".to_owned())
}
