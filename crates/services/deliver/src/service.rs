use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt};
use prometheus::IntCounterVec;
use prost::Message;
use ripstop_operations::Metrics;
use ripstop_proto::protos::deliver_server::{Deliver, DeliverServer};
use ripstop_proto::{common, orderer, protos};
use ripstop_transport::{BOUNDED_BY_LISTENER, ConcurrencyLimit, PeerInfo, Permit, ServerTls, in_go_words};
use ripstop_types::{Block, Envelope};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::filtered::filtered_block;
use crate::seek::{Next, Reader, Seek};
use crate::session::{Session, check_header};
use crate::source::{BlockForm, Channels};

/// How many answers of one stream may wait for a slow client; reading stops meanwhile.
const ANSWERS_AHEAD: usize = 4;

/// Whether a request must name the client's TLS certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsBinding {
    /// Under mutual TLS: `tls_cert_hash` of the channel header must be that of the connection's certificate.
    Required,
    /// Without mutual TLS.
    NotChecked,
}

impl TlsBinding {
    /// As the TLS of the listener demands.
    pub fn of(tls: Option<&ServerTls>) -> Self {
        match tls.is_some_and(ServerTls::requires_client_certificate) {
            true => Self::Required,
            false => Self::NotChecked,
        }
    }
}

/// Whether a client whose certificate expired is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpirationCheck {
    /// Yes.
    On,
    /// No (an orderer below capability V1_1).
    Off,
}

/// How requests for blocks are judged.
#[derive(Debug, Clone)]
pub struct DeliverConfig {
    /// How far a client's clock may be off (`peer.authentication.timewindow`, `General.Authentication.TimeWindow`).
    pub time_window: Duration,
    /// Whether requests are bound to the TLS connection.
    pub binding: TlsBinding,
    /// Whether expired clients are cut off.
    pub expiration: ExpirationCheck,
    /// How many streams may be open at once.
    pub limit: ConcurrencyLimit,
}

/// One answer on a stream: a block in the wanted form, or the status that ends a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// The request ended. Only after success may another one follow on the stream.
    Status(common::Status),
    /// A block, or its header and metadata only where the client asked for that.
    Block(common::Block),
    /// A block's ids, verdicts and event names.
    Filtered(protos::FilteredBlock),
    /// A block, and of its private data what the client may read.
    WithPrivateData(protos::BlockAndPrivateData),
}

impl From<Delivery> for protos::DeliverResponse {
    fn from(delivery: Delivery) -> Self {
        use protos::deliver_response::Type;
        Self {
            r#type: Some(match delivery {
                Delivery::Status(status) => Type::Status(status.into()),
                Delivery::Block(block) => Type::Block(block),
                Delivery::Filtered(block) => Type::FilteredBlock(block),
                Delivery::WithPrivateData(block) => Type::BlockAndPrivateData(block),
            }),
        }
    }
}

impl From<Delivery> for orderer::DeliverResponse {
    /// An orderer is never asked for blocks in a peer's forms; should it be, the client learns that it cannot have them.
    fn from(delivery: Delivery) -> Self {
        use orderer::deliver_response::Type;
        Self {
            r#type: Some(match delivery {
                Delivery::Status(status) => Type::Status(status.into()),
                Delivery::Block(block) => Type::Block(block),
                Delivery::Filtered(_) | Delivery::WithPrivateData(_) => Type::Status(common::Status::BadRequest.into()),
            }),
        }
    }
}

/// Answers requests for blocks. Clones are the same service.
#[derive(Clone)]
pub struct DeliverService {
    inner: Arc<Inner>,
}

struct Inner {
    channels: Arc<dyn Channels>,
    config: DeliverConfig,
    streams_opened: IntCounterVec,
    streams_closed: IntCounterVec,
    requests_received: IntCounterVec,
    requests_completed: IntCounterVec,
    blocks_sent: IntCounterVec,
}

