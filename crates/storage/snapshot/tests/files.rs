//! Snapshots written and read back, and files that nobody should believe.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use ripstop_snapshot::{
    AdditionalMetadata, CollectionsChange, Part, SignableMetadata, SnapshotError, SnapshotFiles, SnapshotTip,
    SnapshotWriter, StateRecord, hashed_namespace, split_hashed_namespace,
};
use ripstop_types::{BlockNumber, ChannelId, Height, TxId};
use tempfile::TempDir;

fn tip() -> SnapshotTip {
    SnapshotTip {
        channel: ChannelId::new("ch").unwrap(),
        last_block: BlockNumber::new(7),
        last_block_hash: Bytes::from_static(&[1; 32]),
        previous_block_hash: Bytes::from_static(&[2; 32]),
        last_commit_hash: Bytes::from_static(&[3; 32]),
    }
}

fn record(namespace: &str, key: &'static str, tx: u64) -> StateRecord {
    StateRecord {
        namespace: namespace.to_owned(),
        key: Bytes::from(key),
        value: Bytes::from_static(b"value"),
        metadata: Bytes::new(),
        version: Height::new(BlockNumber::new(5), tx),
    }
}

fn public() -> Vec<StateRecord> {
    vec![record("", "config", 0), record("basic", "a", 1), record("basic", "b", 2)]
}

fn change() -> CollectionsChange {
    CollectionsChange {
        chaincode: "basic".to_owned(),
        block: BlockNumber::new(79),
        collections: Bytes::from_static(b"package"),
    }
}

/// A snapshot with entries in all parts.
fn written() -> (TempDir, PathBuf) {
    let place = TempDir::new().unwrap();
    let directory = place.path().join("snapshot");
    let mut writer = SnapshotWriter::create(&directory).unwrap();
    public().iter().for_each(|record| writer.public(record).unwrap());
    for id in ["1", "22"] {
        writer.tx_id(&TxId::new(id)).unwrap();
    }
    writer.collections(&change()).unwrap();
    writer.private_hash(&record(&hashed_namespace("basic", "coll"), "hash", 3)).unwrap();
    writer.finish(&tip()).unwrap();
    (place, directory)
}

/// Puts other content in the place of a read-only file.
fn replace(directory: &Path, file: &str, content: &[u8]) {
    let path = directory.join(file);
    fs::remove_file(&path).unwrap();
    fs::write(path, content).unwrap();
}

fn drain(files: &SnapshotFiles) -> Result<(), SnapshotError> {
    let content = files.unverified();
    content.tx_ids()?.try_for_each(|entry| entry.map(drop))?;
    content.config_history()?.try_for_each(|entry| entry.map(drop))?;
    content.public_state()?.try_for_each(|entry| entry.map(drop))?;
    content.private_state_hashes()?.try_for_each(|entry| entry.map(drop))
}

#[test]
fn what_is_written_is_read() {
    let (_place, directory) = written();
    let snapshot = SnapshotFiles::open(&directory).unwrap().verify().unwrap();
    assert_eq!(snapshot.metadata().channel, tip().channel);
    assert_eq!(snapshot.metadata().last_block, tip().last_block);
    assert_eq!(snapshot.metadata().last_block_hash, tip().last_block_hash);
    assert_eq!(snapshot.metadata().previous_block_hash, tip().previous_block_hash);
    assert_eq!(snapshot.additional().last_commit_hash, tip().last_commit_hash);
    let content = snapshot.content();
    let ids: Vec<_> = content.tx_ids().unwrap().map(Result::unwrap).collect();
    assert_eq!(ids, [TxId::new("1"), TxId::new("22")]);
    assert_eq!(content.config_history().unwrap().map(Result::unwrap).collect::<Vec<_>>(), [change()]);
    assert_eq!(content.public_state().unwrap().map(Result::unwrap).collect::<Vec<_>>(), public());
    assert_eq!(content.private_state_hashes().unwrap().count(), 1);
}

#[test]
fn the_bytes_are_those_of_fabric() {
    let (_place, directory) = written();
    let read = |name: &str| fs::read(directory.join(name)).unwrap();
    assert_eq!(read("txids.data"), b"\x01\x011\x0222");
    assert_eq!(read("txids.metadata"), b"\x01\x02");
    assert_eq!(read("public_state.metadata"), b"\x01\x02\x00\x01\x05basic\x02");
    assert_eq!(
        read("confighistory.data"),
        b"\x01\x1eslscc\0basic~collection\xff\xff\xff\xff\xff\xff\xff\xb0\x07package"
    );
    assert_eq!(&read("public_state.data")[..22], b"\x01\x14\x0a\x06config\x12\x05value\x22\x03\x01\x05\x00");
    let additional = String::from_utf8(read(AdditionalMetadata::FILE)).unwrap();
    assert!(additional.starts_with("{\n    \"snapshot_hash\": \""), "{additional}");
    assert!(additional.ends_with("\"\n}"), "{additional}");
}

#[test]
fn a_part_without_entries_has_no_files() {
    let place = TempDir::new().unwrap();
    let directory = place.path().join("snapshot");
    let mut writer = SnapshotWriter::create(&directory).unwrap();
    writer.tx_id(&TxId::new("1")).unwrap();
    writer.finish(&tip()).unwrap();
    let snapshot = SnapshotFiles::open(&directory).unwrap().verify().unwrap();
    assert!(snapshot.metadata().has(Part::TxIds));
    for part in [Part::ConfigHistory, Part::PublicState, Part::PrivateStateHashes] {
        assert!(!snapshot.metadata().has(part));
        assert!(!directory.join(part.data_file()).exists());
    }
    assert_eq!(snapshot.content().public_state().unwrap().count(), 0);
}

