//! Where the peer listens, and how what it serves gets there.

use ripstop_chaincode::ChaincodeHost;
use ripstop_node_config::PeerConfig;
use ripstop_runtime::TaskKind;
use ripstop_transport::{
    ConnectionCounts, Listener, MessageLimits, ServerKeepalive, ServerOptions, ServerTls, serve_grpc, with_health,
};
use tonic::service::Routes;

use super::parts::Peer;
use super::{at, chaincode};

/// The sockets of the peer, which nobody serves yet.
pub(super) struct Listeners {
    everybody: Listener,
    chaincode: Listener,
    /// Under which address chaincode finds the peer.
    pub(super) chaincode_address: String,
}

impl Listeners {
    /// Binds them. `advertised` is the peer's address.
    pub(super) async fn bind(config: &PeerConfig, advertised: &str) -> anyhow::Result<Self> {
        let everybody = Listener::bind(&config.listen_address).await.map_err(at("peer.listenAddress"))?;
        let (address, chaincode_address) = chaincode::endpoint(config, advertised)?;
        let chaincode = Listener::bind(&address).await.map_err(at("peer.chaincodeListenAddress"))?;
        Ok(Self { everybody, chaincode, chaincode_address })
    }

    /// Serves what applications, peers and operators ask for, and the listener for chaincode. Neither may fail while the
    /// peer runs.
    pub(super) fn serve(
        self,
        peer: &Peer,
        routes: Routes,
        chaincode: &ChaincodeHost,
        chaincode_tls: Option<ServerTls>,
    ) {
        let options = options(peer);
        // Fabric neither counts the connections of chaincode nor lets the configuration set how chaincode is pinged.
        let chaincode_options = ServerOptions {
            keepalive: ServerKeepalive::default(),
            connections: ConnectionCounts::default(),
            ..options.clone()
        };
        let registration = with_health(Routes::new(chaincode.registration_service().into_grpc()));
        let servers = &peer.tasks.servers;
        let serve = |name, listener, tls, options: ServerOptions, routes| {
            let serving = serve_grpc(listener, tls, options, routes, servers.cancelled());
            servers.spawn(TaskKind::Essential, name, serving);
        };
        serve("chaincode listener", self.chaincode, chaincode_tls, chaincode_options, registration);
        serve("listener", self.everybody, peer.identity.server_tls().cloned(), options, routes);
    }
}

fn options(peer: &Peer) -> ServerOptions {
    let config = &peer.config;
    peer.node.grpc_options(config.keepalive, config.connection_timeout, message_limits(config))
}

/// How large the messages may be that the peer takes and sends, whoever began to speak.
pub(super) const fn message_limits(config: &PeerConfig) -> MessageLimits {
    MessageLimits { receive: config.max_receive_message_size as usize, send: config.max_send_message_size as usize }
}
