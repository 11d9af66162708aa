use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb;

/// The number of a consenter in its raft group; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(std::num::NonZeroU64);

impl NodeId {
    /// Takes a number; `None` for 0, with which raft means "nobody".
    pub const fn new(number: u64) -> Option<Self> {
        match std::num::NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a log entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Proposed bytes; empty in the entry with which a leader begins its term.
    Normal,
    /// An encoded change of the group's members.
    Membership,
}

/// An entry of the raft log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log, from 1.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// What it carries.
    pub kind: EntryKind,
    /// The content.
    pub data: Bytes,
}

impl Entry {
    pub(crate) fn from_engine(entry: &eraftpb::Entry) -> Self {
        let kind = match entry.get_entry_type() {
            eraftpb::EntryType::EntryNormal => EntryKind::Normal,
            // Version 2 changes are never proposed by an orderer; they would fail to decode when applied.
            eraftpb::EntryType::EntryConfChange | eraftpb::EntryType::EntryConfChangeV2 => EntryKind::Membership,
        };
        Self { index: entry.index, term: entry.term, kind, data: entry.data.clone() }
    }

    pub(crate) fn to_engine(&self) -> eraftpb::Entry {
        let mut entry =
            eraftpb::Entry { index: self.index, term: self.term, data: self.data.clone(), ..eraftpb::Entry::default() };
        entry.set_entry_type(match self.kind {
            EntryKind::Normal => eraftpb::EntryType::EntryNormal,
            EntryKind::Membership => eraftpb::EntryType::EntryConfChange,
        });
        entry
    }
}

/// Term, vote and commit index of a consenter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The latest term seen.
    pub term: u64,
    /// Whom this consenter voted for in that term; 0 for nobody.
    pub vote: u64,
    /// The highest index known to be committed.
    pub commit: u64,
}

impl From<&eraftpb::HardState> for HardState {
    fn from(state: &eraftpb::HardState) -> Self {
        Self { term: state.term, vote: state.vote, commit: state.commit }
    }
}

impl HardState {
    pub(crate) fn to_engine(self) -> eraftpb::HardState {
        eraftpb::HardState { term: self.term, vote: self.vote, commit: self.commit, ..eraftpb::HardState::default() }
    }
}

/// The state that replaces the log up to an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry it replaces.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The members at that index.
    pub members: Vec<NodeId>,
    /// The proposed bytes last applied: the block at which a consenter that receives the snapshot must arrive.
    pub data: Bytes,
}

impl Snapshot {
    pub(crate) fn from_engine(snapshot: &eraftpb::Snapshot) -> Self {
        let metadata = snapshot.get_metadata();
        Self {
            index: metadata.index,
            term: metadata.term,
            members: members(metadata.get_conf_state()),
            data: snapshot.data.clone(),
        }
    }

    pub(crate) fn to_engine(&self) -> eraftpb::Snapshot {
        let mut snapshot = eraftpb::Snapshot { data: self.data.clone(), ..eraftpb::Snapshot::default() };
        snapshot.mut_metadata().index = self.index;
        snapshot.mut_metadata().term = self.term;
        snapshot.mut_metadata().set_conf_state(conf_state(&self.members));
        snapshot
    }
}

pub(crate) fn members(state: &eraftpb::ConfState) -> Vec<NodeId> {
    state.voters.iter().filter_map(|id| NodeId::new(*id)).collect()
}

pub(crate) fn conf_state(members: &[NodeId]) -> eraftpb::ConfState {
    eraftpb::ConfState { voters: members.iter().map(|id| id.get()).collect(), ..eraftpb::ConfState::default() }
}

/// One consenter joins or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipChange {
    /// A consenter joins.
    Add(NodeId),
    /// A consenter leaves.
    Remove(NodeId),
}

impl MembershipChange {
    /// The consenter that joins or leaves.
    pub const fn node(self) -> NodeId {
        match self {
            Self::Add(node) | Self::Remove(node) => node,
        }
    }

    pub(crate) fn to_engine(self) -> eraftpb::ConfChange {
        let mut change = eraftpb::ConfChange { node_id: self.node().get(), ..eraftpb::ConfChange::default() };
        change.set_change_type(match self {
            Self::Add(_) => eraftpb::ConfChangeType::AddNode,
            Self::Remove(_) => eraftpb::ConfChangeType::RemoveNode,
        });
        change
    }

