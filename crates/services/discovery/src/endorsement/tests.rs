use ripstop_gossip::AnnouncedChaincode;
use ripstop_policy::dsl;
use ripstop_testkit::{CertificateOptions, Organization, msp_set};
use ripstop_types::MspId;

use super::*;

/// Peers by name, such as `a0`: the letter is the organization.
struct Network {
    msps: MspSet,
    organizations: Vec<Organization>,
    peers: Vec<ChannelPeer>,
}

impl Network {
    /// Organizations A to D. The peers run chaincode `cc` as defined with sequence 2.
    fn new(peers: &[&str]) -> Self {
        let organizations = ["A", "B", "C", "D"].map(Organization::new);
        let msps = msp_set(&organizations);
        let mut network = Self { msps, organizations: organizations.into(), peers: Vec::new() };
        for name in peers {
            network.add(name, 10, &[("cc", "2")], &["peer"]);
        }
        network
    }

    fn add(&mut self, name: &str, height: u64, chaincodes: &[(&str, &str)], units: &[&str]) {
        let msp_id = name[..1].to_uppercase();
        let organization = self.organizations.iter().find(|one| one.msp_id().as_str() == msp_id).unwrap();
        let identity = organization.identity(name, &CertificateOptions::units(units));
        let candidate = Candidate {
            organization: MspId::new(&msp_id),
            endpoint: name.to_owned(),
            identity: identity.identity().raw.clone(),
            height,
            alive: Default::default(),
            state_info: Default::default(),
        };
        let announced = |(name, version): &(&str, &str)| AnnouncedChaincode {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            metadata: Default::default(),
        };
        let chaincodes = chaincodes.iter().map(announced).collect();
        self.peers.push(ChannelPeer { candidate: Arc::new(candidate), chaincodes });
    }

    /// The layouts for a call of `cc`, each as its groups with how many endorse, or why there are none.
    fn plan(&self, policies: &[&str], key_policies: &[&str]) -> Vec<String> {
        self.plan_of(&[requirement("cc", "2", &[])], policies, key_policies)
    }

    fn plan_of(&self, requirements: &[Requirement], policies: &[&str], key_policies: &[&str]) -> Vec<String> {
        let compiled = |texts: &[&str]| texts.iter().map(|text| policy(text)).collect();
        let policies = Policies { of_definitions: compiled(policies), of_keys: compiled(key_policies) };
        match plan(requirements, &policies, &self.peers, &self.msps) {
            Ok(descriptor) => shown(&descriptor),
            Err(error) => vec![error.to_string()],
        }
    }
}

fn policy(text: &str) -> SignaturePolicy {
    SignaturePolicy::compile(&dsl::parse(text).unwrap()).unwrap()
}

fn requirement(chaincode: &str, version: &str, collections: &[&str]) -> Requirement {
    Requirement {
        chaincode: chaincode.to_owned(),
        version: version.to_owned(),
        entitled: collections.iter().map(|text| policy(text).principals().to_vec()).collect(),
    }
}

fn shown(descriptor: &Descriptor) -> Vec<String> {
    let peers = |group: &Group| {
        let names: Vec<_> = descriptor.groups[group].iter().map(|candidate| candidate.endpoint.as_str()).collect();
        names.join(",")
    };
    let layout = |layout: &Layout| {
        let groups =
            layout.quantities_by_group.iter().map(|(group, count)| format!("{count} of {group}({})", peers(group)));
        groups.collect::<Vec<_>>().join(" + ")
    };
    descriptor.layouts.iter().map(layout).collect()
}

#[test]
fn layouts_name_the_peers_of_each_group() {
    let network = Network::new(&["a0", "a1", "b0"]);
    assert_eq!(network.plan(&["AND('A.peer', 'B.peer')"], &[]), ["1 of G0(a0,a1) + 1 of G1(b0)"]);
    assert_eq!(network.plan(&["OutOf(2, 'A.member', 'A.member')"], &[]), ["2 of G0(a0,a1)"]);
    assert_eq!(
        network.plan(&["OR('B.peer', AND('A.peer', 'B.member'))"], &[]),
        ["1 of G0(b0)", "1 of G1(a0,a1) + 1 of G2(b0)"]
    );
}

#[test]
fn layouts_that_the_peers_cannot_complete_are_left_out() {
    let network = Network::new(&["a0", "c0"]);
    let two_of_three = "OutOf(2, 'A.member', 'B.member', 'C.member')";
    assert_eq!(network.plan(&[two_of_three], &[]), ["1 of G0(a0) + 1 of G1(c0)"]);
    assert_eq!(network.plan(&["OR(AND('A.member', 'A.member'), 'C.member')"], &[]), ["1 of G0(c0)"]);
}

