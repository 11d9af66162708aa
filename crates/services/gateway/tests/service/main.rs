//! The gateway over a real ledger, with an endorser that answers as told.
#![allow(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

mod orderers;
mod peers;
mod plans;
mod world;

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use ripstop_channel_config::genesis;
use ripstop_crypto::SigningIdentity;
use ripstop_discovery::Discovery;
use ripstop_gateway::{Gateway, GatewayConfig, LocalPeer, PeerDirectory};
use ripstop_gossip::View;
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_proto::gateway::gateway_server::Gateway as _;
use ripstop_proto::protos::endorser_server::{Endorser, EndorserServer};
use ripstop_proto::{common, gateway, orderer, protos};
use ripstop_testkit::{Channel, Organization};
use ripstop_transport::{ConcurrencyLimit, Keepalive};
use ripstop_types::{ChannelId, Timestamp};
use tonic::{Code, Request, Response, Status};

/// Answers with the status that the first argument names.
struct Canned;

#[tonic::async_trait]
impl Endorser for Canned {
    async fn process_proposal(
        &self,
        request: Request<protos::SignedProposal>,
    ) -> Result<Response<protos::ProposalResponse>, Status> {
        let text = String::from_utf8(request.get_ref().signature.to_vec()).unwrap();
        let (status, message) = text.split_once(' ').unwrap_or((&text, ""));
        let Ok(status) = status.parse::<i32>() else { return Err(Status::unknown(text)) };
        let response = protos::Response { status, message: message.to_owned(), payload: "beside".into() };
        let endorsed = protos::Response { payload: "result".into(), ..response.clone() };
        let action = protos::ChaincodeAction { response: Some(endorsed), ..Default::default() }.encode_to_vec();
        let payload = protos::ProposalResponsePayload { extension: action.into(), ..Default::default() };
        let peer_failed = message.starts_with("error in simulation");
        Ok(Response::new(protos::ProposalResponse {
            response: Some(response),
            payload: if peer_failed { Default::default() } else { payload.encode_to_vec().into() },
            endorsement: Some(protos::Endorsement { endorser: "peer0".into(), signature: "s".into() }),
            ..Default::default()
        }))
    }
}

struct Node {
    gateway: Gateway,
    client: SigningIdentity,
    stranger: SigningIdentity,
    _directory: tempfile::TempDir,
}

fn node() -> Node {
    let (orderer, org1, org2) =
        (Organization::new("OrdererMSP"), Organization::new("Org1MSP"), Organization::new("Org2MSP"));
    let directory = tempfile::tempdir().unwrap();
    let ledgers = Arc::new(Ledgers::open(directory.path(), LedgerOptions::default()).unwrap());
    let mut channel = Channel::new(&orderer, [&org1, &org2]);
    // Nobody listens there.
    channel.orderer_endpoints = vec!["127.0.0.1:1".to_owned()];
    let id = ChannelId::new("mychannel").unwrap();
    ledgers.create(genesis::block(&id, channel.group(), [7; 24], Timestamp { seconds: 1, nanos: 0 })).unwrap();
    let local_msp = Arc::new(LocalMsp::new(&org1.msp_config()).unwrap());
    let local = LocalPeer::new(local_msp.id().clone(), "peer0.Org1MSP:7051".to_owned(), EndorserServer::new(Canned));
    let peers = PeerDirectory::new(local, None, Duration::from_secs(60), Keepalive::default(), Vec::new());
    let config = GatewayConfig {
        endorsement_timeout: Duration::from_secs(60),
        broadcast_timeout: Duration::from_secs(60),
        limit: ConcurrencyLimit::new("/gateway.Gateway", 10),
    };
    let me = world::member("peer0.Org1MSP:7051", "Org1MSP", 1, org1.peer("peer0").identity());
    let view = View {
        me: Some(Arc::clone(&me.peer)),
        channels: [(id, [(me.peer.member.pki_id.clone(), me)].into())].into(),
        ..Default::default()
    };
    let (_, views) = tokio::sync::watch::channel(Arc::new(view));
    let discovery = Discovery::new(Arc::clone(&ledgers), Arc::clone(&local_msp), views.clone());
    let gateway = Gateway::new(ledgers, local_msp, discovery, views, peers, config);
    Node { gateway, client: org1.client("user"), stranger: orderer.client("user"), _directory: directory }
}

