use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_types::{ChannelId, MspId};

use crate::channel::Channel;
use crate::{
    Alive, ChannelInput, Content, Effect, Effects, Endpoint, Input, KnownPeer, Member, Message, Moment, Options,
    PeerTime, PkiId, SignedMessage, Surroundings, Tag, Trust, View,
};

/// What a peer knows of itself at the start.
#[derive(Debug, Clone)]
pub struct SelfDescription {
    /// Its id, which must be that of the identity.
    pub pki_id: PkiId,
    /// Its identity as it travels.
    pub identity: Bytes,
    /// Its organisation.
    pub organization: MspId,
    /// Where peers of its organisation reach it, as `host:port` (`peer.gossip.endpoint`, else `peer.address`).
    pub endpoint: Endpoint,
    /// Where peers of other organisations reach it; empty when they shall not (`peer.gossip.externalEndpoint`).
    pub external_endpoint: Endpoint,
}

/// Counts since the start, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages received.
    pub received: u64,
    /// Messages that broke a rule: a tag, a signature, a sender.
    pub refused: u64,
    /// Messages that said nothing new.
    pub stale: u64,
    /// Messages given to the driver for sending.
    pub sent: u64,
}

/// The gossip of one peer: membership, identities and channels as one machine.
pub struct Node {
    options: Arc<Options>,
    me: Arc<KnownPeer>,
    alive: BTreeMap<PkiId, Arc<KnownPeer>>,
    channels: BTreeMap<ChannelId, Channel>,
    random: fastrand::Rng,
    effects: Effects,
    view: Arc<View>,
    counters: Counters,
}

impl Node {
    /// Begins at a moment, which is this process's incarnation. The seed determines all random choices. There are effects at
    /// once: bootstrap peers are dialled.
    pub fn new(options: Options, me: SelfDescription, now: Moment, seed: u64, trust: &dyn Trust) -> Self {
        let member = Member {
            pki_id: me.pki_id.clone(),
            endpoint: me.external_endpoint,
            internal_endpoint: me.endpoint,
            metadata: Bytes::new(),
        };
        let alive = Alive {
            pki_id: me.pki_id,
            endpoint: member.endpoint.clone(),
            metadata: Bytes::new(),
            time: PeerTime { incarnation: now.nanoseconds(), sequence: 0 },
            identity: Bytes::new(),
        };
        let alive = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Alive(alive) };
        let me = Arc::new(KnownPeer {
            member,
            identity: me.identity,
            organization: me.organization,
            alive: SignedMessage::signed(alive, trust),
        });
        Self {
            options: Arc::new(options),
            view: Arc::new(View { me: Some(Arc::clone(&me)), ..View::default() }),
            me,
            alive: BTreeMap::new(),
            channels: BTreeMap::new(),
            random: fastrand::Rng::with_seed(seed),
            effects: Effects::default(),
            counters: Counters::default(),
        }
    }

    /// Takes what happened. All effects are polled before the next input.
    pub fn handle(&mut self, now: Moment, input: Input, trust: &dyn Trust) {
        match input {
            Input::Channel(id, input) => self.handle_channel(now, id, input, trust),
            Input::Wake => self.each_channel(now, trust, |channel, surroundings| channel.wake(surroundings)),
            Input::TrustChanged => {
                self.each_channel(now, trust, |channel, surroundings| channel.trust_changed(surroundings));
            }
            Input::Received { .. } => self.counters.received += 1,
            Input::Connected { .. } | Input::Unreachable { .. } | Input::Closed { .. } | Input::Stopping => {}
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// When `Input::Wake` is wanted; `None` when time alone changes nothing.
    pub fn wake_at(&self) -> Option<Moment> {
        self.channels.values().filter_map(Channel::wake_at).min()
    }

    /// What this peer knows. The same `Arc` as before when nothing changed; cheap then.
    pub fn view(&mut self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// The identities of all peers that are known, dead ones included, with their organisations: who a peer is that a
    /// message or a policy names.
    pub fn identity(&self, pki_id: &PkiId) -> Option<(&Bytes, &MspId)> {
        let peer = if *pki_id == self.me.member.pki_id { &self.me } else { self.alive.get(pki_id)? };
        Some((&peer.identity, &peer.organization))
    }

    /// Counts since the start.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn handle_channel(&mut self, now: Moment, id: ChannelId, input: ChannelInput, trust: &dyn Trust) {
        let mut surroundings = Surroundings {
            now,
            trust,
            me: &self.me,
            alive: &self.alive,
            random: &mut self.random,
            effects: &mut self.effects,
        };
        if matches!(input, ChannelInput::Joined { .. }) && !self.channels.contains_key(&id) {
            let channel = Channel::new(id.clone(), Arc::clone(&self.options), &mut surroundings);
            self.channels.insert(id.clone(), channel);
        }
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.handle(&mut surroundings, input);
        }
    }

    fn each_channel(&mut self, now: Moment, trust: &dyn Trust, visit: impl Fn(&mut Channel, &mut Surroundings<'_>)) {
        let mut surroundings = Surroundings {
            now,
            trust,
            me: &self.me,
            alive: &self.alive,
            random: &mut self.random,
            effects: &mut self.effects,
        };
        for channel in self.channels.values_mut() {
            visit(channel, &mut surroundings);
        }
    }
}
