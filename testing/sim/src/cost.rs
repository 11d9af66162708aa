//! What gossip costs as networks grow, measured with the machine itself: `cargo run --release -p ripstop-sim -- cost`.
//!
//! Peers of up to ten organisations with Fabric's default settings, in one channel in which one peer of each organisation
//! gets the blocks and gossip spreads them, on a network that loses nothing. Messages are not parsed anew, so that copies
//! share memory; sizes are those of encoded envelopes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::handshake::{Purpose, judge, offer};
use ripstop_gossip::{
    AnchorPeer, ChannelInput, ChannelOrganizations, Contact, Content, Effect, Input, Moment, Node, Options, PkiId,
    SelfDescription, SignedMessage,
};
use ripstop_types::{ChannelId, MspId};

use crate::trust::{Authority, Credentials, Reach, describe};

/// The size of a certificate, of a signature and of a block, in bytes.
const CERTIFICATE: usize = 800;
const SIGNATURE: usize = 71;
const BLOCK: usize = 10_000;
/// How long a message is on its way at most.
const LATENCY: Duration = Duration::from_millis(20);
/// How long the network gets to find itself, and for how long what it says is counted.
const WARM_UP: Duration = Duration::from_secs(40);
const STEADY: Duration = Duration::from_secs(20);
/// How long is waited for something to be known everywhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a network of a size costs.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// How many peers.
    pub peers: usize,
    /// Bytes that a peer sends in a second.
    pub bytes: f64,
    /// Messages that a peer sends in a second.
    pub messages: f64,
    /// Until a block, a new peer and a death are known to 99 of 100 peers, and to all; `None` beyond a minute.
    pub block: [Option<Duration>; 2],
    /// A new peer.
    pub alive: [Option<Duration>; 2],
    /// A death.
    pub death: [Option<Duration>; 2],
    /// How many messages of each kind were sent in all, and their bytes.
    pub by_kind: BTreeMap<&'static str, (u64, u64)>,
}

/// Measures a network of so many peers.
pub fn measure(peers: usize) -> Cost {
    let mut crowd = Crowd::new(peers);
    crowd.run(WARM_UP, |_| false);
    crowd.sent.clear();
    crowd.run(STEADY, |_| false);
    let per_second = peers as f64 * STEADY.as_secs_f64();
    let by_kind = std::mem::take(&mut crowd.sent);
    let total = by_kind.values().fold((0, 0), |sum, (count, bytes)| (sum.0 + count, sum.1 + bytes));
    let block = crowd.spread_block();
    let alive = crowd.newcomer();
    let death = crowd.death();
    Cost {
        peers,
        bytes: total.1 as f64 / per_second,
        messages: total.0 as f64 / per_second,
        block,
        alive,
        death,
        by_kind,
    }
}

/// Many peers.
struct Crowd {
    now: Moment,
    random: fastrand::Rng,
    nodes: Vec<Option<Node>>,
    about: Vec<SelfDescription>,
    credentials: Vec<Credentials>,
    contacts: Vec<Contact>,
    by_id: BTreeMap<PkiId, usize>,
    by_endpoint: BTreeMap<String, usize>,
    streams: BTreeSet<(u32, u32)>,
    events: BinaryHeap<Reverse<(Moment, u64, usize)>>,
    inputs: BTreeMap<u64, (usize, SignedMessage)>,
    next: u64,
    wakes: Vec<Moment>,
    heights: Vec<u64>,
    channel: ChannelId,
    sent: BTreeMap<&'static str, (u64, u64)>,
    seen: BTreeMap<usize, Moment>,
    watched: Option<PkiId>,
}

/// The kind of a message.
const fn kind(content: &Content) -> &'static str {
    match content {
        Content::Alive(_) => "alive",
        Content::MembershipRequest { .. } => "membership request",
        Content::MembershipResponse { .. } => "membership response",
        Content::Hello { .. } => "hello",
        Content::Digest { .. } => "digest",
        Content::Request { .. } => "request",
        Content::Update { .. } => "update",
        Content::StateInfo(_) => "state info",
        Content::StateInfoSnapshot(_) => "state infos",
        Content::StateInfoRequest { .. } => "state info request",
        Content::Block(_) => "block",
        _ => "other",
    }
}

/// How many peers an organisation has at least.
const SMALLEST: usize = 5;
/// How many organisations there are at most.
const ORGANIZATIONS: usize = 10;

fn organization(index: usize, peers: usize) -> usize {
    index % (peers / SMALLEST).clamp(1, ORGANIZATIONS)
}

