use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, BoxStream};
use ripstop_deliver::{BlockForm, DeliverService};
use ripstop_ordering::{Message, MessageKind, check_normal, classify};
use ripstop_policy::Reader;
use ripstop_proto::common::{self, Status as BroadcastStatus};
use ripstop_proto::orderer::atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer};
use ripstop_proto::orderer::{BroadcastResponse, DeliverResponse};
use ripstop_transport::{BOUNDED_BY_LISTENER, PeerInfo, in_go_words};
use ripstop_types::{ChannelHeader, EnvelopeError, HeaderType};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::channel::Channel;
use crate::consensus::{Order, OrderKind, Origin};
use crate::error::OrderError;
use crate::metrics::BroadcastMetrics;
use crate::produce::{ProduceError, Producer, expiration};
use crate::registry::OrderingService;
use crate::run::unix_now;
use crate::throttle::{Throttle, Throttled};

const LOG: &str = "orderer.common.broadcast";
/// How many messages of one stream may wait for their answer, among several consenters until their block is agreed on;
/// reading stops meanwhile. Two blocks of Fabric's usual size fit in.
const ANSWERS_AHEAD: usize = 1024;

/// The `orderer.AtomicBroadcast` service.
pub struct AtomicBroadcastService {
    ordering: OrderingService,
    deliver: DeliverService,
    throttle: Option<Arc<Throttle>>,
}

impl AtomicBroadcastService {
    /// Takes messages for these channels, and serves their blocks through `deliver`.
    pub fn new(ordering: OrderingService, deliver: DeliverService) -> Self {
        Self { ordering, deliver, throttle: None }
    }

    /// Slows clients down.
    pub fn throttled(self, throttle: Throttle) -> Self {
        Self { throttle: Some(Arc::new(throttle)), ..self }
    }

    /// The gRPC service.
    pub fn into_server(self) -> AtomicBroadcastServer<Self> {
        AtomicBroadcastServer::new(self)
            .max_decoding_message_size(BOUNDED_BY_LISTENER)
            .max_encoding_message_size(BOUNDED_BY_LISTENER)
    }
}

#[tonic::async_trait]
impl AtomicBroadcast for AtomicBroadcastService {
    type BroadcastStream = BoxStream<'static, Result<BroadcastResponse, Status>>;
    type DeliverStream = ReceiverStream<Result<DeliverResponse, Status>>;

    async fn broadcast(
        &self,
        request: Request<Streaming<common::Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        let client = PeerInfo::of(&request).map_or_else(|| "unknown".to_owned(), |peer| peer.address().to_string());
        let (answers, receiver) = mpsc::channel(ANSWERS_AHEAD);
        let ordering = self.ordering.clone();
        let throttle = self.throttle.clone().zip(PeerInfo::of(&request).and_then(Throttled::of));
        tokio::spawn(read(request.into_inner(), ordering, client, throttle, answers));
        Ok(Response::new(Box::pin(answer_stream(receiver))))
    }

    async fn deliver(
        &self,
        request: Request<Streaming<common::Envelope>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let peer = PeerInfo::of(&request).cloned();
        self.deliver.deliver(request.into_inner(), peer, BlockForm::Full).map(Response::new)
    }
}

/// Reads messages and passes them on one after the other. Only waiting for the disk overlaps: a message is not looked at
/// before the one before it passed the filters.
async fn read(
    mut requests: Streaming<common::Envelope>,
    ordering: OrderingService,
    client: String,
    throttle: Option<(Arc<Throttle>, Throttled)>,
    answers: mpsc::Sender<Result<Answer, Status>>,
) {
    loop {
        let request = tokio::select! {
            request = requests.message() => request,
            () = answers.closed() => return,
        };
        let envelope = match request {
            Ok(Some(envelope)) => envelope,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(target: LOG, "Error reading from {client}: {}", error.message());
                // The client may be gone.
                let _ = answers.send(Err(in_go_words(error))).await;
                return;
            }
        };
        if let Some((throttle, whose)) = &throttle {
            throttle.wait(whose).await;
        }
        let answer = ordering.process(envelope, &client).await;
        let refused = matches!(answer.outcome, Outcome::Known(_));
        if answers.send(Ok(answer)).await.is_err() || refused {
            return;
        }
    }
}

