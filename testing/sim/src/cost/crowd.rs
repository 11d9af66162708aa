//! Many peers, each the machine itself, on a network that loses nothing.
//!
//! Messages are not parsed anew, so that copies share memory; sizes are those of encoded envelopes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::handshake::{Purpose, judge, offer};
use ripstop_gossip::{
    AnchorPeer, ChannelInput, ChannelOrganizations, Contact, Content, Effect, Input, Moment, Node, Options, PkiId,
    SelfDescription, SignedMessage,
};
use ripstop_types::{ChannelId, MspId};

use super::one::size;
use super::{BEGIN, BLOCK, CERTIFICATE, Cost, LATENCY, PATIENCE, SIGNATURE, STEADY, Times, WARM_UP, organization};
use crate::trust::{Authority, Credentials, Reach, describe};

/// Behind which time without anybody who holds a dead peer alive nobody does so again.
const OVER: Duration = Duration::from_secs(10);
/// How long the newcomer lives before it dies.
const SETTLED: Duration = Duration::from_secs(10);

/// How many peers are measured in all: small networks several times, so that chance is not taken for a rule.
const MEASURED: usize = 500;
const TIMES: std::ops::RangeInclusive<usize> = 1..=15;

/// Measures a network of so many peers.
pub fn measure(peers: usize) -> Cost {
    let seeds = (MEASURED / peers).clamp(*TIMES.start(), *TIMES.end());
    let costs: Vec<_> = (0..seeds).map(|seed| measure_once(peers, seed as u64)).collect();
    let mean = |value: fn(&Cost) -> f64| costs.iter().map(value).sum::<f64>() / seeds as f64;
    let median = |times: fn(&Cost) -> Times| Times::median(&costs.iter().map(times).collect::<Vec<_>>());
    Cost {
        peers,
        bytes: mean(|cost| cost.bytes),
        messages: mean(|cost| cost.messages),
        given_up_wrongly: mean(|cost| cost.given_up_wrongly),
        block: median(|cost| cost.block),
        newcomer: median(|cost| cost.newcomer),
        vanished: median(|cost| cost.vanished),
        refusing: median(|cost| cost.refusing),
        by_kind: costs.into_iter().map(|cost| cost.by_kind).next().unwrap_or_default(),
    }
}

/// Measures one; the seed determines all random choices.
pub(super) fn measure_once(peers: usize, seed: u64) -> Cost {
    let mut crowd = Crowd::new(peers, seed);
    crowd.run(WARM_UP, |_| false);
    crowd.sent.clear();
    crowd.closed = 0;
    crowd.run(STEADY, |_| false);
    let per_second = peers as f64 * STEADY.as_secs_f64();
    let by_kind = std::mem::take(&mut crowd.sent);
    let total = by_kind.values().fold((0, 0), |sum, (count, bytes)| (sum.0 + count, sum.1 + bytes));
    let given_up_wrongly = crowd.closed as f64 / per_second * 3600.0;
    let block = crowd.spread_block();
    let newcomer = crowd.newcomer();
    crowd.run(SETTLED, |_| false);
    let vanished = crowd.death(peers, Grave::Silent);
    let refusing = crowd.death(peers - 1, Grave::Refusing);
    Cost {
        peers,
        bytes: total.1 as f64 / per_second,
        messages: total.0 as f64 / per_second,
        given_up_wrongly,
        block,
        newcomer,
        vanished,
        refusing,
        by_kind,
    }
}

/// What who talks to a dead peer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grave {
    /// Nothing: the machine is gone, and streams to it stand.
    Silent,
    /// Streams break off, connections are refused.
    Refusing,
}

/// A peer, and who holds it alive.
struct Watched {
    pki_id: PkiId,
    holds: Vec<bool>,
    count: usize,
    changed: Vec<Option<Moment>>,
}

/// When, which one of that moment, at which peer, and which message comes then; without one, the peer is woken.
type Event = (Moment, u64, usize, Option<usize>);

