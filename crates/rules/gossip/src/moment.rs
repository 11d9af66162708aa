use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment: nanoseconds since the beginning of 1970 (UTC). A driver's moments never go back; one process's first moment is
/// its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment this many nanoseconds after the beginning of 1970.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the beginning of 1970.
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// How long ago an earlier moment was; zero when it was not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Whether the moment of a timer came; its next one is later by an interval.
pub(crate) fn due(timer: &mut Moment, now: Moment, interval: Duration) -> bool {
    let is_due = *timer <= now;
    if is_due {
        *timer = now + interval.max(Duration::from_millis(1));
    }
    is_due
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(earlier.as_nanos()).unwrap_or(u64::MAX)))
    }
}
