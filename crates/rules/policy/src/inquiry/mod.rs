//! Who could satisfy these policies?
//!
//! An [`Inquiry`] lists, for one or several signature policies, the combinations of principals that satisfy all of them
//! (Fabric: `common/policies/inquire`). Within one policy every principal of a combination needs a signer of its own; one
//! signer may serve different policies.

mod combine;
mod expand;
mod principals;

use ripstop_msp::Principal;

use crate::SignaturePolicy;
pub use combine::Combination;
use expand::expand;
use principals::PrincipalTable;

/// How many combinations of one policy are looked at, as in Fabric. Of a policy with more, those are kept that the
/// available signers can make up.
pub const MAX_COMBINATIONS: usize = 10_000;
/// How many combinations of each policy are looked at where several policies are joined, and how many come out.
const MAX_JOINED: usize = 250;
/// How many pairs of combinations are tried when two policies are joined.
const MAX_PAIRS: usize = 1_000;
/// How many different policies are joined.
pub const MAX_POLICIES: usize = 32;
/// How many different principals the policies may name together.
pub const MAX_PRINCIPALS: usize = 512;

/// Why nobody can be named who satisfies policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InquiryError {
    /// Nobody asked for anything.
    #[error("no principal sets remained after filtering")]
    NoPolicies,
    /// Too many policies at once.
    #[error("the call is subject to {0} different policies, and no more than {MAX_POLICIES} can be planned for")]
    TooManyPolicies(usize),
    /// Too many principals.
    #[error("the policies name more than {MAX_PRINCIPALS} different principals, which is too many to plan for")]
    TooManyPrincipals,
}

/// Policies that have to be satisfied together, taken apart into combinations of principals.
#[derive(Debug)]
pub struct Inquiry {
    table: PrincipalTable,
    available: Vec<usize>,
    /// The combinations of each policy.
    policies: Vec<Vec<Combination>>,
    /// The first policy that no combination satisfies.
    impossible: Option<usize>,
}

impl Inquiry {
    /// Takes policies apart. `available` says how many signers there are for a principal: it decides what is kept of
    /// policies with very many combinations, and nothing else.
    ///
    /// # Errors
    /// When there is no policy, or more of policies or principals than the named bounds.
    pub fn new(
        policies: &[&SignaturePolicy],
        mut available: impl FnMut(&Principal) -> usize,
    ) -> Result<Self, InquiryError> {
        let mut distinct: Vec<&SignaturePolicy> = Vec::new();
        for policy in policies {
            if !distinct.contains(policy) {
                distinct.push(policy);
            }
            if distinct.len() > MAX_POLICIES {
                return Err(InquiryError::TooManyPolicies(policies.len()));
            }
        }
        if distinct.is_empty() {
            return Err(InquiryError::NoPolicies);
        }
        let mut table = PrincipalTable::default();
        let numbered: Vec<Vec<usize>> = distinct
            .iter()
            .map(|policy| policy.principals().iter().map(|principal| table.number(principal)).collect::<Option<_>>())
            .collect::<Option<_>>()
            .ok_or(InquiryError::TooManyPrincipals)?;
        let available: Vec<usize> = table.principals().iter().map(&mut available).collect();
        let taken_apart: Vec<Vec<Combination>> = distinct
            .iter()
            .zip(&numbered)
            .map(|(policy, numbers)| expand(policy, numbers, &available).into_iter().map(Combination::new).collect())
            .collect();
        let impossible = taken_apart.iter().position(Vec::is_empty).and_then(|first| {
            let policy = distinct.get(first)?;
            policies.iter().position(|other| other == policy)
        });
        Ok(Self { table, available, policies: taken_apart, impossible })
    }

    /// All principals that the policies name, each once. [`Combination`]s refer to them by number.
    pub fn principals(&self) -> &[Principal] {
        self.table.principals()
    }

    /// The place of the first of the policies that no combination of principals at all satisfies.
    pub const fn impossible(&self) -> Option<usize> {
        self.impossible
    }

    /// Whether the available signers can make up a combination, each principal looked at for itself.
    pub fn is_available(&self, combination: &Combination) -> bool {
        combination
            .counts()
            .into_iter()
            .all(|(principal, count)| self.available.get(principal).is_some_and(|available| *available >= count))
    }

    /// The combinations that satisfy every policy, as Fabric merges them: where a combination of one policy suffices for
    /// another one, no larger one is made from it. So there may be no combination left that the available signers can make up,
    /// although there is one; see [`Self::every_combination`].
    pub fn merged(&self) -> Vec<Combination> {
        let [only] = self.policies.as_slice() else {
            return self.join_all(|table, left, right| table.merge(left, right));
        };
        only.clone()
    }

    /// The combinations that satisfy every policy and that the available signers can make up, found by joining each
    /// combination of each policy with each of the others.
    pub fn every_combination(&self) -> Vec<Combination> {
        let available = |all: &[Combination]| all.iter().filter(|one| self.is_available(one)).cloned().collect();
        let restricted = Self {
            table: self.table.clone(),
            available: self.available.clone(),
            policies: self.policies.iter().map(|all| available(all)).collect(),
            impossible: self.impossible,
        };
        let joined = restricted.join_all(|table, left, right| table.product(left, right));
        joined.into_iter().filter(|combination| self.is_available(combination)).collect()
    }

    fn join_all(
        &self,
        join: impl Fn(&PrincipalTable, &[Combination], &[Combination]) -> Vec<Combination>,
    ) -> Vec<Combination> {
        let bounded = |all: &[Combination]| {
            let mut all = all.to_vec();
            if all.len() > MAX_JOINED {
                // Those that can be made up come first; the order is kept otherwise.
                all.sort_by_key(|combination| !self.is_available(combination));
                all.truncate(MAX_JOINED);
            }
            all
        };
        let mut policies = self.policies.iter();
        let Some(first) = policies.next() else { return Vec::new() };
        policies.fold(bounded(first), |so_far, next| bounded(&join(&self.table, &so_far, &bounded(next))))
    }
}

#[cfg(test)]
mod tests;
