//! What the peer can be asked for: the services on its listener.

use std::sync::Arc;

use ripstop_chaincode::ChaincodeHost;
use ripstop_deliver::{DeliverConfig, DeliverService, ExpirationCheck, TlsBinding};
use ripstop_discovery::{CacheSize, Discovery, DiscoveryConfig, DiscoveryService};
use ripstop_endorser::{EndorserConfig, EndorserService, Filters};
use ripstop_gateway::{Gateway, GatewayConfig, LocalPeer, PeerDirectory};
use ripstop_gossip::View;
use ripstop_gossip_service::GossipService;
use ripstop_msp::LocalPolicy;
use ripstop_node_config::{PeerConfig, ProposalFilter};
use ripstop_runtime::TaskKind;
use ripstop_snapshot_service::SnapshotService;
use ripstop_transport::{ConcurrencyLimit, Keepalive, ServerTls};
use tokio::sync::watch;
use tonic::service::Routes;

use super::channels::PeerChannels;
use super::deliver::DeliverChannels;
use super::listeners::message_limits;
use super::parts::Peer;

/// Endorser, deliver, snapshots, what is for other peers and, unless they are switched off, discovery and the gateway.
pub(super) fn routes(peer: &Peer, channels: &PeerChannels, chaincode: &ChaincodeHost, gossip: GossipService) -> Routes {
    announce_limits(&peer.config);
    let endorser = endorser(peer, channels, chaincode);
    let snapshots = SnapshotService::new(Arc::clone(&peer.ledgers), Arc::clone(&peer.identity.local_msp));
    let views = channels.gossip().views();
    let discovery = Discovery::new(Arc::clone(&peer.ledgers), Arc::clone(&peer.identity.local_msp), views.clone());
    let mut routes = Routes::new(endorser.clone().into_server())
        .add_service(deliver(peer).into_peer_server())
        .add_service(snapshots.into_server())
        .add_service(gossip.into_server());
    if peer.config.discovery.enabled {
        tracing::info!(target: "nodeCmd", function = "serve", "Discovery service activated");
        routes = routes.add_service(discovery_service(peer, discovery.clone()).into_server());
    }
    if peer.config.gateway.enabled {
        tracing::info!(target: "nodeCmd", function = "serve", "Starting peer with Gateway enabled");
        let gateway = gateway(peer, channels, endorser, discovery, views);
        let connections = gateway.clone().close_stale_connections();
        let stopping = peer.tasks.servers.cancelled();
        peer.tasks.servers.spawn(TaskKind::Isolated, "gateway connections", async move {
            tokio::select! {
                ended = connections => ended,
                () = stopping => Ok(()),
            }
        });
        routes = routes.add_service(gateway.into_server());
    }
    peer.node.metrics.observe(routes)
}

fn endorser(peer: &Peer, channels: &PeerChannels, chaincode: &ChaincodeHost) -> EndorserService {
    let config = EndorserConfig {
        ledgers: Arc::clone(&peer.ledgers),
        local_msp: Arc::clone(&peer.identity.local_msp),
        signer: peer.identity.signer.clone(),
        chaincode: chaincode.clone(),
        private_data: channels.private_data().clone(),
        filters: filters(&peer.config),
        limit: ConcurrencyLimit::new("/protos.Endorser", peer.config.limits.endorser_service),
    };
    EndorserService::new(config, &peer.node.metrics)
}

fn filters(config: &PeerConfig) -> Filters {
    let has = |filter| config.proposal_filters.contains(&filter);
    Filters {
        expiration: has(ProposalFilter::Expiration),
        time_window: has(ProposalFilter::TimeWindow).then_some(config.authentication_time_window),
    }
}

fn deliver(peer: &Peer) -> DeliverService {
    let (ledgers, local_msp) = (Arc::clone(&peer.ledgers), Arc::clone(&peer.identity.local_msp));
    let config = DeliverConfig {
        time_window: peer.config.authentication_time_window,
        binding: TlsBinding::of(peer.identity.server_tls()),
        expiration: ExpirationCheck::On,
        limit: ConcurrencyLimit::new("/protos.Deliver", peer.config.limits.deliver_service),
    };
    DeliverService::new(Arc::new(DeliverChannels { ledgers, local_msp }), config, &peer.node.metrics)
}

fn discovery_service(peer: &Peer, discovery: Discovery) -> DiscoveryService {
    let config = peer.config.discovery;
    let config = DiscoveryConfig {
        binding: match peer.identity.server_tls().is_some_and(ServerTls::requires_client_certificate) {
            true => ripstop_discovery::TlsBinding::Required,
            false => ripstop_discovery::TlsBinding::NotChecked,
        },
        local_policy: if config.org_members_allowed { LocalPolicy::Members } else { LocalPolicy::Admins },
        cache: config.auth_cache.map(|cache| CacheSize { max: cache.max_size, retention: cache.retention_ratio }),
    };
    DiscoveryService::new(discovery, config)
}

fn gateway(
    peer: &Peer,
    channels: &PeerChannels,
    endorser: EndorserService,
    discovery: Discovery,
    views: watch::Receiver<Arc<View>>,
) -> Gateway {
    let (config, identity) = (&peer.config, &peer.identity);
    // The address under which other organizations know this peer.
    let address = config.gossip.external_endpoint.as_ref().unwrap_or(&identity.address).clone();
    let local = LocalPeer::new(identity.local_msp.id().clone(), address, endorser.into_server());
    let ping = config.client_keepalive;
    let keepalive = Keepalive { interval: ping.interval, timeout: ping.timeout };
    let (tls, overrides) = (identity.client_tls().cloned(), channels.orderer_overrides().to_vec());
    let peers = PeerDirectory::new(local, tls, config.gateway.dial_timeout, keepalive, overrides)
        .messages(message_limits(config).or_default());
    let config = GatewayConfig {
        endorsement_timeout: config.gateway.endorsement_timeout,
        broadcast_timeout: config.gateway.broadcast_timeout,
        limit: ConcurrencyLimit::new("/gateway.Gateway", config.limits.gateway_service),
    };
    let (ledgers, local_msp) = (Arc::clone(&peer.ledgers), Arc::clone(&identity.local_msp));
    Gateway::new(ledgers, local_msp, discovery, views, peers, config)
}

fn announce_limits(config: &PeerConfig) {
    let limits = &config.limits;
    let services = [
        ("endorser", limits.endorser_service),
        ("deliver", limits.deliver_service),
        ("gateway", limits.gateway_service),
    ];
    for (service, limit) in services.into_iter().filter(|(_, limit)| *limit > 0) {
        tracing::info!(target: "nodeCmd", function = "initGrpcSemaphores", "concurrency limit for {service} service is {limit}");
    }
}
