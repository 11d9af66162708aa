//! The life of a peer, from top to bottom.

use std::time::Duration;

use anyhow::Context;
use ripstop_node::{Node, until_stopped};
use ripstop_node_config::PeerConfig;
use ripstop_operations::LogControl;
use ripstop_proto::FABRIC_RELEASE;
use ripstop_runtime::Signals;

use super::channels::PeerChannels;
use super::identity::Identity;
use super::listeners::Listeners;
use super::parts::{Peer, Tasks, open_ledgers};
use super::{chaincode, gossip, services};

/// How long open requests may take to end after the peer was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the tasks of the channels may take to end: a block that is being committed is finished.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the peer until it is told to stop.
pub(super) async fn run(config: PeerConfig, logging: LogControl) -> anyhow::Result<()> {
    tracing::info!(target: "nodeCmd", function = "serve", "Starting peer: ripstop {}, compatible with Fabric {FABRIC_RELEASE}", env!("CARGO_PKG_VERSION"));
    let signals = Signals::listen().context("the operating system does not tell about signals")?;
    let (mut node, tasks) = (Node::new(logging), Tasks::new());

    // Who am I?
    let identity = Identity::load(&config, &mut node)?;

    // Listen first, so that a port in use is noticed before anything is written.
    let listeners = Listeners::bind(&config, &identity.address).await?;
    node.serve_operations(&config.operations, &config.metrics, &tasks.operations).await?;
    node.serve_profiling(config.profile_address.as_deref(), &tasks.root, &tasks.operations).await?;
    node.watch_certificates(identity.signer.certificate().not_after(), &tasks.operations);

    // What do I know?
    let ledgers = open_ledgers(&config.ledger).await?;

    // What do I do?
    let peer = Peer { config, identity, node, ledgers, tasks };
    let (gossip, gossip_service) = gossip::start(&peer)?;
    let channels = PeerChannels::new(&peer, &gossip)?;
    let (chaincode, chaincode_tls) = chaincode::host(&peer, &channels, &listeners.chaincode_address)?;
    channels.announce_those_of(&chaincode);
    channels.start_all();

    // Who may ask me?
    let routes = services::routes(&peer, &channels, &chaincode, gossip_service);
    listeners.serve(&peer, routes, &chaincode, chaincode_tls);
    announce(&peer);

    let stopped = until_stopped(&peer.tasks.root, signals).await;

    // The end, in this order: no more questions, no more calls, no more blocks; operators see it to the last.
    tokio::join!(peer.tasks.gossip.close(DRAIN), peer.tasks.servers.close(DRAIN), chaincode.stop());
    peer.tasks.channels.close(PATIENCE).await;
    peer.tasks.operations.close(DRAIN).await;
    tracing::info!(target: "nodeCmd", function = "serve", "Stopped peer");
    Ok(stopped?)
}

fn announce(peer: &Peer) {
    let (id, network, address) = (&peer.config.id, &peer.config.network_id, &peer.identity.address);
    tracing::info!(target: "nodeCmd", function = "serve", "Started peer with ID=[{id}], network ID=[{network}], address=[{address}]");
}
