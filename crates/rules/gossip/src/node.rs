use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_proto::gossip as wire;
use ripstop_types::{ChannelId, MspId};

use crate::allowance::{Allowance, Rate};
use crate::channel::Channel;
use crate::channel::members::channel_mac;
use crate::crowd::MANY;
use crate::identities::Identities;
use crate::membership::{Change, Membership};
use crate::pull::Pull;
use crate::strangers::Strangers;
use crate::turn::Turn;
use crate::{
    ChannelInput, Contact, Content, Culprit, DataKind, Effect, Effects, Endpoint, IdentityRefusal, Input, Logger,
    Moment, NoteLevel, Options, PkiId, SignedMessage, StateInfo, Surroundings, Trust, View,
};

/// How often one peer gets an answer to a membership request. They are large; an honest peer asks when it begins, and then
/// a random few every [`Options::pull_interval`].
const REQUESTS: Rate = Rate { burst: 8, every: Duration::from_millis(500) };
/// How often a peer may send what no honest peer sends before its streams are closed.
const FAULTS: Rate = Rate { burst: 32, every: Duration::from_secs(1) };
/// Of how many peers it is remembered how they behave. All of it is forgotten when there are more.
const MAX_CONDUCTS: usize = 1 << 14;
/// How old a view may be in which nothing is wrong but that some of its alive messages are not the last ones.
const VIEW_AGE: Duration = Duration::from_secs(1);
/// How old a view of a large network may be.
const LARGE_VIEW_AGE: Duration = Duration::from_millis(100);

/// What a peer knows of itself at the start.
#[derive(Debug, Clone)]
pub struct SelfDescription {
    /// Its id, which must be that of the identity.
    pub pki_id: PkiId,
    /// Its identity as it travels.
    pub identity: Bytes,
    /// Its organization.
    pub organization: MspId,
    /// Where peers of its organization reach it, as `host:port` (`peer.gossip.endpoint`, else `peer.address`).
    pub endpoint: Endpoint,
    /// Where peers of other organizations reach it; empty when they shall not (`peer.gossip.externalEndpoint`).
    pub external_endpoint: Endpoint,
}

/// Counts since the start, for measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages that broke a rule: a signature, a sender, an answer to no question.
    pub refused: u64,
    /// Messages that said nothing new.
    pub stale: u64,
}

/// The gossip of one peer: membership, identities and channels as one machine.
#[derive(Debug)]
pub struct Node {
    now: Moment,
    options: Arc<Options>,
    about_me: SelfDescription,
    contacts: BTreeMap<PkiId, Contact>,
    conduct: BTreeMap<PkiId, Conduct>,
    identities: Identities,
    identity_pull: Pull,
    membership: Membership,
    channels: BTreeMap<ChannelId, Channel>,
    strangers: Strangers,
    random: fastrand::Rng,
    effects: Effects,
    blamed: Vec<PkiId>,
    counters: Counters,
    view: Arc<View>,
    viewed: Viewed,
    is_stopping: bool,
}

/// How a peer behaves that has a stream, or had one.
#[derive(Debug, Default)]
struct Conduct {
    requests: Allowance,
    faults: Allowance,
}

/// The last view that was made.
#[derive(Debug, Clone, Copy, Default)]
struct Viewed {
    at: Moment,
    // Of the membership, which grows whenever a peer says that it lives.
    revision: u64,
    // Whether nobody came or went since.
    holds: bool,
}

/// What of a peer handles messages, but for its membership, which all of it looks at.
struct Machines<'a> {
    membership: &'a Membership,
    identity_pull: &'a mut Pull,
    channels: &'a mut BTreeMap<ChannelId, Channel>,
}

impl Node {
    /// Begins at a moment, which is this process's incarnation. The seed determines all random choices. There are effects at
    /// once: bootstrap peers are dialled.
    pub fn new(options: Options, me: SelfDescription, now: Moment, seed: u64, trust: &dyn Trust) -> Self {
        let mut this = Self {
            now,
            contacts: BTreeMap::new(),
            conduct: BTreeMap::new(),
            identities: Identities::new(now, &me, trust),
            identity_pull: Pull::new(now, DataKind::Identities, None, &options),
            membership: Membership::new(now, me.clone(), &options, trust),
            channels: BTreeMap::new(),
            strangers: Strangers::default(),
            random: fastrand::Rng::with_seed(seed),
            effects: Effects::default(),
            blamed: Vec::new(),
            counters: Counters::default(),
            view: Arc::default(),
            viewed: Viewed::default(),
            is_stopping: false,
            options: Arc::new(options),
            about_me: me,
        };
        if this.about_me.external_endpoint.is_empty() {
            let text = "External endpoint is empty, peer will not be accessible outside of its organization".to_owned();
            this.effects.note(NoteLevel::Warning, Logger::Gossip, text);
        }
        this.wake(trust);
        this
    }

