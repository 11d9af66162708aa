use std::time::Duration;

use crate::Moment;

/// How much of something one peer may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// How much at once.
    pub(crate) burst: u32,
    /// After how long it may have one more.
    pub(crate) every: Duration,
}

/// What a peer has left of a [`Rate`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowance {
    used: u32,
    since: Moment,
}

impl Allowance {
    /// Takes one, if one is left.
    pub(crate) fn take(&mut self, now: Moment, rate: Rate) -> bool {
        let every = rate.every.max(Duration::from_nanos(1));
        let regained = now.since(self.since).as_nanos() / every.as_nanos();
        match u32::try_from(regained) {
            Ok(regained) if regained < self.used => {
                self.used -= regained;
                self.since = self.since + every * regained;
            }
            _ => {
                self.used = 0;
                self.since = now;
            }
        }
        if self.used >= rate.burst {
            return false;
        }
        self.used += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_comes_back_with_time() {
        let rate = Rate { burst: 2, every: Duration::from_secs(1) };
        let mut allowance = Allowance::default();
        let start = Moment::from_nanoseconds(1_000_000_000_000);
        let taken = |allowance: &mut Allowance, milliseconds: u64| {
            allowance.take(start + Duration::from_millis(milliseconds), rate)
        };
        assert!(taken(&mut allowance, 0) && taken(&mut allowance, 0));
        assert!(!taken(&mut allowance, 999));
        assert!(taken(&mut allowance, 1000));
        assert!(!taken(&mut allowance, 1001));
        assert!(taken(&mut allowance, 9000) && taken(&mut allowance, 9000));
        assert!(!taken(&mut allowance, 9000));
    }
}
