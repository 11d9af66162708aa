//! A committer fed by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use bytes::Bytes;
use ripstop_channel_config::genesis;
use ripstop_committer::{BLOCK_QUEUE, Committer, CommitterError};
use ripstop_crypto::SigningIdentity;
use ripstop_deliver::{BlockOrigin, PulledBlock};
use ripstop_files::{Fault, FileSystem, SimulatedDisk};
use ripstop_ledger::{Absence, Ledger, LedgerOptions, Ledgers, StateView, TransientSet};
use ripstop_proto::protos::ChaincodeId;
use ripstop_rwset::{RwSetBuilder, TxPrivateRwSet};
use ripstop_testkit::{Channel, DraftTransaction, Organization, signed_block};
use ripstop_types::{Block, BlockNumber, ChannelId, HeaderType, Timestamp, TxId, ValidationCode};
use tempfile::TempDir;
use tokio::sync::mpsc;

struct Scene {
    organizations: [Organization; 2],
    ledger: Arc<Ledger>,
    _ledgers: Ledgers,
    _directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self::on(&FileSystem::host())
    }

    fn on(files: &FileSystem) -> Self {
        let organizations = [Organization::new("OrdererMSP"), Organization::new("Org1MSP")];
        let [orderer, org1] = &organizations;
        let root = Channel::new(orderer, [org1]).group();
        let channel = ChannelId::new("mychannel").unwrap();
        let genesis = genesis::block(&channel, root, [7; 24], Timestamp { seconds: 0, nanos: 0 });
        let directory = tempfile::tempdir().unwrap();
        let ledgers = Ledgers::open_on(files, directory.path(), LedgerOptions::default()).unwrap();
        let ledger = ledgers.create(genesis).unwrap();
        Self { organizations, ledger, _ledgers: ledgers, _directory: directory }
    }

    /// The blocks that follow the genesis block. Their transactions call a chaincode that is not defined.
    fn chain(&self, length: u64, spoil: impl Fn(u64, &mut DraftTransaction<'_>)) -> Vec<Block> {
        let [orderer, org1] = &self.organizations;
        let (orderer, client) = (orderer.orderer("orderer"), org1.client("client"));
        let mut previous = self.ledger.info().current_hash;
        (1..=length)
            .map(|number| {
                let mut draft = DraftTransaction::new("mychannel", &client, []);
                draft.nonce = Bytes::copy_from_slice(&number.to_be_bytes());
                spoil(number, &mut draft);
                let block = signed_block(&orderer, BlockNumber::new(number), previous.clone(), vec![draft.bytes()]);
                previous = block.header.hash().to_bytes();
                block
            })
            .collect()
    }

    async fn run(&self, blocks: Vec<PulledBlock>) -> Result<(), CommitterError> {
        let (sender, receiver) = mpsc::channel(BLOCK_QUEUE);
        let feeding = async move {
            for block in blocks {
                // A committer that has stopped takes no more.
                let _ = sender.send(block).await;
            }
        };
        tokio::join!(Committer::new(Arc::clone(&self.ledger)).run(receiver), feeding).0
    }
}

#[tokio::test]
async fn blocks_are_committed_in_order_and_known_ones_left_out() {
    let scene = Scene::new();
    let chain = scene.chain(40, |_, _| {});
    let (first, second) = (BlockOrigin::new("one:7050"), BlockOrigin::new("two:7050"));
    let mut blocks: Vec<PulledBlock> = chain[..20].iter().map(|block| first.pulled(block.clone())).collect();
    // Another connection begins behind the end of the ledger.
    blocks.extend(chain[15..].iter().map(|block| second.pulled(block.clone())));
    scene.run(blocks).await.unwrap();
    assert_eq!(scene.ledger.height(), 41);
    let last = scene.ledger.block(BlockNumber::new(40)).unwrap().unwrap();
    assert_eq!(last.metadata.validation_codes().unwrap().as_slice(), [ValidationCode::InvalidChaincode]);
    assert!(!first.is_refused() && !second.is_refused());
}

