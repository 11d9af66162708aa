//! Nodes wired in memory, under virtual time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_types::{ChannelId, Digest, MspId, SerializedIdentity};

use super::channels;
use crate::handshake::{Purpose, judge, offer};
use crate::{
    ChannelInput, Contact, Distrust, Effect, Endpoint, Input, Moment, Node, Note, Options, PkiId, SelfDescription,
    SignedMessage, Standing, Trust, View,
};

/// How long a message is on its way.
const LATENCY: Duration = Duration::from_millis(5);
/// How long it takes to see that nobody answers.
const DIAL: Duration = Duration::from_millis(500);

/// What everybody trusts: organizations that are not in it are not believed. Shared, so that a test can change it.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) distrusted: BTreeSet<String>,
    pub(crate) expirations: BTreeMap<String, Moment>,
}

/// Signatures that everybody can make, but no code under test does.
#[derive(Debug, Clone)]
pub(crate) struct PlayTrust {
    pub(crate) identity: Bytes,
    pub(crate) world: Rc<RefCell<World>>,
}

pub(crate) fn signature(identity: &[u8], message: &[u8]) -> Bytes {
    Digest::of_parts([b"signed", identity, message]).to_bytes()
}

impl Trust for PlayTrust {
    fn identify(&self, _now: Moment, identity: &Bytes) -> Result<Standing, Distrust> {
        let read = SerializedIdentity::parse(identity.clone()).map_err(|error| Distrust(error.to_string()))?;
        let world = self.world.borrow();
        if world.distrusted.contains(read.msp_id.as_str()) {
            return Err(Distrust(format!("{} is unknown", read.msp_id)));
        }
        let name = String::from_utf8_lossy(&read.id_bytes).into_owned();
        Ok(Standing { organization: read.msp_id, expires: world.expirations.get(&name).copied() })
    }

    fn verify(&self, identity: &Bytes, message: &[u8], sign: &[u8]) -> bool {
        signature(identity, message)[..] == *sign
    }

    fn verify_reader(&self, _channel: &ChannelId, identity: &Bytes, message: &[u8], sign: &[u8]) -> bool {
        self.verify(identity, message, sign)
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        signature(&self.identity, message)
    }
}

/// A peer of a test.
pub(crate) struct Peer {
    pub(crate) about: SelfDescription,
    pub(crate) trust: PlayTrust,
    pub(crate) node: Node,
    pub(crate) notes: Vec<Note>,
    pub(crate) closed: Vec<(PkiId, String)>,
    /// The height of its ledger of the one channel of these tests.
    pub(crate) height: u64,
    /// Whether it pulls blocks from the orderers.
    pub(crate) leads: bool,
    /// Messages it was given to send, by the name of their kind.
    pub(crate) sent: BTreeMap<String, usize>,
    sent_to: BTreeMap<PkiId, usize>,
    is_up: bool,
    wakes_at: Option<Moment>,
}

impl Peer {
    pub(crate) fn id(&self) -> PkiId {
        self.about.pki_id.clone()
    }

    pub(crate) fn view(&mut self) -> std::sync::Arc<View> {
        self.node.view(&self.trust)
    }

    pub(crate) fn noted(&self, text: &str) -> bool {
        self.notes.iter().any(|note| note.text.contains(text))
    }

    /// How many messages it was given to send to a peer.
    pub(crate) fn dialled_for(&self, peer: &PkiId) -> usize {
        self.sent_to.get(peer).copied().unwrap_or_default()
    }
}

#[derive(Debug)]
enum Event {
    Wake,
    Input(Input),
}

