//! Who is alive, and who was.
//!
//! A peer is known by its last alive message: signed by it, newer than all that were known of it. It is dead when nothing
//! newer came for a while, or when it could not be reached; it is forgotten when it has been dead for long.

mod disclosure;
mod hearing;
mod introductions;
mod push;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_proto::gossip as wire;
use ripstop_types::{ChannelId, MspId};

use self::introductions::{Introductions, Request};
use self::push::{Audience, Push};
use crate::allowance::{Allowance, Rate};
use crate::crowd::stretch;
use crate::moment::due;
use crate::roster::Roster;
use crate::turn::Turn;
use crate::{
    Alive, ChannelOrganizations, Contact, Content, Effect, Endpoint, KnownPeer, Logger, Member, Message, Moment,
    NoteLevel, Options, PeerTime, PkiId, SelfDescription, SignedMessage, Tag, Trust,
};

/// The logger of what concerns members.
const LOGGER: Logger = Logger::Discovery;
/// How many dead peers are tried at once.
const MAX_RECONNECTS: usize = 128;
/// How many forgotten peers are remembered, so that what they once said is not believed again.
const MAX_GRAVES: usize = 1 << 14;
/// How often one peer's pushed alive messages are taken; what is more says nothing that matters.
const PUSHED: Rate = Rate { burst: 8, every: Duration::from_millis(250) };

/// The members of the network, as this peer knows them.
#[derive(Debug)]
pub(crate) struct Membership {
    about_me: SelfDescription,
    me: Arc<KnownPeer>,
    started: Moment,
    sequence: u64,
    alive: BTreeMap<PkiId, Arc<KnownPeer>>,
    tracked: BTreeMap<PkiId, Tracked>,
    by_endpoint: BTreeSet<(Endpoint, PkiId)>,
    everybody: Roster,
    per_organization: BTreeMap<MspId, Roster>,
    graves: BTreeMap<PkiId, Grave>,
    introductions: Introductions,
    push: Push,
    backlog: VecDeque<Heard>,
    asked: BTreeMap<PkiId, Outstanding>,
    changes: Vec<Change>,
    revision: u64,
    timers: Timers,
}

/// A peer that is known.
#[derive(Debug)]
struct Tracked {
    peer: Arc<KnownPeer>,
    time: PeerTime,
    heard: Moment,
    is_alive: bool,
    pushed: Allowance,
    // Whether it was said already that it is not forgotten.
    is_kept: bool,
}

/// What a peer last said that is forgotten.
#[derive(Debug)]
struct Grave {
    time: PeerTime,
    until: Moment,
}

/// Something another peer said of a third one, that waits for its turn.
#[derive(Debug)]
struct Heard {
    from: PkiId,
    envelope: wire::Envelope,
    is_alive: bool,
}

/// Answers that a peer owes.
#[derive(Debug)]
struct Outstanding {
    count: u32,
    until: Moment,
}

/// What channels have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A peer lives, or is reached in another way than before.
    Appeared(PkiId),
    /// A peer lives no more.
    Vanished(PkiId),
}

/// When something happens again.
#[derive(Debug)]
struct Timers {
    alive: Moment,
    check: Moment,
    sync: Moment,
    reconnect: Moment,
}

impl Membership {
    /// Begins alone.
    pub(crate) fn new(now: Moment, about_me: SelfDescription, options: &Options, trust: &dyn Trust) -> Self {
        let member = Member {
            pki_id: about_me.pki_id.clone(),
            endpoint: about_me.external_endpoint.clone(),
            internal_endpoint: about_me.endpoint.clone(),
            metadata: Bytes::new(),
        };
        let alive = alive_message(&about_me, PeerTime { incarnation: now.nanoseconds(), sequence: 1 }, Bytes::new());
        let me = KnownPeer {
            member,
            identity: about_me.identity.clone(),
            organization: about_me.organization.clone(),
            alive: SignedMessage::signed(alive, trust).with_secret(&about_me.endpoint, trust),
        };
        Self {
            introductions: Introductions::new(now, &about_me, &options.bootstrap),
            about_me,
            me: Arc::new(me),
            started: now,
            sequence: 1,
            alive: BTreeMap::new(),
            tracked: BTreeMap::new(),
            by_endpoint: BTreeSet::new(),
            everybody: Roster::default(),
            per_organization: BTreeMap::new(),
            graves: BTreeMap::new(),
            push: Push::default(),
            backlog: VecDeque::new(),
            asked: BTreeMap::new(),
            changes: Vec::new(),
            revision: 0,
            timers: Timers {
                alive: now + options.alive_time_interval,
                check: now + options.alive_expiration_check_interval(),
                sync: now,
                reconnect: now + options.reconnect_interval,
            },
        }
    }

