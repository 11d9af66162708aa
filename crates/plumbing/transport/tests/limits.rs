//! How large messages may be that a server takes and sends.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ripstop_proto::gossip::gossip_client::GossipClient;
use ripstop_proto::gossip::gossip_server::{Gossip, GossipServer};
use ripstop_proto::gossip::{self, Envelope};
use ripstop_proto::protos;
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::protos::endorser_server::{Endorser, EndorserServer};
use ripstop_transport::{
    BOUNDED_BY_LISTENER, ConnectionCounts, Endpoint, Listener, MessageLimits, ReceiveGate, ReceiveShare, ServerOptions,
    serve_grpc,
};
use tonic::codegen::tokio_stream::Empty;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

/// Lets in small first messages only, and large ones one after the other.
#[derive(Default)]
struct Guarded {
    share: Option<ReceiveShare>,
    heard: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Gossip for Guarded {
    type GossipStreamStream = Empty<Result<Envelope, Status>>;

    async fn gossip_stream(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::GossipStreamStream>, Status> {
        let gate = ReceiveGate::of(&request).unwrap().clone();
        gate.limit_first(1000);
        self.share.iter().for_each(|share| gate.share(share.clone()));
        let mut messages = request.into_inner();
        while messages.message().await?.is_some() {
            self.heard.fetch_add(1, Ordering::SeqCst);
        }
        Ok(Response::new(tonic::codegen::tokio_stream::empty()))
    }

    async fn ping(&self, _: Request<gossip::Empty>) -> Result<Response<gossip::Empty>, Status> {
        Ok(Response::new(gossip::Empty {}))
    }
}

fn of_size(size: usize) -> Envelope {
    Envelope { payload: vec![1; size].into(), ..Default::default() }
}

async fn guarded(share: Option<ReceiveShare>) -> (Endpoint, Arc<AtomicUsize>) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    let heard = Arc::<AtomicUsize>::default();
    let service = Guarded { share, heard: Arc::clone(&heard) };
    let server = GossipServer::new(service).max_decoding_message_size(BOUNDED_BY_LISTENER);
    let routes = Routes::new(server);
    tokio::spawn(serve_grpc(listener, None, ServerOptions::default(), routes, std::future::pending()));
    (Endpoint::new(&address).unwrap(), heard)
}

#[tokio::test]
async fn a_service_may_let_in_a_small_first_message_only() {
    let (server, heard) = guarded(None).await;
    let mut client = GossipClient::new(server.channel());
    let small_then_large = tonic::codegen::tokio_stream::iter([of_size(10), of_size(100_000)]);
    client.gossip_stream(small_then_large).await.unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 2);
    let large = tonic::codegen::tokio_stream::iter([of_size(100_000)]);
    let refused = client.gossip_stream(large).await.unwrap_err();
    assert_eq!(refused.message(), "grpc: received message larger than max (100004 vs. 1000)");
}

#[tokio::test]
async fn large_messages_wait_until_others_that_share_their_room_are_there() {
    let (server, heard) = guarded(Some(ReceiveShare::new(3 << 20))).await;
    let streams: Vec<_> = (0..8)
        .map(|_| {
            let mut client = GossipClient::new(server.channel());
            tokio::spawn(async move {
                let messages = [of_size(1), of_size(2 << 20), of_size(5 << 20), of_size(100)];
                client.gossip_stream(tonic::codegen::tokio_stream::iter(messages)).await.map(drop)
            })
        })
        .collect();
    for stream in streams {
        stream.await.unwrap().unwrap();
    }
    assert_eq!(heard.load(Ordering::SeqCst), 32);
}

/// Answers with the payload it is given, twice.
struct Echo;

#[tonic::async_trait]
impl Endorser for Echo {
    async fn process_proposal(
        &self,
        request: Request<protos::SignedProposal>,
    ) -> Result<Response<protos::ProposalResponse>, Status> {
        let payload = request.into_inner().proposal_bytes.repeat(2).into();
        Ok(Response::new(protos::ProposalResponse { payload, ..Default::default() }))
    }
}

#[tokio::test]
async fn messages_above_the_limits_of_the_listener_are_refused_in_gos_words() {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    let connections = ConnectionCounts::default();
    let messages = MessageLimits { receive: 1000, send: 500 };
    let options = ServerOptions { messages, connections: connections.clone(), ..ServerOptions::default() };
    let server = EndorserServer::new(Echo)
        .max_decoding_message_size(BOUNDED_BY_LISTENER)
        .max_encoding_message_size(BOUNDED_BY_LISTENER);
    tokio::spawn(serve_grpc(listener, None, options, Routes::new(server), std::future::pending()));
    let mut client = EndorserClient::new(Endpoint::new(&address).unwrap().channel());
    let mut ask = async |size: usize| {
        let proposal = protos::SignedProposal { proposal_bytes: vec![1; size].into(), ..Default::default() };
        client.process_proposal(proposal).await.map(|answer| answer.into_inner().payload.len())
    };
    assert_eq!(ask(100).await.unwrap(), 200);
    let refused = ask(2000).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "grpc: received message larger than max (2003 vs. 1000)")
    );
    let refused = ask(400).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "grpc: trying to send message larger than max (803 vs. 500)")
    );
    assert_eq!(ask(1).await.unwrap(), 2, "the connection goes on");
    assert_eq!((connections.opened(), connections.closed()), (1, 0));
}