/// Many peers.
struct Crowd {
    now: Moment,
    random: fastrand::Rng,
    nodes: Vec<Option<Node>>,
    graves: BTreeMap<usize, Grave>,
    about: Vec<SelfDescription>,
    credentials: Vec<Credentials>,
    contacts: Vec<Contact>,
    by_id: HashMap<PkiId, usize>,
    by_endpoint: BTreeMap<String, usize>,
    /// Of each pair of peers, whether there is a stream.
    streams: Vec<bool>,
    events: BinaryHeap<Reverse<Event>>,
    inputs: Vec<Option<(usize, SignedMessage)>>,
    free: Vec<usize>,
    next: u64,
    wakes: Vec<Moment>,
    heights: Vec<u64>,
    channel: ChannelId,
    organizations: ChannelOrganizations,
    sent: BTreeMap<&'static str, (u64, u64)>,
    closed: u64,
    seen: BTreeMap<usize, Moment>,
    watched: Option<Watched>,
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

impl Crowd {
    fn new(peers: usize, seed: u64) -> Self {
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
            random: fastrand::Rng::with_seed(seed),
            nodes: Vec::new(),
            graves: BTreeMap::new(),
            contacts: contacts.collect(),
            by_id: about.iter().enumerate().map(|(index, about)| (about.pki_id.clone(), index)).collect(),
            by_endpoint: BTreeMap::new(),
            streams: vec![false; (peers + 1) * (peers + 1)],
            events: BinaryHeap::new(),
            inputs: Vec::new(),
            free: Vec::new(),
            next: 0,
            wakes: vec![Moment::default(); peers + 1],
            heights: vec![1; peers + 1],
            channel: ChannelId::new("cost").expect("it is a name"),
            organizations: ChannelOrganizations::default(),
            sent: BTreeMap::new(),
            closed: 0,
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
        crowd.organizations = crowd.anchors();
        for index in 0..peers {
            crowd.run(BEGIN / u32::try_from(peers).unwrap_or(u32::MAX), |_| false);
            crowd.start(index);
        }
        crowd
    }

    fn peers(&self) -> usize {
        self.nodes.len() - 1
    }

    /// The first peer of each organization introduces others and gets the blocks.
    fn first_of(&self, organization_of: usize) -> usize {
        organization(organization_of, self.peers())
    }

    fn anchors(&self) -> ChannelOrganizations {
        let firsts = (0..self.peers()).map(|peer| self.first_of(peer)).collect::<BTreeSet<_>>();
        let anchors = firsts.into_iter().map(|first| {
            let about = &self.about[first];
            let host = about.external_endpoint.split(':').next().unwrap_or_default().to_owned();
            (about.organization.clone(), vec![AnchorPeer { host, port: 7051 }])
        });
        ChannelOrganizations { sequence: 1, anchors: anchors.collect() }
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
        let (organizations, height) = (self.organizations.clone(), self.heights[index]);
        self.channel_input(index, ChannelInput::Joined { organizations, height, chaincodes: Vec::new() });
    }

    fn channel_input(&mut self, index: usize, input: ChannelInput) {
        self.input(index, Input::Channel(self.channel.clone(), input));
    }

    fn input(&mut self, index: usize, input: Input) {
        if let Some(node) = self.nodes[index].as_mut() {
            node.handle(self.now, input, &self.credentials[index]);
            self.drain(index);
            self.look(index);
        }
    }

    /// Looks whether a peer holds the one alive that is watched.
    fn look(&mut self, index: usize) {
        let (Some(watched), Some(node)) = (&mut self.watched, &self.nodes[index]) else { return };
        let holds = node.is_alive(&watched.pki_id);
        if std::mem::replace(&mut watched.holds[index], holds) != holds {
            watched.changed[index] = Some(self.now);
            if holds { watched.count += 1 } else { watched.count -= 1 }
        }
    }

    /// Begins to watch who holds a peer alive.
    fn watch(&mut self, peer: usize) {
        let pki_id = self.about[peer].pki_id.clone();
        let holds = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.is_alive(&pki_id));
        let holds: Vec<_> = self.nodes.iter().map(holds).collect();
        let count = holds.iter().filter(|holds| **holds).count();
        self.watched = Some(Watched { pki_id, holds, count, changed: vec![None; self.nodes.len()] });
    }

    fn watching(&self) -> usize {
        self.watched.as_ref().map_or(0, |watched| watched.count)
    }

    /// Time passes, until something is so.
    fn run(&mut self, duration: Duration, mut until: impl FnMut(&Self) -> bool) {
        let end = self.now + duration;
        while let Some(Reverse((at, _, index, slot))) = self.events.peek().copied() {
            if at > end || until(self) {
                break;
            }
            self.events.pop();
            self.now = at;
            match slot {
                Some(slot) => {
                    let Some((from, message)) = self.inputs[slot].take() else { continue };
                    self.free.push(slot);
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

    fn schedule(&mut self, at: Moment, index: usize, slot: Option<usize>) {
        self.next += 1;
        self.events.push(Reverse((at, self.next, index, slot)));
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
                Effect::Close { pki_id, .. } => self.close(index, &pki_id),
                _ => {}
            }
        }
        let Some(at) = self.nodes[index].as_ref().and_then(Node::wake_at).map(|at| at.max(self.now)) else { return };
        if self.wakes[index] != at {
            self.wakes[index] = at;
            self.schedule(at, index, None);
        }
    }

    fn send(&mut self, from: usize, to: &PkiId, endpoint: String, message: SignedMessage) {
        let bytes = size(&message);
        let sent = self.sent.entry(kind(&message.message().content)).or_default();
        *sent = (sent.0 + 1, sent.1 + bytes as u64);
        let Some(to) = self.by_id.get(to).copied() else { return };
        if self.nodes[to].is_none() {
            if self.graves.get(&to) != Some(&Grave::Silent) {
                let pki_id = self.about[to].pki_id.clone();
                self.miss(from, endpoint, Some(pki_id));
            }
            return;
        }
        self.meet(from, to, None);
        let latency = u64::try_from(LATENCY.as_micros()).unwrap_or(u64::MAX);
        let at = self.now + Duration::from_micros(self.random.u64(500..latency));
        let input = Some((from, message));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.inputs[slot] = input;
                slot
            }
            None => {
                self.inputs.push(input);
                self.inputs.len() - 1
            }
        };
        self.schedule(at, to, Some(slot));
    }

