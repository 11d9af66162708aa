use std::path::PathBuf;
use std::time::Duration;

use ripstop_types::MspId;

use crate::{ConfigError, Settings};

/// The largest message that a node takes or sends unless told otherwise, in bytes (Fabric: 100 MiB).
pub(crate) const DEFAULT_MAX_MESSAGE_SIZE: u32 = 100 * 1024 * 1024;

/// Where a node's own identity is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MspLocation {
    /// The id of the MSP.
    pub id: MspId,
    /// The MSP directory.
    pub directory: PathBuf,
    /// The directory of private keys where it is not `keystore` of the MSP directory.
    pub keystore: Option<PathBuf>,
}

impl MspLocation {
    /// Reads the keys of a node's identity. `provider_key` is the section of the crypto provider.
    pub(crate) fn read(
        settings: &Settings,
        id: String,
        directory: PathBuf,
        provider_key: &str,
    ) -> Result<Self, ConfigError> {
        let provider = settings.non_empty(&format!("{provider_key}.Default"))?;
        if let Some(provider) = provider.filter(|provider| !provider.eq_ignore_ascii_case("SW")) {
            return Err(settings.unusable(
                &format!("{provider_key}.Default"),
                format!("keys can only be read from files (SW) so far, not with {provider}"),
            ));
        }
        for (key, only) in [("SW.Hash", "SHA2"), ("SW.Security", "256")] {
            let key = format!("{provider_key}.{key}");
            if settings.non_empty(&key)?.is_some_and(|value| value != only) {
                return Err(settings.unusable(&key, format!("only {only} is possible")));
            }
        }
        let keystore = settings.path(&format!("{provider_key}.SW.FileKeyStore.KeyStore"))?;
        Ok(Self { id: MspId::new(&id), directory, keystore })
    }
}

/// How a server pings its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerKeepalive {
    /// A silent client is pinged after this time.
    pub interval: Duration,
    /// A connection whose ping is not answered within this time is closed.
    pub timeout: Duration,
}

impl Default for ServerKeepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(7200), timeout: Duration::from_secs(20) }
    }
}

/// How a client pings its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientKeepalive {
    /// A silent server is pinged after this time.
    pub interval: Duration,
    /// A connection whose ping is not answered within this time is closed.
    pub timeout: Duration,
}

impl Default for ClientKeepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), timeout: Duration::from_secs(20) }
    }
}

impl ClientKeepalive {
    pub(crate) fn read(settings: &Settings, key: &str) -> Result<Self, ConfigError> {
        let default = Self::default();
        Ok(Self {
            interval: settings.duration(&format!("{key}.interval"))?.unwrap_or(default.interval),
            timeout: settings.duration(&format!("{key}.timeout"))?.unwrap_or(default.timeout),
        })
    }
}

/// How long to wait between attempts to connect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackoffConfig {
    /// After the first failure.
    pub base_delay: Duration,
    /// How much longer after each further failure.
    pub multiplier: f64,
    /// Never longer than this.
    pub max_delay: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self { base_delay: Duration::from_secs(1), multiplier: 1.6, max_delay: Duration::from_secs(120) }
    }
}

/// Where relative paths begin. Fabric's orderer resolves those of `General.TLS` against its configuration file and takes
/// those of its HTTP servers as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathBase {
    /// In the directory of the configuration file.
    File,
    /// Where the process runs.
    WorkingDirectory,
}

/// The TLS files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsConfig {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub private_key: PathBuf,
    /// Certificates of CAs whose servers this node trusts when it is the client; may be empty.
    pub root_cas: Vec<PathBuf>,
    /// Whether clients must show a certificate.
    pub client_auth_required: bool,
    /// Certificates of CAs whose clients are let in.
    pub client_root_cas: Vec<PathBuf>,
    /// How far the clock may be turned back when certificates of peers are judged.
    pub handshake_time_shift: Duration,
}

