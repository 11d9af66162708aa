//! Who is in a channel, as this peer sees it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_discovery::{Candidate, Descriptor};
use ripstop_gossip::{ChannelMember, PkiId, View};
use ripstop_types::{ChannelId, MspId};

use crate::endorser::{Endorser, Location, best_first};
use crate::plan::Plan;

/// Chaincodes that every peer has (Fabric: `scc.BuiltinSCCs`).
pub(crate) const SYSTEM_CHAINCODES: [&str; 4] = [ripstop_lifecycle::NAMESPACE, "cscc", "lscc", "qscc"];
/// What applications learn of a peer that only its own organization may reach.
const NO_ADDRESS: &str = "a peer without peer.gossip.externalEndpoint";
/// How many organizations, and how many peers of each, an explanation lists; the rest is counted.
const MAX_LISTED: usize = 8;

/// The peers of a channel at a moment, the gateway's own one among them.
pub(crate) struct Roster {
    view: Arc<View>,
    channel: ChannelId,
    /// Under which address the gateway's own peer is known.
    local_address: String,
    /// How many blocks the gateway's own peer has, which gossip says later.
    local_height: u64,
}

impl Roster {
    /// The peers of a channel in a view.
    pub(crate) fn new(view: Arc<View>, channel: ChannelId, local_address: String, local_height: u64) -> Self {
        Self { view, channel, local_address, local_height }
    }

    fn members(&self) -> impl Iterator<Item = (&PkiId, &ChannelMember)> {
        self.view.channels.get(&self.channel).into_iter().flatten()
    }

    fn is_local(&self, id: &PkiId) -> bool {
        self.view.me.as_ref().is_some_and(|me| me.member.pki_id == *id)
    }

    fn endorser(&self, id: &PkiId, member: &ChannelMember) -> Endorser {
        let local = self.is_local(id);
        let reached = &member.peer.member;
        let address = if local { &self.local_address } else { reached.preferred_endpoint() };
        let name = match (local, reached.endpoint.is_empty()) {
            (true, _) => self.local_address.clone(),
            (false, false) => reached.endpoint.clone(),
            (false, true) => NO_ADDRESS.to_owned(),
        };
        Endorser {
            org: member.peer.organization.clone(),
            address: address.to_owned(),
            name,
            identity: member.peer.identity.clone(),
            height: if local { self.local_height } else { member.height },
            location: if local { Location::Local } else { Location::Remote },
        }
    }

    /// Where all others are reached, each with its organization.
    pub(crate) fn addresses(&self) -> Vec<(MspId, String)> {
        let others = self.members().filter(|(id, _)| !self.is_local(id));
        others.map(|(id, member)| self.endorser(id, member)).map(|endorser| (endorser.org, endorser.address)).collect()
    }

    /// Everybody who can run a chaincode and be reached, by organization, best first.
    pub(crate) fn having(&self, chaincode: &str) -> BTreeMap<MspId, Vec<Endorser>> {
        let mut found: BTreeMap<MspId, Vec<Endorser>> = BTreeMap::new();
        for (id, member) in self.members().filter(|(_, member)| runs(member, chaincode)) {
            let endorser = self.endorser(id, member);
            if endorser.location == Location::Local || !endorser.address.is_empty() {
                found.entry(endorser.org.clone()).or_default().push(endorser);
            }
        }
        found.values_mut().for_each(|endorsers| best_first(endorsers));
        found
    }

    /// The plan that a descriptor of discovery describes. Those of its peers that this one cannot reach are left out.
    pub(crate) fn plan(&self, descriptor: Descriptor) -> Plan {
        let groups = descriptor.groups.into_iter().map(|(group, candidates)| {
            let mut endorsers: Vec<_> = candidates.iter().filter_map(|candidate| self.reachable(candidate)).collect();
            best_first(&mut endorsers);
            (group, endorsers)
        });
        Plan::new(descriptor.layouts, groups)
    }

    /// A candidate by what the view says of it, as long as it is there: its own organization knows a better address.
    fn reachable(&self, candidate: &Candidate) -> Option<Endorser> {
        let known = self.members().find(|(_, member)| member.peer.identity == candidate.identity);
        let endorser = match known {
            Some((id, member)) => self.endorser(id, member),
            None => Endorser {
                org: candidate.organization.clone(),
                address: candidate.endpoint.clone(),
                name: candidate.endpoint.clone(),
                identity: candidate.identity.clone(),
                height: candidate.height,
                location: Location::Remote,
            },
        };
        Some(endorser).filter(|endorser| endorser.location == Location::Local || !endorser.address.is_empty())
    }

    /// What each of these organizations lacks to execute these chaincodes; none if they lack nothing.
    pub(crate) fn lacking<'a>(
        &self,
        organizations: impl IntoIterator<Item = &'a MspId>,
        chaincodes: &[&str],
    ) -> Option<String> {
        let lacks = |org: &MspId| {
            let mut members: Vec<_> = self.members().filter(|(_, member)| member.peer.organization == *org).collect();
            if members.is_empty() {
                return Some(format!("no peer of {org} is known in the channel"));
            }
            members.sort_by_key(|(_, member)| Reverse(member.height));
            let whole: Vec<_> =
                members.iter().filter_map(|(id, member)| self.member_lacks(id, member, chaincodes)).collect();
            (whole.len() == members.len()).then(|| listed(whole, ", "))
        };
        let lacking: Vec<_> = organizations.into_iter().filter_map(lacks).collect();
        (!lacking.is_empty()).then(|| listed(lacking, "; "))
    }

    fn member_lacks(&self, id: &PkiId, member: &ChannelMember, chaincodes: &[&str]) -> Option<String> {
        let endorser = self.endorser(id, member);
        let Endorser { org, address, name, height, .. } = &endorser;
        if address.is_empty() {
            return Some(format!("{name} of {org} cannot be reached from other organisations"));
        }
        let missing: Vec<_> = chaincodes.iter().copied().filter(|chaincode| !runs(member, chaincode)).collect();
        if missing.is_empty() {
            return None;
        }
        let missing = missing.join(" and ");
        let behind = match self.local_height.checked_sub(*height) {
            None | Some(0) => String::new(),
            Some(1) => " (it is a block behind and may not know the definition yet)".to_owned(),
            Some(blocks) => format!(" (it is {blocks} blocks behind and may not know the definition yet)"),
        };
        Some(format!("{name} of {org} does not run {missing}{behind}"))
    }
}

/// Whether a peer can execute a chaincode: it says so, or every peer can.
fn runs(member: &ChannelMember, chaincode: &str) -> bool {
    SYSTEM_CHAINCODES.contains(&chaincode) || member.chaincodes.iter().any(|announced| announced.name == chaincode)
}

fn listed(mut items: Vec<String>, separator: &str) -> String {
    let more = items.len().saturating_sub(MAX_LISTED);
    items.truncate(MAX_LISTED);
    if more > 0 {
        items.push(format!("and {more} more"));
    }
    items.join(separator)
}

#[cfg(test)]
mod tests;
