//! Peers with a valid identity that do not behave.

use std::time::Duration;

use bytes::Bytes;
use ripstop_proto::gossip as wire;

use super::network::{Network, Peer, PlayTrust};
use crate::{
    Alive, Content, Culprit, DataKind, Input, Message, Options, PeerTime, PkiId, SelfDescription, SignedMessage,
    StatePayload, Tag,
};

fn everybody(content: Content) -> Message {
    Message { nonce: 0, channel: None, tag: Tag::Everybody, content }
}

fn alive(about: &SelfDescription, sequence: u64, identity: Bytes) -> Alive {
    Alive {
        pki_id: about.pki_id.clone(),
        endpoint: about.external_endpoint.clone(),
        metadata: Bytes::new(),
        time: PeerTime { incarnation: 1, sequence },
        identity,
    }
}

pub(super) fn signed_alive(about: &SelfDescription, sequence: u64, trust: &PlayTrust) -> SignedMessage {
    SignedMessage::signed(everybody(Content::Alive(alive(about, sequence, about.identity.clone()))), trust)
}

/// A node, and a hostile peer of another organization with a stream to it.
fn besieged() -> (Network, SelfDescription, PlayTrust) {
    let mut network = Network::new(1);
    network.add("Org1MSP", Options::default());
    let mallory = Network::describe(50, "Org2MSP");
    let trust = network.connect_stranger(0, &mallory);
    (network, mallory, trust)
}

fn knows(peer: &mut Peer, pki_id: &PkiId) -> bool {
    peer.view().alive.contains_key(pki_id)
}

#[test]
fn what_a_stranger_without_stream_says_is_not_taken() {
    let mut network = Network::new(2);
    network.add("Org1MSP", Options::default());
    let other = Network::describe(7, "Org1MSP");
    let trust = PlayTrust { identity: other.identity.clone(), world: network.world.clone() };
    network.tell(0, &other.pki_id, &signed_alive(&other, 1, &trust));
    assert!(!knows(&mut network.peers[0], &other.pki_id));
    assert_eq!(network.peers[0].node.counters().refused, 1);
}

#[test]
fn an_alive_message_that_another_signed_is_not_believed() {
    let (mut network, mallory, trust) = besieged();
    let victim = Network::describe(7, "Org1MSP");
    // The identity of the victim is known to everybody; its key is not.
    network.tell(0, &mallory.pki_id, &signed_alive(&victim, 1, &trust));
    // The PKI-ID of the victim with another identity.
    let stolen = everybody(Content::Alive(alive(&victim, 2, mallory.identity.clone())));
    network.tell(0, &mallory.pki_id, &SignedMessage::signed(stolen, &trust));
    assert!(!knows(&mut network.peers[0], &victim.pki_id));
    assert_eq!(network.peers[0].node.counters().refused, 2);
}

#[test]
fn who_forges_again_and_again_is_cut_off() {
    let (mut network, mallory, trust) = besieged();
    let victim = Network::describe(7, "Org1MSP");
    for sequence in 0..40 {
        network.tell(0, &mallory.pki_id, &signed_alive(&victim, sequence, &trust));
    }
    let closed = &network.peers[0].closed;
    assert_eq!(closed[..], [(mallory.pki_id, "it sends what no honest peer sends".to_owned())]);
}

#[test]
fn a_forger_cannot_silence_its_victim() {
    let (mut network, mallory, forger) = besieged();
    let victim = Network::describe(7, "Org1MSP");
    let trust = network.connect_stranger(0, &victim);
    network.tell(0, &victim.pki_id, &signed_alive(&victim, 1, &trust));
    for sequence in 1000..1020 {
        network.tell(0, &mallory.pki_id, &signed_alive(&victim, sequence, &forger));
    }
    // Nobody answers at its endpoint in this play, so that it is dead soon; what it says itself brings it back.
    network.run(Duration::from_secs(20));
    assert!(!knows(&mut network.peers[0], &victim.pki_id));
    network.tell(0, &victim.pki_id, &signed_alive(&victim, 2, &trust));
    assert!(knows(&mut network.peers[0], &victim.pki_id));
}

