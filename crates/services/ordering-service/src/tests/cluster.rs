//! Three orderers of one channel on loopback, each with a runtime of its own, so that one can be stopped between two
//! instructions.

use std::net::SocketAddr;

use ripstop_proto::orderer::cluster_client::ClusterClient;
use ripstop_proto::orderer::step_request::Payload;

use ripstop_transport::{ClientAuth, ClientTls, ServerTls};
use tokio::net::TcpSocket;
use tonic::service::Routes;

use super::founders::{Founders, SIZE};
use super::*;
use crate::ClusterService;

struct Network {
    founders: Founders,
    addresses: Vec<SocketAddr>,
    /// Sockets that hold the ports without listening, so that nobody else gets one while its orderer is down.
    _ports: Vec<TcpSocket>,
}

/// A running orderer; dropping it stops it at once.
struct Node {
    service: OrderingService,
    runtime: Runtime,
}

impl Network {
    fn new(snapshot_every: u32) -> Self {
        let ports: Vec<_> = (0..SIZE).map(|_| held_port()).collect();
        let addresses: Vec<_> = ports.iter().map(|port| port.local_addr().unwrap()).collect();
        Self { founders: Founders::new(&addresses, snapshot_every), addresses, _ports: ports }
    }

    /// Starts an orderer; it joins the channel unless it has.
    fn start(&self, number: usize) -> Node {
        let config = self.founders.config(number);
        let pair = config.cluster.key_pair.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let service = runtime.block_on(async {
            let listener = Listener::bind(&self.addresses[number].to_string()).await.unwrap();
            let signer = self.founders.signer(number);
            let (metrics, tasks) = (Metrics::new(), TaskGroup::root("orderer"));
            let service = OrderingService::open(config, signer, &metrics, Vec::new(), tasks).await.unwrap();
            let deliver_config = DeliverConfig {
                time_window: Duration::from_secs(3600),
                binding: TlsBinding::NotChecked,
                expiration: ExpirationCheck::On,
                limit: ConcurrencyLimit::new("/orderer.AtomicBroadcast", 0),
            };
            let deliver = DeliverService::new(std::sync::Arc::new(service.clone()), deliver_config, &metrics);
            let routes = Routes::new(AtomicBroadcastService::new(service.clone(), deliver).into_server())
                .add_service(ClusterService::new(service.clone()).into_server());
            let tls = ServerTls::new(pair, ClientAuth::Requested).unwrap();
            tokio::spawn(serve_grpc(listener, Some(tls), ServerKeepalive::default(), routes, std::future::pending()));
            if service.list().is_empty() {
                service.join(JoinBlock::new(self.founders.genesis.clone()).unwrap()).await.unwrap();
            }
            service
        });
        Node { service, runtime }
    }

    fn all(&self) -> Vec<Node> {
        (0..SIZE).map(|number| self.start(number)).collect()
    }

    /// What a client does: sends a message again until it is taken.
    fn order(&self, node: &Node, texts: &[&str]) {
        let alice = self.founders.org1.client("alice");
        node.runtime.block_on(async {
            for text in texts {
                let envelope = normal(&alice, text);
                loop {
                    node.led().await;
                    match send(&node.service, envelope.clone()).await {
                        (BroadcastStatus::Success, _) => break,
                        (BroadcastStatus::ServiceUnavailable, _) => {}
                        (status, reason) => panic!("{text}: {status:?} {reason}"),
                    }
                }
            }
        });
    }
}

/// A port of its own: two sockets may be bound to it because both say so, as long as only one of them listens.
fn held_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket
}

impl Node {
    /// Waits until somebody leads.
    async fn led(&self) {
        let channel = self.service.channel("mychannel").unwrap();
        let mut errored = channel.shared.errored.subscribe();
        errored.wait_for(|errored| !errored).await.unwrap();
    }

    /// All blocks once these texts are in them.
    fn chain(&self, last: &str) -> Vec<Block> {
        self.runtime.block_on(async {
            let mut chain: Vec<Block> = Vec::new();
            let holds =
                |block: &Block| block.config_envelope().is_none() && texts(block).iter().any(|text| text == last);
            while !chain.last().is_some_and(holds) {
                chain.push(block(&self.service, chain.len() as u64).await);
            }
            chain
        })
    }
}

/// Blocks are the same but for the signature, and each holds what consensus records.
fn assert_same(chains: &[Vec<Block>]) {
    let content = |chain: &[Block]| -> Vec<_> {
        chain.iter().map(|b| (b.header.clone(), b.data.clone(), b.metadata.signatures().unwrap().0)).collect()
    };
    for chain in chains {
        assert_eq!(content(chain), content(&chains[0]));
    }
}

fn all_texts(chain: &[Block]) -> Vec<String> {
    chain.iter().skip(1).flat_map(texts).collect()
}

#[test]
fn whoever_takes_a_message_all_write_the_same_blocks() {
    let network = Network::new(16 << 20);
    let nodes = network.all();
    network.order(&nodes[0], &["a", "b"]);
    network.order(&nodes[1], &["c", "d"]);
    network.order(&nodes[2], &["e", "last"]);
    let chains: Vec<_> = nodes.iter().map(|node| node.chain("last")).collect();
    assert_same(&chains);
    assert_eq!(all_texts(&chains[0]), ["a", "b", "c", "d", "e", "last"]);
    let recorded = ripstop_ordering::consenter_metadata(chains[0].last().unwrap()).unwrap();
    let recorded = etcdraft::BlockMetadata::decode(recorded).unwrap();
    assert_eq!((recorded.consenter_ids, recorded.next_consenter_id), (vec![1, 2, 3], 4));
}

