//! Who of an organization pulls the blocks of a channel? Fabric's election: peers propose themselves, the one with the
//! lowest PKI-ID declares itself and goes on declaring, and whoever leads and hears a lower one declare itself steps down.
//!
//! Each partition of a network has a leader; when partitions meet, the lowest of them is left.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::{ElectionOptions, Moment, NoteLevel, PkiId};

/// For how many times the alive threshold a peer that yielded lets others go first.
const YIELD_THRESHOLDS: u32 = 6;

/// The election of one channel, seen by one peer.
#[derive(Debug)]
pub(crate) struct Election {
    me: PkiId,
    options: ElectionOptions,
    stage: Stage,
    leads: bool,
    // Whether a declaration was heard since this peer last became a follower, or is its own.
    leader_exists: bool,
    // Whether a peer with a lower PKI-ID proposed itself since this peer last became a follower.
    better_proposal: bool,
    yields_until: Option<Moment>,
    declared_at: Option<Moment>,
    effects: VecDeque<ElectionEffect>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ElectionInput {
    /// The moment came that `wake_at` named.
    Wake,
    /// A living member of the own organization proposed itself.
    Proposal(PkiId),
    /// A living member of the own organization said that it leads.
    Declaration(PkiId),
    /// This peer cannot do what a leader has to: it reaches no orderer (Fabric: `Yield`).
    Yield,
    /// This peer ends.
    Stop,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ElectionEffect {
    /// Tell the channel's members of the own organization that this peer would lead.
    Propose,
    /// Tell them that this peer leads.
    Declare,
    /// Begin to pull blocks from the orderers.
    Lead,
    /// Pull no blocks from the orderers any more.
    Follow,
    /// A line for the log.
    Note(NoteLevel, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits until two samples of the membership are of the same size.
    Settling {
        until: Moment,
        sample_at: Moment,
        members: usize,
    },
    /// Proposed itself and collects what others say.
    Collecting {
        until: Moment,
    },
    /// Said that it leads.
    Leading {
        until: Moment,
    },
    /// Waits for declarations of the leader.
    Following {
        until: Moment,
    },
    Stopped,
}

impl Election {
    /// Begins. `members` is how many other living members of the channel the own organization has.
    pub(crate) fn new(now: Moment, me: PkiId, options: ElectionOptions, members: usize) -> Self {
        let until = now + options.startup_grace_period;
        let sample_at = now + options.membership_sample_interval;
        Self {
            me,
            options,
            stage: Stage::Settling { until, sample_at, members },
            leads: false,
            leader_exists: false,
            better_proposal: false,
            yields_until: None,
            declared_at: None,
            effects: VecDeque::new(),
        }
    }

    /// Takes what happened; all effects are polled before the next input.
    pub(crate) fn handle(&mut self, now: Moment, members: usize, input: ElectionInput) {
        if self.stage == Stage::Stopped {
            return;
        }
        match input {
            ElectionInput::Wake => {}
            ElectionInput::Proposal(peer) => self.better_proposal |= peer < self.me,
            ElectionInput::Declaration(peer) => self.take_declaration(now, &peer),
            ElectionInput::Yield => self.yield_leadership(now),
            ElectionInput::Stop => {
                if self.leads {
                    self.stop_leading();
                }
                self.stage = Stage::Stopped;
            }
        }
        self.pass_time(now, members);
    }

    /// The next thing to do.
    pub(crate) fn poll_effect(&mut self) -> Option<ElectionEffect> {
        self.effects.pop_front()
    }

    /// When time alone changes something.
    pub(crate) const fn wake_at(&self) -> Option<Moment> {
        match self.stage {
            Stage::Settling { sample_at, .. } => Some(sample_at),
            Stage::Collecting { until } | Stage::Leading { until } | Stage::Following { until } => Some(until),
            Stage::Stopped => None,
        }
    }

    /// Whether this peer leads.
    pub(crate) const fn leads(&self) -> bool {
        self.leads
    }

    fn pass_time(&mut self, now: Moment, members: usize) {
        match self.stage {
            Stage::Settling { until, sample_at, members: before } if now >= sample_at => {
                if before == members || now > until || self.leader_exists {
                    self.begin_round(now);
                } else {
                    let sample_at = now + self.options.membership_sample_interval;
                    self.stage = Stage::Settling { until, sample_at, members };
                }
            }
            Stage::Collecting { until } if now >= until => self.conclude(now),
            Stage::Leading { until } | Stage::Following { until } if now >= until => self.begin_round(now),
            Stage::Settling { .. }
            | Stage::Collecting { .. }
            | Stage::Leading { .. }
            | Stage::Following { .. }
            | Stage::Stopped => {}
        }
    }

    fn take_declaration(&mut self, now: Moment, from: &PkiId) {
        self.leader_exists = true;
        if self.leads && *from < self.me {
            self.stop_leading();
        }
        match self.stage {
            Stage::Collecting { .. } => self.conclude(now),
            Stage::Leading { until } if self.leads => {
                // The other one shall hear at once that this one leads, but whoever declares without end makes no storm.
                let pause = self.options.membership_sample_interval;
                let again_at = self.declared_at.map_or(now, |declared_at| declared_at + pause);
                self.stage = Stage::Leading { until: until.min(again_at) };
            }
            Stage::Leading { .. } => self.begin_round(now),
            Stage::Settling { .. } | Stage::Following { .. } | Stage::Stopped => {}
        }
    }

    fn begin_round(&mut self, now: Moment) {
        if self.leader_exists || self.yields(now) {
            return self.take_role(now);
        }
        self.effects.push_back(ElectionEffect::Propose);
        self.stage = Stage::Collecting { until: now + self.options.leader_election_duration };
    }

    fn conclude(&mut self, now: Moment) {
        if self.leader_exists {
            self.note(NoteLevel::Info, format!("{} : Some peer is already a leader", self.me));
        } else if !self.yields(now) && !self.better_proposal {
            self.note(NoteLevel::Info, format!("{} : Becoming a leader", self.me));
            self.leads = true;
            self.leader_exists = true;
            self.effects.push_back(ElectionEffect::Lead);
        }
        self.take_role(now);
    }

    fn take_role(&mut self, now: Moment) {
        if self.leader_exists && self.yields_until.take().is_some() {
            self.note(NoteLevel::Debug, "Stopped yielding".to_owned());
        }
        if self.leads {
            self.effects.push_back(ElectionEffect::Declare);
            self.declared_at = Some(now);
            self.stage = Stage::Leading { until: now + self.options.leader_alive_threshold / 2 };
        } else {
            self.better_proposal = false;
            self.leader_exists = false;
            self.stage = Stage::Following { until: now + self.options.leader_alive_threshold };
        }
    }

    fn yield_leadership(&mut self, now: Moment) {
        if self.leads && !self.yields(now) {
            self.yields_until = Some(now + self.options.leader_alive_threshold * YIELD_THRESHOLDS);
            self.stop_leading();
            self.leader_exists = false;
        }
    }

    fn yields(&self, now: Moment) -> bool {
        self.yields_until.is_some_and(|until| now < until)
    }

    fn stop_leading(&mut self) {
        self.note(NoteLevel::Info, format!("{} Stopped being a leader", self.me));
        self.leads = false;
        self.effects.push_back(ElectionEffect::Follow);
    }

    fn note(&mut self, level: NoteLevel, text: String) {
        self.effects.push_back(ElectionEffect::Note(level, text));
    }
}

/// The longest time from the death of a leader until another one declares itself, messages being instant: the survivors
/// wait at most twice the alive threshold, then hold an election.
pub fn takeover_bound(options: &ElectionOptions) -> Duration {
    options.leader_alive_threshold * 2 + options.leader_election_duration
}
