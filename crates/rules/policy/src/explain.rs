//! Explanations of refusals. Made only when the final answer is no.

use ripstop_msp::{Identity, MspSet, Principal};
use ripstop_types::MspId;

use crate::signers::name;
use crate::{SignaturePolicy, Signers};

/// How many reasons an explanation gives; the rest is counted.
const MAX_REASONS: usize = 8;

/// What a policy needs, who signed, and why that does not suffice.
pub(crate) fn explain_signature_policy(policy: &SignaturePolicy, signers: &Signers, msps: &MspSet) -> String {
    format!("it needs {policy}; {}", explain_signers(&policy.principals, signers, msps))
}

/// Who signed, and why each does not satisfy a principal of its organisation.
pub(crate) fn explain_signers(principals: &[Principal], signers: &Signers, msps: &MspSet) -> String {
    let mut reasons: Vec<String> =
        signers.identities().iter().map(|identity| explain_identity(principals, identity, msps)).collect();
    reasons.extend(signers.not_counted().iter().map(ToString::to_string));
    if reasons.is_empty() {
        return "nobody signed".to_owned();
    }
    let more = reasons.len().saturating_sub(MAX_REASONS);
    reasons.truncate(MAX_REASONS);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    reasons.join("; ")
}

fn explain_identity(principals: &[Principal], identity: &Identity, msps: &MspSet) -> String {
    let mut refusals: Vec<String> = Vec::new();
    for principal in principals {
        match (organisation(principal), msps.satisfies(identity, principal)) {
            (_, Ok(())) => return format!("signed by {}", name(identity)),
            (Some(msp_id), Err(_)) if msp_id != identity.msp_id() => {}
            (_, Err(refusal)) => {
                let refusal = refusal.to_string();
                if !refusals.contains(&refusal) && refusals.len() < MAX_REASONS {
                    refusals.push(refusal);
                }
            }
        }
    }
    if refusals.is_empty() {
        format!("{} signed, but that is not one of the organisations needed", name(identity))
    } else {
        format!("{} signed, but: {}", name(identity), refusals.join("; "))
    }
}

fn organisation(principal: &Principal) -> Option<&MspId> {
    match principal {
        Principal::Role { msp_id, .. }
        | Principal::UnknownRole { msp_id, .. }
        | Principal::OrganizationUnit { msp_id, .. } => Some(msp_id),
        _ => None,
    }
}
