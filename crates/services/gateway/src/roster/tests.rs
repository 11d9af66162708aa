//! Whom Fabric's gateway prefers (`internal/pkg/gateway/evaluate_test.go`, `endorse_test.go`).

use bytes::Bytes;
use ripstop_discovery::{Group, Layout};
use ripstop_gossip::{AnnouncedChaincode, Content, KnownPeer, Member, Message, SignedMessage, Tag};

use super::*;
use crate::plan::Step;

/// `name@org:height`, then the chaincodes, separated by `+`; `!` before a name: it gives no external endpoint.
fn view(peers: &str) -> Arc<View> {
    let mut view = View::default();
    let mut members = BTreeMap::new();
    for peer in peers.split_whitespace() {
        let (name, rest) = peer.split_once('@').unwrap();
        let (org, rest) = rest.split_once(':').unwrap();
        let (height, chaincodes) = rest.split_once('+').unwrap_or((rest, ""));
        let (name, endpoint) = match name.strip_prefix('!') {
            Some(name) => (name, String::new()),
            None => (name, format!("{name}:7051")),
        };
        let empty = SignedMessage::unsigned(Message {
            nonce: 0,
            channel: None,
            tag: Tag::Everybody,
            content: Content::MembershipResponse { alive: Vec::new(), dead: Vec::new() },
        });
        let pki_id = PkiId::claimed(Bytes::copy_from_slice(name.as_bytes()));
        let internal = if org == "msp1" { format!("{name}.internal:7051") } else { String::new() };
        let known = Arc::new(KnownPeer {
            member: Member { pki_id: pki_id.clone(), endpoint, internal_endpoint: internal, metadata: Bytes::new() },
            identity: Bytes::copy_from_slice(name.as_bytes()),
            organization: MspId::new(org),
            alive: empty.clone(),
        });
        if name == "local" {
            view.me = Some(Arc::clone(&known));
        }
        let announced =
            |name: &str| AnnouncedChaincode { name: name.to_owned(), version: "1".to_owned(), metadata: Bytes::new() };
        let member = ChannelMember {
            peer: known,
            state_info: empty,
            height: height.parse().unwrap(),
            chaincodes: chaincodes.split('+').filter(|name| !name.is_empty()).map(announced).collect(),
        };
        members.insert(pki_id, member);
    }
    view.channels.insert(channel(), members);
    Arc::new(view)
}

fn channel() -> ChannelId {
    ChannelId::new("mychannel").unwrap()
}

fn roster(peers: &str, local_height: u64) -> Roster {
    Roster::new(view(peers), channel(), "localhost:7051".to_owned(), local_height)
}

fn names(endorsers: &[Endorser]) -> Vec<&str> {
    endorsers.iter().map(|endorser| endorser.name.trim_end_matches(":7051")).collect()
}

#[test]
fn the_highest_ledger_comes_first_and_the_own_peer_of_equal_ones() {
    for (peers, local_height, expected) in [
        ("local@msp1:5+cc peer1@msp1:6+cc", 5, ["peer1", "localhost"]),
        ("local@msp1:5+cc peer1@msp1:5+cc", 5, ["localhost", "peer1"]),
        ("peer1@msp1:6+cc local@msp1:5+cc", 7, ["localhost", "peer1"]),
        ("peer3@msp2:4+cc peer2@msp2:5+cc", 1, ["peer2", "peer3"]),
    ] {
        let having = roster(peers, local_height).having("cc");
        assert_eq!(having.values().map(|endorsers| names(endorsers)).collect::<Vec<_>>(), [expected], "{peers}");
    }
}