    /// This peer.
    pub(crate) const fn me(&self) -> &Arc<KnownPeer> {
        &self.me
    }

    /// The peers that are alive, without this one.
    pub(crate) const fn alive(&self) -> &BTreeMap<PkiId, Arc<KnownPeer>> {
        &self.alive
    }

    /// A number that grows whenever a peer says that it lives.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether anything is known of a peer, alive or dead.
    pub(crate) fn is_tracked(&self, pki_id: &PkiId) -> bool {
        self.tracked.contains_key(pki_id)
    }

    /// Whether peers of other organizations may reach a peer, which may be this one; false if it is not known.
    pub(crate) fn has_external_endpoint(&self, pki_id: &PkiId) -> bool {
        let known = self.tracked.get(pki_id).map(|tracked| &tracked.peer);
        let known = known.or((*pki_id == self.about_me.pki_id).then_some(&self.me));
        known.is_some_and(|peer| !peer.member.endpoint.is_empty())
    }

    /// Takes what changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Random living peers that are worth asking what they know.
    pub(crate) fn choose(&self, random: &mut fastrand::Rng, count: usize) -> Vec<PkiId> {
        self.everybody.choose(random, count, count.saturating_mul(8), |peer| self.is_within_reach(peer))
    }

    /// An interval for asking others about all peers, which grows with their number when they are many.
    pub(crate) fn stretched(&self, interval: Duration) -> Duration {
        interval.saturating_mul(stretch(self.alive.len()))
    }

    /// Takes the anchor peers of a channel.
    pub(crate) fn configure(&mut self, turn: &mut Turn<'_>, channel: &ChannelId, organizations: &ChannelOrganizations) {
        self.introductions.configure(turn, &self.about_me, channel, organizations);
        self.introduce(turn);
    }

    /// A stream came up. If it was dialled, whoever was thought to be there is gone when somebody else of its organization is:
    /// what it was to be asked, the other one is.
    pub(crate) fn connected(&mut self, turn: &mut Turn<'_>, contact: &Contact, dialled: Option<&str>) {
        let Some(endpoint) = dialled else { return };
        if contact.pki_id == self.about_me.pki_id {
            return self.introductions.is_myself(endpoint);
        }
        let first = (endpoint.to_owned(), PkiId::claimed(Bytes::new()));
        let there = self.by_endpoint.range(first..).take_while(|(at, _)| at == endpoint).map(|(_, pki_id)| pki_id);
        let former = there.filter(|pki_id| {
            let is_same = |tracked: &Tracked| tracked.peer.organization == contact.organization;
            **pki_id != contact.pki_id && self.tracked.get(*pki_id).is_some_and(is_same)
        });
        let former: Vec<_> = former.cloned().collect();
        for pki_id in &former {
            let text = format!("Peer {endpoint} changed its PKI-ID from {pki_id} to {}", contact.pki_id);
            turn.note(NoteLevel::Info, Logger::Comm, text);
            self.purge(turn, pki_id);
        }
        let to_newcomer = || Request {
            peer: contact.pki_id.clone(),
            endpoint: endpoint.to_owned(),
            own: contact.organization == self.about_me.organization,
            nonce: 0,
        };
        let introduction = self.introductions.connected(turn, &self.about_me, endpoint, contact);
        let request = introduction.or_else(|| (!former.is_empty()).then(to_newcomer));
        self.request(turn, request.into_iter().collect());
    }

