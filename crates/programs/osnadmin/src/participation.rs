use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use ripstop_transport::{ConnectError, Endpoint};
use ripstop_types::ChannelId;
use serde::Deserialize;

/// Where the API is.
const CHANNELS: &str = "/participation/v1/channels";
/// The most bytes of an answer that are read: that of the largest block.
const MAX_ANSWER: usize = ripstop_transport::MAX_MESSAGE_SIZE;
/// What separates the parts of a form; no block holds this text by accident.
const BOUNDARY: &str = "ripstop-0f3c1f7e9d6b4a5288c2d1e07b9aa6f45d3e8c1b2a790654";

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ParticipationError {
    /// It cannot be reached.
    #[error("{request}: {}", .reason.in_gos_words())]
    Connect {
        /// What it was asked.
        request: String,
        /// Why not.
        reason: ConnectError,
    },
    /// It ended the conversation.
    #[error("{request}: {reason}")]
    Conversation {
        /// What it was asked.
        request: String,
        /// Why.
        reason: String,
    },
    /// It answered something else than the API promises.
    #[error("{address} answers with status {status}: {text}")]
    Unexpected {
        /// The node.
        address: String,
        /// The HTTP status.
        status: u16,
        /// The body, or the error that it names.
        text: String,
    },
}

/// What a node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// JSON, or nothing, or what was asked for.
    pub body: Bytes,
}

/// What a node says about one of its channels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelState {
    /// The channel.
    pub name: String,
    /// `consenter`, `follower`, `config-tracker` or `other`.
    pub consensus_relation: String,
    /// `active`, `onboarding`, `inactive` or `failed`.
    pub status: String,
    /// How many blocks the node has.
    pub height: u64,
}

/// A client of an ordering node's channel participation API. Each request is a connection of its own.
#[derive(Debug, Clone)]
pub struct Participation {
    endpoint: Endpoint,
}

impl Participation {
    /// The API at an endpoint, whose TLS presents the administrator's certificate.
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// Lists the channels.
    pub async fn list(&self) -> Result<Answer, ParticipationError> {
        self.send(Method::GET, CHANNELS, None).await
    }

    /// Asks about one channel.
    pub async fn info(&self, channel: &str) -> Result<Answer, ParticipationError> {
        self.send(Method::GET, &format!("{CHANNELS}/{channel}"), None).await
    }

    /// Joins the channel that a configuration block describes.
    pub async fn join(&self, config_block: &[u8]) -> Result<Answer, ParticipationError> {
        self.send(Method::POST, CHANNELS, Some(form("config-block", config_block))).await
    }

    /// Asks for a change of a channel's configuration, signed by those whom it needs.
    pub async fn update(&self, envelope: &[u8]) -> Result<Answer, ParticipationError> {
        self.send(Method::PUT, CHANNELS, Some(form("config-update-envelope", envelope))).await
    }

    /// Fetches a block: `newest`, `oldest`, `config`, or a number. The answer's body is a block, not JSON.
    pub async fn fetch(&self, channel: &str, block: &str) -> Result<Answer, ParticipationError> {
        self.send(Method::GET, &format!("{CHANNELS}/{channel}/blocks/{block}"), None).await
    }

    /// Leaves a channel and forgets its blocks.
    pub async fn remove(&self, channel: &str) -> Result<Answer, ParticipationError> {
        self.send(Method::DELETE, &format!("{CHANNELS}/{channel}"), None).await
    }

    /// Joins a channel unless the node has done so before, and says how the channel is then.
    pub async fn ensure_joined(
        &self,
        channel: &ChannelId,
        config_block: &[u8],
    ) -> Result<ChannelState, ParticipationError> {
        let known = self.info(channel.as_str()).await?;
        match known.status {
            200 => self.state(&known),
            404 => {
                let joined = self.join(config_block).await?;
                if joined.status == StatusCode::CREATED.as_u16() {
                    self.state(&joined)
                } else {
                    Err(self.unexpected(&joined))
                }
            }
            _ => Err(self.unexpected(&known)),
        }
    }

    fn state(&self, answer: &Answer) -> Result<ChannelState, ParticipationError> {
        serde_json::from_slice(&answer.body).map_err(|_| self.unexpected(answer))
    }

    fn unexpected(&self, answer: &Answer) -> ParticipationError {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        let text = match serde_json::from_slice::<Refusal>(&answer.body) {
            Ok(refusal) => refusal.error,
            Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
        };
        ParticipationError::Unexpected { address: self.endpoint.address(), status: answer.status, text }
    }

    /// A request as Go names it in errors: `Get "http://…"`.
    fn describe(&self, method: &Method, path: &str) -> String {
        let scheme = if self.endpoint.uses_tls() { "https" } else { "http" };
        let (first, rest) = method.as_str().split_at(1);
        format!("{first}{} \"{scheme}://{}{path}\"", rest.to_ascii_lowercase(), self.endpoint.address())
    }

    async fn send(&self, method: Method, path: &str, form: Option<Bytes>) -> Result<Answer, ParticipationError> {
        let asked = || self.describe(&method, path);
        let broken = |reason: String| ParticipationError::Conversation { request: asked(), reason };
        let mut request =
            Request::builder().method(method.clone()).uri(escaped(path)).header(header::HOST, self.endpoint.address());
        if form.is_some() {
            request = request.header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"));
        }
        let request = request.body(Full::new(form.unwrap_or_default())).map_err(|error| broken(error.to_string()))?;
        let connected = self.endpoint.connect().await;
        let stream = connected.map_err(|reason| ParticipationError::Connect { request: asked(), reason })?;
        let stream = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(|error| broken(error.to_string()))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
            Ok(Answer { status, body })
        };
        // The connection moves bytes only while it is polled; it ends when the exchange has.
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(broken(error.to_string())),
            },
        }
    }
}

/// A path in which names may hold anything.
fn escaped(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A multipart form of a single file.
fn form(name: &str, content: &[u8]) -> Bytes {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}.block\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    [head.as_bytes(), content, tail.as_bytes()].concat().into()
}
