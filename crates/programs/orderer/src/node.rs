//! The life of an ordering node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ripstop_deliver::{Channels, DeliverConfig, DeliverService, ExpirationCheck, TlsBinding};
use ripstop_keys::LocalIdentity;
use ripstop_node::{Node, until_stopped};
use ripstop_node_config::{Environment, OrdererConfig, ServerTlsConfig};
use ripstop_operations::{LogControl, start_logging};
use ripstop_ordering_service::{
    AtomicBroadcastService, ClusterConfig, ClusterService, ExpiredClients, OrderingConfig, OrderingService, Throttle,
    participation_routes,
};
use ripstop_proto::FABRIC_RELEASE;
use ripstop_runtime::{Signals, TaskGroup, TaskKind};
use ripstop_transport::{
    ClientRoots, ConcurrencyLimit, Listener, MessageLimits, ServerOptions, ServerTls, host_and_port, serve_grpc,
    serve_http, with_health,
};
use tonic::service::Routes;

use crate::cluster::{ClusterListener, cluster_config};

const LOG: &str = "orderer.common.server";
/// How long each part of the node may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Deliver streams open at once; 0 is no limit, as in Fabric's orderer.
const MAX_DELIVER_STREAMS: usize = 0;

/// Runs the node until it is told to stop.
pub(crate) fn start() -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let logging = start_logging(
        environment.get_non_empty("FABRIC_LOGGING_SPEC"),
        environment.get_non_empty("FABRIC_LOGGING_FORMAT"),
    )?;
    let config = OrdererConfig::load(&environment).context("failed to parse config")?.announce();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start threads")?;
    runtime.block_on(serve(config, logging))
}

async fn serve(config: OrdererConfig, logging: LogControl) -> anyhow::Result<()> {
    let identity = load_identity(&config)?;
    let enrollment_end = identity.signer.certificate().not_after();
    let signals = Signals::listen().context("the operating system does not tell about signals")?;
    let mut node = Node::new(logging);
    let root = TaskGroup::root("orderer");
    let (channels, servers) = (root.child("channels"), root.child("servers"));

    node.serve_operations(&config.operations, &config.metrics, &servers).await?;
    node.serve_profiling(config.profile_address.as_deref(), &root, &servers).await?;
    let mut roots = Vec::new();
    let server_tls = config.tls.as_ref().map(|tls| clients_tls(tls, &mut roots, &mut node)).transpose()?;
    let cluster = ClusterListener::prepare(&config, &mut roots, &mut node)?;
    let (own_certificate, links) = match (&cluster, &config.tls) {
        (Some(cluster), _) => {
            let links = cluster_config(&config, cluster.files(), config.cluster.handshake_time_shift, &mut node)?;
            (cluster.certificate.clone(), links)
        }
        (None, Some(tls)) => {
            let files = (tls.certificate.as_path(), tls.private_key.as_path());
            let links = cluster_config(&config, files, tls.handshake_time_shift, &mut node)?;
            (read(&tls.certificate, "General.TLS.Certificate")?, links)
        }
        (None, None) => bail!(
            "TLS is required for running ordering nodes of cluster type: set General.TLS.Enabled, General.TLS.Certificate and General.TLS.PrivateKey, or give other ordering nodes a listener of their own with General.Cluster.ListenAddress, ListenPort, ServerCertificate and ServerPrivateKey"
        ),
    };
    let ordering = ordering_config(&config, own_certificate, links);
    let service = OrderingService::open(ordering, identity.signer, &node.metrics, roots, channels.clone()).await?;

    start_admin(&config, service.clone(), &servers, &mut node).await?;
    let others = match cluster {
        Some(cluster) => {
            cluster.start(&config, service.clone(), &node, &servers).await?;
            OtherOrderers::ElsewhereServed
        }
        None => OtherOrderers::ServedToo,
    };
    start_grpc(&config, server_tls, service, others, &node, &servers).await?;
    node.watch_certificates(enrollment_end, &servers);

    let stopped = until_stopped(&root, signals).await;
    servers.close(STOP_PATIENCE).await;
    channels.close(STOP_PATIENCE).await;
    root.close(STOP_PATIENCE).await;
    tracing::info!(target: LOG, "Orderer stopped");
    Ok(stopped?)
}

/// TLS of the listener for clients. Under mutual TLS they come from authorities that the file or a channel names.
fn clients_tls(tls: &ServerTlsConfig, roots: &mut Vec<ClientRoots>, node: &mut Node) -> anyhow::Result<ServerTls> {
    let trusted = node.client_roots(&tls.client_root_cas)?;
    let server_tls = node.grpc_tls("server TLS", tls, &trusted)?;
    roots.push(trusted);
    Ok(server_tls)
}

