//! One channel: who is in it at which height, its blocks, its leader.
//!
//! A channel's messages are taken from peers of its organizations only, and from those that satisfy its readers policy:
//! the first is asked of each message, the second of what a peer began its stream with (or of its state info). Both are
//! asked anew when the configuration changes, so that organizations that leave are cut off at once.

mod blocks;
mod emitter;
mod leading;
pub(crate) mod members;
mod own;
mod pulling;
mod receive;
mod tracker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_types::ChannelId;

use self::blocks::BlockStore;
use self::emitter::{Emitter, Route};
use self::leading::Leading;
use self::members::{Members, channel_mac};
use self::own::Own;
use self::receive::{Conduct, Snapshot};
use self::tracker::Tracker;
use crate::allowance::Allowance;
use crate::crowd::{MANY, stretch};
use crate::moment::due;
use crate::pull::Pull;
use crate::transfer::{Accepted, Origin, Transfer};
use crate::{
    AnnouncedChaincode, ChannelInput, ChannelMember, ChannelOrganizations, Content, DataKind, KnownPeer, Logger,
    Message, Moment, NoteLevel, Options, PkiId, SignedMessage, StatePayload, Surroundings, Tag,
};

/// The logger of what concerns a channel's members.
const LOGGER: Logger = Logger::Channel;

/// How many state infos wait for the alive message of their sender. The one with the lowest PKI-ID goes when there are more.
const EARLY: usize = 64;

/// For how long what is told of many members is not made anew.
const VIEW_AGE: Duration = Duration::from_millis(500);

/// The machine of one channel that this peer is in.
#[derive(Debug)]
pub(crate) struct Channel {
    id: ChannelId,
    options: Arc<Options>,
    sequence: u64,
    own: Own,
    members: Members,
    viewed: Option<Viewed>,
    early: BTreeMap<PkiId, SignedMessage>,
    conduct: BTreeMap<PkiId, Conduct>,
    complaints: Allowance,
    // For peers of the own organization, and for others.
    snapshots: [Option<Snapshot>; 2],
    tracker: Tracker,
    emitter: Emitter,
    blocks: BlockStore,
    pull: Pull,
    transfer: Transfer,
    leading: Leading,
    // Blocks below were perhaps committed as they came from the orderers, not as peers sent them.
    own_blocks_below: u64,
    timers: Timers,
}

/// What was told of the members.
#[derive(Debug)]
struct Viewed {
    at: Moment,
    revision: u64,
    shape: u64,
}

impl Viewed {
    /// Whether it need not be told again.
    fn holds(&self, now: &Self, members: usize) -> bool {
        let is_recent = members >= MANY && now.at.since(self.at) < VIEW_AGE;
        self.revision == now.revision || (self.shape == now.shape && is_recent)
    }
}

/// When something happens again.
#[derive(Debug, Clone, Copy, Default)]
struct Timers {
    publish: Option<Moment>,
    request: Option<Moment>,
    sweep: Option<Moment>,
    track: Option<Moment>,
}

impl Channel {
    /// Begins. `ChannelInput::Joined` follows at once.
    pub(crate) fn new(id: ChannelId, options: Arc<Options>, surroundings: &mut Surroundings<'_>) -> Self {
        let now = surroundings.now;
        Self {
            sequence: 0,
            own: Own::new(surroundings, &id),
            members: Members::new(id.clone()),
            viewed: None,
            early: BTreeMap::new(),
            conduct: BTreeMap::new(),
            complaints: Allowance::default(),
            snapshots: [None, None],
            tracker: Tracker::default(),
            emitter: Emitter::default(),
            blocks: BlockStore::default(),
            pull: Pull::new(now, DataKind::Blocks, Some(id.clone()), &options),
            transfer: Transfer::new(now, id.clone(), &options, 0),
            leading: Leading::Never,
            own_blocks_below: 0,
            timers: Timers::default(),
            id,
            options,
        }
    }

    /// Takes what happened.
    pub(crate) fn handle(&mut self, surroundings: &mut Surroundings<'_>, input: ChannelInput) {
        match input {
            ChannelInput::Joined { organizations, height, chaincodes } => {
                self.join(surroundings, &organizations, height, chaincodes);
            }
            ChannelInput::Reconfigured(organizations) => self.configure(surroundings, &organizations),
            ChannelInput::Height(height) => self.take_height(surroundings, height),
            ChannelInput::Chaincodes(chaincodes) => {
                self.own.set_chaincodes(surroundings.now, chaincodes);
                self.publish(surroundings);
            }
            ChannelInput::Pulled { number, block } => self.spread(surroundings, number, block),
            ChannelInput::Refused { number, from } => {
                let text = format!("[{}] Block [{number}] of {from} was refused", self.id);
                surroundings.effects.note(NoteLevel::Warning, LOGGER, text);
                self.transfer.refused(surroundings, &self.members, number, &from);
            }
            ChannelInput::OrderersUnreachable => self.leading.yield_leadership(surroundings, &self.id, &self.members),
        }
        self.note_role();
    }