impl Crowd {
    fn new(peers: usize) -> Self {
        let now = Moment::from_nanoseconds(1_700_000_000_000_000_000);
        let name = |index| MspId::new(&format!("Org{}MSP", organization(index, peers)));
        let mut authority = Authority::default();
        // One more than there are: the newcomer.
        let identities: Vec<_> =
            (0..=peers).map(|index| authority.issue(&format!("peer{index}"), &name(index), CERTIFICATE)).collect();
        let authority = Rc::new(authority);
        let credentials: Vec<_> =
            identities.iter().map(|identity| Credentials::of(&authority, identity, SIGNATURE)).collect();
        let described = identities.iter().enumerate();
        let about: Vec<_> = described
            .map(|(index, identity)| describe(index, &name(index), identity.clone(), Reach::Everybody))
            .collect();
        let contacts = about.iter().zip(&credentials).map(|(about, trust)| {
            let offered = offer(about, Bytes::from_static(&[7; 32]), Purpose::Talk, trust);
            judge(trust, now, &offered, Some(&[7; 32])).expect("all identities are issued").0
        });
        let mut crowd = Self {
            now,
            random: fastrand::Rng::with_seed(1),
            nodes: Vec::new(),
            contacts: contacts.collect(),
            by_id: about.iter().enumerate().map(|(index, about)| (about.pki_id.clone(), index)).collect(),
            by_endpoint: BTreeMap::new(),
            streams: BTreeSet::new(),
            events: BinaryHeap::new(),
            inputs: BTreeMap::new(),
            next: 0,
            wakes: vec![Moment::default(); peers + 1],
            heights: vec![1; peers + 1],
            channel: ChannelId::new("cost").expect("it is a name"),
            sent: BTreeMap::new(),
            seen: BTreeMap::new(),
            watched: None,
            about,
            credentials,
        };
        for (index, about) in crowd.about.iter().enumerate() {
            crowd.by_endpoint.insert(about.endpoint.clone(), index);
            crowd.by_endpoint.insert(about.external_endpoint.clone(), index);
        }
        crowd.nodes.resize_with(peers + 1, || None);
        for index in 0..peers {
            // They begin within five seconds.
            crowd.run(Duration::from_secs(5) / u32::try_from(peers).unwrap_or(u32::MAX), |_| false);
            crowd.start(index);
        }
        crowd
    }

    fn peers(&self) -> usize {
        self.nodes.len() - 1
    }

    /// The first peer of each organisation introduces others and gets the blocks.
    fn first_of(&self, organization_of: usize) -> usize {
        organization(organization_of, self.peers())
    }

    fn start(&mut self, index: usize) {
        let first = self.first_of(index);
        let options = Options {
            bootstrap: vec![self.about[first].endpoint.clone()],
            org_leader: index == first,
            ..Options::default()
        };
        let (about, trust) = (self.about[index].clone(), &self.credentials[index]);
        self.nodes[index] = Some(Node::new(options, about, self.now, self.random.u64(..), trust));
        self.drain(index);
        let organizations = (0..self.peers()).map(|peer| self.first_of(peer)).collect::<BTreeSet<_>>();
        let anchors = organizations.into_iter().map(|first| {
            let about = &self.about[first];
            let host = about.external_endpoint.split(':').next().unwrap_or_default().to_owned();
            (about.organization.clone(), vec![AnchorPeer { host, port: 7051 }])
        });
        let organizations = ChannelOrganizations { sequence: 1, anchors: anchors.collect() };
        let height = self.heights[index];
        self.channel_input(index, ChannelInput::Joined { organizations, height, chaincodes: Vec::new() });
    }

    fn channel_input(&mut self, index: usize, input: ChannelInput) {
        self.input(index, Input::Channel(self.channel.clone(), input));
    }

    fn input(&mut self, index: usize, input: Input) {
        if let Some(node) = self.nodes[index].as_mut() {
            node.handle(self.now, input, &self.credentials[index]);
            self.drain(index);
        }
    }

    /// Time passes, until something is so.
    fn run(&mut self, duration: Duration, mut until: impl FnMut(&Self) -> bool) {
        let end = self.now + duration;
        while let Some(Reverse((at, number, index))) = self.events.peek().copied() {
            if at > end || until(self) {
                break;
            }
            self.events.pop();
            self.now = at;
            match self.inputs.remove(&number) {
                Some((from, message)) => {
                    let from = self.about[from].pki_id.clone();
                    self.input(index, Input::Received { from, message });
                }
                None if self.wakes[index] == at => {
                    self.wakes[index] = Moment::default();
                    self.input(index, Input::Wake);
                }
                None => {}
            }
        }
        if self.events.peek().is_none_or(|Reverse((at, ..))| *at > end) {
            self.now = end;
        }
    }

