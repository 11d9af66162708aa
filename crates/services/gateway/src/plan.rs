use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost::Message;
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
            Some(first) => {
                let text = format!("ProposalResponsePayloads do not match: {}", differences(first, &response.payload));
                tracing::warn!(target: "gateway.responsechecker", "{text}: peer {} ({})", peer.address(), peer.org());
                self.failed(peer.detail(&text));
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

/// In which parts one response differs from the first one, for people.
fn differences(first: &Bytes, other: &Bytes) -> String {
    let parts = |payload: &Bytes| {
        let payload = protos::ProposalResponsePayload::decode(payload.clone()).ok()?;
        let action = protos::ChaincodeAction::decode(payload.extension).ok()?;
        Some((payload.proposal_hash, action))
    };
    let (Some((first_hash, first)), Some((other_hash, other))) = (parts(first), parts(other)) else {
        return "one of them is no response of a chaincode".to_owned();
    };
    let differing: Vec<&str> = [
        ("the proposal", first_hash != other_hash),
        ("the chaincode's name or version", first.chaincode_id != other.chaincode_id),
        ("the chaincode's response", first.response != other.response),
        ("the event", first.events != other.events),
        ("what was read and written", first.results != other.results),
    ]
    .into_iter()
    .filter_map(|(part, differs)| differs.then_some(part))
    .collect();
    format!(
        "it differs from the first endorser's in {}; chaincode must come to the same result on every peer, and peers must have the same height",
        differing.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(orgs: &[&str]) -> Layout {
        Layout(orgs.iter().map(|org| (MspId::new(org), 1)).collect())
    }

    fn plan(layouts: &[&[&str]], peers: &[(&str, &str)]) -> Plan {
        let mut groups: BTreeMap<MspId, VecDeque<Peer>> = BTreeMap::new();
        for (org, address) in peers {
            groups.entry(MspId::new(org)).or_default().push_back(Peer::named(org, address));
        }
        Plan::new(layouts.iter().map(|orgs| layout(orgs)), groups)
    }

    fn addresses(peers: &[Peer]) -> Vec<&str> {
        peers.iter().map(Peer::address).collect()
    }

    fn response(endorser: &str, payload: &'static [u8]) -> protos::ProposalResponse {
        let endorsement = protos::Endorsement { endorser: endorser.to_owned().into(), ..Default::default() };
        protos::ProposalResponse { payload: payload.into(), endorsement: Some(endorsement), ..Default::default() }
    }

    fn endorsers(plan: &Plan) -> Option<Vec<String>> {
        let action = plan.complete()?;
        let names = action.endorsements.iter().map(|e| String::from_utf8_lossy(&e.endorser).into_owned());
        Some(names.collect())
    }

    #[test]
    fn a_layout_is_completed_by_one_peer_of_each_organisation() {
        let mut plan = plan(&[&["A", "B"]], &[("A", "a0"), ("A", "a1"), ("B", "b0")]);
        let asked = plan.next_peers();
        assert_eq!(addresses(&asked), ["a0", "b0"]);
        assert!(plan.endorsed(&asked[0], response("a0", b"r")));
        assert_eq!(endorsers(&plan), None);
        assert!(plan.endorsed(&asked[1], response("b0", b"r")));
        assert_eq!(endorsers(&plan), Some(vec!["a0".to_owned(), "b0".to_owned()]));
    }

    #[test]
    fn a_failed_peer_is_followed_by_its_neighbour_and_then_by_another_layout() {
        let mut plan = plan(&[&["A", "B"], &["A", "C"]], &[("A", "a0"), ("B", "b0"), ("B", "b1"), ("C", "c0")]);
        let asked = plan.next_peers();
        assert!(plan.endorsed(&asked[0], response("a0", b"r")));
        plan.failed(asked[1].detail("no"));
        assert_eq!(plan.next_of(&MspId::new("B")).map(|peer| peer.address().to_owned()), Some("b1".to_owned()));
        assert!(plan.next_of(&MspId::new("B")).is_none());
        // The endorsement of A counts for the other layout too: nobody is asked twice.
        let asked = plan.next_peers();
        assert_eq!(addresses(&asked), ["c0"]);
        assert!(plan.endorsed(&asked[0], response("c0", b"r")));
        assert_eq!(endorsers(&plan), Some(vec!["a0".to_owned(), "c0".to_owned()]));
    }

    #[test]
    fn an_endorsement_of_another_result_does_not_count() {
        let mut plan = plan(&[&["A", "B"]], &[("A", "a0"), ("B", "b0")]);
        let asked = plan.next_peers();
        assert!(plan.endorsed(&asked[0], response("a0", b"one")));
        assert!(!plan.endorsed(&asked[1], response("b0", b"two")));
        assert!(plan.next_peers().is_empty());
        let details = plan.into_details();
        assert_eq!(
            details[0].message,
            "ProposalResponsePayloads do not match: one of them is no response of a chaincode"
        );
        assert_eq!((details[0].address.as_str(), details[0].msp_id.as_str()), ("b0", "B"));
    }

    #[test]
    fn differences_between_results_are_named() {
        let payload = |status: i32, results: &'static [u8]| {
            let response = Some(protos::Response { status, ..Default::default() });
            let action = protos::ChaincodeAction { response, results: results.into(), ..Default::default() };
            let extension = action.encode_to_vec().into();
            protos::ProposalResponsePayload { extension, ..Default::default() }.encode_to_vec().into()
        };
        let text = differences(&payload(200, b"one"), &payload(200, b"two"));
        assert!(text.starts_with("it differs from the first endorser's in what was read and written; "), "{text}");
        let text = differences(&payload(200, b"one"), &payload(201, b"two"));
        assert!(text.contains(" in the chaincode's response, what was read and written; "), "{text}");
    }

    #[test]
    fn layouts_without_enough_peers_are_passed_over() {
        let mut plan = plan(&[&["A", "X"], &["A", "B"]], &[("A", "a0"), ("B", "b0")]);
        assert!(plan.is_possible());
        assert_eq!(addresses(&plan.next_peers()), ["a0", "b0"]);
        assert!(!super::tests::plan(&[&["X"]], &[("A", "a0")]).is_possible());
    }

    #[test]
    fn the_same_signature_twice_is_one() {
        let mut plan = Plan::new(
            [Layout(BTreeMap::from([(MspId::new("A"), 2)]))],
            BTreeMap::from([(MspId::new("A"), VecDeque::from(["a0", "a1"].map(|a| Peer::named("A", a))))]),
        );
        let asked = plan.next_peers();
        assert!(plan.endorsed(&asked[0], response("same", b"r")));
        assert!(plan.endorsed(&asked[1], response("same", b"r")));
        assert_eq!(endorsers(&plan), None);
    }
}
