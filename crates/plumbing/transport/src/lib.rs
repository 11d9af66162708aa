//! Sockets, TLS and gRPC connections.
//!
//! What question this crate answers: *who is at the other end of the wire, and how do bytes get there?* It is the only
//! crate that opens a socket. Servers bind a [`Listener`], give it a [`ServerTls`] (or none) and [`serve_grpc`] or
//! [`serve_http`]; clients describe an [`Endpoint`] and get a gRPC channel or a plain byte stream.
//!
//! It stands below every service: endorser, deliver, gateway, broadcast and the operations endpoint run on it.
//!
//! Invariants:
//! - the cryptography provider is handed over explicitly, so nothing depends on a process-wide default;
//! - the roots that client certificates are verified against can change while the server runs ([`ClientRoots`]), because
//!   they come from files and channel configurations; a change affects handshakes that begin after it;
//! - so can the certificate that this process shows: a [`KeyPair`] is renewed in place when its files change
//!   ([`TlsFiles::renew`]);
//! - every request carries a [`PeerInfo`] extension, also without TLS;
//! - a slow or hostile handshake occupies one of a bounded number of slots for a bounded time, and neither the slots nor the
//!   process's open files are all had by one address.
//!
//! Absent: any Fabric rule. Whether a certificate may do something is decided above.

mod client_roots;
mod counts;
mod crowd;
mod datagram;
mod endpoint;
mod files;
mod frames;
mod gate;
mod handshake;
mod key_pair;
mod lanes;
mod limit;
mod listener;
mod message_limits;
mod open_files;
mod server;
mod status;
mod tls;

pub use client_roots::ClientRoots;
pub use counts::ConnectionCounts;
pub use crowd::{Crowd, Place};
pub use datagram::DatagramTarget;
pub use endpoint::{ConnectError, Endpoint, InvalidAddress, Keepalive, describe_failure, host_and_port, local_ip};
pub use files::{Renewal, TlsFiles, TlsFilesError};
pub use frames::MessageScanner;
pub use gate::{ReceiveGate, ReceiveShare};
pub use key_pair::KeyPair;
pub use limit::{ConcurrencyLimit, Permit, TooManyRequests};
pub use listener::{BindError, Connection, Listener, PeerInfo};
pub use message_limits::MessageLimits;
pub use open_files::raise_limit_of_open_files;
pub use server::{ServeError, ServerKeepalive, ServerOptions, serve_grpc, serve_http, with_health};
pub use status::in_go_words;
pub use tls::{ClientAuth, ClientTls, ServerTls, TlsError};

/// The largest gRPC message that is sent or accepted unless said otherwise, in bytes (Fabric: `internal/pkg/comm`
/// `DefaultMaxRecvMsgSize`). Set it on every generated client.
pub const MAX_MESSAGE_SIZE: usize = 100 * 1024 * 1024;

/// Set this on every generated server: its listener bounds messages, by [`MessageLimits`].
pub const BOUNDED_BY_LISTENER: usize = usize::MAX;
