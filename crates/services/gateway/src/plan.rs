use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ripstop_proto::{gateway, protos};
use ripstop_types::MspId;

use crate::layout::Layout;
use crate::peers::Peer;

/// Collects endorsements until one of several layouts is complete. Pure: who is asked, and what an answer means.
#[derive(Debug)]
pub(crate) struct Plan {
    layouts: VecDeque<Layout>,
    /// The peers of each organisation that were not asked yet, best first.
    peers: BTreeMap<MspId, VecDeque<Peer>>,
    /// Endorsements of the same response, by organisation, in order of arrival.
    endorsements: BTreeMap<MspId, Vec<protos::Endorsement>>,
    response_payload: Option<Bytes>,
    details: Vec<gateway::ErrorDetail>,
}

impl Plan {
    pub(crate) fn new(layouts: impl IntoIterator<Item = Layout>, peers: BTreeMap<MspId, VecDeque<Peer>>) -> Self {
        let layouts = layouts.into_iter().collect();
        Self { layouts, peers, endorsements: BTreeMap::new(), response_payload: None, details: Vec::new() }
    }

    /// Puts layouts that hold `org` first, because it endorsed already.
    pub(crate) fn prefer(&mut self, org: &MspId) {
        self.layouts.make_contiguous().sort_by_key(|layout| !layout.0.contains_key(org));
    }

    /// Whether any layout can still be completed with the peers there are.
    pub(crate) fn is_possible(&self) -> bool {
        self.layouts.iter().any(|layout| self.can_complete(layout))
    }

    fn missing(&self, layout: &Layout) -> Vec<(MspId, usize)> {
        let have = |org: &MspId| self.endorsements.get(org).map_or(0, Vec::len);
        layout.0.iter().map(|(org, needed)| (org.clone(), needed.saturating_sub(have(org)))).collect()
    }

    fn can_complete(&self, layout: &Layout) -> bool {
        self.missing(layout).iter().all(|(org, count)| self.peers.get(org).map_or(0, VecDeque::len) >= *count)
    }

    /// The peers to ask now for the first layout that is possible; layouts that are not are given up. Empty when nothing is
    /// left to ask: the plan is complete, or it failed.
    pub(crate) fn next_peers(&mut self) -> Vec<Peer> {
        while let Some(layout) = self.layouts.front() {
            if self.can_complete(layout) {
                let missing = self.missing(layout);
                return missing.into_iter().flat_map(|(org, count)| self.take(&org, count)).collect();
            }
            self.layouts.pop_front();
        }
        Vec::new()
    }

    fn take(&mut self, org: &MspId, count: usize) -> Vec<Peer> {
        let Some(peers) = self.peers.get_mut(org) else { return Vec::new() };
        let count = count.min(peers.len());
        peers.drain(..count).collect()
    }

    /// Another peer of an organisation, after one of its peers failed.
    pub(crate) fn next_of(&mut self, org: &MspId) -> Option<Peer> {
        self.take(org, 1).pop()
    }

    /// Takes a peer out because it was asked outside of this plan.
    pub(crate) fn remove(&mut self, peer: &Peer) {
        if let Some(peers) = self.peers.get_mut(peer.org()) {
            peers.retain(|other| other.address() != peer.address());
        }
    }

    /// Records an endorsement. Returns whether it counts: all must be of the same response.
    pub(crate) fn endorsed(&mut self, peer: &Peer, response: protos::ProposalResponse) -> bool {
        match &self.response_payload {
            None => self.response_payload = Some(response.payload),
            Some(first) if *first == response.payload => {}
            Some(_) => {
                tracing::warn!(target: "gateway.responsechecker", "ProposalResponsePayloads do not match: peer {} ({}) answered another response than the first endorser", peer.address(), peer.org());
                self.failed(peer.detail("ProposalResponsePayloads do not match"));
                return false;
            }
        }
        if let Some(endorsement) = response.endorsement {
            let of_org = self.endorsements.entry(peer.org().clone()).or_default();
            if of_org.iter().all(|other| other.endorser != endorsement.endorser) {
                of_org.push(endorsement);
            }
        }
        true
    }

    /// Remembers why a peer or orderer did not help.
    pub(crate) fn failed(&mut self, detail: gateway::ErrorDetail) {
        self.details.push(detail);
    }

    /// What was endorsed and by whom, once a layout is complete.
    pub(crate) fn complete(&self) -> Option<protos::ChaincodeEndorsedAction> {
        let layout = self.layouts.front()?;
        if self.missing(layout).iter().any(|(_, count)| *count > 0) {
            return None;
        }
        let of_org = |(org, count): (&MspId, &usize)| {
            let all = self.endorsements.get(org).map(Vec::as_slice).unwrap_or_default();
            all.iter().take(*count).cloned().collect::<Vec<_>>()
        };
        Some(protos::ChaincodeEndorsedAction {
            proposal_response_payload: self.response_payload.clone()?,
            endorsements: layout.0.iter().flat_map(of_org).collect(),
        })
    }

    /// Everything that went wrong.
    pub(crate) fn into_details(self) -> Vec<gateway::ErrorDetail> {
        self.details
    }
}
