//! The peer's listeners and the services on them.

use std::sync::Arc;

use ripstop_chaincode::ChaincodeHost;
use ripstop_deliver::{DeliverConfig, DeliverService, ExpirationCheck, TlsBinding};
use ripstop_endorser::{EndorserConfig, EndorserService, Filters};
use ripstop_gateway::{AddressOverride, Gateway, GatewayConfig, LocalPeer, PeerDirectory};
use ripstop_keys::SigningIdentity;
use ripstop_ledger::Ledgers;
use ripstop_msp::LocalMsp;
use ripstop_node_config::{PeerConfig, ProposalFilter};
use ripstop_operations::Metrics;
use ripstop_runtime::{TaskGroup, TaskKind};
use ripstop_snapshot_service::SnapshotService;
use ripstop_transport::{ConcurrencyLimit, Keepalive, KeyPair, Listener, ServerOptions, ServerTls, serve_grpc};
use tonic::service::Routes;

use super::channels::DeliverChannels;

/// What the services of the peer are made of.
pub(super) struct ServiceParts<'a> {
    pub(super) config: &'a PeerConfig,
    pub(super) metrics: &'a Metrics,
    pub(super) ledgers: Arc<Ledgers>,
    pub(super) local_msp: Arc<LocalMsp>,
    pub(super) signer: SigningIdentity,
    pub(super) chaincode: ChaincodeHost,
    /// The address under which other organisations know this peer.
    pub(super) address: String,
    pub(super) client_tls: Option<KeyPair>,
    /// Whether clients must present TLS certificates.
    pub(super) binding: TlsBinding,
    pub(super) overrides: Vec<AddressOverride>,
}

/// Endorser, deliver, snapshots and, unless switched off, the gateway.
pub(super) fn services(parts: ServiceParts<'_>) -> Routes {
    let ServiceParts { config, metrics, ledgers, local_msp, .. } = parts;
    announce_limits(config);
    let endorser = EndorserService::new(
        EndorserConfig {
            ledgers: Arc::clone(&ledgers),
            local_msp: Arc::clone(&local_msp),
            signer: parts.signer.clone(),
            chaincode: parts.chaincode,
            filters: filters(config),
            limit: ConcurrencyLimit::new("/protos.Endorser", config.limits.endorser_service),
        },
        metrics,
    );
    let deliver = DeliverService::new(
        Arc::new(DeliverChannels { ledgers: Arc::clone(&ledgers), local_msp: Arc::clone(&local_msp) }),
        DeliverConfig {
            time_window: config.authentication_time_window,
            binding: parts.binding,
            expiration: ExpirationCheck::On,
            limit: ConcurrencyLimit::new("/protos.Deliver", config.limits.deliver_service),
        },
        metrics,
    );
    let snapshots = SnapshotService::new(Arc::clone(&ledgers), Arc::clone(&local_msp));
    let mut routes = Routes::new(endorser.clone().into_server())
        .add_service(deliver.into_peer_server())
        .add_service(snapshots.into_server());
    if config.gateway.enabled {
        tracing::info!(target: "nodeCmd", function = "serve", "Starting peer with Gateway enabled");
        let local = LocalPeer::new(local_msp.id().clone(), parts.address, endorser.into_server());
        let ping = config.client_keepalive;
        let keepalive = Keepalive { interval: ping.interval, timeout: ping.timeout };
        let dial_timeout = config.gateway.dial_timeout;
        let peers = PeerDirectory::new(local, parts.client_tls, dial_timeout, keepalive, parts.overrides);
        let gateway = GatewayConfig {
            endorsement_timeout: config.gateway.endorsement_timeout,
            broadcast_timeout: config.gateway.broadcast_timeout,
            limit: ConcurrencyLimit::new("/gateway.Gateway", config.limits.gateway_service),
        };
        routes = routes.add_service(Gateway::new(ledgers, local_msp, peers, gateway).into_server());
    }
    metrics.observe(routes)
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

fn filters(config: &PeerConfig) -> Filters {
    let has = |filter| config.proposal_filters.contains(&filter);
    Filters {
        expiration: has(ProposalFilter::Expiration),
        time_window: has(ProposalFilter::TimeWindow).then_some(config.authentication_time_window),
    }
}

/// Serves routes on a listener as a task without which the peer cannot be.
pub(super) fn serve(
    tasks: &TaskGroup,
    name: &'static str,
    listener: Listener,
    tls: Option<ServerTls>,
    options: ServerOptions,
    routes: Routes,
) {
    let serving = serve_grpc(listener, tls, options, routes, tasks.cancelled());
    tasks.spawn(TaskKind::Essential, name, serving);
}
