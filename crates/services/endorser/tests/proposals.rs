//! The endorser over a real ledger, with the system chaincodes as what is called.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up should panic")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use ripstop_chaincode::{ChaincodeHost, HostOptions, JoinChannel, NodeParts};
use ripstop_channel_config::genesis;
use ripstop_crypto::SigningIdentity;
use ripstop_endorser::{EndorserConfig, EndorserService, Filters};
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_msp::{Claim, LocalMsp};
use ripstop_operations::Metrics;
use ripstop_private_data::PrivateDataService;
use ripstop_proto::protos::endorser_server::Endorser;
use ripstop_proto::{common, protos};
use ripstop_testkit::{CertificateOptions, Channel, Organization};
use ripstop_transport::ConcurrencyLimit;
use ripstop_types::{Block, ChannelId, Timestamp, TxId};

struct Nowhere;

impl JoinChannel for Nowhere {
    fn join(&self, _: Block) -> Result<(), String> {
        Err("nowhere".to_owned())
    }

    fn join_by_snapshot(&self, _: &Path) -> Result<(), String> {
        Err("nowhere".to_owned())
    }

    fn joining(&self) -> Option<PathBuf> {
        None
    }
}

struct Node {
    endorser: EndorserService,
    orderer: Organization,
    org1: Organization,
    org2: Organization,
    peer: SigningIdentity,
    _directory: tempfile::TempDir,
}

/// A peer of Org1 on the channel `mychannel` of Org1 and Org2.
fn node() -> Node {
    let (orderer, org1, org2) =
        (Organization::new("OrdererMSP"), Organization::new("Org1MSP"), Organization::new("Org2MSP"));
    let directory = tempfile::tempdir().unwrap();
    let ledgers = Arc::new(Ledgers::open(&directory.path().join("ledgers"), LedgerOptions::default()).unwrap());
    let group = Channel::new(&orderer, [&org1, &org2]).group();
    let channel = ChannelId::new("mychannel").unwrap();
    ledgers.create(genesis::block(&channel, group, [7; 24], Timestamp { seconds: 1, nanos: 0 })).unwrap();
    let local_msp = Arc::new(LocalMsp::new(&org1.msp_config()).unwrap());
    let parts = NodeParts {
        ledgers: Arc::clone(&ledgers),
        local_msp: Arc::clone(&local_msp),
        join: Arc::new(Nowhere),
        metrics: Metrics::new(),
    };
    let chaincode = ChaincodeHost::new(HostOptions::new(directory.path().join("packages")), parts).unwrap();
    let peer = org1.peer("peer0");
    let config = EndorserConfig {
        ledgers,
        local_msp,
        signer: peer.clone(),
        chaincode,
        private_data: PrivateDataService::alone(org1.msp_id().clone()),
        filters: Filters { expiration: true, time_window: Some(Duration::from_secs(900)) },
        limit: ConcurrencyLimit::new("/protos.Endorser", 10),
    };
    Node { endorser: EndorserService::new(config, &Metrics::new()), orderer, org1, org2, peer, _directory: directory }
}

/// A proposal before it is signed; tests spoil one part each.
#[derive(Clone)]
struct Draft {
    channel_header: common::ChannelHeader,
    signature_header: common::SignatureHeader,
    chaincode: Option<&'static str>,
    spec: Option<protos::ChaincodeSpec>,
    signature: Option<&'static [u8]>,
}

impl Draft {
    fn new(signer: &SigningIdentity, channel: &str, chaincode: &'static str, args: &[&str]) -> Self {
        let nonce = b"nonce";
        let creator = signer.identity().raw.clone();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let input = protos::ChaincodeInput {
            args: args.iter().map(|arg| arg.to_string().into()).collect(),
            ..Default::default()
        };
        Self {
            channel_header: common::ChannelHeader {
                r#type: common::HeaderType::EndorserTransaction.into(),
                channel_id: channel.to_owned(),
                tx_id: TxId::compute(nonce, &creator).as_str().to_owned(),
                timestamp: Some(prost_types::Timestamp { seconds: now, nanos: 0 }),
                ..Default::default()
            },
            signature_header: common::SignatureHeader { creator, nonce: nonce.as_slice().into() },
            chaincode: Some(chaincode),
            spec: Some(protos::ChaincodeSpec { input: Some(input), ..Default::default() }),
            signature: None,
        }
    }

    fn with(mut self, spoil: impl FnOnce(&mut Self)) -> Self {
        spoil(&mut self);
        self
    }

