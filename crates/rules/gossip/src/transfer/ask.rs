use super::{LOGGER, Offered, Origin, Transfer};
use crate::channel::members::Members;
use crate::{Content, Moment, NoteLevel, PkiId, StatePayload, Surroundings};

/// How many peers are asked at the same time.
const ASKED_AT_ONCE: usize = 4;

/// With this many bytes waiting for the committer nobody is asked for more.
const ENOUGH_BYTES: usize = 128 * 1024 * 1024;

/// A range of blocks that a peer was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) peer: PkiId,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) until: Moment,
}

/// Blocks are fetched until there are no more, or too often nobody answered.
#[derive(Debug, Default)]
pub(super) struct Round {
    // Since somebody answered last.
    failures: u32,
}

impl Transfer {
    /// The moment came that `wake_at` named, or another machine's.
    pub(crate) fn wake(&mut self, surroundings: &mut Surroundings<'_>, members: &Members) {
        self.give_up(surroundings);
        if self.check_at.is_some_and(|at| at <= surroundings.now) {
            self.is_fresh = false;
            self.check_at = Some(surroundings.now + self.options.check_interval);
            if members.highest() > self.height {
                self.round.get_or_insert_default();
            }
        }
        self.ask(surroundings, members);
    }

    /// A peer sent blocks that it was asked for.
    pub(crate) fn answered(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        members: &Members,
        from: &PkiId,
        (nonce, payloads): (u64, Vec<StatePayload>),
    ) {
        if self.asked.get(&nonce).is_none_or(|asked| asked.peer != *from) {
            return;
        }
        let Some(asked) = self.asked.remove(&nonce) else { return };
        let mut has_first = false;
        for payload in payloads {
            let number = payload.number;
            if number < asked.start || number > asked.end {
                continue;
            }
            let offered = self.keep(payload, from, Origin::Asked);
            has_first |= number == asked.start && matches!(offered, Offered::Taken | Offered::Known);
        }
        if has_first {
            self.credit.succeeded(from);
            if let Some(round) = &mut self.round {
                round.failures = 0;
            }
        } else {
            self.note_failure(surroundings, &asked, "sent no such block");
        }
        self.hand_out(surroundings);
        self.ask(surroundings, members);
    }

    /// Compares heights soon: there are blocks that this peer does not have.
    pub(super) fn compare_soon(&mut self, now: Moment) {
        // Not more often than answers take, whoever makes believe that there are blocks.
        let soon = now + self.options.response_timeout;
        self.check_at = self.check_at.map(|at| at.min(soon));
    }

    /// A member's height became known. For a peer that just began, it is the occasion to catch up at once.
    pub(crate) fn learned_heights(&mut self, surroundings: &mut Surroundings<'_>, members: &Members) {
        if self.is_fresh && self.check_at.is_some() && members.highest() > self.height {
            self.check_at = Some(surroundings.now);
            self.wake(surroundings, members);
        }
    }

    /// Asks for what is missing as long as there is somebody to ask and room for answers.
    pub(super) fn ask(&mut self, surroundings: &mut Surroundings<'_>, members: &Members) {
        while self.round.is_some() && self.asked.len() < ASKED_AT_ONCE && self.slots.bytes() < ENOUGH_BYTES {
            let Some((start, end)) = self.gap() else { break };
            if self.comes_to_more_soon(start, end, members) {
                break;
            }
            let now = surroundings.now;
            let is_free =
                |peer: &PkiId| self.credit.trusts(peer, now) && !self.asked.values().any(|asked| asked.peer == *peer);
            let peer = members.holder_of(start, surroundings.random, is_free);
            let Some((peer, height)) = peer.and_then(|peer| members.height_of(&peer).map(|height| (peer, height)))
            else {
                if self.asked.is_empty() {
                    self.round = None;
                }
                break;
            };
            let end = end.min(height - 1).min(start.saturating_add(self.options.batch_size.max(1) - 1));
            let nonce = surroundings.random.u64(1..);
            let until = now + self.options.response_timeout;
            let message = self.message(nonce, Content::StateRequest { start, end });
            surroundings.send(&peer, message);
            self.asked.insert(nonce, Asked { peer, start, end, until });
        }
    }

    /// Whether the blocks of a gap are few for no other reason than that there is no room for those behind them. As soon as the
    /// committer took some, more are asked for at once: else there would soon be a question for each block.
    fn comes_to_more_soon(&self, start: u64, end: u64, members: &Members) -> bool {
        let goes_on = end + 1 == self.horizon() && members.highest() > self.horizon();
        let is_worth_asking = end - start + 1 >= self.options.batch_size.min(self.window());
        goes_on && !is_worth_asking
    }

    /// The first blocks that neither wait nor were asked for, as far as there is room for them.
    fn gap(&self) -> Option<(u64, u64)> {
        let limit = self.horizon();
        let mut start = self.next;
        loop {
            if start >= limit {
                return None;
            }
            if let Some(asked) = self.asked.values().find(|asked| (asked.start..=asked.end).contains(&start)) {
                start = asked.end.saturating_add(1);
            } else if self.slots.has(start) {
                start += 1;
            } else {
                break;
            }
        }
        let asked_above = self.asked.values().map(|asked| asked.start).filter(|above| *above > start).min();
        let end = [Some(limit), self.slots.above(start), asked_above].into_iter().flatten().min()?;
        Some((start, end - 1))
    }

    fn give_up(&mut self, surroundings: &mut Surroundings<'_>) {
        let now = surroundings.now;
        let late: Vec<_> = self.asked.iter().filter(|(_, asked)| asked.until <= now).map(|(nonce, _)| *nonce).collect();
        for nonce in late {
            if let Some(asked) = self.asked.remove(&nonce) {
                self.note_failure(surroundings, &asked, "did not answer");
            }
        }
    }

    fn note_failure(&mut self, surroundings: &mut Surroundings<'_>, asked: &Asked, what: &str) {
        self.credit.failed(&asked.peer, surroundings.now, self.options.response_timeout);
        let Asked { peer, start, end, .. } = asked;
        let text = format!("[{}] {peer} {what} when asked for blocks [{start}...{end}]", self.channel);
        surroundings.effects.note(NoteLevel::Debug, LOGGER, text);
        let Some(round) = &mut self.round else { return };
        round.failures += 1;
        if round.failures > self.options.max_retries {
            let failures = round.failures;
            let text = format!("Wasn't  able to get blocks in range [{start}...{end}), after {failures} retries");
            surroundings.effects.note(NoteLevel::Warning, LOGGER, text);
            self.round = None;
        }
    }
}
