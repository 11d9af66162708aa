use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tonic::service::Routes;
use tower_service::Service;

use crate::counts::ConnectionCounts;
use crate::gate::ReceiveGate;
use crate::listener::{Connection, Listener, Terms};
use crate::message_limits::{Limited, MessageLimits};
use crate::status::mend_status;
use crate::tls::ServerTls;

/// How long open requests may go on after shutdown began; streams that never end are cut then.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a TLS handshake may take unless said otherwise (Fabric: `DefaultConnectionTimeout`).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many streams one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 10_000;
/// The flow-control window of a stream and of a connection: blocks of several MiB flow without waiting.
const WINDOW: u32 = 4 * 1024 * 1024;

/// When a gRPC server pings idle clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerKeepalive {
    /// After this long without activity a ping is sent.
    pub interval: Duration,
    /// A ping unanswered for this long closes the connection.
    pub timeout: Duration,
}

impl Default for ServerKeepalive {
    /// Two hours and twenty seconds (Fabric: `DefaultKeepaliveOptions`).
    fn default() -> Self {
        Self { interval: Duration::from_secs(7200), timeout: Duration::from_secs(20) }
    }
}

/// How a gRPC server treats its clients.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// When idle clients are pinged.
    pub keepalive: ServerKeepalive,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How large messages may be.
    pub messages: MessageLimits,
    /// Where connections are counted.
    pub connections: ConnectionCounts,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            keepalive: ServerKeepalive::default(),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            messages: MessageLimits::default(),
            connections: ConnectionCounts::default(),
        }
    }
}

impl From<ServerKeepalive> for ServerOptions {
    fn from(keepalive: ServerKeepalive) -> Self {
        Self { keepalive, ..Self::default() }
    }
}

/// A server stopped though nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC server stopped: {0}")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Routes that also answer gRPC's health checks: the server as a whole is healthy, services of their own are not known
/// (Fabric registers gRPC's default health server on these listeners too).
pub fn with_health(routes: Routes) -> Routes {
    routes.add_service(tonic_health::server::health_reporter().1)
}

/// Serves gRPC until `shutdown` completes; then takes no further connection and gives open requests a moment.
pub async fn serve_grpc(
    listener: Listener,
    tls: Option<ServerTls>,
    options: impl Into<ServerOptions>,
    routes: Routes,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let ServerOptions { keepalive, handshake_timeout, messages, connections } = options.into();
    let terms = Terms { handshake_timeout, counts: connections };
    let (drained, draining) = tokio::sync::oneshot::channel::<()>();
    let signal = async move {
        shutdown.await;
        drop(drained);
    };
    let serve = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(keepalive.interval))
        .http2_keepalive_timeout(Some(keepalive.timeout))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .serve_with_incoming_shutdown(guarded(routes, messages).prepare(), listener.connections(tls, terms), signal);
    let deadline = async {
        draining.await.ok();
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serve => Ok(served?),
        () = deadline => Ok(()),
    }
}

/// Routes that take and send no message above the limits, and whose refusals are in the words of Go's gRPC and not longer
/// than clients take.
fn guarded(routes: Routes, limits: MessageLimits) -> Routes {
    let receive = tower::util::MapRequestLayer::new(move |mut request: http::Request<axum::body::Body>| {
        let gate = ReceiveGate::default();
        request.extensions_mut().insert(gate.clone());
        request.map(|body| axum::body::Body::new(Limited::gated(body, limits.receive, gate)))
    });
    let answer = tower::util::MapResponseLayer::new(move |mut response: http::Response<axum::body::Body>| {
        mend_status(response.headers_mut());
        response.map(|body| axum::body::Body::new(Limited::sent(body, limits.send)))
    });
    Routes::from(routes.into_axum_router().layer(receive).layer(answer))
}

/// Serves HTTP/1.1 and HTTP/2 with an ordinary HTTP service (the operations endpoint, channel participation) until
/// `shutdown` completes. Each request carries a [`crate::PeerInfo`] extension.
pub async fn serve_http<S, B>(
    listener: Listener,
    tls: Option<ServerTls>,
    service: S,
    shutdown: impl Future<Output = ()> + Send,
) where
    S: Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let terms = Terms { handshake_timeout: HANDSHAKE_TIMEOUT, counts: ConnectionCounts::default() };
    let mut connections = listener.connections(tls, terms);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let connection = tokio::select! {
            () = &mut shutdown => return,
            next = connections.next() => match next {
                Some(Ok(connection)) => connection,
                Some(Err(_)) => continue,
                None => return,
            },
        };
        tokio::spawn(http_connection(connection, service.clone()));
    }
}

async fn http_connection<S, B>(connection: Connection, service: S)
where
    S: Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let peer = connection.peer().clone();
    let service = tower::ServiceExt::map_request(service, move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(connection), TowerToHyperService::new(service)).await {
        tracing::debug!(target: "fabhttp", "an HTTP connection ended early: {error}");
    }
}
