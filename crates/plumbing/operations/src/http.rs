use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use parking_lot::RwLock;
use ripstop_transport::{Listener, PeerInfo, ServerTls, serve_http};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{LogControl, Metrics};

/// The largest body of a request to this endpoint, in bytes.
const MAX_BODY: usize = 64 * 1024;

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What must hold for the node to be healthy. Clones share their checks.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<RwLock<BTreeMap<String, Check>>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.checks.read().keys()).finish()
    }
}

impl Health {
    /// Adds or replaces the check of a component. It must answer at once; its error says what is wrong.
    pub fn register(&self, component: &str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.checks.write().insert(component.to_owned(), Box::new(check));
    }

    fn failures(&self) -> Vec<(String, String)> {
        let checks = self.checks.read();
        checks.iter().filter_map(|(name, check)| check().err().map(|reason| (name.clone(), reason))).collect()
    }
}

/// What a node says it is.
#[derive(Debug, Clone)]
pub struct Version {
    /// The release.
    pub version: String,
    /// The commit it was built from; empty when not known.
    pub commit: String,
}

/// The operations endpoint: `/healthz`, `/version`, `/logspec` and, where metrics are pulled, `/metrics`.
#[derive(Debug, Clone)]
pub struct Operations {
    /// The checks behind `/healthz`.
    pub health: Health,
    /// The answer of `/version`.
    pub version: Version,
    /// The logging behind `/logspec`.
    pub logging: LogControl,
    /// The metrics behind `/metrics`; none when the configured provider is not `prometheus`.
    pub metrics: Option<Metrics>,
}

impl Operations {
    /// Serves until `shutdown` completes. With TLS, `/logspec` and `/metrics` want a client certificate, as in Fabric.
    pub async fn serve(self, listener: Listener, tls: Option<ServerTls>, shutdown: impl Future<Output = ()> + Send) {
        let secured = tls.is_some();
        serve_http(listener, tls, self.router(secured), shutdown).await;
    }

    fn router(self, secured: bool) -> Router {
        let mut admin = Router::new().route("/logspec", any(logspec));
        if self.metrics.is_some() {
            admin = admin.route("/metrics", get(metrics));
        }
        if secured {
            admin = admin.route_layer(axum::middleware::from_fn(require_certificate));
        }
        Router::new()
            .route("/healthz", get(healthz))
            .route("/version", get(version))
            .merge(admin)
            .with_state(Arc::new(self))
    }
}

async fn require_certificate(request: Request, next: axum::middleware::Next) -> Response {
    let known = request.extensions().get::<PeerInfo>().is_some_and(|peer| peer.certificate().is_some());
    if known { next.run(request).await } else { StatusCode::UNAUTHORIZED.into_response() }
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

async fn healthz(State(operations): State<Arc<Operations>>) -> Response {
    let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let failures = operations.health.failures();
    if failures.is_empty() {
        return json_response(StatusCode::OK, &json!({"status": "OK", "time": time}));
    }
    let failed: Vec<_> =
        failures.into_iter().map(|(component, reason)| json!({"component": component, "reason": reason})).collect();
    let body = json!({"status": "Service Unavailable", "time": time, "failed_checks": failed});
    json_response(StatusCode::SERVICE_UNAVAILABLE, &body)
}

async fn version(State(operations): State<Arc<Operations>>) -> Response {
    let Version { version, commit } = &operations.version;
    json_response(StatusCode::OK, &json!({"CommitSHA": commit, "Version": version}))
}

async fn metrics(State(operations): State<Arc<Operations>>) -> Response {
    let text = operations.metrics.as_ref().map(Metrics::text).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn logspec(State(operations): State<Arc<Operations>>, request: Request) -> Response {
    let bad = |error: String| json_response(StatusCode::BAD_REQUEST, &json!({"error": error}));
    match request.method().as_str() {
        "GET" => json_response(StatusCode::OK, &json!({"spec": operations.logging.spec().to_string()})),
        "PUT" => {
            let body = match axum::body::to_bytes(request.into_body(), MAX_BODY).await {
                Ok(body) => body,
                Err(error) => return bad(error.to_string()),
            };
            let value: serde_json::Value = match serde_json::from_slice(&body) {
                Ok(value) => value,
                Err(error) => return bad(error.to_string()),
            };
            match operations.logging.activate(value["spec"].as_str().unwrap_or_default()) {
                Ok(()) => StatusCode::NO_CONTENT.into_response(),
                Err(error) => bad(error.to_string()),
            }
        }
        other => bad(format!("invalid request method: {other}")),
    }
}
