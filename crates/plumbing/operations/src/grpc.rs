use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use prometheus::IntCounterVec;
use prometheus::core::{AtomicU64, GenericCounter};
use ripstop_transport::{MessageScanner, PeerInfo};
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service;

use crate::{HistogramVec, Metrics};

/// The methods that stream in a direction; every other one is unary.
const STREAMS: [&str; 10] = [
    "/protos.Deliver/Deliver",
    "/protos.Deliver/DeliverFiltered",
    "/protos.Deliver/DeliverWithPrivateData",
    "/protos.ChaincodeSupport/Register",
    "/gateway.Gateway/ChaincodeEvents",
    "/gossip.Gossip/GossipStream",
    "/orderer.AtomicBroadcast/Broadcast",
    "/orderer.AtomicBroadcast/Deliver",
    "/orderer.Cluster/Step",
    "/orderer.ClusterNodeService/Step",
];
/// The label of calls to methods that do not exist: their names are the client's and must not become labels.
const UNKNOWN: &str = "unknown";

/// The metrics of one sort of calls, unary or streaming.
#[derive(Debug)]
struct CallMetrics {
    received: IntCounterVec,
    completed: IntCounterVec,
    duration: HistogramVec,
}

/// The metrics of gRPC servers.
#[derive(Debug)]
struct GrpcMetrics {
    unary: CallMetrics,
    stream: CallMetrics,
    messages_received: IntCounterVec,
    messages_sent: IntCounterVec,
}

impl GrpcMetrics {
    fn new(metrics: &Metrics) -> Self {
        let called = ["service", "method"];
        let answered = ["service", "method", "code"];
        let counter = |name, help| metrics.counter(name, help, &called);
        let completed = |name, help| metrics.counter(name, help, &answered);
        let duration = |name, help| metrics.histogram(name, help, &answered);
        Self {
            unary: CallMetrics {
                received: counter("grpc_server_unary_requests_received", "The number of unary requests received."),
                completed: completed("grpc_server_unary_requests_completed", "The number of unary requests completed."),
                duration: duration("grpc_server_unary_request_duration", "The time to complete a unary request."),
            },
            stream: CallMetrics {
                received: counter("grpc_server_stream_requests_received", "The number of stream requests received."),
                completed: completed(
                    "grpc_server_stream_requests_completed",
                    "The number of stream requests completed.",
                ),
                duration: duration("grpc_server_stream_request_duration", "The time to complete a stream request."),
            },
            messages_received: counter(
                "grpc_server_stream_messages_received",
                "The number of stream messages received.",
            ),
            messages_sent: counter("grpc_server_stream_messages_sent", "The number of stream messages sent."),
        }
    }
}

impl Metrics {
    /// Counts, times and logs the requests of gRPC routes.
    pub fn observe(&self, routes: Routes) -> Routes {
        let grpc = Arc::new(GrpcMetrics::new(self));
        let layer = tower::layer::layer_fn(move |inner| Observed { inner, metrics: Arc::clone(&grpc) });
        Routes::from(routes.into_axum_router().layer(layer))
    }
}

#[derive(Clone)]
struct Observed<S> {
    inner: S,
    metrics: Arc<GrpcMetrics>,
}

impl<S> Service<Request<AxumBody>> for Observed<S>
where
    S: Service<Request<AxumBody>, Response = Response<AxumBody>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<AxumBody>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let peer = request.extensions().get::<PeerInfo>().cloned();
        let mut call = Call::begin(&path, peer, Arc::clone(&self.metrics));
        let received = call.messages(&self.metrics.messages_received);
        let sent = call.messages(&self.metrics.messages_sent);
        let response = self.inner.call(request.map(|body| counted(body, received)));
        Box::pin(async move {
            let response = response.await?;
            let (parts, body) = response.into_parts();
            call.answered(&parts.headers);
            let body = counted(body, sent);
            Ok(Response::from_parts(parts, Body::new(ObservedBody { body, call })))
        })
    }
}

/// A counter of messages, for methods that exist and stream.
type Messages = Option<GenericCounter<AtomicU64>>;

/// A body whose messages are counted.
fn counted(body: AxumBody, messages: Messages) -> AxumBody {
    match messages {
        Some(messages) => AxumBody::new(CountedBody { body, scanner: MessageScanner::new(), messages }),
        None => body,
    }
}

struct CountedBody {
    body: AxumBody,
    scanner: MessageScanner,
    messages: GenericCounter<AtomicU64>,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let Self { scanner, messages, .. } = &mut *self;
            scanner.scan(data, |_| messages.inc());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One call; counted as completed, and logged, when dropped.
struct Call {
    metrics: Arc<GrpcMetrics>,
    streams: bool,
    service: String,
    method: String,
    peer: Option<PeerInfo>,
    started: Instant,
    code: Option<String>,
    /// The text of the status, where there is one.
    error: String,
}

impl Call {
    fn begin(path: &str, peer: Option<PeerInfo>, metrics: Arc<GrpcMetrics>) -> Self {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((UNKNOWN, UNKNOWN));
        Self {
            metrics,
            streams: STREAMS.contains(&path),
            service: service.replace('.', "_"),
            method: method.to_owned(),
            peer,
            started: Instant::now(),
            code: None,
            error: String::new(),
        }
    }