/// A proposal whose signature tells [`Canned`] what to answer.
fn proposal(channel: &str, chaincode: &str, answer: &'static str) -> protos::SignedProposal {
    let header = common::Header {
        channel_header: common::ChannelHeader { channel_id: channel.to_owned(), ..Default::default() }
            .encode_to_vec()
            .into(),
        signature_header: "signature header".into(),
    };
    let chaincode_id = Some(protos::ChaincodeId { name: chaincode.to_owned(), ..Default::default() });
    let spec = protos::ChaincodeSpec { chaincode_id, ..Default::default() };
    let input = protos::ChaincodeInvocationSpec { chaincode_spec: Some(spec) }.encode_to_vec();
    let payload = protos::ChaincodeProposalPayload { input: input.into(), ..Default::default() };
    let proposal = protos::Proposal {
        header: header.encode_to_vec().into(),
        payload: payload.encode_to_vec().into(),
        ..Default::default()
    };
    protos::SignedProposal { proposal_bytes: proposal.encode_to_vec().into(), signature: answer.into() }
}

impl Node {
    async fn evaluate(&self, signed: protos::SignedProposal, orgs: &[&str]) -> Result<protos::Response, Status> {
        let request = gateway::EvaluateRequest {
            proposed_transaction: Some(signed),
            target_organizations: orgs.iter().map(|org| (*org).to_owned()).collect(),
            ..Default::default()
        };
        let answer = self.gateway.evaluate(Request::new(request)).await?;
        Ok(answer.into_inner().result.unwrap())
    }

