//! The messages of policies that everybody needs.

use ripstop_msp::{Principal, Role};
use ripstop_proto::common::{self, signature_policy};
use ripstop_types::MspId;

/// A rule: the principal at a place in the list.
pub const fn signed_by(index: i32) -> common::SignaturePolicy {
    common::SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(index)) }
}

/// A rule: at least `n` of some rules.
pub const fn out_of(n: i32, rules: Vec<common::SignaturePolicy>) -> common::SignaturePolicy {
    common::SignaturePolicy { r#type: Some(signature_policy::Type::NOutOf(signature_policy::NOutOf { n, rules })) }
}

/// At least `n` of the organizations, each by someone with the role. The organizations are sorted, as Fabric does.
pub fn n_out_of_role(n: i32, role: Role, msp_ids: &[MspId]) -> common::SignaturePolicyEnvelope {
    let mut sorted = msp_ids.to_vec();
    sorted.sort();
    let rules = (0..).take(sorted.len()).map(signed_by).collect();
    common::SignaturePolicyEnvelope {
        version: 0,
        rule: Some(out_of(n, rules)),
        identities: sorted.iter().map(|msp_id| Principal::role_message(msp_id, role)).collect(),
    }
}

/// Anyone with the role in any of the organizations.
pub fn signed_by_any(role: Role, msp_ids: &[MspId]) -> common::SignaturePolicyEnvelope {
    n_out_of_role(1, role, msp_ids)
}

/// Satisfied by no signature at all.
pub fn accept_all() -> common::SignaturePolicyEnvelope {
    common::SignaturePolicyEnvelope { version: 0, rule: Some(out_of(0, Vec::new())), identities: Vec::new() }
}

/// Satisfied by nobody.
pub fn reject_all() -> common::SignaturePolicyEnvelope {
    common::SignaturePolicyEnvelope { version: 0, rule: Some(out_of(1, Vec::new())), identities: Vec::new() }
}
