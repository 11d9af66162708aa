//! A ledger on a disk that loses power, fills up and fails, against one whose disk does not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_files::{Access, End, Fault, Numbers, SimulatedDisk, every_seed};
use ripstop_ledger::{CommitError, Entries, Ledger, LedgerContents, LedgerOptions, Ledgers, PrivateData};
use ripstop_rwset::{RwSetBuilder, TxPrivateRwSet};
use ripstop_types::{Block, ValidationCode};
use ripstop_validation::ValidatedBlock;

use crate::chain::{VALID, channel, configuration, light_genesis, next_block, only, transaction};
use crate::expiry::definition;
use crate::private::{accept, block};

/// How many disks are tried.
const SEEDS: u64 = 300;
/// How many with `RIPSTOP_NIGHTLY=1`.
const NIGHTLY_SEEDS: u64 = 5_000;
/// How often each disk fails.
const ROUNDS: usize = 5;
/// A fault strikes after at most so many operations that it can befall: some blocks, or in the middle of opening.
const MOST_OPERATIONS: u64 = 60;
/// At most this many blocks are committed in a row.
const MOST_BLOCKS: u64 = 10;
/// At most this many of them are committed together.
const MOST_TOGETHER: u64 = 6;
const FAULTS: [Fault; 6] =
    [Fault::PowerLoss, Fault::Kill, Fault::Full, Fault::WriteError, Fault::SyncError, Fault::ReadError];
/// How many chains lose the end of their state, each [`LAGS`] times.
const LAG_SEEDS: u64 = 60;
const LAGS: usize = 4;
/// How long such a chain becomes at most.
const CHAIN: usize = 25;
const ROOT: &str = "/ledgers";

fn open(disk: &SimulatedDisk) -> Result<Ledgers, ripstop_ledger::OpenError> {
    Ledgers::open_on(&disk.file_system(), Path::new(ROOT), LedgerOptions::default())
}

/// The chain as it is without accidents, made as it goes on.
struct Reference {
    ledger: Arc<Ledger>,
    _ledgers: Ledgers,
    blocks: Vec<(Block, PrivateData)>,
    /// After each block, the first included.
    contents: Vec<LedgerContents>,
}

impl Reference {
    fn begin() -> Self {
        let ledgers = open(&SimulatedDisk::new(0)).unwrap();
        let ledger = ledgers.create(light_genesis()).unwrap();
        let contents = vec![ledger.contents().unwrap()];
        Self { ledger, _ledgers: ledgers, blocks: vec![(light_genesis(), PrivateData::default())], contents }
    }

    /// The block of a number, and what private data comes with it.
    fn block(&mut self, number: u64, numbers: &mut Numbers) -> (Block, PrivateData) {
        while self.blocks.len() as u64 <= number {
            let (transactions, private) = content(self.blocks.len() as u64, numbers);
            let block = next_block(&self.ledger, &transactions);
            self.blocks.push((block.block().clone(), private.clone()));
            self.ledger.commit(block, private).unwrap();
            self.contents.push(self.ledger.contents().unwrap());
        }
        self.blocks[number as usize].clone()
    }

    /// Whether a ledger is what it should be at its height, with private data of a block that did not come to be, perhaps.
    fn check(&mut self, ledger: &Ledger, numbers: &mut Numbers) {
        self.compare(ledger.contents().unwrap(), numbers);
    }

    fn compare(&mut self, mut found: LedgerContents, numbers: &mut Numbers) {
        let height = found.height() as usize;
        self.block(found.height() + MOST_TOGETHER, numbers);
        // Private data comes before its block; what expires with blocks goes when they are safe, but not visible yet.
        let (before, behind) = (&self.contents[height - 1].private, &self.contents[height..]);
        let is_safe = behind.iter().take(MOST_TOGETHER as usize).any(|contents| found.private == contents.private);
        if is_safe || found.private == together(before, &behind[0].private) {
            found.private.clone_from(before);
        }
        let differences = self.contents[height - 1].differences(&found);
        assert!(differences.is_empty(), "at height {height}:\n{}", differences.join("\n"));
    }
}

/// All entries of either, as they are in the later ones where both have them.
fn together(before: &Entries, behind: &Entries) -> Entries {
    let mut all = before.clone();
    for (keyspace, entries) in behind {
        all.entry(keyspace).or_default().extend(entries.clone());
    }
    all
}

type Transactions = Vec<(Bytes, ValidationCode)>;

