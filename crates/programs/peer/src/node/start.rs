//! The life of a peer, from top to bottom.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_chaincode::{ChaincodeHost, HostOptions, NodeParts, Registration};
use ripstop_deliver::{PullConfig, TlsBinding};
use ripstop_gateway::AddressOverride;
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_node_config::{MetricsConfig, PeerConfig};
use ripstop_operations::{Certificates, Health, LogControl, Metrics, Operations, Version};
use ripstop_runtime::{TaskGroup, TaskKind, stop_signal};
use ripstop_transport::{ClientRoots, Keepalive, KeyFiles, Listener, ServerTls, local_ip};
use tonic::service::Routes;

use super::channels::{ChannelParts, PATIENCE, PeerChannels, height_gauge};
use super::identity::{self, Tls};
use super::listeners::{ServiceParts, serve, services};

/// How long open requests may take to end after the peer was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// The release of Fabric whose wire contract this is, as `/version` says it.
const FABRIC_RELEASE: &str = "v3.1.5";

/// Runs the peer until it is told to stop.
pub(super) async fn run(config: PeerConfig, logging: LogControl) -> anyhow::Result<()> {
    tracing::info!(target: "nodeCmd", function = "serve", "Starting peer: ripstop {}, compatible with Fabric {FABRIC_RELEASE}", env!("CARGO_PKG_VERSION"));
    let address = config.advertised_address(local_ip()).context(
        "peer.address must be found out (peer.addressAutoDetect, or a host such as 0.0.0.0), but this machine has none",
    )?;

    // Who am I?
    let identity = identity::load(&config.msp)?;
    let (local_msp, signer) = (Arc::new(identity.msp), identity.signer);
    let (roots, mut files) = (ClientRoots::new(), KeyFiles::new());
    let tls = config.tls.as_ref().map(|tls| identity::load_tls(tls, &roots, &mut files)).transpose()?;
    if tls.is_some() {
        tracing::info!(target: "nodeCmd", function = "serve", "Starting peer with TLS enabled");
    }

    // Listen first, so that a port in use is noticed before anything is written.
    let listener = Listener::bind(&config.listen_address).await.map_err(at("peer.listenAddress"))?;
    let (chaincode_listen, _) = config.chaincode_endpoint(&address)?;
    let chaincode_listener = Listener::bind(&chaincode_listen).await.map_err(at("peer.chaincodeListenAddress"))?;
    let root = TaskGroup::root("peer");
    let (metrics, health) = (Metrics::new(), Health::default());
    let operations = root.child("operations");
    serve_operations(&operations, &config, logging, &metrics, &health, &mut files).await?;
    let certificates = Certificates::new(signer.certificate().not_after(), files);
    let stopping = operations.cancelled();
    operations.spawn(TaskKind::Isolated, "certificates", async move {
        tokio::select! { watched = certificates.watch() => watched, () = stopping => Ok(()) }
    });

    // What do I know?
    let ledgers = open_ledgers(&config).await?;

    // What do I do?
    let overrides = overrides(&config)?;
    let channel_tasks = root.child("channels");
    let channels = PeerChannels::new(ChannelParts {
        ledgers: Arc::clone(&ledgers),
        pull: pull_config(&config, &signer, tls.as_ref()),
        overrides: overrides.clone(),
        roots,
        configured_roots: tls.as_ref().map(|tls| tls.configured_roots.clone()).unwrap_or_default(),
        tasks: channel_tasks.clone(),
        health,
        heights: height_gauge(&metrics),
        joining: Mutex::default(),
    });
    let join = Arc::new(channels.clone());
    let parts = NodeParts { ledgers: Arc::clone(&ledgers), local_msp: Arc::clone(&local_msp), join };
    let chaincode = ChaincodeHost::new(host_options(&config), parts).map_err(at("the store of chaincode packages"))?;
    channels.start_all();

    // Who may ask me?
    let servers = root.child("servers");
    let (server_tls, chaincode_tls) = tls.as_ref().map(|tls| (tls.server.clone(), tls.chaincode.clone())).unzip();
    let routes = services(ServiceParts {
        config: &config,
        metrics: &metrics,
        ledgers,
        local_msp,
        signer,
        chaincode: chaincode.clone(),
        address: config.external_endpoint.clone().unwrap_or_else(|| address.clone()),
        client_tls: tls.map(|tls| tls.client),
        binding: binding(server_tls.as_ref()),
        overrides,
    });
    let registration = Routes::new(chaincode.registration_service().into_grpc());
    serve(&servers, "chaincode listener", chaincode_listener, chaincode_tls, &config, registration);
    serve(&servers, "listener", listener, server_tls, &config, routes);
    let (id, network) = (&config.id, &config.network_id);
    tracing::info!(target: "nodeCmd", function = "serve", "Started peer with ID=[{id}], network ID=[{network}], address=[{address}]");

    let stopped = end(&root).await;

    // The end, in this order: no more questions, no more calls, no more blocks; operators see it to the last.
    let drained = servers.close(DRAIN);
    chaincode.stop();
    drained.await;
    channel_tasks.close(PATIENCE).await;
    operations.close(DRAIN).await;
    tracing::info!(target: "nodeCmd", function = "serve", "Stopped peer");
    stopped
}