    /// A peer could not be reached: it is dead until it is heard of again.
    pub(crate) fn unreachable(&mut self, turn: &mut Turn<'_>, endpoint: &str, peer: Option<&PkiId>, reason: &str) {
        self.introductions.unreachable(turn, endpoint, reason);
        let Some(pki_id) = peer else { return };
        let is_there = self.alive.get(pki_id).is_some_and(|peer| peer.member.preferred_endpoint() == endpoint);
        if is_there {
            let text = format!("{endpoint}, PKIid:{pki_id} isn't responsive: {reason}");
            turn.note(NoteLevel::Warning, Logger::Comm, text);
            self.die(turn, pki_id, "it cannot be reached");
        }
    }

    /// A peer is not trusted any more: nothing of it stays.
    pub(crate) fn purge(&mut self, turn: &mut Turn<'_>, pki_id: &PkiId) {
        if self.tracked.contains_key(pki_id) {
            turn.note(NoteLevel::Info, LOGGER, format!("Purging {pki_id} from membership"));
            self.forget(turn, pki_id);
        }
        self.asked.remove(pki_id);
    }

    /// Pushes a message of another machine to peers of the own organization.
    pub(crate) fn push_to_own(&mut self, turn: &mut Turn<'_>, message: SignedMessage, from: &PkiId) {
        self.push(turn, message, Some(from.clone()), Audience::Own);
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        self.work_off_backlog(turn);
        self.introduce(turn);
        if due(&mut self.timers.check, now, turn.options.alive_expiration_check_interval()) {
            self.check(turn);
        }
        let interval = self.stretched(turn.options.pull_interval);
        if due(&mut self.timers.sync, now, interval) {
            self.synchronize(turn);
        }
        if due(&mut self.timers.reconnect, now, turn.options.reconnect_interval) {
            self.reconnect(turn);
        }
        if due(&mut self.timers.alive, now, turn.options.alive_time_interval) && !self.alive.is_empty() {
            let message = self.sign_alive(turn);
            self.push(turn, message, None, Audience::Origin(self.about_me.organization.clone()));
        }
        if self.push.wake_at().is_some_and(|at| at <= now) {
            self.flush(turn);
        }
    }

    /// When time alone changes something.
    pub(crate) fn wake_at(&self, now: Moment) -> Moment {
        let Timers { alive, check, sync, reconnect } = self.timers;
        let backlog = (!self.backlog.is_empty()).then_some(now);
        let others = [self.introductions.wake_at(), self.push.wake_at(), backlog];
        others.into_iter().flatten().chain([check, sync, reconnect]).fold(alive, Moment::min)
    }

    /// Whether this peer may and can talk to a living one.
    fn is_within_reach(&self, pki_id: &PkiId) -> bool {
        self.alive.get(pki_id).is_some_and(|peer| self.can_talk_to(peer))
    }

    fn can_talk_to(&self, peer: &KnownPeer) -> bool {
        let is_own = peer.organization == self.about_me.organization;
        is_own || !(peer.member.endpoint.is_empty() || self.about_me.external_endpoint.is_empty())
    }

    /// A new alive message of this peer, with its internal endpoint.
    fn sign_alive(&mut self, turn: &Turn<'_>) -> SignedMessage {
        self.sequence += 1;
        // In a large network some peer misses several heartbeats, and comes by the identity late otherwise. The one that falls
        // due when the period ends carries it still.
        let period = self.stretched(turn.options.publish_cert_period) + turn.options.alive_time_interval;
        let is_new = turn.now.since(self.started) < period;
        let identity = if is_new { self.about_me.identity.clone() } else { Bytes::new() };
        let time = PeerTime { incarnation: self.started.nanoseconds(), sequence: self.sequence };
        let message = SignedMessage::signed(alive_message(&self.about_me, time, identity), turn.trust)
            .with_secret(&self.about_me.endpoint, turn.trust);
        self.me = Arc::new(KnownPeer { alive: message.clone(), ..KnownPeer::clone(&self.me) });
        message
    }

