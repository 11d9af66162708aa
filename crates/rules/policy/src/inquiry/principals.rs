use bytes::Bytes;
use ripstop_msp::{Principal, Role};
use ripstop_types::{MspId, SerializedIdentity};

use super::MAX_PRINCIPALS;
use super::combine::{Bits, Combination};

/// The principals of several policies, each once, and which of them covers which.
#[derive(Debug, Clone, Default)]
pub(super) struct PrincipalTable {
    principals: Vec<Principal>,
    /// For each principal, those whose every signer satisfies it too, itself included.
    covered_by: Vec<Bits>,
}

impl PrincipalTable {
    pub(super) fn principals(&self) -> &[Principal] {
        &self.principals
    }

    /// The number of a principal, which is listed from now on; none when the table is full.
    pub(super) fn number(&mut self, principal: &Principal) -> Option<usize> {
        if let Some(known) = self.principals.iter().position(|other| other == principal) {
            return Some(known);
        }
        let number = self.principals.len();
        if number >= MAX_PRINCIPALS {
            return None;
        }
        let mut covered_by = Bits::default();
        covered_by.insert(number);
        for (other, (known, known_covered_by)) in self.principals.iter().zip(&mut self.covered_by).enumerate() {
            if is_a(known, principal) {
                covered_by.insert(other);
            }
            if is_a(principal, known) {
                known_covered_by.insert(number);
            }
        }
        self.principals.push(principal.clone());
        self.covered_by.push(covered_by);
        Some(number)
    }

    /// Whether every signer of `principal` satisfies `other` too.
    pub(super) fn covers(&self, principal: usize, other: usize) -> bool {
        self.covered_by.get(other).is_some_and(|covered_by| covered_by.contains(principal))
    }

    /// Whether whoever satisfies `larger` satisfies each principal of `smaller`, each looked at for itself.
    pub(super) fn is_contained(&self, smaller: &Combination, larger: &Combination) -> bool {
        smaller
            .members()
            .iter()
            .all(|member| self.covered_by.get(*member).is_some_and(|covered_by| covered_by.meets(larger.bits())))
    }
}

/// Whether all who are `principal` are `other` as well (Fabric: `ComparablePrincipal.IsA`). Of units and roles nobody knows
/// how they relate. Principals without an organization are only themselves.
pub(super) fn is_a(principal: &Principal, other: &Principal) -> bool {
    if principal == other {
        return true;
    }
    match other {
        Principal::Role { msp_id, role: Role::Member } => org_of(principal).is_some_and(|org| org == *msp_id),
        _ => false,
    }
}

fn org_of(principal: &Principal) -> Option<MspId> {
    match principal {
        Principal::Role { msp_id, .. }
        | Principal::UnknownRole { msp_id, .. }
        | Principal::OrganizationUnit { msp_id, .. } => Some(msp_id.clone()),
        Principal::Identity(serialized) => org_of_identity(serialized),
        Principal::Nominal | Principal::Anonymous | Principal::Combined(_) | Principal::Nobody(_) => None,
    }
}

fn org_of_identity(serialized: &Bytes) -> Option<MspId> {
    SerializedIdentity::parse(serialized.clone()).ok().map(|identity| identity.msp_id)
}
