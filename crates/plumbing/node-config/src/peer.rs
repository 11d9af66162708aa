use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::server::{DEFAULT_MAX_MESSAGE_SIZE, read_profile};
use crate::{
    ClientKeepalive, ConfigError, DiscoveryConfig, Environment, GossipConfig, Loaded, MetricsConfig, MspLocation,
    OperationsConfig, PrivateDataConfig, ServerKeepalive, ServerTlsConfig, Settings, Value, Warning, open_core,
};
use crate::{keys, warning};

/// The configuration of a peer: `core.yaml` under `CORE_…` (Fabric: `core/peer/config.go` and its neighbours).
#[derive(Debug, Clone, PartialEq)]
pub struct PeerConfig {
    /// The peer's name; only for people.
    pub id: String,
    /// The network's name; only for people.
    pub network_id: String,
    /// Where the peer listens, host and port.
    pub listen_address: String,
    /// Host and port under which other peers of the organization and its chaincode reach the peer, as configured; see
    /// [`Self::advertised_address`].
    pub address: String,
    /// Whether the host of [`Self::address`] is to be replaced by the machine's own address.
    pub address_auto_detect: bool,
    /// The peer's own identity.
    pub msp: MspLocation,
    /// TLS; `None` for plain connections.
    pub tls: Option<PeerTlsConfig>,
    /// How clients are pinged.
    pub keepalive: ServerKeepalive,
    /// How other peers are pinged.
    pub client_keepalive: ClientKeepalive,
    /// How long a TLS handshake may take.
    pub connection_timeout: Duration,
    /// The largest message to take, in bytes.
    pub max_receive_message_size: u32,
    /// The largest message to send, in bytes.
    pub max_send_message_size: u32,
    /// How far a client's clock may be off.
    pub authentication_time_window: Duration,
    /// The checks that proposals pass before the endorser, in order.
    pub proposal_filters: Vec<ProposalFilter>,
    /// How it takes part in gossip.
    pub gossip: GossipConfig,
    /// The sharing of private data.
    pub private_data: PrivateDataConfig,
    /// The pulling of blocks from ordering nodes.
    pub delivery_client: DeliveryClientConfig,
    /// The gateway service.
    pub gateway: GatewayConfig,
    /// The discovery service.
    pub discovery: DiscoveryConfig,
    /// How many requests run at once.
    pub limits: LimitsConfig,
    /// Running chaincode.
    pub chaincode: ChaincodeConfig,
    /// The ledgers.
    pub ledger: LedgerConfig,
    /// Host and port of the profiling server; `None` when profiling is off.
    pub profile_address: Option<String>,
    /// The directory of everything the peer keeps.
    pub file_system_path: PathBuf,
    /// The server for operators.
    pub operations: OperationsConfig,
    /// Where metrics go.
    pub metrics: MetricsConfig,
}

/// The TLS files of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTlsConfig {
    /// The server's side.
    pub server: ServerTlsConfig,
    /// The certificate to show as a client; the server's where the file names none.
    pub client_certificate: PathBuf,
    /// The key of that certificate.
    pub client_private_key: PathBuf,
}

/// A check that proposals pass before the endorser (`peer.handlers.authFilters`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProposalFilter {
    /// Lets everything through.
    Default,
    /// Refuses creators whose certificate has expired.
    Expiration,
    /// Refuses proposals whose time is too far from the peer's clock.
    TimeWindow,
}

/// The pulling of blocks from ordering nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryClientConfig {
    /// How long waits may add up to before the log says that the peer goes on nevertheless.
    pub reconnect_total_threshold: Duration,
    /// The longest wait between attempts.
    pub reconnect_backoff_threshold: Duration,
    /// The shortest wait between attempts.
    pub minimal_reconnect_interval: Duration,
    /// How long connecting may take.
    pub connection_timeout: Duration,
    /// How ordering nodes are pinged.
    pub keepalive: ClientKeepalive,
    /// Addresses to replace.
    pub address_overrides: Vec<AddressOverride>,
    /// Whether blocks are sent on to other peers.
    pub block_gossip_enabled: bool,
}

