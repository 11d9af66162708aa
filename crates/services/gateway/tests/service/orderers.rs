//! How transactions come to the orderers (Fabric: `internal/pkg/gateway/submit_test.go`).

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use ripstop_proto::common::{self, Status as Outcome};
use ripstop_proto::orderer::atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer};
use ripstop_proto::orderer::{BroadcastResponse, DeliverResponse};
use ripstop_transport::{Listener, ServerOptions, serve_grpc};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::world::World;

/// What an orderer does with each transaction.
#[derive(Debug, Clone, Copy)]
enum Behaviour {
    Answer(Outcome, &'static str),
    Fail(&'static str),
    /// It never answers.
    Silent,
}

const TAKEN: Behaviour = Behaviour::Answer(Outcome::Success, "");

#[derive(Clone)]
struct Told {
    behaviour: Behaviour,
    /// How many transactions came to all orderers.
    received: Arc<watch::Sender<usize>>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AtomicBroadcast for Told {
    type BroadcastStream = Answers<BroadcastResponse>;
    type DeliverStream = Answers<DeliverResponse>;

    async fn broadcast(
        &self,
        request: Request<Streaming<common::Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        let mut envelopes = request.into_inner();
        envelopes.message().await?;
        self.received.send_modify(|received| *received += 1);
        let answer = match self.behaviour {
            Behaviour::Answer(status, info) => BroadcastResponse { status: status.into(), info: info.to_owned() },
            Behaviour::Fail(why) => return Err(Status::failed_precondition(why)),
            Behaviour::Silent => std::future::pending().await,
        };
        Ok(Response::new(futures_util::stream::once(async { Ok(answer) }).boxed()))
    }

    async fn deliver(&self, _: Request<Streaming<common::Envelope>>) -> Result<Response<Self::DeliverStream>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}

struct Orderers {
    world: World,
    received: watch::Receiver<usize>,
}

async fn orderers(behaviours: &[Behaviour], consensus: &str) -> Orderers {
    let (sender, received) = watch::channel(0);
    let sender = Arc::new(sender);
    let mut addresses = Vec::new();
    for &behaviour in behaviours {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.address().to_string());
        let told = Told { behaviour, received: Arc::clone(&sender) };
        let routes = Routes::new(AtomicBroadcastServer::new(told));
        tokio::spawn(serve_grpc(listener, None, ServerOptions::default(), routes, std::future::pending()));
    }
    Orderers { world: World::ordered(&[("local", "Org1MSP", 1)], addresses, consensus).await, received }
}

#[tokio::test]
async fn one_orderer_that_takes_a_transaction_is_enough() {
    let all = orderers(&[TAKEN, TAKEN, TAKEN], "etcdraft").await;
    all.world.submit().await.unwrap();
    assert_eq!(*all.received.borrow(), 1);

    let busy = Behaviour::Answer(Outcome::ServiceUnavailable, "no leader");
    for others in [busy, Behaviour::Fail("down"), Behaviour::Answer(Outcome::InternalServerError, "internal error")] {
        let all = orderers(&[others, TAKEN, others], "etcdraft").await;
        all.world.submit().await.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_that_no_orderer_takes_is_refused_with_the_words_of_each() {
    let all = orderers(
        &[Behaviour::Fail("Orderer not listening!"), Behaviour::Answer(Outcome::ServiceUnavailable, "no leader")],
        "etcdraft",
    )
    .await;
    let refusal = all.world.submit().await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (Code::Unavailable, "no orderers could successfully process transaction")
    );
    let mut words: Vec<_> = refusal.details.into_iter().map(|(_, org, words)| (org, words)).collect();
    words.sort_unstable();
    let detail = |words: &str| ("OrdererMSP".to_owned(), words.to_owned());
    assert_eq!(
        words,
        [
            detail("received unsuccessful response from orderer: status=SERVICE_UNAVAILABLE, info=no leader"),
            detail("rpc error: code = FailedPrecondition desc = Orderer not listening!"),
        ]
    );
}

#[tokio::test]
async fn a_transaction_at_fault_is_offered_to_no_other_orderer() {
    let fault = Behaviour::Answer(Outcome::BadRequest, "err-info");
    let all = orderers(&[fault, fault, fault], "etcdraft").await;
    let refusal = all.world.submit().await.unwrap_err();
    let expected = "received unsuccessful response from orderer: status=BAD_REQUEST, info=err-info";
    assert_eq!((refusal.code, refusal.message.as_str()), (Code::Aborted, expected));
    assert_eq!(*all.received.borrow(), 1);
}

/// The slow one gets it too, though the client has its answer long before.
#[tokio::test]
async fn all_byzantine_orderers_get_a_transaction_and_a_quorum_is_enough() {
    let mut all = orderers(&[TAKEN, TAKEN, TAKEN, Behaviour::Silent], "BFT").await;
    all.world.submit().await.unwrap();
    all.received.wait_for(|received| *received == 4).await.unwrap();

    let there = Behaviour::Answer(Outcome::ServiceUnavailable, "failed to submit request: request already exists");
    let down = Behaviour::Fail("down");
    orderers(&[there, TAKEN, down, TAKEN, there, TAKEN, down], "BFT").await.world.submit().await.unwrap();
}

#[tokio::test]
async fn too_few_byzantine_orderers_are_no_quorum() {
    let (fault, down) = (Behaviour::Answer(Outcome::BadRequest, "extra details"), Behaviour::Fail("down"));
    let all = orderers(&[TAKEN, down, TAKEN, fault, TAKEN, TAKEN, down], "BFT").await;
    let refusal = all.world.submit().await.unwrap_err();
    assert_eq!(refusal.code, Code::Unavailable);
    assert_eq!(
        refusal.message,
        "insufficient number of orderers could successfully process transaction to satisfy quorum requirement"
    );
    let mut words: Vec<_> = refusal.details.iter().map(|(.., words)| words.as_str()).collect();
    words.sort_unstable();
    let down = "rpc error: code = FailedPrecondition desc = down";
    let fault = "received unsuccessful response from orderer: status=BAD_REQUEST, info=extra details";
    assert_eq!(words, [fault, down, down]);
}
