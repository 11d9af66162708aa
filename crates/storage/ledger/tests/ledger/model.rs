//! Random chains of private writes, deletes, purges and metadata, compared with a model that fits on a page, and a ledger that
//! gets its private data late with one that gets it in time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ripstop_ledger::{Absence, Ledger, PrivateData, PrivatePlace, PrivateSet, StateView};
use ripstop_rwset::{RwSetBuilder, TxPrivateRwSet, TxRwSet};
use ripstop_types::{BlockNumber, Digest, Height, ValidationCode};

use crate::chain::{VALID, next_block, transaction};
use crate::private::Disk;

/// `short` lives for one block, `long` for ever.
const COLLECTIONS: [&str; 2] = ["short", "long"];
const KEYS: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone, Copy)]
enum Action {
    Write(u8),
    Delete,
    Purge,
    /// Of `long` only: a value that was renewed by metadata outlives its private writes on disk, in Fabric too, so a state
    /// that is rebuilt between the two ends lacks it.
    Metadata(u8),
}

#[derive(Debug, Clone)]
struct Transaction {
    collection: &'static str,
    key: &'static str,
    action: Action,
    is_valid: bool,
    /// Whether the late ledger has its private writes in time.
    is_here: bool,
}

impl Transaction {
    fn build(&self) -> (TxRwSet, TxPrivateRwSet) {
        let Self { collection, key, action, .. } = self;
        let mut set = RwSetBuilder::new();
        match action {
            Action::Write(value) => set.private_write("cc", collection, key, vec![*value + 1].into()),
            Action::Delete => set.private_write("cc", collection, key, vec![].into()),
            Action::Purge => set.private_purge("cc", collection, key),
            Action::Metadata(value) => {
                let entries = BTreeMap::from([("name".to_owned(), vec![*value].into())]);
                set.private_write_metadata("cc", "long", key, entries);
            }
        }
        let (public, private) = set.build();
        (public, private.unwrap())
    }

    fn collection(&self) -> &'static str {
        if matches!(self.action, Action::Metadata(_)) { "long" } else { self.collection }
    }
}

/// Some transactions, and how many of the missing sets come after them.
#[derive(Debug, Clone)]
struct Round {
    transactions: Vec<Transaction>,
    arrivals: usize,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let action = prop_oneof![
        4 => (0..3u8).prop_map(Action::Write),
        1 => Just(Action::Delete),
        1 => Just(Action::Purge),
        2 => (0..3u8).prop_map(Action::Metadata),
    ];
    let names = (prop::sample::select(&COLLECTIONS[..]), prop::sample::select(&KEYS[..]));
    let transaction = (names, action, prop::bool::weighted(0.8), any::<bool>()).prop_map(
        |((collection, key), action, is_valid, is_here)| Transaction { collection, key, action, is_valid, is_here },
    );
    let round = (prop::collection::vec(transaction, 0..4), 0..3usize)
        .prop_map(|(transactions, arrivals)| Round { transactions, arrivals });
    prop::collection::vec(round, 1..10)
}

type Name = (&'static str, &'static str);

/// What a key holds when all private data is there: value and version.
#[derive(Default)]
struct Model(Values<u8>);

impl Model {
    fn block(&mut self, number: u64, transactions: &[Transaction]) {
        let mut touched = BTreeSet::new();
        for (tx, transaction) in (0..).zip(transactions).filter(|(_, transaction)| transaction.is_valid) {
            let name = (transaction.collection(), transaction.key);
            let version = Height::new(BlockNumber::new(number), tx);
            touched.insert(name);
            match transaction.action {
                Action::Write(value) => drop(self.0.insert(name, (value + 1, version))),
                Action::Delete | Action::Purge => drop(self.0.remove(&name)),
                Action::Metadata(_) => {
                    if let Some(found) = self.0.get_mut(&name) {
                        found.1 = version;
                    }
                }
            }
        }
        self.0.retain(|name, (_, version)| {
            name.0 != "short" || touched.contains(name) || version.block.get() + 2 > number
        });
    }
}

/// Values or their hashes, with versions.
type Values<V> = BTreeMap<Name, (V, Height)>;