    /// Takes what happened. All effects are polled before the next input.
    pub fn handle(&mut self, now: Moment, input: Input, trust: &dyn Trust) {
        self.now = now.max(self.now);
        if self.is_stopping {
            return;
        }
        match input {
            Input::Connected { contact, dialled } => self.connected(contact, dialled.as_deref(), trust),
            Input::Unreachable { endpoint, pki_id, reason } => {
                self.with_membership(trust, |membership, turn| {
                    membership.unreachable(turn, &endpoint, pki_id.as_ref(), &reason);
                });
            }
            Input::Closed { pki_id } => drop(self.contacts.remove(&pki_id)),
            Input::Received { from, message } => self.receive(&from, &message, trust),
            Input::Channel(id, input) => self.handle_channel(&id, input, trust),
            Input::TrustChanged => self.judge_anew(trust),
            Input::Wake => self.wake(trust),
            Input::Stopping => {
                self.each_channel(trust, Channel::stop);
                self.is_stopping = true;
            }
        }
        self.settle(trust);
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// When `Input::Wake` is wanted; `None` when time alone changes nothing.
    pub fn wake_at(&self) -> Option<Moment> {
        if self.is_stopping {
            return None;
        }
        if self.identities.has_suspects() {
            return Some(self.now);
        }
        let own = self.membership.wake_at(self.now).min(self.identity_pull.wake_at()).min(self.identities.wake_at());
        Some(self.channels.values().filter_map(Channel::wake_at).fold(own, Moment::min))
    }

    /// What this peer knows. The same `Arc` as before when nothing changed. In a large network something changes all the time:
    /// there, and where peers only said again that they live, a view may be the one of a moment ago.
    pub fn view(&mut self, trust: &dyn Trust) -> Arc<View> {
        let age = self.now.since(self.viewed.at);
        let is_large = self.membership.alive().len() > MANY;
        if is_large && age < LARGE_VIEW_AGE {
            return Arc::clone(&self.view);
        }
        let mut changed = Vec::new();
        let (surroundings, machines) = self.machines(trust);
        for (id, channel) in machines.channels {
            if let Some(members) = channel.members(&surroundings) {
                changed.push((id.clone(), members));
            }
        }
        let is_old = self.viewed.revision != self.membership.revision() && age >= VIEW_AGE;
        if self.viewed.holds && !is_old && changed.is_empty() {
            return Arc::clone(&self.view);
        }
        let mut channels = match Arc::get_mut(&mut self.view) {
            Some(view) => std::mem::take(&mut view.channels),
            None => self.view.channels.clone(),
        };
        channels.extend(changed);
        channels.retain(|_, members| !members.is_empty());
        let (me, alive) = (Some(Arc::clone(self.membership.me())), self.membership.alive().clone());
        self.view = Arc::new(View { me, alive, channels });
        self.viewed = Viewed { at: self.now, revision: self.membership.revision(), holds: true };
        Arc::clone(&self.view)
    }

    /// Who is behind a PKI-ID, peers that are not alive included: the identity as it travels, and the organization.
    pub fn identity(&self, pki_id: &PkiId) -> Option<(&Bytes, &MspId)> {
        self.identities.get(pki_id).map(|known| (&known.identity, &known.organization))
    }

    /// Whether a peer is held alive. Cheaper than a view, where only one peer is of interest.
    pub fn is_alive(&self, pki_id: &PkiId) -> bool {
        self.membership.alive().contains_key(pki_id)
    }

    /// Of how many numbers blocks of a channel wait, for those before them or for the committer.
    pub fn waiting_blocks(&self, channel: &ChannelId) -> usize {
        self.channels.get(channel).map_or(0, Channel::waiting_blocks)
    }

    /// Counts since the start.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn connected(&mut self, contact: Contact, dialled: Option<&str>, trust: &dyn Trust) {
        if contact.pki_id == self.about_me.pki_id {
            let reason = "it is this peer itself".to_owned();
            self.effects.push(Effect::Close { pki_id: contact.pki_id.clone(), reason });
        } else if let Err(refusal) = self.identities.put(self.now, trust, &contact.pki_id, &contact.identity) {
            let text = format!("Identity store rejected {contact:?} : {refusal}");
            self.effects.note(NoteLevel::Warning, Logger::Comm, text);
            let reason = refusal.to_string();
            return self.effects.push(Effect::Close { pki_id: contact.pki_id, reason });
        }
        self.with_membership(trust, |membership, turn| membership.connected(turn, &contact, dialled));
        if contact.pki_id != self.about_me.pki_id {
            self.contacts.insert(contact.pki_id.clone(), contact);
        }
    }

