//! The channel participation API: joining, showing and leaving channels over HTTP (Fabric:
//! `orderer/common/channelparticipation`). Paths, bodies and texts are Fabric's.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::multipart::MultipartError;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use prost::Message as _;
use ripstop_ordering::Message;
use ripstop_proto::common;
use ripstop_types::{Block, ChannelId, HeaderType};
use serde::Serialize;
use uuid::Uuid;

use crate::error::ChannelError;
use crate::info::{CHANNELS_PATH, ChannelInfo};
use crate::join::{InvalidJoinBlock, JoinBlock};
use crate::registry::OrderingService;

const CONFIG_BLOCK: &str = "config-block";
const CONFIG_UPDATE: &str = "config-update-envelope";
const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("x-request-id");
/// What Go says of bytes that are no message.
const NO_MESSAGE: &str = "proto: cannot parse invalid wire-format data";

/// The routes of the API. Requests larger than `max_body` bytes are refused (`ChannelParticipation.MaxRequestBodySize`).
pub fn participation_routes(service: OrderingService, max_body: usize) -> Router {
    Router::new()
        .route("/participation/v1", any(to_base))
        .route("/participation/v1/", any(base))
        .route(CHANNELS_PATH, any(channels))
        .route("/participation/v1/channels/{channel}", any(channel))
        .route("/participation/v1/channels/{channel}/blocks/{block}", any(block))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(max_body))
        .layer(middleware::from_fn(name_request))
        .with_state(service)
}

/// Names each answer as the request is named, or by a new name.
async fn name_request(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).filter(|id| !id.is_empty()).cloned();
    let mut response = next.run(request).await;
    let id = given.or_else(|| header::HeaderValue::from_str(&Uuid::new_v4().to_string()).ok());
    response.headers_mut().extend(id.map(|id| (REQUEST_ID, id)));
    response
}

async fn nothing_here() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::NOT_FOUND, headers, "404 page not found\n").into_response()
}

/// Where to go instead, for programs and, in Go's words, for people.
fn redirect(status: StatusCode, to: &'static str) -> Response {
    let headers = [(header::LOCATION, to), (header::CONTENT_TYPE, "text/html; charset=utf-8")];
    let reason = status.canonical_reason().unwrap_or_default();
    (status, headers, format!("<a href=\"{to}\">{reason}</a>.\n\n")).into_response()
}

async fn to_base() -> Response {
    redirect(StatusCode::TEMPORARY_REDIRECT, "/participation/v1/")
}

