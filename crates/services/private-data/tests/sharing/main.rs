//! Private data among peers of three organizations: who gets what, when, and who gets nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod hostile;
mod world;

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use ripstop_gossip_service::PrivateIncoming;
use ripstop_ledger::Absence;
use ripstop_private_data::{Reconciliation, readable};
use ripstop_proto::gossip::PvtDataPayload;
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_sharing::PeerCounts;
use ripstop_testkit::signed_data;
use ripstop_types::BlockNumber;
use tokio::time::Instant;

use world::{CHAINCODE, COLLECTION, Manner, Peer, World, shared};

/// How many sets a peer misses for a reason.
fn missing(peer: &Peer, absence: Absence) -> usize {
    peer.ledger.missing_private_data(absence, BlockNumber::new(u64::MAX), 100).unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn what_is_endorsed_goes_to_entitled_peers_before_the_endorsement_is_given() {
    let world = World::new(shared(2, 3));
    let (one, other) = (world.peer(0, "peer0").await, world.peer(0, "peer1").await);
    let (two, outside) = (world.peer(1, "peer0").await, world.peer(2, "peer0").await);
    let endorsed = world.endorse(&one, COLLECTION, "a").await.unwrap();
    for peer in [&one, &other, &two] {
        assert_eq!(peer.transient(&endorsed.tx_id), [endorsed.results.private.clone().unwrap()]);
    }
    assert!(outside.transient(&endorsed.tx_id).is_empty());
    world.order(vec![endorsed.envelope]);
    for peer in [&one, &other, &two, &outside] {
        world.commit(peer).await;
    }
    assert_eq!(world.questions(), 0, "all was there in time");
    assert!(one.has(COLLECTION, "a") && other.has(COLLECTION, "a") && two.has(COLLECTION, "a"));
    assert!(two.transient(&endorsed.tx_id).is_empty(), "it is committed");
    assert_eq!((outside.value(COLLECTION, "a"), world.was_told(2, "a")), (None, false));
    assert_eq!(missing(&outside, Absence::Ineligible), 1);
}

#[tokio::test(start_paused = true)]
async fn the_organizations_own_values_go_where_the_peers_settings_say() {
    let mut world = World::new(shared(0, 0));
    world.config.implicit = PeerCounts { required: 1, maximum: 1 };
    let (one, two) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await);
    let refused = world.endorse(&one, "_implicit_org_Org1MSP", "a").await.err().unwrap().to_string();
    assert!(refused.contains("required to disseminate to at least 1 peers, but know of only 0"), "{refused}");
    let other = world.peer(0, "peer1").await;
    let endorsed = world.endorse(&one, "_implicit_org_Org1MSP", "b").await.unwrap();
    assert_eq!(other.transient(&endorsed.tx_id).len(), 1);
    // What others keep to themselves is not spread; and who does not belong to a collection is not asked for its values.
    let foreign = world.endorse(&one, "_implicit_org_Org2MSP", "c").await.unwrap();
    assert!(two.transient(&foreign.tx_id).is_empty());
    world.order(vec![endorsed.envelope, foreign.envelope]);
    world.commit(&two).await;
    assert_eq!(missing(&two, Absence::Missing), 1);
    assert!(!world.was_told(1, "b") && !world.was_told(1, "c"));
}

#[tokio::test(start_paused = true)]
async fn an_endorsement_is_refused_when_too_few_peers_have_its_values() {
    let world = World::new(shared(1, 2));
    let one = world.peer(0, "peer0").await;
    let _outside = world.peer(2, "peer0").await;
    let endorsed = world.draft(&one, COLLECTION, "a");
    let error = one.sharing.share(&endorsed.tx_id, &endorsed.results).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "failed to distribute private collection, txID {}, channel mychannel: could not build private data \
             dissemination plan for chaincode cc and collection coll: required to disseminate to at least 1 peers, but \
             know of only 0 eligible peers",
            endorsed.tx_id
        )
    );
    let two = world.peer(1, "peer0").await;
    world.behave(&two, Manner::Silent);
    let began = Instant::now();
    let error = world.endorse(&one, COLLECTION, "b").await.err().unwrap().to_string();
    assert!(error.ends_with("Failed disseminating 1 out of 1 private dissemination plans"), "{error}");
    assert_eq!(began.elapsed(), Duration::from_secs(3), "it waited for the acknowledgement");
    // Any of those that got the values may acknowledge.
    let _more = world.peer(1, "peer1").await;
    world.endorse(&one, COLLECTION, "c").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_here_is_fetched_from_its_endorser_when_the_block_is_committed() {
    let world = World::new(shared(0, 0));
    let (one, two, outside) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await, world.peer(2, "p").await);
    let mut data = Vec::new();
    for key in ["a", "b", "c"] {
        data.push(world.endorse(&one, COLLECTION, key).await.unwrap().envelope);
    }
    // An endorser outside of the collection has it too, as long as it is not committed there.
    data.push(world.endorse(&outside, COLLECTION, "d").await.unwrap().envelope);
    world.order(data);
    world.commit(&two).await;
    assert!(["a", "b", "c"].iter().all(|key| two.has(COLLECTION, key)));
    assert_eq!(world.questions(), 1, "one question names all that one peer is asked for");
    assert_eq!((missing(&two, Absence::Missing), two.has(COLLECTION, "d")), (1, false));
    // Its endorser has committed by now, and others come later.
    world.commit(&one).await;
    let late = world.peer(1, "peer1").await;
    assert!(["a", "b", "c"].iter().all(|key| late.has(COLLECTION, key)));
    assert!(!world.was_told(2, "a"));
}

