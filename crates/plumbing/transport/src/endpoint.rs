use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;

use crate::handshake::{Side, explained};
use crate::listener::{Connection, PeerInfo};
use crate::message_limits::MessageLimits;
use crate::tls::ClientTls;

/// How long connecting may take unless said otherwise (Fabric: `peer.keepalive.deliveryClient`/`client.connTimeout`, 3 s).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The flow-control window of a stream and of a connection: blocks of several MiB flow without waiting.
const WINDOW: u32 = 4 * 1024 * 1024;

/// When a gRPC client pings its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// After this long without activity a ping is sent. Fabric's servers disconnect below one minute.
    pub interval: Duration,
    /// A ping unanswered for this long closes the connection.
    pub timeout: Duration,
}

impl Default for Keepalive {
    /// One minute and twenty seconds (Fabric: `DefaultKeepaliveOptions`).
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), timeout: Duration::from_secs(20) }
    }
}

/// An address that is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address of the form host:port")]
pub struct InvalidAddress(String);

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("connecting to {address} took longer than {limit:?}")]
    Timeout {
        /// The server.
        address: String,
        /// The limit.
        limit: Duration,
    },
    /// The server cannot be reached.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The server.
        address: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The TLS handshake failed: an unknown issuer, a wrong name, a certificate that is missing.
    #[error("TLS handshake with {address} failed: {source}")]
    Handshake {
        /// The server.
        address: String,
        /// The reason.
        source: io::Error,
    },
    /// The name to verify is no server name.
    #[error("'{0}' is no server name that a certificate could be checked against")]
    ServerName(String),
}

/// A host and a port as one text; addresses of IPv6 stand in brackets.
pub fn host_and_port(host: &str, port: impl std::fmt::Display) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl ConnectError {
    /// The reason as Go's network libraries word it, for commands whose scripts know those words.
    pub fn in_gos_words(&self) -> String {
        match self {
            Self::Connect { address, source } if source.raw_os_error().is_none() => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                format!("dial tcp: lookup {host}: no such host ({source})")
            }
            Self::Connect { address, source } => {
                let text = source.to_string().to_lowercase();
                format!("dial tcp {address}: connect: {}", text.split(" (os error").next().unwrap_or_default())
            }
            Self::Handshake { source, .. } => source.to_string(),
            Self::Timeout { address, .. } => format!("dial tcp {address}: i/o timeout"),
            Self::ServerName(_) => self.to_string(),
        }
    }
}

/// A server to connect to, and how.
#[derive(Debug, Clone)]
pub struct Endpoint {
    host: String,
    port: u16,
    tls: Option<ClientTls>,
    server_name: Option<String>,
    connect_timeout: Duration,
    keepalive: Keepalive,
    messages: MessageLimits,
}

