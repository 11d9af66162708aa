//! Flags that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use ripstop_command_line::value::{duration, path};

/// How to reach the ordering service.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OrdererFlags {
    /// Ordering service endpoint
    #[arg(short = 'o', long = "orderer", global = true, default_value = "")]
    pub(crate) orderer: String,
    /// Use TLS when communicating with the orderer endpoint
    #[arg(long = "tls", global = true)]
    pub(crate) tls: bool,
    /// Use mutual TLS when communicating with the orderer endpoint
    #[arg(long = "clientauth", global = true)]
    pub(crate) client_auth: bool,
    /// Path to file containing PEM-encoded trusted certificate(s) for the ordering endpoint
    #[arg(long = "cafile", global = true, default_value = "", value_parser = path)]
    pub(crate) ca_file: PathBuf,
    /// Path to file containing PEM-encoded private key to use for mutual TLS communication with the orderer endpoint
    #[arg(long = "keyfile", global = true, default_value = "", value_parser = path)]
    pub(crate) key_file: PathBuf,
    /// Path to file containing PEM-encoded X509 public key to use for mutual TLS communication with the orderer endpoint
    #[arg(long = "certfile", global = true, default_value = "", value_parser = path)]
    pub(crate) certificate_file: PathBuf,
    /// The hostname override to use when validating the TLS connection to the orderer
    #[arg(long = "ordererTLSHostnameOverride", global = true, default_value = "")]
    pub(crate) hostname_override: String,
    /// Timeout for client to connect
    #[arg(long = "connTimeout", global = true, value_parser = duration, default_value = "3s")]
    pub(crate) connect_timeout: Duration,
    /// The amount of time to shift backwards for certificate expiration checks during TLS handshakes with the orderer
    /// endpoint
    #[arg(long = "tlsHandshakeTimeShift", global = true, value_parser = duration, default_value = "0s")]
    pub(crate) time_shift: Duration,
}

/// Which peers to talk to.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PeerFlags {
    /// The addresses of the peers to connect to
    #[arg(long = "peerAddresses")]
    pub(crate) addresses: Vec<String>,
    /// If TLS is enabled, the paths to the TLS root cert files of the peers to connect to. The order and number of certs
    /// specified should match the --peerAddresses flag
    #[arg(long = "tlsRootCertFiles", value_parser = path)]
    pub(crate) root_files: Vec<PathBuf>,
    /// The fully qualified path to the connection profile that provides the necessary connection information for the
    /// network. Note: currently only supported for providing peer connection information
    #[arg(long = "connectionProfile", value_parser = path, default_value = "")]
    pub(crate) profile: PathBuf,
}

/// How long to wait for what was submitted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WaitLimit {
    /// Time to wait for the event from each peer's deliver filtered service signifying that the 'invoke' transaction has
    /// been committed successfully
    #[arg(long = "waitForEventTimeout", value_parser = duration, default_value = "30s")]
    pub(crate) timeout: Duration,
}
