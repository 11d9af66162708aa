//! Which of a channel's peers are asked, and what happens when they fail (Fabric: `internal/pkg/gateway/evaluate_test.go`,
//! `endorse_test.go`).

use tonic::Code;

use crate::world::{Audience, Behaviour, Described, PATIENCE, World};

/// The gateway's own peer has the height of its ledger, which is 1 here, whatever the view says.
const LOCAL: Described = ("local", "Org1MSP", 1);

#[tokio::test]
async fn evaluations_go_to_the_best_placed_peer() {
    let (peer1, peer2, peer3, peer4) =
        (("peer1", "Org1MSP", 1), ("peer2", "Org2MSP", 6), ("peer3", "Org2MSP", 5), ("peer4", "Org3MSP", 7));
    let ahead = ("peer1", "Org1MSP", 2);
    for (peers, audience, targets, expected) in [
        (&[LOCAL][..], Audience::Anyone, &[][..], "local"),
        (&[LOCAL, ahead, peer2, peer3, peer4], Audience::Anyone, &[], "peer1"),
        (&[LOCAL, peer1, peer2, peer3, peer4], Audience::Anyone, &[], "local"),
        (&[LOCAL, peer1, peer2, peer3, peer4], Audience::Anyone, &["Org3MSP", "Org1MSP"], "local"),
        (&[LOCAL, peer1, peer2, peer3, peer4], Audience::Anyone, &["Org2MSP", "Org3MSP"], "peer4"),
        (&[LOCAL, ahead, peer2, peer3, peer4], Audience::Trusted, &[], "peer1"),
        (&[LOCAL, peer1, peer2, peer3, peer4], Audience::Trusted, &["Org2MSP"], "peer2"),
    ] {
        let world = World::new(peers).await;
        let result = world.evaluate(world.proposal("basic", audience), targets).await.unwrap();
        assert_eq!(result.payload, "result");
        assert_eq!(world.asked(), [expected], "{audience:?} {targets:?}");
    }
}

#[tokio::test]
async fn an_evaluation_that_a_peer_refuses_goes_to_the_next_one() {
    let world = World::new(&[
        LOCAL,
        ("peer1", "Org1MSP", 1),
        ("peer2", "Org2MSP", 3),
        ("peer3", "Org2MSP", 4),
        ("peer4", "Org3MSP", 5),
    ])
    .await;
    world.tell("local", Behaviour::Peer("bad local endorser"));
    world.tell("peer1", Behaviour::Peer("error in simulation: chaincode stream terminated"));
    world.tell("peer4", Behaviour::Fail("bad peer4"));
    world.evaluate(world.proposal("basic", Audience::Anyone), &[]).await.unwrap();
    assert_eq!(world.asked(), ["local", "peer1", "peer4", "peer3"]);

    let refusal = world.evaluate(world.proposal("basic", Audience::Anyone), &["Org1MSP"]).await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (Code::Aborted, "failed to evaluate transaction, see attached details for more info")
    );
    let detail = |peer, message: &str| (peer, "Org1MSP".to_owned(), message.to_owned());
    assert_eq!(
        refusal.details,
        [detail("local", "bad local endorser"), detail("peer1", "error in simulation: chaincode stream terminated"),]
    );
}

#[tokio::test]
async fn an_evaluation_that_the_chaincode_refuses_goes_nowhere_else() {
    let world = World::new(&[LOCAL, ("peer1", "Org1MSP", 9), ("peer2", "Org2MSP", 9)]).await;
    world.tell("peer1", Behaviour::Chaincode(400, "Mock chaincode error"));
    let refusal = world.evaluate(world.proposal("basic", Audience::Anyone), &[]).await.unwrap_err();
    assert_eq!(refusal.code, Code::Unknown);
    assert_eq!(
        refusal.message,
        "evaluate call to endorser returned error: chaincode response 400, Mock chaincode error"
    );
    assert_eq!(
        refusal.details,
        [("peer1", "Org1MSP".to_owned(), "chaincode response 400, Mock chaincode error".to_owned())]
    );
    assert_eq!(world.asked(), ["peer1"]);
}

#[tokio::test]
async fn members_learn_why_nobody_can_evaluate() {
    let world = World::new(&[LOCAL, ("peer2", "Org2MSP", 1)]).await;
    let none = "no peers available to evaluate chaincode other in channel mychannel";
    let stranger = world.evaluate(world.proposal("other", Audience::Anyone), &[]).await.unwrap_err();
    assert_eq!((stranger.code, stranger.message.as_str()), (Code::FailedPrecondition, none));
    let member = world.evaluate(world.signed("other", "Org2MSP"), &[]).await.unwrap_err();
    assert_eq!(member.message, format!("{none}: no chaincode other is defined in channel mychannel"));
    let member = world.evaluate(world.signed("basic", "Org2MSP"), &["Org3MSP"]).await.unwrap_err();
    assert!(member.message.ends_with(": no peer of Org3MSP is known in the channel"), "{}", member.message);
    let transient = world.evaluate(world.proposal("other", Audience::Trusted), &[]).await.unwrap_err();
    let expected = format!(
        "no endorsers found in the gateway's organization; retry specifying target organization(s) to protect transient data: {none}"
    );
    assert_eq!((transient.code, transient.message), (Code::FailedPrecondition, expected));
}

