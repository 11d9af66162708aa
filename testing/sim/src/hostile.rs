//! What a hostile peer does. It has a valid identity of one organization and takes part with an honest machine, so that it is
//! known; beside that it forges, replays, steals, floods and lies, and passes on only half of what it should.

use std::collections::VecDeque;

use bytes::Bytes;
use ripstop_gossip::handshake::{HandshakeRefusal, Purpose, judge, offer};
use ripstop_gossip::{
    Alive, Content, DataKind, Leadership, Message, PeerTime, PkiId, PrivateDigest, PrivatePayload, SelfDescription,
    SignedMessage, StateInfo, StatePayload, Tag, Trust,
};
use ripstop_proto::gossip as wire_format;
use ripstop_types::Digest;

use crate::definition::COLLECTIONS;
use crate::peer::TLS;
use crate::story::Story;
use crate::voucher::Opening;
use crate::world::World;

/// How many messages it remembers for replays.
const REMEMBERED: usize = 256;
/// How many messages a flood has.
const FLOOD: u64 = 150;

/// What a hostile peer remembers.
#[derive(Debug, Default)]
pub(crate) struct Mind {
    heard: VecDeque<wire_format::Envelope>,
    sequence: u64,
    serves: bool,
    /// Whether it never says itself that it leads where it does not, and keeps nothing back that leaders say: then its
    /// organization must have one leader in spite of it.
    pub(crate) is_sly: bool,
}

impl Mind {
    /// A mind of its own.
    pub(crate) fn of(story: &Story) -> Self {
        Self { is_sly: story.is_sly, ..Self::default() }
    }

    /// It remembers what it hears.
    pub(crate) fn hear(&mut self, envelope: &wire_format::Envelope) {
        if self.heard.len() >= REMEMBERED {
            self.heard.pop_front();
        }
        self.heard.push_back(envelope.clone());
    }

    /// The block it sends to who asks for one; sometimes none.
    pub(crate) fn made_up(&self, number: u64) -> Option<Bytes> {
        self.serves.then(|| Bytes::from(format!("{number} made up\nseal no orderer's")))
    }
}

impl World {
    /// Whether a hostile peer keeps a message to itself that its machine would send.
    pub(crate) fn holds_back(&mut self, index: usize, message: &SignedMessage) -> bool {
        self.peers[index].mind.is_some()
            && !matches!(message.message().content, Content::MembershipRequest { .. } | Content::Leadership(_))
            && self.random.bool()
    }

    /// A hostile peer does something to somebody.
    pub(crate) fn do_mischief(&mut self, index: usize) {
        let reached: Vec<_> = self.honest().into_iter().filter(|peer| self.is_linked(index, *peer)).collect();
        if !self.peers[index].is_up() {
            return;
        }
        let (Some(target), Some(victim)) = (self.random.choice(&reached), self.random.choice(&reached)) else { return };
        let (target, victim) = (*target, *victim);
        self.steal_stream(index, target, victim);
        self.open(index, target, None);
        for envelope in self.mischief(index, victim) {
            self.transmit(index, target, envelope);
        }
    }

    /// It tries to be another at the begin of a stream.
    fn steal_stream(&mut self, index: usize, target: usize, victim: usize) {
        let (own, about) = (Opening(&self.peers[index].voucher), &self.peers[victim].about);
        let trust = &self.peers[target].voucher;
        let claims = [
            // The identity of the victim, without its key.
            offer(about, Bytes::from_static(&TLS), Purpose::Talk, &own),
            // What the victim once said on another connection.
            offer(about, Bytes::from_static(&[8; 32]), Purpose::Talk, &Opening(&self.peers[victim].voucher)),
            // The PKI-ID of the victim, with the own identity.
            offer(
                &SelfDescription { identity: self.peers[index].about.identity.clone(), ..about.clone() },
                Bytes::from_static(&TLS),
                Purpose::Talk,
                &own,
            ),
        ];
        for claim in claims {
            let judged: Result<_, HandshakeRefusal> = judge(trust, self.now, &claim, Some(&TLS));
            if judged.is_ok() && victim != index {
                self.faults.push(format!("peer {target} takes peer {index} for peer {victim}"));
            }
        }
    }