#[tokio::test(start_paused = true)]
async fn no_block_waits_for_what_cannot_come_and_it_is_reconciled_when_it_can() {
    let mut world = World::new(shared(0, 0));
    world.config.reconciliation = Some(Reconciliation { rest: Duration::from_secs(600), ..Default::default() });
    let (one, two, third) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await, world.peer(0, "peer1").await);
    let endorsed = world.endorse(&one, COLLECTION, "a").await.unwrap();
    world.order(vec![endorsed.envelope]);
    world.behave(&one, Manner::Offline);
    let began = Instant::now();
    world.commit(&third).await;
    world.commit(&two).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!((missing(&two, Absence::Missing), missing(&third, Absence::Missing)), (1, 1));
    world.behave(&one, Manner::Honest);
    world.commit(&one).await;
    // Long before the rest is over: somebody came.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(two.has(COLLECTION, "a") && third.has(COLLECTION, "a"));
    assert_eq!(missing(&two, Absence::Missing), 0);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_is_looked_for_behind_the_rest_and_more_rarely() {
    let mut world = World::new(shared(0, 0));
    let settings =
        Reconciliation { rest: Duration::from_secs(60), retry: Duration::from_secs(3600), ..Default::default() };
    world.config.reconciliation = Some(settings);
    let (one, two) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await);
    // Nobody keeps it: it was not shared.
    let lost = world.draft(&one, COLLECTION, "lost");
    world.order(vec![lost.envelope.clone()]);
    world.commit(&one).await;
    world.commit(&two).await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!((missing(&two, Absence::Missing), missing(&two, Absence::NotFound)), (0, 1));
    world.questions();
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(world.questions(), 0);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(world.questions() > 0);
    // Somebody who was not there is asked soon.
    let third = world.peer(0, "peer1").await;
    third.sharing.share(&lost.tx_id, &lost.results).await.unwrap();
    world.questions();
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert!(world.questions() > 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_when_no_block_may_wait() {
    let mut world = World::new(shared(0, 0));
    world.config.pull_patience = Duration::ZERO;
    let (one, two) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await);
    let endorsed = world.endorse(&one, COLLECTION, "a").await.unwrap();
    world.order(vec![endorsed.envelope]);
    world.commit(&two).await;
    assert_eq!((world.questions(), missing(&two, Absence::Missing)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_block_waits_for_a_silent_peer_but_not_every_block() {
    let mut world = World::new(shared(0, 0));
    world.config.pull_patience = Duration::from_secs(60);
    let (one, two) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await);
    for key in ["a", "b", "c"] {
        let endorsed = world.endorse(&one, COLLECTION, key).await.unwrap();
        world.order(vec![endorsed.envelope]);
    }
    world.behave(&one, Manner::Silent);
    let began = Instant::now();
    world.commit(&two).await;
    let waited = began.elapsed();
    // Two answers that did not come, with a pause after each; then it is left alone.
    assert_eq!(waited, Duration::from_secs(12));
    assert_eq!(two.ledger.height(), 5);
    assert_eq!(missing(&two, Absence::Missing), 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_when_the_time_of_a_block_is_over() {
    let mut world = World::new(shared(0, 0));
    world.config.reconciliation = None;
    world.config.pull_patience = Duration::from_secs(5);
    let (one, other) = (world.peer(0, "peer0").await, world.peer(0, "peer1").await);
    let two = world.peer(1, "peer0").await;
    let endorsed = world.endorse(&one, COLLECTION, "a").await.unwrap();
    world.order(vec![endorsed.envelope]);
    world.behave(&one, Manner::Silent);
    world.behave(&other, Manner::Silent);
    let began = Instant::now();
    world.commit(&two).await;
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(world.questions(), 1, "the other one would be taken for silent");
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_all_the_time_keeps_nobody_from_looking() {
    let mut world = World::new(shared(0, 0));
    let settings = Reconciliation { rest: Duration::from_secs(60), ..Default::default() };
    world.config.reconciliation = Some(settings);
    let (one, two) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await);
    let restless = world.peer(0, "restless").await;
    let lost = world.draft(&one, COLLECTION, "lost");
    world.order(vec![lost.envelope]);
    world.commit(&one).await;
    world.commit(&two).await;
    world.questions();
    for _ in 0..250 {
        for manner in [Manner::Offline, Manner::Honest] {
            world.behave(&restless, manner);
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }
    assert!(world.questions() > 0);
}

#[tokio::test(start_paused = true)]
async fn peers_that_will_soon_have_forgotten_are_not_asked() {
    let world = World::new(StaticCollectionConfig { block_to_live: 12, ..shared(0, 0) });
    let (one, two) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await);
    let endorsed = world.endorse(&one, COLLECTION, "a").await.unwrap();
    world.order(vec![endorsed.envelope]);
    for number in 0..3 {
        world.order(vec![world.endorse(&one, COLLECTION, &number.to_string()).await.unwrap().envelope]);
    }
    world.commit(&one).await;
    world.commit(&two).await;
    assert_eq!(world.questions(), 1, "only for what lives longer");
    assert!(!two.has(COLLECTION, "a") && two.has(COLLECTION, "2"));
}

#[tokio::test(start_paused = true)]
async fn blocks_are_accompanied_by_what_their_receiver_may_have() {
    let world = World::new(shared(0, 0));
    let (one, two, outside) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await, world.peer(2, "p").await);
    let data = vec![
        world.endorse(&one, COLLECTION, "a").await.unwrap().envelope,
        world.endorse(&one, "_implicit_org_Org1MSP", "b").await.unwrap().envelope,
    ];
    let block = world.order(data);
    world.commit(&one).await;
    let along = async |to: &Peer| {
        let ask = |from, reply| PrivateIncoming::ForBlock { from, block, reply };
        let payloads = world.knock(to, &one, ask).await;
        payloads.into_iter().map(|raw| PvtDataPayload::decode(raw).unwrap().tx_seq_in_block).collect::<Vec<_>>()
    };
    assert_eq!(along(&two).await, [0]);
    assert!(along(&outside).await.is_empty());
    let other = world.peer(0, "peer1").await;
    assert_eq!(along(&other).await, [0, 1]);
    world.questions();
    let payloads = world.knock(&two, &one, |from, reply| PrivateIncoming::ForBlock { from, block, reply }).await;
    let forged = [&b"\xff"[..], &[]].map(bytes::Bytes::from_static);
    world.commit_with(&two, forged.into_iter().chain(payloads).collect()).await;
    assert!(two.has(COLLECTION, "a"));
    assert_eq!(world.questions(), 0, "it came along");
}

#[tokio::test(start_paused = true)]
async fn clients_read_with_a_block_what_collections_are_open_to_them() {
    for member_only_read in [false, true] {
        let world = World::new(StaticCollectionConfig { member_only_read, ..shared(0, 0) });
        let one = world.peer(0, "peer0").await;
        let data = vec![
            world.endorse(&one, COLLECTION, "a").await.unwrap().envelope,
            world.endorse(&one, "_implicit_org_Org1MSP", "b").await.unwrap().envelope,
        ];
        let block = BlockNumber::new(world.order(data));
        world.commit(&one).await;
        let read = |organization: usize| {
            let client = world.organizations[organization].client("reader");
            let found = readable(&one.ledger, block, &signed_data(&client, b"a request")).unwrap();
            found.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(read(0), [0, 1]);
        assert_eq!(read(1), [0]);
        assert_eq!(read(2), if member_only_read { vec![] } else { vec![0] });
    }
}

#[tokio::test(start_paused = true)]
async fn values_never_stand_in_what_is_printed() {
    let world = World::new(shared(0, 0));
    let (one, two) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await);
    let endorsed = world.endorse(&one, COLLECTION, "a").await.unwrap();
    world.order(vec![endorsed.envelope]);
    let seen = Arc::new(parking_lot::Mutex::new(String::new()));
    let lie = Arc::clone(&seen);
    world.behave(
        &one,
        Manner::Lying(Arc::new(move |digests| {
            let element = |digest| ripstop_gossip::PrivateElement { digest, payload: vec!["a secret".into()] };
            let elements: Vec<_> = digests.into_iter().map(element).collect();
            lie.lock().push_str(&format!("{elements:?}"));
            elements
        })),
    );
    world.commit(&two).await;
    assert!(seen.lock().contains(CHAINCODE) && !seen.lock().contains("secret"), "{}", seen.lock());
}
