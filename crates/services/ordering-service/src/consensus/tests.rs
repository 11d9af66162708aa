//! The consensus of three orderers in one thread: the test carries every message, block and tick, so it decides what
//! arrives and who dies between which two steps.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ripstop_block_store::{BlockStore, BlockStoreOptions};
use ripstop_deliver::BlockOrigin;
use ripstop_operations::Metrics;
use ripstop_ordering::Message;
use ripstop_raft::NodeId;
use ripstop_types::{Block, BlockNumber};
use tokio::sync::{oneshot, watch};

use super::{Arrival, Consensus, Input, Order, OrderKind, Origin, Outgoing};
use crate::channel::{Places, Shared, open};
use crate::links::LinkReport;
use crate::metrics::ConsensusMetrics;
use crate::tests::founders::{Founders, SIZE};
use crate::tests::{channel_id, normal, texts};

const NOW: i64 = 1_700_000_000;
/// Ticks after which a follower no longer believes in a leader that is silent.
const ELECTION_TICKS: usize = 10;
/// Ticks within which somebody must lead: many election timeouts.
const PATIENCE: usize = 300;

struct Node {
    consensus: Consensus,
    shared: Arc<Shared>,
    catching_up: bool,
}

struct Group {
    founders: Founders,
    nodes: BTreeMap<NodeId, Node>,
    /// Messages on their way, by sender.
    network: Vec<(NodeId, Outgoing)>,
}

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

impl Group {
    /// Three orderers, of which the first one leads. They keep nothing in their logs but the last few entries.
    fn new() -> Self {
        let addresses: Vec<_> = (1..=SIZE).map(|port| SocketAddr::from(([127, 0, 0, 1], port as u16))).collect();
        let founders = Founders::new(&addresses, 1);
        for number in 0..SIZE {
            let places = Places::new(&founders.config(number), &channel_id());
            let store = BlockStore::open(&places.blocks, BlockStoreOptions::default()).unwrap();
            store.append(Arc::new(founders.genesis.clone())).unwrap();
        }
        let mut group = Self { founders, nodes: BTreeMap::new(), network: Vec::new() };
        (1..=SIZE as u64).for_each(|number| group.start(id(number)));
        group.elect(id(1));
        group
    }

    fn start(&mut self, node: NodeId) {
        let number = node.get() as usize - 1;
        let (config, signer) = (self.founders.config(number), self.founders.signer(number));
        let metrics = ConsensusMetrics::new(&Metrics::new());
        let opened = open(&config, &channel_id(), signer, metrics, watch::Sender::new(0)).unwrap();
        let (consensus, shared) = (opened.consensus, opened.shared);
        self.nodes.insert(node, Node { consensus, shared, catching_up: false });
        self.step(node, Vec::new());
    }

    fn step(&mut self, node: NodeId, inputs: Vec<Input>) {
        let Some(member) = self.nodes.get_mut(&node) else { return };
        let outcome = member.consensus.step(inputs, NOW).unwrap();
        member.catching_up = outcome.catching_up;
        self.network.extend(outcome.outbox.into_iter().map(|message| (node, message)));
    }

    fn tick(&mut self, node: NodeId) {
        self.step(node, vec![Input::Tick]);
    }

    /// Carries what is on its way, once, between these orderers; what is for others, or of them, is lost.
    fn carry(&mut self, between: &[u64]) {
        for (from, Outgoing { message, metadata }) in std::mem::take(&mut self.network) {
            if message.is_snapshot {
                self.step(from, vec![Input::Link(LinkReport::Snapshot { to: message.to, outcome: Ok(()) })]);
            }
            if between.contains(&from.get()) && between.contains(&message.to.get()) {
                let arrival = Arrival { from, payload: message.bytes, metadata };
                self.step(message.to, vec![Input::Arrival(arrival)]);
            }
        }
    }

    /// The same until nobody has anything to say any more.
    fn settle(&mut self, between: &[u64]) {
        while !self.network.is_empty() {
            self.carry(between);
        }
    }

    /// Lets time pass for one orderer until it makes blocks.
    fn elect(&mut self, node: NodeId) {
        let living: Vec<_> = self.nodes.keys().map(|node| node.get()).collect();
        for _ in 0..PATIENCE {
            if self.node(node).consensus.accepts() {
                return;
            }
            self.tick(node);
            self.settle(&living);
            self.fetch();
            self.settle(&living);
        }
        panic!("node {node} does not lead after {PATIENCE} ticks");
    }

    /// Hands a block to everybody who is catching up, if somebody who is alive has written it.
    fn fetch(&mut self) {
        let catching_up: Vec<_> = self.nodes.iter().filter(|(_, node)| node.catching_up).map(|(id, _)| *id).collect();
        for node in catching_up {
            let next = BlockNumber::new(self.height(node));
            let found = self.nodes.values().find_map(|source| source.shared.store.block(next).unwrap());
            let pulled = found.map(|block| Input::Pulled(BlockOrigin::new("another").pulled(Block::clone(&block))));
            self.step(node, pulled.into_iter().collect());
        }
    }