#[tokio::test]
async fn a_forged_block_is_refused_with_all_that_follows_from_its_sender() {
    let scene = Scene::new();
    let chain = scene.chain(4, |_, _| {});
    let (liar, honest) = (BlockOrigin::new("liar:7050"), BlockOrigin::new("honest:7050"));
    let mut forged = chain[1].clone();
    forged.metadata = ripstop_types::BlockMetadata::default();
    let mut blocks = vec![liar.pulled(chain[0].clone()), liar.pulled(forged), liar.pulled(chain[1].clone())];
    blocks.extend(chain[1..].iter().map(|block| honest.pulled(block.clone())));
    scene.run(blocks).await.unwrap();
    assert!(liar.is_refused() && !honest.is_refused());
    assert_eq!(scene.ledger.height(), 5);
}

#[tokio::test]
async fn a_block_that_cannot_be_decided_stops_the_channel_with_a_message() {
    let scene = Scene::new();
    let chain = scene.chain(3, |number, draft| {
        if number == 2 {
            draft.kind = HeaderType::Config;
            draft.data = Some(Bytes::from_static(b"no configuration"));
        }
    });
    let origin = BlockOrigin::new("orderer:7050");
    let error = scene.run(chain.into_iter().map(|block| origin.pulled(block)).collect()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("channel [mychannel] stops at block [2]: error unmarshalling config of block [2]"),
        "{text}"
    );
    assert_eq!(scene.ledger.height(), 2);
}

/// A transaction of `_lifecycle` that writes one private key, and its clear writes.
fn private_transaction<'a>(
    client: &'a SigningIdentity,
    endorsers: &[&'a SigningIdentity],
    collection: &str,
    key: &str,
) -> (DraftTransaction<'a>, TxPrivateRwSet) {
    let mut builder = RwSetBuilder::new();
    builder.private_write("_lifecycle", collection, key, format!("value of {key}").into());
    let (public, private) = builder.build();
    let mut draft = DraftTransaction::new("mychannel", client, endorsers.iter().copied());
    draft.nonce = key.to_owned().into();
    draft.chaincode = Some(ChaincodeId { name: "_lifecycle".into(), version: "syscc".into(), ..Default::default() });
    draft.results = public.encode();
    (draft, private.unwrap())
}

