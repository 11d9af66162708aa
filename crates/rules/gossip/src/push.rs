use std::time::Duration;

use crate::{Moment, PkiId, SignedMessage};

/// How many messages wait to be pushed at most. When there are more, the oldest are pushed no more.
const MAX_PENDING: usize = 4096;

/// A message that waits to be pushed.
#[derive(Debug)]
pub(crate) struct Pending<A> {
    /// The message.
    pub(crate) message: SignedMessage,
    /// Who has it already.
    pub(crate) from: Option<PkiId>,
    /// Who may get it.
    pub(crate) audience: A,
    pushes_left: u32,
}

/// Messages that wait for a moment, so that those that come together go together. Each is for an audience; its owner knows
/// who that is.
#[derive(Debug)]
pub(crate) struct Push<A> {
    pending: Vec<Pending<A>>,
    flush_at: Option<Moment>,
}

impl<A> Default for Push<A> {
    fn default() -> Self {
        Self { pending: Vec::new(), flush_at: None }
    }
}

impl<A> Push<A> {
    /// Takes a message to be pushed `times` times, the first time after `latency` at the latest. Says whether `burst` messages
    /// are waiting, so that it is time.
    pub(crate) fn add(
        &mut self,
        now: Moment,
        (message, from, audience): (SignedMessage, Option<PkiId>, A),
        times: u32,
        latency: Duration,
    ) -> usize {
        if times > 0 {
            if self.pending.len() >= MAX_PENDING {
                self.pending.remove(0);
            }
            self.pending.push(Pending { message, from, audience, pushes_left: times });
            self.flush_at.get_or_insert(now + latency);
        }
        self.pending.len()
    }

    /// When something is to be pushed.
    pub(crate) const fn wake_at(&self) -> Option<Moment> {
        self.flush_at
    }

    /// Takes all that waits. [`Self::put_back`] is called with it when it was pushed.
    pub(crate) fn take(&mut self) -> Vec<Pending<A>> {
        self.flush_at = None;
        std::mem::take(&mut self.pending)
    }

    /// Keeps those that are to be pushed again.
    pub(crate) fn put_back(&mut self, now: Moment, pushed: Vec<Pending<A>>, latency: Duration) {
        let again = pushed.into_iter().filter_map(|mut pending| {
            pending.pushes_left -= 1;
            (pending.pushes_left > 0).then_some(pending)
        });
        self.pending.extend(again);
        if !self.pending.is_empty() {
            self.flush_at.get_or_insert(now + latency);
        }
    }
}