/// Completes when somebody asks the peer to stop, or when a part failed without which it cannot be.
async fn end(root: &TaskGroup) -> anyhow::Result<()> {
    tokio::select! {
        signal = stop_signal() => {
            tracing::info!(target: "nodeCmd", function = "handleSignals", "Received signal: {}", signal?);
            Ok(())
        }
        () = root.node_stopping() => anyhow::bail!("the peer stopped because a part failed that it cannot be without; see the log"),
    }
}

/// Puts the name of a setting or thing before an error.
fn at<E: Display>(what: impl Display) -> impl FnOnce(E) -> anyhow::Error {
    move |error| anyhow::anyhow!("{what}: {error}")
}

/// Opens all ledgers, off the async threads: it may take long. A channel whose ledger does not open is not served; the
/// others are.
async fn open_ledgers(config: &PeerConfig) -> anyhow::Result<Arc<Ledgers>> {
    let directory = config.ledger.directory.clone();
    let options =
        LedgerOptions { snapshots: Some(config.ledger.snapshots_directory.clone()), ..LedgerOptions::default() };
    let open = move || {
        let (ledgers, failures) = Ledgers::open_usable(&directory, options)
            .map_err(at(format!("cannot open the ledgers in {}", directory.display())))?;
        for (channel, failure) in failures {
            tracing::error!(target: "peer", "Failed to load ledger {channel}; this channel is not served: {failure}");
        }
        anyhow::Ok(Arc::new(ledgers))
    };
    tokio::task::spawn_blocking(open).await?
}

/// Under mutual TLS, requests for blocks are bound to the client's certificate.
fn binding(tls: Option<&ServerTls>) -> TlsBinding {
    match tls.is_some_and(ServerTls::requires_client_certificate) {
        true => TlsBinding::Required,
        false => TlsBinding::NotChecked,
    }
}

async fn serve_operations(
    tasks: &TaskGroup,
    config: &PeerConfig,
    logging: LogControl,
    metrics: &Metrics,
    health: &Health,
    files: &mut KeyFiles,
) -> anyhow::Result<()> {
    let Some(address) = &config.operations.listen_address else { return Ok(()) };
    let listener = Listener::bind(address).await.map_err(at("operations.listenAddress"))?;
    let tls = config.operations.tls.as_ref().map(|tls| identity::operations_tls(tls, files)).transpose()?;
    let pulled = matches!(config.metrics, MetricsConfig::Prometheus);
    if let MetricsConfig::Statsd(_) = &config.metrics {
        tracing::warn!(target: "operations.runner", "metrics.provider: statsd is not possible yet; metrics disabled");
    }
    let operations = Operations {
        health: health.clone(),
        version: Version {
            version: FABRIC_RELEASE.to_owned(),
            commit: format!("ripstop-{}", env!("CARGO_PKG_VERSION")),
        },
        logging,
        metrics: pulled.then(|| metrics.clone()),
    };
    let stopping = tasks.cancelled();
    tasks.spawn(TaskKind::Isolated, "operations", async move {
        operations.serve(listener, tls, stopping).await;
        Ok::<_, Infallible>(())
    });
    Ok(())
}

fn overrides(config: &PeerConfig) -> anyhow::Result<Vec<AddressOverride>> {
    let read = |replaced: &ripstop_node_config::AddressOverride| {
        let tls_roots = match &replaced.ca_certs_file {
            Some(path) => vec![Bytes::from(identity::read(path)?)],
            None => Vec::new(),
        };
        Ok(AddressOverride { from: replaced.from.clone(), to: replaced.to.clone(), tls_roots })
    };
    config.delivery_client.address_overrides.iter().map(read).collect()
}

fn pull_config(config: &PeerConfig, signer: &ripstop_keys::SigningIdentity, tls: Option<&Tls>) -> PullConfig {
    let client = &config.delivery_client;
    PullConfig {
        signer: signer.clone(),
        tls: tls.map(|tls| tls.client.clone()),
        connect_timeout: client.connection_timeout,
        keepalive: Keepalive { interval: client.keepalive.interval, timeout: client.keepalive.timeout },
        max_pause: client.reconnect_backoff_threshold,
    }
}

fn host_options(config: &PeerConfig) -> HostOptions {
    let chaincode = &config.chaincode;
    HostOptions {
        packages: config.file_system_path.join("lifecycle").join("chaincodes"),
        execute_timeout: chaincode.execute_timeout,
        install_timeout: chaincode.install_timeout,
        startup_timeout: chaincode.startup_timeout,
        keepalive: Some(chaincode.keepalive).filter(|interval| !interval.is_zero()),
        total_query_limit: config.ledger.total_query_limit,
        write_batch: chaincode.write_batch,
        multiple_keys: chaincode.multiple_keys,
        registration: match chaincode.development_mode {
            true => Registration::AnyInDevelopment,
            false => Registration::OnlyLaunched,
        },
        template_values: std::env::var("CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG").unwrap_or_default(),
    }
}
