//! Which blocks does the committer get next, and from whom are those fetched that nobody brought? Fabric's state transfer.
//!
//! Blocks that peers push or send when asked wait here for those before them. None is verified: the committer does that, and
//! says so when it refuses one. Then whoever sent it is asked last, and another peer's block is tried.

mod ask;
mod credit;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ripstop_types::ChannelId;

use self::credit::Credit;
use self::slots::Slots;
use crate::allowance::{Allowance, Rate};
use crate::channel::members::Members;
use crate::{
    Content, Effect, Logger, Message, Moment, NoteLevel, Options, PkiId, SignedMessage, StateOptions, StatePayload,
    Surroundings, Tag,
};

/// The logger of Fabric's state transfer.
const LOGGER: Logger = Logger::State;

/// A peer that depends on others and is further behind a pushed block than this cannot catch up without state transfer.
const STRAGGLER_DISTANCE: u64 = 100;

/// How often that is said.
const WARNINGS: Rate = Rate { burst: 1, every: std::time::Duration::from_secs(10) };

/// The blocks of one channel on their way to the committer.
#[derive(Debug)]
pub(crate) struct Transfer {
    channel: ChannelId,
    options: StateOptions,
    // Whether this peer gets blocks only from other peers, as long as it does not lead.
    dependent: bool,
    // All blocks below are committed.
    height: u64,
    // All blocks below are handed to the committer.
    next: u64,
    slots: Slots,
    asked: BTreeMap<u64, ask::Asked>,
    credit: Credit,
    round: Option<ask::Round>,
    check_at: Option<Moment>,
    // Whether heights were never compared yet.
    is_fresh: bool,
    warned: Allowance,
}

/// How a block came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A peer pushed it.
    Pushed,
    /// A peer had it among its newest blocks.
    Pulled,
    /// A peer sent it because it was asked for a range.
    Asked,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It waits for the committer, or is there.
    Taken,
    /// It was known.
    Known,
    /// It is too far ahead of the ledger.
    TooFar,
    /// There is no room for it.
    NoRoom,
    /// Its sender sent a bad block not long ago.
    Distrusted,
}

/// A block that the committer accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The block, without private data.
    pub(crate) payload: StatePayload,
    /// Who sent it.
    pub(crate) from: PkiId,
    /// How it came.
    pub(crate) origin: Origin,
}

impl Transfer {
    /// Begins at the height of the ledger.
    pub(crate) fn new(now: Moment, channel: ChannelId, options: &Options, height: u64) -> Self {
        Self {
            channel,
            options: options.state.clone(),
            dependent: options.use_leader_election || !options.org_leader,
            height,
            next: height,
            slots: Slots::default(),
            asked: BTreeMap::new(),
            credit: Credit::default(),
            round: None,
            check_at: options.state.enabled.then(|| now + options.state.check_interval),
            is_fresh: true,
            warned: Allowance::default(),
        }
    }

    /// Whether a block would be taken that is not here yet.
    pub(crate) fn wants(&self, number: u64) -> bool {
        number >= self.height && number - self.height < self.window() && !self.slots.has(number)
    }

    /// Takes a block that nobody asked for, unless it is too far ahead: those before it would have to wait in memory.
    pub(crate) fn offer(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        payload: StatePayload,
        from: &PkiId,
        origin: Origin,
    ) -> Offered {
        if self.credit.refuses_pushes(from, surroundings.now) {
            return Offered::Distrusted;
        }
        let distance = payload.number.saturating_sub(self.height);
        if distance >= self.window() {
            if distance > STRAGGLER_DISTANCE {
                self.warn_of_straggling(surroundings, payload.number);
            }
            self.compare_soon(surroundings.now);
            return Offered::TooFar;
        }
        // What comes unasked has no private data: nobody checked whether this peer may have them.
        let number = payload.number;
        let offered = self.keep(StatePayload { private_data: Vec::new(), ..payload }, from, origin);
        self.hand_out(surroundings);
        if self.next < number {
            // One before it is missing.
            self.compare_soon(surroundings.now);
        }
        offered
    }

    /// The ledger reached a height. Gives the blocks that were accepted by that.
    pub(crate) fn committed(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        members: &Members,
        height: u64,
    ) -> Vec<Accepted> {
        if height <= self.height {
            return Vec::new();
        }
        let handed_out = self.next;
        self.height = height;
        self.next = self.next.max(height);
        let accepted = self.slots.remove_below(height).into_iter().filter(|(number, _)| *number < handed_out);
        let accepted = accepted.map(|(_, accepted)| accepted).collect();
        self.hand_out(surroundings);
        self.ask(surroundings, members);
        accepted
    }

