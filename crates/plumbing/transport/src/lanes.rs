use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns, of which whoever comes from one place has some at once, and all together some more. Who waits behind others of his
/// own place takes nobody else's turn.
#[derive(Debug)]
pub(crate) struct Lanes<K> {
    each: usize,
    lanes: Mutex<HashMap<K, Arc<Semaphore>>>,
    all: Arc<Semaphore>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permits: [OwnedSemaphorePermit; 2],
}

impl<K: Eq + Hash> Lanes<K> {
    /// So many turns at once for each place, and so many together.
    pub(crate) fn new(each: usize, all: usize) -> Self {
        Self { each, lanes: Mutex::default(), all: Arc::new(Semaphore::new(all)) }
    }

    /// Waits for a turn. `None` never comes: lanes are not closed.
    pub(crate) async fn turn(&self, from: K) -> Option<Turn> {
        let lane = self.lane(from);
        let own = lane.acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _permits: [own, of_all] })
    }

    fn lane(&self, from: K) -> Arc<Semaphore> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(&from) {
            return Arc::clone(lane);
        }
        // Nobody has a turn in these, or waits for one.
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        Arc::clone(lanes.entry(from).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_behind_many_of_his_own_place_takes_nobody_elses_turn() {
        let lanes = Arc::new(Lanes::new(2, 3));
        let loud = [lanes.turn("loud").await.unwrap(), lanes.turn("loud").await.unwrap()];
        let waiting: Vec<_> = (0..400)
            .map(|_| {
                let lanes = Arc::clone(&lanes);
                tokio::spawn(async move { lanes.turn("loud").await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(lanes.turn("quiet").await.unwrap());
        drop(loud);
        for waited in waiting {
            waited.await.unwrap().unwrap();
        }
        drop(lanes.turn("third").await.unwrap());
        assert_eq!(lanes.lanes.lock().len(), 1, "lanes that nobody uses are given up");
    }
}
