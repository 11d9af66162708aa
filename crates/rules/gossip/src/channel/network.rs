//! Channels of many peers in one thread, under virtual time, on a network that loses messages and falls apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_types::{ChannelId, Digest, MspId, SerializedIdentity};

use super::Channel;
use crate::{
    Alive, ChannelInput, ChannelOrganizations, Contact, Content, Distrust, Effect, Effects, KnownPeer, Logger, Member,
    Message, Moment, Note, Options, PeerTime, PkiId, SignedMessage, Standing, StatePayload, Surroundings, Tag, Trust,
};

/// Signatures are digests over identity and message; nobody in these tests signs as another.
pub(crate) struct ToyTrust {
    identity: Bytes,
    readers: BTreeSet<String>,
}

impl Trust for ToyTrust {
    fn identify(&self, _: Moment, identity: &Bytes) -> Result<Standing, Distrust> {
        Ok(Standing { organization: organization_of(identity), expires: None })
    }

    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        Digest::of_parts([&identity[..], message]).as_bytes()[..] == *signature
    }

    fn verify_reader(&self, _: &ChannelId, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        self.verify(identity, message, signature) && self.readers.contains(organization_of(identity).as_str())
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        Bytes::copy_from_slice(Digest::of_parts([&self.identity[..], message]).as_bytes())
    }
}

fn organization_of(identity: &Bytes) -> MspId {
    let text = std::str::from_utf8(identity).expect("identities are text");
    MspId::new(text.split('/').next().unwrap_or_default())
}

pub(crate) struct Network {
    pub(crate) now: Moment,
    pub(crate) random: fastrand::Rng,
    pub(crate) peers: Vec<Peer>,
    pub(crate) loss: f64,
    /// The height that the orderers have.
    pub(crate) ordered: u64,
    /// How many messages were sent.
    pub(crate) sent: u64,
    groups: Vec<u32>,
    numbers: BTreeMap<PkiId, usize>,
    wire: BTreeMap<(Moment, u64), (usize, usize, SignedMessage)>,
    sequence: u64,
    channel: ChannelId,
}

pub(crate) struct Peer {
    pub(crate) known: Arc<KnownPeer>,
    pub(crate) contact: Contact,
    pub(crate) trust: ToyTrust,
    pub(crate) alive: BTreeMap<PkiId, Arc<KnownPeer>>,
    pub(crate) channel: Channel,
    pub(crate) height: u64,
    pub(crate) leads: bool,
    pub(crate) notes: Vec<Note>,
    /// Whether its process runs.
    pub(crate) runs: bool,
    /// Whether the blocks it serves are made up.
    pub(crate) fakes: bool,
    /// How many ranges of blocks it was asked for.
    pub(crate) served: u32,
    /// Refused blocks: numbers and senders.
    pub(crate) refused: Vec<(u64, PkiId)>,
    waiting: BTreeMap<u64, (Bytes, PkiId)>,
    effects: Effects,
}

pub(crate) fn block(number: u64) -> Bytes {
    Bytes::from(format!("block {number} of the orderers"))
}

pub(crate) fn organizations(names: &[&str], sequence: u64) -> ChannelOrganizations {
    ChannelOrganizations { sequence, anchors: names.iter().map(|name| (MspId::new(name), Vec::new())).collect() }
}

impl Network {
    /// A network of peers of organizations, all of which know that all others live.
    pub(crate) fn new(seed: u64, organizations: &[&str], options: &Options) -> Self {
        let now = Moment::from_nanoseconds(1_700_000_000_000_000_000);
        let channel = ChannelId::new("testchannel").unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let readers: BTreeSet<_> = organizations.iter().map(|name| (*name).to_owned()).collect();
        let peers = organizations.iter().enumerate();
        let peers: Vec<Peer> = peers
            .map(|(number, org)| Peer::new(now, number, org, &channel, (&mut random, &readers, options)))
            .collect();
        let groups = vec![0; organizations.len()];
        let number = |(number, peer): (usize, &Peer)| (peer.known.member.pki_id.clone(), number);
        let numbers = peers.iter().enumerate().map(number).collect();
        let mut network = Self {
            now,
            random,
            peers,
            loss: 0.0,
            ordered: 1,
            sent: 0,
            groups,
            numbers,
            wire: BTreeMap::new(),
            sequence: 0,
            channel,
        };
        network.meet();
        network
    }

