//! Requests over a real ledger.
#![allow(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::sync::Arc;

use prost::Message;
use ripstop_channel_config::genesis;
use ripstop_crypto::SigningIdentity;
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_msp::{Claim, LocalMsp};
use ripstop_proto::protos::snapshot_server::Snapshot;
use ripstop_proto::{common, protos};
use ripstop_snapshot_service::SnapshotService;
use ripstop_testkit::{CertificateOptions, Channel, Organization};
use ripstop_types::{ChannelId, Timestamp};
use tonic::{Code, Request, Status};

struct Node {
    service: SnapshotService,
    ledgers: Arc<Ledgers>,
    org1: Organization,
    org2: Organization,
    directory: tempfile::TempDir,
}

/// A peer of Org1 on the channel `mychannel`, with its genesis block only.
fn node() -> Node {
    let (orderer, org1, org2) =
        (Organization::new("OrdererMSP"), Organization::new("Org1MSP"), Organization::new("Org2MSP"));
    let directory = tempfile::tempdir().unwrap();
    let options = LedgerOptions { snapshots: Some(directory.path().join("snapshots")), ..LedgerOptions::default() };
    let ledgers = Arc::new(Ledgers::open(&directory.path().join("ledgers"), options).unwrap());
    let id = ChannelId::new("mychannel").unwrap();
    let group = Channel::new(&orderer, [&org1, &org2]).group();
    ledgers.create(genesis::block(&id, group, [7; 24], Timestamp { seconds: 1, nanos: 0 })).unwrap();
    let local_msp = Arc::new(LocalMsp::new(&org1.msp_config()).unwrap());
    let service = SnapshotService::new(Arc::clone(&ledgers), local_msp);
    Node { service, ledgers, org1, org2, directory }
}

fn signed(signer: &SigningIdentity, request: &impl Message) -> Request<protos::SignedSnapshotRequest> {
    let request = request.encode_to_vec();
    let signature = signer.sign(&request).unwrap();
    Request::new(protos::SignedSnapshotRequest { request: request.into(), signature })
}

fn header(signer: &SigningIdentity) -> Option<common::SignatureHeader> {
    Some(common::SignatureHeader { creator: signer.identity().raw.clone(), nonce: "nonce".into() })
}

fn of(signer: &SigningIdentity, channel: &str, block: u64) -> Request<protos::SignedSnapshotRequest> {
    let request = protos::SnapshotRequest {
        signature_header: header(signer),
        channel_id: channel.to_owned(),
        block_number: block,
    };
    signed(signer, &request)
}

fn query(signer: &SigningIdentity) -> Request<protos::SignedSnapshotRequest> {
    signed(signer, &protos::SnapshotQuery { signature_header: header(signer), channel_id: "mychannel".to_owned() })
}

impl Node {
    async fn pending(&self) -> Vec<u64> {
        self.service.query_pendings(query(&self.org1.admin("a"))).await.unwrap().into_inner().block_numbers
    }

    async fn refused(&self, request: Request<protos::SignedSnapshotRequest>) -> String {
        let status: Status = self.service.generate(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unknown);
        status.message().to_owned()
    }
}

#[tokio::test]
async fn an_administrator_requests_lists_and_cancels() {
    let node = node();
    let admin = node.org1.admin("a");
    for block in [20, 10] {
        node.service.generate(of(&admin, "mychannel", block)).await.unwrap();
    }
    assert_eq!(node.pending().await, [10, 20]);
    assert_eq!(node.refused(of(&admin, "mychannel", 10)).await, "duplicate snapshot request for block number 10");
    node.service.cancel(of(&admin, "mychannel", 10)).await.unwrap();
    assert_eq!(node.pending().await, [20]);
    let unknown = node.service.cancel(of(&admin, "mychannel", 10)).await.unwrap_err();
    assert_eq!(unknown.message(), "no snapshot request exists for block number 10");
    // Block 0 is the last one.
    node.service.generate(of(&admin, "mychannel", 0)).await.unwrap();
    node.ledgers.get(&ChannelId::new("mychannel").unwrap()).unwrap().wait_for_snapshots();
    assert!(node.directory.path().join("snapshots/completed/mychannel/0/txids.data").exists());
    assert_eq!(node.refused(of(&admin, "mychannel", 0)).await, "snapshot already generated for block number 0");
}

#[tokio::test]
async fn nobody_else_is_heard() {
    let node = node();
    let (admin, client, stranger) = (node.org1.admin("a"), node.org1.client("c"), node.org2.admin("a"));
    let expired = node.org1.identity("old", &CertificateOptions::expired(&["admin"]));
    assert_eq!(
        node.refused(of(&expired, "mychannel", 5)).await,
        "client identity expired: the certificate of 'CN=old.Org1MSP,OU=admin,C=US' of Org1MSP was valid until \
         2024-01-02T00:00:00Z; enroll again"
    );
    let claim = |signer: &SigningIdentity| Claim::of(&signer.identity().raw);
    assert_eq!(
        node.refused(of(&client, "mychannel", 5)).await,
        format!(
            "failed verifying that the signed data identity satisfies local MSP principal during channelless check policy \
         with policy [Admins]: [The identity is not an admin under this MSP [Org1MSP]: The identity does not contain OU \
         [ADMIN], MSP: [Org1MSP]]: the signer is {}",
            claim(&client)
        )
    );
    assert_eq!(
        node.refused(of(&stranger, "mychannel", 5)).await,
        format!(
            "failed deserializing signed data identity during channelless check policy with policy [Admins]: [expected MSP ID \
         Org1MSP, received Org2MSP]: the signer is {}",
            claim(&stranger)
        )
    );
    let mut forged = of(&admin, "mychannel", 5);
    forged.get_mut().signature = of(&admin, "mychannel", 6).into_inner().signature;
    node.refused(forged).await;
    let nobody = protos::SnapshotRequest { channel_id: "mychannel".to_owned(), ..Default::default() };
    assert_eq!(node.refused(signed(&admin, &nobody)).await, "missing signature header");
    let garbage = Request::new(protos::SignedSnapshotRequest { request: "\x0a".into(), signature: "s".into() });
    assert!(node.refused(garbage).await.starts_with("failed to unmarshal snapshot request: "));
    assert!(node.service.query_pendings(query(&client)).await.is_err());
    assert_eq!(node.pending().await, [0; 0]);
}

#[tokio::test]
async fn a_channel_must_be_named_and_known() {
    let node = node();
    let admin = node.org1.admin("a");
    assert_eq!(node.refused(of(&admin, "", 5)).await, "missing channel ID");
    for unknown in ["yours", "../mychannel"] {
        assert_eq!(node.refused(of(&admin, unknown, 5)).await, format!("cannot find ledger for channel {unknown}"));
    }
}