    /// The counter of this call's messages.
    fn messages(&self, counter: &IntCounterVec) -> Messages {
        self.streams.then(|| counter.with_label_values(&[&self.service, &self.method]))
    }

    /// Counts the call as received, once its answer's headers tell that there is such a method.
    fn answered(&mut self, headers: &HeaderMap) {
        self.take_status(headers);
        self.counters().received.with_label_values(&[&self.service, &self.method]).inc();
    }

    /// Reads the status in the headers or trailers of the answer.
    fn take_status(&mut self, headers: &HeaderMap) {
        let Some(status) = tonic::Status::from_header_map(headers) else { return };
        let code = status.code();
        self.code = Some(match code {
            tonic::Code::Ok => "OK".to_owned(),
            tonic::Code::Cancelled => "Canceled".to_owned(),
            code => format!("{code:?}"),
        });
        status.message().clone_into(&mut self.error);
        if code == tonic::Code::Unimplemented {
            UNKNOWN.clone_into(&mut self.service);
            UNKNOWN.clone_into(&mut self.method);
        }
    }

    fn counters(&self) -> &CallMetrics {
        if self.streams { &self.metrics.stream } else { &self.metrics.unary }
    }
}

impl Call {
    /// Says how the call ended, with the fields that Fabric's line has (`grpclogging`).
    fn log(&self, code: &str, elapsed: Duration) {
        let kind = if self.streams { "streaming" } else { "unary" };
        let (service, method) = (self.service.replace('_', "."), &self.method);
        let peer = self.peer.as_ref().map(|peer| peer.address().to_string()).unwrap_or_default();
        let subject = self.peer.as_ref().and_then(PeerInfo::certificate_subject);
        let subject = subject.map(|subject| format!(" grpc.peer_subject=\"{subject}\"")).unwrap_or_default();
        let error = match self.error.as_str() {
            "" => String::new(),
            error => format!(" error={error:?}"),
        };
        tracing::info!(target: "comm.grpc.server", function = "1", "{kind} call completed grpc.service={service} grpc.method={method} grpc.peer_address={peer}{subject}{error} grpc.code={code} grpc.call_duration={elapsed:?}");
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A call that the client left has no status. Fabric's peers count streams of blocks as Unknown then.
        let code =
            self.code.as_deref().unwrap_or(if self.service == "protos_Deliver" { "Unknown" } else { "Canceled" });
        let labels = [self.service.as_str(), self.method.as_str(), code];
        self.counters().completed.with_label_values(&labels).inc();
        let elapsed = self.started.elapsed();
        self.counters().duration.with_label_values(&labels).observe(elapsed.as_secs_f64());
        if tracing::enabled!(target: "comm.grpc.server", tracing::Level::INFO) {
            self.log(code, elapsed);
        }
    }
}

struct ObservedBody {
    body: AxumBody,
    call: Call,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.take_status(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A service that answers every request with one message and a status.
    async fn call(metrics: &Metrics, path: &str, status: tonic::Status) {
        let answer = |request: Request<AxumBody>| {
            let status = status.clone();
            async move {
                axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers).unwrap();
                let frames = [Frame::data(Bytes::from_static(&[0, 0, 0, 0, 1, 7])), Frame::trailers(trailers)];
                let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
                Ok::<_, Infallible>(Response::new(AxumBody::new(http_body_util::StreamBody::new(frames))))
            }
        };
        let grpc = Arc::new(GrpcMetrics::new(metrics));
        let mut observed = Observed { inner: tower::service_fn(answer), metrics: grpc };
        let two_messages = AxumBody::from(vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9]);
        let request = Request::builder().uri(path).body(two_messages).unwrap();
        let response = observed.call(request).await.unwrap();
        http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    }

    #[tokio::test]
    async fn calls_and_messages_are_counted_under_fabrics_names() {
        let metrics = Metrics::new();
        call(&metrics, "/protos.Endorser/ProcessProposal", tonic::Status::ok("")).await;
        call(&metrics, "/protos.Deliver/DeliverFiltered", tonic::Status::unknown("why")).await;
        let text = metrics.text();
        for line in [
            "grpc_server_unary_requests_completed{code=\"OK\",method=\"ProcessProposal\",service=\"protos_Endorser\"} 1",
            "grpc_server_unary_requests_received{method=\"ProcessProposal\",service=\"protos_Endorser\"} 1",
            "grpc_server_stream_requests_received{method=\"DeliverFiltered\",service=\"protos_Deliver\"} 1",
            "grpc_server_stream_messages_received{method=\"DeliverFiltered\",service=\"protos_Deliver\"} 2",
            "grpc_server_stream_messages_sent{method=\"DeliverFiltered\",service=\"protos_Deliver\"} 1",
            "grpc_server_stream_request_duration_count{code=\"Unknown\",method=\"DeliverFiltered\",service=\"protos_Deliver\"} 1",
            "# TYPE grpc_server_stream_request_duration histogram",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