    /// All peers join the channel, which their organizations are in.
    pub(crate) fn join(&mut self) {
        let names: BTreeSet<_> = self.peers.iter().map(|peer| peer.known.organization.as_str().to_owned()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for number in 0..self.peers.len() {
            let (organizations, height) = (organizations(&names, 1), self.peers[number].height);
            self.input(number, ChannelInput::Joined { organizations, height, chaincodes: Vec::new() });
        }
    }

    pub(crate) fn input(&mut self, peer: usize, input: ChannelInput) {
        self.with(peer, |channel, surroundings| channel.handle(surroundings, input));
    }

    /// Something happens to a peer; its effects are carried out.
    pub(crate) fn with(&mut self, number: usize, act: impl FnOnce(&mut Channel, &mut Surroundings<'_>)) {
        let peer = &mut self.peers[number];
        if !peer.runs {
            return;
        }
        let mut surroundings = Surroundings {
            now: self.now,
            trust: &peer.trust,
            me: &peer.known,
            alive: &peer.alive,
            random: &mut self.random,
            effects: &mut peer.effects,
        };
        act(&mut peer.channel, &mut surroundings);
        while let Some(effect) = self.peers[number].effects.poll() {
            self.carry_out(number, effect);
        }
    }

    /// A message comes to a peer, as if another one had sent it.
    pub(crate) fn receive(&mut self, to: usize, from: usize, message: &SignedMessage) {
        let contact = self.peers[from].contact.clone();
        self.with(to, |channel, surroundings| channel.receive(surroundings, &contact, message));
    }

    /// Time passes. Leaders get blocks from the orderers.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.pull_from_orderers();
            let wakes = self.peers.iter().filter(|peer| peer.runs).filter_map(|peer| peer.channel.wake_at());
            let next = wakes.chain(self.wire.keys().next().map(|(at, _)| *at)).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= next) {
                let (from, to, message) = entry.remove();
                self.receive(to, from, &message);
            }
            for number in 0..self.peers.len() {
                if self.peers[number].channel.wake_at().is_some_and(|at| at <= self.now) {
                    self.with(number, Channel::wake);
                }
            }
        }
        self.now = end;
    }

    /// The network falls into groups; peers of other groups are held dead at once.
    pub(crate) fn split(&mut self, groups: &[u32]) {
        self.groups = groups.to_vec();
        self.meet();
    }

    /// A peer's process ends without a word; all others notice after a while.
    pub(crate) fn kill(&mut self, number: usize, noticed_after: Duration) {
        self.peers[number].runs = false;
        self.peers[number].leads = false;
        self.run(noticed_after);
        self.meet();
    }

    pub(crate) fn leaders(&self) -> Vec<usize> {
        (0..self.peers.len()).filter(|number| self.peers[*number].leads).collect()
    }

    pub(crate) fn id(&self, number: usize) -> &PkiId {
        &self.peers[number].known.member.pki_id
    }

    /// The heights that a peer knows of the other members.
    pub(crate) fn seen_by(&self, number: usize) -> BTreeMap<usize, u64> {
        let members = &self.peers[number].channel.members;
        let others = (0..self.peers.len()).filter_map(|other| Some((other, members.height_of(self.id(other))?)));
        others.collect()
    }

    /// All running peers see all others that run.
    pub(crate) fn everybody_sees_everybody(&self) -> bool {
        let running: Vec<_> = (0..self.peers.len()).filter(|number| self.peers[*number].runs).collect();
        running.iter().all(|number| self.seen_by(*number).len() == running.len() - 1)
    }

    /// A message that a peer signs.
    pub(crate) fn signed(&self, by: usize, message: Message) -> SignedMessage {
        SignedMessage::signed(message, &self.peers[by].trust)
    }

    pub(crate) fn block_message(&self, number: u64, block: Bytes) -> SignedMessage {
        SignedMessage::unsigned(Message {
            nonce: 0,
            channel: Some(self.channel.clone()),
            tag: Tag::ChannelAndOrganization,
            content: Content::Block(StatePayload { number, block, private_data: Vec::new() }),
        })
    }

    fn meet(&mut self) {
        for number in 0..self.peers.len() {
            for other in 0..self.peers.len() {
                let known = Arc::clone(&self.peers[other].known);
                let sees = self.groups[number] == self.groups[other] && self.peers[other].runs && number != other;
                let id = known.member.pki_id.clone();
                let saw = self.peers[number].alive.contains_key(&id);
                if sees && !saw {
                    self.peers[number].alive.insert(id, Arc::clone(&known));
                    self.with(number, |channel, surroundings| channel.appeared(surroundings, &known));
                } else if saw && !sees {
                    self.peers[number].alive.remove(&id);
                    self.with(number, |channel, surroundings| channel.vanished(surroundings, &id));
                }
            }
        }
    }

    fn pull_from_orderers(&mut self) {
        for leader in self.leaders() {
            while self.peers[leader].leads && self.peers[leader].height < self.ordered {
                let number = self.peers[leader].height;
                self.peers[leader].height += 1;
                self.input(leader, ChannelInput::Pulled { number, block: block(number) });
                self.input(leader, ChannelInput::Height(number + 1));
            }
        }
    }

    fn carry_out(&mut self, number: usize, effect: Effect) {
        match effect {
            Effect::Send { to, message, .. } => self.send(number, &to, message),
            Effect::Block { number: block, block: bytes, from, .. } => {
                self.peers[number].waiting.insert(block, (bytes, from));
                self.commit(number);
            }
            Effect::ServeBlocks { to, nonce, start, end, .. } => {
                let peer = &mut self.peers[number];
                peer.served += 1;
                let fakes = peer.fakes;
                let block = |number| if fakes { Bytes::from("made up") } else { block(number) };
                let payload =
                    |number| StatePayload { number, block: block(number), private_data: vec![Bytes::from("private")] };
                let content = Content::StateResponse((start..=end).map(payload).collect());
                let (channel, tag) = (Some(self.channel.clone()), Tag::ChannelOrOrganization);
                self.send(number, &to, SignedMessage::unsigned(Message { nonce, channel, tag, content }));
            }
            Effect::Lead { .. } => self.peers[number].leads = true,
            Effect::Follow { .. } => self.peers[number].leads = false,
            Effect::Note(note) => self.peers[number].notes.push(note),
            Effect::Connect { .. } | Effect::Close { .. } => {}
        }
    }

    fn commit(&mut self, number: usize) {
        let height = self.peers[number].height;
        let Some((bytes, from)) = self.peers[number].waiting.remove(&height) else { return };
        if bytes == block(height) {
            self.peers[number].height += 1;
            self.input(number, ChannelInput::Height(height + 1));
            self.commit(number);
        } else {
            self.peers[number].refused.push((height, from.clone()));
            self.peers[number].waiting.clear();
            self.input(number, ChannelInput::Refused { number: height, from });
        }
    }

    fn send(&mut self, from: usize, to: &PkiId, message: SignedMessage) {
        self.sent += 1;
        let Some(to) = self.numbers.get(to).copied() else { return };
        if self.groups[from] != self.groups[to] || self.random.f64() < self.loss {
            return;
        }
        self.sequence += 1;
        let at = self.now + Duration::from_micros(self.random.u64(500..20_000));
        let message = SignedMessage::parse(message.envelope().clone()).expect("what a machine sends can be read");
        self.wire.insert((at, self.sequence), (from, to, message));
    }
}