    fn introduce(&mut self, turn: &mut Turn<'_>) {
        let requests = self.introductions.wake(turn);
        self.request(turn, requests);
    }

    /// Asks random living peers who is there.
    fn synchronize(&mut self, turn: &mut Turn<'_>) {
        let chosen = self.choose(turn.random, turn.options.pull_peer_num);
        let requests = chosen.into_iter().filter_map(|peer| {
            let known = self.alive.get(&peer)?;
            let own = known.organization == self.about_me.organization;
            let endpoint = known.member.preferred_endpoint().to_owned();
            Some(Request { peer, endpoint, own, nonce: 0 })
        });
        let requests = requests.collect();
        self.request(turn, requests);
    }

    /// Asks dead peers: who answers is not dead.
    fn reconnect(&mut self, turn: &mut Turn<'_>) {
        let mut dead: Vec<_> = self
            .tracked
            .iter()
            .filter(|(_, tracked)| !tracked.is_alive && !tracked.peer.member.preferred_endpoint().is_empty())
            .map(|(pki_id, tracked)| Request {
                peer: pki_id.clone(),
                endpoint: tracked.peer.member.preferred_endpoint().to_owned(),
                own: tracked.peer.organization == self.about_me.organization,
                nonce: 0,
            })
            .filter(|request| request.own || !self.about_me.external_endpoint.is_empty())
            .collect();
        if dead.len() > MAX_RECONNECTS {
            turn.random.shuffle(&mut dead);
            dead.truncate(MAX_RECONNECTS);
        }
        self.request(turn, dead);
    }

    /// Sends membership requests, all with the same alive message; its secret is for the own organization.
    fn request(&mut self, turn: &mut Turn<'_>, requests: Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let about_me = self.sign_alive(turn);
        let without_secret = about_me.without_secret();
        let until = turn.now + turn.options.reconnect_interval.max(hearing::ANSWER_TIME);
        for Request { peer, endpoint, own, nonce } in requests {
            let about_me = Box::new(if own { about_me.clone() } else { without_secret.clone() });
            let content = Content::MembershipRequest { about_me, known: Vec::new() };
            let message = Message { nonce, channel: None, tag: Tag::Everybody, content };
            turn.send(&peer, &endpoint, SignedMessage::unsigned(message));
            let outstanding = self.asked.entry(peer).or_insert(Outstanding { count: 0, until });
            outstanding.count = outstanding.count.saturating_add(1);
            outstanding.until = until;
        }
    }

    /// Looks who is dead, and who has been for long.
    fn check(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let (patience, lifetime) = (turn.options.alive_expiration_timeout, turn.options.alive_message_lifetime());
        let silent = self.tracked.iter().filter(|(_, tracked)| now.since(tracked.heard) > patience);
        let silent: Vec<_> =
            silent.map(|(pki_id, tracked)| (pki_id.clone(), tracked.is_alive, now.since(tracked.heard))).collect();
        for (pki_id, is_alive, silence) in silent {
            if is_alive {
                let text = format!("Haven't heard from {pki_id} for {silence:?}");
                turn.note(NoteLevel::Warning, LOGGER, text);
                self.die(turn, &pki_id, "it was not heard of for long");
            }
            if silence > lifetime {
                self.forget_unless_kept(turn, &pki_id);
            }
        }
        self.graves.retain(|_, grave| grave.until > now);
        self.asked.retain(|_, outstanding| outstanding.until > now);
    }

    fn die(&mut self, turn: &mut Turn<'_>, pki_id: &PkiId, why: &str) {
        let Some(tracked) = self.tracked.get_mut(pki_id).filter(|tracked| tracked.is_alive) else { return };
        tracked.is_alive = false;
        let organization = tracked.peer.organization.clone();
        let text = format!("Closing connection to {}", shown(&tracked.peer.member));
        turn.note(NoteLevel::Warning, LOGGER, text);
        turn.effects.push(Effect::Close { pki_id: pki_id.clone(), reason: format!("the peer is dead: {why}") });
        self.remove_alive(pki_id, &organization);
    }

