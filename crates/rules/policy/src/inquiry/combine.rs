use std::collections::BTreeMap;

use super::principals::PrincipalTable;
use super::{MAX_PAIRS, MAX_PRINCIPALS};

const WORD: usize = u64::BITS as usize;

/// A set of principals by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bits([u64; MAX_PRINCIPALS / WORD]);

impl Bits {
    pub(super) fn insert(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / WORD) {
            *word |= 1 << (number % WORD);
        }
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0.get(number / WORD).is_some_and(|word| word >> (number % WORD) & 1 == 1)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }
}

/// Principals that have to be satisfied together, by their numbers in an [`super::Inquiry`]. One that stands in it twice
/// needs two signers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combination {
    members: Vec<usize>,
    /// The members in the order of their numbers.
    sorted: Vec<usize>,
    bits: Bits,
}

impl Combination {
    pub(super) fn new(members: Vec<usize>) -> Self {
        let mut bits = Bits::default();
        members.iter().for_each(|member| bits.insert(*member));
        let mut sorted = members.clone();
        sorted.sort_unstable();
        Self { members, sorted, bits }
    }

    /// The numbers of the principals, in the order of the policies.
    pub fn members(&self) -> &[usize] {
        &self.members
    }

    /// How many signers each principal needs.
    pub fn counts(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for member in &self.members {
            *counts.entry(*member).or_default() += 1;
        }
        counts
    }

    pub(super) const fn bits(&self) -> &Bits {
        &self.bits
    }

    /// Whether it needs whatever `other` needs, each as often.
    fn contains(&self, other: &Self) -> bool {
        if !other.bits.is_subset(&self.bits) {
            return false;
        }
        let mut own = self.sorted.iter();
        other.sorted.iter().all(|member| own.any(|own| own == member))
    }
}

impl PrincipalTable {
    /// What satisfies two policies at once, in Fabric's way (`inquire.Merge`).
    pub(super) fn merge(&self, left: &[Combination], right: &[Combination]) -> Vec<Combination> {
        // What a combination of the right satisfies on the side needs none of its own: the former does for both.
        let left_in_right = Containment::between(self, left, right);
        let rest: Vec<_> = left_in_right.not_contained(left).cloned().collect();
        let right_in_rest = Containment::between(self, right, &rest);

        let mut merged: Vec<Combination> = Vec::new();
        for (pairs, contained, containing) in [(&left_in_right, left, right), (&right_in_rest, right, &rest)] {
            merged.extend(pairs.pairs(contained, containing).map(|(small, large)| self.join(small, large)));
        }
        // What neither contains nor is contained has to be joined with its like of the other side.
        let lone_left = right_in_rest.not_containing(&rest);
        let lone_right: Vec<_> = right
            .iter()
            .zip(left_in_right.containing.iter().zip(&right_in_rest.contained))
            .filter(|(_, (contains, is_contained))| !**contains && !**is_contained)
            .map(|(combination, _)| combination)
            .collect();
        let pairs = lone_left.flat_map(|left| lone_right.iter().map(move |right| (left, *right)));
        let room = MAX_PAIRS.saturating_sub(merged.len());
        merged.extend(pairs.take(room).map(|(left, right)| self.join(left, right)));
        merged.truncate(MAX_PAIRS);
        reduce(merged)
    }

    /// What satisfies two policies at once: each combination with each, without those that ask for more than another one.
    pub(super) fn product(&self, left: &[Combination], right: &[Combination]) -> Vec<Combination> {
        let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
        let mut joined: Vec<Combination> = pairs
            .take(MAX_PAIRS)
            .map(|(left, right)| {
                let (one, other) = (self.join(left, right), self.join(right, left));
                if other.members.len() < one.members.len() { other } else { one }
            })
            .collect();
        joined.sort_by_key(|combination| combination.members.len());
        let mut kept: Vec<Combination> = Vec::new();
        for combination in joined {
            if !kept.iter().any(|smaller| combination.contains(smaller)) {
                kept.push(combination);
            }
        }
        kept
    }

    /// The principals of `containing`, and those of `contained` that no signer of the former can serve on the side. Greedy
    /// and in order, as Fabric.
    fn join(&self, contained: &Combination, containing: &Combination) -> Combination {
        let mut used = vec![false; containing.members.len()];
        let mut members = containing.members.clone();
        for member in &contained.members {
            let mut free = containing.members.iter().zip(&mut used).filter(|(_, used)| !**used);
            match free.find(|(covering, _)| self.covers(**covering, *member)) {
                Some((_, used)) => *used = true,
                None => members.push(*member),
            }
        }
        Combination::new(members)
    }
}

/// Which combinations of one policy are contained in which of another one.
struct Containment {
    /// Places of the contained one and of the containing one.
    pairs: Vec<(usize, usize)>,
    /// By place in the first policy: whether it is contained in any.
    contained: Vec<bool>,
    /// By place in the second policy: whether it contains any.
    containing: Vec<bool>,
}

impl Containment {
    fn between(table: &PrincipalTable, first: &[Combination], second: &[Combination]) -> Self {
        let mut found =
            Self { pairs: Vec::new(), contained: vec![false; first.len()], containing: vec![false; second.len()] };
        for (a, (small, contained)) in first.iter().zip(&mut found.contained).enumerate() {
            for (b, (large, containing)) in second.iter().zip(&mut found.containing).enumerate() {
                if table.is_contained(small, large) {
                    (*contained, *containing) = (true, true);
                    if found.pairs.len() < MAX_PAIRS {
                        found.pairs.push((a, b));
                    }
                }
            }
        }
        found
    }

    fn pairs<'a>(
        &'a self,
        first: &'a [Combination],
        second: &'a [Combination],
    ) -> impl Iterator<Item = (&'a Combination, &'a Combination)> {
        self.pairs.iter().filter_map(|(a, b)| Some((first.get(*a)?, second.get(*b)?)))
    }

    fn not_contained<'a>(&'a self, first: &'a [Combination]) -> impl Iterator<Item = &'a Combination> {
        first.iter().zip(&self.contained).filter(|(_, contained)| !**contained).map(|(combination, _)| combination)
    }

    fn not_containing<'a>(&'a self, second: &'a [Combination]) -> impl Iterator<Item = &'a Combination> {
        second.iter().zip(&self.containing).filter(|(_, containing)| !**containing).map(|(combination, _)| combination)
    }
}

/// Leaves out what names all principals of another combination, however often each; of those that name the same ones the
/// shortest stays.
fn reduce(combinations: Vec<Combination>) -> Vec<Combination> {
    let is_dropped = |index: usize, combination: &Combination| {
        combinations.iter().enumerate().any(|(other_index, other)| {
            index != other_index
                && other.bits.is_subset(&combination.bits)
                && (!combination.bits.is_subset(&other.bits)
                    || (other.members.len(), other_index) < (combination.members.len(), index))
        })
    };
    let kept = combinations.iter().enumerate().filter(|(index, combination)| !is_dropped(*index, combination));
    kept.map(|(_, combination)| combination.clone()).collect()
}