    fn sign(mut self, signer: &SigningIdentity) -> protos::SignedProposal {
        let chaincode_id =
            self.chaincode.map(|name| protos::ChaincodeId { name: name.to_owned(), ..Default::default() });
        self.channel_header.extension = protos::ChaincodeHeaderExtension { chaincode_id }.encode_to_vec().into();
        let header = common::Header {
            channel_header: self.channel_header.encode_to_vec().into(),
            signature_header: self.signature_header.encode_to_vec().into(),
        };
        let input = protos::ChaincodeInvocationSpec { chaincode_spec: self.spec }.encode_to_vec();
        let payload = protos::ChaincodeProposalPayload { input: input.into(), ..Default::default() };
        let proposal = protos::Proposal {
            header: header.encode_to_vec().into(),
            payload: payload.encode_to_vec().into(),
            ..Default::default()
        };
        let proposal_bytes = bytes::Bytes::from(proposal.encode_to_vec());
        let signature = match self.signature {
            Some(signature) => signature.into(),
            None => signer.sign(&proposal_bytes).unwrap(),
        };
        protos::SignedProposal { proposal_bytes, signature }
    }
}

impl Node {
    async fn ask(&self, signed: protos::SignedProposal) -> Result<protos::ProposalResponse, String> {
        let answer = self.endorser.process_proposal(tonic::Request::new(signed)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| {
            assert_eq!(status.code(), tonic::Code::Unknown);
            status.message().to_owned()
        })
    }
}

#[tokio::test]
async fn a_result_is_signed_by_the_peer_over_payload_and_identity() {
    let node = node();
    let client = node.org2.client("user");
    let signed = Draft::new(&client, "mychannel", "_lifecycle", &["QueryChaincodeDefinitions"])
        .with(|draft| {
            if let Some(input) = draft.spec.as_mut().and_then(|spec| spec.input.as_mut()) {
                input.args.push(Default::default());
            }
        })
        .sign(&client);
    let answer = node.ask(signed.clone()).await.unwrap();
    assert_eq!(answer.response.as_ref().map(|response| response.status), Some(200), "{:?}", answer.response);
    assert_eq!(answer.version, 1);
    let endorsement = answer.endorsement.unwrap();
    assert_eq!(endorsement.endorser, node.peer.identity().raw);
    let message = [answer.payload.as_ref(), endorsement.endorser.as_ref()].concat();
    node.peer.certificate().public_key().verify(&message, &endorsement.signature).unwrap();

    let payload = protos::ProposalResponsePayload::decode(answer.payload).unwrap();
    let proposal = protos::Proposal::decode(signed.proposal_bytes).unwrap();
    let header = common::Header::decode(proposal.header).unwrap();
    let parts = [header.channel_header.as_ref(), header.signature_header.as_ref(), proposal.payload.as_ref()];
    assert_eq!(payload.proposal_hash, ripstop_types::Digest::of_parts(parts).to_bytes());
    let action = protos::ChaincodeAction::decode(payload.extension).unwrap();
    let chaincode = action.chaincode_id.unwrap();
    assert_eq!((chaincode.name.as_str(), chaincode.version.as_str()), ("_lifecycle", "syscc"));
    assert_eq!(answer.interest.unwrap().chaincodes, []);
}

#[tokio::test]
async fn answers_outside_of_a_channel_are_not_endorsed() {
    let node = node();
    let admin = node.org1.admin("admin");
    let answer = node.ask(Draft::new(&admin, "", "cscc", &["GetChannels"]).sign(&admin)).await.unwrap();
    assert!(answer.endorsement.is_none() && answer.payload.is_empty());
    let channels = protos::ChannelQueryResponse::decode(answer.response.unwrap().payload).unwrap();
    assert_eq!(channels.channels[0].channel_id, "mychannel");
}

#[tokio::test]
async fn what_a_peer_cannot_run_is_answered_with_status_500() {
    let node = node();
    let client = node.org1.client("user");
    let unknown = node.ask(Draft::new(&client, "other", "basic", &["Get"]).sign(&client)).await.unwrap();
    let response = unknown.response.unwrap();
    assert_eq!((response.status, response.message.as_str()), (500, "channel 'other' not found"));
    let undefined = node.ask(Draft::new(&client, "mychannel", "basic", &["Get"]).sign(&client)).await.unwrap();
    let response = undefined.response.unwrap();
    assert_eq!(response.status, 500);
    assert_eq!(
        response.message,
        "make sure the chaincode basic has been successfully defined on channel mychannel and try again: chaincode basic not found"
    );
}

