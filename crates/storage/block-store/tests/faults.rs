//! Block files on a disk that loses power, fills up and fails: what was acknowledged is there, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_block_store::{BlockStore, BlockStoreError, BlockStoreOptions, encode_block};
use ripstop_files::{Access, End, Fault, Numbers, SimulatedDisk, every_seed};
use ripstop_types::{Block, BlockMetadata, BlockNumber, MetadataSlot, put_varuint};

const OPTIONS: BlockStoreOptions = BlockStoreOptions { max_file_bytes: 20_000 };
const DIRECTORY: &str = "/ledger/blocks";
/// How many disks are tried.
const SEEDS: u64 = 400;
/// How many with `RIPSTOP_NIGHTLY=1`.
const NIGHTLY_SEEDS: u64 = 20_000;
/// How many bytes the metadata of a block takes in its record.
const METADATA_BYTES: u64 = 40;
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

/// A chain that is taken back while something befalls the disk, and goes another way then.
fn go_back(seed: u64) {
    let mut numbers = Numbers::new(seed);
    let disk = SimulatedDisk::new(seed);
    let mut chain = Vec::new();
    let store = open(&disk).unwrap();
    for _ in 0..30 {
        chain.push(next(&chain, &mut numbers));
        store.append(Arc::clone(chain.last().unwrap())).unwrap();
    }
    drop(store);
    let kept = 1 + numbers.below(29) as usize;
    let last = BlockNumber::new(kept as u64 - 1);
    let fault = FAULTS[numbers.below(FAULTS.len() as u64) as usize];
    disk.arm(fault, numbers.below(60));
    let done = open(&disk).and_then(|store| store.truncate_after(last));
    assert!(done.is_ok() || disk.has_struck(), "{:?}", done.err());
    disk.make_room();
    let end = if fault == Fault::PowerLoss || numbers.below(2) == 0 { End::Machine } else { End::Process };
    disk.restart(end);
    let store = open(&disk).unwrap_or_else(|error| panic!("after {fault:?} and {end:?}: {error}"));
    assert!((kept..=30).contains(&(store.height() as usize)), "{kept}: {}", store.height());
    assert!(done.is_err() || store.height() as usize == kept, "what was done is undone");
    check(&store, &chain);
    store.truncate_after(last).unwrap();
    chain.truncate(kept);
    let store = open(&disk).unwrap();
    assert_eq!(store.height() as usize, kept);
    // Other blocks than before, where these were.
    for _ in 0..20 {
        chain.push(next(&chain, &mut numbers));
        store.append(Arc::clone(chain.last().unwrap())).unwrap();
    }
    drop(store);
    disk.restart(End::Machine);
    let store = open(&disk).unwrap();
    assert_eq!(store.height() as usize, kept + 20);
    check(&store, &chain);
}

/// A chain of twelve blocks in files of some blocks each.
fn written(disk: &SimulatedDisk, numbers: &mut Numbers) -> Vec<Arc<Block>> {
    let store = open(disk).unwrap();
    let mut chain = Vec::new();
    for _ in 0..12 {
        chain.push(next(&chain, numbers));
        store.append(Arc::clone(chain.last().unwrap())).unwrap();
    }
    chain
}

/// The block files, the last one last.
fn block_files(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let mut files = disk.file_system().list(Path::new(DIRECTORY)).unwrap();
    files.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("blockfile_"));
    files
}

