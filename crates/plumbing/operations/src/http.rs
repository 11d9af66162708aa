use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use parking_lot::RwLock;
use prometheus::{IntCounterVec, IntGaugeVec};
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

/// Who may see metrics and change the logging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Administrators {
    Everybody,
    /// Whoever shows a client certificate.
    WithCertificate,
}

impl Operations {
    /// Serves until `shutdown` completes. With TLS, `/logspec` and `/metrics` want a client certificate, as in Fabric.
    pub async fn serve(self, listener: Listener, tls: Option<ServerTls>, shutdown: impl Future<Output = ()> + Send) {
        let administrators = if tls.is_some() { Administrators::WithCertificate } else { Administrators::Everybody };
        serve_http(listener, tls, self.router(administrators), shutdown).await;
    }

    fn router(self, administrators: Administrators) -> Router {
        let mut admin = Router::new().route("/logspec", any(logspec));
        if let Some(metrics) = &self.metrics {
            let scrapes = Scrapes::new(metrics);
            admin = admin.route("/metrics", any(move || scrapes.clone().answer()));
        }
        if administrators == Administrators::WithCertificate {
            admin = admin.route_layer(axum::middleware::from_fn(require_certificate));
        }
        Router::new()
            .route("/healthz", get(healthz))
            .route("/version", any(version))
            .merge(admin)
            .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
            .with_state(Arc::new(self))
    }
}

