//! Several peers on loopback, with TLS, certificates and ledgers of their own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_channel_config::genesis;
use ripstop_gossip::{Content, Options, PkiId, PrivateDigest, PrivateElement, PrivatePayload, View};
use ripstop_gossip_service::{
    AcknowledgeError, ChannelDoor, Gossip, GossipConfig, GossipParts, GossipTls, PrivateIncoming, SendError, Spreading,
};
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_operations::Metrics;
use ripstop_proto::protos;
use ripstop_runtime::TaskGroup;
use ripstop_testkit::{Channel, Organization, value};
use ripstop_transport::{
    ClientAuth, Keepalive, KeyPair, Listener, MessageLimits, ServerKeepalive, ServerTls, serve_grpc,
};
use ripstop_types::{Block, ChannelId, Timestamp};
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::service::Routes;

/// Nothing here takes as long: who waits for it waits for a bug.
const PATIENCE: Duration = Duration::from_secs(60);

fn channel() -> ChannelId {
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

struct Peer {
    gossip: Gossip,
    id: PkiId,
    address: String,
    metrics: Metrics,
    door: ChannelDoor,
    tasks: TaskGroup,
    _ledgers: Arc<Ledgers>,
    _directory: TempDir,
}

/// Where a peer will listen.
struct Place {
    listener: Listener,
    address: String,
}

impl Place {
    async fn find() -> Self {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.address().to_string();
        Self { listener, address }
    }
}

impl Peer {
    /// A peer of an organisation that is in the channel of a genesis block.
    async fn start(organization: &Organization, place: Place, genesis: &Block, bootstrap: &[&str]) -> Self {
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
        Self { gossip, id, address, metrics, door, tasks, _ledgers: ledgers, _directory: directory }
    }

    /// Waits until this peer knows something.
    async fn knows(&self, what: &str, known: impl Fn(&View) -> bool) {
        let mut views = self.gossip.views();
        let waiting = views.wait_for(|view| known(view));
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(view) => drop(view.unwrap()),
            Err(_) => panic!("{} does not know that {what}: {:#?}", self.address, self.gossip.view()),
        }
    }

    async fn stop(&self) {
        self.tasks.close(PATIENCE).await;
    }
}

