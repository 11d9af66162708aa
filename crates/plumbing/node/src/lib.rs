//! What every node has, whatever it does.
//!
//! What question this crate answers: *how does a process of the network present itself, show itself to its operator, and
//! learn that it has to stop?* Peer and orderer begin with a [`Node`]: it reads TLS files and keeps them fresh, serves the
//! operations endpoint, sends metrics where the configuration wants them, and makes the options of gRPC listeners. They end
//! with [`until_stopped`].
//!
//! It stands below the programs and above the other machinery, which it puts together as `core.yaml` and `orderer.yaml` say.
//!
//! Invariants: a key pair is read once, whatever it is used for; a certificate that was renewed on the disk is shown, and
//! roots for clients that were changed there are taken up, without a restart; a signal never ends the process in the middle of its work.
//!
//! Absent: the work of the node.

mod signals;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ripstop_node_config::{MetricsConfig, OperationsConfig, ServerTlsConfig};
use ripstop_operations::{
    Certificates, Health, LogControl, Metrics, Operations, Profiling, StatsdPusher, StatsdTarget, Version,
};
use ripstop_proto::FABRIC_RELEASE;
use ripstop_runtime::{TaskGroup, TaskKind};
use ripstop_transport::{
    BindError, ClientAuth, ClientRoots, ConnectionCounts, KeyPair, Listener, MessageLimits, ServerKeepalive,
    ServerOptions, ServerTls, TlsError, TlsFiles, TlsFilesError, raise_limit_of_open_files,
};

pub use signals::{PartFailed, until_stopped};

const LOG: &str = "operations.runner";

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The operations endpoint cannot listen.
    #[error("operations.listenAddress: {0}")]
    Operations(BindError),
    /// The profiling endpoint cannot listen.
    #[error("the profiling server: {0}")]
    Profiling(BindError),
    /// TLS files cannot be used.
    #[error(transparent)]
    Files(#[from] TlsFilesError),
    /// TLS cannot be set up.
    #[error("{role}: {source}")]
    Tls {
        /// Whose TLS.
        role: &'static str,
        /// Why not.
        source: TlsError,
    },
}

/// What every node has.
#[derive(Debug)]
pub struct Node {
    /// What the node counts.
    pub metrics: Metrics,
    /// What must hold for the node to be healthy.
    pub health: Health,
    logging: LogControl,
    files: TlsFiles,
    connections: ConnectionCounts,
}

impl Node {
    /// Begins to count: the log's lines, connections, and what the process uses.
    pub fn new(logging: LogControl) -> Self {
        raise_limit_of_open_files();
        let (metrics, connections) = (Metrics::new(), ConnectionCounts::default());
        metrics.set_fabric_version(FABRIC_RELEASE);
        metrics.observe_process();
        metrics.observe_connections(&connections);
        logging.count_lines(&metrics);
        Self { metrics, health: Health::default(), logging, files: TlsFiles::default(), connections }
    }

    /// The key pair in two files, which is renewed when they change. `role` says in the log what it is used for.
    pub fn key_pair(&mut self, role: &'static str, certificate: &Path, key: &Path) -> Result<KeyPair, NodeError> {
        Ok(self.files.key_pair(role, certificate, key)?)
    }

    /// Roots that clients are verified against: those in files, which are read again when they change, and those that
    /// channels will name.
    pub fn client_roots(&mut self, paths: &[PathBuf]) -> Result<ClientRoots, NodeError> {
        Ok(self.files.client_roots(paths)?)
    }

    /// TLS of a gRPC listener. Under mutual TLS, clients must chain to `roots`.
    pub fn grpc_tls(
        &mut self,
        role: &'static str,
        config: &ServerTlsConfig,
        roots: &ClientRoots,
    ) -> Result<ServerTls, NodeError> {
        let auth = match config.client_auth_required {
            true => ClientAuth::Required(roots.clone()),
            false => ClientAuth::Requested,
        };
        self.server_tls(role, config, auth)
    }

    /// TLS of an HTTP listener. A client that shows a certificate must chain to the roots that the configuration names.
    pub fn http_tls(&mut self, role: &'static str, config: &ServerTlsConfig) -> Result<ServerTls, NodeError> {
        let roots = self.client_roots(&config.client_root_cas)?;
        let auth = match config.client_auth_required {
            true => ClientAuth::Required(roots),
            false => ClientAuth::VerifiedIfGiven(roots),
        };
        self.server_tls(role, config, auth)
    }

