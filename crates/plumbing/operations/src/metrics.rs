use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use ripstop_transport::PeerInfo;
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service;

/// The upper bounds of histograms, in seconds (Prometheus' defaults, which Fabric uses).
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of a node. Clones are the same registry. Ask for each metric once and keep it.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    grpc: Arc<GrpcMetrics>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The metrics of one sort of calls, unary or streaming.
#[derive(Debug)]
struct CallMetrics {
    received: IntCounterVec,
    completed: IntCounterVec,
    duration: HistogramVec,
}

#[derive(Debug)]
struct GrpcMetrics {
    unary: CallMetrics,
    stream: CallMetrics,
}

impl Metrics {
    /// A registry with the metrics of the gRPC server.
    pub fn new() -> Self {
        let registry = Registry::new();
        let called = ["service", "method"];
        let answered = ["service", "method", "code"];
        let unary = CallMetrics {
            received: counter_in(
                &registry,
                "grpc_server_unary_requests_received",
                "The number of unary requests received.",
                &called,
            ),
            completed: counter_in(
                &registry,
                "grpc_server_unary_requests_completed",
                "The number of unary requests completed.",
                &answered,
            ),
            duration: histogram_in(
                &registry,
                "grpc_server_unary_request_duration",
                "The time to complete a unary request.",
                &answered,
            ),
        };
        let stream = CallMetrics {
            received: counter_in(
                &registry,
                "grpc_server_stream_requests_received",
                "The number of stream requests received.",
                &called,
            ),
            completed: counter_in(
                &registry,
                "grpc_server_stream_requests_completed",
                "The number of stream requests completed.",
                &answered,
            ),
            duration: histogram_in(
                &registry,
                "grpc_server_stream_request_duration",
                "The time to complete a stream request.",
                &answered,
            ),
        };
        Self { registry, grpc: Arc::new(GrpcMetrics { unary, stream }) }
    }

    /// A counter with these labels. Names are Fabric's, such as `deliver_blocks_sent`.
    pub fn counter(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        counter_in(&self.registry, name, help, labels)
    }

    /// A gauge with these labels.
    pub fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let gauge =
            IntGaugeVec::new(Opts::new(name, help), labels).expect("the name and labels are constants of the code");
        self.registry.register(Box::new(gauge.clone())).ok();
        gauge
    }

    /// A histogram of seconds with these labels.
    pub fn histogram(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        histogram_in(&self.registry, name, help, labels)
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    /// Counts and times the requests of gRPC routes.
    pub fn observe(&self, routes: Routes) -> Routes {
        let grpc = Arc::clone(&self.grpc);
        let layer = tower::layer::layer_fn(move |inner| Observed { inner, metrics: Arc::clone(&grpc) });
        Routes::from(routes.into_axum_router().layer(layer))
    }
}

fn counter_in(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counter =
        IntCounterVec::new(Opts::new(name, help), labels).expect("the name and labels are constants of the code");
    registry.register(Box::new(counter.clone())).ok();
    counter
}

fn histogram_in(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    let histogram = HistogramVec::new(options, labels).expect("the name and labels are constants of the code");
    registry.register(Box::new(histogram.clone())).ok();
    histogram
}

/// The methods that stream in a direction; every other one is unary.
const STREAMS: [&str; 9] = [
    "/protos.Deliver/Deliver",
    "/protos.Deliver/DeliverFiltered",
    "/protos.Deliver/DeliverWithPrivateData",
    "/protos.ChaincodeSupport/Register",
    "/gateway.Gateway/ChaincodeEvents",
    "/gossip.Gossip/GossipStream",
    "/orderer.AtomicBroadcast/Broadcast",
    "/orderer.AtomicBroadcast/Deliver",
    "/orderer.Cluster/Step",
];
/// The label of calls to methods that do not exist: their names are the client's and must not become labels.
const UNKNOWN: &str = "unknown";

#[derive(Clone)]
struct Observed<S> {
    inner: S,
    metrics: Arc<GrpcMetrics>,
}

impl<S, B> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<axum::body::Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let peer = request.extensions().get::<PeerInfo>().map(|peer| peer.address().to_string());
        let started = Instant::now();
        let metrics = Arc::clone(&self.metrics);
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            let (parts, body) = response.into_parts();
            let mut call = Call::begin(&path, peer, metrics, started, status(&parts.headers));
            if call.code.as_deref() == Some("Unimplemented") {
                call.forget_names();
            }
            Ok(Response::from_parts(parts, Body::new(ObservedBody { body, call })))
        })
    }
}

/// One call; counted as completed when dropped.
struct Call {
    metrics: Arc<GrpcMetrics>,
    streams: bool,
    service: String,
    method: String,
    /// The client's address.
    peer: Option<String>,
    started: Instant,
    code: Option<String>,
}

impl Call {
    fn begin(
        path: &str,
        peer: Option<String>,
        metrics: Arc<GrpcMetrics>,
        started: Instant,
        code: Option<String>,
    ) -> Self {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((UNKNOWN, UNKNOWN));
        let call = Self {
            metrics,
            streams: STREAMS.contains(&path),
            service: service.replace('.', "_"),
            method: method.to_owned(),
            peer,
            started,
            code,
        };
        if call.code.as_deref() != Some("Unimplemented") {
            call.counters().received.with_label_values(&[&call.service, &call.method]).inc();
        }
        call
    }

    fn forget_names(&mut self) {
        UNKNOWN.clone_into(&mut self.service);
        UNKNOWN.clone_into(&mut self.method);
    }

    fn counters(&self) -> &CallMetrics {
        if self.streams { &self.metrics.stream } else { &self.metrics.unary }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A stream that the client left has no status: Fabric counts it as Unknown or Canceled.
        let code = self.code.as_deref().unwrap_or("Canceled");
        let labels = [self.service.as_str(), self.method.as_str(), code];
        self.counters().completed.with_label_values(&labels).inc();
        let elapsed = self.started.elapsed();
        self.counters().duration.with_label_values(&labels).observe(elapsed.as_secs_f64());
        tracing::info!(
            target: "comm.grpc.server",
            function = "1",
            "{} call completed grpc.service={} grpc.method={} grpc.peer_address={} grpc.code={code} grpc.call_duration={elapsed:?}",
            if self.streams { "streaming" } else { "unary" },
            self.service.replace('_', "."),
            self.method,
            self.peer.as_deref().unwrap_or("")
        );
    }
}

struct ObservedBody {
    body: axum::body::Body,
    call: Call,
}

impl http_body::Body for ObservedBody {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.code = status(trailers);
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

/// The name of a gRPC status in headers or trailers, as Go names it.
fn status(headers: &HeaderMap) -> Option<String> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse::<i32>().ok()?;
    let code = tonic::Code::from_i32(code);
    Some(if code == tonic::Code::Ok { "OK".to_owned() } else { format!("{code:?}") }.replace("Cancelled", "Canceled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_under_fabrics_names() {
        let metrics = Metrics::new();
        let call = |path: &str, code: Option<&str>| {
            drop(Call::begin(path, None, Arc::clone(&metrics.grpc), Instant::now(), code.map(str::to_owned)));
        };
        call("/protos.Endorser/ProcessProposal", Some("OK"));
        call("/protos.Deliver/DeliverFiltered", None);
        let text = metrics.text();
        for line in [
            "grpc_server_unary_requests_completed{code=\"OK\",method=\"ProcessProposal\",service=\"protos_Endorser\"} 1",
            "grpc_server_stream_requests_received{method=\"DeliverFiltered\",service=\"protos_Deliver\"} 1",
            "# TYPE grpc_server_stream_request_duration histogram",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }
}