/// An address of an ordering node in channel configurations, and what to use instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressOverride {
    /// The address in channel configurations.
    pub from: String,
    /// The address to connect to.
    pub to: String,
    /// CA certificates for it; `None` for those of the channel configuration.
    pub ca_certs_file: Option<PathBuf>,
}

/// The gateway service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Whether it is offered.
    pub enabled: bool,
    /// How long other peers may take to endorse.
    pub endorsement_timeout: Duration,
    /// How long an ordering node may take to answer.
    pub broadcast_timeout: Duration,
    /// How long connecting may take.
    pub dial_timeout: Duration,
}

/// How many requests run at once; 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Calls of the endorser.
    pub endorser_service: usize,
    /// Streams of blocks and events.
    pub deliver_service: usize,
    /// Calls of the gateway.
    pub gateway_service: usize,
}

/// Running chaincode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodeConfig {
    /// Where the peer listens for chaincode that dials it; `None` for [`PeerConfig::chaincode_endpoint`]'s default.
    pub listen_address: Option<String>,
    /// The address that chaincode is told to dial.
    pub address: Option<String>,
    /// How long a call may take.
    pub execute_timeout: Duration,
    /// How long building a package may take.
    pub install_timeout: Duration,
    /// How long a chaincode may take to register.
    pub startup_timeout: Duration,
    /// How often chaincode streams are pinged; zero for never.
    pub keepalive: Duration,
    /// Whether chaincode is started by its developer (`mode: dev`).
    pub development_mode: bool,
    /// System chaincodes and whether each may be called.
    pub system: BTreeMap<String, bool>,
    /// Builders that launch packages, in order.
    pub external_builders: Vec<ExternalBuilder>,
    /// The most memory of a chaincode's process that the peer itself starts, in bytes; zero in the file means no limit.
    pub memory: Option<u64>,
    /// Whether chaincode may send several writes in one message, and how many.
    pub write_batch: Option<u32>,
    /// Whether chaincode may read several keys in one message, and how many.
    pub multiple_keys: Option<u32>,
    /// The log level that chaincode is told.
    pub log_level: String,
    /// The log level that the shim is told.
    pub shim_log_level: String,
    /// The log format that chaincode is told.
    pub log_format: String,
}

/// A program that builds and runs packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalBuilder {
    /// Its name in messages.
    pub name: String,
    /// The directory with `bin/detect` and so on.
    pub path: PathBuf,
    /// Environment variables that it gets from the peer.
    pub propagate_environment: Vec<String>,
}

/// The ledgers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerConfig {
    /// Their directory.
    pub directory: PathBuf,
    /// The directory of snapshots.
    pub snapshots_directory: PathBuf,
    /// The state database.
    pub state_database: StateDatabase,
    /// The most results of one query.
    pub total_query_limit: usize,
    /// Whether private keys that are purged are named in the log.
    pub names_purged_keys: bool,
}

/// The state database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateDatabase {
    /// The engine inside the peer (`goleveldb` in configurations).
    Embedded,
}

const SECOND: Duration = Duration::from_secs(1);
/// The port of the chaincode server unless told otherwise.
const DEFAULT_CHAINCODE_PORT: &str = "7052";

/// The most memory of a chaincode's process where `vm.docker.hostConfig.Memory` does not say (as in Fabric's sample file).
const DEFAULT_CHAINCODE_MEMORY: u64 = 2 * 1024 * 1024 * 1024;

impl PeerConfig {
    /// Opens `core.yaml` and reads it under the environment.
    pub fn load(environment: &Environment) -> Result<Loaded<Self>, ConfigError> {
        let settings = open_core(environment)?;
        let config = Self::from_settings(&settings)?;
        Ok(Loaded { config, file: settings.file().to_owned(), warnings: Self::warnings(&settings) })
    }

    /// What has no effect in settings from which a [`PeerConfig`] was read.
    pub fn warnings(settings: &Settings) -> Vec<Warning> {
        warning::collect(settings, keys::CORE)
    }

