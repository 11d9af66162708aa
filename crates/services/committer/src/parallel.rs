use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Below this many transactions a block is checked on one thread: waking others would take longer.
const SMALL_BLOCK: usize = 4;

/// Calls `one` for each number below `count`, on all cores. It blocks; call it off the async threads.
pub(crate) fn on_all_cores(count: usize, one: &(dyn Fn(usize) + Sync)) {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = if count < SMALL_BLOCK { 1 } else { cores.min(count) };
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            one(index);
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
}

/// Calls `one` for each number below `count`, on this thread.
pub(crate) fn on_this_thread(count: usize, one: &(dyn Fn(usize) + Sync)) {
    (0..count).for_each(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_called_once() {
        for count in [0, 1, 3, 4, 100] {
            let calls: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            on_all_cores(count, &|index| {
                calls[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1), "{count}");
        }
    }
}