    /// What it sends this time.
    fn mischief(&mut self, index: usize, victim: usize) -> Vec<wire_format::Envelope> {
        let kind = self.random.u32(..18);
        let replayed: Vec<_> = {
            let heard = &self.peers[index].mind.as_ref().map(|mind| mind.heard.clone()).unwrap_or_default();
            (0..20).filter_map(|_| self.random.choice(heard).cloned()).collect()
        };
        let trust = self.peers[index].voucher.clone();
        let (about, other) = (self.peers[index].about.clone(), self.peers[victim].about.clone());
        let nonce = self.random.u64(1..);
        if kind == 10
            && let Some(mind) = &mut self.peers[index].mind
        {
            mind.serves = !mind.serves;
        }
        let liar = Liar { trust: &trust, about: &about, other: &other, nonce, sequence: self.sequence(index) };
        let messages = match kind {
            0 => return replayed,
            1 => liar.forged(self.now.nanoseconds()),
            2 => liar.stolen(self.now.nanoseconds()),
            3 => liar.stale(),
            4 => return liar.oversized(),
            5 => liar.flood(),
            6 => liar.hellos(),
            7 | 8 => liar.heights(self),
            9 => liar.blocks(self, victim),
            10 => liar.leadership(self),
            11 => liar.answers_to_nothing(self.now.nanoseconds(), &replayed),
            12 => liar.curiosity(self),
            13 => liar.equivocation(),
            14 => return liar.misplaced(self, &replayed),
            15 => liar.false_values(self),
            16 => return self.told_leadership(index),
            _ => liar.strangers(self.now.nanoseconds()),
        };
        messages.into_iter().map(|message| message.envelope().clone()).collect()
    }

    /// All that it once heard of who leads.
    fn told_leadership(&self, index: usize) -> Vec<wire_format::Envelope> {
        let heard = self.peers[index].mind.iter().flat_map(|mind| &mind.heard);
        let is_leadership = |envelope: &&wire_format::Envelope| {
            let parsed = SignedMessage::parse(Clone::clone(*envelope));
            parsed.is_ok_and(|message| matches!(message.message().content, Content::Leadership(_)))
        };
        heard.filter(is_leadership).cloned().collect()
    }

    fn sequence(&mut self, index: usize) -> u64 {
        let Some(mind) = &mut self.peers[index].mind else { return 0 };
        mind.sequence += 1000;
        self.now.nanoseconds() + mind.sequence
    }
}

/// A hostile peer and whom it harms.
struct Liar<'a> {
    trust: &'a dyn Trust,
    about: &'a SelfDescription,
    other: &'a SelfDescription,
    nonce: u64,
    sequence: u64,
}

