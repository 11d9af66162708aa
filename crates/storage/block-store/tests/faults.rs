//! Block files on a disk that loses power, fills up and fails: what was acknowledged is there, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_block_store::{BlockStore, BlockStoreError, BlockStoreOptions, encode_block};
use ripstop_files::{Access, End, Fault, Numbers, SimulatedDisk, every_seed};
use ripstop_proto::common;
use ripstop_types::{Block, BlockNumber, MetadataSlot, put_varuint};

const OPTIONS: BlockStoreOptions = BlockStoreOptions { max_file_bytes: 20_000 };
const DIRECTORY: &str = "/ledger/blocks";
/// How many disks are tried.
const SEEDS: u64 = 400;
/// How many with `RIPSTOP_NIGHTLY=1`.
const NIGHTLY_SEEDS: u64 = 20_000;
/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// How often each disk fails.
const ROUNDS: u64 = 6;
const FAULTS: [Fault; 6] =
    [Fault::PowerLoss, Fault::Kill, Fault::Full, Fault::WriteError, Fault::SyncError, Fault::ReadError];

/// The next block, with up to some pages of data, as a peer or an orderer keeps it.
fn next(chain: &[Arc<Block>], numbers: &mut Numbers) -> Arc<Block> {
    let size = numbers.below(3000) as usize;
    let filler = numbers.below(255) as u8 + 1;
    let keeper = numbers.one_of(&KEEPERS);
    let random: Vec<u8> = (0..64).map(|_| numbers.below(256) as u8).collect();
    Arc::new(block(chain.last(), &vec![filler; size], keeper, &random))
}

/// Whose block it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// A peer's block ends with its commit hash.
    Peer,
    /// An orderer's ends with three empty elements.
    Orderer,
    /// And with four where the last configuration is block 0.
    OrdererOfFirstConfig,
}

const KEEPERS: [Keeper; 3] = [Keeper::Peer, Keeper::Orderer, Keeper::OrdererOfFirstConfig];

