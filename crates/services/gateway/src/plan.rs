use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ripstop_discovery::{Group, Layout};
use ripstop_proto::{gateway, protos};

use crate::difference::Mismatch;
use crate::endorser::{Endorser, best_first};

/// What to do now.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Ask this peer, beside those that were asked already.
    Ask(Endorser),
    /// Wait for the answer of any peer that was asked.
    Wait,
    /// A layout is complete: this was endorsed, by these. Answers that are still to come do not matter.
    Complete(protos::ChaincodeEndorsedAction),
    /// No layout can be completed any more.
    Impossible,
}

/// How far it is with a peer.
#[derive(Debug, Clone, PartialEq)]
enum Progress {
    Untried,
    Asked,
    Endorsed(protos::Endorsement),
    Failed,
}

#[derive(Debug)]
struct Member {
    endorser: Endorser,
    groups: BTreeSet<Group>,
    progress: Progress,
}

/// The response that all others must equal.
#[derive(Debug)]
struct Reference {
    endorser: Endorser,
    payload: Bytes,
}

/// Collects endorsements until one of several layouts is complete. Pure: it says who is asked next, and what an answer means.
///
/// No peer is asked twice. Layouts are tried in the order given; one is given up as soon as its groups have too few peers
/// left, and what was endorsed and asked for it counts for the next one. A peer in several groups takes one place in a
/// layout, and moves over for one that has no other choice.
#[derive(Debug)]
pub(crate) struct Plan {
    layouts: VecDeque<Layout>,
    /// Best first.
    members: Vec<Member>,
    reference: Option<Reference>,
    details: Vec<gateway::ErrorDetail>,
}

impl Plan {
    /// A plan over layouts, best first, and the peers of each group, those to be asked first in front.
    pub(crate) fn new(
        layouts: impl IntoIterator<Item = Layout>,
        groups: impl IntoIterator<Item = (Group, Vec<Endorser>)>,
    ) -> Self {
        let mut members: Vec<Member> = Vec::new();
        for (group, endorsers) in groups {
            for endorser in endorsers {
                match members.iter_mut().find(|member| member.endorser.is(&endorser)) {
                    Some(member) => drop(member.groups.insert(group)),
                    None => members.push(Member { endorser, groups: [group].into(), progress: Progress::Untried }),
                }
            }
        }
        Self { layouts: layouts.into_iter().collect(), members, reference: None, details: Vec::new() }
    }

    /// Puts layouts in front to which a peer can contribute, because it endorsed already. The order of others stays.
    pub(crate) fn prefer(&mut self, endorser: &Endorser) {
        let groups = self.find(endorser).map(|member| member.groups.clone()).unwrap_or_default();
        let contributes = |layout: &Layout| layout.quantities_by_group.keys().any(|group| groups.contains(group));
        self.layouts.make_contiguous().sort_by_key(|layout| !contributes(layout));
    }

    /// Whether any layout can still be completed.
    pub(crate) fn is_possible(&self) -> bool {
        self.layouts.iter().any(|layout| self.fill(layout, |_| true).is_some())
    }

    /// What to do now. To be called until it is not [`Step::Ask`] any more, at first and after each answer.
    pub(crate) fn step(&mut self) -> Step {
        if let Some(action) = self.complete() {
            return Step::Complete(action);
        }
        while let Some(layout) = self.layouts.front() {
            let Some(places) = self.fill(layout, |_| true) else {
                self.layouts.pop_front();
                continue;
            };
            let untried = places.into_iter().filter(|&place| self.progress(place) == Some(&Progress::Untried)).min();
            return match untried.and_then(|place| self.members.get_mut(place)) {
                Some(member) => {
                    member.progress = Progress::Asked;
                    Step::Ask(member.endorser.clone())
                }
                None => Step::Wait,
            };
        }
        Step::Impossible
    }

    /// Records an answer that is an endorsement. It counts if it is of the same response as the first one, and by nobody who
    /// signed already.
    ///
    /// # Errors
    /// How the response differs from the first one.
    pub(crate) fn endorsed(&mut self, endorser: &Endorser, response: protos::ProposalResponse) -> Result<(), Mismatch> {
        match &self.reference {
            None => self.reference = Some(Reference { endorser: endorser.clone(), payload: response.payload }),
            Some(first) if first.payload == response.payload => {}
            Some(first) => {
                let mismatch = Mismatch::between((&first.endorser, &first.payload), (endorser, &response.payload));
                self.failed(endorser, &mismatch.explanation());
                return Err(mismatch);
            }
        }
        match response.endorsement {
            None => self.failed(endorser, "the peer did not sign its response"),
            Some(endorsement) if self.has_signed(&endorsement.endorser) => {
                self.failed(endorser, "the peer signed with the identity of another endorser, which counts once");
            }
            Some(endorsement) => self.set(endorser, Progress::Endorsed(endorsement)),
        }
        Ok(())
    }