#[test]
fn private_data_is_gathered_where_it_was_endorsed_and_noted_where_it_is_missing() {
    let scene = Scene::new();
    let [orderer, org1] = &scene.organizations;
    let (orderer, peer, client) = (orderer.orderer("orderer"), org1.peer("peer0"), org1.client("client"));
    let own = "_implicit_org_Org1MSP";
    let here = private_transaction(&client, &[&peer], own, "here");
    let missing = private_transaction(&client, &[&peer], own, "missing");
    // Not endorsed, so invalid; its private data is kept all the same, beside the state.
    let invalid = private_transaction(&client, &[], own, "invalid");
    let foreign = private_transaction(&client, &[&peer], "_implicit_org_Org2MSP", "foreign");
    let forged = private_transaction(&client, &[&peer], "no such collection", "forged");
    let transactions = [here, missing, invalid, foreign, forged];
    let tx_id = |draft: &DraftTransaction<'_>| TxId::compute(&draft.nonce, &client.identity().raw);
    for (draft, writes) in [&transactions[0], &transactions[2], &transactions[3], &transactions[4]] {
        let set = TransientSet { endorsed_at: 1, writes: writes.clone(), ..TransientSet::default() };
        scene.ledger.transient().put(&tx_id(draft), &set).unwrap();
    }
    let data = transactions.iter().map(|(draft, _)| draft.bytes()).collect();
    let block = signed_block(&orderer, BlockNumber::new(1), scene.ledger.info().current_hash, data);
    let committer = Committer::new(Arc::clone(&scene.ledger)).of_organization(org1.msp_id().clone());
    committer.commit(block).unwrap().unwrap();

    let ledger = &scene.ledger;
    let codes = ledger.block(BlockNumber::new(1)).unwrap().unwrap().metadata.validation_codes().unwrap();
    assert!(codes.as_slice()[0].is_valid() && codes.as_slice()[1].is_valid());
    assert!(!codes.as_slice()[2].is_valid() && !codes.as_slice()[3].is_valid());
    let kept = ledger.private_data(BlockNumber::new(1), |_, _| true).unwrap();
    assert_eq!(kept.keys().copied().collect::<Vec<_>>(), [0, 2]);
    assert_eq!(kept[&2], transactions[2].1);
    let missed = ledger.missing_private_data(Absence::Missing, BlockNumber::new(1), 10).unwrap();
    assert_eq!(missed.iter().map(|place| place.tx).collect::<Vec<_>>(), [1]);
    let ineligible = ledger.missing_private_data(Absence::Ineligible, BlockNumber::new(1), 10).unwrap();
    assert_eq!(ineligible.iter().map(|place| place.tx).collect::<Vec<_>>(), [3]);
    let state = ledger.snapshot();
    let value = |key: &str| state.private("_lifecycle", own, key).unwrap().map(|found| found.value);
    assert_eq!(value("here").unwrap(), "value of here");
    assert_eq!((value("missing"), value("invalid")), (None, None));
    for (draft, _) in &transactions {
        assert!(ledger.transient().get(&tx_id(draft)).unwrap().is_empty(), "it is committed");
    }
}

#[test]
fn a_forged_transaction_with_very_many_collections_is_an_invalid_one_among_others() {
    let scene = Scene::new();
    let [orderer, org1] = &scene.organizations;
    let (orderer, client) = (orderer.orderer("orderer"), org1.client("client"));
    let mut builder = RwSetBuilder::new();
    // So many that looking at each of them for each of them would not come to an end here.
    for number in 0..100_000 {
        builder.private_write("_lifecycle", &format!("forged{number}"), "key", "value".into());
    }
    let (mut draft, _) = private_transaction(&client, &[], "forged", "key");
    draft.results = builder.build().0.encode();
    let hash = scene.ledger.info().current_hash;
    let block = signed_block(&orderer, BlockNumber::new(1), hash, vec![draft.bytes()]);
    let committer = Committer::new(Arc::clone(&scene.ledger)).of_organization(org1.msp_id().clone());
    committer.commit(block).unwrap().unwrap();
    let codes = scene.ledger.block(BlockNumber::new(1)).unwrap().unwrap().metadata.validation_codes().unwrap();
    assert_eq!(codes.as_slice(), [ValidationCode::EndorsementPolicyFailure]);
    for absence in [Absence::Missing, Absence::Ineligible] {
        assert!(scene.ledger.missing_private_data(absence, BlockNumber::new(1), 10).unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_channel_with_a_message_and_reading_goes_on() {
    let disk = SimulatedDisk::new(1);
    let scene = Scene::on(&disk.file_system());
    let chain = scene.chain(3, |_, _| {});
    let origin = BlockOrigin::new("orderer:7050");
    scene.run(vec![origin.pulled(chain[0].clone())]).await.unwrap();
    disk.arm(Fault::Full, 0);
    let error = scene.run(chain[1..].iter().map(|block| origin.pulled(block.clone())).collect()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("channel [mychannel] stops at block [2]: cannot write "), "{text}");
    assert!(text.contains("blockfile_000000: No space left on device"), "{text}");
    assert!(text.contains("free space there and start this node again"), "{text}");
    assert_eq!(scene.ledger.height(), 2);
    assert_eq!(scene.ledger.block(BlockNumber::new(1)).unwrap().unwrap().header, chain[0].header);
    assert_eq!(scene.ledger.snapshot().height(), 2);
}