async fn require_certificate(request: Request, next: axum::middleware::Next) -> Response {
    let peer = request.extensions().get::<PeerInfo>();
    if peer.is_some_and(|peer| peer.certificate().is_some()) {
        return next.run(request).await;
    }
    let (path, method) = (request.uri().path(), request.method());
    let address = peer.map(|peer| peer.address().to_string()).unwrap_or_default();
    tracing::warn!(target: "middleware", function = "ServeHTTP", "Client request not authorized, client must pass a valid client certificate for this operation URL={path} Method={method} RemoteAddr={address}");
    StatusCode::UNAUTHORIZED.into_response()
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
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

async fn version(State(operations): State<Arc<Operations>>, method: Method) -> Response {
    if method != Method::GET {
        let refusal = json!({"Error": format!("invalid request method: {method}")});
        return json_response(StatusCode::BAD_REQUEST, &refusal);
    }
    let Version { version, commit } = &operations.version;
    json_response(StatusCode::OK, &json!({"CommitSHA": commit, "Version": version}))
}

/// The answers of `/metrics`, which are counted as Prometheus' handler for Go counts them.
#[derive(Clone)]
struct Scrapes {
    metrics: Metrics,
    answered: IntCounterVec,
    in_flight: IntGaugeVec,
}

impl Scrapes {
    fn new(metrics: &Metrics) -> Self {
        let answered = metrics.counter(
            "promhttp_metric_handler_requests_total",
            "Total number of scrapes by HTTP status code.",
            &["code"],
        );
        for code in ["200", "500", "503"] {
            answered.with_label_values(&[code]).inc_by(0);
        }
        let help = "Current number of scrapes being served.";
        let in_flight = metrics.gauge("promhttp_metric_handler_requests_in_flight", help, &[]);
        Self { metrics: metrics.clone(), answered, in_flight }
    }

    async fn answer(self) -> Response {
        let none: [&str; 0] = [];
        let in_flight = self.in_flight.with_label_values(&none);
        in_flight.inc();
        let text = self.metrics.text();
        in_flight.dec();
        self.answered.with_label_values(&["200"]).inc();
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")], text)
            .into_response()
    }
}

async fn logspec(State(operations): State<Arc<Operations>>, request: Request) -> Response {
    // This handler ends its answers with a line feed, the others do not.
    let answer = |status: StatusCode, body: serde_json::Value| {
        (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
    };
    let bad = |error: String| answer(StatusCode::BAD_REQUEST, json!({"error": error}));
    match request.method().as_str() {
        "GET" => answer(StatusCode::OK, json!({"spec": operations.logging.spec().to_string()})),
        "PUT" => {
            let body = match axum::body::to_bytes(request.into_body(), MAX_BODY).await {
                Ok(body) => body,
                Err(error) => return bad(error.to_string()),
            };
            match requested_spec(&body).and_then(|spec| operations.logging.activate(&spec).map_err(|e| e.to_string())) {
                Ok(()) => StatusCode::NO_CONTENT.into_response(),
                Err(error) => bad(error),
            }
        }
        other => bad(format!("invalid request method: {other}")),
    }
}

/// The specification in the body of a request, read as Go reads JSON: the first value counts, the key's case does not, and
/// no specification is the default one.
fn requested_spec(body: &[u8]) -> Result<String, String> {
    let first = serde_json::Deserializer::from_slice(body).into_iter::<serde_json::Value>().next();
    let value = first
        .ok_or("EOF")?
        .map_err(|error| if error.is_eof() { "unexpected EOF".into() } else { error.to_string() })?;
    let kind = |value: &serde_json::Value| match value {
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
        _ => "string",
    };
    let fields = match &value {
        serde_json::Value::Object(fields) => fields,
        serde_json::Value::Null => return Ok(String::new()),
        other => return Err(format!("json: cannot unmarshal {} into Go value of type httpadmin.LogSpec", kind(other))),
    };
    match fields.iter().rfind(|(key, _)| key.eq_ignore_ascii_case("spec")) {
        Some((_, serde_json::Value::String(spec))) => Ok(spec.clone()),
        None | Some((_, serde_json::Value::Null)) => Ok(String::new()),
        Some((_, other)) => {
            Err(format!("json: cannot unmarshal {} into Go struct field LogSpec.spec of type string", kind(other)))
        }
    }
}

/// Sends one request without a body, and gives the whole answer.
#[cfg(test)]
pub(crate) async fn request(address: &str, line: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let endpoint = ripstop_transport::Endpoint::new(address).expect("the address of a listener");
    let mut stream = endpoint.connect().await.expect("the listener is there");
    let request = format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read_as_go_reads_json() {
        for (body, expected) in [
            (r#"{"spec":"debug"}"#, Ok("debug")),
            (r#"{"Spec":"debug"} trailing"#, Ok("debug")),
            ("{}", Ok("")),
            ("null", Ok("")),
            ("", Err("EOF")),
            (r#"{"spec":"#, Err("unexpected EOF")),
            (r#"{"spec":1}"#, Err("json: cannot unmarshal number into Go struct field LogSpec.spec of type string")),
            ("[]", Err("json: cannot unmarshal array into Go value of type httpadmin.LogSpec")),
        ] {
            let read = requested_spec(body.as_bytes());
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{body}");
        }
    }

    /// What an endpoint on loopback answers to one request.
    async fn ask(operations: Operations, line: &str) -> String {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.address().to_string();
        let serving = tokio::spawn(operations.serve(listener, None, std::future::pending()));
        let answer = request(&address, line).await;
        serving.abort();
        answer
    }

    fn operations() -> Operations {
        let version = Version { version: "v3.1.5".into(), commit: "abc".into() };
        Operations {
            health: Health::default(),
            version,
            logging: LogControl::detached(),
            metrics: Some(Metrics::new()),
        }
    }

    #[tokio::test]
    async fn answers_are_those_of_fabrics_endpoint() {
        let healthy = ask(operations(), "GET /healthz HTTP/1.1").await;
        assert!(healthy.starts_with("HTTP/1.1 200 OK") && healthy.contains(r#"{"status":"OK","time":"2"#), "{healthy}");
        let sick = operations();
        sick.health.register("docker", || Err("failed to connect".to_owned()));
        let sick = ask(sick, "GET /healthz HTTP/1.1").await;
        assert!(sick.starts_with("HTTP/1.1 503"), "{sick}");
        assert!(sick.ends_with(r#","failed_checks":[{"component":"docker","reason":"failed to connect"}]}"#), "{sick}");
        assert!(ask(operations(), "POST /healthz HTTP/1.1").await.starts_with("HTTP/1.1 405"));
        let version = ask(operations(), "GET /version HTTP/1.1").await;
        assert!(version.ends_with(r#"{"CommitSHA":"abc","Version":"v3.1.5"}"#), "{version}");
        let refused = ask(operations(), "PUT /version HTTP/1.1").await;
        assert!(refused.ends_with(r#"{"Error":"invalid request method: PUT"}"#), "{refused}");
        let spec = ask(operations(), "GET /logspec HTTP/1.1").await;
        assert!(spec.ends_with("{\"spec\":\"info\"}\n"), "{spec}");
        let refused = ask(operations(), "POST /logspec HTTP/1.1").await;
        assert!(
            refused.starts_with("HTTP/1.1 400") && refused.ends_with("{\"error\":\"invalid request method: POST\"}\n")
        );
        let metrics = ask(operations(), "GET /metrics HTTP/1.1").await;
        assert!(metrics.contains("promhttp_metric_handler_requests_in_flight 1"), "{metrics}");
        assert!(ask(operations(), "GET /nothing HTTP/1.1").await.starts_with("HTTP/1.1 404"));
    }
}