    /// A peer is alive, or what is known of it changed.
    pub(crate) fn appeared(&mut self, surroundings: &mut Surroundings<'_>, peer: &KnownPeer) {
        let was_alone = self.members.neighbours().is_empty();
        self.members.appeared(surroundings, peer);
        if let Some(message) = self.early.remove(&peer.member.pki_id) {
            self.take_state_info(surroundings, None, &message);
        }
        if was_alone && !self.members.neighbours().is_empty() {
            // Whoever is new need not wait for the next time.
            let now = Some(surroundings.now);
            self.timers.publish = self.timers.publish.and(now);
            self.timers.request = self.timers.request.and(now);
            self.wake(surroundings);
        }
    }

    /// A peer is not alive any more.
    pub(crate) fn vanished(&mut self, surroundings: &mut Surroundings<'_>, peer: &PkiId) {
        self.members.vanished(peer, surroundings.now);
        self.conduct.remove(peer);
        self.leading.vanished(peer);
        self.transfer.vanished(surroundings, &self.members, peer);
    }

    /// Identities or configurations changed: judge the state infos of all peers anew, some in each step. Comes behind each
    /// `TrustChanged`, and whenever an identity was purged.
    pub(crate) fn trust_changed(&mut self, surroundings: &mut Surroundings<'_>) {
        self.members.suspect_all();
        self.members.judge_some(surroundings);
        self.cut_off(surroundings);
    }

    /// The process ends: who was elected leads no more. This peer stays a member, and says nothing.
    pub(crate) fn stop(&mut self, surroundings: &mut Surroundings<'_>) {
        self.leading.stop(surroundings, &self.id, &self.members);
        self.transfer.stop();
        self.timers = Timers::default();
    }

    /// The moment came that `wake_at` named, or another machine's.
    pub(crate) fn wake(&mut self, surroundings: &mut Surroundings<'_>) {
        let now = surroundings.now;
        if self.members.judge_some(surroundings) {
            self.snapshots = [None, None];
            self.transfer.ask_members_only(surroundings, &self.members);
        }
        self.emitter.wake(surroundings, &self.members, &self.options);
        let times = stretch(self.members.neighbours().len());
        let publish_interval = self.options.publish_state_info_interval;
        if is_due(&mut self.timers.publish, now, publish_interval)
            && self.own.is_due(now, publish_interval.saturating_mul(times - 1))
        {
            self.publish(surroundings);
        }
        if is_due(&mut self.timers.request, now, self.options.request_state_info_interval.saturating_mul(times)) {
            self.request_state_infos(surroundings);
        }
        if is_due(&mut self.timers.sweep, now, self.options.state_info_sweep_interval()) {
            self.members.sweep(now, self.options.state_info_lifetime());
        }
        if is_due(&mut self.timers.track, now, self.options.membership_tracker_interval) {
            self.tracker.report(surroundings, &self.id, &self.members);
        }
        self.blocks.expire(now, self.options.block_lifetime());
        self.leading.wake(surroundings, &self.id, &self.members);
        self.transfer.wake(surroundings, &self.members);
        let (companions, count) = (self.members.companions(), self.options.pull_peer_num);
        let choose = |random: &mut fastrand::Rng| companions.choose(random, count, count, |_| true);
        self.pull.wake(surroundings, self.options.pull_interval, choose);
        self.note_role();
    }

