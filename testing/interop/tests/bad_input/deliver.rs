//! What peer and orderer say to requests for blocks. The answer is a status; the reason is in the log.

use std::collections::BTreeSet;

use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_interop::{CHANNEL, DraftEnvelope, high_s};
use ripstop_proto::common::HeaderType;
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::orderer::seek_position::Type;
use ripstop_proto::orderer::{SeekInfo, SeekNewest, SeekOldest, SeekPosition, SeekSpecified};
use ripstop_proto::protos::deliver_client::DeliverClient;
use ripstop_proto::{Message, common, orderer, protos};
use tonic::{Response, Status, Streaming};

use crate::world::{Outcome, World, outcome_of, status_name};

fn number(number: u64) -> Option<SeekPosition> {
    Some(SeekPosition { r#type: Some(Type::Specified(SeekSpecified { number })) })
}

fn oldest() -> Option<SeekPosition> {
    Some(SeekPosition { r#type: Some(Type::Oldest(SeekOldest {})) })
}

fn newest() -> Option<SeekPosition> {
    Some(SeekPosition { r#type: Some(Type::Newest(SeekNewest {})) })
}

fn range(start: Option<SeekPosition>, stop: Option<SeekPosition>) -> Vec<u8> {
    let behavior = orderer::seek_info::SeekBehavior::FailIfNotReady as i32;
    SeekInfo { start, stop, behavior, ..Default::default() }.encode_to_vec()
}

impl World {
    /// Asks the orderer; the outcome is the status behind the blocks.
    async fn orderer_blocks(&self, request: common::Envelope) -> Outcome {
        let mut client = AtomicBroadcastClient::new(self.orderer.clone());
        let answered = async {
            let mut answers = client.deliver(tokio_stream::once(request)).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                if let Some(orderer::deliver_response::Type::Status(status)) = answer.r#type {
                    return Ok((status_name(status), String::new()));
                }
            }
            Ok(("none".to_owned(), String::new()))
        };
        answered.await.unwrap_or_else(|status| outcome_of(&status))
    }

    /// Asks the peer for filtered blocks.
    async fn peer_blocks(&self, request: common::Envelope) -> Outcome {
        let mut client = DeliverClient::new(self.peer.clone());
        peer_status(client.deliver_filtered(tokio_stream::once(request)).await).await
    }

    /// Asks the peer for blocks with private data.
    async fn private_blocks(&self, request: common::Envelope) -> Outcome {
        let mut client = DeliverClient::new(self.peer.clone());
        peer_status(client.deliver_with_private_data(tokio_stream::once(request)).await).await
    }
}

/// The private collections that a peer delivers in answer to a request, in alphabetical order.
async fn collections(world: &World, request: common::Envelope) -> Outcome {
    let mut client = DeliverClient::new(world.peer.clone());
    let answered = async {
        let mut answers = client.deliver_with_private_data(tokio_stream::once(request)).await?.into_inner();
        let mut found = BTreeSet::new();
        while let Some(answer) = answers.message().await? {
            let Some(protos::deliver_response::Type::BlockAndPrivateData(both)) = answer.r#type else { break };
            let namespaces = both.private_data_map.into_values().flat_map(|set| set.ns_pvt_rwset);
            let collections = namespaces.flat_map(|ns| ns.collection_pvt_rwset);
            found.extend(collections.map(|collection| collection.collection_name));
        }
        Ok((found.into_iter().collect::<Vec<_>>().join(" "), String::new()))
    };
    answered.await.unwrap_or_else(|status: Status| outcome_of(&status))
}

/// The status that ends a request to a peer.
async fn peer_status(answers: Result<Response<Streaming<protos::DeliverResponse>>, Status>) -> Outcome {
    let answered = async {
        let mut answers = answers?.into_inner();
        while let Some(answer) = answers.message().await? {
            if let Some(protos::deliver_response::Type::Status(status)) = answer.r#type {
                return Ok((status_name(status), String::new()));
            }
        }
        Ok(("none".to_owned(), String::new()))
    };
    answered.await.unwrap_or_else(|status: Status| outcome_of(&status))
}

/// Requests that are spoilt in one place each.
pub(crate) async fn requests(world: &World) {
    let user = &world.user;
    let draft =
        |by: &SigningIdentity, data: Vec<u8>| DraftEnvelope::new(by, HeaderType::DeliverSeekInfo, CHANNEL, data);
    let seek = |data: Vec<u8>| draft(user, data).sign(user);
    let by = |identity: &SigningIdentity| draft(identity, range(oldest(), oldest())).sign(identity);
    let changed = |change: &dyn Fn(&mut DraftEnvelope)| {
        let mut request = draft(user, range(oldest(), oldest()));
        change(&mut request);
        request.sign(user)
    };
    let mut unsigned = by(user);
    unsigned.signature.clear();
    let mut high = by(user);
    high.signature = high_s(&high.signature);
    let nowhere = Some(SeekPosition { r#type: None });
    let cases = [
        ("good", by(user), "SUCCESS"),
        ("nothing", common::Envelope::default(), "BAD_REQUEST"),
        ("payload", common::Envelope { payload: Bytes::from_static(b"\xff"), signature: Bytes::new() }, "BAD_REQUEST"),
        ("no time", changed(&|request| request.channel_header.timestamp = None), "BAD_REQUEST"),
        (
            "long ago",
            changed(&|request| {
                request.channel_header.timestamp = Some(prost_types::Timestamp { seconds: i64::MIN, nanos: i32::MIN });
            }),
            "BAD_REQUEST",
        ),
        (
            "far ahead",
            changed(&|request| {
                request.channel_header.timestamp = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX });
            }),
            "BAD_REQUEST",
        ),
        ("unknown channel", changed(&|request| request.channel_header.channel_id = "other".to_owned()), "NOT_FOUND"),
        ("no channel", changed(&|request| request.channel_header.channel_id.clear()), "NOT_FOUND"),
        ("no seek", seek(b"\xff\xff".to_vec()), "BAD_REQUEST"),
        ("no positions", seek(Vec::new()), "BAD_REQUEST"),
        ("no start", seek(range(None, newest())), "BAD_REQUEST"),
        ("no stop", seek(range(oldest(), None)), "BAD_REQUEST"),
        ("backwards", seek(range(number(2), number(1))), "BAD_REQUEST"),
        ("beyond the end", seek(range(number(1_000_000), number(2_000_000))), "NOT_FOUND"),
        ("at the end of numbers", seek(range(number(u64::MAX), number(u64::MAX))), "NOT_FOUND"),
        ("until the end of numbers", seek(range(newest(), number(u64::MAX))), "NOT_FOUND"),
        ("an empty start", seek(range(nowhere, newest())), "NOT_FOUND"),
        ("unsigned", unsigned, "FORBIDDEN"),
        ("high S", high, "FORBIDDEN"),
        ("other authority", by(&world.forged), "FORBIDDEN"),
        ("unknown organisation", by(&world.foreign), "FORBIDDEN"),
        ("expired", by(&world.expired), "FORBIDDEN"),
        ("other organisation", changed(&|request| request.signature_header.creator = world.misplaced()), "FORBIDDEN"),
        ("nobody", changed(&|request| request.signature_header.creator.clear()), "FORBIDDEN"),
    ];
    for (name, request, status) in cases {
        let outcome = world.orderer_blocks(request.clone()).await;
        world.expect(&format!("deliver of the orderer, {name}"), &outcome, status, "");
        let outcome = world.peer_blocks(request.clone()).await;
        world.expect(&format!("deliver of the peer, {name}"), &outcome, status, "");
        let outcome = world.private_blocks(request).await;
        world.expect(&format!("deliver of the peer with private data, {name}"), &outcome, status, "");
    }
    // What an organization approved is its own.
    for (name, reader, expected) in [("own", user, "_implicit_org_Org1MSP"), ("foreign", &world.neighbour, "")] {
        let request = draft(reader, range(oldest(), newest())).sign(reader);
        let outcome = collections(world, request).await;
        world.expect(&format!("{name} private data beside blocks"), &outcome, expected, "");
    }
}