    fn remove_alive(&mut self, pki_id: &PkiId, organization: &MspId) {
        if self.alive.remove(pki_id).is_none() {
            return;
        }
        self.everybody.remove(pki_id);
        if let Some(roster) = self.per_organization.get_mut(organization) {
            roster.remove(pki_id);
            if roster.is_empty() {
                self.per_organization.remove(organization);
            }
        }
        self.changes.push(Change::Vanished(pki_id.clone()));
    }

    /// Takes what is known of a peer now in the place of what was.
    fn track(&mut self, tracked: Tracked) {
        let pki_id = &tracked.peer.member.pki_id;
        let endpoint = tracked.peer.member.preferred_endpoint();
        if let Some(known) = self.tracked.get_mut(pki_id)
            && known.peer.member.preferred_endpoint() == endpoint
        {
            *known = tracked;
            return;
        }
        let (pki_id, endpoint) = (pki_id.clone(), endpoint.to_owned());
        self.untrack(&pki_id);
        self.by_endpoint.insert((endpoint, pki_id.clone()));
        self.tracked.insert(pki_id, tracked);
    }

    fn untrack(&mut self, pki_id: &PkiId) -> Option<Tracked> {
        let tracked = self.tracked.remove(pki_id)?;
        self.by_endpoint.remove(&(tracked.peer.member.preferred_endpoint().to_owned(), pki_id.clone()));
        Some(tracked)
    }

    fn forget_unless_kept(&mut self, turn: &mut Turn<'_>, pki_id: &PkiId) {
        let Some(tracked) = self.tracked.get_mut(pki_id) else { return };
        let member = &tracked.peer.member;
        let is_kept = [&member.endpoint, &member.internal_endpoint].into_iter().any(|endpoint| {
            !endpoint.is_empty()
                && (turn.options.bootstrap.contains(endpoint) || self.introductions.is_anchor(endpoint))
        });
        if !is_kept {
            let text = format!(
                "Removing member: Endpoint: {}, InternalEndpoint: {}, PKIID: {pki_id}",
                member.endpoint, member.internal_endpoint
            );
            turn.note(NoteLevel::Info, LOGGER, text);
            self.forget(turn, pki_id);
        } else if !std::mem::replace(&mut tracked.is_kept, true) {
            let text = format!("Do not remove bootstrap or anchor peer endpoint {} from membership", member.endpoint);
            turn.note(NoteLevel::Debug, LOGGER, text);
        }
    }

    fn forget(&mut self, turn: &Turn<'_>, pki_id: &PkiId) {
        let Some(tracked) = self.untrack(pki_id) else { return };
        self.remove_alive(pki_id, &tracked.peer.organization);
        if self.graves.len() < MAX_GRAVES {
            let until = turn.now + turn.options.alive_message_lifetime();
            self.graves.insert(pki_id.clone(), Grave { time: tracked.time, until });
        }
    }

    fn push(&mut self, turn: &mut Turn<'_>, message: SignedMessage, from: Option<PkiId>, audience: Audience) {
        let options = turn.options;
        let pushed = (message, from, audience);
        let (times, latency) = (options.propagate_iterations, options.max_propagation_burst_latency);
        let waiting = self.push.add(turn.now, pushed, times, latency);
        if waiting > 0 && waiting >= options.max_propagation_burst_size {
            self.flush(turn);
        }
    }
}

/// A member, as Fabric's log shows it.
fn shown(member: &Member) -> String {
    format!(
        "Endpoint: {}, InternalEndpoint: {}, PKI-ID: {}, Metadata: ",
        member.endpoint, member.internal_endpoint, member.pki_id
    )
}

fn alive_message(me: &SelfDescription, time: PeerTime, identity: Bytes) -> Message {
    let alive = Alive {
        pki_id: me.pki_id.clone(),
        endpoint: me.external_endpoint.clone(),
        metadata: Bytes::new(),
        time,
        identity,
    };
    Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Alive(alive) }
}