/// One response for each message, in order; nothing after the first that does not succeed or could not be read.
fn answer_stream(
    receiver: mpsc::Receiver<Result<Answer, Status>>,
) -> impl stream::Stream<Item = Result<BroadcastResponse, Status>> + Send + 'static {
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        let response = match receiver.recv().await? {
            Ok(answer) => answer.response().await,
            Err(status) => return Some((Err(status), None)),
        };
        let goes_on = response.status() == BroadcastStatus::Success;
        Some((Ok(response), goes_on.then_some(receiver)))
    })
}

/// What a client is going to be answered.
pub(crate) struct Answer {
    outcome: Outcome,
    record: Record,
}

enum Outcome {
    /// A refusal.
    Known(BroadcastResponse),
    /// Passed on to consensus.
    Ordered { verdict: oneshot::Receiver<Result<(), OrderError>>, since: Instant },
}

impl Answer {
    pub(crate) async fn response(self) -> BroadcastResponse {
        let (response, enqueued) = match self.outcome {
            Outcome::Known(response) => (response, None),
            Outcome::Ordered { verdict, since } => {
                let verdict = verdict.await.unwrap_or(Err(OrderError::Stopped));
                let response = match verdict {
                    Ok(()) => BroadcastResponse { status: BroadcastStatus::Success.into(), info: String::new() },
                    Err(error) => {
                        let (channel, client) = (&self.record.channel, &self.record.client);
                        tracing::warn!(target: LOG, "[channel: {channel}] Rejecting broadcast of message from {client} with {}: rejected by Order: {error}", error.status().as_str_name());
                        BroadcastResponse { status: error.status().into(), info: error.to_string() }
                    }
                };
                (response, Some(since))
            }
        };
        self.record.count(response.status(), enqueued);
        response
    }
}

/// What metrics and log need to know of a message.
struct Record {
    client: String,
    channel: String,
    kind: &'static str,
    begun: Instant,
    validated: Instant,
    metrics: BroadcastMetrics,
}

impl Record {
    fn count(&self, status: BroadcastStatus, enqueued: Option<Instant>) {
        let labels = [self.channel.as_str(), self.kind, status.as_str_name()];
        self.metrics.processed.with_label_values(&labels).inc();
        let validated = self.validated.duration_since(self.begun);
        self.metrics.validate.with_label_values(&labels).observe(validated.as_secs_f64());
        if let Some(since) = enqueued {
            self.metrics.enqueue.with_label_values(&labels).observe(since.elapsed().as_secs_f64());
        }
    }
}

fn kind_name(header: &ChannelHeader) -> &'static str {
    match header.kind {
        HeaderType::Message => "MESSAGE",
        HeaderType::Config => "CONFIG",
        HeaderType::ConfigUpdate => "CONFIG_UPDATE",
        HeaderType::EndorserTransaction => "ENDORSER_TRANSACTION",
        HeaderType::OrdererTransaction => "ORDERER_TRANSACTION",
        HeaderType::DeliverSeekInfo => "DELIVER_SEEK_INFO",
        HeaderType::ChaincodePackage => "CHAINCODE_PACKAGE",
        HeaderType::Unknown(_) => "unknown",
    }
}

/// Why an envelope cannot be read, as Fabric says it.
fn in_words(error: &EnvelopeError) -> String {
    match error {
        EnvelopeError::Envelope(error) | EnvelopeError::Payload(error) => {
            format!("error unmarshalling Payload: {error}")
        }
        EnvelopeError::NoHeader => "header not set".into(),
        EnvelopeError::ChannelHeader(error) => format!("error unmarshalling channel header: {error}"),
        EnvelopeError::SignatureHeader(error) => format!("could not convert message to signedData: {error}"),
    }
}

/// A refusal on the way to consensus.
struct Rejection {
    status: BroadcastStatus,
    info: String,
}

