use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::server::{DEFAULT_MAX_MESSAGE_SIZE, PathBase, read_profile};
use crate::{
    BackoffConfig, ConfigError, Environment, Loaded, MetricsConfig, MspLocation, OperationsConfig, ServerKeepalive,
    ServerTlsConfig, Settings, Warning, open_orderer,
};
use crate::{keys, warning};

/// The configuration of an ordering node: `orderer.yaml` under `ORDERER_…` (Fabric: `orderer/common/localconfig`).
#[derive(Debug, Clone, PartialEq)]
pub struct OrdererConfig {
    /// The host or IP address on which the node listens.
    pub listen_host: String,
    /// The port on which the node listens.
    pub listen_port: u16,
    /// The TLS files; `None` for plain connections.
    pub tls: Option<ServerTlsConfig>,
    /// Links to the other ordering nodes.
    pub cluster: ClusterConfig,
    /// How clients are pinged.
    pub keepalive: ServerKeepalive,
    /// How long to wait between attempts to connect.
    pub backoff: BackoffConfig,
    /// How long a TLS handshake may take.
    pub connection_timeout: Duration,
    /// The node's own identity.
    pub msp: MspLocation,
    /// How far a client's clock may be off in requests for blocks.
    pub authentication_time_window: Duration,
    /// Whether expired certificates of clients are let through.
    pub no_expiration_checks: bool,
    /// The largest message to take, in bytes.
    pub max_receive_message_size: u32,
    /// The largest message to send, in bytes.
    pub max_send_message_size: u32,
    /// Limits on the rate of messages.
    pub throttling: ThrottlingConfig,
    /// Host and port of the profiling server; `None` when profiling is off.
    pub profile_address: Option<String>,
    /// The directory of the ledgers.
    pub ledger_directory: PathBuf,
    /// The server for operators.
    pub operations: OperationsConfig,
    /// Where metrics go.
    pub metrics: MetricsConfig,
    /// The server of the channel participation API.
    pub admin: AdminConfig,
    /// Consensus on this node.
    pub consensus: ConsensusConfig,
}

/// Links to the other ordering nodes. A separate listener exists when port, certificate and key are all given.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// Host and port of a listener of its own for ordering nodes; `None` when they share the clients' listener.
    pub listen: Option<(String, u16)>,
    /// The certificate of that listener.
    pub server_certificate: Option<PathBuf>,
    /// The key of that listener.
    pub server_private_key: Option<PathBuf>,
    /// The certificate to show to other ordering nodes.
    pub client_certificate: Option<PathBuf>,
    /// The key of that certificate.
    pub client_private_key: Option<PathBuf>,
    /// CA certificates of other ordering nodes, beyond those in channel configurations.
    pub root_cas: Vec<PathBuf>,
    /// How long connecting may take.
    pub dial_timeout: Duration,
    /// How long a call may take.
    pub rpc_timeout: Duration,
    /// How many bytes of pulled blocks are held in memory.
    pub replication_buffer_size: usize,
    /// How long to wait for a block from another node.
    pub replication_pull_timeout: Duration,
    /// How long to wait between attempts to pull.
    pub replication_retry_timeout: Duration,
    /// How many attempts to pull before giving up.
    pub replication_max_retries: u32,
    /// How pulled blocks are checked under byzantine consensus.
    pub replication_policy: ReplicationPolicy,
    /// How many consensus messages wait for a slow node before messages are dropped.
    pub send_buffer_size: usize,
    /// How long before its end a certificate's expiry is warned of.
    pub certificate_expiration_warning: Duration,
    /// How far the clock may be turned back when certificates of ordering nodes are judged.
    pub handshake_time_shift: Duration,
}

/// How an ordering node that lags behind pulls blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicationPolicy {
    /// From one node.
    Simple,
    /// From one node, with headers from others.
    Consensus,
}

/// Limits on the rate of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottlingConfig {
    /// Messages a second over all clients; 0 means no limit.
    pub rate: u32,
    /// A client that is silent for this time no longer counts.
    pub inactivity_timeout: Duration,
}

