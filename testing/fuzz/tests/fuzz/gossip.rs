//! What a peer says to another.

use bytes::Bytes;
use ripstop_gossip::handshake::{Purpose, judge, offer};
use ripstop_gossip::{
    Alive, AnchorPeer, ChannelInput, ChannelOrganizations, Content, DataKind, Distrust, Input, Message, Moment, Node,
    Options, PeerTime, PkiId, PrivateDigest, PrivateElement, PrivatePayload, SelfDescription, SignedMessage, Standing,
    StateInfo, StatePayload, Tag, Trust,
};
use ripstop_lifecycle::explicit_collections;
use ripstop_proto::Message as _;
use ripstop_proto::gossip::{Envelope, PvtDataPayload};
use ripstop_proto::{common, kvrwset, protos};
use ripstop_rwset::ReceivedSets;
use ripstop_sharing::Audience;
use ripstop_types::{ChannelId, Digest, MspId, SerializedIdentity};

use crate::seeds::Seeds;

/// The channel that both peers are in.
const CHANNEL: &str = "mychannel";
/// The hash of the certificate that both use.
const TLS: [u8; 32] = [7; 32];
/// When it happens.
const NOW: Moment = Moment::from_nanoseconds(1_800_000_000_000_000_000);

/// Whoever says who he is, is believed: so that spoilt messages get far.
struct Credulous;

impl Trust for Credulous {
    fn identify(&self, _now: Moment, identity: &Bytes) -> Result<Standing, Distrust> {
        let read = SerializedIdentity::parse(identity.clone()).map_err(|error| Distrust(error.to_string()))?;
        Ok(Standing { organization: read.msp_id, expires: None })
    }

    fn verify(&self, _identity: &Bytes, _message: &[u8], _signature: &[u8]) -> bool {
        true
    }

    fn verify_reader(&self, _channel: &ChannelId, _identity: &Bytes, _message: &[u8], _signature: &[u8]) -> bool {
        true
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        Digest::of(message).to_bytes()
    }
}

fn about(organization: &str, number: u32) -> SelfDescription {
    let identity = SerializedIdentity::new(MspId::new(organization), Bytes::from(format!("peer{number}")));
    SelfDescription {
        pki_id: PkiId::of(&identity),
        identity: identity.raw,
        organization: identity.msp_id,
        endpoint: format!("peer{number}:7051"),
        external_endpoint: format!("peer{number}.example:7051"),
    }
}

fn channel() -> ChannelId {
    ChannelId::new(CHANNEL).expect("it is a channel")
}

/// Envelopes with messages of several kinds, from the one who will send them.
pub(crate) fn seeds() -> [Bytes; 4] {
    let sender = about("Org1MSP", 1);
    let time = PeerTime { incarnation: 5, sequence: 7 };
    let everybody = |content| Message { nonce: 3, channel: None, tag: Tag::Everybody, content };
    let alive = everybody(Content::Alive(Alive {
        pki_id: sender.pki_id.clone(),
        endpoint: sender.external_endpoint.clone(),
        metadata: Bytes::new(),
        time,
        identity: sender.identity.clone(),
    }));
    let alive = SignedMessage::signed(alive, &Credulous).with_secret(&sender.endpoint, &Credulous);
    let request = everybody(Content::MembershipRequest { about_me: Box::new(alive.clone()), known: Vec::new() });
    let identity = everybody(Content::Identity {
        pki_id: sender.pki_id.clone(),
        identity: sender.identity.clone(),
        metadata: Bytes::new(),
    });
    let update = everybody(Content::Update {
        nonce: 9,
        data: vec![SignedMessage::signed(identity, &Credulous).envelope().clone(), alive.envelope().clone()],
        kind: DataKind::Identities,
    });
    let mac = Digest::of_parts([&sender.pki_id.as_bytes()[..], CHANNEL.as_bytes()]).to_bytes();
    let in_channel = |content| Message { nonce: 0, channel: Some(channel()), tag: Tag::ChannelOrOrganization, content };
    let info = in_channel(Content::StateInfo(StateInfo {
        pki_id: sender.pki_id,
        channel_mac: mac,
        time,
        height: 5,
        left_channel: false,
        chaincodes: Vec::new(),
    }));
    let blocks = in_channel(Content::StateResponse(vec![StatePayload {
        number: 1,
        block: Bytes::from_static(b"block"),
        private_data: vec![Bytes::from_static(b"private")],
    }]));
    let signed = SignedMessage::signed(info, &Credulous);
    [request, update, blocks]
        .map(SignedMessage::unsigned)
        .into_iter()
        .chain([signed])
        .map(|message| Bytes::from(message.envelope().encode_to_vec()))
        .collect::<Vec<_>>()
        .try_into()
        .expect("there are four")
}