impl Endpoint {
    /// The server at `host:port` (IPv6 hosts in brackets), without TLS.
    pub fn new(address: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(address.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let endpoint = Self {
            host: host.to_owned(),
            port,
            tls: None,
            server_name: None,
            connect_timeout: CONNECT_TIMEOUT,
            keepalive: Keepalive::default(),
            messages: MessageLimits::default(),
        };
        let plain = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']);
        if plain && endpoint.uri().is_ok() { Ok(endpoint) } else { Err(invalid()) }
    }

    /// The address as gRPC requests carry it.
    fn uri(&self) -> Result<http::Uri, http::uri::InvalidUri> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address()).parse()
    }

    /// Speaks TLS.
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Verifies the server's certificate against this name instead of the host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Gives up connecting, handshake included, after this long.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Pings as told.
    pub const fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.keepalive = keepalive;
        self
    }

    /// Says how large messages may be. Whoever makes a client of [`Self::channel`] sets them on it.
    pub const fn messages(mut self, limits: MessageLimits) -> Self {
        self.messages = limits;
        self
    }

    /// How large messages may be.
    pub const fn message_limits(&self) -> MessageLimits {
        self.messages
    }

    /// Whether it speaks TLS.
    pub const fn uses_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        host_and_port(&self.host, self.port)
    }

    /// A gRPC channel that connects at its first request and again whenever the connection is lost. A request made while
    /// the server cannot be reached fails with `Unavailable` and the reason. Must be called inside a tokio runtime.
    pub fn channel(&self) -> Channel {
        let uri = self.uri().expect("the address was checked when the endpoint was made");
        let target = self.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let target = target.clone();
            async move { target.open(Protocol::Grpc).await.map(TokioIo::new) }
        });
        self.settings(uri).connect_with_connector_lazy(connector)
    }

    /// Connects now, and says who is at the other end: the certificate that the server showed. The channel is that one
    /// connection; when it is lost, requests fail. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The server cannot be reached or trusted, or speaks no gRPC.
    pub async fn dial(&self) -> Result<(Channel, PeerInfo), ConnectError> {
        let address = self.address();
        let uri = self.uri().expect("the address was checked when the endpoint was made");
        let connection = self.open(Protocol::Grpc).await?;
        let peer = connection.peer().clone();
        let mut only = Some(connection);
        let connector = tower::service_fn(move |_: http::Uri| {
            let gone = || io::Error::new(io::ErrorKind::NotConnected, "the connection was lost");
            std::future::ready(only.take().map(TokioIo::new).ok_or_else(gone))
        });
        let settings = self.settings(uri);
        let begun = settings.connect_with_connector(connector);
        let failed = |source| ConnectError::Connect { address: address.clone(), source };
        match tokio::time::timeout(self.connect_timeout, begun).await {
            Ok(Ok(channel)) => Ok((channel, peer)),
            Ok(Err(error)) => Err(failed(io::Error::other(error))),
            Err(_) => Err(ConnectError::Timeout { address, limit: self.connect_timeout }),
        }
    }

    /// How HTTP/2 is spoken.
    fn settings(&self, uri: http::Uri) -> tonic::transport::Endpoint {
        tonic::transport::Endpoint::from(uri)
            .http2_keep_alive_interval(self.keepalive.interval)
            .keep_alive_timeout(self.keepalive.timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
    }

    /// Connects once, to find out whether the server can be reached and trusted.
    pub async fn probe(&self) -> Result<(), ConnectError> {
        self.open(Protocol::Grpc).await.map(drop)
    }

    /// A plain stream of bytes to the server, for HTTP/1.1.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        self.open(Protocol::Bytes).await
    }

    async fn open(&self, protocol: Protocol) -> Result<Connection, ConnectError> {
        let address = self.address();
        match tokio::time::timeout(self.connect_timeout, self.reach(&address, protocol)).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::Timeout { address, limit: self.connect_timeout }),
        }
    }

    async fn reach(&self, address: &str, protocol: Protocol) -> Result<Connection, ConnectError> {
        let failed = |source| ConnectError::Connect { address: address.to_owned(), source };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        stream.set_nodelay(true).ok();
        let peer = PeerInfo::without_certificate(stream.peer_addr().map_err(failed)?);
        let Some(tls) = &self.tls else { return Ok(Connection::new(stream, peer)) };
        let name = self.server_name.as_ref().unwrap_or(&self.host);
        let name = ServerName::try_from(name.clone()).map_err(|_| ConnectError::ServerName(name.clone()))?;
        let config = match protocol {
            Protocol::Grpc => &tls.grpc,
            Protocol::Bytes => &tls.bytes,
        };
        let handshake = TlsConnector::from(config.clone()).connect(name, stream);
        let stream = explained(Side::Client, handshake)
            .await
            .map_err(|source| ConnectError::Handshake { address: address.to_owned(), source })?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = peer.with_certificates(shown);
        Ok(Connection::new(stream, peer))
    }
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Grpc,
    Bytes,
}

/// A failed call in words as Go's gRPC has them: `rpc error: code = Unavailable desc = …`. Where the connection failed and
/// not the server, the code is `Unavailable` and the words are those of the innermost cause.
pub fn describe_failure(status: &tonic::Status) -> String {
    let Some(mut cause) = std::error::Error::source(status) else {
        return format!("rpc error: code = {:?} desc = {}", status.code(), status.message());
    };
    loop {
        if let Some(error) = cause.downcast_ref::<ConnectError>() {
            return format!("rpc error: code = Unavailable desc = {error}");
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => return format!("rpc error: code = Unavailable desc = connection lost: {cause}"),
        }
    }
}

/// The address of this machine from which it would reach other networks; none without a route. Nothing is sent.
pub fn local_ip() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    // Any address outside will do (this one is for documentation, RFC 5737).
    socket.connect(("192.0.2.1", 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["localhost:7051", "127.0.0.1:1", "[::1]:7051", "peer0.org1.example.com:65535"] {
            assert_eq!(Endpoint::new(good).map(|endpoint| endpoint.address()), Ok(good.to_owned()));
        }
        for bad in ["", "localhost", ":7051", "localhost:", "localhost:70000", "a/b:1", "a?b:1", "\u{7f}:1"] {
            assert!(Endpoint::new(bad).is_err(), "{bad}");
        }
    }
}