#[test]
fn a_changed_file_is_found_by_its_hash() {
    for part in Part::ALL {
        for file in [part.data_file(), part.metadata_file()] {
            let (_place, directory) = written();
            let mut content = fs::read(directory.join(file)).unwrap();
            *content.last_mut().unwrap() ^= 1;
            replace(&directory, file, &content);
            let error = SnapshotFiles::open(&directory).unwrap().verify().unwrap_err();
            assert!(error.to_string().starts_with(&format!("hash mismatch for file [{file}]")), "{error}");
        }
    }
}

#[test]
fn a_missing_file_is_named_with_what_was_attempted() {
    let (_place, directory) = written();
    let missing = directory.join("txids.data");
    fs::remove_file(&missing).unwrap();
    let snapshot = SnapshotFiles::open(&directory).unwrap();
    let expected = format!("cannot open {}: No such file", missing.display());
    for error in [
        snapshot.copy_to(&directory.join("copy")).map(drop).unwrap_err(),
        snapshot.unverified().tx_ids().map(drop).unwrap_err(),
        snapshot.verify().map(drop).unwrap_err(),
    ] {
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

#[test]
fn changed_metadata_is_found_by_the_snapshot_hash() {
    let (_place, directory) = written();
    let metadata = fs::read_to_string(directory.join(SignableMetadata::FILE)).unwrap();
    replace(
        &directory,
        SignableMetadata::FILE,
        metadata.replace("\"last_block_number\": 7", "\"last_block_number\": 8").as_bytes(),
    );
    let error = SnapshotFiles::open(&directory).unwrap().verify().unwrap_err();
    assert!(matches!(error, SnapshotError::HashMismatch { file, .. } if file == SignableMetadata::FILE));
}

#[test]
fn metadata_names_files_of_a_snapshot_only() {
    let (_place, directory) = written();
    let metadata = fs::read_to_string(directory.join(SignableMetadata::FILE)).unwrap();
    for (from, to, reason) in [
        ("\"txids.data\"", "\"../../secret\"", "which is not part of a snapshot"),
        ("\"txids.data\"", "\"public_state.data\"", "names one only"),
        ("\"ch\"", "\"../ch\"", "../ch"),
        ("\"last_block_number\": 7", "\"last_block_number\": 18446744073709551615", "no block can follow"),
        ("\"last_block_number\": 7", "\"last_block_number\": -7", "invalid value"),
    ] {
        replace(&directory, SignableMetadata::FILE, metadata.replacen(from, to, 1).as_bytes());
        let error = SnapshotFiles::open(&directory).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn forged_counts_and_lengths_are_errors() {
    for (file, content) in [
        ("txids.metadata", &b"\x01\x01"[..]),
        ("txids.metadata", b"\x01\x03"),
        ("txids.metadata", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("txids.metadata", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
        ("txids.metadata", b"\x01\x02\x00"),
        ("txids.metadata", b"\x01"),
        ("txids.metadata", b"\x02\x02"),
        ("txids.metadata", b""),
        ("txids.data", b"\x01\xff\xff\xff\xff\x0f"),
        ("txids.data", b"\x01\x01\xff\x0222"),
        ("confighistory.data", b"\x01\x02ab\x00"),
        ("public_state.metadata", b"\x01\x02\x00\x01\x05basic\x01"),
        ("public_state.metadata", b"\x01\x02\x00\x00\x05basic\x03"),
        ("public_state.metadata", b"\x01\x02\x00\x01\x05bas\x00c\x02"),
        ("confighistory.data", b"\x01\x1eslscc\0ba\0ic~collection\xff\xff\xff\xff\xff\xff\xff\xb0\x07package"),
        ("public_state.metadata", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x01"),
        ("public_state.data", b"\x01\x01\xff"),
        ("public_state.data", b"\x01\x00\x00\x00"),
    ] {
        let (_place, directory) = written();
        replace(&directory, file, content);
        let error = drain(&SnapshotFiles::open(&directory).unwrap()).unwrap_err().to_string();
        assert!(error.contains(file.split('.').next().unwrap()), "{file} {content:?}: {error}");
    }
}

#[test]
fn newer_changes_of_collections_come_first() {
    let newer = CollectionsChange { block: BlockNumber::new(80), ..change() };
    assert!(newer.key() < change().key());
    assert_eq!(CollectionsChange::parse(&newer.key(), newer.collections.clone()), Some(newer));
}

#[test]
fn namespaces_of_hashes_are_taken_apart() {
    assert_eq!(split_hashed_namespace(&hashed_namespace("cc", "coll")), Some(("cc", "coll")));
    assert_eq!(split_hashed_namespace("cc"), None);
    assert_eq!(split_hashed_namespace("cc$$ha$$hb"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_the_readers_panic(file in 0..8usize, content: Vec<u8>, format_byte: bool) {
        let (_place, directory) = written();
        let names: Vec<_> = Part::ALL.iter().flat_map(|part| [part.data_file(), part.metadata_file()]).collect();
        let content = if format_byte { [&[1], content.as_slice()].concat() } else { content };
        replace(&directory, names[file], &content);
        let _ = drain(&SnapshotFiles::open(&directory).unwrap());
    }

    #[test]
    fn no_text_makes_the_metadata_panic(content in "\\PC*") {
        let (_place, directory) = written();
        replace(&directory, SignableMetadata::FILE, content.as_bytes());
        prop_assert!(SnapshotFiles::open(&directory).is_err());
    }
}