    /// Reads opened settings.
    pub fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let address =
            s.non_empty("peer.address")?.ok_or_else(|| s.missing("peer.address", "peer.address isn't set"))?;
        if split_host_port(&address).is_none() {
            return Err(ConfigError::Conflict(format!("peer.address isn't in host:port format: {address}")));
        }
        let file_system_path =
            s.path("peer.fileSystemPath")?.unwrap_or_else(|| PathBuf::from("/var/hyperledger/production"));
        Ok(Self {
            id: s.text_or_empty("peer.id")?,
            network_id: s.text_or_empty("peer.networkId")?,
            listen_address: s
                .non_empty("peer.listenAddress")?
                .ok_or_else(|| s.missing("peer.listenAddress", "peer.listenAddress isn't set"))?,
            address,
            address_auto_detect: s.flag("peer.addressAutoDetect")?.unwrap_or(false),
            msp: read_msp(s)?,
            tls: PeerTlsConfig::read(s)?,
            keepalive: read_keepalive(s)?,
            client_keepalive: ClientKeepalive::read(s, "peer.keepalive.client")?,
            connection_timeout: s.duration_or("peer.connectiontimeout", 5 * SECOND)?,
            max_receive_message_size: s.size("peer.maxRecvMsgSize")?.unwrap_or(DEFAULT_MAX_MESSAGE_SIZE),
            max_send_message_size: s.size("peer.maxSendMsgSize")?.unwrap_or(DEFAULT_MAX_MESSAGE_SIZE),
            authentication_time_window: s.duration_or("peer.authentication.timewindow", 900 * SECOND)?,
            proposal_filters: read_proposal_filters(s)?,
            gossip: GossipConfig::read(s)?,
            private_data: PrivateDataConfig::read(s)?,
            delivery_client: DeliveryClientConfig::read(s)?,
            gateway: GatewayConfig {
                enabled: s.flag("peer.gateway.enabled")?.unwrap_or(true),
                endorsement_timeout: s.duration("peer.gateway.endorsementTimeout")?.unwrap_or(10 * SECOND),
                broadcast_timeout: s.duration("peer.gateway.broadcastTimeout")?.unwrap_or(10 * SECOND),
                dial_timeout: s.duration("peer.gateway.dialTimeout")?.unwrap_or(30 * SECOND),
            },
            discovery: DiscoveryConfig::read(s)?,
            limits: LimitsConfig {
                endorser_service: s.count("peer.limits.concurrency.endorserService")?.unwrap_or(0),
                deliver_service: s.count("peer.limits.concurrency.deliverService")?.unwrap_or(0),
                gateway_service: s.count("peer.limits.concurrency.gatewayService")?.unwrap_or(0),
            },
            chaincode: ChaincodeConfig::read(s)?,
            ledger: LedgerConfig::read(s, &file_system_path)?,
            file_system_path,
            profile_address: read_profile(s, "peer.profile.enabled", "peer.profile.listenAddress")?,
            operations: OperationsConfig {
                listen_address: s.non_empty("operations.listenAddress")?,
                tls: ServerTlsConfig::read_peer(s, "operations.tls")?,
            },
            metrics: MetricsConfig::read(s)?,
        })
    }

    /// The address under which others reach the peer: the configured one, or, where that must be found out
    /// (`addressAutoDetect`, or a host such as `0.0.0.0`), the machine's own address with the configured port.
    /// `None` when it must be found out and `local_ip` is not known.
    pub fn advertised_address(&self, local_ip: Option<IpAddr>) -> Option<String> {
        let (host, port) = split_host_port(&self.address)?;
        if !self.address_auto_detect && !is_unspecified(host) {
            return Some(self.address.clone());
        }
        local_ip.map(|ip| std::net::SocketAddr::new(ip, port.parse().unwrap_or_default()).to_string())
    }

    /// Where the peer listens for chaincode and which address chaincode is told to dial, as `(listen, dial)`.
    /// `advertised` is the result of [`Self::advertised_address`]. An error where chaincode could not reach the peer
    /// (Fabric: `computeChaincodeEndpoint`).
    pub fn chaincode_endpoint(&self, advertised: &str) -> Result<(String, String), ConfigError> {
        let invalid = || {
            ConfigError::Conflict(
                "invalid endpoint for chaincode to connect: set peer.chaincodeAddress, peer.chaincodeListenAddress or \
                 peer.address to a host that chaincode can reach"
                    .into(),
            )
        };
        let (peer_host, _) = split_host_port(advertised).ok_or_else(invalid)?;
        let listen =
            self.chaincode.listen_address.clone().unwrap_or_else(|| format!("{peer_host}:{DEFAULT_CHAINCODE_PORT}"));
        let dial = match &self.chaincode.address {
            Some(address) => address.clone(),
            None => {
                let (host, port) = split_host_port(&listen).ok_or_else(invalid)?;
                if is_unspecified(host) { format!("{peer_host}:{port}") } else { listen.clone() }
            }
        };
        match split_host_port(&dial) {
            Some((host, _)) if !is_unspecified(host) => Ok((listen, dial)),
            _ => Err(invalid()),
        }
    }
}

