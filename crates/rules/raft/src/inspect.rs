//! Which messages of other consenters reach the engine. It believes its messages: one that no consenter sends may make it
//! panic or lose its place, so everything it relies on is checked here first.

use std::collections::BTreeSet;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType};

use crate::NodeId;

/// Terms and indexes above are never reached in earnest, and adding to them must not overflow.
const MAX_NUMBER: u64 = 1 << 62;
/// How far a term or index may be above this consenter's own. A term is stored as soon as it is heard of, and one near the
/// highest would leave no room for the elections that are to come.
const MAX_AHEAD: u64 = 1 << 32;

/// The highest term or index to be believed beside one's own.
fn highest(own: u64) -> u64 {
    own.saturating_add(MAX_AHEAD).min(MAX_NUMBER)
}

/// Why a message of another consenter is not taken. The group goes on without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// The bytes are no raft message, or one that no consenter sends.
    #[error("malformed Raft message: {0}")]
    Malformed(String),
    /// The message is for another number: this consenter's own, or the sender's view of it, is out of date.
    #[error("Raft message is for node {0}, which this node is not")]
    Misaddressed(u64),
    /// The sender claims to be somebody else.
    #[error("Raft message of node {sender} claims to be from node {claimed}")]
    Forged {
        /// Who sent it, by its certificate.
        sender: NodeId,
        /// Who it says it is from.
        claimed: u64,
    },
    /// The leader counts on entries that this consenter does not have.
    #[error(
        "the Raft leader counts on this node's log up to index {expected}, but the log ends at index {last}: it was lost or replaced. Restore the WAL directory, or give this node a new certificate and add it to the channel anew"
    )]
    LogLost {
        /// The index that the leader counts on.
        expected: u64,
        /// The last index here.
        last: u64,
    },
}

/// What a message is compared with.
pub(crate) struct Recipient {
    pub(crate) id: NodeId,
    pub(crate) term: u64,
    /// Whether a snapshot's content can be what is agreed on.
    pub(crate) is_content: fn(&Bytes) -> bool,
    /// The last index of its log.
    pub(crate) last_index: u64,
}

impl Recipient {
    /// Reads a message that `sender` sent, and checks it. Fields that etcd's raft does not have are cleared.
    pub(crate) fn read(&self, sender: NodeId, bytes: &Bytes) -> Result<Message, BadMessage> {
        let mut message = Message::default();
        message.merge_from_bytes(bytes).map_err(|error| BadMessage::Malformed(error.to_string()))?;
        if message.to != self.id.get() {
            return Err(BadMessage::Misaddressed(message.to));
        }
        if message.from != sender.get() || sender == self.id {
            return Err(BadMessage::Forged { sender, claimed: message.from });
        }
        message.request_snapshot = 0;
        message.priority = 0;
        message.deprecated_priority = 0;
        // With it a vote would tell what is committed.
        message.commit_term = 0;
        self.check(&message)?;
        Ok(message)
    }

    fn check(&self, message: &Message) -> Result<(), BadMessage> {
        let malformed = |what: &str| Err(BadMessage::Malformed(what.to_owned()));
        // A message without a term would be taken for one of this consenter's own.
        if message.term == 0 {
            return malformed("it has no term");
        }
        let (terms, indexes) = ([message.term, message.log_term], [message.index, message.commit, message.reject_hint]);
        let is_beyond = |numbers: &[u64], own| numbers.iter().any(|number| *number > highest(own));
        if is_beyond(&terms, self.term) || is_beyond(&indexes, self.last_index) {
            return malformed("its term or index is out of range");
        }
        match message.get_msg_type() {
            MessageType::MsgAppend => check_entries(message),
            MessageType::MsgSnapshot => self.check_snapshot(message),
            MessageType::MsgHeartbeat if message.commit > self.last_index => {
                Err(BadMessage::LogLost { expected: message.commit, last: self.last_index })
            }
            MessageType::MsgAppendResponse if !message.reject && message.index > self.last_index => {
                malformed("it accepts an entry that was never sent")
            }
            MessageType::MsgHeartbeat
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgAppendResponse
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse
            | MessageType::MsgTimeoutNow => Ok(()),
            // Proposals are not forwarded, reads are not asked for, and the others never travel.
            other => malformed(&format!("orderers send no {other:?}")),
        }
    }

    fn check_snapshot(&self, message: &Message) -> Result<(), BadMessage> {
        let metadata = message.get_snapshot().get_metadata();
        let is_possible = (1..=highest(self.last_index)).contains(&metadata.index);
        if !is_possible || metadata.term == 0 || metadata.term > message.term {
            return Err(BadMessage::Malformed("its snapshot is of no index or term".to_owned()));
        }
        if !(self.is_content)(&message.get_snapshot().data) {
            return Err(BadMessage::Malformed("its snapshot holds nothing that orderers agree on".to_owned()));
        }
        check_members(metadata.get_conf_state()).map_err(|what| BadMessage::Malformed(what.to_owned()))
    }
}

/// Entries follow the one before without a gap, and their terms do not fall.
fn check_entries(message: &Message) -> Result<(), BadMessage> {
    let malformed = |what: &str| Err(BadMessage::Malformed(what.to_owned()));
    if (message.index == 0) != (message.log_term == 0) || message.log_term > message.term {
        return malformed("the entry before its entries has an index without a term, or a term without an index");
    }
    let mut before = (message.index, message.log_term);
    for entry in message.get_entries() {
        if entry.index != before.0 + 1 || entry.term < before.1 || entry.term == 0 || entry.term > message.term {
            return malformed("its entries do not follow each other");
        }
        if !is_known(entry) {
            return malformed("it holds an entry of a kind that orderers do not propose");
        }
        before = (entry.index, entry.term);
    }
    Ok(())
}