#[tokio::test]
async fn one_peer_of_each_named_organisation_endorses() {
    let peers =
        [LOCAL, ("peer1", "Org1MSP", 1), ("peer2", "Org2MSP", 3), ("peer3", "Org2MSP", 2), ("peer4", "Org3MSP", 5)];
    for (audience, orgs, expected) in [
        (Audience::Anyone, &["Org1MSP", "Org3MSP"][..], &["local", "peer4"]),
        (Audience::Trusted, &["Org2MSP", "Org3MSP"], &["peer2", "peer4"]),
        (Audience::Anyone, &["Org2MSP", "Org3MSP", "Org2MSP"], &["peer2", "peer4"]),
    ] {
        let world = World::new(&peers).await;
        assert_eq!(world.endorse(world.proposal("basic", audience), orgs).await.unwrap(), expected, "{orgs:?}");
    }
}

#[tokio::test]
async fn named_organisations_without_endorsers_are_told() {
    let world = World::new(&[LOCAL, ("peer2", "Org2MSP", 1)]).await;
    let endorse = async |signed| world.endorse(signed, &["Org2MSP", "Org3MSP", "Org9MSP"]).await.unwrap_err();
    let words = "failed to find any endorsing peers for org(s): Org3MSP, Org9MSP";
    let refusal = endorse(world.proposal("basic", Audience::Anyone)).await;
    assert_eq!((refusal.code, refusal.message.as_str()), (Code::Unavailable, words));
    let refusal = endorse(world.signed("basic", "Org3MSP")).await;
    let expected =
        format!("{words}: no peer of Org3MSP is known in the channel; no peer of Org9MSP is known in the channel");
    assert_eq!(refusal.message, expected);
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn the_next_peer_of_an_organisation_follows_one_that_fails() {
    let world = World::new(&[LOCAL, ("peer1", "Org1MSP", 1), ("peer2", "Org2MSP", 3), ("peer3", "Org2MSP", 2)]).await;
    world.tell("local", Behaviour::Peer("no"));
    world.tell("peer2", Behaviour::Fail("no"));
    let endorse = async || world.endorse(world.proposal("basic", Audience::Anyone), &["Org1MSP", "Org2MSP"]).await;
    assert_eq!(endorse().await.unwrap(), ["peer1", "peer3"]);
    world.tell("peer3", Behaviour::Endorse("another result"));
    let refusal = endorse().await.unwrap_err();
    assert_eq!(refusal.code, Code::Aborted);
    assert_eq!(
        refusal.message,
        "failed to collect enough transaction endorsements, see attached details for more info"
    );
    let mut told: Vec<_> = refusal.details.iter().map(|(peer, org, _)| (*peer, org.as_str())).collect();
    told.sort_unstable();
    let words = |peer: &str| refusal.details.iter().find(|(name, ..)| *name == peer).map(|(.., words)| words.as_str());
    assert_eq!(words("local"), Some("no"));
    assert_eq!(words("peer2"), Some("rpc error: code = Aborted desc = no"));
    // Whose response came second is told to differ.
    let differs = words("peer1").or(words("peer3")).unwrap();
    assert!(
        differs.starts_with(
            "ProposalResponsePayloads do not match: it differs from the first endorser's in the chaincode's response; "
        ),
        "{differs}"
    );
    assert_eq!(told.len(), 3, "{told:?}");
}

/// The clock runs ahead whenever nothing else happens, so a peer behind a connection is late too.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_in_time_is_followed_by_the_next_one() {
    let world = World::new(&[LOCAL, ("peer1", "Org1MSP", 1)]).await;
    world.tell("local", Behaviour::Silent);
    world.tell("peer1", Behaviour::Silent);
    let began = tokio::time::Instant::now();
    let refusal = world.evaluate(world.proposal("basic", Audience::Anyone), &[]).await.unwrap_err();
    assert!(began.elapsed() >= 2 * PATIENCE);
    assert_eq!(refusal.code, Code::Unavailable);
    let late = |peer| {
        (peer, "Org1MSP".to_owned(), "rpc error: code = DeadlineExceeded desc = no endorsement within 30s".to_owned())
    };
    assert_eq!(refusal.details, [late("local"), late("peer1")]);
    let refusal = world.endorse(world.proposal("basic", Audience::Anyone), &["Org1MSP"]).await.unwrap_err();
    assert_eq!((refusal.code, refusal.details), (Code::Aborted, vec![late("local"), late("peer1")]));
}

#[tokio::test]
async fn a_peer_that_left_the_view_is_not_asked() {
    let world = World::new(&[LOCAL, ("peer2", "Org2MSP", 3), ("peer3", "Org2MSP", 2)]).await;
    world.forget("peer2");
    assert_eq!(world.endorse(world.proposal("basic", Audience::Anyone), &["Org2MSP"]).await.unwrap(), ["peer3"]);
    world.forget("peer3");
    world.endorse(world.proposal("basic", Audience::Anyone), &["Org2MSP"]).await.unwrap_err();
    assert_eq!(world.asked(), ["peer3"]);
}
