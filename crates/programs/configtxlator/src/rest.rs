//! The REST interface.

use axum::Router;
use axum::body::Bytes;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path, Query, Request};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use ripstop_proto::common;
use ripstop_proto_json::{Document, Form};
use ripstop_transport::{Listener, serve_http};

use crate::cors::{self, Origins};
use crate::translate;

/// The largest body of a request, in bytes: that of the largest message between nodes.
const MAX_BODY: usize = ripstop_transport::MAX_MESSAGE_SIZE;

/// The paths, of which a slash at the end is taken away.
const COMPUTE: &str = "/configtxlator/compute/update-from-configs";
const ENCODE: &str = "/protolator/encode/";
const DECODE: &str = "/protolator/decode/";

/// Serves until the process ends.
pub(crate) async fn serve(listener: Listener, cors: Vec<String>) {
    serve_http(listener, None, router(Origins::new(cors)), std::future::pending()).await;
}

pub(crate) fn router(origins: Origins) -> Router {
    let router = Router::new()
        .route(&format!("{ENCODE}{{name}}"), post(encode))
        .route(&format!("{DECODE}{{name}}"), post(decode))
        .route(COMPUTE, post(compute))
        .fallback(elsewhere)
        .layer(DefaultBodyLimit::max(MAX_BODY));
    if origins.is_empty() {
        return router;
    }
    router.layer(axum::middleware::from_fn(move |request, next| cors::guard(origins.clone(), request, next)))
}

fn refusal(status: StatusCode, text: impl std::fmt::Display) -> Response {
    (status, format!("{text}\n")).into_response()
}

fn bad(text: impl std::fmt::Display) -> Response {
    refusal(StatusCode::BAD_REQUEST, text)
}

fn form(name: &str) -> Result<Form, Response> {
    let found = translate::form(name);
    found.map_err(|error| refusal(StatusCode::NOT_FOUND, format!("message type not found: {error}")))
}

async fn decode(Path(name): Path<String>, body: Bytes) -> Result<Response, Response> {
    let document = Document::parse(&form(&name)?, &body).map_err(bad)?;
    let json = document.to_json().map_err(bad)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

async fn encode(Path(name): Path<String>, body: Bytes) -> Result<Response, Response> {
    let document = Document::from_json(&form(&name)?, &body).map_err(bad)?;
    Ok(binary(document.to_bytes()))
}

fn binary(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}

/// The fields of the form of [`compute`].
#[derive(Default)]
struct Configs {
    original: Option<Bytes>,
    updated: Option<Bytes>,
    channel: Option<String>,
}

async fn compute(Query(query): Query<Vec<(String, String)>>, request: Request) -> Result<Response, Response> {
    let configs = Configs::read(request).await;
    let configs =
        configs.map_err(|error| bad(format!("Error with field 'original': error reading field bytes: {error}")))?;
    let original = config("original", configs.original)?;
    let updated = config("updated", configs.updated)?;
    // Of a value that stands in the address and in the form, that in the address counts.
    let in_query = query.into_iter().find(|(name, _)| name == "channel").map(|(_, value)| value);
    let channel = in_query.or(configs.channel).unwrap_or_default();
    let update = translate::update(&original, &updated, &channel);
    update.map(binary).map_err(|error| bad(format!("Error computing update: {error}")))
}

fn config(field: &str, content: Option<Bytes>) -> Result<common::Config, Response> {
    let failed = |error: String| bad(format!("Error with field '{field}': {error}"));
    let content = content.ok_or_else(|| {
        failed(format!("error reading field bytes: http: no such file: the form needs one named '{field}'"))
    })?;
    translate::config(&content).map_err(|error| failed(format!("error unmarshalling field bytes: {error}")))
}

impl Configs {
    /// Takes the first file of each name, and the first value for the channel.
    async fn read(request: Request) -> Result<Self, String> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !content_type.unwrap_or_default().starts_with("multipart/form-data") {
            return Err("request Content-Type isn't multipart/form-data".to_owned());
        }
        let form = Multipart::from_request(request, &()).await;
        let mut form = form.map_err(|_| "no multipart boundary param in Content-Type".to_owned())?;
        let text = |error: MultipartError| error.body_text();
        let mut configs = Self::default();
        while let Some(field) = form.next_field().await.map_err(text)? {
            let (name, is_file) = (field.name().unwrap_or_default().to_owned(), field.file_name().is_some());
            match (name.as_str(), is_file) {
                ("original", true) if configs.original.is_none() => {
                    configs.original = Some(field.bytes().await.map_err(text)?);
                }
                ("updated", true) if configs.updated.is_none() => {
                    configs.updated = Some(field.bytes().await.map_err(text)?);
                }
                ("channel", false) if configs.channel.is_none() => {
                    configs.channel = Some(field.text().await.map_err(text)?);
                }
                _ => {}
            }
        }
        Ok(configs)
    }
}

/// Any other path: with one slash too many it is sent on.
async fn elsewhere(uri: Uri) -> Response {
    let path = uri.path();
    let known = |path: &str| {
        let named =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|name| !name.is_empty() && !name.contains('/'));
        path == COMPUTE || named(ENCODE) || named(DECODE)
    };
    match path.strip_suffix('/') {
        Some(shorter) if known(shorter) => {
            (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, shorter.to_owned())]).into_response()
        }
        _ => refusal(StatusCode::NOT_FOUND, "404 page not found"),
    }
}
