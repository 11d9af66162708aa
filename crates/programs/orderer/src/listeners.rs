//! Where the node listens, and what it answers there.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Context;
use ripstop_deliver::{DeliverConfig, DeliverService, ExpirationCheck, TlsBinding};
use ripstop_node_config::OrdererConfig;
use ripstop_ordering_service::{
    AtomicBroadcastService, ClusterService, OrderingService, Throttle, participation_routes,
};
use ripstop_runtime::TaskKind;
use ripstop_transport::{
    ConcurrencyLimit, Listener, MessageLimits, ServerTls, host_and_port, serve_grpc, serve_http, with_health,
};
use tonic::service::Routes;

use crate::LOG;
use crate::cluster::OwnListener;
use crate::identity::Identity;
use crate::start::Orderer;

/// Deliver streams open at once; 0 is no limit, as in Fabric's orderer.
const MAX_DELIVER_STREAMS: usize = 0;

/// The sockets of the node, which nobody serves yet.
pub(crate) struct Listeners {
    clients: Listener,
    /// For other ordering nodes, where they do not come in with clients.
    orderers: Option<Listener>,
    admin: Listener,
}

impl Listeners {
    /// Binds them.
    pub(crate) async fn bind(config: &OrdererConfig, identity: &Identity) -> anyhow::Result<Self> {
        let address = host_and_port(&config.listen_host, config.listen_port);
        let clients = Listener::bind(&address).await.context("(General.ListenAddress, General.ListenPort)")?;
        let orderers = match &identity.cluster.listener {
            Some(own) => Some(
                Listener::bind(&own.address)
                    .await
                    .context("(General.Cluster.ListenAddress, General.Cluster.ListenPort)")?,
            ),
            None => None,
        };
        let admin = Listener::bind(&config.admin.listen_address)
            .await
            .context("failed to start admin server (Admin.ListenAddress)")?;
        Ok(Self { clients, orderers, admin })
    }

    /// Serves clients, other ordering nodes and administrators. None of the listeners may fail while the node runs.
    pub(crate) fn serve(self, orderer: &Orderer, service: &OrderingService) {
        serve_admin(self.admin, orderer, service);
        let cluster = ClusterService::new(service.clone()).into_server();
        let routes = Routes::new(broadcast(orderer, service).into_server());
        let routes = match (self.orderers, &orderer.identity.cluster.listener) {
            (Some(listener), Some(OwnListener { tls, .. })) => {
                tracing::info!(target: LOG, "Starting cluster listener on {}", listener.address());
                serve(orderer, "cluster", listener, Some(tls.clone()), Routes::new(cluster));
                routes
            }
            _ => routes.add_service(cluster),
        };
        let config = &orderer.config;
        serve(orderer, "grpc", self.clients, orderer.identity.clients.clone(), with_health(routes));
        let address = host_and_port(&config.listen_host, config.listen_port);
        tracing::info!(target: LOG, "Beginning to serve requests on {address}");
    }
}

fn serve(orderer: &Orderer, name: &'static str, listener: Listener, tls: Option<ServerTls>, routes: Routes) {
    let (config, node, servers) = (&orderer.config, &orderer.node, &orderer.tasks.servers);
    let options = node.grpc_options(config.keepalive, config.connection_timeout, message_limits(config));
    let serving = serve_grpc(listener, tls, options, node.metrics.observe(routes), servers.cancelled());
    servers.spawn(TaskKind::Essential, name, serving);
}

/// How large the messages may be that the node takes and sends, whoever began to speak.
pub(crate) const fn message_limits(config: &OrdererConfig) -> MessageLimits {
    MessageLimits { receive: config.max_receive_message_size as usize, send: config.max_send_message_size as usize }
}

/// Broadcast and deliver.
fn broadcast(orderer: &Orderer, service: &OrderingService) -> AtomicBroadcastService {
    let config = &orderer.config;
    let deliver = DeliverConfig {
        time_window: config.authentication_time_window,
        binding: TlsBinding::of(orderer.identity.clients.as_ref()),
        expiration: if config.no_expiration_checks { ExpirationCheck::Off } else { ExpirationCheck::On },
        limit: ConcurrencyLimit::new("/orderer.AtomicBroadcast/Deliver", MAX_DELIVER_STREAMS),
    };
    let deliver = DeliverService::new(Arc::new(service.clone()), deliver, &orderer.node.metrics);
    let broadcast = AtomicBroadcastService::new(service.clone(), deliver);
    match config.throttling.rate {
        0 => broadcast,
        rate => broadcast.throttled(Throttle::new(rate, config.throttling.inactivity_timeout)),
    }
}

/// Channel participation.
fn serve_admin(listener: Listener, orderer: &Orderer, service: &OrderingService) {
    let (tls, servers) = (orderer.identity.admin.clone(), &orderer.tasks.servers);
    if tls.is_none() {
        tracing::warn!(target: LOG, "Admin.TLS is off: anybody who reaches {} can join and remove channels", listener.address());
    }
    tracing::info!(target: LOG, "Starting admin server on {}", listener.address());
    let routes = participation_routes(service.clone(), orderer.config.admin.max_request_body_size as usize);
    let shutdown = servers.cancelled();
    servers.spawn(TaskKind::Essential, "admin", async move {
        serve_http(listener, tls, routes, shutdown).await;
        Ok::<_, Infallible>(())
    });
}
