//! What Fabric's gateway demands of its plans (`internal/pkg/gateway/endorsement_test.go`, `endorse_test.go`), and more.

use std::collections::HashMap;

use ripstop_types::MspId;

use super::*;
use crate::endorser::Location;

fn endorser(org: &str, address: &str) -> Endorser {
    Endorser {
        org: MspId::new(org),
        address: address.to_owned(),
        name: address.to_owned(),
        identity: Bytes::new(),
        height: 5,
        location: Location::Remote,
    }
}

/// `g1 2*g2`: one of the first group and two of the second.
fn layout(text: &str) -> Layout {
    let quantity = |part: &str| {
        let (count, group) = part.split_once('*').unwrap_or(("1", part));
        (Group(group[1..].parse().unwrap()), count.parse().unwrap())
    };
    Layout { quantities_by_group: text.split_whitespace().map(quantity).collect() }
}

/// `g1: local peer1 | g2: peer2`: the peers of each group, best first.
fn groups(text: &str) -> Vec<(Group, Vec<Endorser>)> {
    let group = |part: &str| {
        let (group, peers) = part.split_once(':').unwrap();
        let peers = peers.split_whitespace().map(|peer| endorser(org_of(peer), peer)).collect();
        (Group(group.trim()[1..].parse().unwrap()), peers)
    };
    text.split('|').map(group).collect()
}

/// The peers of Fabric's tests.
fn org_of(peer: &str) -> &'static str {
    match peer {
        "local" | "peer1" => "msp1",
        "peer2" | "peer3" => "msp2",
        _ => "msp3",
    }
}

fn plan(layouts: &[&str], peers: &str) -> Plan {
    Plan::new(layouts.iter().map(|text| layout(text)), groups(peers))
}

fn response(signer: &str, payload: &'static str) -> protos::ProposalResponse {
    let endorsement = protos::Endorsement { endorser: signer.to_owned().into(), ..Default::default() };
    protos::ProposalResponse { payload: payload.into(), endorsement: Some(endorsement), ..Default::default() }
}

fn signers(action: &protos::ChaincodeEndorsedAction) -> Vec<String> {
    let mut signers: Vec<_> =
        action.endorsements.iter().map(|by| String::from_utf8(by.endorser.to_vec()).unwrap()).collect();
    signers.sort_unstable();
    signers
}

/// All that may be asked at once.
fn asked(plan: &mut Plan) -> Vec<String> {
    let mut asked = Vec::new();
    loop {
        match plan.step() {
            Step::Ask(endorser) => asked.push(endorser.address),
            _ => return asked,
        }
    }
}

/// Runs a plan in which some peers fail and all others endorse, in the order in which they were asked. Who was asked, and who
/// signed in the end.
fn run(mut plan: Plan, failing: &[&str]) -> (Vec<String>, Option<Vec<String>>) {
    let (mut history, mut open) = (Vec::new(), VecDeque::new());
    loop {
        match plan.step() {
            Step::Ask(endorser) => {
                history.push(endorser.address.clone());
                open.push_back(endorser);
            }
            Step::Wait => {
                let endorser = open.pop_front().expect("somebody is asked");
                if failing.contains(&endorser.address.as_str()) {
                    plan.failed(&endorser, "no");
                } else {
                    plan.endorsed(&endorser, response(&endorser.address, "result")).unwrap();
                }
            }
            Step::Complete(action) => return (history, Some(signers(&action))),
            Step::Impossible => return (history, None),
        }
    }
}