#[test]
fn replayed_alive_messages_keep_nobody_alive_and_wake_nobody() {
    let (mut network, mallory, _) = besieged();
    let victim = Network::describe(7, "Org1MSP");
    let trust = network.connect_stranger(0, &victim);
    let said: Vec<_> = (1..=3).map(|sequence| signed_alive(&victim, sequence, &trust)).collect();
    for message in &said {
        network.tell(0, &victim.pki_id, message);
    }
    assert!(knows(&mut network.peers[0], &victim.pki_id));
    let mut was_dead = false;
    for _ in 0..600 {
        network.run(Duration::from_secs(1));
        network.tell(0, &mallory.pki_id, &said[2]);
        let is_alive = knows(&mut network.peers[0], &victim.pki_id);
        assert!(!(was_dead && is_alive), "a replay resurrected it");
        was_dead |= !is_alive;
    }
    // It was forgotten meanwhile, but what it said was not.
    assert!(was_dead && network.peers[0].noted("Removing member"));
    network.tell(0, &mallory.pki_id, &signed_alive(&victim, 4, &trust));
    assert!(knows(&mut network.peers[0], &victim.pki_id));
}

#[test]
fn a_flood_of_alive_messages_is_not_passed_on() {
    let (mut network, mallory, trust) = besieged();
    let other = network.add("Org1MSP", Options { bootstrap: vec!["peer0.inside:7051".into()], ..Options::default() });
    network.run(Duration::from_secs(2));
    let before = network.peers[0].sent.get("Alive").copied().unwrap_or_default();
    for sequence in 1..10_000 {
        network.tell(0, &mallory.pki_id, &signed_alive(&mallory, sequence, &trust));
        if sequence % 1000 == 0 {
            network.run(Duration::from_millis(100));
        }
    }
    let after = network.peers[0].sent["Alive"];
    assert!(after - before < 30, "{}", after - before);
    assert!(knows(&mut network.peers[0], &mallory.pki_id) && knows(&mut network.peers[other], &mallory.pki_id));
}

#[test]
fn a_membership_request_for_another_is_not_answered() {
    let (mut network, mallory, _) = besieged();
    let victim = Network::describe(7, "Org1MSP");
    let trust = network.connect_stranger(0, &victim);
    let about_me = Box::new(signed_alive(&victim, 1, &trust));
    let request = everybody(Content::MembershipRequest { about_me, known: Vec::new() });
    network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(request));
    assert!(!network.peers[0].sent.contains_key("MembershipResponse"));
    assert!(network.peers[0].noted("selfInfo that doesn't match the handshake"));
}

#[test]
fn membership_is_told_to_one_peer_only_so_often() {
    let (mut network, mallory, trust) = besieged();
    for sequence in 1..200 {
        let about_me = Box::new(signed_alive(&mallory, sequence, &trust));
        let request = everybody(Content::MembershipRequest { about_me, known: Vec::new() });
        network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(request));
    }
    assert_eq!(network.peers[0].sent["MembershipResponse"], 8);
}

#[test]
fn who_cannot_be_reached_from_outside_is_told_nothing_outside() {
    let mut network = Network::new(3);
    network.add("Org1MSP", Options::default());
    let mut hidden = Network::describe(50, "Org2MSP");
    hidden.external_endpoint.clear();
    let trust = network.connect_stranger(0, &hidden);
    let about_me = Box::new(signed_alive(&hidden, 1, &trust));
    let request = everybody(Content::MembershipRequest { about_me, known: Vec::new() });
    network.tell(0, &hidden.pki_id, &SignedMessage::unsigned(request));
    assert!(!network.peers[0].sent.contains_key("MembershipResponse"));
    assert_eq!(network.peers[0].closed.len(), 1);
    assert!(network.peers[0].noted("Got a membership request from a peer that shouldn't have sent one"));
}