#[derive(Serialize)]
struct ErrorBody {
    error: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelList {
    /// Always null: there is no system channel.
    system_channel: Option<ChannelShort>,
    /// Null when there are none, as Fabric writes an empty list.
    channels: Option<Vec<ChannelShort>>,
}

#[derive(Serialize)]
struct ChannelShort {
    name: String,
    url: String,
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_string(body).expect("the bodies hold only text and numbers");
    // As Go writes these; they stand nowhere but in texts.
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    (status, [(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

fn error(status: StatusCode, text: impl Into<String>) -> Response {
    json(status, &ErrorBody { error: text.into() })
}

fn not_allowed(text: impl Into<String>, allow: &'static str) -> Response {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, text);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    response
}

fn ok(body: &impl Serialize) -> Response {
    let mut response = json(StatusCode::OK, body);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn created(info: &ChannelInfo) -> Response {
    let mut response = json(StatusCode::CREATED, info);
    if let Ok(location) = header::HeaderValue::from_str(&info.url) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Answers are JSON only.
fn check_accept(headers: &HeaderMap) -> Result<(), Response> {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).filter(|a| !a.is_empty())
    else {
        return Ok(());
    };
    if ["application/json", "application/*", "*/*"].iter().any(|kind| accept.contains(kind)) {
        return Ok(());
    }
    Err(error(StatusCode::NOT_ACCEPTABLE, "response Content-Type is application/json only"))
}

fn channel_id(text: &str) -> Result<ChannelId, Response> {
    ChannelId::new(text).map_err(|invalid| error(StatusCode::BAD_REQUEST, format!("invalid channel ID: {invalid}")))
}

async fn base(request: Request) -> Response {
    if request.method() == Method::GET {
        redirect(StatusCode::FOUND, CHANNELS_PATH)
    } else {
        StatusCode::METHOD_NOT_ALLOWED.into_response()
    }
}

async fn channels(State(service): State<OrderingService>, request: Request) -> Response {
    let answer = match *request.method() {
        Method::GET => list(&service, request.headers()),
        Method::POST => join(&service, request).await,
        Method::PUT => update(&service, request).await,
        _ => Err(not_allowed(format!("invalid request method: {}", request.method()), "GET, POST, PUT")),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

fn list(service: &OrderingService, headers: &HeaderMap) -> Result<Response, Response> {
    check_accept(headers)?;
    let short = |id: ChannelId| ChannelShort { name: id.as_str().to_owned(), url: format!("{CHANNELS_PATH}/{id}") };
    let channels: Vec<_> = service.list().into_iter().map(short).collect();
    Ok(ok(&ChannelList { system_channel: None, channels: Some(channels).filter(|channels| !channels.is_empty()) }))
}

async fn channel(State(service): State<OrderingService>, Path(id): Path<String>, request: Request) -> Response {
    let answer = match *request.method() {
        Method::GET => show(&service, &id, request.headers()),
        Method::DELETE => remove(&service, &id, request.headers()).await,
        _ => Err(not_allowed(format!("invalid request method: {}", request.method()), "GET, DELETE")),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

fn show(service: &OrderingService, id: &str, headers: &HeaderMap) -> Result<Response, Response> {
    check_accept(headers)?;
    let info = service.info(&channel_id(id)?).map_err(|failure| error(StatusCode::NOT_FOUND, failure.to_string()))?;
    Ok(ok(&info))
}

async fn remove(service: &OrderingService, id: &str, headers: &HeaderMap) -> Result<Response, Response> {
    check_accept(headers)?;
    service.remove(&channel_id(id)?).await.map_err(|failure| {
        let status = match failure {
            ChannelError::NotFound => StatusCode::NOT_FOUND,
            ChannelError::PendingRemoval => StatusCode::CONFLICT,
            ChannelError::Exists | ChannelError::RemovalFailed | ChannelError::Refused(_) => StatusCode::BAD_REQUEST,
        };
        error(status, format!("cannot remove: {failure}"))
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn block(
    State(service): State<OrderingService>,
    Path((id, which)): Path<(String, String)>,
    request: Request,
) -> Response {
    if request.method() != Method::GET {
        return not_allowed(format!("invalid request method: {}", request.method()), "GET");
    }
    let accepted = check_accept(request.headers());
    drop(request);
    let read = async {
        accepted?;
        read_block(service, &id, which).await
    };
    match read.await {
        Ok(block) => {
            let headers = [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "application/octet-stream")];
            (headers, Body::from(block.to_proto().encode_to_vec())).into_response()
        }
        Err(refusal) => refusal,
    }
}

async fn read_block(service: OrderingService, id: &str, which: String) -> Result<Arc<Block>, Response> {
    let id = channel_id(id)?;
    if !["newest", "oldest", "config"].contains(&which.as_str()) && which.parse::<u64>().is_err() {
        let text = format!("invalid block ID: '{which}' not equal <newest|oldest|config|(number)>");
        return Err(error(StatusCode::BAD_REQUEST, text));
    }
    let fetch = move || service.fetch_block(&id, &which);
    let fetched = tokio::task::spawn_blocking(fetch)
        .await
        .unwrap_or_else(|failure| Err(ChannelError::Refused(failure.to_string())));
    fetched.map_err(|failure| error(StatusCode::NOT_FOUND, failure.to_string()))
}

async fn join(service: &OrderingService, request: Request) -> Result<Response, Response> {
    let bad = |text: String| error(StatusCode::BAD_REQUEST, text);
    let content = single_file(request, CONFIG_BLOCK).await?;
    let block = common::Block::decode(content).map_err(|failure| {
        bad(format!("cannot unmarshal file part {CONFIG_BLOCK} into a block: {NO_MESSAGE}: {failure}"))
    })?;
    let block = Block::from_proto(block)
        .map_err(|failure| bad(format!("invalid join block: {}: {failure}", InvalidJoinBlock::NotConfig)))?;
    let join = JoinBlock::new(block).map_err(|failure| bad(format!("invalid join block: {failure}")))?;
    let info = service.join(join).await.map_err(|failure| {
        let text = format!("cannot join: {failure}");
        match failure {
            ChannelError::Exists => not_allowed(text, "GET, DELETE"),
            ChannelError::PendingRemoval => error(StatusCode::CONFLICT, text),
            ChannelError::RemovalFailed => error(StatusCode::INTERNAL_SERVER_ERROR, text),
            ChannelError::NotFound | ChannelError::Refused(_) => bad(text),
        }
    })?;
    Ok(created(&info))
}

async fn update(service: &OrderingService, request: Request) -> Result<Response, Response> {
    let bad = |text: String| error(StatusCode::BAD_REQUEST, text);
    let content = single_file(request, CONFIG_UPDATE).await?;
    let envelope = common::Envelope::decode(content).map_err(|failure| {
        bad(format!("cannot unmarshal file part {CONFIG_UPDATE} into an envelope: {NO_MESSAGE}: {failure}"))
    })?;
    let invalid = |text: String| bad(format!("invalid config update envelope: {text}"));
    let message = Message::parse(envelope).map_err(|failure| invalid(failure.to_string()))?;
    if message.envelope.channel_header.kind != HeaderType::ConfigUpdate {
        return Err(invalid("bad type".into()));
    }
    let id = message.envelope.channel_header.channel_id.clone();
    if id.is_empty() {
        return Err(invalid("empty channel id".into()));
    }
    // An id that no channel can have is that of a channel that does not exist.
    let id = ChannelId::new(&id).map_err(|_| ChannelError::NotFound);
    let found = id.and_then(|id| Ok((service.active(&id)?, id)));
    let (channel, id) = found.map_err(|failure| {
        let status = match failure {
            ChannelError::NotFound => StatusCode::METHOD_NOT_ALLOWED,
            ChannelError::PendingRemoval => StatusCode::CONFLICT,
            ChannelError::RemovalFailed => StatusCode::INTERNAL_SERVER_ERROR,
            ChannelError::Exists | ChannelError::Refused(_) => StatusCode::BAD_REQUEST,
        };
        error(status, format!("cannot update: {failure}"))
    })?;
    let ordered = service.order_update(&channel, &message).await;
    ordered.map_err(|text| bad(format!("cannot update: failed update config of channel {id}: {text}")))?;
    let info = service.info(&id).map_err(|failure| bad(format!("cannot update: {failure}")))?;
    Ok(created(&info))
}

/// The content of a form that consists of one file under `key`.
async fn single_file(request: Request, key: &str) -> Result<Bytes, Response> {
    let bad = |text: String| error(StatusCode::BAD_REQUEST, text);
    let unreadable = |failure: String| bad(format!("cannot read form from request body: {failure}"));
    check_accept(request.headers())?;
    let content_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !content_type.contains("multipart/form-data") {
        let shown = if content_type.is_empty() { String::new() } else { content_type.to_owned() };
        return Err(bad(format!("unsupported Content-Type: [{shown}]")));
    }
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_| unreadable("multipart: boundary is empty".into()))?;
    let mut found = None;
    let mut parts = 0;
    while let Some(field) = form.next_field().await.map_err(|failure| unreadable(form_fault(&failure)))? {
        parts += 1;
        let wanted = field.name() == Some(key) && field.file_name().is_some();
        let content = field.bytes().await.map_err(|failure| unreadable(form_fault(&failure)))?;
        if wanted {
            found = Some(content);
        }
    }
    let content = found.ok_or_else(|| bad(format!("form does not contains part key: {key}")))?;
    if parts == 1 { Ok(content) } else { Err(bad("form contains too many parts".into())) }
}

/// What is wrong with a form, in Go's words where it has some.
fn form_fault(failure: &MultipartError) -> String {
    match failure.status() {
        StatusCode::PAYLOAD_TOO_LARGE => "http: request body too large".to_owned(),
        _ => format!("multipart: NextPart: {}", failure.body_text()),
    }
}
