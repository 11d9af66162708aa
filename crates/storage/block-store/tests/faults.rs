//! Block files on a disk that loses power, fills up and fails: what was acknowledged is there, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_block_store::{BlockStore, BlockStoreError, BlockStoreOptions};
use ripstop_files::{End, Fault, Numbers, SimulatedDisk, every_seed};
use ripstop_types::{Block, BlockMetadata, BlockNumber, MetadataSlot};

const OPTIONS: BlockStoreOptions = BlockStoreOptions { max_file_bytes: 20_000 };
const DIRECTORY: &str = "/ledger/blocks";
/// How many disks are tried.
const SEEDS: u64 = 400;
/// How many with `RIPSTOP_NIGHTLY=1`.
const NIGHTLY_SEEDS: u64 = 20_000;
/// How often each disk fails.
const ROUNDS: u64 = 6;
const FAULTS: [Fault; 6] =
    [Fault::PowerLoss, Fault::Kill, Fault::Full, Fault::WriteError, Fault::SyncError, Fault::ReadError];

/// The next block, with up to some pages of data and metadata that no whole block ends otherwise.
fn next(chain: &[Arc<Block>], numbers: &mut Numbers) -> Arc<Block> {
    let previous = chain.last().map(|block| block.header.hash().to_bytes()).unwrap_or_default();
    let size = numbers.below(3000) as usize;
    let data = vec![Bytes::from(vec![numbers.below(255) as u8 + 1; size]), Bytes::from_static(b"transaction")];
    let mut block = Block::new(BlockNumber::new(chain.len() as u64), previous, data);
    block.metadata = BlockMetadata::default();
    // A `common.Metadata` whose value is a hash.
    let hash: Vec<u8> = (0..32).map(|_| numbers.below(256) as u8).collect();
    block.metadata.set(MetadataSlot::CommitHash, [b"\x0a\x20".as_slice(), &hash].concat().into());
    Arc::new(block)
}

fn open(disk: &SimulatedDisk) -> Result<BlockStore, BlockStoreError> {
    BlockStore::open_on(&disk.file_system(), Path::new(DIRECTORY), OPTIONS)
}

fn check(store: &BlockStore, chain: &[Arc<Block>]) {
    for block in chain.iter().take(store.height() as usize) {
        assert_eq!(&store.block(block.number()).unwrap().unwrap(), block);
    }
}

/// One disk, through all its accidents.
fn live(seed: u64) {
    let mut numbers = Numbers::new(seed);
    let disk = SimulatedDisk::new(seed);
    // What was offered, and how much of it was acknowledged.
    let (mut chain, mut acknowledged) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let fault = numbers.one_of(&FAULTS);
        disk.arm(fault, numbers.below(40));
        let opened = open(&disk);
        if let Ok(store) = &opened {
            let height = store.height() as usize;
            assert!(
                height >= acknowledged,
                "round {round}: {acknowledged} blocks were acknowledged, {height} are there"
            );
            // A block that was not acknowledged may have survived. From now on it is.
            acknowledged = height;
            chain.truncate(height);
            for _ in 0..numbers.below(30) {
                let count = if numbers.below(4) == 0 { 2 } else { 1 };
                for _ in 0..count {
                    chain.push(next(&chain, &mut numbers));
                }
                if store.append_all(chain[acknowledged..].to_vec()).is_err() {
                    assert!(disk.has_struck());
                    let again = store.append(Arc::clone(&chain[acknowledged]));
                    assert!(matches!(again, Err(BlockStoreError::Failed)), "round {round}: {again:?}");
                    break;
                }
                acknowledged = chain.len();
                store.publish();
            }
            // What is visible can be read, unless the machine is off or just this read fails.
            if disk.has_struck() && !matches!(fault, Fault::PowerLoss | Fault::Kill) {
                assert_eq!(store.height() as usize, acknowledged);
                check(store, &chain);
            }
        } else {
            assert!(disk.has_struck(), "round {round}: {:?}", opened.err());
        }
        drop(opened);
        disk.make_room();
        let end = if fault == Fault::PowerLoss || numbers.below(3) == 0 { End::Machine } else { End::Process };
        disk.restart(end);
        let store = open(&disk).unwrap_or_else(|error| panic!("round {round}, after {fault:?} and {end:?}: {error}"));
        assert!(
            store.height() as usize >= acknowledged,
            "round {round}, after {fault:?} and {end:?}: {} of {acknowledged}",
            store.height()
        );
        check(&store, &chain);
        acknowledged = store.height() as usize;
        // What an opened store shows is acknowledged, even if the machine goes off now.
        drop(store);
        if numbers.below(2) == 0 {
            disk.restart(End::Machine);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_befalls_the_disk() {
    every_seed(SEEDS, NIGHTLY_SEEDS, live);
}
