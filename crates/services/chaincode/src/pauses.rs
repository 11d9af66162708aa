//! How soon a chaincode that fails is started again.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::LaunchError;

/// A process that lived this long before it ended was in order.
const HEALTHY: Duration = Duration::from_secs(10);
/// The pause after the second failure in succession; doubled by each further one. After the first there is none.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What is left of a pause is waited for up to this long; before that, calls fail at once, so that they do not pile up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Chaincodes that failed, by id. There are no more of them than installed packages.
#[derive(Default)]
pub(crate) struct Pauses(Mutex<HashMap<String, Failures>>);

struct Failures {
    count: u32,
    until: Instant,
    reason: String,
}

impl Pauses {
    /// When a chaincode may be started.
    pub(crate) fn due(&self, id: &str, now: Instant) -> Result<Instant, LaunchError> {
        let failed = self.0.lock();
        let Some(failures) = failed.get(id) else { return Ok(now) };
        let left = failures.until.saturating_duration_since(now);
        if left > PATIENCE {
            return Err(LaunchError::Pausing {
                reason: failures.reason.clone(),
                count: failures.count,
                seconds: left.as_secs(),
            });
        }
        Ok(failures.until.max(now))
    }

    /// A process ended by itself.
    pub(crate) fn ended(&self, id: &str, lived: Duration, reason: &str, now: Instant) {
        let mut failed = self.0.lock();
        if lived >= HEALTHY {
            failed.remove(id);
            return;
        }
        let count = failed.get(id).map_or(0, |failures| failures.count) + 1;
        failed.insert(id.to_owned(), Failures { count, until: now + pause(count), reason: reason.to_owned() });
    }
}

fn pause(failures: u32) -> Duration {
    match failures.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_PAUSE.saturating_mul(1 << doublings.min(16)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_is_started_less_and_less() {
        let (pauses, now) = (Pauses::default(), Instant::now());
        let ask = |now| pauses.due("a:1", now).map(|due| (due - now).as_secs()).map_err(|error| error.to_string());
        let fail = || pauses.ended("a:1", Duration::ZERO, "container exited with 1", now);
        assert_eq!(ask(now), Ok(0));
        for expected in [0, 1, 2] {
            fail();
            assert_eq!(ask(now), Ok(expected));
        }
        fail();
        assert_eq!(
            ask(now).unwrap_err(),
            "chaincode registration failed: container exited with 1; it failed 4 times in succession and is started again \
             in 4 s at the earliest"
        );
        assert_eq!(ask(now + Duration::from_secs(3)), Ok(1));
        for _ in 0..40 {
            fail();
        }
        assert!(ask(now).unwrap_err().contains("in 60 s"));
        pauses.ended("a:1", HEALTHY, "", now);
        assert_eq!(ask(now), Ok(0));
    }
}
