//! Several peers on loopback, with TLS, certificates and ledgers of their own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod world;

use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_gossip::{Content, PkiId, PrivateDigest, PrivateElement, PrivatePayload, View};
use ripstop_gossip_service::{AcknowledgeError, PrivateIncoming, SendError};
use ripstop_testkit::{Organization, PATIENCE};

use crate::world::{Peer, Place, channel, genesis_of, lives};

/// Two peers of the first organization and one of the second, all in one channel.
async fn network() -> [Peer; 3] {
    let [orderer, org1, org2] = ["OrdererMSP", "Org1MSP", "Org2MSP"].map(Organization::new);
    let [one, two, three] = [Place::find().await, Place::find().await, Place::find().await];
    let genesis = genesis_of(&orderer, &[(&org1, &one.address), (&org2, &three.address)]);
    let bootstrap = one.address.clone();
    [
        Peer::start(&org1, one, &genesis, &[]).await,
        Peer::start(&org1, two, &genesis, &[&bootstrap]).await,
        Peer::start(&org2, three, &genesis, &[]).await,
    ]
}

fn is_member(view: &View, peer: &Peer) -> bool {
    view.channels.get(&channel()).is_some_and(|members| members.get(&peer.id).is_some_and(|member| member.height == 1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_find_each_other_and_notice_a_death() {
    let peers = network().await;
    for peer in &peers {
        for other in peers.iter().filter(|other| other.id != peer.id) {
            peer.knows("others live", |view| lives(view, other)).await;
            peer.knows("others are in the channel", |view| is_member(view, other)).await;
        }
    }
    let [one, two, three] = &peers;
    let seen = |view: &View, peer: &Peer| view.alive[&peer.id].member.clone();
    assert_eq!(seen(&two.gossip.view(), one).internal_endpoint, one.address);
    assert_eq!(seen(&three.gossip.view(), one).endpoint, one.address);
    assert_eq!(seen(&three.gossip.view(), one).internal_endpoint, "", "it never leaves the organisation");
    let text = one.metrics.text();
    assert!(text.contains("gossip_membership_total_peers_known{channel=\"mychannel\"} 2"), "{text}");
    assert!(text.contains("gossip_state_height{channel=\"mychannel\"} 1"), "{text}");

    three.stop().await;
    one.knows("one is dead", |view| !lives(view, three) && !is_member(view, three)).await;
    two.knows("one is dead", |view| !lives(view, three)).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_messages_go_to_one_peer_and_are_answered() {
    let [one, mut two, three] = network().await;
    one.knows("another lives", |view| is_member(view, &two)).await;
    let payload = PrivatePayload {
        collection: "secrets".into(),
        namespace: "asset".into(),
        tx_id: "tx".into(),
        writes: Bytes::from_static(b"value"),
        endorsed_at: 1,
        collection_configs: None,
    };
    let digest =
        PrivateDigest { tx_id: "tx".into(), namespace: "asset".into(), collection: "secrets".into(), block: 7, tx: 0 };
    let element = PrivateElement { digest: digest.clone(), payload: vec![Bytes::from_static(b"value")] };
    let (expected, from, answer) = (payload.clone(), one.id.clone(), element.clone());
    let answering = tokio::spawn(async move {
        let mut seen = BTreeMap::new();
        while let Some(incoming) = two.door.private.recv().await {
            match incoming {
                PrivateIncoming::Data { from: sender, payload, reply } => {
                    assert_eq!((&sender.pki_id, &payload), (&from, &expected));
                    let times: &mut u32 = seen.entry(payload.tx_id).or_default();
                    *times += 1;
                    let kept = if *times == 1 { Ok(()) } else { Err("twice".to_owned()) };
                    reply.send(kept).unwrap();
                }
                PrivateIncoming::Request { digests, reply, .. } => {
                    assert_eq!(digests, std::slice::from_ref(&answer.digest));
                    reply.send(vec![answer.clone()]).unwrap();
                }
                PrivateIncoming::ForBlock { .. } => {}
            }
        }
        two.stop().await;
    });
    let two = one.gossip.view().alive.values().find(|peer| peer.member.pki_id != three.id).unwrap().member.clone();
    let (data, channel) = (|| Content::PrivateData(payload.clone()), channel());
    let send = || one.gossip.send_acknowledged(&two.pki_id, &channel, data(), PATIENCE);
    assert_eq!(send().await, Ok(()));
    assert_eq!(send().await, Err(AcknowledgeError::Refused("twice".into())));
    let request = Content::PrivateRequest(vec![digest]);
    let answer = one.gossip.ask(&two.pki_id, &channel, request, PATIENCE).await;
    assert_eq!(answer, Ok(Content::PrivateResponse(vec![element])));
    assert!(one.gossip.contact(&two.pki_id).is_some());
    let nobody = PkiId::claimed(Bytes::from_static(&[0; 32]));
    assert_eq!(one.gossip.send(&nobody, &channel, data()), Err(SendError::Unknown(nobody.clone())));
    one.stop().await;
    three.stop().await;
    answering.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_an_unknown_organisation_is_not_talked_to() {
    let [orderer, org1, stranger] = ["OrdererMSP", "Org1MSP", "StrangeMSP"].map(Organization::new);
    let [one, two, other] = [Place::find().await, Place::find().await, Place::find().await];
    let genesis = genesis_of(&orderer, &[(&org1, &one.address)]);
    let bootstrap = one.address.clone();
    // The stranger believes in a channel of both.
    let strange = genesis_of(&orderer, &[(&org1, &one.address), (&stranger, &other.address)]);
    let strange = Peer::start(&stranger, other, &strange, &[&bootstrap]).await;
    let one = Peer::start(&org1, one, &genesis, &[]).await;
    let two = Peer::start(&org1, two, &genesis, &[&bootstrap]).await;
    one.knows("another lives", |view| lives(view, &two)).await;
    two.knows("another lives", |view| lives(view, &one)).await;
    for peer in [&one, &two] {
        assert!(!lives(&peer.gossip.view(), &strange));
        assert!(peer.gossip.contact(&strange.id).is_none());
    }
    for peer in [one, two, strange] {
        peer.stop().await;
    }
}