fn read(disk: &SimulatedDisk, path: &Path) -> Vec<u8> {
    let file = disk.file_system().open(path, Access::Read).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn write(disk: &SimulatedDisk, path: &Path, offset: u64, bytes: &[u8]) {
    disk.file_system().open(path, Access::Write).unwrap().write_all_at(bytes, offset).unwrap();
}

/// In half of the cases the locations are gone, as after `peer node rebuild-dbs`.
fn forget_locations_at_times(disk: &SimulatedDisk, numbers: &mut Numbers) {
    if numbers.below(2) == 0 {
        disk.file_system().remove_file(&Path::new(DIRECTORY).join("locations")).unwrap();
    }
}

/// Behind the last whole block a record begins, then come zeros, and what the disk had there before.
fn torn_tail(seed: u64) {
    let (mut numbers, disk) = (Numbers::new(seed), SimulatedDisk::new(seed));
    let mut chain = written(&disk, &mut numbers);
    let following = next(&chain, &mut numbers);
    let content = encode_block(&following);
    let mut tail = Vec::new();
    put_varuint(&mut tail, content.len() as u64);
    tail.extend_from_slice(&content);
    // It ends before the metadata, which no hash covers.
    tail.truncate(numbers.below(tail.len() as u64 - METADATA_BYTES) as usize);
    tail.extend(std::iter::repeat_n(0, numbers.below(600) as usize * numbers.below(2) as usize));
    let garbage = numbers.below(600) * numbers.below(2);
    tail.extend((0..garbage).map(|_| numbers.below(256) as u8));
    let file = block_files(&disk).pop().unwrap();
    let before = read(&disk, &file);
    write(&disk, &file, before.len() as u64, &tail);
    forget_locations_at_times(&disk, &mut numbers);
    let store = open(&disk).unwrap();
    assert_eq!(store.height(), 12);
    check(&store, &chain);
    assert!(read(&disk, &file) == before, "the tail is still there");
    store.append(Arc::clone(&following)).unwrap();
    drop(store);
    chain.push(following);
    let store = open(&disk).unwrap();
    assert_eq!(store.height(), 13);
    check(&store, &chain);
}

/// Bytes in front of the last block are others than were written.
fn damaged_middle(seed: u64) {
    let (mut numbers, disk) = (Numbers::new(seed), SimulatedDisk::new(seed));
    let chain = written(&disk, &mut numbers);
    let files = block_files(&disk);
    let last = encode_block(&chain[11]).len() as u64 + 3;
    let file = &files[numbers.below(files.len() as u64) as usize];
    let mut content = read(&disk, file);
    let front = content.len() as u64 - if Some(file) == files.last() { last.min(content.len() as u64) } else { 0 };
    let damage: Vec<u8> = match numbers.below(3) {
        0 => vec![0; 1 + numbers.below(20) as usize],
        1 => vec![0xff; 1 + numbers.below(20) as usize],
        _ => (0..=numbers.below(20)).map(|_| numbers.below(256) as u8).collect(),
    };
    // At the beginning of a record more often than elsewhere.
    let place = if numbers.below(2) == 0 { 0 } else { numbers.below(front.max(1)) } as usize;
    if place + damage.len() > front as usize {
        return;
    }
    write(&disk, file, place as u64, &damage);
    content[place..place + damage.len()].copy_from_slice(&damage);
    forget_locations_at_times(&disk, &mut numbers);
    match open(&disk) {
        // Not seen: no hash covers metadata, and where the locations are only the end is looked at.
        Ok(store) => assert_eq!(store.height(), 12, "blocks are gone"),
        Err(error) => assert!(matches!(error, BlockStoreError::Damaged { .. }), "{error}"),
    }
    assert!(read(&disk, file) == content, "the file was changed");
}

#[test]
fn nothing_acknowledged_is_lost_whatever_befalls_the_disk() {
    every_seed(SEEDS, NIGHTLY_SEEDS, live);
}

#[test]
fn going_back_is_safe_at_every_step_whatever_befalls_the_disk() {
    every_seed(SEEDS, NIGHTLY_SEEDS, go_back);
}

#[test]
fn whatever_stands_behind_the_last_whole_block_is_removed() {
    every_seed(SEEDS, NIGHTLY_SEEDS, torn_tail);
}

#[test]
fn damage_in_front_of_the_last_block_costs_no_block() {
    every_seed(SEEDS, NIGHTLY_SEEDS, damaged_middle);
}