    /// Records an answer that is no endorsement.
    pub(crate) fn failed(&mut self, endorser: &Endorser, message: &str) {
        self.set(endorser, Progress::Failed);
        self.details.push(endorser.detail(message));
    }

    /// Everybody who could endorse, best first.
    pub(crate) fn into_endorsers(self) -> Vec<Endorser> {
        let mut endorsers: Vec<_> = self.members.into_iter().map(|member| member.endorser).collect();
        best_first(&mut endorsers);
        endorsers
    }

    /// Everything that went wrong.
    pub(crate) fn into_details(self) -> Vec<gateway::ErrorDetail> {
        self.details
    }

    fn find(&self, endorser: &Endorser) -> Option<&Member> {
        self.members.iter().find(|member| member.endorser.is(endorser))
    }

    fn set(&mut self, endorser: &Endorser, progress: Progress) {
        if let Some(member) = self.members.iter_mut().find(|member| member.endorser.is(endorser)) {
            member.progress = progress;
        }
    }

    fn progress(&self, place: usize) -> Option<&Progress> {
        self.members.get(place).map(|member| &member.progress)
    }

    fn has_signed(&self, identity: &Bytes) -> bool {
        let signed = |progress: &Progress| matches!(progress, Progress::Endorsed(by) if by.endorser == *identity);
        self.members.iter().any(|member| signed(&member.progress))
    }

    /// What was endorsed and by whom, once any layout is complete.
    fn complete(&self) -> Option<protos::ChaincodeEndorsedAction> {
        let payload = &self.reference.as_ref()?.payload;
        let endorsed = |progress: &Progress| matches!(progress, Progress::Endorsed(_));
        let places = self.layouts.iter().find_map(|layout| self.fill(layout, endorsed))?;
        let endorsement = |place: usize| match self.progress(place) {
            Some(Progress::Endorsed(endorsement)) => Some(endorsement.clone()),
            _ => None,
        };
        Some(protos::ChaincodeEndorsedAction {
            proposal_response_payload: payload.clone(),
            endorsements: places.into_iter().filter_map(endorsement).collect(),
        })
    }

    /// The members that take the places of a layout: those that endorsed before those that were asked, before others; nobody
    /// who failed. None where they do not suffice.
    fn fill(&self, layout: &Layout, may: impl Fn(&Progress) -> bool) -> Option<Vec<usize>> {
        let rank = |progress: &Progress| match progress {
            Progress::Endorsed(_) => Some(0),
            Progress::Asked => Some(1),
            Progress::Untried => Some(2),
            Progress::Failed => None,
        };
        let quantities = &layout.quantities_by_group;
        let mut candidates: Vec<(u8, usize)> = Vec::new();
        for (place, member) in self.members.iter().enumerate() {
            let usable = may(&member.progress) && member.groups.iter().any(|group| quantities.contains_key(group));
            candidates.extend(rank(&member.progress).filter(|_| usable).map(|rank| (rank, place)));
        }
        candidates.sort_unstable();
        let needed: u64 = quantities.values().copied().map(u64::from).sum();
        let mut places = Places { quantities, members: &self.members, taken: BTreeMap::new() };
        let mut filled = 0;
        for (_, place) in candidates {
            if filled == needed {
                break;
            }
            filled += u64::from(places.seat(place, &mut BTreeSet::new()));
        }
        (filled == needed).then(|| places.taken.into_values().flatten().collect())
    }
}

/// The places of a layout and who takes them. Whoever was seated stays seated, though perhaps in another group: so those who
/// come first are preferred, and no place stays empty that could be filled.
struct Places<'a> {
    quantities: &'a BTreeMap<Group, u32>,
    members: &'a [Member],
    taken: BTreeMap<Group, Vec<usize>>,
}

impl Places<'_> {
    /// Finds a place for a member, if need be by letting others move over; groups in `tried` are not looked at again.
    fn seat(&mut self, place: usize, tried: &mut BTreeSet<Group>) -> bool {
        let Some(member) = self.members.get(place) else { return false };
        for group in &member.groups {
            let Some(quantity) = self.quantities.get(group).map(|quantity| *quantity as usize) else { continue };
            if !tried.insert(*group) {
                continue;
            }
            let seated = self.taken.get(group).cloned().unwrap_or_default();
            if seated.len() < quantity {
                self.taken.entry(*group).or_default().push(place);
                return true;
            }
            if let Some(index) = seated.iter().position(|&other| self.seat(other, tried)) {
                if let Some(freed) = self.taken.get_mut(group).and_then(|seats| seats.get_mut(index)) {
                    *freed = place;
                }
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