impl Liar<'_> {
    fn signed(&self, content: Content) -> SignedMessage {
        SignedMessage::signed(Message { nonce: 0, channel: None, tag: Tag::Everybody, content }, self.trust)
    }

    fn alive(&self, of: &SelfDescription, incarnation: u64, sequence: u64, identity: &Bytes) -> Alive {
        Alive {
            pki_id: of.pki_id.clone(),
            endpoint: of.external_endpoint.clone(),
            metadata: Bytes::new(),
            time: PeerTime { incarnation, sequence },
            identity: identity.clone(),
        }
    }

    /// Alive messages in the name of another, with and without its identity, and one that leads it elsewhere.
    fn forged(&self, now: u64) -> Vec<SignedMessage> {
        let elsewhere = Alive {
            endpoint: self.about.external_endpoint.clone(),
            ..self.alive(self.other, now, self.sequence, &self.other.identity)
        };
        let messages = [self.alive(self.other, now, self.sequence, &Bytes::new()), elsewhere];
        messages.into_iter().map(|alive| self.signed(Content::Alive(alive))).collect()
    }

    /// The PKI-ID of another with its own identity; its own PKI-ID with the endpoints of another.
    fn stolen(&self, now: u64) -> Vec<SignedMessage> {
        let id = self.alive(self.other, now, self.sequence, &self.about.identity);
        let endpoint = Alive {
            endpoint: self.other.external_endpoint.clone(),
            ..self.alive(self.about, now, self.sequence, &self.about.identity)
        };
        let endpoint = self.signed(Content::Alive(endpoint)).with_secret(&self.other.endpoint, self.trust);
        vec![self.signed(Content::Alive(id)), endpoint]
    }

    /// What it says of itself from before its process began.
    fn stale(&self) -> Vec<SignedMessage> {
        (0..20)
            .map(|sequence| self.signed(Content::Alive(self.alive(self.about, 1, sequence, &Bytes::new()))))
            .collect()
    }

    /// Messages larger than any, and bytes that are none.
    fn oversized(&self) -> Vec<wire_format::Envelope> {
        let huge = Alive {
            metadata: Bytes::from(vec![1; 300 << 10]),
            ..self.alive(self.about, self.sequence, 1, &self.about.identity)
        };
        let long = Alive { endpoint: "x".repeat(100_000), ..self.alive(self.about, self.sequence, 2, &Bytes::new()) };
        let many =
            Content::Digest { nonce: 1, digests: vec![Bytes::from_static(&[1; 32]); 3000], kind: DataKind::Identities };
        let messages = [Content::Alive(huge), Content::Alive(long), many];
        let mut envelopes: Vec<_> =
            messages.into_iter().map(|content| self.signed(content).envelope().clone()).collect();
        let payload = Bytes::from(vec![0xff; 100_000]);
        envelopes.push(wire_format::Envelope { payload, ..wire_format::Envelope::default() });
        envelopes
    }

    /// News of itself without end.
    fn flood(&self) -> Vec<SignedMessage> {
        let alive = |number| self.alive(self.about, self.sequence, number, &self.about.identity);
        (0..FLOOD).map(|number| self.signed(Content::Alive(alive(number)))).collect()
    }

    /// Questions without end.
    fn hellos(&self) -> Vec<SignedMessage> {
        let about_me = Box::new(self.signed(Content::Alive(self.alive(self.about, self.sequence, 1, &Bytes::new()))));
        let questions = (0..FLOOD).flat_map(|nonce| {
            let hello = Content::Hello { nonce, metadata: Bytes::new(), kind: DataKind::Identities };
            let request = Content::MembershipRequest { about_me: about_me.clone(), known: Vec::new() };
            let digests = vec![self.other.pki_id.as_bytes().clone()];
            [hello, request, Content::Request { nonce, digests, kind: DataKind::Identities }]
        });
        questions.map(|content| self.signed(content)).collect()
    }

    fn in_channel(&self, world: &World, tag: Tag, content: Content) -> SignedMessage {
        let channel = Some(world.channel.clone());
        SignedMessage::signed(Message { nonce: self.nonce, channel, tag, content }, self.trust)
    }

    /// Heights that it does not have, in its own name and in that of another.
    fn heights(&self, world: &World) -> Vec<SignedMessage> {
        let info = |of: &PkiId, height, sequence| StateInfo {
            pki_id: of.clone(),
            channel_mac: Digest::of_parts([&of.as_bytes()[..], world.channel.as_str().as_bytes()]).to_bytes(),
            time: PeerTime { incarnation: self.sequence, sequence },
            height,
            left_channel: false,
            chaincodes: Vec::new(),
        };
        let lies = [
            info(&self.about.pki_id, 1_000_000, 1),
            info(&self.about.pki_id, u64::MAX, 2),
            info(&self.other.pki_id, u64::MAX, 3),
            StateInfo { left_channel: true, ..info(&self.other.pki_id, 1, 4) },
        ];
        let message = |info| Message {
            nonce: 0,
            channel: None,
            tag: Tag::ChannelOrOrganization,
            content: Content::StateInfo(info),
        };
        lies.into_iter().map(|info| SignedMessage::signed(message(info), self.trust)).collect()
    }

    /// Blocks that no orderer made: the next one, one far ahead, and as an answer to a question that was not asked.
    fn blocks(&self, world: &World, victim: usize) -> Vec<SignedMessage> {
        let height = world.peers[victim].ledger.height();
        let payload = |number: u64| StatePayload {
            number,
            block: Bytes::from(format!("{number} made up\nseal no orderer's")),
            private_data: vec![Bytes::from_static(b"made up")],
        };
        let numbers = [height, height + 1, height + 15, height + 10_000, u64::MAX];
        let tag = Tag::ChannelAndOrganization;
        let mut messages: Vec<_> =
            numbers.iter().map(|number| self.in_channel(world, tag, Content::Block(payload(*number)))).collect();
        let answer = Content::StateResponse((height..height + 10).map(payload).collect());
        messages.push(self.in_channel(world, Tag::ChannelOrOrganization, answer));
        messages
    }

    /// It leads, it says, and another does not.
    fn leadership(&self, world: &World) -> Vec<SignedMessage> {
        let lead = |pki_id: &PkiId, is_declaration| {
            let time = PeerTime { incarnation: self.sequence, sequence: 1 };
            let leadership = Leadership { pki_id: pki_id.clone(), time, is_declaration };
            self.in_channel(world, Tag::ChannelAndOrganization, Content::Leadership(leadership))
        };
        let mut messages = vec![lead(&self.other.pki_id, true), lead(&self.other.pki_id, false)];
        if !world.is_sly(&self.about.pki_id) {
            messages.push(lead(&self.about.pki_id, true));
        }
        messages
    }

    /// Two things at the same time.
    fn equivocation(&self) -> Vec<SignedMessage> {
        let one = self.alive(self.about, self.sequence, 1, &self.about.identity);
        let another = Alive { endpoint: "peer0.outside:7051".to_owned(), ..one.clone() };
        vec![self.signed(Content::Alive(one)), self.signed(Content::Alive(another))]
    }

    /// What was said of another channel, or was not signed, as if it were of this one.
    fn misplaced(&self, world: &World, replayed: &[wire_format::Envelope]) -> Vec<wire_format::Envelope> {
        let heard = world.peer_of(&self.about.pki_id).and_then(|index| world.peers[index].mind.as_ref());
        let is_state_info = |envelope: &&wire_format::Envelope| {
            let parsed = SignedMessage::parse(Clone::clone(*envelope));
            parsed.is_ok_and(|message| matches!(message.message().content, Content::StateInfo(_)))
        };
        let infos: Vec<_> = heard.iter().flat_map(|mind| &mind.heard).filter(is_state_info).cloned().collect();
        let snapshot = self.in_channel(world, Tag::ChannelOrOrganization, Content::StateInfoSnapshot(infos));
        let unsigned =
            replayed.iter().cloned().map(|envelope| wire_format::Envelope { signature: Bytes::new(), ..envelope });
        unsigned.chain([snapshot.envelope().clone()]).collect()
    }

    /// Private values that are not those of their transactions, some of which are yet to come.
    fn false_values(&self, world: &World) -> Vec<SignedMessage> {
        let next = world.transactions();
        let payload = |number: u64| PrivatePayload {
            collection: (number % COLLECTIONS as u64).to_string(),
            namespace: "cc".to_owned(),
            tx_id: format!("tx{number}"),
            writes: Bytes::from(format!("made up {}", self.nonce)),
            endorsed_at: 0,
            collection_configs: None,
        };
        let numbers = next.saturating_sub(5)..next + 25;
        let contents = numbers.map(|number| Content::PrivateData(payload(number)));
        contents.map(|content| self.in_channel(world, Tag::ChannelOrOrganization, content)).collect()
    }

    /// Answers to questions that nobody asked: the living are dead, forgeries live, identities are exchanged.
    fn answers_to_nothing(&self, now: u64, replayed: &[wire_format::Envelope]) -> Vec<SignedMessage> {
        let forged: Vec<_> = self.forged(now).iter().map(|message| message.envelope().clone()).collect();
        let alive = [forged.clone(), replayed.to_vec()].concat();
        let response = Content::MembershipResponse { alive, dead: [replayed.to_vec(), forged].concat() };
        let identity = Content::Identity {
            pki_id: self.other.pki_id.clone(),
            identity: self.about.identity.clone(),
            metadata: Bytes::new(),
        };
        let data = vec![self.signed(identity).envelope().clone()];
        let update = Content::Update { nonce: self.nonce, data, kind: DataKind::Identities };
        vec![self.signed(response), self.signed(update)]
    }

    /// It asks for values and blocks without end.
    fn curiosity(&self, world: &World) -> Vec<SignedMessage> {
        let digest = |collection: usize, number: u64| PrivateDigest {
            tx_id: format!("tx{number}"),
            namespace: "cc".to_owned(),
            collection: collection.to_string(),
            block: number,
            tx: 0,
        };
        let digests = (0..COLLECTIONS).flat_map(|collection| (1..50).map(move |number| digest(collection, number * 3)));
        let mut contents = vec![Content::PrivateRequest(digests.collect())];
        contents.extend((0..FLOOD).map(|start| Content::StateRequest { start, end: start + 9 }));
        contents.push(Content::StateRequest { start: 0, end: u64::MAX });
        contents.push(Content::StateRequest { start: 0, end: 1 << 63 });
        contents.into_iter().map(|content| self.in_channel(world, Tag::ChannelOrOrganization, content)).collect()
    }

    /// Peers that nobody issued an identity to.
    fn strangers(&self, now: u64) -> Vec<SignedMessage> {
        let stranger = |number: u64| {
            let certificate = Bytes::from(format!("stranger{number}"));
            let identity = ripstop_types::SerializedIdentity::new(self.other.organization.clone(), certificate);
            let alive = Alive {
                pki_id: PkiId::of(&identity),
                endpoint: format!("stranger{number}:7051"),
                metadata: Bytes::new(),
                time: PeerTime { incarnation: now, sequence: 1 },
                identity: identity.raw,
            };
            self.signed(Content::Alive(alive))
        };
        (0..20).map(stranger).collect()
    }
}
