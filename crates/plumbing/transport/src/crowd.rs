use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// How many there are of something, by where they come from: so that whoever brings many keeps only himself out. Clones are
/// the same.
#[derive(Debug)]
pub struct Crowd<K: Eq + Hash>(Arc<Mutex<Counts<K>>>);

#[derive(Debug)]
struct Counts<K> {
    each: HashMap<K, usize>,
    all: usize,
}

/// One of those that are counted, until it is dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    crowd: Crowd<K>,
    from: K,
}

impl<K: Eq + Hash> Clone for Crowd<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash> Default for Crowd<K> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Counts { each: HashMap::new(), all: 0 })))
    }
}

impl<K: Eq + Hash + Copy> Crowd<K> {
    /// Counts one more, where there are fewer than `each` from there and fewer than `all` together.
    pub fn enter(&self, from: K, each: usize, all: usize) -> Option<Place<K>> {
        let mut counts = self.0.lock();
        let own = counts.each.get(&from).copied().unwrap_or_default();
        if counts.all >= all || own >= each {
            return None;
        }
        counts.each.insert(from, own + 1);
        counts.all += 1;
        Some(Place { crowd: self.clone(), from })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock();
        counts.all -= 1;
        match counts.each.get_mut(&self.from) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.each.remove(&self.from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_from_one_place_keep_out_only_themselves() {
        let crowd = Crowd::default();
        let mut places: Vec<_> = (0..16).map(|_| crowd.enter("loud", 16, 18).unwrap()).collect();
        assert!(crowd.enter("loud", 16, 18).is_none());
        let quiet = crowd.enter("quiet", 16, 18);
        assert!(quiet.is_some());
        places.pop();
        places.extend(crowd.enter("loud", 16, 18));
        assert_eq!(places.len(), 16);
        let _last = crowd.enter("quiet", 16, 18).unwrap();
        assert!(crowd.enter("third", 16, 18).is_none(), "there are enough of all");
        drop((places, quiet, _last));
        let counts = crowd.0.lock();
        assert!(counts.each.is_empty() && counts.all == 0);
    }
}