    /// The committer refused a block: nothing of whoever sent it is tried any more, and others are asked first.
    pub(crate) fn refused(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        members: &Members,
        number: u64,
        from: &PkiId,
    ) {
        self.credit.refused(from, surroundings.now, self.options.response_timeout);
        self.next = self.next.min(number.max(self.height));
        self.slots.remove_of(from);
        self.asked.retain(|_, asked| asked.peer != *from);
        self.hand_out(surroundings);
        self.check_at = self.check_at.map(|_| surroundings.now);
        self.wake(surroundings, members);
    }

    /// A peer is not there any more: what it was asked is asked of others.
    pub(crate) fn vanished(&mut self, surroundings: &mut Surroundings<'_>, members: &Members, peer: &PkiId) {
        let before = self.asked.len();
        self.asked.retain(|_, asked| asked.peer != *peer);
        if self.asked.len() < before {
            self.ask(surroundings, members);
        }
    }

    /// Waits for answers of members only: who is no member any more is not heard.
    pub(crate) fn ask_members_only(&mut self, surroundings: &mut Surroundings<'_>, members: &Members) {
        self.asked.retain(|_, asked| members.present().contains(&asked.peer));
        self.ask(surroundings, members);
    }

    /// Answers a peer that asks for blocks, if it asks for no more than this peer would.
    pub(crate) fn serve(&self, surroundings: &mut Surroundings<'_>, to: &PkiId, nonce: u64, (start, end): (u64, u64)) {
        if start > end || end - start > self.options.batch_size {
            let text = format!("State request validation failed: [{start}...{end}] of {to}. Ignoring request...");
            surroundings.effects.note(NoteLevel::Debug, LOGGER, text);
        } else if start >= self.height {
            // Whoever asks need not wait to learn that there is nothing.
            let content = Content::StateResponse(Vec::new());
            let message = self.message(nonce, content);
            surroundings.send(to, message);
        } else {
            let end = end.min(self.height - 1);
            let channel = self.channel.clone();
            surroundings.effects.push(Effect::ServeBlocks { channel, to: to.clone(), nonce, start, end });
        }
    }

    /// When time alone changes something.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        self.asked.values().map(|asked| asked.until).chain(self.check_at).min()
    }

    /// Forgets all that waits; nothing is asked any more.
    pub(crate) fn stop(&mut self) {
        self.slots = Slots::default();
        self.asked.clear();
        self.round = None;
        self.check_at = None;
    }

    /// Blocks at or above this number are not on their way to the committer.
    pub(crate) fn horizon(&self) -> u64 {
        self.height.saturating_add(self.window().saturating_mul(2))
    }

    /// How many numbers blocks wait of.
    pub(crate) fn waiting(&self) -> usize {
        self.slots.len()
    }

    fn window(&self) -> u64 {
        u64::try_from(self.options.block_buffer_size).unwrap_or(u64::MAX).max(1)
    }

    fn message(&self, nonce: u64, content: Content) -> SignedMessage {
        let channel = Some(self.channel.clone());
        SignedMessage::unsigned(Message { nonce, channel, tag: Tag::ChannelOrOrganization, content })
    }

    fn keep(&mut self, payload: StatePayload, from: &PkiId, origin: Origin) -> Offered {
        if payload.number < self.height {
            return Offered::Known;
        }
        let needed = self.next;
        self.slots.keep(Accepted { payload, from: from.clone(), origin }, needed)
    }

    /// Gives the committer the blocks that are next, as many as may be on their way to it.
    fn hand_out(&mut self, surroundings: &mut Surroundings<'_>) {
        while self.next < self.height.saturating_add(self.window())
            && let Some(block) = self.slots.first_of(self.next)
        {
            surroundings.effects.push(Effect::Block {
                channel: self.channel.clone(),
                number: self.next,
                block: block.payload.block.clone(),
                private_data: block.payload.private_data.clone(),
                from: block.from.clone(),
            });
            self.next += 1;
        }
    }

    fn warn_of_straggling(&mut self, surroundings: &mut Surroundings<'_>, number: u64) {
        if self.options.enabled || !self.dependent || !self.warned.take(surroundings.now, WARNINGS) {
            return;
        }
        let text = format!(
            "[{}] Current block height ({}) is too far behind other peers at height ({}) to be able to receive blocks \
             without state transfer which is disabled in the configuration (peer.gossip.state.enabled = false). Consider \
             enabling it or setting the peer explicitly to be a leader (peer.gossip.orgLeader = true) in order to pull \
             blocks directly from the ordering service.",
            self.channel,
            self.height,
            number.saturating_add(1)
        );
        surroundings.effects.note(NoteLevel::Warning, LOGGER, text);
    }
}