    fn schedule(&mut self, at: Moment, index: usize) -> u64 {
        self.next += 1;
        self.events.push(Reverse((at, self.next, index)));
        self.next
    }

    fn drain(&mut self, index: usize) {
        while let Some(effect) = self.nodes[index].as_mut().and_then(Node::poll_effect) {
            match effect {
                Effect::Send { to, endpoint, message } => self.send(index, &to, endpoint, message),
                Effect::Connect { endpoint } => {
                    let other = self.by_endpoint.get(&endpoint).copied();
                    match other.filter(|other| self.nodes[*other].is_some()) {
                        Some(other) => self.meet(index, other, Some(endpoint)),
                        None => self.miss(index, endpoint, None),
                    }
                }
                Effect::Block { number, .. } if number == self.heights[index] => {
                    self.heights[index] += 1;
                    self.seen.entry(index).or_insert(self.now);
                    self.channel_input(index, ChannelInput::Height(number + 1));
                }
                Effect::Close { pki_id, .. } if self.watched.as_ref() == Some(&pki_id) => {
                    self.seen.entry(index).or_insert(self.now);
                }
                _ => {}
            }
        }
        let Some(at) = self.nodes[index].as_ref().and_then(Node::wake_at).map(|at| at.max(self.now)) else { return };
        if self.wakes[index] != at {
            self.wakes[index] = at;
            self.schedule(at, index);
        }
    }

    fn send(&mut self, from: usize, to: &PkiId, endpoint: String, message: SignedMessage) {
        let envelope = message.envelope();
        let secret = envelope.secret_envelope.as_ref();
        let bytes = envelope.payload.len()
            + envelope.signature.len()
            + secret.map_or(0, |secret| secret.payload.len() + secret.signature.len());
        let sent = self.sent.entry(kind(&message.message().content)).or_default();
        *sent = (sent.0 + 1, sent.1 + bytes as u64);
        let Some(to) = self.by_id.get(to).copied() else { return };
        if self.nodes[to].is_none() {
            let pki_id = self.about[to].pki_id.clone();
            return self.miss(from, endpoint, Some(pki_id));
        }
        self.meet(from, to, None);
        let latency = u64::try_from(LATENCY.as_micros()).unwrap_or(u64::MAX);
        let at = self.now + Duration::from_micros(self.random.u64(500..latency));
        let number = self.schedule(at, to);
        self.inputs.insert(number, (from, message));
    }

    fn miss(&mut self, index: usize, endpoint: String, pki_id: Option<PkiId>) {
        let reason = "connection refused".to_owned();
        if let Some(node) = self.nodes[index].as_mut() {
            // A machine takes no input before its effects are polled; `drain` goes on with what follows from this.
            node.handle(self.now, Input::Unreachable { endpoint, pki_id, reason }, &self.credentials[index]);
        }
    }

    /// Makes sure that there is a stream between two peers.
    fn meet(&mut self, from: usize, to: usize, dialled: Option<String>) {
        let pair = (u32::try_from(from.min(to)).unwrap_or_default(), u32::try_from(from.max(to)).unwrap_or_default());
        let is_new = from != to && self.streams.insert(pair);
        if is_new {
            let contact = self.contacts[from].clone();
            self.input(to, Input::Connected { contact, dialled: None });
        }
        if is_new || dialled.is_some() {
            let contact = self.contacts[to].clone();
            if let Some(node) = self.nodes[from].as_mut() {
                node.handle(self.now, Input::Connected { contact, dialled }, &self.credentials[from]);
            }
        }
    }

    /// Waits until so many have seen what is watched; gives the time for 99 of 100 and for all.
    fn wait(&mut self, all: usize) -> [Option<Duration>; 2] {
        let begin = self.now;
        self.run(PATIENCE, |crowd| crowd.seen.len() >= all);
        let mut seen: Vec<_> = std::mem::take(&mut self.seen).into_values().map(|at| at.since(begin)).collect();
        seen.sort_unstable();
        [(all * 99).div_ceil(100), all].map(|count| seen.get(count.saturating_sub(1)).copied())
    }