fn load_identity(config: &OrdererConfig) -> anyhow::Result<LocalIdentity> {
    let (directory, id) = (&config.msp.directory, &config.msp.id);
    let loaded = match &config.msp.keystore {
        Some(keystore) => LocalIdentity::load_with_keystore(directory, keystore, id),
        None => LocalIdentity::load(directory, id),
    };
    loaded.with_context(|| {
        format!(
            "failed to get the identity of MSP {id} from {} (General.LocalMSPDir, General.LocalMSPID)",
            directory.display()
        )
    })
}

fn ordering_config(config: &OrdererConfig, tls_certificate: Vec<u8>, cluster: ClusterConfig) -> OrderingConfig {
    OrderingConfig {
        ledger_directory: config.ledger_directory.clone(),
        wal_directory: config.consensus.wal_directory.clone(),
        snapshot_directory: config.consensus.snapshot_directory.clone(),
        tick_interval: config.consensus.tick_interval_override,
        expiration: if config.no_expiration_checks { ExpiredClients::Taken } else { ExpiredClients::Refused },
        tls_certificate,
        cluster,
    }
}

/// Whether the listener for clients serves other orderers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OtherOrderers {
    ServedToo,
    ElsewhereServed,
}

/// The options of a gRPC listener.
pub(crate) fn grpc_options(config: &OrdererConfig, node: &Node) -> ServerOptions {
    let messages = MessageLimits {
        receive: config.max_receive_message_size as usize,
        send: config.max_send_message_size as usize,
    };
    node.grpc_options(config.keepalive, config.connection_timeout, messages)
}

pub(crate) fn read(path: &Path, key: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("failed to read {} ({key})", path.display()))
}

pub(crate) fn read_files(paths: &[std::path::PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    paths.iter().map(|path| read(path, "client root CAs")).collect()
}

async fn start_admin(
    config: &OrdererConfig,
    service: OrderingService,
    servers: &TaskGroup,
    node: &mut Node,
) -> anyhow::Result<()> {
    let listener = Listener::bind(&config.admin.listen_address)
        .await
        .context("failed to start admin server (Admin.ListenAddress)")?;
    let tls = config.admin.tls.as_ref().map(|tls| node.http_tls("admin TLS", tls)).transpose()?;
    if tls.is_none() {
        tracing::warn!(target: LOG, "Admin.TLS is off: anybody who reaches {} can join and remove channels", listener.address());
    }
    tracing::info!(target: LOG, "Starting admin server on {}", listener.address());
    let routes = participation_routes(service, config.admin.max_request_body_size as usize);
    let shutdown = servers.cancelled();
    servers.spawn(TaskKind::Essential, "admin", async move {
        serve_http(listener, tls, routes, shutdown).await;
        Ok::<_, std::convert::Infallible>(())
    });
    Ok(())
}

async fn start_grpc(
    config: &OrdererConfig,
    tls: Option<ServerTls>,
    service: OrderingService,
    others: OtherOrderers,
    node: &Node,
    servers: &TaskGroup,
) -> anyhow::Result<()> {
    let address = host_and_port(&config.listen_host, config.listen_port);
    let listener = Listener::bind(&address).await.context("(General.ListenAddress, General.ListenPort)")?;
    let deliver_config = DeliverConfig {
        time_window: config.authentication_time_window,
        binding: TlsBinding::of(tls.as_ref()),
        expiration: if config.no_expiration_checks { ExpirationCheck::Off } else { ExpirationCheck::On },
        limit: ConcurrencyLimit::new("/orderer.AtomicBroadcast/Deliver", MAX_DELIVER_STREAMS),
    };
    let channels: Arc<dyn Channels> = Arc::new(service.clone());
    let deliver = DeliverService::new(channels, deliver_config, &node.metrics);
    let mut broadcast = AtomicBroadcastService::new(service.clone(), deliver);
    if config.throttling.rate > 0 {
        broadcast = broadcast.throttled(Throttle::new(config.throttling.rate, config.throttling.inactivity_timeout));
    }
    let routes = Routes::new(broadcast.into_server());
    let routes = node.metrics.observe(with_health(match others {
        OtherOrderers::ServedToo => routes.add_service(ClusterService::new(service).into_server()),
        OtherOrderers::ElsewhereServed => routes,
    }));
    let options = grpc_options(config, node);
    let shutdown = servers.cancelled();
    tracing::info!(target: LOG, "Starting orderer {FABRIC_RELEASE} (Ripstop {})", env!("CARGO_PKG_VERSION"));
    servers.spawn(TaskKind::Essential, "grpc", serve_grpc(listener, tls, options, routes, shutdown));
    tracing::info!(target: LOG, "Beginning to serve requests on {address}");
    Ok(())
}