#[test]
fn what_is_lacking_is_said() {
    let network = Network::new(&["a0"]);
    assert_eq!(
        network.plan(&["AND('A.member', 'B.peer')"], &[]),
        [
            "no peer combination can satisfy the endorsement policy: it takes 1 of B.PEER, and no such peer is known to be \
         alive, in the channel and entitled to the call"
        ]
    );
    assert_eq!(
        network.plan(&["OutOf(2, 'A.member', 'A.member')"], &[]),
        ["no peer combination can satisfy the endorsement policy: it takes 2 of A.MEMBER, and only 1 can be asked"]
    );
    let mut network = Network::new(&["a0"]);
    network.add("b0", 10, &[("cc", "1")], &["peer"]);
    assert_eq!(
        network.plan(&["AND('A.member', 'B.member')"], &[]),
        [
            "required chaincodes are not installed on sufficient peers: it takes 1 of B.MEMBER, and of 1 that are there 0 can \
         run cc as defined with sequence 2"
        ]
    );
}

#[test]
fn peers_with_higher_ledgers_come_first() {
    let mut network = Network::new(&["a0"]);
    network.add("a1", 12, &[("cc", "2")], &["peer"]);
    network.add("a2", 10, &[("cc", "2")], &["peer"]);
    assert_eq!(network.plan(&["OR('A.member')"], &[]), ["1 of G0(a1,a0,a2)"]);
}

#[test]
fn every_chaincode_that_is_called_has_to_run_on_an_endorser() {
    let mut network = Network::new(&["a0"]);
    network.add("a1", 10, &[("cc", "2"), ("other", "1")], &["peer"]);
    let calls = [requirement("cc", "2", &[]), requirement("other", "1", &[])];
    assert_eq!(network.plan_of(&calls, &["OR('A.member')", "OR('A.peer')"], &[]), ["1 of G0(a1)"]);
}

#[test]
fn who_is_not_entitled_to_a_collection_does_not_endorse_what_reads_it() {
    let network = Network::new(&["a0", "b0", "c0"]);
    let two_of_three = "OutOf(2, 'A.member', 'B.member', 'C.member')";
    let call = [requirement("cc", "2", &["OR('A.member', 'B.member')"])];
    assert_eq!(network.plan_of(&call, &[two_of_three], &[]), ["1 of G0(a0) + 1 of G1(b0)"]);
    let both = [requirement("cc", "2", &["OR('A.member', 'B.member')", "OR('B.member', 'C.member')"])];
    assert_eq!(network.plan_of(&both, &["OR('A.member', 'B.member')"], &[]), ["1 of G0(b0)"]);
}

#[test]
fn policies_of_keys_are_satisfied_as_well() {
    let network = Network::new(&["a0", "b0", "c0"]);
    let either = "OR('A.member', 'B.member')";
    assert_eq!(
        network.plan(&[either], &["OR('C.member')"]),
        ["1 of G0(a0) + 1 of G1(c0)", "1 of G1(c0) + 1 of G2(b0)"]
    );
    assert_eq!(network.plan(&[], &["AND('A.member', 'C.member')", "OR('A.peer')"]), ["1 of G0(c0) + 1 of G1(a0)"]);
    assert_eq!(network.plan(&[], &[]), ["no principal sets remained after filtering"]);
}

#[test]
fn policies_that_nobody_can_satisfy_are_named() {
    let network = Network::new(&["a0"]);
    let nobody = SignaturePolicy::compile(&ripstop_policy::envelope::reject_all()).unwrap();
    let any = policy("OR('A.member')");
    let planned = |policies: Policies| {
        plan(&[requirement("cc", "2", &[])], &policies, &network.peers, &network.msps).unwrap_err().to_string()
    };
    assert_eq!(
        planned(Policies { of_definitions: vec![any.clone(), nobody.clone()], of_keys: vec![] }),
        "endorsement policy cannot be satisfied: nobody's signatures satisfy OutOf(1)"
    );
    assert_eq!(
        planned(Policies { of_definitions: vec![any], of_keys: vec![nobody] }),
        "state based endorsement policy cannot be satisfied: nobody's signatures satisfy OutOf(1)"
    );
}

#[test]
fn combinations_that_merging_leaves_out_are_tried_when_nothing_else_is_left() {
    // Merging makes A and B of these, and B has no peer.
    let network = Network::new(&["a0", "c0"]);
    let policies = ["OR('A.member')", "OR(AND('A.member', 'B.member'), 'C.member')"];
    assert_eq!(network.plan(&policies, &[]), ["1 of G0(a0) + 1 of G1(c0)"]);
    let network = Network::new(&["a0", "b0", "c0"]);
    assert_eq!(network.plan(&policies, &[]), ["1 of G0(a0) + 1 of G1(b0)"]);
}

#[test]
fn strangers_and_impostors_endorse_nothing() {
    let mut network = Network::new(&["a0"]);
    // A client's certificate is none of a peer, and an identity that no organization knows is nobody.
    network.add("a1", 10, &[("cc", "2")], &["client"]);
    let stranger = Organization::new("A").peer("a2").identity().raw.clone();
    let mut unknown = network.peers[0].clone();
    unknown.candidate = Arc::new(Candidate { identity: stranger, ..(*unknown.candidate).clone() });
    network.peers.push(unknown);
    assert_eq!(network.plan(&["OR('A.peer')"], &[]), ["1 of G0(a0)"]);
}
