//! Streams that do not begin as a chaincode's should.

use bytes::Bytes;
use prost::Message;
use ripstop_chaincode::Registration;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::chaincode_support_client::ChaincodeSupportClient;
use ripstop_proto::protos::{ChaincodeId, ChaincodeMessage};
use ripstop_transport::{Endpoint, Listener, ServerKeepalive, serve_grpc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::peer::Peer;

/// Says these messages to the peer; the status with which the peer ends the stream.
async fn converse(endpoint: &Endpoint, messages: Vec<ChaincodeMessage>) -> Status {
    let mut client = ChaincodeSupportClient::new(endpoint.channel());
    // The stream stays open, so that it is the peer who ends it.
    let (sender, receiver) = tokio::sync::mpsc::channel(messages.len());
    for message in messages {
        sender.send(message).await.unwrap();
    }
    let answered = async {
        let mut answers = client.register(ReceiverStream::new(receiver)).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(Status::ok("the stream ended without a status"))
    };
    let status = answered.await.unwrap_or_else(|status| status);
    drop(sender);
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_begin_wrongly_are_ended_in_fabrics_words() {
    let peer = Peer::new(|options| options.registration = Registration::OnlyLaunched).await;
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(&listener.address().to_string()).unwrap();
    let routes = tonic::service::Routes::new(peer.host.registration_service().into_grpc());
    tokio::spawn(serve_grpc(listener, None, ServerKeepalive::default(), routes, std::future::pending()));

    let message =
        |kind: i32, payload: Vec<u8>| ChaincodeMessage { r#type: kind, payload: payload.into(), ..Default::default() };
    let named = |name: &str| ChaincodeId { name: name.to_owned(), ..Default::default() }.encode_to_vec();
    let register = |payload| vec![message(Type::Register as i32, payload)];
    let large = ChaincodeMessage { payload: Bytes::from(vec![0; 1 << 20]), ..message(Type::PutState as i32, vec![]) };
    let cases = [
        (register(named("stranger:1")), "peer will not accept external chaincode connection stranger:1"),
        (register(vec![]), "chaincodeID name is empty"),
        (register(b"\xff\xff".to_vec()), "could NOT unmarshal registration info"),
        (vec![message(Type::GetState as i32, vec![])], "cannot handle message (GET_STATE) while in created state"),
        (vec![large], "cannot handle message (PUT_STATE) while in created state"),
        (vec![message(Type::Completed as i32, b"\xff".to_vec())], "while in created state"),
        (vec![message(-5, vec![])], "cannot handle message (-5)"),
        (vec![message(Type::Keepalive as i32, vec![]), message(77, vec![])], "(77)"),
    ];
    for (messages, words) in cases {
        let status = converse(&endpoint, messages).await;
        assert!(status.code() == Code::Unknown && status.message().contains(words), "{words}: {status}");
    }
}
