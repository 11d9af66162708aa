//! Flags that several commands share, and values as Go's flag library reads them.

use std::path::PathBuf;
use std::time::Duration;

use ripstop_types::GoDuration;

/// How to reach the ordering service.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OrdererFlags {
    /// Ordering service endpoint
    #[arg(short = 'o', long = "orderer", global = true)]
    pub(crate) orderer: Option<String>,
    /// Use TLS when communicating with the orderer endpoint
    #[arg(long = "tls", global = true, value_parser = boolean, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls: Option<bool>,
    /// Use mutual TLS when communicating with the orderer endpoint
    #[arg(long = "clientauth", global = true, value_parser = boolean, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    client_auth: Option<bool>,
    /// Path to file containing PEM-encoded trusted certificate(s) for the ordering endpoint
    #[arg(long = "cafile", global = true, value_parser = path)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Path to file containing PEM-encoded private key to use for mutual TLS communication with the orderer endpoint
    #[arg(long = "keyfile", global = true, value_parser = path)]
    pub(crate) key_file: Option<PathBuf>,
    /// Path to file containing PEM-encoded X509 public key to use for mutual TLS communication with the orderer endpoint
    #[arg(long = "certfile", global = true, value_parser = path)]
    pub(crate) certificate_file: Option<PathBuf>,
    /// The hostname override to use when validating the TLS connection to the orderer
    #[arg(long = "ordererTLSHostnameOverride", global = true)]
    pub(crate) hostname_override: Option<String>,
    /// Timeout for client to connect
    #[arg(long = "connTimeout", global = true, value_parser = duration)]
    connect_timeout: Option<Duration>,
    /// The amount of time to shift backwards for certificate expiration checks during TLS handshakes with the orderer endpoint
    #[arg(long = "tlsHandshakeTimeShift", global = true, value_parser = duration)]
    time_shift: Option<Duration>,
}

impl OrdererFlags {
    /// Whether to speak TLS to the orderer.
    pub(crate) fn uses_tls(&self) -> bool {
        self.tls.unwrap_or(false)
    }

    /// Whether to present a certificate to the orderer.
    pub(crate) fn presents_certificate(&self) -> bool {
        self.client_auth.unwrap_or(false)
    }

    /// How far the clock is turned back when the orderer's certificate is judged.
    pub(crate) fn time_shift(&self) -> Duration {
        self.time_shift.unwrap_or_default()
    }

    /// How long connecting may take.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(Duration::from_secs(3))
    }
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
    /// Connection profile that provides the necessary connection information for the network. Note: currently only
    /// supported for providing peer connection information
    #[arg(long = "connectionProfile", value_parser = path)]
    pub(crate) profile: Option<PathBuf>,
}

/// Which of a connection profile's peers to talk to, where no channel says.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct TargetPeerFlag {
    /// When using a connection profile, the name of the peer to target for this action
    #[arg(long = "targetPeer")]
    pub(crate) target: Option<String>,
}

/// How long to wait for what was submitted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WaitFlags {
    /// Whether to wait for the event from each peer's deliver filtered service signifying that the transaction has been
    /// committed successfully
    #[arg(long = "waitForEvent", value_parser = boolean, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait: Option<bool>,
    /// Time to wait for the event from each peer's deliver filtered service signifying that the 'invoke' transaction has
    /// been committed successfully
    #[arg(long = "waitForEventTimeout", value_parser = duration, default_value = "30s")]
    pub(crate) timeout: Duration,
}

impl WaitFlags {
    /// Whether to wait, where `otherwise` is the command's default.
    pub(crate) fn waits_or(&self, otherwise: Waiting) -> Waiting {
        match self.wait {
            Some(true) => Waiting::ForCommit,
            Some(false) => Waiting::No,
            None => otherwise,
        }
    }
}

/// Whether a command returns before what it submitted is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Until every endorsing peer has committed.
    ForCommit,
    /// Once the orderer has taken it.
    No,
}

/// A whole number, refused as Go's library refuses it.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
}

/// A whole number that is not negative.
pub(crate) fn unsigned(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing \"{text}\": invalid syntax"))
}

/// A boolean in any of Go's spellings.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("strconv.ParseBool: parsing \"{other}\": invalid syntax")),
    }
}

/// A path, which may be empty: scripts pass variables that are not set.
pub(crate) fn path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

/// A duration in Go's notation that is not negative.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = GoDuration::parse(text).map_err(|error| error.to_string())?;
    duration.to_std().ok_or_else(|| format!("duration \"{text}\" is negative"))
}