/// The network of a test.
pub(crate) struct Network {
    pub(crate) now: Moment,
    pub(crate) world: Rc<RefCell<World>>,
    pub(crate) peers: Vec<Peer>,
    /// Of a hundred messages so many are lost.
    pub(crate) loss: u32,
    random: fastrand::Rng,
    events: BTreeMap<(Moment, u64), (usize, Event)>,
    next_event: u64,
    streams: BTreeSet<(usize, usize)>,
    cut: BTreeSet<(usize, usize)>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Moment::from_nanoseconds(1_700_000_000_000_000_000),
            world: Rc::default(),
            peers: Vec::new(),
            loss: 0,
            random: fastrand::Rng::with_seed(seed),
            events: BTreeMap::new(),
            next_event: 0,
            streams: BTreeSet::new(),
            cut: BTreeSet::new(),
        }
    }

    /// A description of `peer<number>` of an organization; with an external endpoint.
    pub(crate) fn describe(number: usize, organization: &str) -> SelfDescription {
        let msp = MspId::new(organization);
        let identity = SerializedIdentity::new(msp.clone(), Bytes::from(format!("peer{number}")));
        SelfDescription {
            pki_id: PkiId::of(&identity),
            identity: identity.raw,
            organization: msp,
            endpoint: internal(number),
            external_endpoint: format!("peer{number}.outside:7051"),
        }
    }

    pub(crate) fn add(&mut self, organization: &str, options: Options) -> usize {
        let about = Self::describe(self.peers.len(), organization);
        self.add_as(about, options)
    }

    pub(crate) fn add_as(&mut self, about: SelfDescription, options: Options) -> usize {
        let trust = PlayTrust { identity: about.identity.clone(), world: Rc::clone(&self.world) };
        let node = Node::new(options, about.clone(), self.now, self.random.u64(..), &trust);
        let (notes, closed, sent) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (height, leads) = (1, false);
        self.peers.push(Peer {
            about,
            trust,
            node,
            notes,
            closed,
            height,
            leads,
            sent,
            sent_to: BTreeMap::new(),
            is_up: true,
            wakes_at: None,
        });
        let index = self.peers.len() - 1;
        self.drain(index);
        index
    }

    /// A crash: nothing is said any more.
    pub(crate) fn kill(&mut self, index: usize) {
        self.peers[index].is_up = false;
        self.peers[index].leads = false;
        let dead: Vec<_> = self.streams.iter().filter(|(a, b)| *a == index || *b == index).copied().collect();
        for stream in dead {
            self.close(stream);
        }
    }

    /// The process comes back, as another one.
    pub(crate) fn restart(&mut self, index: usize, options: Options) {
        let peer = &self.peers[index];
        let node = Node::new(options, peer.about.clone(), self.now, self.random.u64(..), &peer.trust);
        self.peers[index].node = node;
        self.peers[index].is_up = true;
        self.drain(index);
    }

    /// Nothing goes through between two peers any more.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert((a.min(b), a.max(b)));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((&key, _)) = self.events.first_key_value() {
            if key.0 > end {
                break;
            }
            let (index, event) = self.events.remove(&key).unwrap();
            self.now = key.0;
            match event {
                Event::Wake => {
                    if self.peers[index].wakes_at == Some(self.now) {
                        self.peers[index].wakes_at = None;
                        self.input(index, Input::Wake);
                    }
                }
                Event::Input(input) => self.input(index, input),
            }
        }
        self.now = end;
    }

    /// Runs until something holds, and says how long that took.
    pub(crate) fn run_until(&mut self, most: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> Option<Duration> {
        let begin = self.now;
        while !holds(self) {
            if self.now.since(begin) >= most {
                return None;
            }
            self.run(Duration::from_millis(20));
        }
        Some(self.now.since(begin))
    }

    pub(crate) fn input(&mut self, index: usize, input: Input) {
        if self.peers[index].is_up {
            let peer = &mut self.peers[index];
            peer.node.handle(self.now, input, &peer.trust);
            self.drain(index);
        }
    }

    /// A peer that is no node opens a stream.
    pub(crate) fn connect_stranger(&mut self, to: usize, about: &SelfDescription) -> PlayTrust {
        self.stranger(to, about, None)
    }

    /// A peer that is no node is found where it listens.
    pub(crate) fn find_stranger(&mut self, by: usize, about: &SelfDescription) -> PlayTrust {
        self.stranger(by, about, Some(about.external_endpoint.clone()))
    }

    fn stranger(&mut self, to: usize, about: &SelfDescription, dialled: Option<Endpoint>) -> PlayTrust {
        let trust = PlayTrust { identity: about.identity.clone(), world: Rc::clone(&self.world) };
        let contact = contact(about, &trust, self.now);
        self.input(to, Input::Connected { contact, dialled });
        trust
    }

    pub(crate) fn tell(&mut self, to: usize, from: &PkiId, message: &SignedMessage) {
        self.input(to, Input::Received { from: from.clone(), message: message.clone() });
    }

    /// Whether everybody who is up knows everybody else who is up, and nobody who is not.
    pub(crate) fn all_know_all(&mut self) -> bool {
        let up: BTreeSet<_> = self.peers.iter().filter(|peer| peer.is_up).map(Peer::id).collect();
        let mut others = up.clone();
        self.peers.iter_mut().filter(|peer| peer.is_up).all(|peer| {
            others.remove(&peer.about.pki_id);
            let knows = peer.view().alive.keys().eq(others.iter());
            others.insert(peer.about.pki_id.clone());
            knows
        })
    }

    fn schedule(&mut self, at: Moment, index: usize, event: Event) {
        self.events.insert((at, self.next_event), (index, event));
        self.next_event += 1;
    }

    fn drain(&mut self, index: usize) {
        while let Some(effect) = self.peers[index].node.poll_effect() {
            match effect {
                Effect::Send { to, endpoint, message } => self.send(index, to, endpoint, message),
                Effect::Connect { endpoint } => {
                    let found = self.at(index, &endpoint);
                    match found.and_then(|other| self.stream(index, other, Some(&endpoint))) {
                        Some(()) => {}
                        None => {
                            let reason = "nobody is there".to_owned();
                            let input = Input::Unreachable { endpoint, pki_id: None, reason };
                            self.schedule(self.now + DIAL, index, Event::Input(input));
                        }
                    }
                }
                Effect::Close { pki_id, reason } => {
                    let other = self.peers.iter().position(|peer| peer.about.pki_id == pki_id);
                    if let Some(other) = other {
                        self.close((index.min(other), index.max(other)));
                    }
                    self.peers[index].closed.push((pki_id, reason));
                }
                Effect::Note(note) => self.peers[index].notes.push(note),
                Effect::Block { channel, number, block, .. } => {
                    let peer = &mut self.peers[index];
                    if number == peer.height && block == channels::block(number) {
                        peer.height += 1;
                        let input = Input::Channel(channel, ChannelInput::Height(number + 1));
                        self.schedule(self.now, index, Event::Input(input));
                    }
                }
                Effect::ServeBlocks { channel, to, nonce, start, end } => {
                    let message = channels::answer(channel, nonce, start..=end);
                    self.send(index, to, String::new(), message);
                }
                Effect::Lead { .. } => self.peers[index].leads = true,
                Effect::Follow { .. } => self.peers[index].leads = false,
            }
        }
        let at = self.peers[index].node.wake_at().map(|at| at.max(self.now));
        if let Some(at) = at.filter(|at| self.peers[index].wakes_at != Some(*at)) {
            self.peers[index].wakes_at = Some(at);
            self.schedule(at, index, Event::Wake);
        }
    }

    fn send(&mut self, from: usize, to: PkiId, endpoint: String, message: SignedMessage) {
        *self.peers[from].sent_to.entry(to.clone()).or_default() += 1;
        let kind = format!("{:?}", message.message().content);
        let kind = kind.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
        *self.peers[from].sent.entry(kind).or_default() += 1;
        let known = self.peers.iter().position(|peer| peer.about.pki_id == to);
        let other = match endpoint.is_empty() {
            true => known.filter(|other| self.streams.contains(&(from.min(*other), from.max(*other)))),
            false => self.at(from, &endpoint),
        };
        if let Some(other) = other.filter(|other| Some(*other) != known && *other != from) {
            // Somebody else is there now, with whom there may be a stream already.
            let streams = self.streams.clone();
            self.streams.remove(&(from.min(other), from.max(other)));
            self.stream(from, other, Some(&endpoint));
            self.streams.extend(streams);
        }
        let is_there = other.filter(|other| self.stream(from, *other, Some(&endpoint)).is_some());
        match is_there.filter(|other| Some(*other) == known) {
            Some(other) if self.random.u32(..100) >= self.loss => {
                // As it comes out of the wire.
                let message = SignedMessage::parse(message.envelope().clone()).expect("nodes send what nodes take");
                let from = self.peers[from].id();
                self.schedule(self.now + LATENCY, other, Event::Input(Input::Received { from, message }));
            }
            Some(_) => {}
            None => {
                let reason = "nobody is there".to_owned();
                let input = Input::Unreachable { endpoint, pki_id: Some(to), reason };
                self.schedule(self.now + DIAL, from, Event::Input(input));
            }
        }
    }

    /// Who is reached at an endpoint.
    fn at(&self, from: usize, endpoint: &str) -> Option<usize> {
        let other = self.peers.iter().rposition(|peer| {
            peer.is_up && (peer.about.endpoint == endpoint || peer.about.external_endpoint == endpoint)
        })?;
        (!self.cut.contains(&(from.min(other), from.max(other)))).then_some(other)
    }

    /// Makes sure that there is a stream.
    fn stream(&mut self, from: usize, to: usize, dialled: Option<&str>) -> Option<()> {
        if from == to || !self.streams.insert((from.min(to), from.max(to))) {
            return Some(());
        }
        for (at, other, dialled) in [(from, to, dialled), (to, from, None)] {
            let (trust, peer) = (&self.peers[at].trust, &self.peers[other]);
            let offered = offer(&peer.about, Bytes::from_static(&[7; 32]), Purpose::Talk, &peer.trust);
            let Ok((contact, Purpose::Talk)) = judge(trust, self.now, &offered, Some(&[7; 32])) else {
                self.streams.remove(&(from.min(to), from.max(to)));
                return None;
            };
            let dialled = dialled.map(str::to_owned);
            self.schedule(self.now, at, Event::Input(Input::Connected { contact, dialled }));
        }
        Some(())
    }

    fn close(&mut self, (a, b): (usize, usize)) {
        if self.streams.remove(&(a, b)) {
            for (at, other) in [(a, b), (b, a)] {
                let pki_id = self.peers[other].id();
                self.schedule(self.now, at, Event::Input(Input::Closed { pki_id }));
            }
        }
    }
}

pub(crate) fn internal(number: usize) -> String {
    format!("peer{number}.inside:7051")
}

pub(crate) fn contact(about: &SelfDescription, trust: &PlayTrust, now: Moment) -> Contact {
    let offered = offer(about, Bytes::from_static(&[7; 32]), Purpose::Talk, trust);
    judge(trust, now, &offered, Some(&[7; 32])).expect("the play's own identities are valid").0
}
