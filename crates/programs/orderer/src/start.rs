//! The life of an ordering node, from top to bottom.

use std::time::Duration;

use anyhow::Context;
use ripstop_node::{Node, until_stopped};
use ripstop_node_config::{Environment, OrdererConfig};
use ripstop_operations::{LogControl, start_logging};
use ripstop_ordering_service::{ExpiredClients, OrderingConfig, OrderingService};
use ripstop_proto::FABRIC_RELEASE;
use ripstop_runtime::{Signals, TaskGroup};

use crate::LOG;
use crate::identity::Identity;
use crate::listeners::Listeners;

/// How long each part of the node may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);

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
    runtime.block_on(run(config, logging))
}

/// What the services of the node are made of.
pub(crate) struct Orderer {
    pub(crate) config: OrdererConfig,
    pub(crate) identity: Identity,
    /// Metrics, health and TLS files.
    pub(crate) node: Node,
    pub(crate) tasks: Tasks,
}

/// What the node does, by the order in which it ends.
pub(crate) struct Tasks {
    /// All of them.
    root: TaskGroup,
    /// The listeners.
    pub(crate) servers: TaskGroup,
    /// What works on a channel.
    channels: TaskGroup,
    /// What operators look at.
    operations: TaskGroup,
}

impl Tasks {
    fn new() -> Self {
        let root = TaskGroup::root("orderer");
        let [servers, channels, operations] = ["servers", "channels", "operations"].map(|name| root.child(name));
        Self { root, servers, channels, operations }
    }
}

async fn run(config: OrdererConfig, logging: LogControl) -> anyhow::Result<()> {
    tracing::info!(target: LOG, "Starting orderer {FABRIC_RELEASE} (Ripstop {})", env!("CARGO_PKG_VERSION"));
    let signals = Signals::listen().context("the operating system does not tell about signals")?;
    let (mut node, tasks) = (Node::new(logging), Tasks::new());

    // Who am I?
    let identity = Identity::load(&config, &mut node)?;

    // Listen first, so that a port in use is noticed before anything is written.
    let listeners = Listeners::bind(&config, &identity).await?;
    node.serve_operations(&config.operations, &config.metrics, &tasks.operations).await?;
    node.serve_profiling(config.profile_address.as_deref(), &tasks.root, &tasks.operations).await?;
    node.watch_certificates(identity.signer.certificate().not_after(), &tasks.operations);

    // What do I order?
    let orderer = Orderer { config, identity, node, tasks };
    let service = open_channels(&orderer).await?;

    // Who may ask me?
    listeners.serve(&orderer, &service);

    let stopped = until_stopped(&orderer.tasks.root, signals).await;

    // The end, in this order: no more messages, no more blocks; operators see it to the last.
    orderer.tasks.servers.close(PATIENCE).await;
    orderer.tasks.channels.close(PATIENCE).await;
    orderer.tasks.operations.close(PATIENCE).await;
    tracing::info!(target: LOG, "Orderer stopped");
    Ok(stopped?)
}

/// Opens all channels; their consensus begins.
async fn open_channels(orderer: &Orderer) -> anyhow::Result<OrderingService> {
    let Orderer { config, identity, node, tasks } = orderer;
    let ordering = OrderingConfig {
        ledger_directory: config.ledger_directory.clone(),
        wal_directory: config.consensus.wal_directory.clone(),
        snapshot_directory: config.consensus.snapshot_directory.clone(),
        tick_interval: config.consensus.tick_interval_override,
        expiration: if config.no_expiration_checks { ExpiredClients::Taken } else { ExpiredClients::Refused },
        server: identity.cluster.server.clone(),
        cluster: identity.cluster.links.clone(),
    };
    let (signer, roots) = (identity.signer.clone(), identity.client_roots.clone());
    Ok(OrderingService::open(ordering, signer, &node.metrics, roots, tasks.channels.clone()).await?)
}
