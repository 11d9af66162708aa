use super::members::Members;
use crate::push::{Pending, Push};
use crate::{Content, Moment, Options, PkiId, SignedMessage, Surroundings};

/// Pushes messages of a channel to some of those whom they are for.
#[derive(Debug, Default)]
pub(crate) struct Emitter {
    push: Push<Route>,
}

/// Who may get a message. Some of them, chosen at random, do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Members of the channel that are of the own organization.
    Companions,
    /// Peers of the channel's organizations.
    Neighbours,
    /// Peers of the own organization.
    Colleagues,
}

impl Emitter {
    /// Takes a message to be pushed soon, and at once when there are enough of them.
    pub(crate) fn add(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        members: &Members,
        options: &Options,
        pushed: (SignedMessage, Option<PkiId>, Route),
    ) {
        let (times, latency) = (options.propagate_iterations, options.max_propagation_burst_latency);
        let waiting = self.push.add(surroundings.now, pushed, times, latency);
        if waiting >= options.max_propagation_burst_size {
            self.flush(surroundings, members, options);
        }
    }

    /// Pushes what waited long enough.
    pub(crate) fn wake(&mut self, surroundings: &mut Surroundings<'_>, members: &Members, options: &Options) {
        if self.wake_at().is_some_and(|at| at <= surroundings.now) {
            self.flush(surroundings, members, options);
        }
    }

    /// When something is to be pushed.
    pub(crate) const fn wake_at(&self) -> Option<Moment> {
        self.push.wake_at()
    }

    /// Pushes all of it now: blocks to the same peers, other messages each to peers of its own.
    pub(crate) fn flush(&mut self, surroundings: &mut Surroundings<'_>, members: &Members, options: &Options) {
        let pushed = self.push.take();
        let count = options.propagate_peer_num;
        let mut block_receivers = None;
        for Pending { message, from, audience, .. } in &pushed {
            let roster = match audience {
                Route::Companions => members.companions(),
                Route::Neighbours => members.neighbours(),
                Route::Colleagues => members.colleagues(),
            };
            let has_it = |peer: &PkiId| Some(peer) == from.as_ref();
            let receivers = if matches!(message.message().content, Content::Block(_)) {
                let receivers =
                    block_receivers.get_or_insert_with(|| roster.choose(surroundings.random, count, count, |_| true));
                receivers.iter().filter(|peer| !has_it(peer)).cloned().collect()
            } else {
                roster.choose(surroundings.random, count, count + 1, |peer| !has_it(peer))
            };
            for peer in receivers {
                surroundings.send(&peer, message.clone());
            }
        }
        self.push.put_back(surroundings.now, pushed, options.max_propagation_burst_latency);
    }
}