/// The hashes and clear values of a ledger.
fn state(ledger: &Ledger) -> (Values<Digest>, Values<u8>) {
    let state = ledger.snapshot();
    let (mut hashes, mut clear) = (BTreeMap::new(), BTreeMap::new());
    for name in COLLECTIONS.into_iter().flat_map(|collection| KEYS.map(|key| (collection, key))) {
        let hash = state.hashed("cc", name.0, Digest::of(name.1.as_bytes()).as_bytes()).unwrap();
        if let Some(found) = hash {
            let hash = Digest::new(<[u8; 32]>::try_from(found.value.as_ref()).unwrap());
            hashes.insert(name, (hash, found.version));
        }
        if let Some(found) = state.private("cc", name.0, name.1).unwrap() {
            clear.insert(name, (found.value[0], found.version));
        }
    }
    (hashes, clear)
}

fn commit(ledger: &Ledger, round: &Round, built: &[(TxRwSet, TxPrivateRwSet)], all: bool) {
    let number = ledger.height();
    let code = |is_valid| if is_valid { VALID } else { ValidationCode::MvccReadConflict };
    let raw = (0..)
        .zip(built)
        .zip(&round.transactions)
        .map(|((tx, (public, _)), transaction)| (transaction_of(number, tx, public), code(transaction.is_valid)));
    let raw: Vec<_> = raw.collect();
    let writes = (0..).zip(built).zip(&round.transactions);
    let writes = writes.filter(|(_, transaction)| all || transaction.is_here);
    let writes: BTreeMap<u64, _> = writes.map(|((tx, (_, private)), _)| (tx, private.clone())).collect();
    ledger.commit(next_block(ledger, &raw), PrivateData::from(writes)).unwrap();
}

fn transaction_of(block: u64, tx: u64, public: &TxRwSet) -> bytes::Bytes {
    transaction(&format!("tx{block}.{tx}"), public)
}

fn missing(ledger: &Ledger) -> Vec<PrivatePlace> {
    ledger.missing_private_data(Absence::Missing, BlockNumber::new(u64::MAX), usize::MAX).unwrap()
}

fn check(rounds: &[Round]) {
    let (in_time, mut late) = (Disk::new(), Disk::new());
    let mut model = Model::default();
    let mut sets: BTreeMap<PrivatePlace, PrivateSet> = BTreeMap::new();
    let arrive = |ledger: &Ledger, sets: &BTreeMap<PrivatePlace, PrivateSet>, count: usize| {
        let arrived = missing(ledger).iter().take(count).map(|place| sets[place].clone()).collect();
        assert_eq!(ledger.accept_private_data(arrived, &[]).unwrap(), []);
    };
    for round in rounds {
        let number = late.ledger().height();
        let built: Vec<_> = round.transactions.iter().map(Transaction::build).collect();
        for (tx, (_, private)) in (0..).zip(&built) {
            let ns = &private.namespaces[0];
            let collection = ns.collections[0].collection.clone();
            let place = PrivatePlace { block: BlockNumber::new(number), tx, namespace: "cc".to_owned(), collection };
            sets.insert(place.clone(), PrivateSet { place, writes: ns.collections[0].clone() });
        }
        commit(&in_time.ledger(), round, &built, true);
        commit(&late.ledger(), round, &built, false);
        model.block(number, &round.transactions);

        let (hashes, clear) = state(&in_time.ledger());
        assert_eq!(clear, model.0);
        let hash = |(value, version): &(u8, Height)| (Digest::of(&[*value]), *version);
        assert_eq!(hashes, clear.iter().map(|(name, found)| (*name, hash(found))).collect());
        arrive(&late.ledger(), &sets, round.arrivals);
        let (late_hashes, late_clear) = state(&late.ledger());
        assert_eq!(late_hashes, hashes, "hashes do not depend on what is here");
        for (name, found) in &late_clear {
            let expected = hashes.get(name).filter(|(_, version)| *version == found.1);
            assert!(expected.is_none_or(|expected| *expected == hash(found)), "a value under the version of another");
        }
    }
    let before = state(&late.ledger());
    late.rebuild();
    assert_eq!(state(&late.ledger()), before, "the same, rebuilt");
    arrive(&late.ledger(), &sets, usize::MAX);
    assert_eq!(missing(&late.ledger()), []);
    assert_eq!(state(&late.ledger()), state(&in_time.ledger()), "in the end nothing is late");
    for block in 0..late.ledger().height() {
        let [late, in_time] = [late.ledger(), in_time.ledger()]
            .map(|ledger| ledger.private_data(BlockNumber::new(block), |_, _| true).unwrap());
        assert_eq!(late, in_time);
    }
    late.rebuild();
    assert_eq!(state(&late.ledger()), state(&in_time.ledger()), "the same, rebuilt");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn private_data_does_what_the_model_says_in_time_and_late(rounds in rounds()) {
        check(&rounds);
    }
}
