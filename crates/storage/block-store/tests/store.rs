//! Records, recovery from crashes at every byte, and following.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use ripstop_block_store::{BlockStore, BlockStoreError, BlockStoreOptions, ChainBase, decode_block, encode_block};
use ripstop_types::{Block, BlockMetadata, BlockNumber, MetadataSlot};

const SMALL_FILES: BlockStoreOptions = BlockStoreOptions { max_file_bytes: 300 };

fn chain(count: u64) -> Vec<Arc<Block>> {
    let mut previous = Bytes::new();
    (0..count)
        .map(|number| {
            let data = (0..=number % 3).map(|tx| Bytes::from(format!("transaction {tx} of block {number}"))).collect();
            let mut block = Block::new(BlockNumber::new(number), previous.clone(), data);
            // Some as a peer writes them, some as an orderer does: with nothing in the last elements.
            let slot = if number % 3 == 1 { MetadataSlot::Signatures } else { MetadataSlot::CommitHash };
            block.metadata.set(slot, Bytes::from_static(b"\x0a\x04hash"));
            previous = block.header.hash().to_bytes();
            Arc::new(block)
        })
        .collect()
}

fn open(directory: &Path) -> BlockStore {
    BlockStore::open(directory, SMALL_FILES).unwrap()
}

fn fill(store: &BlockStore, blocks: &[Arc<Block>]) {
    for block in blocks {
        store.append(Arc::clone(block)).unwrap();
    }
    store.publish();
}

fn check(store: &BlockStore, blocks: &[Arc<Block>]) {
    assert_eq!(store.height(), blocks.len() as u64);
    for (number, block) in blocks.iter().enumerate() {
        let found = store.block(BlockNumber::new(number as u64)).unwrap().unwrap();
        assert_eq!(&found, block);
    }
    assert!(store.block(BlockNumber::new(blocks.len() as u64)).unwrap().is_none());
    let hash = blocks.last().map(|block| block.header.hash().to_bytes()).unwrap_or_default();
    assert_eq!(store.tip().current_hash, hash);
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn last_file(directory: &Path) -> std::path::PathBuf {
    let mut names: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("blockfile_"));
    names.into_iter().max().unwrap()
}

proptest! {
    #[test]
    fn every_block_survives_its_record(
        number in any::<u64>(),
        previous in proptest::collection::vec(any::<u8>(), 0..40),
        data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5),
        metadata in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..7),
    ) {
        let data = data.into_iter().map(Bytes::from).collect();
        let mut block = Block::new(BlockNumber::new(number), previous.into(), data);
        block.metadata = BlockMetadata::new(metadata.into_iter().map(Bytes::from).collect());
        prop_assert_eq!(decode_block(encode_block(&block).into()).unwrap(), block);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_block(raw.into());
    }
}

#[test]
fn the_record_has_fabrics_layout() {
    let block = Block::new(BlockNumber::new(300), Bytes::from_static(b"prev"), vec![Bytes::from_static(b"tx")]);
    let mut expected = vec![0xac, 0x02, 32];
    expected.extend_from_slice(&block.header.data_hash);
    expected.extend_from_slice(b"\x04prev\x01\x02tx\x05\x00\x00\x00\x00\x00");
    assert_eq!(encode_block(&block), expected);
}

#[test]
fn blocks_are_found_again_over_several_files() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = chain(12);
    let store = open(directory.path());
    fill(&store, &blocks[..7]);
    check(&store, &blocks[..7]);
    drop(store);
    assert!(directory.path().join("blockfile_000001").exists());
    let store = open(directory.path());
    check(&store, &blocks[..7]);
    fill(&store, &blocks[7..]);
    drop(store);
    std::fs::remove_file(directory.path().join("locations")).unwrap();
    check(&open(directory.path()), &blocks);
}

#[test]
fn a_block_cut_off_at_any_byte_is_removed_and_can_be_written_again() {
    let source = tempfile::tempdir().unwrap();
    let blocks = chain(6);
    let store = open(source.path());
    fill(&store, &blocks[..5]);
    let before = std::fs::metadata(last_file(source.path())).unwrap().len();
    let of_five = std::fs::read(source.path().join("locations")).unwrap();
    fill(&store, &blocks[5..]);
    drop(store);
    let file = last_file(source.path());
    let after = std::fs::metadata(&file).unwrap().len();
    assert!(before < after, "the last block is in the same file as the one before");
    for locations in ["of five blocks", "removed"] {
        for length in before..after {
            let directory = tempfile::tempdir().unwrap();
            copy(source.path(), directory.path());
            let path = directory.path().join("locations");
            match locations {
                "removed" => std::fs::remove_file(path).unwrap(),
                _ => std::fs::write(path, &of_five).unwrap(),
            }
            let cut = std::fs::OpenOptions::new().write(true).open(last_file(directory.path())).unwrap();
            cut.set_len(length).unwrap();
            let store = open(directory.path());
            check(&store, &blocks[..5]);
            fill(&store, &blocks[5..]);
            drop(store);
            check(&open(directory.path()), &blocks);
        }
    }
}