    /// Takes a message of a peer (Fabric: `handleMessage`). Its stream is authenticated; that its tag is legal was seen when it
    /// was parsed.
    fn receive(&mut self, from: &PkiId, message: &SignedMessage, trust: &dyn Trust) {
        let Some(contact) = self.contacts.get(from) else {
            self.counters.refused += 1;
            return;
        };
        match &message.message().content {
            Content::Alive(_) => self.with_membership(trust, |membership, turn| membership.hear(turn, from, message)),
            Content::MembershipRequest { about_me, .. } => {
                let (contact, nonce, now) = (contact.clone(), message.message().nonce, self.now);
                if self.conduct_of(from).requests.take(now, REQUESTS) {
                    self.with_membership(trust, |membership, turn| {
                        membership.take_request(turn, &contact, about_me, nonce);
                    });
                }
            }
            Content::MembershipResponse { alive, dead } => {
                let nonce = message.message().nonce;
                self.with_membership(trust, |membership, turn| {
                    membership.take_response(turn, from, nonce, (alive, dead));
                });
            }
            Content::Hello { kind: DataKind::Identities, nonce, .. } => self.answer_hello(from, *nonce, trust),
            Content::Digest { kind: DataKind::Identities, nonce, digests } => {
                let identities = &self.identities;
                let is_missing = |digest: &&Bytes| {
                    PkiId::parse(Bytes::clone(digest)).is_some_and(|pki_id| identities.is_missing(&pki_id))
                };
                self.identity_pull.take_digest(from, *nonce, digests.iter().filter(is_missing).cloned());
            }
            Content::Request { kind: DataKind::Identities, nonce, digests } => {
                self.answer_request(from, *nonce, digests, trust);
            }
            Content::Update { kind: DataKind::Identities, nonce, data } => self.take_update(from, *nonce, data, trust),
            Content::StateInfo(info) => self.take_state_info(from, message, info, trust),
            Content::StateInfoRequest { channel_mac } => {
                let channel = self.channel_of_mac(from, channel_mac);
                self.receive_in_channel(channel, from, message, trust);
            }
            Content::Block(_)
            | Content::Hello { .. }
            | Content::Digest { .. }
            | Content::Request { .. }
            | Content::Update { .. }
            | Content::StateInfoSnapshot(_)
            | Content::StateRequest { .. }
            | Content::StateResponse(_)
            | Content::Leadership(_) => {
                self.receive_in_channel(message.message().channel.clone(), from, message, trust);
            }
            // Handshakes, acknowledgements and private data are the driver's; identities come in updates.
            Content::Empty
            | Content::Establish { .. }
            | Content::Identity { .. }
            | Content::Acknowledgement { .. }
            | Content::PrivateRequest(_)
            | Content::PrivateResponse(_)
            | Content::PrivateData(_) => {}
        }
    }

    fn receive_in_channel(
        &mut self,
        channel: Option<ChannelId>,
        from: &PkiId,
        message: &SignedMessage,
        trust: &dyn Trust,
    ) {
        let Some(contact) = self.contacts.get(from).cloned() else { return };
        let (mut surroundings, machines) = self.machines(trust);
        if let Some(channel) = channel.and_then(|id| machines.channels.get_mut(&id)) {
            channel.receive(&mut surroundings, &contact, message);
        }
    }

    /// A state info hides its channel. Those of channels that this peer is not in are passed on inside of the organization,
    /// whose other peers may be in them.
    fn take_state_info(&mut self, from: &PkiId, message: &SignedMessage, info: &StateInfo, trust: &dyn Trust) {
        let channel = self.channel_of_mac(&info.pki_id, &info.channel_mac);
        if channel.is_some() {
            return self.receive_in_channel(channel, from, message, trust);
        }
        let is_own = |node: &Self| {
            node.contacts.get(from).is_some_and(|contact| contact.organization == node.about_me.organization)
        };
        if !is_own(self) || !self.strangers.is_news(info) {
            return;
        }
        let Some(known) = self.identities.use_one(self.now, &info.pki_id) else { return };
        if !message.is_signed_by(&known.identity, trust) {
            return self.blamed.push(from.clone());
        }
        if self.strangers.remember(self.now, info) {
            self.with_membership(trust, |membership, turn| membership.push_to_own(turn, message.clone(), from));
        }
    }