/// Envelopes with a handshake and with private data of a collection that is for whoever satisfies a policy.
pub(crate) fn private_seeds(policy: &common::SignaturePolicyEnvelope) -> [Bytes; 3] {
    let hello = offer(&about("Org1MSP", 1), Bytes::from_static(&TLS), Purpose::Talk, &Credulous);
    let write = kvrwset::KvWrite { key: "key".into(), value: "value".into(), ..Default::default() };
    let writes = kvrwset::KvrwSet { writes: vec![write], ..Default::default() }.encode_to_vec();
    let member_orgs_policy = protos::CollectionPolicyConfig {
        payload: Some(protos::collection_policy_config::Payload::SignaturePolicy(policy.clone())),
    };
    let config = protos::StaticCollectionConfig {
        name: "coll".into(),
        member_orgs_policy: Some(member_orgs_policy),
        maximum_peer_count: 3,
        ..Default::default()
    };
    let config =
        protos::CollectionConfig { payload: Some(protos::collection_config::Payload::StaticCollectionConfig(config)) };
    let payload = PrivatePayload {
        collection: "coll".into(),
        namespace: "cc".into(),
        tx_id: "abcdef".into(),
        writes: writes.clone().into(),
        endorsed_at: 5,
        collection_configs: Some(protos::CollectionConfigPackage { config: vec![config] }),
    };
    let digest =
        PrivateDigest { tx_id: "abcdef".into(), namespace: "cc".into(), collection: "coll".into(), block: 5, tx: 0 };
    let element = PrivateElement { digest, payload: vec![writes.into()] };
    let in_channel = |content| Message { nonce: 7, channel: Some(channel()), tag: Tag::Channel, content };
    let contents = [Content::PrivateData(payload), Content::PrivateResponse(vec![element])];
    let [data, answer] = contents.map(|content| SignedMessage::unsigned(in_channel(content)));
    [hello, data, answer].map(|message| message.envelope().encode_to_vec().into())
}

/// The first message of somebody whom nobody knows yet.
pub(crate) fn gossip_handshake(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(Bytes::copy_from_slice(bytes)) else { return };
    let Ok(message) = SignedMessage::parse(envelope) else { return };
    for shown in [Some(&TLS[..]), Some(&[]), None] {
        let Ok((contact, _)) = judge(&Credulous, NOW, &message, shown) else { continue };
        assert_ne!(shown, Some(&[][..]), "nothing binds it to its connection");
        let identity = SerializedIdentity::parse(contact.identity).expect("it was believed");
        assert_eq!((contact.pki_id, contact.organization), (PkiId::of(&identity), identity.msp_id));
    }
}

/// Private data from a peer that is allowed to talk, before anything proves them.
pub(crate) fn gossip_private_data(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(Bytes::copy_from_slice(bytes)) else { return };
    let Ok(message) = SignedMessage::parse(envelope) else { return };
    let (mut received, msps) = (ReceivedSets::default(), Seeds::get().config.msps());
    match message.message().content.clone() {
        Content::PrivateData(payload) => {
            for config in payload.collection_configs.iter().flat_map(explicit_collections) {
                if let Ok(audience) = Audience::of(config, msps) {
                    let _ = audience.keeps(&MspId::new("Org1MSP"), msps);
                }
            }
            if let Some(set) = received.collection(&payload.namespace, payload.collection, payload.writes) {
                let again = received.collection(&payload.namespace, set.collection.clone(), set.raw.clone());
                assert_eq!(again, Some(set));
            }
        }
        Content::PrivateResponse(elements) => {
            for PrivateElement { digest, payload } in elements {
                for raw in payload {
                    let _ = received.collection(&digest.namespace, digest.collection.clone(), raw);
                }
            }
        }
        Content::StateResponse(blocks) => {
            for data in blocks.into_iter().flat_map(|block| block.private_data) {
                let _ = PvtDataPayload::decode(data).map(|data| received.transaction(data.payload));
            }
        }
        _ => {}
    }
}

/// A message from a peer that is allowed to talk: its form, and what the receiver makes of it.
pub(crate) fn gossip_message(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(Bytes::copy_from_slice(bytes)) else { return };
    let Ok(message) = SignedMessage::parse(envelope) else { return };
    let again = Envelope { payload: message.message().encode(), ..message.envelope().clone() };
    assert_eq!(SignedMessage::parse(again).as_ref().map(SignedMessage::message), Ok(message.message()));

    let (me, sender) = (about("Org1MSP", 0), about("Org1MSP", 1));
    let mut node = Node::new(Options::default(), me, NOW, 1, &Credulous);
    let offered = offer(&sender, Bytes::from_static(&TLS), Purpose::Talk, &Credulous);
    let (contact, _) = judge(&Credulous, NOW, &offered, Some(&TLS)).expect("it is believed");
    let anchor = AnchorPeer { host: "peer1.example".to_owned(), port: 7051 };
    let organizations =
        ChannelOrganizations { sequence: 1, anchors: [(contact.organization.clone(), vec![anchor])].into() };
    let joined = ChannelInput::Joined { organizations, height: 1, chaincodes: Vec::new() };
    node.handle(NOW, Input::Connected { contact, dialled: None }, &Credulous);
    node.handle(NOW, Input::Channel(channel(), joined), &Credulous);
    // Twice: what is known already is another case.
    for _ in 0..2 {
        let input = Input::Received { from: sender.pki_id.clone(), message: message.clone() };
        node.handle(NOW, input, &Credulous);
        while node.poll_effect().is_some() {}
        let _ = (node.view(&Credulous), node.wake_at());
    }
}