    /// A client's message for a block of its own.
    fn order(&mut self, node: NodeId, text: &str) {
        let envelope = normal(&self.founders.org1.client("alice"), text);
        let (answer, _) = oneshot::channel();
        let (message, origin) = (Message::parse(envelope).unwrap(), Origin::Client(answer));
        let order = Order { message, kind: OrderKind::Normal, validated_at: 0, origin };
        self.step(node, vec![Input::Order(order)]);
        self.step(node, vec![Input::BatchTimeout]);
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[&node]
    }

    fn height(&self, node: NodeId) -> u64 {
        self.node(node).shared.store.height()
    }

    fn chain(&self, node: NodeId) -> Vec<Block> {
        let block = |number| self.node(node).shared.store.block(BlockNumber::new(number)).unwrap().unwrap();
        (0..self.height(node)).map(|number| Block::clone(&block(number))).collect()
    }

    fn all_texts(&self, node: NodeId) -> Vec<String> {
        self.chain(node).iter().skip(1).flat_map(texts).collect()
    }

    /// The first orderer dies while the third one, which was missing, fetches blocks. The second one has all of them in its
    /// log, but does not know yet that the last one is agreed on. Returns the texts that were ordered.
    fn leader_dies_while_another_catches_up(&mut self) -> Vec<String> {
        let texts: Vec<_> = (0..9).map(|number| number.to_string()).collect();
        for text in &texts {
            let is_last = Some(text) == texts.last();
            self.order(id(1), text);
            if is_last {
                // The entry and its acknowledgement; that it is agreed on is not heard any more.
                self.carry(&[1, 2]);
                self.carry(&[1, 2]);
                self.network.clear();
            } else {
                self.settle(&[1, 2]);
            }
        }
        assert_eq!([1, 2, 3].map(|node| self.height(id(node))), [10, 9, 1]);
        for _ in 0..ELECTION_TICKS {
            if self.node(id(3)).catching_up {
                break;
            }
            self.tick(id(1));
            self.settle(&[1, 3]);
        }
        assert!(self.node(id(3)).catching_up);
        self.nodes.remove(&id(1));
        for _ in 0..ELECTION_TICKS {
            self.tick(id(2));
            self.tick(id(3));
            self.network.clear();
        }
        texts
    }

    fn assert_goes_on(&mut self, leader: NodeId, mut expected: Vec<String>) {
        expected.push("after".to_owned());
        self.order(leader, "after");
        for _ in 0..ELECTION_TICKS {
            self.tick(leader);
            self.settle(&[2, 3]);
            self.fetch();
            self.settle(&[2, 3]);
        }
        for node in [id(2), id(3)] {
            assert_eq!(self.all_texts(node), expected, "node {node}");
        }
        let headers = |node| self.chain(node).into_iter().map(|block| block.header).collect::<Vec<_>>();
        assert_eq!(headers(id(2)), headers(id(3)));
    }
}

#[test]
fn a_leader_that_dies_while_another_orderer_catches_up_is_replaced_by_either() {
    for leader in [id(2), id(3)] {
        let mut group = Group::new();
        let expected = group.leader_dies_while_another_catches_up();
        group.elect(leader);
        group.assert_goes_on(leader, expected);
    }
}

#[test]
fn an_orderer_that_crashes_while_it_catches_up_still_votes_and_leads() {
    for leader in [id(2), id(3)] {
        let mut group = Group::new();
        let expected = group.leader_dies_while_another_catches_up();
        group.nodes.remove(&id(3));
        group.start(id(3));
        assert!(group.node(id(3)).catching_up);
        group.elect(leader);
        group.assert_goes_on(leader, expected);
    }
}

#[test]
fn a_later_snapshot_is_caught_up_with_instead_and_what_was_not_wanted_before_is_asked_for_again() {
    let mut group = Group::new();
    let order = |group: &mut Group, texts: std::ops::Range<u64>| {
        for text in texts {
            group.order(id(1), &text.to_string());
            group.settle(&[1, 2]);
        }
    };
    let meet = |group: &mut Group| {
        for _ in 0..3 {
            group.tick(id(1));
            group.settle(&[1, 3]);
        }
    };
    order(&mut group, 0..9);
    meet(&mut group);
    assert!(group.node(id(3)).catching_up);
    group.fetch();
    assert_eq!(group.height(id(3)), 2);
    order(&mut group, 9..18);
    let pulled = |group: &Group, number| {
        let block = group.node(id(1)).shared.store.block(BlockNumber::new(number)).unwrap().unwrap();
        let origin = BlockOrigin::new("another");
        (origin.clone(), Input::Pulled(origin.pulled(Block::clone(&block))))
    };
    // Beyond the first snapshot.
    let (origin, block) = pulled(&group, 10);
    group.step(id(3), vec![block]);
    assert!(!origin.is_refused());
    meet(&mut group);
    (0..8).for_each(|_| group.fetch());
    assert_eq!(group.height(id(3)), 10);
    assert!(group.node(id(3)).catching_up, "there is a later snapshot");
    // The one that was passed over is missing in what the same orderer sends next.
    let (origin, block) = pulled(&group, 11);
    group.step(id(3), vec![block]);
    assert!(origin.is_refused());
    (0..9).for_each(|_| group.fetch());
    assert!(!group.node(id(3)).catching_up);
    meet(&mut group);
    group.order(id(1), "after");
    group.settle(&[1, 3]);
    assert_eq!(group.all_texts(id(3)), group.all_texts(id(1)));
    assert_eq!(group.height(id(3)), 20);
}