impl OrderingService {
    /// Finds the channel, checks the message and passes it to consensus.
    pub(crate) async fn process(&self, envelope: common::Envelope, client: &str) -> Answer {
        let begun = Instant::now();
        let mut record = Record {
            client: client.to_owned(),
            channel: "unknown".into(),
            kind: "unknown",
            begun,
            validated: begun,
            metrics: self.inner.broadcast.clone(),
        };
        let checked = self.check(envelope, &mut record);
        record.validated = Instant::now();
        let outcome = match checked {
            Ok((channel, order)) => submit(&channel, order).await,
            Err(rejection) => {
                Outcome::Known(BroadcastResponse { status: rejection.status.into(), info: rejection.info })
            }
        };
        Answer { outcome, record }
    }

    fn check(&self, envelope: common::Envelope, record: &mut Record) -> Result<(Arc<Channel>, Accepted), Rejection> {
        let client = record.client.clone();
        let unprocessable = |channel: &str, info: String| {
            tracing::warn!(target: LOG, "[channel: {channel}] Could not get message processor for serving {client}: {info}");
            Rejection { status: BroadcastStatus::BadRequest, info }
        };
        let message = Message::parse(envelope).map_err(|error| {
            unprocessable("unknown", format!("could not determine channel ID: {}", in_words(&error)))
        })?;
        let header = &message.envelope.channel_header;
        let channel = self
            .channel(&header.channel_id)
            .ok_or_else(|| unprocessable(&header.channel_id, "channel does not exist".into()))?;
        record.channel.clone_from(&header.channel_id);
        record.kind = kind_name(header);
        match classify(&message.envelope).map_err(|error| unprocessable(&record.channel, error.to_string()))? {
            MessageKind::Normal => {
                let config = channel.shared.config.load_full();
                let expiration = expiration(self.inner.config.expiration, unix_now());
                check_normal(&config, &message.envelope, expiration).map_err(|refusal| {
                    tracing::warn!(target: LOG, "[channel: {}] Rejecting broadcast of normal message from {client} because of error: {}", record.channel, refusal.text(Reader::Member));
                    Rejection { status: refusal.status(), info: refusal.to_string() }
                })?;
                Ok((channel, Accepted { message, kind: OrderKind::Normal, validated_at: config.sequence() }))
            }
            MessageKind::ConfigUpdate => {
                let accepted = self.produce(&channel, &message).map_err(|error| {
                    tracing::warn!(target: LOG, "[channel: {}] Rejecting broadcast of config message from {client} because of error: {}", record.channel, error.text(Reader::Member));
                    Rejection { status: error.status(), info: error.to_string() }
                })?;
                Ok((channel, accepted))
            }
        }
    }

    /// Makes the configuration transaction of an update.
    fn produce(&self, channel: &Channel, update: &Message) -> Result<Accepted, ProduceError> {
        let config = channel.shared.config.load_full();
        let consenters = channel.shared.consenters.load_full();
        let producer = Producer {
            signer: &self.inner.signer,
            expired: self.inner.config.expiration,
            consenters: &consenters,
            active: &channel.shared.active.load(),
            now: unix_now(),
        };
        let message = producer.produce(&config, &update.envelope)?;
        Ok(Accepted { message, kind: OrderKind::Config, validated_at: config.sequence() })
    }

    /// Checks and orders a configuration update; completes when it is in an agreed block.
    pub(crate) async fn order_update(&self, channel: &Channel, update: &Message) -> Result<(), String> {
        let accepted = self.produce(channel, update).map_err(|error| error.to_string())?;
        match submit(channel, accepted).await {
            Outcome::Known(response) => Err(response.info),
            Outcome::Ordered { verdict, .. } => {
                verdict.await.unwrap_or(Err(OrderError::Stopped)).map_err(|error| error.to_string())
            }
        }
    }
}

/// A message that passed the filters.
struct Accepted {
    message: Message,
    kind: OrderKind,
    validated_at: u64,
}

async fn submit(channel: &Channel, accepted: Accepted) -> Outcome {
    let (answer, verdict) = oneshot::channel();
    let Accepted { message, kind, validated_at } = accepted;
    let since = Instant::now();
    // When consensus has stopped nobody takes the order, and the dropped sender says so.
    let _ = channel.orders.send(Order { message, kind, validated_at, origin: Origin::Client(answer) }).await;
    Outcome::Ordered { verdict, since }
}
