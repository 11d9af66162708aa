//! One peer that knows many others: what that takes of its machine.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::handshake::{Purpose, judge, offer};
use ripstop_gossip::{
    Alive, ChannelInput, ChannelOrganizations, Contact, Content, DataKind, Effect, Input, Message, Moment, Node,
    Options, PeerTime, PkiId, SelfDescription, SignedMessage, StateInfo, Tag,
};
use ripstop_proto::gossip as wire;
use ripstop_types::{ChannelId, Digest, MspId};

use super::{CERTIFICATE, ORGANIZATIONS, SIGNATURE};
use crate::trust::{Authority, Credentials, Reach, describe};

/// The channel that everybody is in.
const CHANNEL: &str = "cost";
/// How many machines are made for its memory to be looked at.
const MACHINES: usize = 4;
/// By when the first pull is over.
const PULL: Duration = Duration::from_secs(8);
/// For how long a peer is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// What one peer needs.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// By how many bytes its resident memory grows with each peer that it knows.
    pub bytes_per_peer: f64,
    /// Which part of a core's time its machine takes to read and judge alive messages, but for signatures.
    pub busy: f64,
    /// How many signatures it verifies in a second.
    pub signatures: f64,
}

/// What one peer needs that knows so many and gets so many alive messages a second.
pub fn need(known: usize, per_second: f64) -> Need {
    let crowd = Persons::new(known);
    // The last of several: what the process keeps for later when something is freed, the first ones leave to it.
    let mut before = 0.0;
    let mut nodes: Vec<_> = (0..MACHINES)
        .map(|_| {
            before = resident();
            crowd.acquainted()
        })
        .collect();
    let bytes_per_peer = (resident() - before) / known as f64;
    let (busy, signatures) = match nodes.pop() {
        Some((mut node, now)) => crowd.watch(&mut node, now, per_second),
        None => (0.0, 0.0),
    };
    Need { bytes_per_peer, busy, signatures }
}

/// Everybody, the one first.
struct Persons {
    now: Moment,
    about: Vec<SelfDescription>,
    credentials: Vec<Credentials>,
}

impl Persons {
    fn new(others: usize) -> Self {
        let mut authority = Authority::default();
        let organization = |index: usize| MspId::new(&format!("Org{}MSP", index % ORGANIZATIONS));
        let identities: Vec<_> = (0..=others)
            .map(|index| authority.issue(&format!("peer{index}"), &organization(index), CERTIFICATE))
            .collect();
        let authority = Rc::new(authority);
        let credentials = identities.iter().map(|identity| Credentials::of(&authority, identity, SIGNATURE)).collect();
        let about = identities.iter().enumerate();
        let about =
            about.map(|(index, identity)| describe(index, &organization(index), identity.clone(), Reach::Everybody));
        Self { now: Moment::from_nanoseconds(1_700_000_000_000_000_000), about: about.collect(), credentials }
    }

    /// The machine of the one, in a channel of all organizations.
    fn node(&self) -> Node {
        let mut node = Node::new(Options::default(), self.about[0].clone(), self.now, 1, &self.credentials[0]);
        let anchors = self.about.iter().map(|about| (about.organization.clone(), Vec::new())).collect();
        let organizations = ChannelOrganizations { sequence: 1, anchors };
        let joined = ChannelInput::Joined { organizations, height: 1, chaincodes: Vec::new() };
        let channel = ChannelId::new(CHANNEL).expect("it is a name");
        node.handle(self.now, Input::Channel(channel, joined), &self.credentials[0]);
        while node.poll_effect().is_some() {}
        node
    }

    /// The one's machine when it knows everybody, and since when it does.
    fn acquainted(&self) -> (Node, Moment) {
        let mut node = self.node();
        let others = 1..self.about.len();
        for index in others.clone() {
            self.tell(&mut node, self.now, index, &[self.alive(index, 1)]);
        }
        let now = self.give_identities(&mut node);
        for index in others {
            self.tell(&mut node, now, index, &[self.alive(index, 2), self.state_info(index)]);
        }
        assert_eq!(node.view(&self.credentials[0]).alive.len(), self.about.len() - 1, "some peer was not believed");
        (node, now)
    }

    fn contact(&self, index: usize) -> Contact {
        let offered = offer(&self.about[index], Bytes::from_static(&[7; 32]), Purpose::Talk, &self.credentials[index]);
        judge(&self.credentials[0], self.now, &offered, None).expect("all identities are issued").0
    }

    fn alive(&self, index: usize, sequence: u64) -> SignedMessage {
        alive(&self.about[index], PeerTime { incarnation: self.now.nanoseconds(), sequence }, &self.credentials[index])
    }

    /// Another peer opens a stream, says something, and closes it.
    fn tell(&self, node: &mut Node, now: Moment, from: usize, messages: &[SignedMessage]) {
        let trust = &self.credentials[0];
        let contact = self.contact(from);
        let pki_id = contact.pki_id.clone();
        node.handle(now, Input::Connected { contact, dialled: None }, trust);
        for message in messages {
            // As it comes out of the wire, in memory of its own.
            let message = SignedMessage::parse(copied(message)).expect("it is a message");
            node.handle(now, Input::Received { from: pki_id.clone(), message }, trust);
        }
        node.handle(now, Input::Closed { pki_id }, trust);
        while node.poll_effect().is_some() {}
    }

    fn signed(&self, index: usize, tag: Tag, content: Content) -> SignedMessage {
        SignedMessage::signed(Message { nonce: 0, channel: None, tag, content }, &self.credentials[index])
    }

