//! Peers that lie, flood and ask for what is not theirs.

use std::sync::Arc;

use bytes::Bytes;
use ripstop_gossip::{PrivateDigest, PrivateElement, PrivatePayload};
use ripstop_gossip_service::PrivateIncoming;
use ripstop_ledger::{Absence, TransientSet};
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_sharing::MAX_WAITING_SETS;
use ripstop_types::{BlockNumber, MspId, TxId};

use crate::world::{CHAINCODE, COLLECTION, Endorsed, Manner, Peer, World, members_policy, package, shared};

fn payload(endorsed: &Endorsed, collection: &str) -> PrivatePayload {
    let private = endorsed.results.private.as_ref().unwrap();
    PrivatePayload {
        collection: collection.to_owned(),
        namespace: CHAINCODE.to_owned(),
        tx_id: endorsed.tx_id.as_str().to_owned(),
        writes: private.namespaces[0].collections[0].raw.clone(),
        endorsed_at: u64::MAX,
        collection_configs: None,
    }
}

async fn send(world: &World, from: &Peer, to: &Peer, payload: PrivatePayload) -> Result<(), String> {
    world.knock(from, to, |from, reply| PrivateIncoming::Data { from, payload, reply }).await
}

async fn ask(world: &World, from: &Peer, to: &Peer, digests: Vec<PrivateDigest>) -> Vec<PrivateElement> {
    world.knock(from, to, |from, reply| PrivateIncoming::Request { from, digests, reply }).await
}

