//! Chaincode that does not keep to the protocol: it harms nobody but itself.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::protos::chaincode_server::{Chaincode, ChaincodeServer};
use ripstop_proto::protos::{self, ChaincodeMessage, chaincode_message::Type};
use ripstop_transport::{Listener, MAX_MESSAGE_SIZE, ServerOptions, serve_grpc};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::peer::Peer;

/// A chaincode's side of a stream on which it registered and was called.
struct Called {
    called: ChaincodeMessage,
    inbound: Streaming<ChaincodeMessage>,
    outbound: mpsc::Sender<Result<ChaincodeMessage, Status>>,
}

impl Called {
    /// Sends a message; whether the peer still takes any.
    async fn send(&self, message: ChaincodeMessage) -> bool {
        self.outbound.send(Ok(message)).await.is_ok()
    }

    async fn receive(&mut self) -> Option<ChaincodeMessage> {
        self.inbound.message().await.ok().flatten()
    }
}

/// How long calls may take where it does not matter.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a chaincode does when it is called first.
type Behaviour = fn(Called) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A chaincode as a service with a behaviour.
struct Misbehaved {
    id: String,
    behaviour: Behaviour,
}

#[tonic::async_trait]
impl Chaincode for Misbehaved {
    type ConnectStream = ReceiverStream<Result<ChaincodeMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (outbound, receiver) = mpsc::channel(16);
        let id = protos::ChaincodeId { name: self.id.clone(), ..Default::default() }.encode_to_vec();
        let behaviour = self.behaviour;
        tokio::spawn(async move {
            let mut inbound = request.into_inner();
            outbound.send(Ok(message(Type::Register, id.into()))).await.ok();
            while let Ok(Some(called)) = inbound.message().await {
                if matches!(called.r#type(), Type::Transaction) {
                    return behaviour(Called { called, inbound, outbound }).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn message(kind: Type, payload: Bytes) -> ChaincodeMessage {
    ChaincodeMessage { r#type: kind as i32, payload, ..Default::default() }
}

/// A message in the transaction of a call.
fn within(called: &ChaincodeMessage, kind: Type, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage {
        txid: called.txid.clone(),
        channel_id: called.channel_id.clone(),
        ..message(kind, payload.into())
    }
}

fn done(called: &ChaincodeMessage, text: &str) -> ChaincodeMessage {
    let response = protos::Response { status: 200, payload: text.to_owned().into(), ..Default::default() };
    within(called, Type::Completed, response.encode_to_vec())
}

fn put(called: &ChaincodeMessage, key: &str, size: usize) -> ChaincodeMessage {
    let put = protos::PutState { key: key.to_owned(), value: vec![0; size].into(), ..Default::default() };
    within(called, Type::PutState, put.encode_to_vec())
}

/// A peer with a contract that is in order, and one that behaves like this under the name `bad`.
async fn peer(behaviour: Behaviour, timeout: Duration) -> (Peer, tokio::sync::oneshot::Sender<()>) {
    let peer = Peer::new(|options| options.execute_timeout = timeout).await;
    let good = crate::serve("good", crate::contract(), &peer).await;
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let id = peer.deploy("bad", &listener.address().to_string()).await;
    let service = ChaincodeServer::new(Misbehaved { id, behaviour })
        .max_decoding_message_size(2 * MAX_MESSAGE_SIZE)
        .max_encoding_message_size(2 * MAX_MESSAGE_SIZE);
    let routes = tonic::service::Routes::new(service);
    tokio::spawn(serve_grpc(listener, None, ServerOptions::default(), routes, std::future::pending()));
    (peer, good)
}

async fn check(behaviour: Behaviour, timeout: Duration, expected: &str) {
    let (peer, _good) = peer(behaviour, timeout).await;
    peer.submit("good", &["put", "a", "1"]).await;
    for _ in 0..2 {
        let error = peer.ask("bad", &["x"]).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert_eq!(peer.ask("good", &["get", "a"]).await, Ok("1".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_messages_ends_the_stream() {
    let flood: Behaviour = |stream| {
        Box::pin(async move {
            let request = within(&stream.called, Type::GetState, vec![]);
            let stray = ChaincodeMessage { txid: "other".to_owned(), ..request };
            while stream.send(stray.clone()).await {}
        })
    };
    check(flood, PATIENCE, "chaincode stream terminated").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_into_the_transaction_of_another() {
    let foreign: Behaviour = |mut stream| {
        Box::pin(async move {
            // Whatever it calls itself: the names on its stream are those of its own transactions.
            let of_another = |message| ChaincodeMessage { txid: "f".repeat(64), ..message };
            stream.send(of_another(put(&stream.called, "stolen", 1))).await;
            let refused = stream.receive().await.unwrap();
            let text = String::from_utf8_lossy(&refused.payload).into_owned();
            stream.send(of_another(done(&stream.called, "forged"))).await;
            stream.send(done(&stream.called, &text)).await;
        })
    };
    let (peer, _good) = peer(foreign, PATIENCE).await;
    let execution = peer.evaluate("bad", &["x"]).await.unwrap();
    let said = String::from_utf8_lossy(&execution.response.payload).into_owned();
    assert_eq!(said, format!("PUT_STATE failed: transaction ID: {}: no ledger context", "f".repeat(64)));
    assert!(execution.results.unwrap().written_keys.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_no_message_may_hold_ends_the_stream() {
    let huge: Behaviour =
        |stream| Box::pin(async move { while stream.send(put(&stream.called, "a", MAX_MESSAGE_SIZE)).await {} });
    check(huge, PATIENCE, "chaincode stream terminated").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_does_not_write_without_end() {
    let greedy: Behaviour = |mut stream| {
        Box::pin(async move {
            for key in ["a", "b"] {
                stream.send(put(&stream.called, key, MAX_MESSAGE_SIZE / 2 + 1)).await;
                let answer = stream.receive().await.unwrap();
                if answer.r#type() == Type::Error {
                    let text = String::from_utf8_lossy(&answer.payload).into_owned();
                    stream.send(done(&stream.called, &text)).await;
                }
            }
        })
    };
    let (peer, _good) = peer(greedy, PATIENCE).await;
    let said = peer.ask("bad", &["x"]).await.unwrap();
    assert!(said.contains("a transaction may write at most 104857600 bytes"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_answers_only_keeps_its_own_callers_waiting() {
    let silent: Behaviour = |stream| Box::pin(async move { stream.outbound.closed().await });
    check(silent, Duration::from_secs(2), "timeout expired while executing transaction").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_its_answers_only_keeps_its_own_callers_waiting() {
    let deaf: Behaviour = |stream| {
        Box::pin(async move {
            let get = protos::GetState { key: "a".to_owned(), ..Default::default() }.encode_to_vec();
            while stream.send(within(&stream.called, Type::GetState, get.clone())).await {}
        })
    };
    check(deaf, Duration::from_secs(2), "error sending: ").await;
}