    fn state_info(&self, index: usize) -> SignedMessage {
        let pki_id = self.about[index].pki_id.clone();
        let mac = Digest::of_parts([&pki_id.as_bytes()[..], CHANNEL.as_bytes()]);
        let info = StateInfo {
            pki_id,
            channel_mac: mac.to_bytes(),
            time: PeerTime { incarnation: self.now.nanoseconds(), sequence: self.now.nanoseconds() },
            height: 1000,
            left_channel: false,
            chaincodes: Vec::new(),
        };
        self.signed(index, Tag::ChannelOrOrganization, Content::StateInfo(info))
    }

    /// Answers the one's pull, so that it has all identities as they can be passed on. Gives back when it is over.
    fn give_identities(&self, node: &mut Node) -> Moment {
        let (kind, tag) = (DataKind::Identities, Tag::Everybody);
        let by_id: BTreeMap<_, _> =
            self.about.iter().enumerate().map(|(at, about)| (about.pki_id.clone(), at)).collect();
        let end = self.now + PULL;
        while let Some(wake) = node.wake_at().filter(|wake| *wake <= end) {
            node.handle(wake, Input::Wake, &self.credentials[0]);
            let effects: Vec<_> = std::iter::from_fn(|| node.poll_effect()).collect();
            for effect in effects {
                let Effect::Send { to, message, .. } = effect else { continue };
                let content = match &message.message().content {
                    Content::Hello { nonce, kind: DataKind::Identities, .. } => {
                        let digests = by_id.keys().map(|pki_id| pki_id.as_bytes().clone()).collect();
                        Content::Digest { nonce: *nonce, digests, kind }
                    }
                    Content::Request { nonce, digests, kind: DataKind::Identities } => {
                        let asked = digests.iter().map(|digest| by_id[&PkiId::claimed(digest.clone())]);
                        let identity = |at: usize| {
                            let SelfDescription { pki_id, identity, .. } = self.about[at].clone();
                            let content = Content::Identity { pki_id, identity, metadata: Bytes::new() };
                            self.signed(at, tag, content).envelope().clone()
                        };
                        Content::Update { nonce: *nonce, data: asked.map(identity).collect(), kind }
                    }
                    _ => continue,
                };
                let answer = SignedMessage::unsigned(Message { nonce: 0, channel: None, tag, content });
                self.tell(node, wake, by_id[&to], &[answer]);
            }
        }
        end
    }

    /// Lets everybody say that it lives, as often as the settings say, and others pass it on, until each message came so often
    /// that there are `per_second`. Gives back the part of the time that it takes, and how many signatures are verified a second.
    fn watch(&self, node: &mut Node, now: Moment, per_second: f64) -> (f64, f64) {
        let known = self.about.len() - 1;
        let trust = &self.credentials[0];
        let rounds = WATCHED.as_secs() / Options::default().alive_time_interval.as_secs();
        let mut random = fastrand::Rng::with_seed(1);
        let mut arrivals: Vec<(Moment, usize, wire::Envelope)> = Vec::new();
        let copies = per_second * WATCHED.as_secs_f64() / (known as f64 * rounds as f64);
        for index in 1..=known {
            let first = random.u64(..Options::default().alive_time_interval.as_nanos() as u64);
            for round in 0..rounds {
                let said = now
                    + Duration::from_nanos(first)
                    + Options::default().alive_time_interval * u32::try_from(round).unwrap_or_default();
                let message = self.alive(index, 3 + round);
                let count = copies as usize + usize::from(random.f64() < copies.fract());
                for _ in 0..count {
                    let at = said + Duration::from_micros(random.u64(..200_000));
                    arrivals.push((at, random.usize(1..=known), copied(&message)));
                }
            }
        }
        arrivals.sort_by_key(|(at, ..)| *at);
        for from in 1..=known {
            node.handle(now, Input::Connected { contact: self.contact(from), dialled: None }, trust);
        }
        let (before, stale) = (processor_time(), node.counters().stale);
        let count = arrivals.len();
        for (at, from, envelope) in arrivals {
            while let Some(wake) = node.wake_at().filter(|wake| *wake <= at) {
                node.handle(wake, Input::Wake, trust);
                while node.poll_effect().is_some() {}
            }
            let message = SignedMessage::parse(envelope).expect("it is a message");
            let from: PkiId = self.about[from].pki_id.clone();
            node.handle(at, Input::Received { from, message }, trust);
            while node.poll_effect().is_some() {}
            // The driver asks each time, and gets the last one if that is recent.
            node.view(trust);
        }
        let news = count as u64 - (node.counters().stale - stale);
        ((processor_time() - before) / WATCHED.as_secs_f64(), news as f64 / WATCHED.as_secs_f64())
    }
}

/// An alive message of a peer.
pub(super) fn alive(about: &SelfDescription, time: PeerTime, trust: &Credentials) -> SignedMessage {
    let alive = Alive {
        pki_id: about.pki_id.clone(),
        endpoint: about.external_endpoint.clone(),
        metadata: Bytes::new(),
        time,
        identity: Bytes::new(),
    };
    let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Alive(alive) };
    SignedMessage::signed(message, trust).with_secret(&about.endpoint, trust)
}

/// The bytes of a message as it travels, without what frames it.
pub(super) fn size(message: &SignedMessage) -> usize {
    let envelope = message.envelope();
    let secret = envelope.secret_envelope.as_ref();
    envelope.payload.len()
        + envelope.signature.len()
        + secret.map_or(0, |secret| secret.payload.len() + secret.signature.len())
}

fn copied(message: &SignedMessage) -> wire::Envelope {
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

/// The processor time that this thread took so far, in seconds; 0 where the system does not tell.
fn processor_time() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok());
    nanoseconds.unwrap_or_default() / 1e9
}
