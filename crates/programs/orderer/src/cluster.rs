//! How a node and the other ordering nodes reach each other (`General.Cluster`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use ripstop_node::Node;
use ripstop_node_config::OrdererConfig;
use ripstop_ordering_service::{ClusterConfig, ClusterService, OrderingService};
use ripstop_runtime::{TaskGroup, TaskKind};
use ripstop_transport::{ClientAuth, ClientRoots, Listener, ServerTls, host_and_port, serve_grpc};
use tonic::service::Routes;

use crate::node::{grpc_options, read, read_files};

const LOG: &str = "orderer.common.server";

/// How the node speaks to others: with the client certificate of `General.Cluster`, or else with the certificate and key
/// that it shows them as a server. It shifts the time of handshakes as the listener that others reach does.
pub(crate) fn cluster_config(
    config: &OrdererConfig,
    server: (&Path, &Path),
    time_shift: Duration,
    node: &mut Node,
) -> anyhow::Result<ClusterConfig> {
    let cluster = &config.cluster;
    let (certificate, key) = match (&cluster.client_certificate, &cluster.client_private_key) {
        (Some(certificate), Some(key)) => (certificate.as_path(), key.as_path()),
        (None, None) => server,
        _ => bail!(
            "General.Cluster.ClientCertificate and General.Cluster.ClientPrivateKey must be given together, or neither of them"
        ),
    };
    Ok(ClusterConfig {
        key_pair: node.key_pair("client TLS", certificate, key)?,
        roots: read_files(&cluster.root_cas)?,
        dial_timeout: cluster.dial_timeout,
        rpc_timeout: cluster.rpc_timeout,
        send_buffer: cluster.send_buffer_size,
        pull_timeout: cluster.replication_pull_timeout,
        retry_pause: cluster.replication_retry_timeout,
        time_shift,
    })
}

/// The listener for other ordering nodes, where there is one beside that for clients.
pub(crate) struct ClusterListener {
    address: String,
    /// What it shows, PEM.
    pub(crate) certificate: Vec<u8>,
    /// Where that and its key are.
    files: (PathBuf, PathBuf),
    tls: ServerTls,
}

impl ClusterListener {
    /// Reads its files. Others must show certificates there; whose, is known from the file and from channels, and goes to
    /// `roots`.
    pub(crate) fn prepare(
        config: &OrdererConfig,
        roots: &mut Vec<ClientRoots>,
        node: &mut Node,
    ) -> anyhow::Result<Option<Self>> {
        let cluster = &config.cluster;
        let (Some((host, port)), Some(certificate), Some(key)) =
            (&cluster.listen, &cluster.server_certificate, &cluster.server_private_key)
        else {
            tracing::info!(target: LOG, "Cluster listener is not configured, defaulting to use the general listener on port {}", config.listen_port);
            return Ok(None);
        };
        let trusted = node.client_roots(&cluster.root_cas)?;
        let pair = node.key_pair("cluster server TLS", certificate, key)?;
        let tls = ServerTls::new(pair, ClientAuth::Required(trusted.clone()))?;
        roots.push(trusted);
        Ok(Some(Self {
            address: host_and_port(host, *port),
            certificate: read(certificate, "General.Cluster.ServerCertificate")?,
            files: (certificate.clone(), key.clone()),
            tls: tls.time_shift(cluster.handshake_time_shift),
        }))
    }

    /// Certificate and key.
    pub(crate) fn files(&self) -> (&Path, &Path) {
        (&self.files.0, &self.files.1)
    }

    /// Serves nothing but what is for other ordering nodes.
    pub(crate) async fn start(
        self,
        config: &OrdererConfig,
        service: OrderingService,
        node: &Node,
        servers: &TaskGroup,
    ) -> anyhow::Result<()> {
        let listener = Listener::bind(&self.address)
            .await
            .context("(General.Cluster.ListenAddress, General.Cluster.ListenPort)")?;
        let routes = node.metrics.observe(Routes::new(ClusterService::new(service).into_server()));
        let (options, shutdown) = (grpc_options(config, node), servers.cancelled());
        tracing::info!(target: LOG, "Starting cluster listener on {}", listener.address());
        servers.spawn(TaskKind::Essential, "cluster", serve_grpc(listener, Some(self.tls), options, routes, shutdown));
        Ok(())
    }
}