#[test]
fn answers_to_no_question_are_not_taken() {
    let (mut network, mallory, trust) = besieged();
    let friend = Network::describe(51, "Org2MSP");
    let friends = PlayTrust { identity: friend.identity.clone(), ..trust };
    let alive = vec![signed_alive(&friend, 1, &friends).envelope().clone()];
    let response = everybody(Content::MembershipResponse { alive, dead: Vec::new() });
    network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(response));
    assert!(!knows(&mut network.peers[0], &friend.pki_id));
    let identity =
        Content::Identity { pki_id: friend.pki_id.clone(), identity: friend.identity.clone(), metadata: Bytes::new() };
    let data = vec![SignedMessage::signed(everybody(identity), &friends).envelope().clone()];
    let update = everybody(Content::Update { nonce: 1, data, kind: DataKind::Identities });
    network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(update));
    assert!(network.peers[0].node.identity(&friend.pki_id).is_none());
}

#[test]
fn identities_are_given_only_to_who_said_hello_and_may_have_them() {
    let (mut network, mallory, _) = besieged();
    // A peer of the besieged organization that cannot be reached from outside, and one that can.
    let mut hidden = Network::describe(1, "Org1MSP");
    hidden.external_endpoint.clear();
    let options = || Options { bootstrap: vec!["peer0.inside:7051".into()], ..Options::default() };
    network.add_as(hidden.clone(), options());
    network.run(Duration::from_secs(30));
    let request = |digests: Vec<Bytes>| everybody(Content::Request { nonce: 9, digests, kind: DataKind::Identities });
    let hello = everybody(Content::Hello { nonce: 9, metadata: Bytes::new(), kind: DataKind::Identities });
    let wanted = vec![network.peers[0].id().as_bytes().clone(), hidden.pki_id.as_bytes().clone()];
    let sent = |network: &Network| network.peers[0].sent.get("Update").copied().unwrap_or_default();
    let before = sent(&network);
    network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(request(wanted.clone())));
    assert_eq!(sent(&network), before);
    network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(hello.clone()));
    network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(request(vec![wanted[1].clone()])));
    assert_eq!(sent(&network), before);
    network.run(Duration::from_secs(1));
    network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(hello));
    let before = sent(&network);
    // One answer for each hello.
    for _ in 0..2 {
        network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(request(wanted.clone())));
        assert_eq!(sent(&network), before + 1);
    }
}

#[test]
fn hellos_are_answered_only_so_often() {
    let (mut network, mallory, _) = besieged();
    for nonce in 1..100 {
        let hello = everybody(Content::Hello { nonce, metadata: Bytes::new(), kind: DataKind::Identities });
        network.tell(0, &mallory.pki_id, &SignedMessage::unsigned(hello));
    }
    assert_eq!(network.peers[0].sent["Digest"], 1);
}

#[test]
fn what_is_sent_in_the_place_of_alive_messages_is_not_taken() {
    let (mut network, mallory, trust) = besieged();
    let hello = everybody(Content::Hello { nonce: 1, metadata: Bytes::new(), kind: DataKind::Identities });
    let about_me = Box::new(SignedMessage::signed(hello, &trust));
    let request = everybody(Content::MembershipRequest { about_me, known: Vec::new() });
    let request = SignedMessage::unsigned(request);
    assert!(SignedMessage::parse(request.envelope().clone()).is_err());
    network.tell(0, &mallory.pki_id, &request);
    assert!(!network.peers[0].sent.contains_key("MembershipResponse"));
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let parse = |payload: &[u8]| {
        SignedMessage::parse(wire::Envelope { payload: Bytes::copy_from_slice(payload), ..wire::Envelope::default() })
    };
    assert!(parse(b"").is_err());
    assert!(parse(b"\xff\xff\xff").is_err());
    // An alive message with the tag of a channel.
    let mallory = Network::describe(50, "Org2MSP");
    let mut message = everybody(Content::Alive(alive(&mallory, 1, Bytes::new())));
    message.tag = Tag::ChannelAndOrganization;
    assert!(parse(&message.encode()).unwrap_err().to_string().contains("its tag does not fit what it says"));
    message.tag = Tag::Everybody;
    assert_eq!(parse(&message.encode()).unwrap().message(), &message);
    // An identity that is larger than any.
    message.content = Content::Alive(alive(&mallory, 1, Bytes::from(vec![0; 1 << 17])));
    assert!(parse(&message.encode()).is_err());
}

