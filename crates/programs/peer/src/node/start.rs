//! The life of a peer, from top to bottom.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_chaincode::{ChaincodeHost, NodeParts};
use ripstop_committer::CommitMetrics;
use ripstop_deliver::{PullConfig, TlsBinding};
use ripstop_gateway::AddressOverride;
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_node::{FABRIC_RELEASE, Node, until_stopped};
use ripstop_node_config::PeerConfig;
use ripstop_operations::LogControl;
use ripstop_runtime::{Signals, TaskGroup};
use ripstop_transport::{
    ClientRoots, ConnectionCounts, Keepalive, Listener, MessageLimits, ServerKeepalive, ServerOptions, ServerTls,
    local_ip, with_health,
};
use tonic::service::Routes;

use super::chaincode;
use super::channels::{ChannelParts, PATIENCE, PeerChannels, height_gauge};
use super::identity::{self, Tls};
use super::listeners::{ServiceParts, serve, services};

/// How long open requests may take to end after the peer was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the peer until it is told to stop.
pub(super) async fn run(config: PeerConfig, logging: LogControl) -> anyhow::Result<()> {
    tracing::info!(target: "nodeCmd", function = "serve", "Starting peer: ripstop {}, compatible with Fabric {FABRIC_RELEASE}", env!("CARGO_PKG_VERSION"));
    let signals = Signals::listen().context("the operating system does not tell about signals")?;
    let address = config.advertised_address(local_ip()).context(
        "peer.address must be found out (peer.addressAutoDetect, or a host such as 0.0.0.0), but this machine has none",
    )?;

    // Who am I?
    let identity = identity::load(&config.msp)?;
    let (local_msp, signer) = (Arc::new(identity.msp), identity.signer);
    let (roots, mut node) = (ClientRoots::new(), Node::new(logging));
    let tls = config.tls.as_ref().map(|tls| identity::load_tls(tls, &roots, &mut node)).transpose()?;
    if tls.is_some() {
        tracing::info!(target: "nodeCmd", function = "serve", "Starting peer with TLS enabled");
    }

    // Listen first, so that a port in use is noticed before anything is written.
    let listener = Listener::bind(&config.listen_address).await.map_err(at("peer.listenAddress"))?;
    let (chaincode_listen, chaincode_address) = chaincode::endpoint(&config, &address)?;
    let chaincode_listener = Listener::bind(&chaincode_listen).await.map_err(at("peer.chaincodeListenAddress"))?;
    let root = TaskGroup::root("peer");
    let operations = root.child("operations");
    node.serve_operations(&config.operations, &config.metrics, &operations).await?;
    node.serve_profiling(config.profile_address.as_deref(), &root, &operations).await?;
    let options = node.grpc_options(
        config.keepalive,
        config.connection_timeout,
        MessageLimits {
            receive: config.max_receive_message_size as usize,
            send: config.max_send_message_size as usize,
        },
    );
    let (metrics, health) = (node.metrics.clone(), node.health.clone());
    node.watch_certificates(signer.certificate().not_after(), &operations);

    // What do I know?
    let ledgers = open_ledgers(&config).await?;

    // What do I do?
    let overrides = overrides(&config)?;
    let channel_tasks = root.child("channels");
    let channels = PeerChannels::new(ChannelParts {
        ledgers: Arc::clone(&ledgers),
        pull: pull_config(&config, &signer, tls.as_ref()),
        patience: config.delivery_client.reconnect_total_threshold,
        first_pause: config.delivery_client.minimal_reconnect_interval,
        overrides: overrides.clone(),
        roots,
        configured_roots: tls.as_ref().map(|tls| tls.configured_roots.clone()).unwrap_or_default(),
        tasks: channel_tasks.clone(),
        health,
        heights: height_gauge(&metrics),
        commits: CommitMetrics::new(&metrics),
        joining: Mutex::default(),
    });
    let join = Arc::new(channels.clone());
    let parts =
        NodeParts { ledgers: Arc::clone(&ledgers), local_msp: Arc::clone(&local_msp), join, metrics: metrics.clone() };
    let (host_options, chaincode_tls) = chaincode::options(&config, &chaincode_address, tls.as_ref())?;
    let chaincode = ChaincodeHost::new(host_options, parts).map_err(at("the store of chaincode packages"))?;
    channels.start_all();

    // Who may ask me?
    let servers = root.child("servers");
    let server_tls = tls.as_ref().map(|tls| tls.server.clone());
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
    // Fabric neither counts the connections of chaincode nor lets the configuration set how chaincode is pinged.
    let chaincode_options = ServerOptions {
        keepalive: ServerKeepalive::default(),
        connections: ConnectionCounts::default(),
        ..options.clone()
    };
    let registration = with_health(Routes::new(chaincode.registration_service().into_grpc()));
    serve(&servers, "chaincode listener", chaincode_listener, chaincode_tls, chaincode_options, registration);
    serve(&servers, "listener", listener, server_tls, options, routes);
    let (id, network) = (&config.id, &config.network_id);
    tracing::info!(target: "nodeCmd", function = "serve", "Started peer with ID=[{id}], network ID=[{network}], address=[{address}]");

    let stopped = until_stopped(&root, signals).await;

    // The end, in this order: no more questions, no more calls, no more blocks; operators see it to the last.
    tokio::join!(servers.close(DRAIN), chaincode.stop());
    channel_tasks.close(PATIENCE).await;
    operations.close(DRAIN).await;
    tracing::info!(target: "nodeCmd", function = "serve", "Stopped peer");
    Ok(stopped?)
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
        silence: None,
        time_shift: Duration::ZERO,
    }
}