impl Channel {
    /// Which channel.
    pub(crate) const fn id(&self) -> &ChannelId {
        &self.id
    }
}

impl Peer {
    fn new(
        now: Moment,
        number: usize,
        organization: &str,
        channel: &ChannelId,
        (random, readers, options): (&mut fastrand::Rng, &BTreeSet<String>, &Options),
    ) -> Self {
        let identity = Bytes::from(format!("{organization}/peer{number}"));
        let trust = ToyTrust { identity: identity.clone(), readers: readers.clone() };
        let serialized =
            SerializedIdentity { msp_id: MspId::new(organization), id_bytes: identity.clone(), raw: identity.clone() };
        let pki_id = PkiId::of(&serialized);
        let member = Member {
            pki_id: pki_id.clone(),
            endpoint: format!("peer{number}:7051"),
            internal_endpoint: format!("peer{number}:7051"),
            metadata: Bytes::new(),
        };
        let alive = Alive {
            pki_id: pki_id.clone(),
            endpoint: member.endpoint.clone(),
            metadata: Bytes::new(),
            time: PeerTime { incarnation: now.nanoseconds(), sequence: 1 },
            identity: Bytes::new(),
        };
        let message = |content| Message { nonce: 0, channel: None, tag: Tag::Everybody, content };
        let alive = SignedMessage::signed(message(Content::Alive(alive)), &trust);
        let establish = Content::Establish {
            pki_id: pki_id.clone(),
            identity: identity.clone(),
            tls_certificate_hash: Bytes::new(),
            probe: false,
        };
        let organization = MspId::new(organization);
        let handshake = SignedMessage::signed(message(establish), &trust);
        let contact = Contact { pki_id, identity: identity.clone(), organization: organization.clone(), handshake };
        let known = Arc::new(KnownPeer { member, identity, organization, alive });
        let mut effects = Effects::default();
        let mut surroundings =
            Surroundings { now, trust: &trust, me: &known, alive: &BTreeMap::new(), random, effects: &mut effects };
        let channel = Channel::new(channel.clone(), Arc::new(options.clone()), &mut surroundings);
        Self {
            known,
            contact,
            trust,
            alive: BTreeMap::new(),
            channel,
            height: 1,
            leads: false,
            notes: Vec::new(),
            runs: true,
            fakes: false,
            served: 0,
            refused: Vec::new(),
            waiting: BTreeMap::new(),
            effects,
        }
    }

    /// Makes it known under an internal endpoint only.
    pub(crate) fn hide(&mut self) {
        let mut known = KnownPeer::clone(&self.known);
        known.member.endpoint.clear();
        self.known = Arc::new(known);
    }

    /// Makes it known under another endpoint.
    pub(crate) fn reached_at(&mut self, endpoint: &str) {
        let mut known = KnownPeer::clone(&self.known);
        endpoint.clone_into(&mut known.member.endpoint);
        endpoint.clone_into(&mut known.member.internal_endpoint);
        self.known = Arc::new(known);
    }

    /// The texts of a logger.
    pub(crate) fn logged(&self, logger: Logger) -> Vec<&str> {
        self.notes.iter().filter(|note| note.logger == logger).map(|note| note.text.as_str()).collect()
    }

    pub(crate) fn set_readers(&mut self, readers: &[&str]) {
        self.trust.readers = readers.iter().map(|name| (*name).to_owned()).collect();
    }
}