/// Alive messages that a peer signed, but whose endpoint is longer than this peer takes.
fn overlong(about: &SelfDescription, sequence: u64, trust: &PlayTrust) -> wire::Envelope {
    let said = Alive { endpoint: "a".repeat(1000), ..alive(about, sequence, about.identity.clone()) };
    SignedMessage::signed(everybody(Content::Alive(said)), trust).envelope().clone()
}

#[test]
fn the_author_of_what_others_pass_on_has_to_answer_for_it_and_the_sender_for_the_rest() {
    let (_, mallory, trust) = besieged();
    let culprit = |envelope: wire::Envelope| SignedMessage::parse(envelope).unwrap_err().culprit;
    assert_eq!(culprit(overlong(&mallory, 1, &trust)), Culprit::Author);
    let signed = wire::Envelope {
        signature: Bytes::from(vec![0; 10_000]),
        ..signed_alive(&mallory, 1, &trust).envelope().clone()
    };
    assert_eq!(culprit(signed), Culprit::Author);
    let metadata = Bytes::from(vec![0; 10_000]);
    let hello = everybody(Content::Hello { nonce: 1, metadata, kind: DataKind::Identities });
    assert_eq!(culprit(SignedMessage::unsigned(hello).envelope().clone()), Culprit::Sender);
    assert_eq!(culprit(wire::Envelope::default()), Culprit::Sender);
    let properties =
        Some(wire::Properties { chaincodes: vec![wire::Chaincode::default(); 1 << 18], ..Default::default() });
    let content = wire::gossip_message::Content::StateInfo(wire::StateInfo { properties, ..Default::default() });
    let many = wire::GossipMessage { content: Some(content), ..Default::default() };
    let payload = ripstop_proto::Message::encode_to_vec(&many).into();
    assert_eq!(culprit(wire::Envelope { payload, ..wire::Envelope::default() }), Culprit::Author);
}

#[test]
fn who_passes_on_what_is_too_large_for_this_peer_is_not_to_blame() {
    for (bad, is_blamed) in [(None, false), (Some(wire::Envelope::default()), true)] {
        let mut network = Network::new(1);
        let relay = Network::describe(50, "Org1MSP");
        let bootstrap = vec![relay.external_endpoint.clone()];
        network.add("Org1MSP", Options { bootstrap, ..Options::default() });
        let [author, friend] = [51, 52].map(|number| Network::describe(number, "Org2MSP"));
        let trust = network.find_stranger(0, &relay);
        assert_eq!(network.peers[0].sent["MembershipRequest"], 1);
        let [authors, friends] =
            [&author, &friend].map(|peer| PlayTrust { identity: peer.identity.clone(), world: trust.world.clone() });
        let mut alive: Vec<_> =
            (0..40).map(|sequence| bad.clone().unwrap_or_else(|| overlong(&author, sequence, &authors))).collect();
        alive.push(signed_alive(&friend, 1, &friends).envelope().clone());
        let response = everybody(Content::MembershipResponse { alive, dead: Vec::new() });
        network.tell(0, &relay.pki_id, &SignedMessage::unsigned(response));
        assert!(knows(&mut network.peers[0], &friend.pki_id));
        let blamed = network.peers[0].closed.iter().any(|(_, why)| why == "it sends what no honest peer sends");
        assert_eq!(blamed, is_blamed);
    }
}

/// Field 1000 of any message, which nobody knows, with so many bytes.
fn unknown(bytes: usize) -> Vec<u8> {
    use ripstop_proto::Message as _;
    // As the member of an alive message: field 1, whose key is replaced.
    let mut field = vec![0xc2, 0x3e];
    let length = wire::Member { metadata: Bytes::from(vec![0; bytes]), ..Default::default() }.encode_to_vec();
    field.extend_from_slice(&length[1..]);
    field
}