    pub(crate) fn encode(self) -> Bytes {
        self.to_engine().write_to_bytes().expect("writing to memory does not fail").into()
    }

    /// Reads the content of a membership entry; `None` if it is none that an orderer proposes.
    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let mut change = eraftpb::ConfChange::default();
        change.merge_from_bytes(data).ok()?;
        let node = NodeId::new(change.node_id)?;
        match change.get_change_type() {
            eraftpb::ConfChangeType::AddNode => Some(Self::Add(node)),
            eraftpb::ConfChangeType::RemoveNode => Some(Self::Remove(node)),
            eraftpb::ConfChangeType::AddLearnerNode => None,
        }
    }
}

/// A message to another consenter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whom it is for.
    pub to: NodeId,
    /// A `raftpb.Message` of etcd.
    pub bytes: Bytes,
    /// Whether it carries a snapshot; its sender wants to know whether it arrived, see [`crate::Input::SnapshotSent`].
    pub is_snapshot: bool,
}

/// What must survive a crash before anything else happens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Persist {
    /// A snapshot from the leader; replaces everything stored so far.
    pub snapshot: Option<Snapshot>,
    /// Entries to append; those stored with the same or a higher index are replaced.
    pub entries: Vec<Entry>,
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// Whether it must be on disk. A mere advance of the commit index may be lost without harm.
    pub durable: bool,
}

/// A committed entry, ready to take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Proposed bytes.
    Proposal {
        /// The entry's index.
        index: u64,
        /// What was proposed.
        data: Bytes,
    },
    /// A change of members, already in force here.
    Membership {
        /// The entry's index.
        index: u64,
        /// The change.
        change: MembershipChange,
        /// The members from now on.
        members: Vec<NodeId>,
    },
}

impl Committed {
    /// The entry's index.
    pub const fn index(&self) -> u64 {
        match self {
            Self::Proposal { index, .. } | Self::Membership { index, .. } => *index,
        }
    }
}

/// Everything a consenter remembers over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DurableState {
    /// Term, vote, commit index.
    pub hard_state: HardState,
    /// The latest snapshot.
    pub snapshot: Option<Snapshot>,
    /// The log, without gaps; entries that the snapshot replaces are ignored.
    pub entries: Vec<Entry>,
}

/// Stored state that no raft log can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored raft log has entry {found} where entry {expected} must be")]
pub struct CorruptState {
    /// The index that should follow.
    pub expected: u64,
    /// The index found.
    pub found: u64,
}

impl DurableState {
    /// The state of a member of a new group: one membership entry for each member, committed at term 1, as etcd's
    /// `Bootstrap` writes them.
    pub fn found(members: &[NodeId]) -> Self {
        let entries: Vec<_> = (1..)
            .zip(members)
            .map(|(index, member)| Entry {
                index,
                term: 1,
                kind: EntryKind::Membership,
                data: MembershipChange::Add(*member).encode(),
            })
            .collect();
        let commit = entries.len() as u64;
        Self { hard_state: HardState { term: 1, vote: 0, commit }, snapshot: None, entries }
    }

    /// Whether nothing was ever stored.
    pub fn is_empty(&self) -> bool {
        self.hard_state == HardState::default() && self.snapshot.is_none() && self.entries.is_empty()
    }

    /// The index that the log begins after.
    pub(crate) fn base(&self) -> (u64, u64) {
        self.snapshot.as_ref().map_or((0, 0), |snapshot| (snapshot.index, snapshot.term))
    }

    /// Drops entries that the snapshot replaces and checks that the others follow each other.
    pub(crate) fn normalized(mut self) -> Result<Self, CorruptState> {
        let (base, _) = self.base();
        self.entries.retain(|entry| entry.index > base);
        let mut expected = base + 1;
        for entry in &self.entries {
            if entry.index != expected {
                return Err(CorruptState { expected, found: entry.index });
            }
            expected += 1;
        }
        self.hard_state.commit = self.hard_state.commit.clamp(base, expected - 1);
        Ok(self)
    }
}