    /// The channel of this peer whose name is hidden in a MAC.
    fn channel_of_mac(&self, pki_id: &PkiId, mac: &Bytes) -> Option<ChannelId> {
        self.channels.keys().find(|id| channel_mac(pki_id, id) == *mac).cloned()
    }

    /// Tells a peer which identities it may pull (Fabric: `sameOrgOrOurOrgPullFilter`).
    fn answer_hello(&mut self, from: &PkiId, nonce: u64, trust: &dyn Trust) {
        if !self.identity_pull.take_hello(self.now, from, nonce) {
            return;
        }
        let Some(organization) = self.contacts.get(from).map(|contact| contact.organization.clone()) else {
            return;
        };
        let signed = self.identities.all_signed().map(|(pki_id, _)| pki_id);
        let digests: Vec<_> = signed
            .filter(|pki_id| *pki_id != from && self.may_pull(&organization, pki_id))
            .map(|pki_id| pki_id.as_bytes().clone())
            .collect();
        let (mut surroundings, machines) = self.machines(trust);
        machines.identity_pull.answer_hello(&mut surroundings, from, nonce, digests);
    }

    fn answer_request(&mut self, from: &PkiId, nonce: u64, digests: &[Bytes], trust: &dyn Trust) {
        if !self.identity_pull.take_request(self.now, from, nonce) {
            return;
        }
        let Some(organization) = self.contacts.get(from).map(|contact| contact.organization.clone()) else {
            return;
        };
        let asked = digests.iter().filter_map(|digest| PkiId::parse(digest.clone()));
        let items: Vec<_> = asked
            .filter(|pki_id| self.may_pull(&organization, pki_id))
            .filter_map(|pki_id| self.identities.signed(&pki_id).map(|message| message.envelope().clone()))
            .collect();
        let (mut surroundings, machines) = self.machines(trust);
        machines.identity_pull.answer_request(&mut surroundings, from, nonce, items.into_iter());
    }

    /// Whether peers of an organization may have the identity of a peer: the own one, all; others, those of their own peers
    /// and of ours that can be reached from outside.
    fn may_pull(&self, organization: &MspId, pki_id: &PkiId) -> bool {
        let own = &self.about_me.organization;
        organization == own
            || self.identities.get(pki_id).is_some_and(|known| {
                (known.organization == *own || known.organization == *organization)
                    && self.membership.has_external_endpoint(pki_id)
            })
    }

    fn take_update(&mut self, from: &PkiId, nonce: u64, data: &[wire::Envelope], trust: &dyn Trust) {
        let Some(asked) = self.identity_pull.take_update(from, nonce) else { return };
        for envelope in data.iter().take(asked.len()) {
            let parsed = match SignedMessage::parse(envelope.clone()) {
                Err(malformed) if malformed.culprit == Culprit::Author => continue,
                parsed => parsed.ok(),
            };
            let asked_for = parsed.filter(|message| match &message.message().content {
                Content::Identity { pki_id, .. } => asked.contains(pki_id.as_bytes()),
                _ => false,
            });
            let Some(message) = asked_for else {
                self.blamed.push(from.clone());
                continue;
            };
            if let Err(refusal) = self.identities.put_signed(self.now, trust, &message) {
                if matches!(refusal, IdentityRefusal::Forged | IdentityRefusal::Stolen | IdentityRefusal::Unreadable(_))
                {
                    self.blamed.push(from.clone());
                }
                let text = format!("Failed validating identity message: {refusal}");
                self.effects.note(NoteLevel::Warning, Logger::Gossip, text);
            }
        }
    }

    fn handle_channel(&mut self, id: &ChannelId, input: ChannelInput, trust: &dyn Trust) {
        match &input {
            ChannelInput::Joined { organizations, .. } => {
                self.identities.forget_refusals();
                self.with_membership(trust, |membership, turn| membership.configure(turn, id, organizations));
                if !self.channels.contains_key(id) {
                    let options = Arc::clone(&self.options);
                    let (mut surroundings, machines) = self.machines(trust);
                    let channel = Channel::new(id.clone(), options, &mut surroundings);
                    machines.channels.insert(id.clone(), channel);
                }
            }
            ChannelInput::Reconfigured(organizations) if self.channels.contains_key(id) => {
                self.with_membership(trust, |membership, turn| membership.configure(turn, id, organizations));
            }
            _ => {}
        }
        let (mut surroundings, machines) = self.machines(trust);
        if let Some(channel) = machines.channels.get_mut(id) {
            channel.handle(&mut surroundings, input);
        }
    }

