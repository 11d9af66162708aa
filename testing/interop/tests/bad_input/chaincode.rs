//! What the peer says to chaincode that it did not start.

use bytes::Bytes;
use ripstop_proto::Message;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::chaincode_support_client::ChaincodeSupportClient;
use ripstop_proto::protos::{ChaincodeId, ChaincodeMessage};

use crate::world::{Outcome, World, outcome_of};

impl World {
    /// Says these messages to the peer; the outcome is how the peer ends the stream.
    async fn converse(&self, messages: Vec<ChaincodeMessage>) -> Outcome {
        let mut client = ChaincodeSupportClient::new(self.site.chaincode_listener(1).channel());
        // The stream stays open, so that it is the peer who ends it.
        let (sender, receiver) = tokio::sync::mpsc::channel(messages.len().max(1));
        for message in messages {
            sender.send(message).await.expect("there is room");
        }
        let answered = async {
            let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
            let mut answers = client.register(requests).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                drop(answer);
            }
            Ok(("none".to_owned(), "the stream ended without a status".to_owned()))
        };
        let outcome = answered.await.unwrap_or_else(|status| outcome_of(&status));
        drop(sender);
        outcome
    }
}

/// Streams that do not begin as a chaincode's should.
pub(crate) async fn registrations(world: &World) {
    let message =
        |kind: i32, payload: Vec<u8>| ChaincodeMessage { r#type: kind, payload: payload.into(), ..Default::default() };
    let named = |name: &str| ChaincodeId { name: name.to_owned(), ..Default::default() }.encode_to_vec();
    let register = |payload| vec![message(Type::Register as i32, payload)];
    let oversized =
        ChaincodeMessage { payload: Bytes::from(vec![0; 1 << 20]), ..message(Type::PutState as i32, Vec::new()) };
    let cases = [
        ("unknown", register(named("stranger:1")), "peer will not accept external chaincode connection stranger:1"),
        ("nameless", register(Vec::new()), "chaincodeID name is empty"),
        ("garbage", register(b"\xff\xff".to_vec()), "could NOT unmarshal registration info"),
        (
            "a request first",
            vec![message(Type::GetState as i32, Vec::new())],
            "cannot handle message (GET_STATE) while in created state",
        ),
        ("a large request first", vec![oversized], "cannot handle message (PUT_STATE) while in created state"),
        ("an answer first", vec![message(Type::Completed as i32, b"\xff".to_vec())], "while in created state"),
        ("a type that is none", vec![message(-5, Vec::new())], "cannot handle message (-5)"),
        (
            "keepalives, then nonsense",
            vec![message(Type::Keepalive as i32, Vec::new()), message(77, Vec::new())],
            "(77)",
        ),
    ];
    for (name, messages, words) in cases {
        let outcome = world.converse(messages).await;
        world.expect(&format!("chaincode, {name}"), &outcome, "Unknown", words);
    }
}