#[test]
fn messages_that_take_far_more_memory_than_bytes_are_refused_before_they_take_it() {
    use ripstop_proto::Message as _;
    use wire::gossip_message::Content as Wire;
    let parse = |content: Wire| {
        let payload = wire::GossipMessage { tag: 1, content: Some(content), ..Default::default() }.encode_to_vec();
        SignedMessage::parse(wire::Envelope { payload: payload.into(), ..wire::Envelope::default() })
    };
    let empty = vec![wire::Envelope::default(); 200_000];
    let elements = vec![wire::PvtDataElement { payload: vec![Bytes::new(); 200_000], ..Default::default() }];
    let payloads = vec![wire::Payload { private_data: vec![Bytes::new(); 200_000], ..Default::default() }];
    for bomb in [
        Wire::MemRes(wire::MembershipResponse { alive: empty.clone(), dead: Vec::new() }),
        Wire::DataUpdate(wire::DataUpdate { data: empty, msg_type: 2, nonce: 1 }),
        Wire::DataDig(wire::DataDigest { digests: vec![Bytes::new(); 200_000], msg_type: 2, nonce: 1 }),
        Wire::PrivateRes(wire::RemotePvtDataResponse { elements }),
        Wire::StateResponse(wire::RemoteStateResponse { payloads }),
    ] {
        let refused = parse(bomb).unwrap_err().to_string();
        assert!(refused.contains("it holds more than 131072 values"), "{refused}");
    }
}

#[test]
fn what_is_kept_of_a_peer_is_not_larger_than_what_it_says() {
    let mallory = Network::describe(50, "Org2MSP");
    let parse = |payload: Vec<u8>| {
        SignedMessage::parse(wire::Envelope { payload: payload.into(), ..wire::Envelope::default() })
    };
    let said = |content: Content, filling: usize| {
        let mut payload = everybody(content).encode().to_vec();
        payload.extend(unknown(filling));
        payload
    };
    let identity = Content::Identity {
        pki_id: mallory.pki_id.clone(),
        identity: mallory.identity.clone(),
        metadata: Bytes::new(),
    };
    for kept in [Content::Alive(alive(&mallory, 1, Bytes::new())), identity] {
        assert!(parse(said(kept.clone(), 900)).is_ok());
        let refused = parse(said(kept, 2_000)).unwrap_err().to_string();
        assert!(refused.contains("too much of it is unknown"), "{refused}");
    }
    let hello = Content::Hello { nonce: 1, metadata: Bytes::new(), kind: DataKind::Identities };
    assert!(parse(said(hello.clone(), 10_000)).is_ok());
    assert!(parse(said(hello, 20_000)).is_err());
    // What is signed apart is kept too.
    let payload = everybody(Content::Alive(alive(&mallory, 1, Bytes::new()))).encode();
    let secret = wire::SecretEnvelope { payload: Bytes::from(vec![0; 5_000]), signature: Bytes::new() };
    let envelope = wire::Envelope { payload, secret_envelope: Some(secret), ..wire::Envelope::default() };
    assert!(SignedMessage::parse(envelope).unwrap_err().to_string().contains("its secret is too large"));
}

#[test]
fn what_is_kept_of_a_message_does_not_keep_all_that_it_came_with() {
    let mallory = Network::describe(50, "Org2MSP");
    let alive = everybody(Content::Alive(alive(&mallory, 1, Bytes::new()))).encode();
    let received = Bytes::from([&vec![0; 1 << 20][..], &alive].concat());
    let message = {
        let payload = received.slice(1 << 20..);
        SignedMessage::parse(wire::Envelope { payload, ..wire::Envelope::default() }).unwrap()
    };
    assert!(received.is_unique(), "the parsed message holds on to what was received");
    assert_eq!(message.envelope().payload, alive);
    // Each block of an answer stands by itself.
    let payloads = (0..2).map(|number| StatePayload {
        number,
        block: Bytes::from(vec![1; 1 << 16]),
        private_data: vec![Bytes::from_static(b"private")],
    });
    let response = Message {
        nonce: 1,
        channel: None,
        tag: Tag::ChannelOrOrganization,
        content: Content::StateResponse(payloads.collect()),
    };
    let parsed = SignedMessage::parse(SignedMessage::unsigned(response).envelope().clone()).unwrap();
    let Content::StateResponse(mut blocks) = parsed.message().content.clone() else { panic!("it is an answer") };
    drop(parsed);
    let kept = blocks.pop().unwrap();
    drop(blocks);
    assert!(kept.block.is_unique() && kept.private_data[0].is_unique());
}