    fn spread_block(&mut self) -> [Option<Duration>; 2] {
        let leaders: BTreeSet<_> = (0..self.peers()).map(|peer| self.first_of(peer)).collect();
        let begin = self.heights[0];
        for leader in &leaders {
            let block = Bytes::from(vec![0; BLOCK]);
            self.channel_input(*leader, ChannelInput::Pulled { number: begin, block });
            self.heights[*leader] = begin + 1;
            self.channel_input(*leader, ChannelInput::Height(begin + 1));
        }
        self.wait(self.peers() - leaders.len())
    }

    fn newcomer(&mut self) -> [Option<Duration>; 2] {
        let newcomer = self.peers();
        let id = self.about[newcomer].pki_id.clone();
        let begin = self.now;
        self.start(newcomer);
        let mut seen = BTreeMap::new();
        while seen.len() < newcomer && self.now.since(begin) < PATIENCE {
            self.run(Duration::from_millis(10), |_| false);
            for index in 0..newcomer {
                if self.nodes[index].as_ref().is_some_and(|node| node.identity(&id).is_some()) {
                    seen.entry(index).or_insert_with(|| self.now.since(begin));
                }
            }
        }
        let mut seen: Vec<_> = seen.into_values().collect();
        seen.sort_unstable();
        [(newcomer * 99).div_ceil(100), newcomer].map(|count| seen.get(count.saturating_sub(1)).copied())
    }

    /// The newcomer dies.
    fn death(&mut self) -> [Option<Duration>; 2] {
        let dead = self.peers();
        self.nodes[dead] = None;
        self.watched = Some(self.about[dead].pki_id.clone());
        self.seen.clear();
        self.wait(dead)
    }
}

/// What one peer's memory grows by for each peer that it knows, in bytes: the resident memory of this process before and
/// after one machine learned of so many.
pub fn memory(known: usize) -> f64 {
    let mut authority = Authority::default();
    let organization = |index: usize| MspId::new(&format!("Org{}MSP", index % ORGANIZATIONS));
    let identities: Vec<_> =
        (0..=known).map(|index| authority.issue(&format!("peer{index}"), &organization(index), CERTIFICATE)).collect();
    let authority = Rc::new(authority);
    let now = Moment::from_nanoseconds(1_700_000_000_000_000_000);
    let person = |index: usize| {
        let about = describe(index, &organization(index), identities[index].clone(), Reach::Everybody);
        (about, Credentials::of(&authority, &identities[index], SIGNATURE))
    };
    let (me, trust) = person(0);
    let mut node = Node::new(Options::default(), me, now, 1, &trust);
    let before = resident();
    for index in 1..=known {
        let (about, other) = person(index);
        let alive = alive(&about, now, &other);
        let (contact, _) =
            judge(&trust, now, &offer(&about, Bytes::from_static(&[7; 32]), Purpose::Talk, &other), None)
                .expect("all identities are issued");
        let from = contact.pki_id.clone();
        node.handle(now, Input::Connected { contact, dialled: None }, &trust);
        // As it comes out of the wire, in memory of its own.
        let message = SignedMessage::parse(copied(&alive)).expect("it is a message");
        node.handle(now, Input::Received { from: from.clone(), message }, &trust);
        node.handle(now, Input::Closed { pki_id: from }, &trust);
        while node.poll_effect().is_some() {}
    }
    let after = resident();
    assert_eq!(node.view(&trust).alive.len(), known);
    (after - before) / known as f64
}

fn alive(about: &SelfDescription, now: Moment, trust: &Credentials) -> SignedMessage {
    use ripstop_gossip::{Alive, Message, PeerTime, Tag};
    let alive = Alive {
        pki_id: about.pki_id.clone(),
        endpoint: about.external_endpoint.clone(),
        metadata: Bytes::new(),
        time: PeerTime { incarnation: now.nanoseconds(), sequence: 1 },
        identity: Bytes::new(),
    };
    let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Alive(alive) };
    SignedMessage::signed(message, trust).with_secret(&about.endpoint, trust)
}

fn copied(message: &SignedMessage) -> ripstop_proto::gossip::Envelope {
    let mut envelope = message.envelope().clone();
    envelope.payload = Bytes::copy_from_slice(&envelope.payload);
    envelope.signature = Bytes::copy_from_slice(&envelope.signature);
    envelope
}

/// The resident memory of this process, in bytes; 0 where the system does not tell.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<f64>().ok()).map_or(0.0, |kb| kb * 1024.0)
}