impl ServerTlsConfig {
    /// Reads a TLS section in the orderer's spelling (`Enabled`, `PrivateKey`, `Certificate`, `RootCAs`, …); `None`
    /// when TLS is off. `base` is where its relative paths begin.
    pub(crate) fn read_orderer(settings: &Settings, key: &str, base: PathBase) -> Result<Option<Self>, ConfigError> {
        let sub = |name: &str| format!("{key}.{name}");
        let path = |name: &str| match base {
            PathBase::File => settings.path(&sub(name)),
            PathBase::WorkingDirectory => settings.working_path(&sub(name)),
        };
        let paths = |name: &str| match base {
            PathBase::File => settings.paths(&sub(name)),
            PathBase::WorkingDirectory => Ok(settings.list(&sub(name))?.into_iter().map(PathBuf::from).collect()),
        };
        let enabled = settings.flag(&sub("Enabled"))?.unwrap_or(false);
        let certificate = path("Certificate")?;
        let private_key = path("PrivateKey")?;
        let tls = Self {
            certificate: certificate.clone().unwrap_or_default(),
            private_key: private_key.clone().unwrap_or_default(),
            root_cas: paths("RootCAs")?,
            client_auth_required: settings.flag(&sub("ClientAuthRequired"))?.unwrap_or(false),
            client_root_cas: paths("ClientRootCAs")?,
            handshake_time_shift: settings.duration(&sub("TLSHandshakeTimeShift"))?.unwrap_or_default(),
        };
        if !enabled {
            return Ok(None);
        }
        for (name, file) in [("Certificate", certificate), ("PrivateKey", private_key)] {
            if file.is_none() {
                return Err(settings.missing(&sub(name), format!("{key} is enabled but has no {name}")));
            }
        }
        Ok(Some(tls))
    }

    /// Reads a TLS section in the peer's spelling (`enabled`, `cert.file`, `key.file`, `clientRootCAs.files`, …).
    pub(crate) fn read_peer(settings: &Settings, key: &str) -> Result<Option<Self>, ConfigError> {
        let sub = |name: &str| format!("{key}.{name}");
        let enabled = settings.flag(&sub("enabled"))?.unwrap_or(false);
        let certificate = settings.path(&sub("cert.file"))?;
        let private_key = settings.path(&sub("key.file"))?;
        let tls = Self {
            certificate: certificate.clone().unwrap_or_default(),
            private_key: private_key.clone().unwrap_or_default(),
            root_cas: settings.path(&sub("rootcert.file"))?.into_iter().collect(),
            client_auth_required: settings.flag(&sub("clientAuthRequired"))?.unwrap_or(false),
            client_root_cas: settings.paths(&sub("clientRootCAs.files"))?,
            handshake_time_shift: settings.duration(&sub("handshakeTimeShift"))?.unwrap_or_default(),
        };
        if !enabled {
            return Ok(None);
        }
        for (name, file) in [("cert.file", certificate), ("key.file", private_key)] {
            if file.is_none() {
                return Err(settings.missing(&sub(name), format!("{key} is enabled but has no {name}")));
            }
        }
        Ok(Some(tls))
    }
}

/// The HTTP server for operators: health, metrics, log levels, version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationsConfig {
    /// Where it listens; `None` turns it off.
    pub listen_address: Option<String>,
    /// Its TLS files; `None` for plain HTTP.
    pub tls: Option<ServerTlsConfig>,
}

/// The address of the profiling server, where it is switched on (Fabric's default is port 6060).
pub(crate) fn read_profile(settings: &Settings, enabled: &str, address: &str) -> Result<Option<String>, ConfigError> {
    let address = settings.non_empty(address)?.unwrap_or_else(|| "0.0.0.0:6060".into());
    Ok(settings.flag(enabled)?.unwrap_or(false).then_some(address))
}

/// Where metrics go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsConfig {
    /// Nowhere.
    Disabled,
    /// They can be fetched from the operations server.
    Prometheus,
    /// They are sent to a statsd daemon.
    Statsd(StatsdConfig),
    /// Nowhere, because the file names a provider that there is not (Fabric warns and goes on without metrics, too).
    Unknown(String),
}

/// A statsd daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsdConfig {
    /// `udp` or `tcp`.
    pub network: String,
    /// Host and port.
    pub address: String,
    /// How often metrics are sent.
    pub write_interval: Duration,
    /// What every name begins with.
    pub prefix: String,
}

impl MetricsConfig {
    /// Reads a `metrics` section; keys are alike in `core.yaml` and `orderer.yaml`.
    pub(crate) fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let statsd = StatsdConfig {
            network: settings.non_empty("Metrics.Statsd.Network")?.unwrap_or_else(|| "udp".into()),
            address: settings.text_or_empty("Metrics.Statsd.Address")?,
            write_interval: settings.duration_or("Metrics.Statsd.WriteInterval", Duration::from_secs(10))?,
            prefix: settings.text_or_empty("Metrics.Statsd.Prefix")?,
        };
        Ok(match settings.text_or_empty("Metrics.Provider")?.as_str() {
            "" | "disabled" => Self::Disabled,
            "prometheus" => Self::Prometheus,
            "statsd" => Self::Statsd(statsd),
            unknown => Self::Unknown(unknown.to_owned()),
        })
    }
}