#[test]
fn only_peers_that_run_the_chaincode_and_can_be_reached_are_asked() {
    let roster = roster("local@msp1:5+other peer1@msp1:5+cc !peer2@msp2:5+cc peer3@msp2:5 peer4@msp3:4+cc+other", 5);
    let having = |chaincode| {
        let found = roster.having(chaincode).into_values().flatten().collect::<Vec<_>>();
        names(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(having("cc"), ["peer1", "peer4"]);
    assert_eq!(having("other"), ["localhost", "peer4"]);
    assert_eq!(having("qscc"), ["localhost", "peer1", "peer3", "peer4"], "every peer has system chaincodes");
    assert!(having("third").is_empty());
}

#[test]
fn an_address_for_the_own_organisation_is_used_and_not_told() {
    let having = roster("local@msp1:5+cc !peer1@msp1:5+cc peer5@msp1:4+cc", 5).having("cc");
    let [_, hidden, open] = &having[&MspId::new("msp1")][..] else { panic!("{having:?}") };
    assert_eq!(hidden.address, "peer1.internal:7051");
    assert!(!hidden.detail("no").address.contains("internal"));
    assert_eq!((open.address.as_str(), open.name.as_str()), ("peer5.internal:7051", "peer5:7051"));
}

#[test]
fn a_plan_asks_the_peers_of_a_descriptor_as_the_view_knows_them() {
    let roster = roster("local@msp1:4+cc peer1@msp1:4+cc peer3@msp2:4+cc peer2@msp2:5+cc", 4);
    let candidate = |org: &str, name: &str, height| {
        Arc::new(Candidate {
            organization: MspId::new(org),
            endpoint: format!("{name}:7051"),
            identity: Bytes::copy_from_slice(name.as_bytes()),
            height,
            alive: Default::default(),
            state_info: Default::default(),
        })
    };
    let (ours, theirs) = (Group(0), Group(1));
    let descriptor = Descriptor {
        chaincode: "cc".to_owned(),
        layouts: vec![Layout { quantities_by_group: [(ours, 1), (theirs, 2)].into() }],
        groups: [
            (ours, vec![candidate("msp1", "peer1", 4), candidate("msp1", "local", 4)]),
            (theirs, vec![candidate("msp2", "peer3", 4), candidate("msp2", "gone", 9), candidate("msp2", "peer2", 5)]),
        ]
        .into(),
    };
    let mut plan = roster.plan(descriptor);
    let mut asked = Vec::new();
    while let Step::Ask(endorser) = plan.step() {
        asked.push(endorser.address);
    }
    assert_eq!(asked, ["localhost:7051", "gone:7051", "peer2:7051"]);
}

#[test]
fn it_is_said_which_organisation_lacks_what() {
    let roster =
        roster("local@msp1:9+cc peer2@msp2:7+other !peer3@msp2:9+cc peer4@msp3:9 peer5@msp5:9 peer6@msp5:9+cc", 9);
    let lacking = |orgs: &[&str]| {
        let orgs: Vec<_> = orgs.iter().map(|org| MspId::new(org)).collect();
        roster.lacking(&orgs, &["cc"])
    };
    assert_eq!(lacking(&["msp1", "msp5"]), None);
    assert_eq!(lacking(&["msp4"]).unwrap(), "no peer of msp4 is known in the channel");
    assert_eq!(lacking(&["msp1", "msp3"]).unwrap(), "peer4:7051 of msp3 does not run cc");
    assert_eq!(
        lacking(&["msp2", "msp4"]).unwrap(),
        "a peer without peer.gossip.externalEndpoint of msp2 cannot be reached from other organisations, \
         peer2:7051 of msp2 does not run cc (it is 2 blocks behind and may not know the definition yet); \
         no peer of msp4 is known in the channel"
    );
    let many: Vec<String> = (0..20).map(|number| format!("org{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(lacking(&many).unwrap().ends_with("; and 12 more"));
}

#[test]
fn a_channel_that_nobody_is_in_has_no_endorsers() {
    let roster = Roster::new(Arc::default(), channel(), "localhost:7051".to_owned(), 5);
    assert!(roster.having("cc").is_empty() && roster.addresses().is_empty());
}