    async fn endorse(&self, signed: protos::SignedProposal, orgs: &[&str]) -> Result<common::Envelope, Status> {
        let request = gateway::EndorseRequest {
            proposed_transaction: Some(signed),
            endorsing_organizations: orgs.iter().map(|org| (*org).to_owned()).collect(),
            ..Default::default()
        };
        let answer = self.gateway.endorse(Request::new(request)).await?;
        Ok(answer.into_inner().prepared_transaction.unwrap())
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn an_evaluation_gives_the_endorsed_result() {
    let node = node();
    let result = node.evaluate(proposal("mychannel", "basic", "200 fine"), &[]).await.unwrap();
    assert_eq!((result.status, result.message.as_str(), result.payload.as_ref()), (200, "fine", b"result".as_slice()));
}

#[tokio::test]
async fn a_failed_evaluation_names_the_peer_and_its_words() {
    let node = node();
    let chaincode = node.evaluate(proposal("mychannel", "basic", "500 no such asset"), &[]).await.unwrap_err();
    assert_eq!(chaincode.code(), Code::Unknown);
    assert_eq!(chaincode.message(), "evaluate call to endorser returned error: chaincode response 500, no such asset");
    let details = String::from_utf8_lossy(chaincode.details()).into_owned();
    assert!(details.contains("peer0.Org1MSP:7051") && details.contains("Org1MSP"), "{details}");

    let gone = proposal("mychannel", "basic", "500 error in simulation: gone");
    let peer = node.evaluate(gone, &["Org1MSP"]).await;
    let expected = "failed to evaluate transaction, see attached details for more info";
    assert_eq!(refusal(peer), (Code::Aborted, expected.to_owned()));
    let proposal_at_fault = node.evaluate(proposal("mychannel", "basic", "access denied"), &[]).await;
    let expected = "evaluate call to endorser returned error: access denied";
    assert_eq!(refusal(proposal_at_fault), (Code::FailedPrecondition, expected.to_owned()));
    let elsewhere = node.evaluate(proposal("mychannel", "basic", "200"), &["Org9MSP"]).await;
    let expected = "no peers available to evaluate chaincode basic in channel mychannel";
    assert_eq!(refusal(elsewhere), (Code::FailedPrecondition, expected.to_owned()));
    let unnamed = node.evaluate(proposal("mychannel", "", "200"), &[]).await;
    assert_eq!(refusal(unnamed).0, Code::InvalidArgument);
    let unknown = node.evaluate(proposal("other", "basic", "200"), &[]).await;
    assert_eq!(refusal(unknown), (Code::Unavailable, "failed to get config for channel [other]".to_owned()));
}

#[tokio::test]
async fn an_endorsed_transaction_holds_what_was_endorsed() {
    let node = node();
    let envelope = node.endorse(proposal("mychannel", "basic", "200"), &["Org1MSP"]).await.unwrap();
    assert!(envelope.signature.is_empty(), "the application signs");
    let payload = common::Payload::decode(envelope.payload).unwrap();
    let transaction = protos::Transaction::decode(payload.data).unwrap();
    let [action] = transaction.actions.as_slice() else { panic!("{transaction:?}") };
    assert_eq!(action.header.as_ref(), b"signature header");
    let action = protos::ChaincodeActionPayload::decode(action.payload.clone()).unwrap().action.unwrap();
    assert_eq!(action.endorsements.len(), 1);
    assert_eq!(action.endorsements[0].endorser.as_ref(), b"peer0");
}

#[tokio::test]
async fn what_cannot_be_endorsed_is_said_in_fabrics_words() {
    let node = node();
    let missing = node.endorse(proposal("mychannel", "basic", "200"), &["Org1MSP", "Org9MSP"]).await;
    let expected = "failed to find any endorsing peers for org(s): Org9MSP";
    assert_eq!(refusal(missing), (Code::Unavailable, expected.to_owned()));
    let failed = node.endorse(proposal("mychannel", "basic", "500 no"), &["Org1MSP"]).await;
    let expected = "failed to collect enough transaction endorsements, see attached details for more info";
    assert_eq!(refusal(failed), (Code::Aborted, expected.to_owned()));
    let first = node.endorse(proposal("mychannel", "basic", "500 no"), &[]).await;
    let expected = "failed to endorse transaction, see attached details for more info";
    assert_eq!(refusal(first), (Code::Aborted, expected.to_owned()));
    let (code, text) = refusal(node.endorse(proposal("mychannel", "basic", "200"), &[]).await);
    assert_eq!(code, Code::FailedPrecondition);
    let expected = "no combination of peers can be derived which satisfy the endorsement policy: No metadata was found for chaincode basic in channel mychannel";
    assert_eq!(text, expected);
    let nothing = node.gateway.endorse(Request::new(gateway::EndorseRequest::default())).await;
    assert_eq!(refusal(nothing).0, Code::InvalidArgument);
}

#[tokio::test]
async fn a_submission_needs_a_signature_and_an_orderer() {
    let node = node();
    let submit = async |channel: &str, signature: &'static str| {
        let envelope = common::Envelope { payload: "p".into(), signature: signature.into() };
        let request = gateway::SubmitRequest {
            channel_id: channel.to_owned(),
            prepared_transaction: Some(envelope),
            ..Default::default()
        };
        refusal(node.gateway.submit(Request::new(request)).await)
    };
    let expected = (Code::InvalidArgument, "prepared transaction must be signed".to_owned());
    assert_eq!(submit("mychannel", "").await, expected);
    assert_eq!(submit("other", "s").await.0, Code::FailedPrecondition);
    let expected = (Code::Unavailable, "no orderers could successfully process transaction".to_owned());
    assert_eq!(submit("mychannel", "s").await, expected);
}

#[tokio::test]
async fn commit_status_and_events_are_for_readers_of_the_channel() {
    let node = node();
    let status = async |signer: &SigningIdentity, channel: &str, tx: &str| {
        let request = gateway::CommitStatusRequest {
            transaction_id: tx.to_owned(),
            channel_id: channel.to_owned(),
            identity: signer.identity().raw.clone(),
        };
        let request = bytes::Bytes::from(request.encode_to_vec());
        let signature = signer.sign(&request).unwrap();
        let signed = gateway::SignedCommitStatusRequest { request, signature };
        refusal(node.gateway.commit_status(Request::new(signed)).await)
    };
    assert_eq!(status(&node.stranger, "mychannel", "tx").await.0, Code::PermissionDenied);
    assert_eq!(status(&node.client, "other", "tx").await.0, Code::PermissionDenied);
    let expected = (Code::InvalidArgument, "transaction ID should not be empty".to_owned());
    assert_eq!(status(&node.client, "mychannel", "").await, expected);

    let events = async |signer: &SigningIdentity, position: orderer::seek_position::Type| {
        let request = gateway::ChaincodeEventsRequest {
            channel_id: "mychannel".to_owned(),
            chaincode_id: "basic".to_owned(),
            identity: signer.identity().raw.clone(),
            start_position: Some(orderer::SeekPosition { r#type: Some(position) }),
            ..Default::default()
        };
        let request = bytes::Bytes::from(request.encode_to_vec());
        let signature = signer.sign(&request).unwrap();
        let signed = gateway::SignedChaincodeEventsRequest { request, signature };
        node.gateway.chaincode_events(Request::new(signed)).await.map(drop)
    };
    let next = || orderer::seek_position::Type::NextCommit(orderer::SeekNextCommit {});
    assert_eq!(refusal(events(&node.stranger, next()).await).0, Code::PermissionDenied);
    assert!(events(&node.client, next()).await.is_ok());
    let oldest = orderer::seek_position::Type::Oldest(orderer::SeekOldest {});
    assert_eq!(refusal(events(&node.client, oldest).await).0, Code::InvalidArgument);
}