/// The server of the channel participation API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// Host and port.
    pub listen_address: String,
    /// The TLS files; clients must show certificates. `None` for plain HTTP.
    pub tls: Option<ServerTlsConfig>,
    /// The largest request, in bytes.
    pub max_request_body_size: u32,
}

/// Consensus on this node (the `Consensus` section).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// The directory of write-ahead logs, one a channel below.
    pub wal_directory: PathBuf,
    /// The directory of snapshots, one a channel below.
    pub snapshot_directory: PathBuf,
    /// After how long without a leader a node looks whether it was removed from the channel.
    pub eviction_suspicion: Duration,
    /// Replaces the tick interval of all channels.
    pub tick_interval_override: Option<Duration>,
}

const SECOND: Duration = Duration::from_secs(1);

impl OrdererConfig {
    /// Opens `orderer.yaml` and reads it under the environment.
    pub fn load(environment: &Environment) -> Result<Loaded<Self>, ConfigError> {
        let settings = open_orderer(environment)?;
        let config = Self::from_settings(&settings)?;
        Ok(Loaded { config, file: settings.file().to_owned(), warnings: Self::warnings(&settings) })
    }

    /// What has no effect in settings from which an [`OrdererConfig`] was read.
    pub fn warnings(settings: &Settings) -> Vec<Warning> {
        warning::collect(settings, keys::ORDERER)
    }

    /// Reads opened settings.
    pub fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let listen_port = s.count("General.ListenPort")?.filter(|port| *port != 0).unwrap_or(7050);
        let listen_host = s.non_empty("General.ListenAddress")?.unwrap_or_else(|| "127.0.0.1".into());
        let keepalive = ServerKeepalive::default();
        let backoff = BackoffConfig::default();
        let msp_id = s.non_empty("General.LocalMSPID")?.unwrap_or_else(|| "SampleOrg".into());
        let msp_directory = s.path("General.LocalMSPDir")?.unwrap_or_else(|| s.resolve("msp"));
        let ledger_directory =
            s.path("FileLedger.Location")?.unwrap_or_else(|| PathBuf::from("/var/hyperledger/production/orderer"));
        let message_size =
            |key| Ok::<_, ConfigError>(s.size(key)?.filter(|size| *size != 0).unwrap_or(DEFAULT_MAX_MESSAGE_SIZE));
        Ok(Self {
            tls: ServerTlsConfig::read_orderer(s, "General.TLS", PathBase::File)?,
            cluster: ClusterConfig::read(s, &listen_host)?,
            listen_host,
            listen_port,
            keepalive: ServerKeepalive {
                interval: s.duration_or("General.Keepalive.ServerInterval", keepalive.interval)?,
                timeout: s.duration_or("General.Keepalive.ServerTimeout", keepalive.timeout)?,
            },
            backoff: BackoffConfig {
                base_delay: s.duration_or("General.Backoff.BaseDelay", backoff.base_delay)?,
                multiplier: s.number("General.Backoff.Multiplier")?.unwrap_or(backoff.multiplier),
                max_delay: s.duration_or("General.Backoff.MaxDelay", backoff.max_delay)?,
            },
            connection_timeout: s.duration_or("General.ConnectionTimeout", 5 * SECOND)?,
            msp: MspLocation::read(s, msp_id, msp_directory, "General.BCCSP")?,
            authentication_time_window: s.duration_or("General.Authentication.TimeWindow", 900 * SECOND)?,
            no_expiration_checks: s.flag("General.Authentication.NoExpirationChecks")?.unwrap_or(false),
            max_receive_message_size: message_size("General.MaxRecvMsgSize")?,
            max_send_message_size: message_size("General.MaxSendMsgSize")?,
            throttling: ThrottlingConfig {
                rate: s.count("General.Throttling.Rate")?.unwrap_or(0),
                inactivity_timeout: s.duration_or("General.Throttling.InactivityTimeout", 5 * SECOND)?,
            },
            profile_address: read_profile(s, "General.Profile.Enabled", "General.Profile.Address")?,
            operations: OperationsConfig {
                listen_address: Some(s.non_empty("Operations.ListenAddress")?.unwrap_or_else(|| "127.0.0.1:0".into())),
                tls: ServerTlsConfig::read_orderer(s, "Operations.TLS", PathBase::WorkingDirectory)?,
            },
            metrics: MetricsConfig::read(s)?,
            admin: AdminConfig::read(s)?,
            consensus: ConsensusConfig::read(s, &ledger_directory)?,
            ledger_directory,
        })
    }
}