#[tokio::test]
async fn bad_proposals_are_refused_with_fabrics_words() {
    let node = node();
    let client = node.org1.client("user");
    let good = || Draft::new(&client, "mychannel", "basic", &["Get"]);
    let cases: Vec<(&str, protos::SignedProposal)> = vec![
        ("ChaincodeHeaderExtension.ChaincodeId is nil", good().with(|d| d.chaincode = None).sign(&client)),
        ("ChaincodeHeaderExtension.ChaincodeId.Name is empty", good().with(|d| d.chaincode = Some("")).sign(&client)),
        ("chaincode invocation spec did not contain chaincode spec", good().with(|d| d.spec = None).sign(&client)),
        (
            "chaincode input did not contain any input",
            good().with(|d| d.spec = Some(protos::ChaincodeSpec::default())).sign(&client),
        ),
        (
            "error validating proposal: invalid header type MESSAGE",
            good().with(|d| d.channel_header.r#type = 0).sign(&client),
        ),
        ("error validating proposal: epoch is non-zero", good().with(|d| d.channel_header.epoch = 1).sign(&client)),
        ("error validating proposal: nonce is empty", good().with(|d| d.signature_header.nonce.clear()).sign(&client)),
        (
            "error validating proposal: creator is empty",
            good().with(|d| d.signature_header.creator.clear()).sign(&client),
        ),
        (
            "error validating proposal: incorrectly computed txid 'x' -- expected '",
            good().with(|d| d.channel_header.tx_id = "x".to_owned()).sign(&client),
        ),
        ("error validating proposal: empty signature bytes", good().with(|d| d.signature = Some(b"")).sign(&client)),
        (
            "request unauthorized due to incorrect timestamp",
            good().with(|d| d.channel_header.timestamp = None).sign(&client),
        ),
        (
            "failed parsing proposal",
            protos::SignedProposal { proposal_bytes: vec![0xff].into(), signature: Default::default() },
        ),
    ];
    for (expected, signed) in cases {
        let refused = node.ask(signed).await.unwrap_err();
        assert!(refused.starts_with(expected), "{refused}\n  instead of\n{expected}");
    }
}

#[tokio::test]
async fn creators_who_are_refused_are_told_why() {
    let node = node();
    let client = node.org1.client("user");
    let stranger = Organization::new("Org9MSP").client("user");
    let impostor = Organization::new("Org1MSP").client("user");
    let other = node.org2.client("user");
    let nobody = node.org1.identity("nobody", &CertificateOptions::units(&[]));
    let expired = node.org1.expired_client("old");
    let denied = |channel: &str, words: &str, why: &str, who: &SigningIdentity| {
        let claim = Claim::of(&who.identity().raw);
        format!("error validating proposal: access denied: channel [{channel}] {words}: {why}: the creator is {claim}")
    };
    let (unknown, org1) = ("creator org unknown, creator is malformed", "creator org [Org1MSP]");
    for (expected, signed) in [
        (
            denied(
                "mychannel",
                org1,
                "could not determine the validity of the signature: Failed verifing with opts [<nil>]: Failed unmashalling \
                 signature [it is no DER sequence of two positive integers]",
                &client,
            ),
            Draft::new(&client, "mychannel", "basic", &["Get"]).with(|d| d.signature = Some(b"forged")).sign(&client),
        ),
        (
            denied("mychannel", unknown, "MSP Org9MSP is not defined on channel", &stranger),
            Draft::new(&stranger, "mychannel", "basic", &[]).sign(&stranger),
        ),
        (
            denied(
                "mychannel",
                unknown,
                "the supplied identity is not valid: x509: certificate signed by unknown authority (possibly because of \
                 \"x509: ECDSA verification failure\" while trying to verify candidate authority certificate \"ca.Org1MSP\")",
                &impostor,
            ),
            Draft::new(&impostor, "mychannel", "basic", &[]).sign(&impostor),
        ),
        (
            denied(
                "mychannel",
                org1,
                "could not validate identity's OUs: the identity does not have an OU that resolves to client, peer, orderer, or \
                 admin role. OUs: [], MSP: [Org1MSP]",
                &nobody,
            ),
            Draft::new(&nobody, "mychannel", "basic", &[]).sign(&nobody),
        ),
        (
            denied("", unknown, "expected MSP ID Org1MSP, received Org2MSP", &other),
            Draft::new(&other, "", "cscc", &["GetChannels"]).sign(&other),
        ),
        (
            "proposal client identity expired: the certificate of 'CN=old.Org1MSP,OU=client,C=US' of Org1MSP was valid until \
             2024-01-02T00:00:00Z; enroll again"
                .to_owned(),
            Draft::new(&expired, "mychannel", "basic", &[]).sign(&expired),
        ),
    ] {
        assert_eq!(node.ask(signed).await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn only_writers_may_propose() {
    let node = node();
    // The channel knows members of the ordering organization, but the application's policies do not.
    let peer = node.orderer.client("user");
    let refused = node.ask(Draft::new(&peer, "mychannel", "basic", &[]).sign(&peer)).await.unwrap_err();
    assert_eq!(
        refused,
        "Failed evaluating policy on signed data during check policy on channel [mychannel] with policy \
         [/Channel/Application/Writers]: [implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy \
         requires 1 of the 'Writers' sub-policies to be satisfied]: /Channel/Application/Writers needs ANY Writers; \
         /Channel/Application/Org1MSP/Writers needs OutOf(1, Org1MSP.MEMBER); /Channel/Application/Org2MSP/Writers needs \
         OutOf(1, Org2MSP.MEMBER); 'CN=user.OrdererMSP,OU=client,C=US' of OrdererMSP signed, but that is not one of the \
         organisations needed"
    );
}