#[test]
fn a_configuration_may_be_sent_to_any_orderer_and_takes_effect_on_all() {
    let network = Network::new(16 << 20);
    let nodes = network.all();
    let update = anchor_update(&network.founders.org1);
    // Who asks for votes first in a channel of this name is the second one.
    let follower = &nodes[0];
    let outcome = follower.runtime.block_on(async {
        loop {
            follower.led().await;
            let outcome = send(&follower.service, update.clone()).await;
            if outcome.0 != BroadcastStatus::ServiceUnavailable {
                return outcome;
            }
        }
    });
    assert_eq!(outcome, (BroadcastStatus::Success, String::new()));
    network.order(&nodes[2], &["last"]);
    assert_same(&nodes.iter().map(|node| node.chain("last")).collect::<Vec<_>>());
    for node in &nodes {
        assert_eq!(node.service.configuration(&channel_id()).unwrap().sequence(), 1);
    }
    let (status, text) = follower.runtime.block_on(send(&follower.service, update));
    assert_eq!(status, BroadcastStatus::BadRequest, "{text}");
}

#[test]
fn a_minority_may_stop_at_any_time_and_comes_back() {
    let network = Network::new(16 << 20);
    let mut nodes: Vec<Option<Node>> = network.all().into_iter().map(Some).collect();
    for round in 0..SIZE {
        // Whichever of them leads, in each round another one stops.
        let survivor = (round + 1) % SIZE;
        network.order(nodes[survivor].as_ref().unwrap(), &[&format!("{round}-before")]);
        nodes[round] = None;
        network.order(nodes[survivor].as_ref().unwrap(), &[&format!("{round}-without")]);
        nodes[round] = Some(network.start(round));
    }
    network.order(nodes[0].as_ref().unwrap(), &["last"]);
    let chains: Vec<_> = nodes.iter().flatten().map(|node| node.chain("last")).collect();
    assert_same(&chains);
    // A client that asks again after a change of leader may have its message twice.
    let mut ordered = all_texts(&chains[0]);
    ordered.dedup();
    assert_eq!(ordered, ["0-before", "0-without", "1-before", "1-without", "2-before", "2-without", "last"]);
}

#[test]
fn who_lags_behind_fetches_blocks_that_are_no_longer_in_the_log() {
    let network = Network::new(1);
    let mut nodes = network.all();
    network.order(&nodes[0], &["first"]);
    nodes.pop();
    let texts: Vec<_> = (0..12).map(|number| number.to_string()).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).chain(["middle"]).collect();
    network.order(&nodes[0], &texts);
    nodes.push(network.start(2));
    network.order(&nodes[2], &["last"]);
    let chains: Vec<_> = nodes.iter().map(|node| node.chain("last")).collect();
    assert_same(&chains);
    // It goes on from its own log and blocks.
    nodes.pop();
    nodes.push(network.start(2));
    network.order(&nodes[2], &["again"]);
    assert_same(&nodes.iter().map(|node| node.chain("again")).collect::<Vec<_>>());
}

#[test]
fn who_has_lost_its_log_votes_no_more_though_its_snapshots_are_there() {
    let network = Network::new(1);
    let mut nodes = network.all();
    network.order(&nodes[0], &["first", "second", "third"]);
    nodes[2].chain("third");
    nodes.pop();
    std::fs::remove_dir_all(network.founders.directory.path().join("2/wal")).unwrap();
    assert!(!is_empty(&network.founders.directory.path().join("2/snapshots/mychannel")));
    for _ in 0..2 {
        let node = network.start(2);
        assert_eq!(node.service.info(&channel_id()).unwrap().status, crate::Status::Failed);
    }
    network.order(&nodes[0], &["last"]);
}

#[test]
fn strangers_are_not_listened_to() {
    let network = Network::new(16 << 20);
    let node = network.start(0);
    let ask = |credentials: Option<&TlsCredentials>, channel: &str| {
        let pair = credentials.map(|c| KeyPair::from_pem(c.certificate.as_bytes(), c.key.as_bytes()).unwrap());
        let tls = ClientTls::new([network.founders.orderer.tls_root().as_bytes()], pair).unwrap();
        let endpoint = Endpoint::new(&network.addresses[0].to_string()).unwrap().tls(tls);
        let request = orderer::ConsensusRequest { channel: channel.into(), ..Default::default() };
        let request = orderer::StepRequest { payload: Some(Payload::ConsensusRequest(request)) };
        node.runtime.block_on(async {
            let mut client = ClusterClient::new(endpoint.channel());
            let mut answers = client.step(tokio_stream::once(request)).await?.into_inner();
            answers.message().await.map(drop)
        })
    };
    let refusal = |answer: Result<(), tonic::Status>| answer.unwrap_err().message().to_owned();
    let stranger = network.founders.org1.tls("peer", &["127.0.0.1"]);
    assert_eq!(refusal(ask(None, "mychannel")), "no TLS certificate sent");
    let text = "certificate extracted from TLS connection isn't authorized";
    assert_eq!(refusal(ask(Some(&stranger), "mychannel")), text);
    assert_eq!(refusal(ask(Some(&network.founders.credentials[1]), "other")), "channel other doesn't exist");
    assert_eq!(
        refusal(ask(Some(&network.founders.credentials[1]), "")),
        "badly formatted message, cannot extract channel"
    );
    // Nonsense from a consenter stops nothing.
    ask(Some(&network.founders.credentials[1]), "mychannel").unwrap();
    assert_eq!(node.service.info(&channel_id()).unwrap().status, crate::Status::Active);
}
