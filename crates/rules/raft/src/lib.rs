//! Which block comes next, among several orderers? Raft consensus as a state machine.
//!
//! Where it stands in the journey: the ordering service proposes bytes (a block without metadata) on the leader and gets
//! them back, in the same order on every consenter, as [`Effect::Apply`]. The engine is the `raft` crate; this crate gives
//! it one shape: [`RaftNode::handle`] an [`Input`], then drain [`RaftNode::poll_effect`]. Time is [`Input::Tick`].
//!
//! The contract of effects: they are carried out in the order in which they come, and asking for the next one says that
//! the one before is done. In particular, what [`Effect::Persist`] holds survives a crash before the next effect is asked for.
//!
//! Invariants:
//! - Messages to other consenters and log entries are those of etcd's raft, so a group may mix both implementations. A new
//!   group begins with one membership entry for each founding member at term 1, as etcd's does ([`DurableState::found`]).
//! - A consenter that is alone is elected without waiting for a timeout.
//! - Only the leader proposes: a proposal on any other consenter is refused, never forwarded.
//! - Numbers of consenters come from [`Consenters`] and are never used again.
//!
//! - What other consenters send is checked before the engine sees it ([`BadMessage`]): no bytes make it panic.
//! - Whoever has to obtain the state of a leader's snapshot first takes part in elections meanwhile, but proposes nothing,
//!   applies nothing, and does not help to agree on new proposals.
//! - The same inputs and seed give the same effects.
//!
//! Absent: files, sockets, clocks, and the meaning of the proposed bytes.

mod inspect;
mod membership;
mod node;
mod state;
mod store;

pub use inspect::BadMessage;
pub use membership::{ChangeRefused, ConsenterChange, Consenters, ConsentersError};
pub use node::{Effect, Input, Note, NoteLevel, RaftNode, RaftOptions, Refused, Role};
pub use state::{
    Committed, CorruptState, DurableState, Entry, EntryKind, HardState, MembershipChange, Message, NodeId, Persist,
    Snapshot,
};
