use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{Ledger, LedgerOptions, Ledgers, PrivateData, StateView};
use ripstop_proto::{common, protos};
use ripstop_rwset::{RwSetBuilder, TxRwSet, commit_hash};
use ripstop_types::{Block, BlockNumber, ChannelId, MetadataSlot, ValidationCode, ValidationCodes};
use ripstop_validation::ValidatedBlock;

const GENESIS: &[u8] = include_bytes!("genesis.block");

pub(crate) const VALID: ValidationCode = ValidationCode::Valid;

pub(crate) fn genesis() -> Block {
    Block::parse(Bytes::from_static(GENESIS)).unwrap()
}

pub(crate) fn channel() -> ChannelId {
    ChannelId::new("golden").unwrap()
}

pub(crate) fn open(root: &Path) -> Ledgers {
    Ledgers::open(root, LedgerOptions { cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20, ..LedgerOptions::default() })
        .unwrap()
}

pub(crate) fn only(ledgers: &Ledgers) -> Arc<Ledger> {
    ledgers.get(&channel()).unwrap()
}

pub(crate) fn set(fill: impl FnOnce(&mut RwSetBuilder)) -> TxRwSet {
    let mut builder = RwSetBuilder::new();
    fill(&mut builder);
    builder.build().0
}

/// A transaction that writes one key of the chaincode `cc`.
pub(crate) fn put(tx_id: &str, key: &str, value: &str) -> Bytes {
    transaction(tx_id, &set(|set| set.write("cc", key, Bytes::copy_from_slice(value.as_bytes()))))
}

/// An envelope with the form of an endorsed transaction; nobody looks at its signatures here.
pub(crate) fn transaction(tx_id: &str, set: &TxRwSet) -> Bytes {
    let header = |kind| common::ChannelHeader {
        r#type: kind,
        channel_id: channel().as_str().to_owned(),
        tx_id: tx_id.to_owned(),
        timestamp: Some(Default::default()),
        ..Default::default()
    };
    let signature_header = common::SignatureHeader { creator: "creator".into(), nonce: "nonce".into() }.encode_to_vec();
    let action = protos::ChaincodeAction { results: set.encode(), ..Default::default() };
    let response = protos::ProposalResponsePayload { extension: action.encode_to_vec().into(), ..Default::default() };
    let payload = protos::ChaincodeActionPayload {
        action: Some(protos::ChaincodeEndorsedAction {
            proposal_response_payload: response.encode_to_vec().into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let transaction = protos::Transaction {
        actions: vec![protos::TransactionAction {
            header: signature_header.clone().into(),
            payload: payload.encode_to_vec().into(),
        }],
    };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: header(3).encode_to_vec().into(),
            signature_header: signature_header.into(),
        }),
        data: transaction.encode_to_vec().into(),
    };
    common::Envelope { payload: payload.encode_to_vec().into(), signature: "signature".into() }.encode_to_vec().into()
}

/// A first block of the same channel without organizations, whose certificates take long to check.
pub(crate) fn light_genesis() -> Block {
    Block::new(BlockNumber::GENESIS, Bytes::new(), vec![configuration(0)])
}

/// A transaction that sets the configuration of [`light_genesis`], under a number of its own.
pub(crate) fn configuration(sequence: u64) -> Bytes {
    let mut envelope = common::Envelope::decode(genesis().data[0].clone()).unwrap();
    let mut payload = common::Payload::decode(envelope.payload).unwrap();
    let mut content = common::ConfigEnvelope::decode(payload.data).unwrap();
    let config = content.config.as_mut().unwrap();
    config.sequence = sequence;
    for group in config.channel_group.as_mut().unwrap().groups.values_mut() {
        group.groups.clear();
    }
    payload.data = content.encode_to_vec().into();
    envelope.payload = payload.encode_to_vec().into();
    envelope.encode_to_vec().into()
}

/// The ledger's next block with these transactions and verdicts.
pub(crate) fn next_block(ledger: &Ledger, transactions: &[(Bytes, ValidationCode)]) -> ValidatedBlock {
    let info = ledger.info();
    let data = transactions.iter().map(|(raw, _)| raw.clone()).collect();
    let mut block = Block::new(BlockNumber::new(info.height), info.current_hash, data);
    let codes = ValidationCodes::new(transactions.iter().map(|(_, code)| *code).collect());
    block.metadata.set(MetadataSlot::TransactionsFilter, codes.to_bytes());
    let state = ledger.snapshot();
    let state: &dyn StateView = &*state;
    let updates = ValidatedBlock::replay(block.clone(), state).unwrap().updates().canonical_bytes();
    let hash = commit_hash(&codes, &updates, &ledger.commit_hash());
    let slot = common::Metadata { value: hash.to_bytes(), signatures: vec![] };
    block.metadata.set(MetadataSlot::CommitHash, slot.encode_to_vec().into());
    ValidatedBlock::replay(block, state).unwrap()
}

pub(crate) fn commit(ledger: &Ledger, transactions: &[(Bytes, ValidationCode)]) {
    ledger.commit(next_block(ledger, transactions), PrivateData::default()).unwrap();
}

/// A ledger with some blocks: each sets a key of its own, changes a common one and deletes one of an earlier block.
pub(crate) fn grow(ledger: &Ledger, blocks: u64) {
    for _ in 0..blocks {
        let number = ledger.height();
        let changes = set(|set| {
            set.write("cc", &format!("key{number:03}"), "value".into());
            set.write("cc", "last", number.to_string().into());
            set.write("cc", &format!("key{:03}", number / 2), Bytes::new());
        });
        let raw = transaction(&format!("tx{number}"), &changes);
        commit(ledger, &[(put(&format!("bad{number}"), "bad", "x"), ValidationCode::MvccReadConflict), (raw, VALID)]);
    }
}

/// Everything a reader can see, for comparison.
pub(crate) fn contents(ledger: &Ledger) -> Vec<String> {
    let state = ledger.snapshot();
    let mut all = vec![format!("{:?} {:?} {}", ledger.info(), ledger.commit_hash(), state.height())];
    all.extend(state.range("cc", "", "").unwrap().map(|pair| format!("{:?}", pair.unwrap())));
    for collection in ["_implicit_org_Org1MSP", "_implicit_org_Org2MSP"] {
        let found = state.private_range("_lifecycle", collection, "", "").unwrap();
        all.extend(found.map(|pair| format!("{:?}", pair.unwrap())));
    }
    all.extend(ledger.history("cc", "last").unwrap().map(|change| format!("{:?}", change.unwrap())));
    for number in 0..=ledger.height() {
        let block = ledger.block(BlockNumber::new(number)).unwrap();
        all.push(format!("{:?}", block.as_ref().map(|block| block.header.hash())));
        for id in ["tx", "bad"] {
            let id = ripstop_types::TxId::new(&format!("{id}{number}"));
            all.push(format!("{:?}", ledger.validation_code(&id).unwrap()));
        }
    }
    all.push(ledger.config().sequence().to_string());
    all
}