fn is_known(entry: &Entry) -> bool {
    match entry.get_entry_type() {
        EntryType::EntryNormal => true,
        EntryType::EntryConfChange => crate::MembershipChange::decode(&entry.data).is_some(),
        EntryType::EntryConfChangeV2 => false,
    }
}

/// Members are voters, each once; orderers have no others, and change by one at a time.
fn check_members(state: &ConfState) -> Result<(), &'static str> {
    let voters: BTreeSet<u64> = state.voters.iter().copied().collect();
    if voters.is_empty() || voters.contains(&0) || voters.len() != state.voters.len() {
        return Err("its snapshot does not name each member once");
    }
    let others = [&state.learners, &state.learners_next, &state.voters_outgoing];
    if state.auto_leave || others.into_iter().any(|ids| !ids.is_empty()) {
        return Err("its snapshot names members that orderers do not have");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn message(kind: MessageType) -> Message {
        let mut message = Message { to: 1, from: 2, term: 3, ..Message::default() };
        message.set_msg_type(kind);
        message
    }

    fn recipient() -> Recipient {
        Recipient { id: id(1), term: 3, last_index: 5, is_content: |data| data.as_ref() != b"nonsense" }
    }

    fn read(message: &Message) -> Result<Message, BadMessage> {
        recipient().read(id(2), &message.write_to_bytes().unwrap().into())
    }

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    fn append(index: u64, log_term: u64, entries: Vec<Entry>) -> Message {
        Message { index, log_term, entries: entries.into(), ..message(MessageType::MsgAppend) }
    }

    #[test]
    fn messages_are_for_this_node_and_from_their_sender() {
        assert_eq!(read(&message(MessageType::MsgHeartbeat)), Ok(message(MessageType::MsgHeartbeat)));
        let misaddressed = Message { to: 4, ..message(MessageType::MsgHeartbeat) };
        assert_eq!(read(&misaddressed), Err(BadMessage::Misaddressed(4)));
        let forged = Message { from: 3, ..message(MessageType::MsgHeartbeat) };
        assert_eq!(read(&forged), Err(BadMessage::Forged { sender: id(2), claimed: 3 }));
        let own = message(MessageType::MsgHeartbeat).write_to_bytes().unwrap().into();
        assert!(matches!(recipient().read(id(1), &own), Err(BadMessage::Forged { .. })));
    }

    #[test]
    fn only_kinds_that_orderers_send_are_taken() {
        for kind in [
            MessageType::MsgHup,
            MessageType::MsgBeat,
            MessageType::MsgPropose,
            MessageType::MsgUnreachable,
            MessageType::MsgSnapStatus,
            MessageType::MsgCheckQuorum,
            MessageType::MsgTransferLeader,
            MessageType::MsgReadIndex,
            MessageType::MsgReadIndexResp,
        ] {
            assert!(matches!(read(&message(kind)), Err(BadMessage::Malformed(_))), "{kind:?}");
        }
    }

    #[test]
    fn what_would_upset_the_engine_is_refused() {
        let heartbeat = message(MessageType::MsgHeartbeat);
        let mut change = entry(6, 3);
        change.set_entry_type(EntryType::EntryConfChangeV2);
        let mut nonsense = entry(6, 3);
        nonsense.set_entry_type(EntryType::EntryConfChange);
        nonsense.data = Bytes::from_static(&[0xff; 3]);
        let mut snapshot = message(MessageType::MsgSnapshot);
        snapshot.mut_snapshot().mut_metadata().index = 9;
        snapshot.mut_snapshot().mut_metadata().term = 2;
        snapshot.mut_snapshot().mut_metadata().mut_conf_state().voters = vec![1, 2, 2];
        let cases = [
            Message { term: 0, ..heartbeat.clone() },
            Message { term: u64::MAX, ..heartbeat.clone() },
            Message { term: 1 << 62, ..message(MessageType::MsgRequestVote) },
            Message { term: 3 + MAX_AHEAD + 1, ..message(MessageType::MsgRequestVote) },
            Message { commit: 5 + MAX_AHEAD + 1, ..message(MessageType::MsgAppend) },
            Message { index: u64::MAX, ..message(MessageType::MsgAppendResponse) },
            Message { index: 6, ..message(MessageType::MsgAppendResponse) },
            append(1 << 40, 0, vec![entry((1 << 40) + 1, 3)]),
            append(5, 3, vec![entry(7, 3)]),
            append(5, 3, vec![entry(6, 2)]),
            append(5, 3, vec![entry(6, 4)]),
            append(5, 3, vec![change]),
            append(5, 3, vec![nonsense]),
            snapshot.clone(),
        ];
        for case in cases {
            assert!(matches!(read(&case), Err(BadMessage::Malformed(_))), "{case:?}");
        }
        let lost = Message { commit: 6, ..heartbeat };
        assert_eq!(read(&lost), Err(BadMessage::LogLost { expected: 6, last: 5 }));
        snapshot.mut_snapshot().mut_metadata().mut_conf_state().voters = vec![1, 2];
        assert!(read(&snapshot).is_ok());
        snapshot.mut_snapshot().data = Bytes::from_static(b"nonsense");
        assert!(matches!(read(&snapshot), Err(BadMessage::Malformed(_))));
        let campaign =
            Message { term: 3 + MAX_AHEAD, commit: 4, commit_term: 3, ..message(MessageType::MsgRequestVote) };
        assert_eq!(read(&campaign), Ok(Message { commit_term: 0, ..campaign }));
        assert!(read(&append(5, 3, vec![entry(6, 3), entry(7, 3)])).is_ok());
    }
}
