//! What the orderer says to messages that cannot be ordered.

use bytes::Bytes;
use ripstop_interop::{CHANNEL, DraftEnvelope, high_s};
use ripstop_proto::common::HeaderType;
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::{Message, common};
use ripstop_testkit::Organization;

use crate::world::{Outcome, World, outcome_of, status_name};

impl World {
    /// Sends a message to the orderer.
    pub(crate) async fn broadcast(&self, message: common::Envelope) -> Outcome {
        let mut client = AtomicBroadcastClient::new(self.orderer.clone()).max_encoding_message_size(usize::MAX);
        let answered = async { client.broadcast(tokio_stream::once(message)).await?.into_inner().message().await };
        match answered.await {
            Ok(Some(answer)) => (status_name(answer.status), answer.info),
            Ok(None) => ("none".to_owned(), "the stream ended without an answer".to_owned()),
            Err(status) => outcome_of(&status),
        }
    }
}

/// An update of the channel's configuration with these bytes as the update.
fn update(config_update: impl Into<Bytes>) -> Vec<u8> {
    common::ConfigUpdateEnvelope { config_update: config_update.into(), signatures: Vec::new() }.encode_to_vec()
}

/// Messages that are spoilt in one place each.
pub(crate) async fn messages(world: &World) {
    let user = &world.user;
    let draft = |kind: HeaderType, data: Vec<u8>| DraftEnvelope::new(user, kind, CHANNEL, data);
    let of = |kind: HeaderType, data: Vec<u8>| draft(kind, data).sign(user);
    let garbage = Bytes::from_static(b"\xff\xff\xff");
    let raw = |payload: Bytes| common::Envelope { signature: user.sign(&payload).expect("the key signs"), payload };
    let headless = common::Payload { header: None, data: Bytes::new() }.encode_to_vec();
    let header = common::Header { channel_header: garbage.clone(), signature_header: Bytes::new() };
    let bad_header = common::Payload { header: Some(header), data: Bytes::new() }.encode_to_vec();
    let mut nowhere = draft(HeaderType::Message, Vec::new());
    nowhere.channel_header.channel_id = "nochannel".to_owned();
    let mut obsolete = draft(HeaderType::Message, Vec::new());
    obsolete.channel_header.r#type = ripstop_types::HeaderType::OrdererTransaction.number();
    let empty_update = common::ConfigUpdate { channel_id: CHANNEL.to_owned(), ..Default::default() };
    let other_update = common::ConfigUpdate { channel_id: "other".to_owned(), ..Default::default() };
    let refused = "error applying config update to existing channel 'mychannel'";
    let cases = [
        ("nothing", common::Envelope::default(), "BAD_REQUEST", "could not determine channel ID"),
        ("payload", raw(garbage.clone()), "BAD_REQUEST", "could not determine channel ID"),
        ("no header", raw(headless.into()), "BAD_REQUEST", "could not determine channel ID"),
        ("channel header", raw(bad_header.into()), "BAD_REQUEST", "could not determine channel ID"),
        ("unknown channel", nowhere.sign(user), "BAD_REQUEST", "channel does not exist"),
        (
            "configuration",
            of(HeaderType::Config, Vec::new()),
            "BAD_REQUEST",
            "message is of type that cannot be processed directly",
        ),
        ("orderer transaction", obsolete.sign(user), "BAD_REQUEST", "message is of type that is no longer supported"),
        (
            "oversized for the channel",
            of(HeaderType::Message, vec![0; 11 * 1024 * 1024]),
            "BAD_REQUEST",
            "bytes and exceeds maximum allowed 10485760 bytes",
        ),
        (
            "oversized for the orderer",
            of(HeaderType::Message, vec![0; 101 * 1024 * 1024]),
            "ResourceExhausted",
            "larger than max",
        ),
        ("an empty update", of(HeaderType::ConfigUpdate, Vec::new()), "BAD_REQUEST", refused),
        ("no update", of(HeaderType::ConfigUpdate, garbage.to_vec()), "BAD_REQUEST", refused),
        ("an update of garbage", of(HeaderType::ConfigUpdate, update(garbage.clone())), "BAD_REQUEST", refused),
        (
            "an update of nothing",
            of(HeaderType::ConfigUpdate, update(empty_update.encode_to_vec())),
            "BAD_REQUEST",
            refused,
        ),
        (
            "an update of another channel",
            of(HeaderType::ConfigUpdate, update(other_update.encode_to_vec())),
            "BAD_REQUEST",
            refused,
        ),
        // The orderer does not look into what it orders; peers judge these invalid.
        ("an opaque message", of(HeaderType::Message, garbage.to_vec()), "SUCCESS", ""),
        ("no transaction", of(HeaderType::EndorserTransaction, garbage.to_vec()), "SUCCESS", ""),
        ("an empty transaction", of(HeaderType::EndorserTransaction, Vec::new()), "SUCCESS", ""),
    ];
    for (name, message, status, words) in cases {
        world.expect(&format!("broadcast, {name}"), &world.broadcast(message).await, status, words);
    }
    identities(world).await;
}

/// Messages of people who may not write to the channel, or did not sign.
async fn identities(world: &World) {
    let by = |identity: &ripstop_crypto::SigningIdentity| {
        DraftEnvelope::new(identity, HeaderType::Message, CHANNEL, Bytes::new()).sign(identity)
    };
    let mut unsigned = by(&world.user);
    unsigned.signature.clear();
    let mut other_bytes = by(&world.user);
    other_bytes.signature = by(&world.user).signature;
    let mut high = by(&world.user);
    high.signature = high_s(&high.signature);
    let mut misplaced = DraftEnvelope::new(&world.user, HeaderType::Message, CHANNEL, Bytes::new());
    misplaced.signature_header.creator = world.misplaced();
    let mut nobody = DraftEnvelope::new(&world.user, HeaderType::Message, CHANNEL, Bytes::new());
    nobody.signature_header.creator = Bytes::from_static(b"\xff\xff");
    let cases = [
        ("unsigned", unsigned, "FORBIDDEN", "User1@org1.example.com"),
        ("signature of something else", other_bytes, "FORBIDDEN", "User1@org1.example.com"),
        ("high S", high, "FORBIDDEN", "User1@org1.example.com"),
        ("other authority", by(&world.forged), "FORBIDDEN", "forger"),
        ("unknown organisation", by(&world.foreign), "FORBIDDEN", "NobodyMSP"),
        ("other organisation", misplaced.sign(&world.user), "FORBIDDEN", "Org2MSP"),
        ("a peer", by(&world.site.endorser(1)), "FORBIDDEN", "peer0.org1.example.com"),
        (
            "a long organisation",
            by(&Organization::new(&"M".repeat(100_000)).client("c")),
            "FORBIDDEN",
            "permission denied",
        ),
        ("creator", nobody.sign(&world.user), "FORBIDDEN", "permission denied"),
        ("expired", by(&world.expired), "BAD_REQUEST", "broadcast client identity expired"),
    ];
    for (name, message, status, words) in cases {
        world.expect(&format!("broadcast, {name}"), &world.broadcast(message).await, status, words);
    }
}