    /// Begins to judge all identities anew, those of peers with streams first.
    fn judge_anew(&mut self, trust: &dyn Trust) {
        let contacts = &self.contacts;
        self.identities.suspect_all(|pki_id| contacts.contains_key(pki_id));
        self.judge_some(trust);
        self.each_channel(trust, Channel::trust_changed);
    }

    /// Goes on with that, and cuts off the peers whose identities are not valid any more.
    fn judge_some(&mut self, trust: &dyn Trust) {
        for (pki_id, reason) in self.identities.distrusted(self.now, trust) {
            self.purge(&pki_id, &reason, trust);
        }
    }

    /// Forgets a peer whose identity is not valid any more, and closes its streams.
    fn purge(&mut self, pki_id: &PkiId, reason: &str, trust: &dyn Trust) {
        self.identities.remove(pki_id);
        self.contacts.remove(pki_id);
        self.with_membership(trust, |membership, turn| membership.purge(turn, pki_id));
        self.effects.push(Effect::Close { pki_id: pki_id.clone(), reason: reason.to_owned() });
    }

    fn wake(&mut self, trust: &dyn Trust) {
        self.judge_some(trust);
        for pki_id in self.identities.expired(self.now) {
            self.purge(&pki_id, &IdentityRefusal::Expired.to_string(), trust);
        }
        let (membership, contacts) = (&self.membership, &self.contacts);
        self.identities.purge_unused(self.now, |pki_id| membership.is_tracked(pki_id) || contacts.contains_key(pki_id));
        self.strangers.forget(self.now, self.options.state_info_lifetime());
        self.with_membership(trust, Membership::wake);
        let interval = self.membership.stretched(self.options.pull_interval);
        let count = self.options.pull_peer_num;
        let (mut surroundings, Machines { membership, identity_pull, .. }) = self.machines(trust);
        identity_pull.wake(&mut surroundings, interval, |random| membership.choose(random, count));
        self.each_channel(trust, Channel::wake);
    }

    /// What follows from what the machines did: whose streams are closed, and what channels have to know.
    fn settle(&mut self, trust: &dyn Trust) {
        for pki_id in std::mem::take(&mut self.blamed) {
            let now = self.now;
            if !self.conduct_of(&pki_id).faults.take(now, FAULTS) && self.contacts.remove(&pki_id).is_some() {
                let reason = "it sends what no honest peer sends".to_owned();
                self.effects.push(Effect::Close { pki_id, reason });
            }
        }
        for change in self.membership.take_changes() {
            self.viewed.holds = false;
            let (mut surroundings, machines) = self.machines(trust);
            for channel in machines.channels.values_mut() {
                match &change {
                    Change::Appeared(pki_id) => {
                        if let Some(peer) = surroundings.alive.get(pki_id) {
                            channel.appeared(&mut surroundings, peer);
                        }
                    }
                    Change::Vanished(pki_id) => channel.vanished(&mut surroundings, pki_id),
                }
            }
        }
    }

    /// How a peer behaved. A new stream is no new beginning.
    fn conduct_of(&mut self, pki_id: &PkiId) -> &mut Conduct {
        if self.conduct.len() >= MAX_CONDUCTS && !self.conduct.contains_key(pki_id) {
            self.conduct.clear();
        }
        self.conduct.entry(pki_id.clone()).or_default()
    }

    /// The machines beside the membership, and what they see of this peer.
    fn machines<'a>(&'a mut self, trust: &'a dyn Trust) -> (Surroundings<'a>, Machines<'a>) {
        let surroundings = Surroundings {
            now: self.now,
            trust,
            me: self.membership.me(),
            alive: self.membership.alive(),
            random: &mut self.random,
            effects: &mut self.effects,
        };
        let (membership, identity_pull, channels) = (&self.membership, &mut self.identity_pull, &mut self.channels);
        (surroundings, Machines { membership, identity_pull, channels })
    }

    fn each_channel(&mut self, trust: &dyn Trust, visit: impl Fn(&mut Channel, &mut Surroundings<'_>)) {
        let (mut surroundings, machines) = self.machines(trust);
        machines.channels.values_mut().for_each(|channel| visit(channel, &mut surroundings));
    }

    fn with_membership(&mut self, trust: &dyn Trust, act: impl FnOnce(&mut Membership, &mut Turn<'_>)) {
        let mut turn = Turn {
            now: self.now,
            trust,
            options: &self.options,
            random: &mut self.random,
            effects: &mut self.effects,
            identities: &mut self.identities,
            counters: &mut self.counters,
            blamed: &mut self.blamed,
        };
        act(&mut self.membership, &mut turn);
    }
}