    /// When time alone changes something.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        let Timers { publish, request, sweep, track } = self.timers;
        if self.members.has_suspects() {
            return Some(Moment::default());
        }
        let blocks = self.blocks.expires_at(self.options.block_lifetime());
        let pull = Some(self.pull.wake_at());
        let machines = [self.emitter.wake_at(), self.leading.wake_at(), self.transfer.wake_at(), blocks, pull];
        [publish, request, sweep, track].into_iter().chain(machines).flatten().min()
    }

    /// Of how many numbers blocks wait, for those before them or for the committer.
    pub(crate) fn waiting_blocks(&self) -> usize {
        self.transfer.waiting()
    }

    /// The members of the channel that are alive, this peer among them, if that changed since the last call. Where there are
    /// many, it does not count for a while that they say something new of themselves.
    pub(crate) fn members(&mut self, surroundings: &Surroundings<'_>) -> Option<BTreeMap<PkiId, ChannelMember>> {
        let now = Viewed { at: surroundings.now, revision: self.revision(), shape: self.members.shape() };
        if self.viewed.as_ref().is_some_and(|before| before.holds(&now, self.members.present().len())) {
            return None;
        }
        self.viewed = Some(now);
        let mut view = self.members.view(surroundings);
        if let Some(me) = members::channel_member(surroundings.me, self.own.message()) {
            view.insert(surroundings.me.member.pki_id.clone(), me);
        }
        Some(view)
    }

    fn join(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        organizations: &ChannelOrganizations,
        height: u64,
        chaincodes: Vec<AnnouncedChaincode>,
    ) {
        let now = surroundings.now;
        self.own.join(surroundings, height, chaincodes);
        self.transfer = Transfer::new(now, self.id.clone(), &self.options, height);
        self.sequence = 0;
        self.configure(surroundings, organizations);
        let text = format!(
            "Updating metadata information for channel {}, current ledger sequence is at = {}, next expected block is = {height}",
            self.id,
            height.saturating_sub(1)
        );
        surroundings.effects.note(NoteLevel::Info, Logger::State, text);
        self.timers = Timers {
            publish: Some(now),
            request: Some(now),
            sweep: Some(now + self.options.state_info_sweep_interval()),
            track: Some(now + self.options.membership_tracker_interval),
        };
        self.leading = Leading::begin(surroundings, &self.options, &self.id, &self.members);
        self.wake(surroundings);
    }

    fn configure(&mut self, surroundings: &mut Surroundings<'_>, organizations: &ChannelOrganizations) {
        if organizations.anchors.is_empty() {
            let text = "Received join channel message with empty set of members".to_owned();
            return surroundings.effects.note(NoteLevel::Warning, LOGGER, text);
        }
        if organizations.sequence < self.sequence {
            let (known, came) = (self.sequence, organizations.sequence);
            let text = format!("Already have a more updated JoinChannel message({known}) than {came}");
            return surroundings.effects.note(NoteLevel::Warning, LOGGER, text);
        }
        self.sequence = organizations.sequence;
        let names: BTreeSet<_> = organizations.anchors.keys().cloned().collect();
        // Whether readers are to be judged otherwise, `trust_changed` says.
        if names != *self.members.organizations() {
            self.members.configure(surroundings, names);
        }
        self.cut_off(surroundings);
    }

    /// Forgets what was decided about peers: it may be decided otherwise now.
    fn cut_off(&mut self, surroundings: &mut Surroundings<'_>) {
        self.conduct.clear();
        self.snapshots = [None, None];
        self.transfer.ask_members_only(surroundings, &self.members);
    }

    fn take_height(&mut self, surroundings: &mut Surroundings<'_>, height: u64) {
        self.own.set_height(surroundings.now, height);
        let accepted = self.transfer.committed(surroundings, &self.members, height);
        for Accepted { payload, from, origin } in accepted {
            // A block from the orderers may have been committed in the place of what a peer sent.
            if origin == Origin::Asked || payload.number < self.own_blocks_below {
                continue;
            }
            let message = self.block_message(payload.number, payload.block);
            let count = self.options.max_block_count_to_store;
            if self.blocks.add(surroundings.now, payload.number, message.clone(), count) && origin == Origin::Pushed {
                self.emit(surroundings, message, Some(&from), Route::Companions);
            }
        }
    }

    /// Spreads a block that came from the orderers.
    fn spread(&mut self, surroundings: &mut Surroundings<'_>, number: u64, block: Bytes) {
        let message = self.block_message(number, block);
        let count = self.options.max_block_count_to_store;
        if self.blocks.add(surroundings.now, number, message.clone(), count) {
            self.emit(surroundings, message, None, Route::Companions);
        }
    }

    fn block_message(&self, number: u64, block: Bytes) -> SignedMessage {
        SignedMessage::unsigned(Message {
            nonce: 0,
            channel: Some(self.id.clone()),
            tag: Tag::ChannelAndOrganization,
            content: Content::Block(StatePayload { number, block, private_data: Vec::new() }),
        })
    }

    /// Tells others this peer's state info, if there is anybody.
    fn publish(&mut self, surroundings: &mut Surroundings<'_>) {
        self.own.sign(surroundings);
        if surroundings.alive.is_empty() {
            return;
        }
        self.own.set_published(surroundings.now);
        let route = match surroundings.me.member.endpoint.is_empty() {
            true => Route::Colleagues,
            false => Route::Neighbours,
        };
        let message = self.own.message().clone();
        self.emit(surroundings, message, None, route);
    }

    fn request_state_infos(&self, surroundings: &mut Surroundings<'_>) {
        let count = self.options.pull_peer_num;
        let chosen = self.members.neighbours().choose(surroundings.random, count, count, |_| true);
        if chosen.is_empty() {
            return;
        }
        let channel_mac = channel_mac(&surroundings.me.member.pki_id, &self.id);
        let content = Content::StateInfoRequest { channel_mac };
        let message = Message { nonce: 0, channel: None, tag: Tag::ChannelOrOrganization, content };
        let message = SignedMessage::unsigned(message);
        for peer in chosen {
            surroundings.send(&peer, message.clone());
        }
    }

    fn emit(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        message: SignedMessage,
        from: Option<&PkiId>,
        route: Route,
    ) {
        self.emitter.add(surroundings, &self.members, &self.options, (message, from.cloned(), route));
    }

    fn revision(&self) -> u64 {
        self.members.revision() + self.own.revision()
    }

    /// While this peer leads, and for what is on its way when it stops, blocks come from the orderers, too.
    fn note_role(&mut self) {
        if self.leading.leads() {
            self.own_blocks_below = self.transfer.horizon();
        }
    }
}

/// Whether the moment came of a timer that runs.
fn is_due(timer: &mut Option<Moment>, now: Moment, interval: Duration) -> bool {
    timer.as_mut().is_some_and(|timer| due(timer, now, interval))
}

#[cfg(test)]
pub(crate) mod network;
#[cfg(test)]
mod tests;
