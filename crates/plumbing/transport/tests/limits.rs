//! How large messages may be that a server takes and sends.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use ripstop_proto::protos;
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::protos::endorser_server::{Endorser, EndorserServer};
use ripstop_transport::{
    BOUNDED_BY_LISTENER, ConnectionCounts, Endpoint, Listener, MessageLimits, ServerOptions, serve_grpc,
};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

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