impl ClusterConfig {
    fn read(s: &Settings, listen_host: &str) -> Result<Self, ConfigError> {
        let port: Option<u16> = s.count("General.Cluster.ListenPort")?.filter(|port| *port != 0);
        let host = s.non_empty("General.Cluster.ListenAddress")?;
        let server_certificate = s.working_path("General.Cluster.ServerCertificate")?;
        let server_private_key = s.working_path("General.Cluster.ServerPrivateKey")?;
        let given = [port.is_some(), server_certificate.is_some(), server_private_key.is_some(), host.is_some()];
        // Fabric: `configureClusterListener` takes the four keys together or none of them.
        if given.contains(&true) && given.contains(&false) {
            return Err(ConfigError::Conflict(
                "Options: General.Cluster.ListenPort, General.Cluster.ListenAddress, \
                 General.Cluster.ServerCertificate, General.Cluster.ServerPrivateKey, should be defined altogether."
                    .into(),
            ));
        }
        let count = |key, default: u32| Ok::<_, ConfigError>(s.count(key)?.filter(|n| *n != 0).unwrap_or(default));
        Ok(Self {
            listen: port.map(|port| (host.unwrap_or_else(|| listen_host.to_owned()), port)),
            server_certificate,
            server_private_key,
            client_certificate: s.path("General.Cluster.ClientCertificate")?,
            client_private_key: s.path("General.Cluster.ClientPrivateKey")?,
            root_cas: s.paths("General.Cluster.RootCAs")?,
            dial_timeout: s.duration_or("General.Cluster.DialTimeout", 5 * SECOND)?,
            rpc_timeout: s.duration_or("General.Cluster.RPCTimeout", 7 * SECOND)?,
            replication_buffer_size: count("General.Cluster.ReplicationBufferSize", 20_971_520)? as usize,
            replication_pull_timeout: s.duration_or("General.Cluster.ReplicationPullTimeout", 5 * SECOND)?,
            replication_retry_timeout: s.duration_or("General.Cluster.ReplicationRetryTimeout", 5 * SECOND)?,
            replication_max_retries: count("General.Cluster.ReplicationMaxRetries", 12)?,
            replication_policy: match s.text_or_empty("General.Cluster.ReplicationPolicy")?.as_str() {
                "simple" => ReplicationPolicy::Simple,
                _ => ReplicationPolicy::Consensus,
            },
            send_buffer_size: count("General.Cluster.SendBufferSize", 100)? as usize,
            certificate_expiration_warning: s
                .duration_or("General.Cluster.CertExpirationWarningThreshold", 7 * 24 * 3600 * SECOND)?,
            handshake_time_shift: s.duration("General.Cluster.TLSHandshakeTimeShift")?.unwrap_or_default(),
        })
    }
}

impl AdminConfig {
    fn read(s: &Settings) -> Result<Self, ConfigError> {
        let tls = ServerTlsConfig::read_orderer(s, "Admin.TLS", PathBase::WorkingDirectory)?;
        if tls.as_ref().is_some_and(|tls| !tls.client_auth_required) {
            return Err(ConfigError::Conflict(
                "Admin.TLS.ClientAuthRequired must be set to true if Admin.TLS.Enabled is set to true".into(),
            ));
        }
        Ok(Self {
            listen_address: s.non_empty("Admin.ListenAddress")?.unwrap_or_else(|| "127.0.0.1:0".into()),
            tls,
            max_request_body_size: s.size("ChannelParticipation.MaxRequestBodySize")?.unwrap_or(1024 * 1024),
        })
    }
}