#[test]
fn a_driver_that_cannot_bring_a_message_makes_its_receiver_dead_and_nobody_else() {
    let mut network = Network::new(4);
    network.add("Org1MSP", Options::default());
    network.add("Org1MSP", Options { bootstrap: vec!["peer0.inside:7051".into()], ..Options::default() });
    network.run(Duration::from_secs(10));
    let other = network.peers[1].id();
    let unreachable = |endpoint: &str| Input::Unreachable {
        endpoint: endpoint.to_owned(),
        pki_id: Some(other.clone()),
        reason: "refused".to_owned(),
    };
    // An old endpoint, and a stream that is gone, say nothing.
    network.input(0, unreachable("elsewhere:1"));
    network.input(0, unreachable(""));
    assert!(knows(&mut network.peers[0], &other));
    network.input(0, unreachable("peer1.inside:7051"));
    assert!(!knows(&mut network.peers[0], &other));
    network.run(Duration::from_secs(10));
    assert!(knows(&mut network.peers[0], &other));
}

#[test]
fn a_new_stream_is_no_new_beginning_for_who_behaved_badly() {
    let (mut network, mallory, trust) = besieged();
    let request = |sequence| {
        let about_me = Box::new(signed_alive(&mallory, sequence, &trust));
        SignedMessage::unsigned(everybody(Content::MembershipRequest { about_me, known: Vec::new() }))
    };
    for sequence in 1..20 {
        network.input(0, Input::Closed { pki_id: mallory.pki_id.clone() });
        network.connect_stranger(0, &mallory);
        network.tell(0, &mallory.pki_id, &request(sequence));
    }
    assert_eq!(network.peers[0].sent["MembershipResponse"], 8);
}

#[test]
fn what_others_copy_counts_from_when_it_was_said() {
    let mut network = Network::new(5);
    network.add("Org1MSP", Options::default());
    let [relay, victim] = [50, 51].map(|number| Network::describe(number, "Org1MSP"));
    let relays = network.connect_stranger(0, &relay);
    let victims = network.connect_stranger(0, &victim);
    let begin = network.now;
    let peer = &mut network.peers[0];
    // Nobody says that the victim cannot be reached: its streams stand.
    let mut input = |second: u64, input| {
        peer.node.handle(begin + Duration::from_secs(second), input, &peer.trust);
        while peer.node.poll_effect().is_some() {}
        peer.node.is_alive(&victim.pki_id)
    };
    let pushed = |about: &SelfDescription, sequence, trust| Input::Received {
        from: about.pki_id.clone(),
        message: signed_alive(about, sequence, trust),
    };
    let copied = |sequence| {
        let alive = vec![signed_alive(&victim, sequence, &victims).envelope().clone()];
        let response = everybody(Content::MembershipResponse { alive, dead: Vec::new() });
        Input::Received { from: relay.pki_id.clone(), message: SignedMessage::unsigned(response) }
    };
    assert!(input(0, pushed(&victim, 1, &victims)));
    for second in 1..40 {
        input(second, pushed(&relay, second, &relays));
        let is_alive = match second {
            // One number later: five seconds.
            24 => input(second, copied(2)),
            // Two numbers later: that it lived then is no reason to believe that it lives.
            38 => input(second, copied(3)),
            _ => input(second, Input::Wake),
        };
        match second {
            ..=30 => assert!(is_alive, "{second}"),
            33.. => assert!(!is_alive, "{second}"),
            _ => {}
        }
    }
    assert!(!input(40, pushed(&victim, 3, &victims)));
    assert!(input(41, copied(8)));
}
