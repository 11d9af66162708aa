//! Endorsement where the gateway chooses the endorsers (Fabric: `internal/pkg/gateway/endorse_test.go`). The chaincode is
//! `_lifecycle`: two of the three organizations have to endorse.

use ripstop_policy::dsl;
use ripstop_proto::protos::{ChaincodeCall, ChaincodeInterest};
use tonic::Code;

use crate::world::{Audience, Behaviour, Described, World};

const LOCAL: Described = ("local", "Org1MSP", 1);
const PEER1: Described = ("peer1", "Org1MSP", 1);
const PEER2: Described = ("peer2", "Org2MSP", 2);
const PEER3: Described = ("peer3", "Org2MSP", 1);
const PEER4: Described = ("peer4", "Org3MSP", 1);
const CHAINCODE: &str = "_lifecycle";

/// An interest whose policy is that of a key: these signatures, and no others.
fn key_policy(policy: &str) -> ChaincodeInterest {
    let call = ChaincodeCall {
        name: CHAINCODE.to_owned(),
        disregard_namespace_policy: true,
        key_policies: vec![dsl::parse(policy).unwrap()],
        ..Default::default()
    };
    ChaincodeInterest { chaincodes: vec![call] }
}

async fn endorse(world: &World) -> Result<Vec<String>, crate::world::Refusal> {
    world.endorse(world.proposal(CHAINCODE, Audience::Anyone), &[]).await
}

#[tokio::test]
async fn the_own_peer_endorses_first_and_as_many_others_as_are_needed() {
    let world = World::new(&[LOCAL, PEER1, PEER2, PEER3, PEER4]).await;
    let signers = endorse(&world).await.unwrap();
    assert!(signers == ["local", "peer2"] || signers == ["local", "peer4"], "{signers:?}");
    assert_eq!(world.asked().len(), 2);
    assert_eq!(world.asked()[0], "local");
}

#[tokio::test]
async fn another_organisation_is_asked_where_one_fails() {
    let world = World::new(&[LOCAL, PEER2, PEER3, PEER4]).await;
    world.tell("peer2", Behaviour::Fail("bad peer2"));
    world.tell("peer3", Behaviour::Peer("bad peer3"));
    assert_eq!(endorse(&world).await.unwrap(), ["local", "peer4"]);

    world.tell("peer4", Behaviour::Chaincode(400, "bad peer4"));
    let refusal = endorse(&world).await.unwrap_err();
    assert_eq!(refusal.code, Code::Aborted);
    assert_eq!(
        refusal.message,
        "failed to collect enough transaction endorsements, see attached details for more info"
    );
    let mut details = refusal.details;
    details.sort_unstable();
    let detail = |peer, org: &str, words: &str| (peer, org.to_owned(), words.to_owned());
    assert_eq!(
        details,
        [
            detail("peer2", "Org2MSP", "rpc error: code = Aborted desc = bad peer2"),
            detail("peer3", "Org2MSP", "bad peer3"),
            detail("peer4", "Org3MSP", "chaincode response 400, bad peer4"),
        ]
    );
}

#[tokio::test]
async fn another_peer_of_the_own_organisation_endorses_first_where_the_own_one_fails() {
    let world = World::new(&[LOCAL, PEER1, PEER2]).await;
    world.tell("local", Behaviour::Chaincode(500, "bad local"));
    assert_eq!(endorse(&world).await.unwrap(), ["peer1", "peer2"]);
    assert_eq!(world.asked(), ["local", "peer1", "peer2"], "nobody is asked twice");

    world.tell("peer1", Behaviour::Chaincode(500, "bad peer1"));
    let refusal = endorse(&world).await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (Code::Aborted, "failed to endorse transaction, see attached details for more info")
    );
    let detail = |peer, words: &str| (peer, "Org1MSP".to_owned(), words.to_owned());
    let expected =
        [detail("local", "chaincode response 500, bad local"), detail("peer1", "chaincode response 500, bad peer1")];
    assert_eq!(refusal.details, expected);
}

#[tokio::test]
async fn what_the_call_touched_decides_who_endorses() {
    let world = World::new(&[LOCAL, PEER1, PEER2, PEER3, PEER4]).await;
    for (policy, signers) in [
        ("OR('Org3MSP.peer')", &["peer4"][..]),
        ("AND('Org1MSP.peer', 'Org3MSP.member')", &["local", "peer4"]),
        ("OutOf(1, 'Org1MSP.peer')", &["local"]),
        ("AND('Org2MSP.peer', 'Org2MSP.peer', 'Org3MSP.peer')", &["peer2", "peer3", "peer4"]),
    ] {
        world.tell("local", Behaviour::EndorseTouching("result", key_policy(policy)));
        assert_eq!(endorse(&world).await.unwrap(), signers, "{policy}");
    }
}

#[tokio::test]
async fn an_endorser_who_comes_to_another_result_is_told() {
    let world = World::new(&[LOCAL, ("peer2", "Org2MSP", 9)]).await;
    world.tell("peer2", Behaviour::Endorse("different"));
    let refusal = endorse(&world).await.unwrap_err();
    assert_eq!(refusal.code, Code::Aborted);
    let [(peer, org, words)] = &refusal.details[..] else { panic!("{refusal:?}") };
    assert_eq!((*peer, org.as_str()), ("peer2", "Org2MSP"));
    assert!(
        words.starts_with(
            "ProposalResponsePayloads do not match: it differs from the first endorser's in the chaincode's response; "
        ),
        "{words}"
    );
    assert!(words.ends_with("has 9 blocks and is ahead of localhost:7051, which has 1"), "{words}");
}

#[tokio::test]
async fn a_policy_that_the_known_peers_cannot_satisfy_is_explained_to_members() {
    let world = World::new(&[LOCAL, PEER1]).await;
    let words = "no combination of peers can be derived which satisfy the endorsement policy: no peer combination can satisfy the endorsement policy";
    let stranger = endorse(&world).await.unwrap_err();
    assert_eq!((stranger.code, stranger.message.as_str()), (Code::FailedPrecondition, words));
    let member = world.endorse(world.signed(CHAINCODE, "Org1MSP"), &[]).await.unwrap_err();
    assert!(member.message.starts_with(&format!("{words}: it takes ")), "{}", member.message);
    let lacking = "; no peer of Org2MSP is known in the channel; no peer of Org3MSP is known in the channel";
    assert!(member.message.ends_with(lacking), "{}", member.message);
}

#[tokio::test]
async fn a_chaincode_that_is_not_defined_has_no_endorsers() {
    let world = World::new(&[LOCAL, PEER2]).await;
    let refusal = world.endorse(world.signed("basic", "Org1MSP"), &[]).await.unwrap_err();
    let words = "no combination of peers can be derived which satisfy the endorsement policy: No metadata was found for chaincode basic in channel mychannel";
    assert_eq!(refusal.code, Code::FailedPrecondition);
    assert!(refusal.message.starts_with(words), "{}", refusal.message);
}

#[tokio::test]
async fn transient_data_stays_where_it_is_entitled_to_be() {
    let world = World::new(&[LOCAL, PEER2, PEER4]).await;
    let refusal = world.endorse(world.proposal("other", Audience::Trusted), &[]).await.unwrap_err();
    let words = "no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to protect transient data";
    assert_eq!((refusal.code, refusal.message.as_str()), (Code::FailedPrecondition, words));
    assert!(world.asked().is_empty());
    let signers = world.endorse(world.proposal(CHAINCODE, Audience::Trusted), &[]).await.unwrap();
    assert_eq!(signers.len(), 2);
}