/// Host and port of an address, an IPv6 host without its brackets.
fn split_host_port(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port))
}

fn is_unspecified(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn read_msp(s: &Settings) -> Result<MspLocation, ConfigError> {
    let id =
        s.non_empty("peer.localMspId")?.ok_or_else(|| s.missing("peer.localMspId", "the local MSP must have an ID"))?;
    let directory = s
        .path("peer.mspConfigPath")?
        .ok_or_else(|| s.missing("peer.mspConfigPath", "the peer does not know where its MSP directory is"))?;
    if s.non_empty("peer.localMspType")?.is_some_and(|kind| kind != "bccsp") {
        return Err(s.unusable("peer.localMspType", "a peer's own identity is always of type bccsp"));
    }
    MspLocation::read(s, id, directory, "peer.BCCSP")
}

fn read_keepalive(s: &Settings) -> Result<ServerKeepalive, ConfigError> {
    let default = ServerKeepalive::default();
    Ok(ServerKeepalive {
        interval: s.duration("peer.keepalive.interval")?.unwrap_or(default.interval),
        timeout: s.duration("peer.keepalive.timeout")?.unwrap_or(default.timeout),
    })
}

fn read_proposal_filters(s: &Settings) -> Result<Vec<ProposalFilter>, ConfigError> {
    const KEY: &str = "peer.handlers.authFilters";
    let Some(Value::List(items)) = s.value(KEY)? else { return Ok(Vec::new()) };
    items
        .iter()
        .map(|item| match item.get("name") {
            Some(Value::Text(name)) if name == "DefaultAuth" => Ok(ProposalFilter::Default),
            Some(Value::Text(name)) if name == "ExpirationCheck" => Ok(ProposalFilter::Expiration),
            Some(Value::Text(name)) if name == "TimeWindowCheck" => Ok(ProposalFilter::TimeWindow),
            _ => Err(s.unusable(
                KEY,
                "each filter must be named DefaultAuth, ExpirationCheck or TimeWindowCheck; plug-ins in Go cannot be \
                 loaded",
            )),
        })
        .collect()
}

impl PeerTlsConfig {
    fn read(s: &Settings) -> Result<Option<Self>, ConfigError> {
        let certificate = s.path("peer.tls.clientCert.file")?;
        let key = s.path("peer.tls.clientKey.file")?;
        let Some(server) = ServerTlsConfig::read_peer(s, "peer.tls")? else { return Ok(None) };
        let (client_certificate, client_private_key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => (server.certificate.clone(), server.private_key.clone()),
            _ => {
                return Err(ConfigError::Conflict(
                    "peer.tls.clientKey.file and peer.tls.clientCert.file must both be set or must both be empty"
                        .into(),
                ));
            }
        };
        Ok(Some(Self { server, client_certificate, client_private_key }))
    }
}

impl DeliveryClientConfig {
    fn read(s: &Settings) -> Result<Self, ConfigError> {
        let key = |name: &str| format!("peer.deliveryclient.{name}");
        Ok(Self {
            reconnect_total_threshold: s.duration_or(&key("reconnectTotalTimeThreshold"), 3600 * SECOND)?,
            reconnect_backoff_threshold: s.duration_or(&key("reConnectBackoffThreshold"), 3600 * SECOND)?,
            minimal_reconnect_interval: s
                .duration(&key("minimalReconnectInterval"))?
                .unwrap_or(Duration::from_millis(100)),
            connection_timeout: s.duration_or(&key("connTimeout"), 3 * SECOND)?,
            keepalive: ClientKeepalive::read(s, "peer.keepalive.deliveryClient")?,
            address_overrides: read_address_overrides(s)?,
            block_gossip_enabled: s.flag(&key("blockGossipEnabled"))?.unwrap_or(false),
        })
    }
}

fn read_address_overrides(s: &Settings) -> Result<Vec<AddressOverride>, ConfigError> {
    const KEY: &str = "peer.deliveryclient.addressOverrides";
    let items = match s.value(KEY)? {
        None => return Ok(Vec::new()),
        Some(Value::List(items)) => items,
        Some(_) => return Err(s.unusable(KEY, "it must be a list of from, to and caCertsFile")),
    };
    items
        .iter()
        .map(|item| match (item.get("from"), item.get("to")) {
            (Some(Value::Text(from)), Some(Value::Text(to))) => Ok(AddressOverride {
                from: from.clone(),
                to: to.clone(),
                ca_certs_file: match item.get("caCertsFile") {
                    Some(Value::Text(file)) if !file.is_empty() => Some(file.into()),
                    _ => None,
                },
            }),
            _ => Err(s.unusable(KEY, "each override needs the addresses from and to")),
        })
        .collect()
}

impl ChaincodeConfig {
    fn read(s: &Settings) -> Result<Self, ConfigError> {
        let batch = |flag: &str, size: &str| {
            let size = s.count(&format!("chaincode.runtimeParams.{size}"))?.filter(|size| *size > 0);
            let on = s.flag(&format!("chaincode.runtimeParams.{flag}"))?.unwrap_or(false);
            Ok::<_, ConfigError>(on.then(|| size.unwrap_or(1000)))
        };
        let execute_timeout = s.duration("chaincode.executetimeout")?.unwrap_or_default();
        Ok(Self {
            listen_address: s.non_empty("peer.chaincodeListenAddress")?,
            address: s.non_empty("peer.chaincodeAddress")?,
            execute_timeout: if execute_timeout < SECOND { 30 * SECOND } else { execute_timeout },
            install_timeout: s.duration_or("chaincode.installTimeout", 300 * SECOND)?,
            startup_timeout: s.duration("chaincode.startuptimeout")?.unwrap_or_default().max(5 * SECOND),
            keepalive: s
                .text_or_empty("chaincode.keepalive")?
                .trim()
                .parse()
                .map_or(Duration::ZERO, Duration::from_secs),
            development_mode: s.text_or_empty("chaincode.mode")? == "dev",
            system: read_system_chaincodes(s)?,
            external_builders: read_external_builders(s)?,
            memory: s
                .count("vm.docker.hostConfig.Memory")?
                .map_or(Some(DEFAULT_CHAINCODE_MEMORY), |bytes| Some(bytes).filter(|bytes| *bytes > 0)),
            write_batch: batch("useWriteBatch", "maxSizeWriteBatch")?,
            multiple_keys: batch("useGetMultipleKeys", "maxSizeGetMultipleKeys")?,
            log_level: s.non_empty("chaincode.logging.level")?.unwrap_or_else(|| "info".into()),
            shim_log_level: s.non_empty("chaincode.logging.shim")?.unwrap_or_else(|| "info".into()),
            log_format: s.text_or_empty("chaincode.logging.format")?,
        })
    }
}

fn read_system_chaincodes(s: &Settings) -> Result<BTreeMap<String, bool>, ConfigError> {
    const KEY: &str = "chaincode.system";
    let Some(Value::Map(entries)) = s.value(KEY)? else { return Ok(BTreeMap::new()) };
    entries
        .iter()
        .map(|(name, _)| {
            let setting = s.text_or_empty(&format!("{KEY}.{name}"))?;
            let on = matches!(
                setting.trim().to_ascii_lowercase().as_str(),
                "true" | "t" | "1" | "enable" | "enabled" | "yes"
            );
            Ok((name.clone(), on))
        })
        .collect()
}

fn read_external_builders(s: &Settings) -> Result<Vec<ExternalBuilder>, ConfigError> {
    const KEY: &str = "chaincode.externalBuilders";
    let items = match s.value(KEY)? {
        None => return Ok(Vec::new()),
        Some(Value::List(items)) => items,
        Some(_) => return Err(s.unusable(KEY, "it must be a list of name, path and propagateEnvironment")),
    };
    let text = |item: &Value, key: &str| match item.get(key) {
        Some(Value::Text(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    items
        .iter()
        .map(|item| {
            let path = text(item, "path").ok_or_else(|| {
                ConfigError::Conflict(
                    "invalid external builder configuration, path attribute missing in one or more builders".into(),
                )
            })?;
            let name = text(item, "name").ok_or_else(|| {
                ConfigError::Conflict(format!("external builder at path {path} has no name attribute"))
            })?;
            let variables = ["propagateEnvironment", "environmentWhitelist"]
                .iter()
                .find_map(|key| match item.get(key) {
                    Some(Value::List(names)) if !names.is_empty() => Some(names),
                    _ => None,
                })
                .into_iter()
                .flatten()
                .filter_map(|name| if let Value::Text(name) = name { Some(name.clone()) } else { None })
                .collect();
            Ok(ExternalBuilder { name, path: path.into(), propagate_environment: variables })
        })
        .collect()
}

impl LedgerConfig {
    fn read(s: &Settings, file_system_path: &Path) -> Result<Self, ConfigError> {
        let state_database = match s.text_or_empty("ledger.state.stateDatabase")?.as_str() {
            "" | "goleveldb" => StateDatabase::Embedded,
            other => {
                let reason = if other == "CouchDB" { "CouchDB is not supported yet" } else { "it is unknown" };
                return Err(s.unusable("ledger.state.stateDatabase", format!("{reason}; set it to goleveldb")));
            }
        };
        Ok(Self {
            directory: file_system_path.join("ledgersData"),
            snapshots_directory: s
                .working_path("ledger.snapshots.rootDir")?
                .unwrap_or_else(|| file_system_path.join("snapshots")),
            state_database,
            total_query_limit: s.count("ledger.state.totalQueryLimit")?.unwrap_or(10_000),
            names_purged_keys: s.flag("ledger.pvtdataStore.purgedKeyAuditLogging")?.unwrap_or(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EmptyVariable;

    fn settings(yaml: &str, variables: &[(&str, &str)]) -> Settings {
        let root = Value::parse_yaml(yaml).unwrap();
        Settings::new(
            root,
            "/net/core.yaml".into(),
            "CORE",
            EmptyVariable::Replaces,
            variables.iter().copied().collect(),
        )
    }

    const SMALL: &str = "
peer:
  address: peer0.org1:7051
  listenAddress: 0.0.0.0:7051
  localMspId: Org1MSP
  mspConfigPath: msp
  fileSystemPath: data
  BCCSP: {Default: SW, SW: {Hash: SHA2, Security: 256}}
  tls:
    enabled: true
    cert: {file: tls/server.crt}
    key: {file: tls/server.key}
  handlers:
    authFilters: [{name: DefaultAuth}, {name: ExpirationCheck}]
    endorsers: {escc: {name: DefaultEndorsement, library: }}
  deliveryclient:
    addressOverrides:
      - {from: orderer:7050, to: localhost:7050, caCertsFile: ca.pem}
vm: {endpoint: 'unix:///var/run/docker.sock', docker: {attachStdout: false}}
chaincode: {executetimeout: 500ms, system: {cscc: enable, lscc: disable}, logging: {level: debug}}
ledger: {state: {couchDBConfig: {maxRetries: 3}}}
";

    #[test]
    fn a_small_file_is_completed_with_fabrics_defaults() {
        let peer = PeerConfig::from_settings(&settings(SMALL, &[])).unwrap();
        assert_eq!(peer.msp.id.as_str(), "Org1MSP");
        assert_eq!(peer.msp.directory, Path::new("/net/msp"));
        let tls = peer.tls.as_ref().unwrap();
        assert_eq!(tls.client_certificate, Path::new("/net/tls/server.crt"));
        assert_eq!(peer.proposal_filters, [ProposalFilter::Default, ProposalFilter::Expiration]);
        assert_eq!(peer.delivery_client.address_overrides[0].ca_certs_file, Some("ca.pem".into()));
        assert_eq!(peer.chaincode.execute_timeout, 30 * SECOND);
        assert_eq!(peer.chaincode.startup_timeout, 5 * SECOND);
        assert_eq!(peer.chaincode.system, [("cscc".to_owned(), true), ("lscc".to_owned(), false)].into());
        assert_eq!(peer.ledger.snapshots_directory, Path::new("/net/data/snapshots"));
        assert!(peer.ledger.names_purged_keys);
        assert_eq!(peer.gateway.endorsement_timeout, 10 * SECOND);
        assert_eq!(peer.keepalive.interval, 7200 * SECOND);
    }

    #[test]
    fn the_environment_sets_what_the_file_lacks() {
        let s = settings(
            SMALL,
            &[
                ("CORE_PEER_GATEWAY_ENABLED", "false"),
                ("CORE_PEER_GOSSIP_EXTERNALENDPOINT", "a:1"),
                ("CORE_CHAINCODE_EXTERNALBUILDERS", "[{name: x, path: /b, propagateEnvironment: [HOME]}]"),
                ("CORE_PEER_TLS_CLIENTAUTHREQUIRED", "true"),
                ("CORE_PEER_TLS_CLIENTROOTCAS_FILES", "a.pem /b.pem"),
                ("CORE_METRICS_PROVIDER", "prometheus"),
                ("CORE_PEER_GOSSIP_PVTDATA_IMPLICITCOLLECTIONDISSEMINATIONPOLICY_MAXPEERCOUNT", "3"),
                ("CORE_PEER_GOSSIP_PVTDATA_PULLRETRYTHRESHOLD", "7s"),
            ],
        );
        let peer = PeerConfig::from_settings(&s).unwrap();
        assert!(!peer.gateway.enabled);
        assert_eq!(peer.gossip.external_endpoint.as_deref(), Some("a:1"));
        assert_eq!(peer.chaincode.external_builders[0].propagate_environment, ["HOME"]);
        let tls = peer.tls.unwrap().server;
        assert!(tls.client_auth_required);
        assert_eq!(tls.client_root_cas, [PathBuf::from("/net/a.pem"), PathBuf::from("/b.pem")]);
        assert_eq!(peer.metrics, MetricsConfig::Prometheus);
        assert_eq!(peer.private_data.implicit_maximum_peer_count, 3);
        assert_eq!(peer.private_data.pull_retry_threshold, 7 * SECOND);
        let unsound = [("CORE_PEER_GOSSIP_PVTDATA_IMPLICITCOLLECTIONDISSEMINATIONPOLICY_REQUIREDPEERCOUNT", "2")];
        let error = PeerConfig::from_settings(&settings(SMALL, &unsound)).unwrap_err().to_string();
        assert!(error.contains("maxPeerCount (1) cannot be less than requiredPeerCount (2)"), "{error}");
    }

    #[test]
    fn a_file_that_a_program_wrote_back_means_the_same() {
        let written = "
peer:
  address: 127.0.0.1:1
  addressautodetect: false
  ChaincodeListenAddress: 0.0.0.0:2
  listenaddress: 127.0.0.1:1
  keepalive: {mininterval: 1m0s, client: {interval: 1m0s, timeout: 20s}, deliveryClient: null}
  gossip: {externalEndpoint: 127.0.0.1:1, stateInfoRetentionInterval: 0s, pvtData: null}
  tls: {enabled: true, cert: {file: /c}, key: {file: /k}, clientRootCAs: {files: null}}
  authentication: {timewindow: 15m0s}
  fileSystemPath: filesystem
  BCCSP: {Default: SW, SW: {Hash: SHA2, Security: 256}}
  mspConfigPath: /msp
  localMspId: Org1MSP
  deliveryclient: {reconnectTotalTimeThreshold: 1h0m0s, connTimeout: 1.5s, addressOverrides: null}
  handlers: {authFilters: [{name: DefaultAuth}]}
  limits: {concurrency: {endorserService: 100}}
chaincode: {startupTimeout: 5m0s, executeTimeout: 30s, keepalive: 0, externalBuilders: null}
ledger: {pvtdataStore: {deprioritizeddatareconcilerinterval: 1h0m0s, purgedKeyAuditLogging: false}}
operations: {listenAddress: 127.0.0.1:3, tls: {enabled: false, clientAuthRequired: false}}
metrics: {provider: statsd, statsd: {network: tcp, address: 127.0.0.1:4, writeInterval: 5s, prefix: org1_peer0}}
";
        let peer = PeerConfig::from_settings(&settings(written, &[])).unwrap();
        assert_eq!(peer.client_keepalive.interval, 60 * SECOND);
        assert_eq!(peer.delivery_client.connection_timeout, Duration::from_millis(1500));
        assert_eq!(peer.chaincode.startup_timeout, 300 * SECOND);
        assert_eq!(peer.chaincode_endpoint("127.0.0.1:1").unwrap().0, "0.0.0.0:2");
        assert_eq!(peer.file_system_path, Path::new("/net/filesystem"));
        assert!(peer.tls.unwrap().server.client_root_cas.is_empty());
        let private = peer.private_data;
        assert_eq!((private.pull_retry_threshold, private.push_ack_timeout), (Duration::ZERO, 3 * SECOND));
        assert_eq!((private.reconcile_sleep_interval, private.deprioritized_interval), (60 * SECOND, 3600 * SECOND));
        assert_eq!((private.btl_pull_margin, private.reconcile_batch_size.get()), (10, 10));
        assert!(!peer.ledger.names_purged_keys);
        assert!(private.reconciliation_enabled && !private.skip_pulling_invalid_transactions);
    }

    #[test]
    fn keys_without_effect_are_warned_of_once() {
        let s = settings(
            &format!("{SMALL}typo: {{here: 1}}\n"),
            &[("CORE_VM_ENDPOINT", ""), ("CORE_CHAINCODE_PULL", "true"), ("CORE_PEER_IDD", "1")],
        );
        PeerConfig::from_settings(&s).unwrap();
        let warnings: Vec<String> = PeerConfig::warnings(&s).iter().map(ToString::to_string).collect();
        let [docker, couchdb, key, variable] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(
            docker.starts_with("configuration keys vm, chaincode.pull have no effect: there is no Docker"),
            "{docker}"
        );
        assert!(couchdb.starts_with("configuration key ledger.state.couchDBConfig has no effect"), "{couchdb}");
        assert_eq!(key, "configuration key typo.here is unknown and has no effect");
        assert!(variable.starts_with("environment variable CORE_PEER_IDD sets no known"), "{variable}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (variable, value, message) in [
            (
                "CORE_PEER_ADDRESS",
                "",
                "peer.address isn't set: set peer.address in /net/core.yaml or CORE_PEER_ADDRESS",
            ),
            ("CORE_PEER_ADDRESS", "nowhere", "peer.address isn't in host:port format: nowhere"),
            ("CORE_PEER_LOCALMSPID", "", "the local MSP must have an ID"),
            (
                "CORE_LEDGER_STATE_STATEDATABASE",
                "CouchDB",
                "ledger.state.stateDatabase (from CORE_LEDGER_STATE_STATEDATABASE)",
            ),
            ("CORE_PEER_BCCSP_DEFAULT", "PKCS11", "peer.BCCSP.Default (from CORE_PEER_BCCSP_DEFAULT) is 'PKCS11'"),
            ("CORE_PEER_TLS_CLIENTKEY_FILE", "k", "peer.tls.clientKey.file and peer.tls.clientCert.file must both"),
        ] {
            let error = PeerConfig::from_settings(&settings(SMALL, &[(variable, value)])).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn addresses_that_nobody_can_dial_are_replaced() {
        let peer = |variables: &[_]| PeerConfig::from_settings(&settings(SMALL, variables)).unwrap();
        let ip = Some("10.0.0.7".parse().unwrap());
        let fixed = peer(&[]);
        assert_eq!(fixed.advertised_address(ip).as_deref(), Some("peer0.org1:7051"));
        assert_eq!(
            fixed.chaincode_endpoint("peer0.org1:7051").unwrap(),
            ("peer0.org1:7052".to_owned(), "peer0.org1:7052".to_owned())
        );
        let any = peer(&[("CORE_PEER_ADDRESS", "0.0.0.0:7051"), ("CORE_PEER_CHAINCODELISTENADDRESS", "0.0.0.0:9")]);
        assert_eq!(any.advertised_address(ip).as_deref(), Some("10.0.0.7:7051"));
        assert_eq!(any.advertised_address(None), None);
        assert_eq!(any.chaincode_endpoint("10.0.0.7:7051").unwrap().1, "10.0.0.7:9");
        assert!(peer(&[("CORE_PEER_CHAINCODEADDRESS", "[::]:9")]).chaincode_endpoint("a:1").is_err());
    }
}
