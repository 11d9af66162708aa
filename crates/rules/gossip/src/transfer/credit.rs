use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Moment, PkiId};

/// Of how many peers it is remembered that they failed. Those who failed longest ago are forgotten first.
const REMEMBERED: usize = 4096;

/// How often the time doubles for which a peer is not asked that does not answer again. Honest peers are overloaded at times,
/// and may be the only ones that have a block.
const DOUBLINGS_OF_SILENCE: u32 = 4;

/// How often it doubles for a peer whose blocks the committer refused.
const DOUBLINGS_OF_REFUSAL: u32 = 8;

/// How many failures a block counts for that the committer refused.
const WEIGHT_OF_REFUSAL: u32 = 4;

/// Which peers failed when they were asked for blocks: they claimed a height and sent nothing, or sent nonsense.
#[derive(Debug, Default)]
pub(super) struct Credit {
    failures: BTreeMap<PkiId, Failures>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    until: Moment,
    refuses_pushes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Silence,
    Refusal,
}

impl Credit {
    /// Whether a peer may be asked.
    pub(super) fn trusts(&self, peer: &PkiId, now: Moment) -> bool {
        self.failures.get(peer).is_none_or(|failures| failures.until <= now)
    }

    /// Whether nothing is taken from a peer that it sends on its own.
    pub(super) fn refuses_pushes(&self, peer: &PkiId, now: Moment) -> bool {
        self.failures.get(peer).is_some_and(|failures| failures.refuses_pushes && now < failures.until)
    }

    /// A peer did not send what it was asked for.
    pub(super) fn failed(&mut self, peer: &PkiId, now: Moment, response_timeout: Duration) {
        self.count(peer, now, response_timeout, Failure::Silence);
    }

    /// The committer refused a block of a peer.
    pub(super) fn refused(&mut self, peer: &PkiId, now: Moment, response_timeout: Duration) {
        self.count(peer, now, response_timeout, Failure::Refusal);
    }

    /// A peer sent what it was asked for.
    pub(super) fn succeeded(&mut self, peer: &PkiId) {
        if let Some(failures) = self.failures.get_mut(peer) {
            failures.count -= 1;
            if failures.count == 0 {
                self.failures.remove(peer);
            }
        }
    }

    fn count(&mut self, peer: &PkiId, now: Moment, response_timeout: Duration, failure: Failure) {
        if self.failures.len() >= REMEMBERED && !self.failures.contains_key(peer) {
            let first = self.failures.iter().min_by_key(|(_, failures)| failures.until).map(|(peer, _)| peer.clone());
            first.and_then(|first| self.failures.remove(&first));
        }
        let none = Failures { count: 0, until: now, refuses_pushes: false };
        let failures = self.failures.entry(peer.clone()).or_insert(none);
        failures.refuses_pushes |= failure == Failure::Refusal;
        let weight = if failure == Failure::Refusal { WEIGHT_OF_REFUSAL } else { 1 };
        let doublings = if failures.refuses_pushes { DOUBLINGS_OF_REFUSAL } else { DOUBLINGS_OF_SILENCE };
        failures.count = failures.count.saturating_add(weight);
        failures.until = now + response_timeout * 2_u32.pow(failures.count.min(doublings));
    }
}
