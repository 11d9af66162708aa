use super::members::Members;
use crate::{Content, Moment, Options, PkiId, SignedMessage, Surroundings};

/// How many messages are pushed repeatedly at most. When there are more, the oldest are pushed no more.
const PENDING: usize = 1024;

/// Messages that wait for a moment, so that those that come together are pushed together.
#[derive(Debug, Default)]
pub(crate) struct Emitter {
    pending: Vec<Pending>,
    flush_at: Option<Moment>,
}

/// Who may get a message. Some of them, chosen at random, do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Members of the channel that are of the own organisation.
    Companions,
    /// Peers of the channel's organisations.
    Neighbours,
    /// Peers of the own organisation.
    Colleagues,
}

#[derive(Debug)]
struct Pending {
    message: SignedMessage,
    // Who has it already.
    from: Option<PkiId>,
    route: Route,
    pushes_left: u32,
}

impl Emitter {
    /// Takes a message to be pushed soon, and at once when there are enough of them.
    pub(crate) fn add(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        members: &Members,
        options: &Options,
        (message, from, route): (SignedMessage, Option<&PkiId>, Route),
    ) {
        if options.propagate_iterations == 0 {
            return;
        }
        if self.pending.len() >= PENDING {
            self.pending.remove(0);
        }
        let pushes_left = options.propagate_iterations;
        self.pending.push(Pending { message, from: from.cloned(), route, pushes_left });
        if self.pending.len() >= options.max_propagation_burst_size {
            self.flush(surroundings, members, options);
        } else if self.flush_at.is_none() {
            self.flush_at = Some(surroundings.now + options.max_propagation_burst_latency);
        }
    }

    /// Pushes what waited long enough.
    pub(crate) fn wake(&mut self, surroundings: &mut Surroundings<'_>, members: &Members, options: &Options) {
        if self.flush_at.is_some_and(|at| at <= surroundings.now) {
            self.flush(surroundings, members, options);
        }
    }

    /// When something is to be pushed.
    pub(crate) const fn wake_at(&self) -> Option<Moment> {
        self.flush_at
    }

    /// Pushes all of it now: blocks to the same peers, other messages each to peers of its own.
    pub(crate) fn flush(&mut self, surroundings: &mut Surroundings<'_>, members: &Members, options: &Options) {
        let mut block_receivers = None;
        for pending in &mut self.pending {
            pending.pushes_left -= 1;
            let roster = match pending.route {
                Route::Companions => members.companions(),
                Route::Neighbours => members.neighbours(),
                Route::Colleagues => members.colleagues(),
            };
            let count = options.propagate_peer_num;
            let receivers = if matches!(pending.message.message().content, Content::Block(_)) {
                block_receivers
                    .get_or_insert_with(|| roster.choose(surroundings.random, count, count, |_| true))
                    .iter()
                    .filter(|peer| Some(*peer) != pending.from.as_ref())
                    .cloned()
                    .collect()
            } else {
                roster.choose(surroundings.random, count, count + 1, |peer| Some(peer) != pending.from.as_ref())
            };
            for peer in receivers {
                surroundings.send(&peer, pending.message.clone());
            }
        }
        self.pending.retain(|pending| pending.pushes_left > 0);
        self.flush_at = (!self.pending.is_empty()).then(|| surroundings.now + options.max_propagation_burst_latency);
    }
}
