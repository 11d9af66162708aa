use std::collections::BTreeMap;

use crate::PkiId;

/// Peers among which some are chosen at random. What a choice costs depends on how many are chosen, not on how many there
/// are.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    peers: Vec<PkiId>,
    places: BTreeMap<PkiId, usize>,
}

impl Roster {
    /// Adds a peer, if it is not there.
    pub(crate) fn add(&mut self, peer: &PkiId) {
        if !self.places.contains_key(peer) {
            self.places.insert(peer.clone(), self.peers.len());
            self.peers.push(peer.clone());
        }
    }

    /// Removes a peer, if it is there.
    pub(crate) fn remove(&mut self, peer: &PkiId) {
        let Some(place) = self.places.remove(peer) else { return };
        self.peers.swap_remove(place);
        if let Some(moved) = self.peers.get(place) {
            self.places.insert(moved.clone(), place);
        }
    }

    /// Removes all.
    pub(crate) fn clear(&mut self) {
        self.peers.clear();
        self.places.clear();
    }

    /// Whether a peer is there.
    pub(crate) fn contains(&self, peer: &PkiId) -> bool {
        self.places.contains_key(peer)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// All of them, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PkiId> {
        self.peers.iter()
    }

    /// Up to `count` different peers that `accept` takes, in random order. It draws until it has them, at most `draws` times.
    pub(crate) fn choose(
        &self,
        random: &mut fastrand::Rng,
        count: usize,
        draws: usize,
        mut accept: impl FnMut(&PkiId) -> bool,
    ) -> Vec<PkiId> {
        // A shuffle of which only the beginning is made: `displaced` holds what the places drawn so far were swapped for.
        let mut displaced = BTreeMap::new();
        let mut chosen = Vec::new();
        for first in 0..self.peers.len().min(draws) {
            if chosen.len() == count {
                break;
            }
            let drawn = random.usize(first..self.peers.len());
            let place = *displaced.get(&drawn).unwrap_or(&drawn);
            let instead = *displaced.get(&first).unwrap_or(&first);
            displaced.insert(drawn, instead);
            let peer = &self.peers[place];
            if accept(peer) {
                chosen.push(peer.clone());
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;

    fn peer(number: u32) -> PkiId {
        PkiId::claimed(Bytes::copy_from_slice(&number.to_be_bytes()))
    }

    fn roster(count: u32) -> Roster {
        let mut roster = Roster::default();
        (0..count).for_each(|number| roster.add(&peer(number)));
        roster
    }

    #[test]
    fn a_choice_of_all_is_a_shuffle() {
        let roster = roster(50);
        let chosen = roster.choose(&mut fastrand::Rng::with_seed(1), 50, 50, |_| true);
        assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 50);
        assert_ne!(chosen, roster.iter().cloned().collect::<Vec<_>>());
    }

    #[test]
    fn everybody_is_chosen_about_as_often() {
        let roster = roster(10);
        let mut random = fastrand::Rng::with_seed(7);
        let mut times = BTreeMap::<PkiId, u32>::new();
        for _ in 0..1000 {
            for chosen in roster.choose(&mut random, 3, 10, |_| true) {
                *times.entry(chosen).or_default() += 1;
            }
        }
        assert!(times.values().all(|times| (240..360).contains(times)), "{times:?}");
    }

    #[test]
    fn removed_and_refused_peers_are_not_chosen() {
        let mut roster = roster(10);
        (0..5).for_each(|number| roster.remove(&peer(number)));
        roster.remove(&peer(77));
        let chosen = roster.choose(&mut fastrand::Rng::with_seed(3), 10, 10, |candidate| *candidate != peer(9));
        assert_eq!(chosen.into_iter().collect::<BTreeSet<_>>(), (5..9).map(peer).collect());
        assert_eq!(roster.len(), 5);
    }
}
