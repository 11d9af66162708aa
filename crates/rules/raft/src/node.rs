mod catch_up;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use protobuf::Message as _;
use raft::{Config, LightReady, RawNode, Ready, SoftState, StateRole, Storage, eraftpb};

use crate::inspect::Recipient;
use crate::state::members;
use crate::store::LogStore;
use crate::{
    BadMessage, Committed, CorruptState, DurableState, Entry, EntryKind, HardState, MembershipChange, Message, NodeId,
    Persist, Snapshot,
};
use catch_up::CatchUp;

/// Entries kept in memory before a snapshot, so that a consenter a little behind needs no snapshot
/// (Fabric: `DefaultSnapshotCatchUpEntries`).
const CATCH_UP_ENTRIES: u64 = 4;

/// How the group runs: the part of the channel's `etcdraft.Options` that raft itself needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftOptions {
    /// Ticks without a leader after which an election begins; above `heartbeat_tick`.
    pub election_tick: usize,
    /// Ticks between two heartbeats; not 0.
    pub heartbeat_tick: usize,
    /// Append messages to one follower under way at once; not 0.
    pub max_inflight_messages: usize,
    /// The most entry bytes in one append message (Fabric: the preferred size of a block).
    pub max_message_bytes: u64,
    /// Any number: from it and the term comes how long this consenter waits for a leader, so that not all wait equally
    /// long.
    pub seed: u64,
}

/// What happens to a consenter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// One tick interval of the channel has passed.
    Tick,
    /// A message of another consenter.
    Message {
        /// Who sent it, by its certificate.
        from: NodeId,
        /// A `raftpb.Message`.
        bytes: Bytes,
    },
    /// Ask for votes now, without waiting for a timeout; see [`crate::Consenters::first_campaigner`].
    Campaign,
    /// Bytes to agree on. Leader only.
    Propose(Bytes),
    /// A consenter is to join or leave. Leader only, one at a time.
    ProposeMembership(MembershipChange),
    /// Hand leadership to another consenter.
    TransferLeadership(NodeId),
    /// A message to this consenter could not be sent.
    Unreachable(NodeId),
    /// A snapshot was sent to this consenter; whether it arrived decides when it is asked again.
    SnapshotSent {
        /// Whom it was for.
        to: NodeId,
        /// What came of it.
        outcome: Result<(), ()>,
    },
    /// Everything committed is applied: replace the log so far by a snapshot with this content.
    Compact {
        /// The bytes last applied.
        data: Bytes,
    },
    /// The state that [`Effect::CatchUp`] asked for is there.
    CaughtUp,
}

/// What must be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a message; it may be lost.
    Send(Message),
    /// Store this, durably where it says so.
    Persist(Persist),
    /// A snapshot from the leader is stored and replaces the log: obtain the state at which it was taken, and say
    /// [`Input::CaughtUp`]. Until then nothing is applied; everything else goes on, elections too. A later one replaces an
    /// earlier one.
    CatchUp(Snapshot),
    /// Who leads, and this consenter's role, have changed.
    Leader {
        /// The leader before.
        before: Option<NodeId>,
        /// The leader now.
        now: Option<NodeId>,
        /// The role now.
        role: Role,
    },
    /// These entries are committed: let them take effect.
    Apply(Vec<Committed>),
    /// Store this snapshot; entries up to its index may be forgotten afterwards.
    Compact(Snapshot),
    /// The engine has something to tell an operator.
    Note(Note),
}

/// A remark of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How grave it is.
    pub level: NoteLevel,
    /// What it says.
    pub text: String,
}

/// How grave a remark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteLevel {
    /// As expected.
    Info,
    /// An operator should look.
    Warning,
}

/// The part a consenter plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes, or whether asking would help.
    Candidate,
    /// Leads.
    Leader,
}

impl From<StateRole> for Role {
    fn from(role: StateRole) -> Self {
        match role {
            StateRole::Follower => Self::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Self::Candidate,
            StateRole::Leader => Self::Leader,
        }
    }
}