impl DeliverService {
    /// Serves these channels.
    pub fn new(channels: Arc<dyn Channels>, config: DeliverConfig, metrics: &Metrics) -> Self {
        let request = ["channel", "filtered", "data_type"];
        let inner = Inner {
            channels,
            config,
            streams_opened: metrics.counter(
                "deliver_streams_opened",
                "The number of GRPC streams that have been opened for the deliver service.",
                &[],
            ),
            streams_closed: metrics.counter(
                "deliver_streams_closed",
                "The number of GRPC streams that have been closed for the deliver service.",
                &[],
            ),
            requests_received: metrics.counter(
                "deliver_requests_received",
                "The number of deliver requests that have been received.",
                &request,
            ),
            requests_completed: metrics.counter(
                "deliver_requests_completed",
                "The number of deliver requests that have been completed.",
                &["channel", "filtered", "data_type", "success"],
            ),
            blocks_sent: metrics.counter(
                "deliver_blocks_sent",
                "The number of blocks sent by the deliver service.",
                &request,
            ),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Answers the requests of one stream, one after the other, with messages of type `R`. The stream ends after the first
    /// request that does not succeed, when the client ends it, or when the answers are dropped.
    ///
    /// # Errors
    /// Too many streams are open.
    pub fn deliver<R, S>(
        &self,
        requests: S,
        peer: Option<PeerInfo>,
        form: BlockForm,
    ) -> Result<ReceiverStream<Result<R, Status>>, Status>
    where
        R: From<Delivery> + Send + 'static,
        S: Stream<Item = Result<common::Envelope, Status>> + Send + Unpin + 'static,
    {
        let permit = self.inner.config.limit.enter()?;
        let (answers, receiver) = mpsc::channel(ANSWERS_AHEAD);
        let stream = OpenStream { service: Arc::clone(&self.inner), peer, form, answers, _permit: permit };
        tokio::spawn(stream.run(requests));
        Ok(ReceiverStream::new(receiver))
    }

    /// The peer's gRPC service.
    pub fn into_peer_server(self) -> DeliverServer<PeerDeliver> {
        DeliverServer::new(PeerDeliver(self))
            .max_decoding_message_size(BOUNDED_BY_LISTENER)
            .max_encoding_message_size(BOUNDED_BY_LISTENER)
    }
}

/// `protos.Deliver` on a peer.
pub struct PeerDeliver(DeliverService);

type PeerAnswers = ReceiverStream<Result<protos::DeliverResponse, Status>>;

impl PeerDeliver {
    fn answer(
        &self,
        request: Request<Streaming<common::Envelope>>,
        form: BlockForm,
    ) -> Result<Response<PeerAnswers>, Status> {
        let peer = PeerInfo::of(&request).cloned();
        self.0.deliver(request.into_inner(), peer, form).map(Response::new)
    }
}

#[tonic::async_trait]
impl Deliver for PeerDeliver {
    type DeliverStream = PeerAnswers;
    type DeliverFilteredStream = PeerAnswers;
    type DeliverWithPrivateDataStream = PeerAnswers;

    async fn deliver(&self, request: Request<Streaming<common::Envelope>>) -> Result<Response<PeerAnswers>, Status> {
        self.answer(request, BlockForm::Full)
    }

    async fn deliver_filtered(
        &self,
        request: Request<Streaming<common::Envelope>>,
    ) -> Result<Response<PeerAnswers>, Status> {
        self.answer(request, BlockForm::Filtered)
    }

    async fn deliver_with_private_data(
        &self,
        request: Request<Streaming<common::Envelope>>,
    ) -> Result<Response<PeerAnswers>, Status> {
        self.answer(request, BlockForm::WithPrivateData)
    }
}

/// One client's stream.
struct OpenStream<R> {
    service: Arc<Inner>,
    peer: Option<PeerInfo>,
    form: BlockForm,
    answers: mpsc::Sender<Result<R, Status>>,
    _permit: Permit,
}

/// The client is gone: nobody takes answers any more.
struct Gone;

impl<R: From<Delivery> + Send + 'static> OpenStream<R> {
    async fn run(self, mut requests: impl Stream<Item = Result<common::Envelope, Status>> + Send + Unpin) {
        let none: [&str; 0] = [];
        self.service.streams_opened.with_label_values(&none).inc();
        loop {
            let request = tokio::select! {
                request = requests.next() => request,
                () = self.answers.closed() => None,
            };
            let request = match request {
                Some(Ok(request)) => request,
                Some(Err(error)) => {
                    tracing::warn!(target: "common.deliver", "Error reading from {}: {}", self.address(), error.message());
                    // The client may be gone.
                    let _ = self.answers.send(Err(in_go_words(error))).await;
                    break;
                }
                None => break,
            };
            let Ok(status) = self.serve(request).await else { break };
            let sent = self.send(Delivery::Status(status)).await;
            if sent.is_err() || status != common::Status::Success {
                break;
            }
        }
        self.service.streams_closed.with_label_values(&none).inc();
    }

    async fn send(&self, delivery: Delivery) -> Result<(), Gone> {
        self.answers.send(Ok(delivery.into())).await.map_err(|_| Gone)
    }

    fn address(&self) -> String {
        self.peer.as_ref().map(|peer| peer.address().to_string()).unwrap_or_default()
    }

    /// Serves one request; returns the status that ends it.
    async fn serve(&self, request: common::Envelope) -> Result<common::Status, Gone> {
        let config = &self.service.config;
        let envelope = match Envelope::from_proto(request) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(target: "common.deliver", "error parsing envelope from {}: {error}", self.address());
                return Ok(common::Status::BadRequest);
            }
        };
        let now = SystemTime::now();
        if let Err(error) = check_header(&envelope, config.time_window, config.binding, self.peer.as_ref(), now) {
            tracing::warn!(target: "common.deliver", "error parsing envelope from {}: {error}", self.address());
            return Ok(common::Status::BadRequest);
        }
        let channel = envelope.channel_header.channel_id.clone();
        let Some(source) = self.service.channels.source(&channel) else {
            // Clients poll until a channel exists: not worth a warning.
            tracing::debug!(target: "common.deliver", "Rejecting deliver for {} because channel {channel} not found", self.address());
            return Ok(common::Status::NotFound);
        };
        let (filtered, data_type) = match self.form {
            BlockForm::Full => ("false", "block"),
            BlockForm::Filtered => ("true", "filtered_block"),
            BlockForm::WithPrivateData => ("false", "block_and_pvtdata"),
        };
        let labels = [channel.as_str(), filtered, data_type];
        self.service.requests_received.with_label_values(&labels).inc();
        let session = Session::new(Arc::clone(&source), self.form, &envelope, config.expiration);
        let completed = |success| {
            let [channel, filtered, data_type] = labels;
            self.service.requests_completed.with_label_values(&[channel, filtered, data_type, success]).inc();
        };
        let status = match self.read(&envelope, Reader::new(source), session, &labels).await {
            Ok(()) => common::Status::Success,
            Err(Ended::Gone) => {
                completed("false");
                return Err(Gone);
            }
            Err(Ended::Refused { status, why }) => {
                let answer = status.as_str_name();
                tracing::warn!(target: "common.deliver", "[channel: {channel}] {why} (client {}, answer {answer})", self.address());
                status
            }
        };
        completed(if status == common::Status::Success { "true" } else { "false" });
        Ok(status)
    }

    /// Sends the blocks of one request.
    async fn read(
        &self,
        envelope: &Envelope,
        mut reader: Reader,
        mut session: Session,
        labels: &[&str; 3],
    ) -> Result<(), Ended> {
        let seek = begin(envelope, &mut reader, &mut session)?;
        let mut number = seek.start;
        loop {
            let next = tokio::select! {
                next = reader.next(number, seek.wait) => next,
                () = self.answers.closed() => return Err(Ended::Gone),
            };
            let block = match next {
                Next::Block(block) => block,
                Next::NotReady => {
                    let why = format!("Block {number} not found, block number greater than chain length bounds");
                    return refuse(common::Status::NotFound, why);
                }
                Next::Errored => {
                    let why =
                        "Aborting deliver for request because the backing consensus implementation indicates an error";
                    return refuse(common::Status::ServiceUnavailable, why);
                }
                Next::Unreadable(why) => {
                    return refuse(common::Status::ServiceUnavailable, format!("Error reading from channel: {why}"));
                }
            };
            session.evaluate(SystemTime::now()).or_else(|error| {
                let why = format!("Client authorization revoked for deliver request: {error}");
                refuse(common::Status::Forbidden, why)
            })?;
            let delivery = match self.form {
                BlockForm::WithPrivateData => with_private_data(envelope, &reader, &seek, &block).await?,
                BlockForm::Full => Delivery::Block(seek.content_of(&block)),
                BlockForm::Filtered => filtered(&block)?,
            };
            self.send(delivery).await.map_err(|Gone| Ended::Gone)?;
            self.service.blocks_sent.with_label_values(labels).inc();
            if number == seek.stop {
                return Ok(());
            }
            number = number.next();
        }
    }
}