#[test]
fn layouts_are_completed_as_fabric_completes_them() {
    struct Case {
        name: &'static str,
        layouts: &'static [&'static str],
        peers: &'static str,
        failing: &'static [&'static str],
        asked: &'static str,
        signers: Option<&'static str>,
    }
    const ALL: &str = "g1: local peer1 | g2: peer3 peer2 | g3: peer4";
    let cases = [
        Case {
            name: "a single layout",
            layouts: &["g1 2*g2"],
            peers: "g1: peer1 | g2: peer2 peer3",
            failing: &[],
            asked: "peer1 peer2 peer3",
            signers: Some("peer1 peer2 peer3"),
        },
        Case {
            name: "a single layout with retries",
            layouts: &["g1 2*g2"],
            peers: "g1: local peer1 | g2: peer2 peer3 peer4",
            failing: &["local", "peer3"],
            asked: "local peer2 peer3 peer1 peer4",
            signers: Some("peer1 peer2 peer4"),
        },
        Case {
            name: "the local peer and peer3 fail",
            layouts: &["g1 g2"],
            peers: ALL,
            failing: &["local", "peer3"],
            asked: "local peer3 peer1 peer2",
            signers: Some("peer1 peer2"),
        },
        Case {
            name: "the third organisation fails: the second layout needs it too",
            layouts: &["g1 g3", "g2 g3", "g1 g2"],
            peers: ALL,
            failing: &["peer2", "peer4"],
            asked: "local peer4 peer3",
            signers: Some("local peer3"),
        },
        Case {
            name: "two of the first organisation in the end",
            layouts: &["g1 g2 g3", "g1 2*g2", "2*g1 g2"],
            peers: "g1: local peer1 | g2: peer2 peer3 | g3: peer4",
            failing: &["peer2", "peer4"],
            asked: "local peer2 peer4 peer3 peer1",
            signers: Some("local peer1 peer3"),
        },
        Case {
            name: "no layout left",
            layouts: &["g1 g3", "g2 g3", "g1 g2"],
            peers: ALL,
            failing: &["peer2", "peer3", "peer4"],
            asked: "local peer4 peer3 peer2",
            signers: None,
        },
        Case {
            name: "an endorsement counts for the next layout",
            layouts: &["g1 g2", "g1 g3", "g2 g3"],
            peers: "g1: local peer1 | g2: peer2 peer3 | g3: peer4",
            failing: &["local", "peer1"],
            asked: "local peer2 peer1 peer4",
            signers: Some("peer2 peer4"),
        },
        Case {
            name: "more endorsements than there are peers",
            layouts: &["2*g1", "g1 g3"],
            peers: "g1: local | g3: peer4",
            failing: &[],
            asked: "local peer4",
            signers: Some("local peer4"),
        },
        Case {
            name: "a group that nobody is in",
            layouts: &["g1 g7"],
            peers: ALL,
            failing: &[],
            asked: "",
            signers: None,
        },
    ];
    for case in cases {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let expected = (words(case.asked), case.signers.map(words));
        assert_eq!(run(plan(case.layouts, case.peers), case.failing), expected, "{}", case.name);
    }
}

#[test]
fn the_first_endorser_counts_in_the_plan_made_from_its_answer() {
    let mut plan = plan(&["g2 g3", "g1 g3", "g1 g2"], "g1: local peer1 | g2: peer2 peer3 | g3: peer4");
    let first = endorser("msp1", "local");
    plan.prefer(&first);
    plan.endorsed(&first, response("local", "result")).unwrap();
    assert!(plan.is_possible());
    assert_eq!(run(plan, &[]), (vec!["peer4".to_owned()], Some(vec!["local".to_owned(), "peer4".to_owned()])));
}

#[test]
fn a_first_endorser_whom_no_layout_needs_is_only_compared_with() {
    let mut plan = plan(&["g2 g3"], "g2: peer2 peer3 | g3: peer4");
    plan.endorsed(&endorser("msp1", "local"), response("local", "result")).unwrap();
    let (asked, signers) = run(plan, &[]);
    assert_eq!(asked, ["peer2", "peer4"]);
    assert_eq!(signers.unwrap(), ["peer2", "peer4"]);
}

#[test]
fn a_plan_whose_only_layout_the_first_endorser_completes_asks_nobody() {
    let mut plan = plan(&["g1"], "g1: local peer1");
    plan.endorsed(&endorser("msp1", "local"), response("local", "result")).unwrap();
    assert!(matches!(plan.step(), Step::Complete(_)));
}

#[test]
fn an_endorsement_of_another_result_does_not_count() {
    let mut plan = plan(&["g1 g2"], "g1: local | g2: peer2");
    assert_eq!(asked(&mut plan), ["local", "peer2"]);
    plan.endorsed(&endorser("msp1", "local"), response("local", "one")).unwrap();
    let mut behind = endorser("msp2", "peer2");
    behind.height = 3;
    plan.endorsed(&behind, response("peer2", "two")).unwrap_err();
    assert_eq!(plan.step(), Step::Impossible);
    let details = plan.into_details();
    assert!(details[0].message.starts_with("ProposalResponsePayloads do not match"), "{details:?}");
    assert!(details[0].message.ends_with("peer2 has 3 blocks and is behind local, which has 5"), "{details:?}");
    assert_eq!((details[0].address.as_str(), details[0].msp_id.as_str()), ("peer2", "msp2"));
}