/// The first block of a channel of two organisations whose anchor peers are at these addresses.
fn genesis_of(orderer: &Organization, organizations: &[(&Organization, &str)]) -> Block {
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

/// Two peers of the first organisation and one of the second, all in one channel.
async fn network() -> [Peer; 3] {
    let [orderer, org1, org2] = ["OrdererMSP", "Org1MSP", "Org2MSP"].map(Organization::new);
    let [one, two, three] = [Place::find().await, Place::find().await, Place::find().await];
    let genesis = genesis_of(&orderer, &[(&org1, &one.address), (&org2, &three.address)]);
    let bootstrap = one.address.clone();
    [
        Peer::start(&org1, one, &genesis, &[]).await,
        Peer::start(&org1, two, &genesis, &[&bootstrap]).await,
        Peer::start(&org2, three, &genesis, &[]).await,
    ]
}

fn lives(view: &View, peer: &Peer) -> bool {
    view.alive.contains_key(&peer.id)
}

fn is_member(view: &View, peer: &Peer) -> bool {
    view.channels.get(&channel()).is_some_and(|members| members.get(&peer.id).is_some_and(|member| member.height == 1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_find_each_other_and_notice_a_death() {
    let peers = network().await;
    for peer in &peers {
        for other in peers.iter().filter(|other| other.id != peer.id) {
            peer.knows("others live", |view| lives(view, other)).await;
            peer.knows("others are in the channel", |view| is_member(view, other)).await;
        }
    }
    let [one, two, three] = &peers;
    let seen = |view: &View, peer: &Peer| view.alive[&peer.id].member.clone();
    assert_eq!(seen(&two.gossip.view(), one).internal_endpoint, one.address);
    assert_eq!(seen(&three.gossip.view(), one).endpoint, one.address);
    assert_eq!(seen(&three.gossip.view(), one).internal_endpoint, "", "it never leaves the organisation");
    let text = one.metrics.text();
    assert!(text.contains("gossip_membership_total_peers_known{channel=\"mychannel\"} 2"), "{text}");
    assert!(text.contains("gossip_state_height{channel=\"mychannel\"} 1"), "{text}");

    three.stop().await;
    one.knows("one is dead", |view| !lives(view, three) && !is_member(view, three)).await;
    two.knows("one is dead", |view| !lives(view, three)).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_messages_go_to_one_peer_and_are_answered() {
    let [one, mut two, three] = network().await;
    one.knows("another lives", |view| is_member(view, &two)).await;
    let payload = PrivatePayload {
        collection: "secrets".into(),
        namespace: "asset".into(),
        tx_id: "tx".into(),
        writes: Bytes::from_static(b"value"),
        endorsed_at: 1,
        collection_configs: None,
    };
    let digest =
        PrivateDigest { tx_id: "tx".into(), namespace: "asset".into(), collection: "secrets".into(), block: 7, tx: 0 };
    let element = PrivateElement { digest: digest.clone(), payload: vec![Bytes::from_static(b"value")] };
    let (expected, from, answer) = (payload.clone(), one.id.clone(), element.clone());
    let answering = tokio::spawn(async move {
        let mut seen = BTreeMap::new();
        while let Some(incoming) = two.door.private.recv().await {
            match incoming {
                PrivateIncoming::Data { from: sender, payload, reply } => {
                    assert_eq!((&sender.pki_id, &payload), (&from, &expected));
                    let times: &mut u32 = seen.entry(payload.tx_id).or_default();
                    *times += 1;
                    let kept = if *times == 1 { Ok(()) } else { Err("twice".to_owned()) };
                    reply.send(kept).unwrap();
                }
                PrivateIncoming::Request { digests, reply, .. } => {
                    assert_eq!(digests, std::slice::from_ref(&answer.digest));
                    reply.send(vec![answer.clone()]).unwrap();
                }
                PrivateIncoming::ForBlock { .. } => {}
            }
        }
        two.stop().await;
    });
    let two = one.gossip.view().alive.values().find(|peer| peer.member.pki_id != three.id).unwrap().member.clone();
    let (data, channel) = (|| Content::PrivateData(payload.clone()), channel());
    let send = || one.gossip.send_acknowledged(&two.pki_id, &channel, data(), PATIENCE);
    assert_eq!(send().await, Ok(()));
    assert_eq!(send().await, Err(AcknowledgeError::Refused("twice".into())));
    let request = Content::PrivateRequest(vec![digest]);
    let answer = one.gossip.ask(&two.pki_id, &channel, request, PATIENCE).await;
    assert_eq!(answer, Ok(Content::PrivateResponse(vec![element])));
    assert!(one.gossip.contact(&two.pki_id).is_some());
    let nobody = PkiId::claimed(Bytes::from_static(&[0; 32]));
    assert_eq!(one.gossip.send(&nobody, &channel, data()), Err(SendError::Unknown(nobody.clone())));
    one.stop().await;
    three.stop().await;
    answering.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_an_unknown_organisation_is_not_talked_to() {
    let [orderer, org1, stranger] = ["OrdererMSP", "Org1MSP", "StrangeMSP"].map(Organization::new);
    let [one, two, other] = [Place::find().await, Place::find().await, Place::find().await];
    let genesis = genesis_of(&orderer, &[(&org1, &one.address)]);
    let bootstrap = one.address.clone();
    // The stranger believes in a channel of both.
    let strange = genesis_of(&orderer, &[(&org1, &one.address), (&stranger, &other.address)]);
    let strange = Peer::start(&stranger, other, &strange, &[&bootstrap]).await;
    let one = Peer::start(&org1, one, &genesis, &[]).await;
    let two = Peer::start(&org1, two, &genesis, &[&bootstrap]).await;
    one.knows("another lives", |view| lives(view, &two)).await;
    two.knows("another lives", |view| lives(view, &one)).await;
    for peer in [&one, &two] {
        assert!(!lives(&peer.gossip.view(), &strange));
        assert!(peer.gossip.contact(&strange.id).is_none());
    }
    for peer in [one, two, strange] {
        peer.stop().await;
    }
}