/// What stands in a block: changes of few keys, of all kinds.
fn content(number: u64, numbers: &mut Numbers) -> (Transactions, PrivateData) {
    if number == 1 {
        return (vec![(transaction("define", &definition()), VALID)], PrivateData::default());
    }
    if numbers.below(12) == 0 {
        return (vec![(configuration(number), VALID)], PrivateData::default());
    }
    let mut transactions = Transactions::new();
    let mut private = BTreeMap::new();
    for place in 0..=numbers.below(3) {
        let mut set = RwSetBuilder::new();
        for _ in 0..=numbers.below(3) {
            let key = format!("key{}", numbers.below(6));
            let value = || Bytes::from(format!("{number}/{place}").repeat(20));
            match numbers.below(8) {
                0..3 => set.write("cc", &key, value()),
                3 => set.write("cc", &key, Bytes::new()),
                4 => set.write_metadata("cc", &key, [("VALIDATION_PARAMETER".to_owned(), value())].into()),
                5 => set.private_write("cc", numbers.one_of(&["long", "short"]), &key, value()),
                6 => set.private_write("_lifecycle", "_implicit_org_Org1MSP", &key, value()),
                _ => set.private_write("_lifecycle", "_implicit_org_Org1MSP", &key, Bytes::new()),
            }
        }
        let (public, clear): (_, Option<TxPrivateRwSet>) = set.build();
        let code = if numbers.below(5) == 0 { ValidationCode::MvccReadConflict } else { VALID };
        transactions.push((transaction(&format!("tx{number}-{place}"), &public), code));
        // Now and then this peer does not get to know.
        let known = code == VALID && numbers.below(6) > 0;
        private.extend(clear.filter(|_| known).map(|clear| (place, clear)));
    }
    (transactions, private.into())
}

/// Commits until something goes wrong, or for some blocks, one by one and several together. Returns the height up to which
/// blocks were acknowledged.
fn grow(ledger: &Ledger, disk: &SimulatedDisk, reference: &mut Reference, numbers: &mut Numbers) -> u64 {
    let mut left = numbers.below(MOST_BLOCKS);
    while left > 0 {
        let count = (1 + numbers.below(MOST_TOGETHER)).min(left);
        left -= count;
        let height = ledger.height();
        match grow_together(ledger, count, reference, numbers) {
            Ok(()) => assert_eq!(ledger.height(), height + count),
            // Verdicts need reading, which may fail; then nothing is decided, and the block may be tried again.
            Err(Trouble::Undecided) => assert!(disk.has_struck()),
            Err(Trouble::Commit(error)) => {
                assert!(disk.has_struck(), "{error}");
                assert!(ledger.height() < height + count);
                // Later ones are refused, and nothing is asked of the disk for it.
                assert!(matches!(ledger.group().err(), Some(CommitError::Failed(_))));
                return ledger.height();
            }
        }
    }
    ledger.height()
}

enum Trouble {
    Undecided,
    Commit(CommitError),
}

/// Commits blocks together. What was visible before one that cannot be decided stays so.
fn grow_together(ledger: &Ledger, count: u64, reference: &mut Reference, numbers: &mut Numbers) -> Result<(), Trouble> {
    let mut group = ledger.group().map_err(Trouble::Commit)?;
    for _ in 0..count {
        let (block, private) = reference.block(group.state().height(), numbers);
        let Ok(validated) = ValidatedBlock::replay(block, &group.state()) else {
            group.finish().map_err(Trouble::Commit)?;
            return Err(Trouble::Undecided);
        };
        group.add(validated, &private).map_err(Trouble::Commit)?;
    }
    group.finish().map(|_| ()).map_err(Trouble::Commit)
}

fn states_set_aside(disk: &SimulatedDisk) -> usize {
    let ledger = Path::new(ROOT).join(channel().as_str());
    let system = disk.file_system();
    match system.exists(&ledger).unwrap() {
        true => {
            system.list(&ledger).unwrap().iter().filter(|path| path.to_string_lossy().contains(".unusable")).count()
        }
        false => 0,
    }
}

