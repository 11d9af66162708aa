//! What must hold for any bytes.

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use ripstop_block_store::{BlockStore, BlockStoreOptions, decode_block, encode_block};
use ripstop_channel_config::{ChannelConfig, update};
use ripstop_crypto::{Certificate, Crl, decode_pem};
use ripstop_files::{Access, SimulatedDisk};
use ripstop_policy::inquiry::{Inquiry, MAX_COMBINATIONS};
use ripstop_policy::{ApplicationPolicy, SignaturePolicy, Signers, dsl};
use ripstop_proto::{Message, common};
use ripstop_proto_json::{Document, Form};
use ripstop_rwset::{MemoryState, TxPrivateRwSet, TxRwSet, UpdateBatch};
use ripstop_testkit::signed_block;
use ripstop_types::{Block, BlockNumber, ChannelId, Envelope, Height, Transaction, data_hash};
use ripstop_validation::{ValidatedBlock, VerifiedBlock};

pub(crate) use crate::discovery::discovery_request;
pub(crate) use crate::gossip::{gossip_handshake, gossip_message, gossip_private_data};
use crate::seeds::Seeds;
use crate::snapshots::{SnapshotPlace, read_all};

fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// An envelope, down to the action of its transaction.
pub(crate) fn envelope(bytes: &[u8]) {
    let Ok(envelope) = Envelope::parse(owned(bytes)) else { return };
    assert_eq!(Envelope::from_proto(envelope.to_proto()).as_ref(), Ok(&envelope));
    if let Ok(transaction) = Transaction::parse(envelope.data) {
        let _ = transaction.action();
        let _ = transaction.endorsement_set();
    }
}

/// A block as it travels. What parses is the same after a journey through a block file.
pub(crate) fn block(bytes: &[u8]) {
    let Ok(block) = Block::parse(owned(bytes)) else { return };
    let _ = block.check_well_formed();
    let _ = (block.metadata.signatures(), block.metadata.last_config(), block.metadata.validation_codes());
    let _ = ChannelConfig::from_block(&block);
    let _ = ValidatedBlock::replay(block.clone(), &MemoryState::new());
    assert_eq!(decode_block(encode_block(&block).into()).as_ref(), Ok(&block));
}

/// A block as it stands in a file. Not every form of a number is the one that is written, so the second form counts.
pub(crate) fn block_record(bytes: &[u8]) {
    let Ok(block) = decode_block(owned(bytes)) else { return };
    assert_eq!(decode_block(encode_block(&block).into()).as_ref(), Ok(&block));
}

/// A block file that somebody else wrote: it opens, or says why not; and what it shows is a chain.
pub(crate) fn block_file(bytes: &[u8]) {
    let disk = SimulatedDisk::new(1);
    let system = disk.file_system();
    let directory = Path::new("/blocks");
    system.create_directory(directory).unwrap();
    let file = system.open(&directory.join("blockfile_000000"), Access::Create).unwrap();
    // Half of all inputs are the content of a record with a length of its own, so that the fuzzer gets that far.
    let record = match bytes.split_first() {
        Some((even, record)) if even % 2 == 0 => {
            let mut framed = Vec::new();
            ripstop_types::put_varuint(&mut framed, record.len() as u64);
            [framed.as_slice(), record].concat()
        }
        _ => bytes.to_vec(),
    };
    file.write_all_at(&record, 0).unwrap();
    drop(file);
    let Ok(store) = BlockStore::open_on(&system, directory, BlockStoreOptions::default()) else { return };
    for number in 0..store.height() {
        let block = store.block(BlockNumber::new(number)).unwrap().unwrap();
        assert_eq!(block.number().get(), number);
        assert_eq!(block.header.data_hash, data_hash(&block.data).as_bytes()[..]);
    }
}

/// A read/write set: what parses is applied to a state, and its canonical form parses to the same.
pub(crate) fn read_write_set(bytes: &[u8]) {
    let Ok(set) = TxRwSet::parse(owned(bytes)) else { return };
    assert_eq!(TxRwSet::parse(set.encode()).unwrap(), set);
    let state = MemoryState::new();
    let mut updates = UpdateBatch::new();
    for tx in 0..2 {
        updates.apply(&set, Height::new(BlockNumber::new(7), tx), &state).unwrap();
    }
    updates.canonical_bytes();
}

/// Clear private writes.
pub(crate) fn private_read_write_set(bytes: &[u8]) {
    let Ok(set) = TxPrivateRwSet::parse(owned(bytes)) else { return };
    assert_eq!(TxPrivateRwSet::parse(set.encode()).unwrap(), set);
}

/// A certificate, as PEM and as the DER inside; a revocation list too.
pub(crate) fn certificate(bytes: &[u8]) {
    let _ = decode_pem(bytes);
    let _ = Crl::parse(bytes);
    for certificate in [Certificate::from_pem(bytes), Certificate::from_der(bytes)].into_iter().flatten() {
        let again = Certificate::from_pem(certificate.to_pem().as_bytes()).unwrap();
        assert_eq!(again.der(), certificate.der());
        let _ = (certificate.check_issued_by(&again), certificate.has_canonical_signature());
        let _ = certificate.with_low_s(&again).map(|low| low.has_canonical_signature());
    }
}