impl ConsensusConfig {
    /// Where the file says nothing, both directories are under that of the ledgers.
    fn read(s: &Settings, ledger_directory: &Path) -> Result<Self, ConfigError> {
        let directory =
            |key, default| Ok::<_, ConfigError>(s.working_path(key)?.unwrap_or_else(|| ledger_directory.join(default)));
        Ok(Self {
            wal_directory: directory("Consensus.WALDir", "etcdraft/wal")?,
            snapshot_directory: directory("Consensus.SnapDir", "etcdraft/snapshot")?,
            eviction_suspicion: s.duration_or("Consensus.EvictionSuspicion", 600 * SECOND)?,
            tick_interval_override: s.duration("Consensus.TickIntervalOverride")?.filter(|tick| !tick.is_zero()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EmptyVariable, Value};

    fn read(yaml: &str, variables: &[(&str, &str)]) -> Result<OrdererConfig, ConfigError> {
        let root = Value::parse_yaml(yaml).unwrap();
        let environment = variables.iter().copied().collect();
        let file = "/net/orderer.yaml".into();
        OrdererConfig::from_settings(&Settings::new(root, file, "ORDERER", EmptyVariable::Ignored, environment))
    }

    #[test]
    fn an_empty_file_gives_fabrics_defaults() {
        let orderer = read("", &[]).unwrap();
        assert_eq!((orderer.listen_host.as_str(), orderer.listen_port), ("127.0.0.1", 7050));
        assert_eq!(orderer.msp.directory, Path::new("/net/msp"));
        assert_eq!(orderer.max_receive_message_size, 100 * 1024 * 1024);
        assert_eq!(orderer.cluster.rpc_timeout, 7 * SECOND);
        assert_eq!(orderer.consensus.eviction_suspicion, 600 * SECOND);
        assert_eq!(orderer.metrics, MetricsConfig::Disabled);
    }

    #[test]
    fn lists_and_sizes_come_from_file_and_environment() {
        let yaml = "General:\n  TLS: {Enabled: true, Certificate: c, PrivateKey: k, ClientRootCAs: }\n\
                    ChannelParticipation: {MaxRequestBodySize: 2 MB}\n";
        let orderer = read(
            yaml,
            &[
                ("ORDERER_GENERAL_TLS_ROOTCAS", "[/a/ca.crt, b.crt]"),
                ("ORDERER_GENERAL_LISTENPORT", "7150"),
                ("ORDERER_GENERAL_BACKOFF_MAXDELAY", "20s"),
                ("ORDERER_CONSENSUS_WALDIR", "/w"),
                ("ORDERER_GENERAL_LISTENADDRESS", ""),
            ],
        )
        .unwrap();
        let tls = orderer.tls.unwrap();
        assert_eq!(tls.root_cas, [PathBuf::from("/a/ca.crt"), PathBuf::from("/net/b.crt")]);
        assert!(tls.client_root_cas.is_empty());
        assert_eq!(orderer.listen_port, 7150);
        assert_eq!(orderer.backoff.max_delay, 20 * SECOND);
        assert_eq!(orderer.consensus.wal_directory, Path::new("/w"));
        assert_eq!(orderer.admin.max_request_body_size, 2 << 20);
        assert_eq!(orderer.listen_host, "127.0.0.1");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let admin = read("Admin: {TLS: {Enabled: true, Certificate: c, PrivateKey: k}}", &[]).unwrap_err();
        assert_eq!(
            admin.to_string(),
            "Admin.TLS.ClientAuthRequired must be set to true if Admin.TLS.Enabled is set to true"
        );
        let cluster = read("", &[("ORDERER_GENERAL_CLUSTER_LISTENPORT", "7055")]).unwrap_err();
        assert!(cluster.to_string().ends_with("should be defined altogether."), "{cluster}");
        let port = read("General: {ListenPort: 70000}", &[]).unwrap_err();
        assert_eq!(port.to_string(), "General.ListenPort (in /net/orderer.yaml) is 70000: it is out of range");
    }
}