    fn server_tls(
        &mut self,
        role: &'static str,
        config: &ServerTlsConfig,
        auth: ClientAuth,
    ) -> Result<ServerTls, NodeError> {
        let pair = self.key_pair(role, &config.certificate, &config.private_key)?;
        let tls = ServerTls::new(pair, auth).map_err(|source| NodeError::Tls { role, source })?;
        Ok(tls.time_shift(config.handshake_time_shift))
    }

    /// The options of a gRPC listener; its connections are counted.
    pub fn grpc_options(
        &self,
        keepalive: ripstop_node_config::ServerKeepalive,
        handshake_timeout: Duration,
        messages: MessageLimits,
    ) -> ServerOptions {
        let keepalive = ServerKeepalive { interval: keepalive.interval, timeout: keepalive.timeout };
        ServerOptions { keepalive, handshake_timeout, messages, connections: self.connections.clone() }
    }

    /// Serves the operations endpoint and sends metrics where they are wanted.
    pub async fn serve_operations(
        &mut self,
        operations: &OperationsConfig,
        metrics: &MetricsConfig,
        tasks: &TaskGroup,
    ) -> Result<(), NodeError> {
        self.send_metrics(metrics, tasks);
        let Some(address) = &operations.listen_address else { return Ok(()) };
        let listener = Listener::bind(address).await.map_err(NodeError::Operations)?;
        let tls = operations.tls.as_ref().map(|tls| self.http_tls("operations TLS", tls)).transpose()?;
        tracing::info!(target: LOG, "Starting operations server on {}", listener.address());
        let endpoint = Operations {
            health: self.health.clone(),
            version: Version {
                version: FABRIC_RELEASE.to_owned(),
                commit: format!("ripstop-{}", env!("CARGO_PKG_VERSION")),
            },
            logging: self.logging.clone(),
            metrics: matches!(metrics, MetricsConfig::Prometheus).then(|| self.metrics.clone()),
        };
        let stopping = tasks.cancelled();
        tasks.spawn(TaskKind::Isolated, "operations", async move {
            endpoint.serve(listener, tls, stopping).await;
            Ok::<_, Infallible>(())
        });
        Ok(())
    }

    /// Serves the profiling endpoint where it is switched on. `root` is the tree of all tasks.
    pub async fn serve_profiling(
        &self,
        address: Option<&str>,
        root: &TaskGroup,
        tasks: &TaskGroup,
    ) -> Result<(), NodeError> {
        let Some(address) = address else { return Ok(()) };
        let listener = Listener::bind(address).await.map_err(NodeError::Profiling)?;
        tracing::info!(target: LOG, "Starting profiling server with listenAddress = {}", listener.address());
        let (root, stopping) = (root.clone(), tasks.cancelled());
        tasks.spawn(TaskKind::Isolated, "profiling", async move {
            Profiling::new(move || root.report()).serve(listener, stopping).await;
            Ok::<_, Infallible>(())
        });
        Ok(())
    }

    fn send_metrics(&self, config: &MetricsConfig, tasks: &TaskGroup) {
        let statsd = match config {
            MetricsConfig::Statsd(statsd) => statsd,
            MetricsConfig::Unknown(provider) => {
                return tracing::warn!(target: LOG, "Unknown provider type: {provider}; metrics disabled");
            }
            MetricsConfig::Disabled | MetricsConfig::Prometheus => return,
        };
        let target = match statsd.network.as_str() {
            "tcp" => StatsdTarget::Tcp(statsd.address.clone()),
            "udp" => StatsdTarget::Udp(statsd.address.clone()),
            other => {
                return tracing::warn!(target: LOG, "metrics.statsd.network is {other}, and must be udp or tcp; metrics disabled");
            }
        };
        let pusher = StatsdPusher::new(&self.metrics, target, statsd.write_interval, &statsd.prefix);
        tasks.spawn_droppable("statsd", async move { pusher.run().await });
    }

    /// Keeps what comes of TLS files fresh and tells when certificates end; that with which the node signs ends at
    /// `enrollment`, in Unix seconds. Call it when all TLS is set up.
    pub fn watch_certificates(&mut self, enrollment: i64, tasks: &TaskGroup) {
        let certificates = Certificates::new(enrollment, std::mem::take(&mut self.files));
        let stopping = tasks.cancelled();
        tasks.spawn(TaskKind::Isolated, "certificates", async move {
            tokio::select! { watched = certificates.watch() => watched, () = stopping => Ok(()) }
        });
    }
}