/// One disk, through all its accidents.
fn live(seed: u64) {
    let mut numbers = Numbers::new(seed);
    let numbers = &mut numbers;
    let disk = SimulatedDisk::new(seed);
    let mut reference = Reference::begin();
    let mut acknowledged = 0;
    for _ in 0..ROUNDS {
        let fault = numbers.one_of(&FAULTS);
        let unusable = states_set_aside(&disk);
        disk.arm(fault, numbers.below(MOST_OPERATIONS));
        match open(&disk).map_err(|error| error.to_string()).and_then(|ledgers| {
            if ledgers.list().is_empty() {
                ledgers.create(light_genesis()).map_err(|error| error.to_string())?;
            }
            Ok(ledgers)
        }) {
            Ok(ledgers) => {
                let ledger = only(&ledgers);
                assert!(ledger.height() >= acknowledged, "{} of {acknowledged} blocks", ledger.height());
                acknowledged = grow(&ledger, &disk, &mut reference, numbers);
                // Whatever went wrong: what is answered is right.
                if let Ok(contents) = ledger.contents() {
                    assert_eq!(contents.height(), acknowledged);
                    reference.compare(contents, numbers);
                } else {
                    assert!(disk.has_struck());
                }
            }
            Err(error) => assert!(disk.has_struck(), "{error}"),
        }
        disk.make_room();
        let end = if fault == Fault::PowerLoss || numbers.below(3) == 0 { End::Machine } else { End::Process };
        disk.restart(end);
        if fault == Fault::ReadError {
            assert!(states_set_aside(&disk) <= unusable, "a read failed, and a good state was thrown away");
        }
        let ledgers = open(&disk).unwrap_or_else(|error| panic!("after {fault:?} and {end:?}: {error}"));
        if acknowledged == 0 && ledgers.list().is_empty() {
            continue;
        }
        let ledger = only(&ledgers);
        assert!(ledger.height() >= acknowledged, "{} of {acknowledged}, {fault:?} {end:?}", ledger.height());
        acknowledged = ledger.height();
        reference.check(&ledger, numbers);
        drop((ledger, ledgers));
        // What an opened ledger shows is acknowledged, even if the machine goes off now.
        disk.restart(if numbers.below(2) == 0 { End::Machine } else { End::Process });
    }
}

/// A chain with all kinds of content, also private data that comes late or never. Except for purges: what is purged is
/// erased only when the state is safe on disk, so no state lags behind that.
fn grow_with_everything(ledger: &Ledger, numbers: &mut Numbers) {
    let mut late = Vec::new();
    for _ in 0..CHAIN {
        let key = format!("key{}", numbers.below(6));
        let collection = numbers.one_of(&["long", "short"]);
        match numbers.below(6) {
            _ if ledger.height() == 1 => commit_content(ledger, numbers),
            0 => late.push(block(ledger, VALID, false, |set| set.private_write("cc", collection, &key, "late".into()))),
            1 if !late.is_empty() => {
                accept(ledger, &[&late.swap_remove(numbers.below(late.len() as u64) as usize)]);
            }
            _ => commit_content(ledger, numbers),
        }
    }
}

fn commit_content(ledger: &Ledger, numbers: &mut Numbers) {
    let (transactions, private) = content(ledger.height(), numbers);
    ledger.commit(next_block(ledger, &transactions), private).unwrap();
}

/// The state loses its last batches: some, or all.
fn lag(seed: u64) {
    let mut numbers = Numbers::new(seed);
    let disk = SimulatedDisk::new(seed);
    let ledgers = open(&disk).unwrap();
    let ledger = ledgers.create(light_genesis()).unwrap();
    grow_with_everything(&ledger, &mut numbers);
    drop((ledger, ledgers));
    let expected = only(&open(&disk).unwrap()).contents().unwrap();
    let journal = Path::new(ROOT).join(channel().as_str()).join("state/journal");
    for _ in 0..LAGS {
        let file = disk.file_system().open(&journal, Access::Write).unwrap();
        let length = numbers.below(file.length().unwrap());
        file.set_length(length).unwrap();
        let differences = expected.differences(&only(&open(&disk).unwrap()).contents().unwrap());
        assert!(differences.is_empty(), "cut to {length} bytes:\n{}", differences.join("\n"));
        assert_eq!(states_set_aside(&disk), 0, "the state was continued, not rebuilt");
    }
}

#[test]
fn a_state_that_lost_its_last_batches_comes_to_the_same() {
    every_seed(LAG_SEEDS, NIGHTLY_SEEDS, lag);
}

#[test]
fn whatever_befalls_the_disk_a_ledger_is_right_or_stops() {
    every_seed(SEEDS, NIGHTLY_SEEDS, live);
}
