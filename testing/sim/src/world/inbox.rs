//! What waits for a peer's machine: of each stream a few messages, one stream after the other having its turn. Where a stream
//! has too much waiting, its sender's queue overflows, and what comes then is lost.

use std::collections::{BTreeMap, VecDeque};

use ripstop_gossip::SignedMessage;

/// How many messages of one stream wait: what the receiver keeps, what is on the line, and what the sender keeps.
const WAITING: usize = 48;

/// Messages by the peer that sent them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: BTreeMap<usize, VecDeque<SignedMessage>>,
    last: usize,
    /// Whether the machine is at work, and takes the next message when it is done.
    pub(crate) is_busy: bool,
}

impl Inbox {
    /// Lets a message wait, or drops it.
    pub(crate) fn push(&mut self, from: usize, message: SignedMessage) {
        let waiting = self.waiting.entry(from).or_default();
        if waiting.len() < WAITING {
            waiting.push_back(message);
        }
    }

    /// The next message: of the stream whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<(usize, SignedMessage)> {
        let after = self.waiting.range(self.last + 1..).map(|(from, _)| *from).next();
        let from = after.or_else(|| self.waiting.keys().next().copied())?;
        self.last = from;
        let waiting = self.waiting.get_mut(&from)?;
        let message = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&from);
        }
        message.map(|message| (from, message))
    }

    /// A stream ended: what was said on it is not heard any more.
    pub(crate) fn forget(&mut self, from: usize) {
        self.waiting.remove(&from);
    }
}
