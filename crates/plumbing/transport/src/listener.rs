use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ripstop_crypto::Certificate;
use ripstop_types::Digest;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::counts::{ConnectionCounts, OpenConnection};
use crate::crowd::{Crowd, Place};
use crate::handshake::{Side, explained, in_words};
use crate::lanes::Lanes;
use crate::open_files::limit_of_open_files;
use crate::tls::ServerTls;

/// How many handshakes may be under way at once; further connections wait for their turn.
const MAX_HANDSHAKES: usize = 1024;
/// How many of them may be with one address. Its further connections wait behind these, and no others do.
const MAX_HANDSHAKES_EACH: usize = MAX_HANDSHAKES / 4;
/// Which part of the files that the process may have open may be connections of one listener; of these, which part may be of one
/// address. Further connections are closed at once. The rest is for the disk, and for what the process dials itself.
const PART_FOR_CONNECTIONS: usize = 2;
const PART_FOR_ADDRESS: usize = 2;
/// How many finished handshakes may wait for the server to take them.
const ACCEPT_QUEUE: usize = 64;
/// How long accepting pauses after the operating system refused (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}: {reason}")]
pub struct BindError {
    address: String,
    reason: io::Error,
}

/// A bound TCP socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `host:port`; port 0 takes a free one.
    pub async fn bind(address: &str) -> Result<Self, BindError> {
        let fail = |reason| BindError { address: address.to_owned(), reason };
        let socket = TcpListener::bind(address).await.map_err(fail)?;
        let local = socket.local_addr().map_err(fail)?;
        Ok(Self { socket, address: local })
    }

    /// The address it is bound to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections that arrive, after their TLS handshake. Ends never; failed handshakes are logged and left out.
    pub(crate) fn connections(self, tls: Option<ServerTls>, terms: Terms) -> ReceiverStream<io::Result<Connection>> {
        let (sender, receiver) = mpsc::channel(ACCEPT_QUEUE);
        let acceptor = tls.map(|tls| TlsAcceptor::from(tls.config));
        tokio::spawn(accept(self.socket, acceptor, terms, sender));
        ReceiverStream::new(receiver)
    }
}

/// On which terms connections are taken.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// How long a TLS handshake may take.
    pub(crate) handshake_timeout: Duration,
    /// Where connections are counted.
    pub(crate) counts: ConnectionCounts,
}

/// Accepts until nobody takes connections any more.
async fn accept(
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    terms: Terms,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let turns = Arc::new(Lanes::new(MAX_HANDSHAKES_EACH, MAX_HANDSHAKES));
    let connected = Crowd::default();
    let most = limit_of_open_files() / PART_FOR_CONNECTIONS;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = connections.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(target: "comm.tls", "accepting a connection failed: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // What waits for its turn has a place too, so that this bounds both.
        let Some(place) = connected.enter(address.ip(), most / PART_FOR_ADDRESS, most) else {
            tracing::debug!(target: "comm.tls", remoteaddress = %address, "a connection is closed: there are too many of its address, or in all");
            continue;
        };
        // Small messages go back and forth: never wait for more bytes to fill a segment.
        stream.set_nodelay(true).ok();
        let (tls, turns) = (tls.clone(), Arc::clone(&turns));
        let (connections, terms) = (connections.clone(), terms.clone());
        tokio::spawn(async move {
            let _turn = tokio::select! {
                turn = turns.turn(address.ip()) => turn,
                () = connections.closed() => return,
            };
            let started = Instant::now();
            match handshake(stream, address, tls, terms.handshake_timeout).await {
                Ok(mut connection) => {
                    connection.open = Some((terms.counts.count(), place));
                    drop(connections.send(Ok(connection)).await);
                }
                Err(error) => {
                    let took = started.elapsed();
                    tracing::warn!(target: "comm.tls", function = "ServerHandshake", remoteaddress = %address, "Server TLS handshake failed in {took:?} with error {error}");
                }
            }
        });
    }
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    timeout: Duration,
) -> io::Result<Connection> {
    let Some(tls) = tls else { return Ok(Connection::new(stream, PeerInfo::without_certificate(address))) };
    let stream = tokio::time::timeout(timeout, explained(Side::Server, tls.accept(stream))).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, "the client did not finish the TLS handshake in time")
    })??;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = PeerInfo::without_certificate(address).with_certificates(shown);
    Ok(Connection::new(stream, peer))
}

/// Who is at the other end of a connection. Every request that a server gets carries it as an extension.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    address: SocketAddr,
    certificate: Option<Arc<Shown>>,
}

/// A certificate that a client presented, and what is known of it. Each is found out once for the whole connection.
#[derive(Debug)]
struct Shown {
    der: CertificateDer<'static>,
    hash: OnceLock<Digest>,
    subject: OnceLock<Option<String>>,
}

impl Shown {
    const fn new(der: CertificateDer<'static>) -> Self {
        Self { der, hash: OnceLock::new(), subject: OnceLock::new() }
    }
}

impl PeerInfo {
    /// Somebody without a certificate.
    pub fn without_certificate(address: SocketAddr) -> Self {
        Self { address, certificate: None }
    }

    /// With the certificates of its TLS handshake, its own first.
    pub(crate) fn with_certificates(self, shown: &[CertificateDer<'_>]) -> Self {
        let certificate = shown.first().map(|leaf| Arc::new(Shown::new(leaf.clone().into_owned())));
        Self { certificate, ..self }
    }

    /// Its address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The DER of its certificate, where it presented one. Under [`crate::ClientAuth::Requested`] nobody has
    /// verified its chain.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_ref().map(|shown| shown.der.as_ref())
    }

    /// The subject of [`Self::certificate`]; none also where that cannot be read.
    pub fn certificate_subject(&self) -> Option<&str> {
        let shown = self.certificate.as_ref()?;
        let read = || Certificate::from_der(&shown.der).ok().map(|certificate| certificate.subject().to_string());
        shown.subject.get_or_init(read).as_deref()
    }

    /// The SHA-256 of [`Self::certificate`]: what a channel header's `tls_cert_hash` must equal under mutual TLS.
    pub fn certificate_hash(&self) -> Option<Digest> {
        self.certificate.as_ref().map(|shown| *shown.hash.get_or_init(|| Digest::of(&shown.der)))
    }

    /// The peer of a request.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<&Self> {
        request.extensions().get()
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection with or without TLS: a stream of bytes in both directions.
pub struct Connection {
    io: Box<dyn Io>,
    peer: PeerInfo,
    /// Counts it, on the server's side.
    open: Option<(OpenConnection, Place<IpAddr>)>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer.address).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: PeerInfo) -> Self {
        Self { io: Box::new(io), peer, open: None }
    }

    /// Who is at the other end.
    pub const fn peer(&self) -> &PeerInfo {
        &self.peer
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        // In TLS 1.3 a server refuses a client's certificate after the client has finished its handshake.
        let side = if self.open.is_some() { Side::Server } else { Side::Client };
        read.map_err(|error| in_words(error, side))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
