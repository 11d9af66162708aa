//! Running a test with many seeds.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

/// Numbers that follow from a seed. Not for secrets.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Begins with a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which must not be 0 (Knuth's linear congruential generator).
    pub const fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// One of several.
    pub const fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Calls `live` with so many seeds, on all cores: with `few`, with `many` where the variable `RIPSTOP_NIGHTLY` is set, or
/// with the one in `RIPSTOP_TEST_SEED` alone.
///
/// # Panics
/// When `live` does; the message names the seed.
pub fn every_seed(few: u64, many: u64, live: impl Fn(u64) + Sync) {
    let one = std::env::var("RIPSTOP_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let count = if std::env::var_os("RIPSTOP_NIGHTLY").is_some() { many } else { few };
    let seeds = one.map_or(0..count, |seed: u64| seed..seed + 1);
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| live(seed))).is_err() {
                failed.lock().push(seed);
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, NonZeroUsize::get)).for_each(|_| drop(scope.spawn(work)));
    });
    let mut failed = failed.into_inner();
    failed.sort_unstable();
    let text = failed.iter().take(10).map(|seed| format!("RIPSTOP_TEST_SEED={seed}")).collect::<Vec<_>>().join(", ");
    assert!(failed.is_empty(), "{} of {} seeds fail: {text}", failed.len(), seeds.end - seeds.start);
}
