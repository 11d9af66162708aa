//! Explanations of refusals. Made only when the final answer is no.

use ripstop_msp::{Identity, MspSet, Principal};
use ripstop_types::{MspId, shortened};

use crate::Signers;
use crate::signers::name;

/// How many policies, signers or reasons an explanation lists; the rest is counted.
const MAX_LISTED: usize = 8;
/// How many characters the explanation of the policies has at most, and that of the signers: it travels in headers, and repeats
/// what strangers sent.
const MAX_CHARACTERS: usize = 1_500;

/// What is needed and what of it is lacking, policy by policy.
pub(crate) fn explain_policies(policies: Vec<String>) -> String {
    listed(policies)
}

/// Who signed, and why each does not satisfy a principal of its organization.
pub(crate) fn explain_signers(principals: &[Principal], signers: &Signers, msps: &MspSet) -> String {
    let counted = signers.identities().iter().map(|identity| explain_identity(principals, identity, msps));
    all_signers(counted, signers)
}

/// Who signed and why that does not count, without a word on what is needed.
pub(crate) fn explain_strangers(signers: &Signers) -> String {
    let invalid = signers.identities().iter().filter_map(|identity| {
        identity.validate().err().map(|reason| format!("{} signed, but: {reason}", name(identity)))
    });
    all_signers(invalid, signers)
}

fn all_signers(counted: impl Iterator<Item = String>, signers: &Signers) -> String {
    let reasons: Vec<String> = counted.chain(signers.not_counted().iter().map(ToString::to_string)).collect();
    if reasons.is_empty() { "nobody signed".to_owned() } else { listed(reasons) }
}

fn listed(mut items: Vec<String>) -> String {
    let more = items.len().saturating_sub(MAX_LISTED);
    items.truncate(MAX_LISTED);
    if more > 0 {
        items.push(format!("and {more} more"));
    }
    shortened(items.join("; "), MAX_CHARACTERS)
}

fn explain_identity(principals: &[Principal], identity: &Identity, msps: &MspSet) -> String {
    let mut refusals: Vec<String> = Vec::new();
    for principal in principals {
        match (organisation(principal), msps.satisfies(identity, principal)) {
            (_, Ok(())) => return format!("signed by {}", name(identity)),
            (Some(msp_id), Err(_)) if msp_id != identity.msp_id() => {}
            (_, Err(refusal)) => {
                let refusal = refusal.to_string();
                if !refusals.contains(&refusal) && refusals.len() < MAX_LISTED {
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
