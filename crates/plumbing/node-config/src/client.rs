use std::path::PathBuf;
use std::time::Duration;

use crate::server::DEFAULT_MAX_MESSAGE_SIZE;
use crate::{ConfigError, Environment, MspLocation, Settings, open_core};

/// What the `peer` command needs to act as somebody towards a peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerClientConfig {
    /// Host and port of the peer; empty when not set, because commands take addresses as flags too.
    pub address: String,
    /// Who acts: MSP id and directory. Commands that sign nothing do not look at it.
    pub msp: MspLocation,
    /// Whether connections use TLS.
    pub tls_enabled: bool,
    /// The CA certificates that the peer's certificate must come from.
    pub tls_root_certificate: Option<PathBuf>,
    /// Whether this client shows a certificate of its own.
    pub client_auth_required: bool,
    /// The client's TLS certificate.
    pub client_certificate: Option<PathBuf>,
    /// The client's TLS key.
    pub client_key: Option<PathBuf>,
    /// The name to expect in the peer's certificate instead of the address's host.
    pub server_host_override: Option<String>,
    /// How far the clock may be turned back when certificates are judged.
    pub handshake_time_shift: Duration,
    /// How long connecting may take.
    pub connection_timeout: Duration,
    /// The largest message to take, in bytes.
    pub max_receive_message_size: u32,
    /// The largest message to send, in bytes.
    pub max_send_message_size: u32,
}

/// How long connecting may take unless told otherwise (Fabric: `internal/peer/common`).
const DEFAULT_CONNECTION_TIMEOUT: Duration = Duration::from_secs(3);

impl PeerClientConfig {
    /// Opens `core.yaml` and reads it under the environment.
    pub fn load(environment: &Environment) -> Result<Self, ConfigError> {
        Self::from_settings(&open_core(environment)?)
    }

    /// Reads opened settings.
    pub fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            address: s.text_or_empty("peer.address")?,
            msp: MspLocation::read(
                s,
                s.text_or_empty("peer.localMspId")?,
                s.path("peer.mspConfigPath")?.unwrap_or_default(),
                "peer.BCCSP",
            )?,
            tls_enabled: s.flag("peer.tls.enabled")?.unwrap_or(false),
            tls_root_certificate: s.path("peer.tls.rootcert.file")?,
            client_auth_required: s.flag("peer.tls.clientAuthRequired")?.unwrap_or(false),
            client_certificate: s.path("peer.tls.clientCert.file")?,
            client_key: s.path("peer.tls.clientKey.file")?,
            server_host_override: s.non_empty("peer.tls.serverhostoverride")?,
            handshake_time_shift: s.duration("peer.tls.handshakeTimeShift")?.unwrap_or_default(),
            connection_timeout: s.duration_or("peer.client.connTimeout", DEFAULT_CONNECTION_TIMEOUT)?,
            max_receive_message_size: s.size("peer.maxRecvMsgSize")?.unwrap_or(DEFAULT_MAX_MESSAGE_SIZE),
            max_send_message_size: s.size("peer.maxSendMsgSize")?.unwrap_or(DEFAULT_MAX_MESSAGE_SIZE),
        })
    }
}