#[test]
fn damaged_locations_are_mended() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = chain(9);
    fill(&open(directory.path()), &blocks);
    let path = directory.path().join("locations");
    let whole = std::fs::read(&path).unwrap();
    for damage in [whole[..20].to_vec(), [whole.as_slice(), &[0; 40]].concat(), vec![7; 64], vec![]] {
        std::fs::write(&path, damage).unwrap();
        check(&open(directory.path()), &blocks);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn damage_in_the_middle_is_an_error_and_removes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fill(&open(directory.path()), &chain(9));
    std::fs::remove_file(directory.path().join("locations")).unwrap();
    let file = directory.path().join("blockfile_000000");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert!(matches!(
        BlockStore::open(directory.path(), SMALL_FILES),
        Err(BlockStoreError::Damaged { file: 0, offset: 0, .. })
    ));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_directory_is_open_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert!(matches!(BlockStore::open(directory.path(), SMALL_FILES), Err(BlockStoreError::InUse(_))));
    drop(store);
    open(directory.path());
}

#[test]
fn only_the_next_block_of_the_chain_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = chain(3);
    let store = open(directory.path());
    assert!(matches!(store.append(blocks[1].clone()), Err(BlockStoreError::NotNext { expected: 0, .. })));
    fill(&store, &blocks[..1]);
    let foreign = Block::new(BlockNumber::new(1), Bytes::from_static(b"other"), vec![]);
    assert!(matches!(store.append(Arc::new(foreign)), Err(BlockStoreError::NotChained { .. })));
    fill(&store, &blocks[1..]);
    check(&store, &blocks);
}

#[tokio::test]
async fn a_follower_gets_each_block_once_and_only_published_ones() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = chain(40);
    let store = Arc::new(open(directory.path()));
    fill(&store, &blocks[..20]);
    let mut follower = store.follow(BlockNumber::new(1));
    let follow = async {
        for block in &blocks[1..] {
            assert_eq!(&follower.next().await.unwrap(), block);
        }
        assert_eq!(follower.position(), BlockNumber::new(40));
    };
    let write = async {
        store.append(blocks[20].clone()).unwrap();
        assert_eq!((store.height(), store.appended()), (20, 21));
        assert!(store.block(BlockNumber::new(20)).unwrap().is_none());
        tokio::task::yield_now().await;
        for block in &blocks[21..] {
            fill(&store, std::slice::from_ref(block));
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(follow, write);
}

#[test]
fn a_chain_may_begin_behind_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = chain(9);
    let base = ChainBase {
        last_block: BlockNumber::new(3),
        last_block_hash: blocks[3].header.hash().to_bytes(),
        previous_block_hash: blocks[2].header.hash().to_bytes(),
    };
    base.place(directory.path()).unwrap();
    {
        let store = open(directory.path());
        assert_eq!((store.height(), store.first(), store.base()), (4, BlockNumber::new(4), Some(&base)));
        assert_eq!(store.tip().current_hash, base.last_block_hash);
        assert_eq!(store.tip().previous_hash, base.previous_block_hash);
        assert!(matches!(store.append(Arc::clone(&blocks[3])), Err(BlockStoreError::NotNext { .. })));
        fill(&store, &blocks[4..]);
    }
    for lost in [None, Some("locations")] {
        if let Some(file) = lost {
            std::fs::remove_file(directory.path().join(file)).unwrap();
        }
        let store = open(directory.path());
        assert_eq!(store.height(), 9);
        for block in &blocks[4..] {
            assert_eq!(&store.block(block.number()).unwrap().unwrap(), block);
        }
        assert!(store.block(BlockNumber::new(9)).unwrap().is_none());
        let refused = store.block(BlockNumber::new(3)).unwrap_err().to_string();
        assert!(refused.contains("First available block = [4]"), "{refused}");
    }
}

#[test]
fn only_the_block_behind_the_snapshot_can_be_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = chain(5);
    let base = ChainBase {
        last_block: BlockNumber::new(3),
        last_block_hash: "another".into(),
        previous_block_hash: "x".into(),
    };
    base.place(directory.path()).unwrap();
    assert!(matches!(open(directory.path()).append(Arc::clone(&blocks[4])), Err(BlockStoreError::NotChained { .. })));
}

#[test]
fn a_chain_goes_back_to_any_of_its_blocks_and_grows_anew() {
    let blocks = chain(12);
    for last in 0..12 {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        fill(&store, &blocks);
        store.truncate_after(BlockNumber::new(last as u64)).unwrap();
        if last % 2 == 0 {
            ripstop_block_store::drop_index(directory.path()).unwrap();
        }
        let store = open(directory.path());
        check(&store, &blocks[..=last]);
        fill(&store, &blocks[last + 1..]);
        drop(store);
        check(&open(directory.path()), &blocks);
    }
}