#[test]
fn the_same_signature_twice_is_one() {
    let mut plan = plan(&["2*g1"], "g1: local peer1");
    assert_eq!(asked(&mut plan), ["local", "peer1"]);
    plan.endorsed(&endorser("msp1", "local"), response("same", "result")).unwrap();
    plan.endorsed(&endorser("msp1", "peer1"), response("same", "result")).unwrap();
    assert_eq!(plan.step(), Step::Impossible);
}

#[test]
fn a_response_that_nobody_signed_is_no_endorsement() {
    let mut plan = plan(&["g1"], "g1: local");
    assert_eq!(asked(&mut plan), ["local"]);
    plan.endorsed(&endorser("msp1", "local"), protos::ProposalResponse::default()).unwrap();
    assert_eq!(plan.step(), Step::Impossible);
    assert_eq!(plan.into_details()[0].message, "the peer did not sign its response");
}

#[test]
fn a_slow_peer_does_not_hold_up_a_layout_that_is_complete_without_it() {
    let mut plan = plan(&["g1 g2", "g1 g3"], "g1: local | g2: peer2 peer3 | g3: peer4");
    assert_eq!(asked(&mut plan), ["local", "peer2"]);
    plan.failed(&endorser("msp2", "peer2"), "no");
    assert_eq!(asked(&mut plan), ["peer3"]);
    plan.failed(&endorser("msp2", "peer3"), "no");
    // The local peer still works: what it was asked for is needed by the next layout too.
    assert_eq!(asked(&mut plan), ["peer4"]);
    plan.endorsed(&endorser("msp3", "peer4"), response("peer4", "result")).unwrap();
    plan.endorsed(&endorser("msp1", "local"), response("local", "result")).unwrap();
    assert!(matches!(plan.step(), Step::Complete(_)));
}

#[test]
fn a_peer_in_two_groups_takes_one_place_and_moves_over_for_others() {
    // As with `AND('msp1.member', 'msp1.peer')`.
    let peers = "g0: local peer1 | g1: local";
    let mut one = plan(&["g0 g1"], peers);
    assert_eq!(asked(&mut one), ["local", "peer1"]);
    assert_eq!(run(plan(&["g0 g1"], peers), &[]).1.unwrap(), ["local", "peer1"]);
    assert!(!plan(&["g0 g1"], "g0: local | g1: local").is_possible());
    assert!(!plan(&["2*g0 g1"], peers).is_possible());
    let chain = "g0: local peer1 | g1: peer1 peer2 | g2: peer2 peer3";
    assert_eq!(run(plan(&["g0 g1 g2"], chain), &["local"]).1.unwrap(), ["peer1", "peer2", "peer3"]);
}

/// Whatever fails, nobody is asked twice, and a plan fails only when no layout could be completed by those who endorse.
#[test]
fn a_plan_fails_only_when_no_layout_can_be_completed() {
    let names = ["local", "peer1", "peer2", "peer3", "peer4"];
    let (layouts, peers) = (["g1 g2 g3", "g1 2*g2", "2*g1 g2"], "g1: local peer1 | g2: peer2 peer3 | g3: peer4");
    for failures in 0_u32..1 << names.len() {
        let failing: Vec<_> =
            (0..).zip(names).filter(|(bit, _)| failures >> bit & 1 == 1).map(|(_, name)| name).collect();
        let (asked, signers) = run(plan(&layouts, peers), &failing);
        let times = asked.iter().fold(HashMap::new(), |mut times: HashMap<_, u32>, name| {
            *times.entry(name).or_default() += 1;
            times
        });
        assert!(times.values().all(|times| *times == 1), "{failing:?}: {asked:?}");
        let endorsing = |group: &[&str]| group.iter().filter(|name| !failing.contains(name)).count();
        let (one, two, three) = (endorsing(&names[..2]), endorsing(&names[2..4]), endorsing(&names[4..]));
        let possible = (one >= 1 && two >= 1 && three >= 1) || (one >= 1 && two >= 2) || (one >= 2 && two >= 1);
        assert_eq!(signers.is_some(), possible, "{failing:?}");
    }
}
