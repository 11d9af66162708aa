//! What the log says of a channel whose ledger is behind those of other peers: now and then how far it is, and once that it is
//! in step.

use std::fmt;
use std::time::{Duration, Instant};

/// How often it is said how far the ledger is.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Nothing is said of a ledger that lacks fewer blocks than this: it is on its way to have them before anybody reads it.
const WORTH_A_WORD: u64 = 200;

/// Watches one ledger catch up.
#[derive(Debug, Default)]
pub(super) struct CatchUp(Option<Course>);

#[derive(Debug, Clone, Copy)]
struct Course {
    began: (Instant, u64),
    told: (Instant, u64),
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It is behind.
    Behind { height: u64, target: u64, pace: u64 },
    /// It was behind for so long and has so many blocks more than then.
    InStep { height: u64, blocks: u64, took: Duration },
}

impl CatchUp {
    /// Looks at the height of the ledger and the highest that another peer claims.
    pub(super) fn look(&mut self, now: Instant, height: u64, target: u64) -> Option<Word> {
        let lacks = target.saturating_sub(height);
        let Some(course) = &mut self.0 else {
            if lacks >= WORTH_A_WORD {
                self.0 = Some(Course { began: (now, height), told: (now, height) });
            }
            return None;
        };
        if lacks == 0 {
            let (since, from) = course.began;
            // What took no longer than until the first word is not worth the last one.
            let told = course.told.0 > since;
            self.0 = None;
            let word = Word::InStep { height, blocks: height.saturating_sub(from), took: now.duration_since(since) };
            return told.then_some(word);
        }
        let (last, from) = course.told;
        let elapsed = now.duration_since(last);
        if elapsed < EVERY {
            return None;
        }
        course.told = (now, height);
        let pace = height.saturating_sub(from) as f64 / elapsed.as_secs_f64();
        Some(Word::Behind { height, target, pace: pace as u64 })
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { height, target, pace: 0 } => {
                write!(f, "Behind other peers: height {height} of {target}, no block in the last {}s", EVERY.as_secs())
            }
            Self::Behind { height, target, pace } => {
                let left = target.saturating_sub(*height) / pace;
                write!(f, "Catching up: height {height} of {target}, {pace} blocks a second, about {left}s to go")
            }
            Self::InStep { height, blocks, took } => {
                write!(f, "In step again: height {height}, {blocks} blocks in {}s", took.as_secs())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said at moments, in seconds, with height and target.
    fn said(looks: &[(u64, u64, u64)]) -> Vec<Option<String>> {
        let (start, mut watched) = (Instant::now(), CatchUp::default());
        let word = |&(at, height, target): &(u64, u64, u64)| {
            watched.look(start + Duration::from_secs(at), height, target).map(|word| word.to_string())
        };
        looks.iter().map(word).collect()
    }

    #[test]
    fn a_ledger_that_is_far_behind_is_told_of_now_and_then_and_when_it_is_in_step() {
        let looks =
            [(0, 100, 10_100), (1, 600, 10_100), (10, 5_100, 10_100), (11, 5_600, 10_100), (22, 10_200, 10_200)];
        let behind = "Catching up: height 5100 of 10100, 500 blocks a second, about 10s to go".to_owned();
        let in_step = "In step again: height 10200, 10100 blocks in 22s".to_owned();
        assert_eq!(said(&looks), [None, None, Some(behind), None, Some(in_step)]);
    }

    #[test]
    fn nothing_is_said_of_a_few_blocks_or_of_a_few_seconds() {
        assert_eq!(said(&[(0, 100, 299), (30, 100, 299), (60, 299, 299)]), [None, None, None]);
        assert_eq!(said(&[(0, 100, 5_000), (9, 5_000, 5_000), (20, 5_000, 5_000)]), [None, None, None]);
    }

    #[test]
    fn a_ledger_that_gets_no_blocks_is_told_of_too() {
        let stuck = "Behind other peers: height 100 of 5000, no block in the last 10s".to_owned();
        assert_eq!(said(&[(0, 100, 5_000), (10, 100, 5_000)]), [None, Some(stuck)]);
    }
}