    fn miss(&mut self, index: usize, endpoint: String, pki_id: Option<PkiId>) {
        let reason = "connection refused".to_owned();
        if let Some(node) = self.nodes[index].as_mut() {
            // A machine takes no input before its effects are polled; `drain` goes on with what follows from this.
            node.handle(self.now, Input::Unreachable { endpoint, pki_id, reason }, &self.credentials[index]);
        }
    }

    fn stream(&mut self, one: usize, other: usize) -> &mut bool {
        let place = one.min(other) * self.nodes.len() + one.max(other);
        &mut self.streams[place]
    }

    /// Makes sure that there is a stream between two peers.
    fn meet(&mut self, from: usize, to: usize, dialled: Option<String>) {
        let is_new = from != to && !std::mem::replace(self.stream(from, to), true);
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

    /// A peer closes its stream with another.
    fn close(&mut self, index: usize, pki_id: &PkiId) {
        self.closed += 1;
        let Some(other) = self.by_id.get(pki_id).copied() else { return };
        if std::mem::take(self.stream(index, other)) {
            let closed = Input::Closed { pki_id: pki_id.clone() };
            if let Some(node) = self.nodes[index].as_mut() {
                node.handle(self.now, closed, &self.credentials[index]);
            }
            let pki_id = self.about[index].pki_id.clone();
            self.input(other, Input::Closed { pki_id });
        }
    }

    fn spread_block(&mut self) -> Times {
        let leaders: BTreeSet<_> = (0..self.peers()).map(|peer| self.first_of(peer)).collect();
        let begin = self.heights[0];
        for leader in &leaders {
            let block = Bytes::from(vec![0; BLOCK]);
            self.channel_input(*leader, ChannelInput::Pulled { number: begin, block });
            self.heights[*leader] = begin + 1;
            self.channel_input(*leader, ChannelInput::Height(begin + 1));
        }
        let (begin, all) = (self.now, self.peers() - leaders.len());
        self.run(PATIENCE, |crowd| crowd.seen.len() >= all);
        let seen = std::mem::take(&mut self.seen).into_values().map(|at| at.since(begin));
        Times::of(seen.collect(), all)
    }

    fn newcomer(&mut self) -> Times {
        let newcomer = self.peers();
        let begin = self.now;
        self.watch(newcomer);
        self.start(newcomer);
        self.run(PATIENCE, |crowd| crowd.watching() >= newcomer);
        let Some(watched) = self.watched.take() else { return Times::default() };
        let known = watched.changed.iter().zip(&watched.holds).filter(|(_, holds)| **holds);
        let known = known.filter_map(|(changed, _)| *changed).map(|at| at.since(begin));
        Times::of(known.collect(), newcomer)
    }

    /// A peer dies. Counted is until others hold it alive for the last time.
    fn death(&mut self, dead: usize, grave: Grave) -> Times {
        self.nodes[dead] = None;
        self.graves.insert(dead, grave);
        if grave == Grave::Refusing {
            (0..self.nodes.len()).for_each(|other| *self.stream(dead, other) = false);
        }
        let begin = self.now;
        self.watch(dead);
        while self.now.since(begin) < PATIENCE {
            self.run(PATIENCE, |crowd| crowd.watching() == 0);
            self.run(OVER, |crowd| crowd.watching() > 0);
            if self.watching() == 0 {
                break;
            }
        }
        let Some(watched) = self.watched.take() else { return Times::default() };
        let all = self.nodes.iter().filter(|node| node.is_some()).count();
        let gone = watched.changed.iter().zip(&watched.holds).zip(&self.nodes);
        let gone = gone.filter(|((_, holds), node)| !**holds && node.is_some());
        let gone = gone.map(|((changed, _), _)| changed.map_or(Duration::ZERO, |at| at.since(begin)));
        Times::of(gone.collect(), all)
    }
}