fn filtered(block: &Block) -> Result<Delivery, Ended> {
    filtered_block(block).map(Delivery::Filtered).or_else(|error| {
        refuse(common::Status::BadRequest, format!("Failed to generate filtered block due to: {error}"))
    })
}

/// A block with what the client may read of its private data.
async fn with_private_data(request: &Envelope, reader: &Reader, seek: &Seek, block: &Block) -> Result<Delivery, Ended> {
    let (source, number, request) = (Arc::clone(reader.source()), block.number(), request.signed_data());
    let read = tokio::task::spawn_blocking(move || source.private_data(number, &request)).await;
    let why = match read {
        Ok(Ok(found)) => {
            let (block, private_data_map) = (Some(seek.content_of(block)), found.into_iter().collect());
            return Ok(Delivery::WithPrivateData(protos::BlockAndPrivateData { block, private_data_map }));
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    refuse(common::Status::InternalServerError, format!("Error getting private data by block number {number}: {why}"))
}

/// Why a request ended before its stop block.
enum Ended {
    /// The client is gone.
    Gone,
    /// The client is told this status; the log why.
    Refused { status: common::Status, why: String },
}

fn refuse<T>(status: common::Status, why: impl Into<String>) -> Result<T, Ended> {
    Err(Ended::Refused { status, why: why.into() })
}

/// Checks a request in Fabric's order: its form, the chain, the client, its positions.
fn begin(envelope: &Envelope, reader: &mut Reader, session: &mut Session) -> Result<Seek, Ended> {
    let info = orderer::SeekInfo::decode(envelope.data.clone()).or_else(|error| {
        let why = format!("Received a signed deliver request with malformed seekInfo payload: {error}");
        refuse(common::Status::BadRequest, why)
    })?;
    if info.error_response() == orderer::seek_info::SeekErrorResponse::BestEffort {
        reader.ignore_consensus_errors();
    }
    if reader.is_errored() {
        return refuse(common::Status::ServiceUnavailable, "Rejecting deliver request because of consenter error");
    }
    session
        .evaluate(SystemTime::now())
        .or_else(|error| refuse(common::Status::Forbidden, format!("Client is not authorized: {error}")))?;
    Seek::new(&info, reader).or_else(|refusal| refuse(refusal.status(), refusal.to_string()))
}
