use raft::eraftpb::{Message, MessageType};

use crate::Committed;

/// How many bytes of entries are taken while state is missing: room for the blocks that a leader had under way when it
/// died, however large. What is beyond is not taken; its leader sends it again.
pub(crate) const MAX_DEFERRED_BYTES: usize = 512 << 20;

/// What is put off while the state of a leader's snapshot is obtained.
///
/// Whoever lacks state may vote and lead: without it a group that has just lost its leader could wait for ever. To make a
/// block safe it must not help, or blocks would be agreed on while those before them lie in too few places. So of a
/// leader's entries it takes those of terms before the leader's, and empty ones: with these, a new leader finds out what is
/// agreed on of all that it has, and can hand over the blocks that are missing. What a leader adds itself has to wait.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    deferred: Vec<Committed>,
    /// Bytes of the entries taken since the snapshot.
    taken: usize,
}

impl CatchUp {
    /// Nothing is put off yet; the log holds so many bytes behind the snapshot.
    pub(super) const fn new(taken: usize) -> Self {
        Self { deferred: Vec::new(), taken }
    }

    /// Cuts off those entries of a leader's message that are not taken now.
    pub(super) fn admit(&mut self, message: &mut Message, last_index: u64) {
        if message.get_msg_type() != MessageType::MsgAppend {
            return;
        }
        let mut taken = self.taken;
        let admitted = message.get_entries().iter().take_while(|entry| {
            if entry.index > last_index {
                taken = taken.saturating_add(entry.data.len());
            }
            taken <= MAX_DEFERRED_BYTES && (entry.term < message.term || entry.data.is_empty())
        });
        let count = admitted.count();
        let new = message.get_entries().iter().take(count).filter(|entry| entry.index > last_index);
        self.taken += new.map(|entry| entry.data.len()).sum::<usize>();
        message.entries.truncate(count);
    }

    pub(super) fn defer(&mut self, committed: Vec<Committed>) {
        self.deferred.extend(committed);
    }

    /// What was put off, in order.
    pub(super) fn into_deferred(self) -> Vec<Committed> {
        self.deferred
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::Entry;

    use super::*;

    fn append(term: u64, entries: &[(u64, u64, usize)]) -> Message {
        let entry = |(index, term, size): &(u64, u64, usize)| Entry {
            index: *index,
            term: *term,
            data: vec![1; *size].into(),
            ..Entry::default()
        };
        let entries: Vec<_> = entries.iter().map(entry).collect();
        let mut message = Message { term, entries: entries.into(), ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        message
    }

    fn admitted(catch_up: &mut CatchUp, mut message: Message, last_index: u64) -> Vec<u64> {
        catch_up.admit(&mut message, last_index);
        message.entries.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn what_a_leader_found_is_taken_and_what_it_adds_is_not() {
        let message = append(5, &[(8, 3, 1), (9, 4, 1), (10, 5, 0), (11, 5, 1), (12, 5, 0)]);
        assert_eq!(admitted(&mut CatchUp::default(), message.clone(), 7), [8, 9, 10]);
        assert_eq!(admitted(&mut CatchUp::default(), append(3, &[(8, 3, 1)]), 7), [0; 0]);
        let mut other = message.clone();
        other.set_msg_type(MessageType::MsgRequestVote);
        assert_eq!(admitted(&mut CatchUp::default(), other, 7).len(), 5, "only appends are cut off");
    }

    #[test]
    fn no_more_is_taken_than_fits() {
        let message = || append(5, &[(8, 4, 2), (9, 4, 2)]);
        let mut catch_up = CatchUp::new(MAX_DEFERRED_BYTES - 3);
        assert_eq!(admitted(&mut catch_up, message(), 7), [8]);
        assert_eq!(admitted(&mut catch_up, message(), 8), [8], "what is there already takes no room");
        assert_eq!(catch_up.taken, MAX_DEFERRED_BYTES - 1);
    }
}
