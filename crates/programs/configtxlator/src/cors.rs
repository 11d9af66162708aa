//! Which pages of other sites may use the server.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// Headers that every page may send.
const SIMPLE_HEADERS: [&str; 4] = ["accept", "accept-language", "content-language", "origin"];
/// The header that a page may send besides.
const ALLOWED_HEADER: &str = "content-type";

/// The origins that were given with `--CORS`; with none, requests are not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    pub(crate) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the header that allows a page of this origin says.
    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.0.iter().any(|allowed| allowed == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        self.0.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

/// Answers what browsers ask beforehand, and tells them whether a page may see an answer.
pub(crate) async fn guard(origins: Origins, request: Request, next: Next) -> Response {
    let allowed = request.headers().get(header::ORIGIN).and_then(|origin| origins.allow(origin));
    let asks = request.method() == Method::OPTIONS;
    let Some(allowed) = allowed else {
        return if asks { StatusCode::OK.into_response() } else { next.run(request).await };
    };
    let mut response = if asks {
        match asked_headers(request.headers()) {
            Ok(headers) => {
                let mut response = StatusCode::OK.into_response();
                if let Some(headers) = headers {
                    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
                }
                response
            }
            Err(refused) => return refused.into_response(),
        }
    } else {
        next.run(request).await
    };
    let several = origins.0.len() > 1 && allowed != HeaderValue::from_static("*");
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if several {
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// The headers that a page may send, if it asks for any that need to be allowed.
fn asked_headers(headers: &HeaderMap) -> Result<Option<HeaderValue>, StatusCode> {
    let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).ok_or(StatusCode::BAD_REQUEST)?;
    if method != Method::POST.as_str() {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|asked| asked.to_str().ok());
    let names = asked.unwrap_or_default().split(',').map(|name| name.trim().to_ascii_lowercase());
    let mut allowed = None;
    for name in names.filter(|name| !name.is_empty() && !SIMPLE_HEADERS.contains(&name.as_str())) {
        if name != ALLOWED_HEADER {
            return Err(StatusCode::FORBIDDEN);
        }
        allowed = Some(HeaderValue::from_static("Content-Type"));
    }
    Ok(allowed)
}