fn digest(endorsed: &Endorsed, collection: &str, block: u64, tx: u64) -> PrivateDigest {
    let tx_id = endorsed.tx_id.as_str().to_owned();
    PrivateDigest { tx_id, namespace: CHAINCODE.to_owned(), collection: collection.to_owned(), block, tx }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_given_what_is_not_his() {
    let world = World::new(shared(0, 0));
    let (one, two, outside) =
        (world.peer(0, "peer0").await, world.peer(1, "peer0").await, world.peer(2, "peer0").await);
    let ours = world.endorse(&one, "_implicit_org_Org1MSP", "ours").await.unwrap();
    let both = world.endorse(&one, COLLECTION, "both").await.unwrap();
    let digests = || vec![digest(&ours, "_implicit_org_Org1MSP", 2, 0), digest(&both, COLLECTION, 2, 1)];
    // Before the block is committed, and afterwards.
    for _ in 0..2 {
        assert!(ask(&world, &outside, &one, digests()).await.is_empty());
        let given = ask(&world, &two, &one, digests()).await;
        assert_eq!(
            given.into_iter().map(|element| element.digest).collect::<Vec<_>>(),
            [digest(&both, COLLECTION, 2, 1)]
        );
        // The name of a collection that one may have does not open another one.
        let wrong = vec![digest(&ours, COLLECTION, 2, 0), digest(&ours, "no such", 2, 0)];
        assert!(ask(&world, &two, &one, wrong).await.is_empty());
        world.order(vec![ours.envelope.clone(), both.envelope.clone()]);
        world.commit(&one).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_liar_is_not_believed_and_another_peer_is_asked() {
    let world = World::new(shared(2, 3));
    let (one, liar, two) = (world.peer(0, "peer0").await, world.peer(0, "liar").await, world.peer(1, "peer0").await);
    // The liar endorsed it as well, so it is asked first.
    let endorsed = world.endorse(&one, COLLECTION, "a").await.unwrap();
    let forged = world.draft(&liar, COLLECTION, "a");
    let other = world.draft(&one, COLLECTION, "other");
    let forged_payload = other.results.private.as_ref().unwrap().namespaces[0].collections[0].raw.clone();
    world.behave(
        &liar,
        Manner::Lying(Arc::new(move |digests| {
            let element = |digest: PrivateDigest| {
                let payload = vec![forged_payload.clone(), Bytes::from_static(b"\xff\xff")];
                let foreign = PrivateDigest { tx: digest.tx + 1, ..digest.clone() };
                [digest, foreign].map(|digest| PrivateElement { digest, payload: payload.clone() })
            };
            digests.into_iter().flat_map(element).collect()
        })),
    );
    two.ledger.transient().purge(std::slice::from_ref(&endorsed.tx_id)).unwrap();
    world.order(vec![forged.envelope]);
    world.commit(&two).await;
    assert!(two.has(COLLECTION, "a") && !two.has(COLLECTION, "other"));
    assert_eq!(world.questions(), 2);
}

#[tokio::test(start_paused = true)]
async fn forged_values_for_a_transaction_do_no_harm() {
    let world = World::new(shared(0, 0));
    let (one, two, outside) =
        (world.peer(0, "peer0").await, world.peer(1, "peer0").await, world.peer(2, "peer0").await);
    let endorsed = world.endorse(&one, COLLECTION, "a").await.unwrap();
    let other = world.draft(&one, COLLECTION, "other");
    let forged = PrivatePayload { writes: payload(&other, COLLECTION).writes, ..payload(&endorsed, COLLECTION) };
    send(&world, &outside, &two, forged).await.unwrap();
    assert_eq!(two.transient(&endorsed.tx_id).len(), 1, "who endorses need not belong to the collection");
    world.order(vec![endorsed.envelope]);
    world.commit(&two).await;
    assert!(two.has(COLLECTION, "a"));
    assert!(!two.has(COLLECTION, "other"));
    assert_eq!(two.ledger.missing_private_data(Absence::Missing, BlockNumber::new(9), 9).unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_for_a_peer_or_makes_no_sense_is_not_kept() {
    let world = World::new(shared(0, 0));
    let (one, two, outside) =
        (world.peer(0, "peer0").await, world.peer(1, "peer0").await, world.peer(2, "peer0").await);
    let endorsed = world.draft(&one, COLLECTION, "a");
    let good = payload(&endorsed, COLLECTION);
    let bad = [
        (&outside, good.clone(), "collection coll is not for this peer's organization"),
        (&two, payload(&endorsed, "_implicit_org_Org1MSP"), "is not for this peer's organization"),
        (&two, payload(&endorsed, "no such collection"), "is not for this peer's organization"),
        (&two, PrivatePayload { tx_id: String::new(), ..good.clone() }, "names no transaction"),
        (&two, PrivatePayload { tx_id: "../\0".to_owned(), ..good.clone() }, "names no transaction"),
        (&two, PrivatePayload { tx_id: "a".repeat(1000), ..good.clone() }, "names no transaction"),
        (&two, PrivatePayload { writes: Bytes::new(), ..good.clone() }, "no private writes"),
        (&two, PrivatePayload { writes: Bytes::from_static(b"\xff\xff\xff"), ..good.clone() }, "do not decode"),
        // Empty writes, which take fifty times as much memory.
        (&two, PrivatePayload { writes: Bytes::from([0x1a, 0].repeat(3 << 20)), ..good.clone() }, "do not decode"),
    ];
    for (to, payload, expected) in bad {
        let refused = send(&world, &one, to, payload).await.unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(two.transient(&endorsed.tx_id).is_empty() && outside.transient(&endorsed.tx_id).is_empty());
    send(&world, &one, &two, good.clone()).await.unwrap();
    send(&world, &one, &two, good).await.unwrap();
    assert_eq!(two.transient(&endorsed.tx_id).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_this_process_began_takes_its_part_of_the_disk() {
    let world = World::new(shared(0, 0));
    let (one, two) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await);
    let endorsed = world.draft(&one, COLLECTION, "a");
    let (writes, organization) = (endorsed.results.private.clone().unwrap(), MspId::new("Org1MSP"));
    let set = TransientSet { endorsed_at: 1, writes, ..TransientSet::default() };
    let own = TxId::new("own");
    two.ledger.transient().put(&own, &set).unwrap();
    let before: Vec<TxId> = (0..MAX_WAITING_SETS).map(|number| TxId::new(&format!("{number:05}"))).collect();
    two.ledger.transient().put_received(before.iter().map(|tx_id| (tx_id, &set, &organization))).unwrap();
    send(&world, &one, &two, payload(&endorsed, COLLECTION)).await.unwrap();
    // Its acknowledgement comes before the oldest goes.
    let kept = || two.ledger.transient().received().unwrap();
    while kept().len() > MAX_WAITING_SETS {
        tokio::task::yield_now().await;
    }
    assert!(kept().iter().all(|set| set.tx_id != before[0]), "the oldest is gone");
    assert_eq!((two.transient(&endorsed.tx_id).len(), two.transient(&own).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_lags_behind_gives_no_more_than_the_definition_that_came_along_allows() {
    let world = World::new(shared(0, 0));
    let (one, other) = (world.peer(0, "peer0").await, world.peer(0, "peer1").await);
    let two = world.peer(1, "peer0").await;
    for (members, expected) in [(&["Org1MSP", "Org2MSP"][..], 1), (&["Org1MSP"], 0)] {
        let endorsed = world.draft(&other, COLLECTION, &format!("for {expected} others"));
        // The endorser's ledger may hold a definition that this peer's does not yet.
        let newer = StaticCollectionConfig { member_orgs_policy: Some(members_policy(members)), ..shared(0, 0) };
        let payload = PrivatePayload { collection_configs: Some(package(&newer)), ..payload(&endorsed, COLLECTION) };
        send(&world, &other, &one, payload).await.unwrap();
        let asked = || vec![digest(&endorsed, COLLECTION, 2, 0)];
        assert_eq!(ask(&world, &two, &one, asked()).await.len(), expected, "{members:?}");
        assert_eq!(ask(&world, &other, &one, asked()).await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_names_one_transaction_at_a_thousand_blocks_to_come_is_told_of_few() {
    let world = World::new(shared(0, 0));
    let (one, two) = (world.peer(0, "peer0").await, world.peer(1, "peer0").await);
    let endorsed = world.endorse(&one, COLLECTION, "a").await.unwrap();
    let digests: Vec<_> = (2..1_000).flat_map(|block| vec![digest(&endorsed, COLLECTION, block, 0); 3]).collect();
    assert_eq!(ask(&world, &two, &one, digests).await.len(), 4);
}
