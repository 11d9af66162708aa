//! Peers for the tests.

use std::sync::Arc;
use std::time::Duration;

use ripstop_channel_config::genesis;
use ripstop_gossip::{Options, PkiId, View};
use ripstop_gossip_service::{ChannelDoor, Gossip, GossipConfig, GossipParts, GossipTls, Spreading};
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_operations::Metrics;
use ripstop_proto::protos;
use ripstop_runtime::TaskGroup;
use ripstop_testkit::{Channel, Organization, PATIENCE, value};
use ripstop_transport::{
    ClientAuth, Keepalive, KeyPair, Listener, MessageLimits, ServerKeepalive, ServerTls, serve_grpc,
};
use ripstop_types::{Block, ChannelId, Timestamp};
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::service::Routes;

pub(crate) fn channel() -> ChannelId {
    ChannelId::new("mychannel").unwrap()
}

/// Fabric's settings, quicker.
fn options(bootstrap: &[&str]) -> Options {
    Options {
        bootstrap: bootstrap.iter().map(|&address| address.to_owned()).collect(),
        alive_time_interval: Duration::from_millis(200),
        alive_expiration_timeout: Duration::from_secs(3),
        reconnect_interval: Duration::from_millis(500),
        pull_interval: Duration::from_millis(300),
        digest_wait_time: Duration::from_millis(100),
        request_state_info_interval: Duration::from_millis(300),
        publish_state_info_interval: Duration::from_millis(300),
        membership_tracker_interval: Duration::from_millis(300),
        ..Options::default()
    }
}

pub(crate) struct Peer {
    pub(crate) gossip: Gossip,
    pub(crate) id: PkiId,
    pub(crate) address: String,
    pub(crate) metrics: Metrics,
    #[allow(dead_code, reason = "not every test opens it")]
    pub(crate) door: ChannelDoor,
    #[allow(dead_code, reason = "not every test starts one more peer")]
    pub(crate) genesis: Block,
    tasks: TaskGroup,
    _ledgers: Arc<Ledgers>,
    _directory: TempDir,
}

/// Where a peer will listen.
pub(crate) struct Place {
    listener: Listener,
    pub(crate) address: String,
}

impl Place {
    pub(crate) async fn find() -> Self {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.address().to_string();
        Self { listener, address }
    }
}

impl Peer {
    /// A peer of an organization that is in the channel of a genesis block.
    pub(crate) async fn start(organization: &Organization, place: Place, genesis: &Block, bootstrap: &[&str]) -> Self {
        let Place { listener, address } = place;
        let directory = tempfile::tempdir().unwrap();
        let ledgers = Arc::new(Ledgers::open(directory.path(), LedgerOptions::default()).unwrap());
        let ledger = ledgers.create(genesis.clone()).unwrap();
        let signer = organization.peer(&address);
        let credentials = organization.tls(&address, &["127.0.0.1"]);
        let pair = KeyPair::from_pem(credentials.certificate.as_bytes(), credentials.key.as_bytes()).unwrap();
        let (tasks, metrics) = (TaskGroup::root("peer"), Metrics::new());
        let config = GossipConfig {
            options: options(bootstrap),
            endpoint: address.clone(),
            external_endpoint: address.clone(),
            tls: Some(GossipTls { client: pair.clone(), server: pair.clone(), configured_roots: Vec::new() }),
            messages: MessageLimits::default(),
            keepalive: Keepalive::default(),
            spreading: Spreading::Keep,
        };
        let id = PkiId::of(signer.identity());
        let parts = GossipParts {
            ledgers: Arc::clone(&ledgers),
            local_msp: Arc::new(LocalMsp::new(&organization.msp_config()).unwrap()),
            signer,
            metrics: metrics.clone(),
            tasks: tasks.clone(),
        };
        let (gossip, service) = Gossip::start(config, parts);
        let tls = ServerTls::new(pair, ClientAuth::Requested).unwrap();
        let routes = Routes::new(service.into_server());
        let stopping = tasks.cancelled();
        tokio::spawn(serve_grpc(listener, Some(tls), ServerKeepalive::default(), routes, stopping));
        let door = gossip.join(ledger, watch::channel(Vec::new()).1);
        Self {
            gossip,
            id,
            address,
            metrics,
            door,
            genesis: genesis.clone(),
            tasks,
            _ledgers: ledgers,
            _directory: directory,
        }
    }

    /// Waits until this peer knows something.
    pub(crate) async fn knows(&self, what: &str, known: impl Fn(&View) -> bool) {
        let mut views = self.gossip.views();
        let waiting = views.wait_for(|view| known(view));
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(view) => drop(view.unwrap()),
            Err(_) => panic!("{} does not know that {what}: {:#?}", self.address, self.gossip.view()),
        }
    }

    pub(crate) async fn stop(&self) {
        self.tasks.close(PATIENCE).await;
    }
}

/// The first block of a channel of two organizations whose anchor peers are at these addresses.
pub(crate) fn genesis_of(orderer: &Organization, organizations: &[(&Organization, &str)]) -> Block {
    let mut root = Channel::new(orderer, organizations.iter().map(|(organization, _)| *organization)).group();
    let application = root.groups.get_mut("Application").unwrap();
    for (organization, anchor) in organizations {
        let (host, port) = anchor.rsplit_once(':').unwrap();
        let anchor_peers = vec![protos::AnchorPeer { host: host.to_owned(), port: port.parse().unwrap() }];
        let group = application.groups.get_mut(organization.msp_id().as_str()).unwrap();
        group.values.extend([value("AnchorPeers", &protos::AnchorPeers { anchor_peers })]);
    }
    genesis::block(&channel(), root, [7; 24], Timestamp { seconds: 0, nanos: 0 })
}

pub(crate) fn lives(view: &View, peer: &Peer) -> bool {
    view.alive.contains_key(&peer.id)
}