/// An identity that some organization should know.
pub(crate) fn identity(bytes: &[u8]) {
    let msps = Seeds::get().config.msps();
    if let Ok(identity) = msps.identify(&owned(bytes)) {
        let _ = identity.validate();
    }
}

/// A policy in its three forms on the wire.
pub(crate) fn policy(bytes: &[u8]) {
    let config = &Seeds::get().config;
    let nobody = Signers::from_identities(vec![]);
    if let Ok(policy) = SignaturePolicy::parse(bytes) {
        let _ = policy.evaluate_signers(&nobody, config.msps());
        who_could_satisfy(&policy);
    }
    if let Ok(policy) = ApplicationPolicy::parse(bytes) {
        let _ = policy.evaluate_signers(&nobody, config.policies(), config.msps());
    }
}

/// Who could satisfy a policy of a client's, and it together with one of the channel's.
fn who_could_satisfy(policy: &SignaturePolicy) {
    let own = Seeds::get().config.policies().as_signature_policy("/Channel/Application/Writers").unwrap();
    for policies in [&[policy][..], &[policy, &own]] {
        let Ok(inquiry) = Inquiry::new(policies, |_| 1) else { continue };
        for combinations in [inquiry.merged(), inquiry.every_combination()] {
            assert!(combinations.len() <= MAX_COMBINATIONS);
        }
    }
}

/// A policy as people write it.
pub(crate) fn policy_language(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(policy) = dsl::parse(text) {
        SignaturePolicy::compile(&policy).unwrap();
    }
}

/// A whole configuration; what is valid leads to nothing new by itself.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(config) = common::Config::decode(bytes) else { return };
    let current = Seeds::get().config.config();
    let _ = update::compute(current, &config);
    let channel = ChannelId::new("mychannel").unwrap();
    if let Ok(config) = ChannelConfig::new(channel, config) {
        assert!(update::compute(config.config(), config.config()).is_err());
    }
}

/// An update of the configuration, signed by nobody.
pub(crate) fn config_update(bytes: &[u8]) {
    let current = &Seeds::get().config;
    let signed = common::ConfigUpdateEnvelope { config_update: owned(bytes), signatures: vec![] };
    if let Ok(next) = update::propose(current, &signed) {
        assert_eq!(next.sequence(), current.sequence() + 1);
    }
}

/// A transaction in a block that the orderers signed: it gets a verdict, whatever it is.
pub(crate) fn transaction(bytes: &[u8]) {
    let seeds = Seeds::get();
    let state = MemoryState::new();
    let number = BlockNumber::new(5);
    let block = signed_block(&seeds.orderer, number, "before".into(), vec![owned(bytes)]);
    let Ok(verified) = VerifiedBlock::verify(block, &seeds.config, number, b"before") else { return };
    // Only a configuration that the orderers should not have signed leaves a block undecided.
    let is_config = verified.is_config();
    match verified.check(&seeds.config, &state) {
        Ok(checked) => {
            let validated = checked.validate(&state, b"hash").unwrap();
            assert_eq!(validated.codes().as_slice().len(), 1);
            let stored = Arc::new(validated.block().clone());
            let replayed = ValidatedBlock::replay(Block::clone(&stored), &state).unwrap();
            assert_eq!(replayed.updates(), validated.updates());
        }
        Err(undecided) => assert!(is_config, "{undecided}"),
    }
}

/// The forms in which bytes and JSON are tried: between them they lead to every rule of what bytes hold.
fn forms() -> Vec<Form> {
    let names = ["common.Config", "rwset.TxReadWriteSet", "common.SignaturePolicyEnvelope", "msp.SerializedIdentity"];
    let named = names.iter().map(|name| Form::named(name).unwrap());
    named
        .chain([Form::block(), Form::config_update(), Form::application_organization(), Form::orderer_organization()])
        .collect()
}

/// Any message as JSON: what is written is read again, and the message that this gives stays the same from then on.
pub(crate) fn message_as_json(bytes: &[u8]) {
    for form in forms() {
        let Ok(document) = Document::parse(&form, bytes) else { continue };
        let Ok(json) = document.to_json() else { continue };
        let read = Document::from_json(&form, json.as_bytes()).unwrap();
        let again = Document::from_json(&form, read.to_json().unwrap().as_bytes()).unwrap();
        assert_eq!(again.to_bytes(), read.to_bytes());
    }
}

/// JSON as any message.
pub(crate) fn json_as_message(bytes: &[u8]) {
    for form in forms() {
        let Ok(document) = Document::from_json(&form, bytes) else { continue };
        if let Ok(again) = Document::parse(&form, &document.to_bytes()) {
            assert_eq!(again.to_bytes(), document.to_bytes());
            let _ = again.to_json();
        }
    }
}

/// A file of a snapshot, behind its place in [`SnapshotPlace::files`]: it is read, or an error says why not.
pub(crate) fn snapshot(bytes: &[u8]) {
    static PLACE: LazyLock<Mutex<SnapshotPlace>> = LazyLock::new(|| Mutex::new(SnapshotPlace::make()));
    let Some((place, content)) = bytes.split_first() else { return };
    let files = SnapshotPlace::files();
    let file = files[usize::from(*place) % files.len()];
    PLACE.lock().unwrap().with(file, content, read_all);
}
