use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_msp::{Identity, MspSet, Principal};
use ripstop_policy::inquiry::Combination;
use ripstop_policy::{Inquiry, SignaturePolicy};
use ripstop_types::shortened;

use crate::demand::{Policies, Requirement};
use crate::error::{Lack, Missing};
use crate::peers::ChannelPeer;
use crate::{Candidate, Descriptor, Group, Layout, PlanError};

/// How many characters of a policy are told.
const MAX_POLICY_TEXT: usize = 300;

/// The peers that are entitled to what calls read (Fabric: `PeersAuthorizedByCriteria`, without the chaincodes).
pub(crate) fn entitled<'a>(requirements: &[Requirement], peers: &'a [ChannelPeer], msps: &MspSet) -> Vec<Member<'a>> {
    let collections: Vec<_> = requirements.iter().flat_map(|requirement| &requirement.entitled).collect();
    let members = peers.iter().map(|peer| Member {
        peer,
        identity: msps.identify(&peer.candidate.identity).ok(),
        runs_all: requirements.iter().all(|needed| peer.runs(&needed.chaincode, &needed.version)),
    });
    members
        .filter(|member| collections.iter().all(|any| any.iter().any(|principal| member.is(principal, msps))))
        .collect()
}

/// A peer of the channel with what is known of it.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) peer: &'a ChannelPeer,
    /// None of somebody whom the channel does not know.
    identity: Option<Arc<Identity>>,
    /// Whether it can run every chaincode that is called.
    pub(crate) runs_all: bool,
}

impl Member<'_> {
    fn is(&self, principal: &Principal, msps: &MspSet) -> bool {
        self.identity.as_ref().is_some_and(|identity| msps.satisfies(identity, principal).is_ok())
    }
}

/// Which of the peers have to endorse (Fabric: `PeersForEndorsement`). The layouts are Fabric's; only where it finds none that
/// the peers can complete, every combination is tried.
pub(crate) fn plan(
    requirements: &[Requirement],
    policies: &Policies,
    peers: &[ChannelPeer],
    msps: &MspSet,
) -> Result<Descriptor, PlanError> {
    let chaincode = requirements.first().ok_or(PlanError::NoChaincode)?.chaincode.clone();
    let members = entitled(requirements, peers, msps);
    let all: Vec<&SignaturePolicy> = policies.of_definitions.iter().chain(&policies.of_keys).collect();
    let inquiry = Inquiry::new(&all, |principal| {
        members.iter().filter(|member| member.runs_all && member.is(principal, msps)).count()
    })?;
    if let Some(place) = inquiry.impossible() {
        let text = all.get(place).map(|policy| shortened(policy.to_string(), MAX_POLICY_TEXT)).unwrap_or_default();
        return Err(match place < policies.of_definitions.len() {
            true => PlanError::Unsatisfiable(text),
            false => PlanError::KeyUnsatisfiable(text),
        });
    }
    let merged = inquiry.merged();
    let mut complete: Vec<_> = merged.iter().filter(|combination| inquiry.is_available(combination)).cloned().collect();
    if complete.is_empty() {
        complete = inquiry.every_combination();
    }
    if complete.is_empty() {
        return Err(lack(requirements, &inquiry, &merged, &members, msps));
    }
    complete.sort_by_key(|combination| combination.members().len());
    Ok(describe(chaincode, &inquiry, &complete, &members, msps))
}

/// Names the groups in the order in which layouts speak of them.
fn describe(
    chaincode: String,
    inquiry: &Inquiry,
    combinations: &[Combination],
    members: &[Member<'_>],
    msps: &MspSet,
) -> Descriptor {
    let mut names: BTreeMap<usize, Group> = BTreeMap::new();
    let mut groups = BTreeMap::new();
    let mut layouts = Vec::with_capacity(combinations.len());
    for combination in combinations {
        let mut layout = Layout::default();
        for (number, count) in combination.counts() {
            let next = Group(u32::try_from(names.len()).unwrap_or(u32::MAX));
            let group = *names.entry(number).or_insert_with(|| {
                let principal = inquiry.principals().get(number);
                groups.insert(next, principal.map(|one| endorsers(one, members, msps)).unwrap_or_default());
                next
            });
            layout.quantities_by_group.insert(group, u32::try_from(count).unwrap_or(u32::MAX));
        }
        layouts.push(layout);
    }
    Descriptor { chaincode, layouts, groups }
}

fn endorsers(principal: &Principal, members: &[Member<'_>], msps: &MspSet) -> Vec<Arc<Candidate>> {
    let mut found: Vec<_> = members
        .iter()
        .filter(|member| member.runs_all && member.is(principal, msps))
        .map(|member| Arc::clone(&member.peer.candidate))
        .collect();
    found.sort_by(|a, b| b.height.cmp(&a.height).then_with(|| a.endpoint.cmp(&b.endpoint)));
    found
}

/// What the combination lacks that comes nearest.
fn lack(
    requirements: &[Requirement],
    inquiry: &Inquiry,
    combinations: &[Combination],
    members: &[Member<'_>],
    msps: &MspSet,
) -> PlanError {
    let counts: Vec<(usize, usize)> = inquiry
        .principals()
        .iter()
        .map(|principal| {
            let present: Vec<_> = members.iter().filter(|member| member.is(principal, msps)).collect();
            (present.len(), present.iter().filter(|member| member.runs_all).count())
        })
        .collect();
    let missing_of = |combination: &Combination| {
        let missing = combination.counts().into_iter().filter_map(|(number, needed)| {
            let (present, running) = counts.get(number).copied().unwrap_or_default();
            let principal = inquiry.principals().get(number)?.to_string();
            (running < needed).then_some(Missing { principal, needed, present, running })
        });
        missing.collect::<Vec<_>>()
    };
    let short_of = |missing: &[Missing]| missing.iter().map(|one| one.needed - one.running).sum::<usize>();
    let mut nearest: Option<Vec<Missing>> = None;
    let mut would_do = false;
    for combination in combinations {
        let missing = missing_of(combination);
        would_do |= missing.iter().all(|one| one.present >= one.needed);
        if nearest.as_ref().is_none_or(|nearest| short_of(&missing) < short_of(nearest)) {
            nearest = Some(missing);
        }
    }
    let chaincodes = requirements.iter().map(|needed| (needed.chaincode.clone(), needed.version.clone()));
    let lack = Lack { chaincodes: chaincodes.collect(), missing: nearest.unwrap_or_default() };
    if would_do { PlanError::NotInstalled(lack) } else { PlanError::NoCombination(lack) }
}

#[cfg(test)]
mod tests;