/// Why an input was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Only the leader proposes.
    #[error("this node is not the Raft leader")]
    NotLeader,
    /// The leader takes no proposal now, because it hands over leadership.
    #[error("the Raft leader takes no proposals while it hands over leadership")]
    Dropped,
    /// A message of another consenter is not what it should be. Nothing has changed.
    #[error(transparent)]
    Message(#[from] BadMessage),
    /// Nothing can be proposed or compacted before the state of the leader's snapshot is there.
    #[error("the state of the Raft leader's snapshot is not here yet")]
    CatchingUp,
    /// Effects of the input before are not drained.
    #[error("effects of the previous input are still to be carried out")]
    EffectsPending,
    /// The stored state or the options cannot be.
    #[error(transparent)]
    Corrupt(#[from] CorruptState),
    /// The engine's own refusal.
    #[error("raft: {0}")]
    Engine(raft::Error),
}

/// One consenter's raft.
pub struct RaftNode {
    id: NodeId,
    raw: RawNode<LogStore>,
    effects: VecDeque<Effect>,
    /// The batch of work whose effects are being carried out.
    under_way: Option<Ready>,
    leader: Option<NodeId>,
    role: Role,
    members: Vec<NodeId>,
    /// Set while the state of a leader's snapshot is missing.
    catching_up: Option<CatchUp>,
    seed: u64,
    is_content: fn(&Bytes) -> bool,
    notes: Notes,
}

impl RaftNode {
    /// A consenter that continues from what it stored. For a new group that is [`DurableState::found`], stored before;
    /// a consenter that joins an existing group begins with nothing.
    pub fn new(id: NodeId, options: RaftOptions, state: DurableState) -> Result<Self, Refused> {
        let store = LogStore::new(state)?;
        let initial = store.initial_state().map_err(Refused::Engine)?;
        let config = Config {
            id: id.get(),
            election_tick: options.election_tick,
            heartbeat_tick: options.heartbeat_tick,
            applied: store.first_index().map_err(Refused::Engine)?.saturating_sub(1),
            max_size_per_msg: options.max_message_bytes,
            max_inflight_msgs: options.max_inflight_messages,
            check_quorum: true,
            pre_vote: true,
            max_committed_size_per_ready: options.max_message_bytes,
            ..Config::default()
        };
        let notes = Notes::default();
        let logger = slog::Logger::root(notes.clone(), slog::o!());
        let mut node = Self {
            id,
            raw: RawNode::new(&config, store, &logger).map_err(Refused::Engine)?,
            effects: VecDeque::new(),
            under_way: None,
            leader: None,
            role: Role::Follower,
            members: members(&initial.conf_state),
            catching_up: None,
            seed: options.seed,
            is_content: |_| true,
            notes,
        };
        node.set_patience();
        Ok(node)
    }

    /// Refuses leaders' snapshots whose content is none; without, all are taken.
    pub const fn refusing_snapshots_unless(mut self, is_content: fn(&Bytes) -> bool) -> Self {
        self.is_content = is_content;
        self
    }

    /// Begins with the state of the stored snapshot still to be obtained, as after [`Effect::CatchUp`].
    pub fn behind_its_snapshot(mut self) -> Self {
        let stored = self.raw.store().all_entries();
        self.catching_up = Some(CatchUp::new(stored.iter().map(|entry| entry.data.len()).sum()));
        self
    }

    /// This consenter's number.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Who leads, as far as known.
    pub const fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Whether this consenter leads.
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// The members in force here.
    pub fn members(&self) -> &[NodeId] {
        &self.members
    }

    /// The last index of the log, committed or not.
    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// Whether the state of a leader's snapshot is missing.
    pub const fn is_catching_up(&self) -> bool {
        self.catching_up.is_some()
    }

    /// Whether all of the log has taken effect, so that a leader knows what to propose next.
    pub fn has_applied_all(&self) -> bool {
        !self.is_catching_up() && self.applied_index() == self.last_index()
    }

    /// The last index whose entry took effect, or will when the state before it is there.
    pub fn applied_index(&self) -> u64 {
        self.raw.raft.raft_log.applied
    }

    /// Term, vote and commit index.
    pub fn hard_state(&self) -> HardState {
        HardState::from(&self.raw.raft.hard_state())
    }

    /// The entries of the log after an index.
    pub fn entries_after(&self, index: u64) -> Vec<Entry> {
        self.raw.store().entries_after(index).iter().map(Entry::from_engine).collect()
    }

    /// Members the leader heard of within the last election timeout, itself included; empty on other consenters.
    pub fn active_members(&self) -> Vec<NodeId> {
        if !self.is_leader() {
            return Vec::new();
        }
        let progress = self.raw.raft.prs();
        let active = |id: &NodeId| *id == self.id || progress.get(id.get()).is_some_and(|p| p.recent_active);
        self.members.iter().copied().filter(active).collect()
    }

    /// Takes one input. All effects of the one before must have been drained.
    pub fn handle(&mut self, input: Input) -> Result<(), Refused> {
        if self.under_way.is_some() || !self.effects.is_empty() {
            return Err(Refused::EffectsPending);
        }
        let taken = self.take(input);
        self.set_patience();
        taken
    }

    fn take(&mut self, input: Input) -> Result<(), Refused> {
        match input {
            Input::Tick => {
                self.raw.tick();
                Ok(())
            }
            Input::Message { from, bytes } => self.step(from, &bytes),
            Input::Campaign => self.raw.campaign().map_err(Refused::Engine),
            Input::Propose(data) => self.propose(|raw| raw.propose(Vec::new(), data.into())),
            Input::ProposeMembership(change) => {
                self.propose(|raw| raw.propose_conf_change(Vec::new(), change.to_engine()))
            }
            Input::TransferLeadership(to) => {
                self.raw.transfer_leader(to.get());
                Ok(())
            }
            Input::Unreachable(node) => {
                self.raw.report_unreachable(node.get());
                Ok(())
            }
            Input::SnapshotSent { to, outcome } => {
                let status = match outcome {
                    Ok(()) => raft::SnapshotStatus::Finish,
                    Err(()) => raft::SnapshotStatus::Failure,
                };
                self.raw.report_snapshot(to.get(), status);
                Ok(())
            }
            Input::Compact { .. } if self.is_catching_up() => Err(Refused::CatchingUp),
            Input::Compact { data } => self.compact(data),
            Input::CaughtUp => {
                let deferred = self.catching_up.take().map(CatchUp::into_deferred).unwrap_or_default();
                self.apply(deferred);
                Ok(())
            }
        }
    }

    /// The next effect to carry out; `None` when the input is dealt with. Asking says that the effect before is done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            if let Some(ready) = self.under_way.take() {
                let light = self.raw.advance(ready);
                self.take_light(light);
                self.raw.advance_apply();
            } else if self.raw.has_ready() {
                self.take_ready();
            } else if !self.elect_alone() {
                return None;
            }
        }
    }

    fn step(&mut self, from: NodeId, bytes: &Bytes) -> Result<(), Refused> {
        let (term, last_index, is_content) = (self.raw.raft.term, self.last_index(), self.is_content);
        let recipient = Recipient { id: self.id, term, last_index, is_content };
        let mut message = recipient.read(from, bytes)?;
        if let Some(catch_up) = &mut self.catching_up {
            catch_up.admit(&mut message, last_index);
        }
        match self.raw.step(message) {
            Ok(()) | Err(raft::Error::StepPeerNotFound) => Ok(()),
            Err(error) => Err(Refused::Engine(error)),
        }
    }

    /// Replaces the engine's random election timeout, between one and two times the configured ticks, by one that follows
    /// from seed, number and term, so that whatever happens can be replayed.
    fn set_patience(&mut self) {
        let shortest = self.raw.raft.election_timeout();
        let draw = mix(self.seed ^ mix(self.id.get()) ^ self.raw.raft.term.rotate_left(32));
        let extra = usize::try_from(draw % shortest as u64).unwrap_or_default();
        self.raw.raft.set_randomized_election_timeout(shortest + extra);
    }

    fn propose(&mut self, with: impl FnOnce(&mut RawNode<LogStore>) -> raft::Result<()>) -> Result<(), Refused> {
        if !self.is_leader() {
            return Err(Refused::NotLeader);
        }
        if self.is_catching_up() {
            return Err(Refused::CatchingUp);
        }
        with(&mut self.raw).map_err(|error| match error {
            raft::Error::ProposalDropped => Refused::Dropped,
            other => Refused::Engine(other),
        })
    }

    fn compact(&mut self, data: Bytes) -> Result<(), Refused> {
        let index = self.applied_index();
        let term = self.raw.store().term(index).map_err(Refused::Engine)?;
        let snapshot = Snapshot { index, term, members: self.members.clone(), data };
        self.raw.mut_store().compact(snapshot.clone(), CATCH_UP_ENTRIES);
        self.effects.push_back(Effect::Compact(snapshot));
        Ok(())
    }

    /// A lone member has nobody to wait for.
    fn elect_alone(&mut self) -> bool {
        let alone = self.members == [self.id] && self.role == Role::Follower && self.leader.is_none();
        let log = &self.raw.raft.raft_log;
        if !alone || log.applied < log.committed {
            return false;
        }
        self.raw.campaign().is_ok() && self.raw.has_ready()
    }

    fn take_ready(&mut self) {
        let mut ready = self.raw.ready();
        self.send(ready.take_messages());
        let received = (!ready.snapshot().is_empty()).then(|| Snapshot::from_engine(ready.snapshot()));
        if let Some(snapshot) = &received {
            self.members = snapshot.members.clone();
            self.raw.mut_store().install(snapshot.clone());
            self.catching_up = Some(CatchUp::default());
        }
        self.raw.mut_store().append(ready.entries());
        let persist = Persist {
            snapshot: received.clone(),
            entries: ready.entries().iter().map(Entry::from_engine).collect(),
            hard_state: ready.hs().map(HardState::from),
            durable: ready.must_sync(),
        };
        if persist != Persist::default() {
            self.effects.push_back(Effect::Persist(persist));
        }
        self.send(ready.take_persisted_messages());
        self.effects.extend(received.map(Effect::CatchUp));
        self.note_leader(ready.ss());
        let committed = ready.take_committed_entries();
        self.commit_all(&committed);
        self.under_way = Some(ready);
        self.take_notes();
    }

    fn take_light(&mut self, mut light: LightReady) {
        if light.commit_index().is_some() {
            let hard_state = Some(HardState::from(&self.raw.raft.hard_state()));
            self.effects.push_back(Effect::Persist(Persist { hard_state, ..Persist::default() }));
        }
        self.send(light.take_messages());
        let committed = light.take_committed_entries();
        self.commit_all(&committed);
        self.take_notes();
    }

    fn send(&mut self, messages: Vec<eraftpb::Message>) {
        for mut message in messages {
            let Some(to) = NodeId::new(message.to) else { continue };
            let is_snapshot = message.get_msg_type() == eraftpb::MessageType::MsgSnapshot;
            if is_snapshot {
                // The receiver ignores a snapshot whose members it is not among, but it may have joined after the
                // snapshot was taken (Fabric replaces the members too).
                let current = crate::state::conf_state(&self.members);
                message.mut_snapshot().mut_metadata().set_conf_state(current);
            }
            // etcd's raft does not have it.
            message.commit_term = 0;
            let bytes = message.write_to_bytes().expect("writing to memory does not fail").into();
            self.effects.push_back(Effect::Send(Message { to, bytes, is_snapshot }));
        }
    }

    fn note_leader(&mut self, soft_state: Option<&SoftState>) {
        let Some(state) = soft_state else { return };
        let before = self.leader;
        self.leader = NodeId::new(state.leader_id);
        self.role = state.raft_state.into();
        self.effects.push_back(Effect::Leader { before, now: self.leader, role: self.role });
    }

    /// A change of members is in force as soon as it is committed, whatever state is missing.
    fn commit_all(&mut self, entries: &[eraftpb::Entry]) {
        let committed: Vec<_> = entries.iter().filter_map(|entry| self.commit(Entry::from_engine(entry))).collect();
        match &mut self.catching_up {
            Some(catch_up) => catch_up.defer(committed),
            None => self.apply(committed),
        }
    }

    fn apply(&mut self, committed: Vec<Committed>) {
        if !committed.is_empty() {
            self.effects.push_back(Effect::Apply(committed));
        }
    }

    fn commit(&mut self, entry: Entry) -> Option<Committed> {
        match entry.kind {
            // The empty entry with which a leader begins its term.
            EntryKind::Normal if entry.data.is_empty() => None,
            EntryKind::Normal => Some(Committed::Proposal { index: entry.index, data: entry.data }),
            EntryKind::Membership => {
                let change = MembershipChange::decode(&entry.data)?;
                match self.raw.apply_conf_change(&change.to_engine()) {
                    Ok(state) => self.members = members(&state),
                    Err(error) => self.effects.push_back(Effect::Note(Note {
                        level: NoteLevel::Warning,
                        text: format!("membership change {change:?} has no effect: {error}"),
                    })),
                }
                Some(Committed::Membership { index: entry.index, change, members: self.members.clone() })
            }
        }
    }

    fn take_notes(&mut self) {
        self.effects.extend(self.notes.take().into_iter().map(Effect::Note));
    }
}

/// Scatters a number over all others (the last step of splitmix64).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The most remarks held between two drains; later ones are dropped.
const MAX_NOTES: usize = 64;

/// Collects what the engine would write to a log. A lock because the engine's logger wants to be shared between threads;
/// there is only ever one.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Note>>>);

impl Notes {
    fn take(&self) -> Vec<Note> {
        self.0.lock().map(|mut notes| std::mem::take(&mut *notes)).unwrap_or_default()
    }
}

impl slog::Drain for Notes {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _values: &slog::OwnedKVList) -> Result<(), slog::Never> {
        let level = match record.level() {
            slog::Level::Critical | slog::Level::Error | slog::Level::Warning => NoteLevel::Warning,
            slog::Level::Info => NoteLevel::Info,
            slog::Level::Debug | slog::Level::Trace => return Ok(()),
        };
        if let Ok(mut notes) = self.0.lock()
            && notes.len() < MAX_NOTES
        {
            notes.push(Note { level, text: record.msg().to_string() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