fn block(before: Option<&Arc<Block>>, data: &[u8], keeper: Keeper, random: &[u8]) -> Block {
    let number = before.map_or(BlockNumber::GENESIS, |block| block.number().next());
    let previous = before.map(|block| block.header.hash().to_bytes()).unwrap_or_default();
    let data = vec![Bytes::copy_from_slice(data), Bytes::from_static(b"transaction")];
    let mut block = Block::new(number, previous, data);
    // What a hash or a signature ends with: zero once in 256, and then nobody can tell.
    let ended = |random: &[u8]| Bytes::from([random, b"."].concat());
    let signature = common::MetadataSignature {
        // The nonce is the orderer's to choose.
        signature_header: [b"certificate".repeat(50).as_slice(), &[0; 24]].concat().into(),
        signature: ended(random),
        ..Default::default()
    };
    let value = Bytes::from_static(b"value");
    let signatures = common::Metadata { value, signatures: vec![signature] };
    block.metadata.set(MetadataSlot::Signatures, signatures.encode_to_vec().into());
    if keeper != Keeper::OrdererOfFirstConfig {
        block.metadata.set(MetadataSlot::LastConfig, Bytes::from_static(b"\x0a\x02\x08\x07"));
    }
    if keeper == Keeper::Peer {
        // All transactions are valid, many more than these.
        block.metadata.set(MetadataSlot::TransactionsFilter, vec![0; 1500].into());
        let hash = common::Metadata { value: ended(&random[..31]), signatures: vec![] };
        block.metadata.set(MetadataSlot::CommitHash, hash.encode_to_vec().into());
    }
    block
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

fn written_into_three_files(disk: &SimulatedDisk, store: &BlockStore, numbers: &mut Numbers) -> Vec<Arc<Block>> {
    let mut chain = Vec::new();
    while block_files(disk).len() < 3 {
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

fn record(block: &Block) -> Vec<u8> {
    let content = encode_block(block);
    let mut record = Vec::new();
    put_varuint(&mut record, content.len() as u64);
    record.extend_from_slice(&content);
    record
}

/// What a disk has of the locations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locations {
    /// All of them.
    Kept,
    /// None, as after a loss of power soon after the store was opened.
    Unwritten,
    /// Not even the file, as after `peer node rebuild-dbs`.
    Removed,
}

/// A disk with block files.
fn disk_of(files: &[&[u8]]) -> SimulatedDisk {
    let disk = SimulatedDisk::new(0);
    drop(open(&disk).unwrap());
    for (number, content) in files.iter().enumerate() {
        let path = Path::new(DIRECTORY).join(format!("blockfile_{number:06}"));
        let file = disk.file_system().open(&path, Access::Create).unwrap();
        file.write_all_at(content, 0).unwrap();
    }
    disk
}

/// The disk with a chain in one file, and what is left of its locations.
fn disk_of_chain(chain: &[Arc<Block>], locations: Locations) -> SimulatedDisk {
    let content: Vec<u8> = chain.iter().flat_map(|block| record(block)).collect();
    let disk = disk_of(&[&content]);
    match locations {
        Locations::Kept => drop(open(&disk).unwrap()),
        Locations::Unwritten => {}
        Locations::Removed => disk.file_system().remove_file(&Path::new(DIRECTORY).join("locations")).unwrap(),
    }
    disk
}

/// Two blocks of which the second ends anywhere in a sector.
fn every_end() -> impl Iterator<Item = Vec<Arc<Block>>> {
    KEEPERS.into_iter().flat_map(|keeper| {
        (0..SECTOR).map(move |size| {
            let random: Vec<u8> = (0..64).map(|place| (size * 31 + place * 7) as u8).collect();
            let first = Arc::new(block(None, b"data", keeper, &random));
            let second = Arc::new(block(Some(&first), &vec![1; size], keeper, &random));
            vec![first, second]
        })
    })
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
    let mut tail = record(&following);
    // It ends before the metadata, which no hash covers.
    let metadata: usize = following.metadata.elements().iter().map(Bytes::len).sum();
    tail.truncate(numbers.below((tail.len() - metadata) as u64 - 20) as usize);
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

#[test]
fn whole_blocks_stay_wherever_in_a_sector_they_end() {
    for mut chain in every_end() {
        for locations in [Locations::Kept, Locations::Unwritten, Locations::Removed] {
            let store = open(&disk_of_chain(&chain, locations)).unwrap();
            assert_eq!(store.height(), 2, "{locations:?}");
            check(&store, &chain);
        }
        // And with others behind them.
        chain.push(Arc::new(block(chain.last(), b"data", Keeper::Peer, &[1; 64])));
        let store = open(&disk_of_chain(&chain, Locations::Removed)).unwrap();
        assert_eq!(store.height(), 3);
        check(&store, &chain);
    }
}

#[test]
fn a_block_of_which_a_sector_was_lost_is_removed_unless_it_lost_nothing() {
    for chain in every_end() {
        let (begin, whole) = (record(&chain[0]).len(), [record(&chain[0]), record(&chain[1])].concat());
        // A sector with a part of the block before was on disk already; what came to it since is gone.
        let sectors = (begin / SECTOR..whole.len().div_ceil(SECTOR)).map(|sector| (sector * SECTOR).max(begin));
        for (from, locations) in sectors.flat_map(|from| [Locations::Unwritten, Locations::Removed].map(|l| (from, l)))
        {
            let mut content = whole.clone();
            let to = (from / SECTOR * SECTOR + SECTOR).min(content.len());
            content[from..to].fill(0);
            let disk = disk_of(&[&content]);
            if locations == Locations::Removed {
                disk.file_system().remove_file(&Path::new(DIRECTORY).join("locations")).unwrap();
            }
            let store = open(&disk).unwrap();
            let expected = if content == whole { 2 } else { 1 };
            assert_eq!(store.height(), expected, "{locations:?}: bytes {from} to {to} of {}", whole.len());
            check(&store, &chain);
        }
    }
}

#[test]
fn a_store_that_has_an_entry_for_its_last_block_believes_it() {
    // A nonce of a thousand zeros is as good as any other.
    let mut last = block(None, b"data", Keeper::Peer, &[1; 64]);
    let signature = common::MetadataSignature { signature_header: vec![0; 1100].into(), ..Default::default() };
    let signatures = common::Metadata { value: Bytes::new(), signatures: vec![signature] };
    last.metadata.set(MetadataSlot::Signatures, signatures.encode_to_vec().into());
    let chain = [Arc::new(last)];
    let disk = SimulatedDisk::new(0);
    open(&disk).unwrap().append(Arc::clone(&chain[0])).unwrap();
    for _ in 0..2 {
        let store = open(&disk).unwrap();
        assert_eq!(store.height(), 1);
        check(&store, &chain);
    }
}

#[test]
fn blocks_that_were_safe_and_are_gone_are_an_error_that_lasts() {
    let (mut numbers, disk) = (Numbers::new(1), SimulatedDisk::new(1));
    let chain = written(&disk, &mut numbers);
    let file = block_files(&disk).pop().unwrap();
    let content = read(&disk, &file);
    let last = record(&chain[11]).len();
    for cut in [last, content.len()] {
        let shortened = disk.file_system().open(&file, Access::Write).unwrap();
        shortened.set_length((content.len() - cut) as u64).unwrap();
        for _ in 0..2 {
            let refused = open(&disk).err().unwrap();
            assert!(matches!(refused, BlockStoreError::Lost { safe: 12, .. }), "{refused}");
        }
        assert!(open(&disk).err().unwrap().to_string().contains("blocks up to 11 had been written safely"));
    }
    write(&disk, &file, 0, &content);
    check(&open(&disk).unwrap(), &chain);
}

#[test]
fn a_missing_block_file_is_an_error_that_names_it() {
    let (mut numbers, disk) = (Numbers::new(1), SimulatedDisk::new(1));
    let chain = written_into_three_files(&disk, &open(&disk).unwrap(), &mut numbers);
    let files = block_files(&disk);
    // Other files do not count, whatever they are called.
    let other = Path::new(DIRECTORY).join("blockfile_000009.old");
    disk.file_system().open(&other, Access::CreateNew).unwrap();
    check(&open(&disk).unwrap(), &chain);
    for missing in &files[..files.len() - 1] {
        let content = read(&disk, missing);
        disk.file_system().remove_file(missing).unwrap();
        for _ in 0..2 {
            let refused = open(&disk).err().unwrap();
            assert!(matches!(&refused, BlockStoreError::NoFile(path) if path == missing), "{refused}");
            forget_locations_at_times(&disk, &mut numbers);
        }
        disk.file_system().open(missing, Access::CreateNew).unwrap().write_all_at(&content, 0).unwrap();
    }
    check(&open(&disk).unwrap(), &chain);
}

#[test]
fn a_file_that_is_begun_has_nothing_of_a_stale_one() {
    let (mut numbers, disk) = (Numbers::new(1), SimulatedDisk::new(1));
    let store = open(&disk).unwrap();
    let stale = Path::new(DIRECTORY).join("blockfile_000001");
    disk.file_system().open(&stale, Access::CreateNew).unwrap().write_all_at(&[7; 30_000], 0).unwrap();
    let chain = written_into_three_files(&disk, &store, &mut numbers);
    drop(store);
    let store = open(&disk).unwrap();
    assert_eq!(store.height() as usize, chain.len());
    check(&store, &chain);
}
