//! Private data of blocks before the snapshot with which a ledger begins.

use std::fs;

use ripstop_ledger::{Absence, Ledger, PrivateData, PrivatePlace, PrivateSet, Rejection, Unproven};
use ripstop_lifecycle::implicit_collection_config;
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_rwset::RwSetBuilder;
use ripstop_types::{Block, BlockNumber, MspId};
use ripstop_validation::ValidatedBlock;

use crate::chain::{VALID, commit, genesis, next_block, transaction};
use crate::expiry::definition_with;
use crate::private::{accept, block, keys};
use crate::snapshots::{Peer, org1};

/// A peer whose chaincode has the collections `open` and `short` (for three blocks) of the organization that joins, and
/// `closed` of another.
fn peer() -> Peer {
    let peer = Peer::empty();
    let ledger = peer.ledgers.create(genesis()).unwrap();
    let other = MspId::new("Org2MSP");
    let collections = [("open", &org1(), 0), ("short", &org1(), 3), ("closed", &other, 0)].map(
        |(name, organization, block_to_live)| StaticCollectionConfig {
            name: name.to_owned(),
            block_to_live,
            ..implicit_collection_config(organization)
        },
    );
    commit(&ledger, &[(transaction("define", &definition_with(&collections)), VALID)]);
    peer
}

type Entries<'a> = &'a [(&'a str, &'static str)];

fn fill(set: &mut RwSetBuilder, collection: &str, entries: Entries<'_>) {
    entries.iter().for_each(|(key, value)| set.private_write("cc", collection, key, (*value).into()));
}

/// Commits a block that writes keys; those without a value are deleted.
fn write(ledger: &Ledger, collection: &str, entries: Entries<'_>) -> PrivateSet {
    block(ledger, VALID, true, |set| fill(set, collection, entries))
}

fn purge(ledger: &Ledger, key: &str) -> PrivateSet {
    block(ledger, VALID, true, |set| set.private_purge("cc", "open", key))
}

/// Commits the blocks that another ledger has, with all private data.
fn follow(new: &Ledger, old: &Ledger) {
    for number in (new.height()..old.height()).map(BlockNumber::new) {
        let block = Block::clone(&old.block(number).unwrap().unwrap());
        let validated = ValidatedBlock::replay(block, &*new.snapshot()).unwrap();
        new.commit(validated, PrivateData::from(old.private_data(number, |_, _| true).unwrap())).unwrap();
    }
}

/// Where sets are missing: block and collection.
fn missing(ledger: &Ledger, absence: Absence) -> Vec<String> {
    let missing = ledger.missing_private_data(absence, BlockNumber::new(u64::MAX), 100).unwrap();
    missing.iter().map(|PrivatePlace { block, collection, .. }| format!("{block} {collection}")).collect()
}

/// All clear values with their versions.
fn clear(ledger: &Ledger) -> Vec<String> {
    let of = |collection| ledger.snapshot().private_range_owned("cc", collection, "", "").unwrap();
    ["open", "short"].into_iter().flat_map(of).map(|found| format!("{:?}", found.unwrap())).collect()
}

/// The peer after its state was lost.
fn rebuilt(peer: Peer) -> Peer {
    fs::remove_dir_all(peer.directory().join("state")).unwrap();
    peer.restart()
}

#[test]
fn only_what_the_hashes_of_a_snapshot_prove_is_taken() {
    let old = peer();
    let ledger = old.ledger();
    let overwritten = write(&ledger, "open", &[("a", "1"), ("b", "1"), ("d", "1")]);
    let live = write(&ledger, "open", &[("a", "2"), ("c", "1")]);
    let delete = write(&ledger, "open", &[("b", "")]);
    write(&ledger, "closed", &[("k", "1")]);
    let purged = write(&ledger, "open", &[("p", "1")]);
    purge(&ledger, "p");
    let new = Peer::join(&old.snapshot());
    let joined = new.ledger();
    assert_eq!(missing(&joined, Absence::Missing), ["3 open", "2 open"]);
    assert_eq!(missing(&joined, Absence::Ineligible), ["5 closed"]);

    let reason = |set: &PrivateSet| accept(&joined, &[set]).first().map(|rejected| rejected.reason);
    let wrong = |entries: Entries<'_>| {
        let mut builder = RwSetBuilder::new();
        fill(&mut builder, "open", entries);
        let writes = builder.build().1.map(|set| set.namespaces[0].collections[0].clone());
        reason(&PrivateSet { place: live.place.clone(), writes: writes.unwrap_or_default() })
    };
    assert_eq!(wrong(&[("a", "2"), ("c", "9")]), Some(Unproven::Mismatch.into()));
    assert_eq!(wrong(&[("a", "2"), ("c", "")]), Some(Unproven::Mismatch.into()));
    assert_eq!(wrong(&[("a", "2")]), Some(Unproven::Incomplete.into()));
    assert_eq!(wrong(&[]), Some(Unproven::Incomplete.into()));
    let elsewhere = PrivateSet { place: PrivatePlace { tx: 1, ..live.place.clone() }, ..live.clone() };
    for unknown in [&delete, &purged, &elsewhere] {
        assert_eq!(reason(unknown), Some(Rejection::NotAnnounced));
    }
    assert_eq!((missing(&joined, Absence::Missing).len(), clear(&joined).len()), (2, 0));
    assert_eq!([2, 3, 4, 6].map(|block| keys(&joined, block)), [const { None }; 4]);

    // What others wrote since is no longer proven, and dropped.
    assert_eq!((reason(&overwritten), reason(&live)), (None, None));
    assert_eq!([2, 3].map(|block| keys(&joined, block).unwrap()), ["d", "ac"]);
    assert_eq!(missing(&joined, Absence::Missing), [""; 0]);
    assert_eq!(clear(&joined), clear(&ledger));
    assert_eq!(clear(&joined).len(), 3);
    // It is known now, whatever it is.
    assert_eq!(wrong(&[("a", "9")]), None);
    assert_eq!(clear(&joined), clear(&ledger));
}

#[test]
fn values_of_a_snapshot_that_come_late_end_like_those_that_were_always_there() {
    let old = peer();
    let ledger = old.ledger();
    let first = write(&ledger, "open", &[("a", "1"), ("b", "1"), ("c", "1")]);
    let second = write(&ledger, "open", &[("d", "1"), ("e", "1")]);
    let closed = write(&ledger, "closed", &[("k", "1")]);
    let new = Peer::join(&old.snapshot());
    let joined = new.ledger();
    joined.accept_private_data(vec![], std::slice::from_ref(&first.place)).unwrap();
    assert_eq!(
        (missing(&joined, Absence::Missing), missing(&joined, Absence::NotFound)),
        (vec!["3 open".into()], vec!["2 open".into()])
    );
    // Purged and overwritten before the values come, and after.
    purge(&ledger, "a");
    write(&ledger, "open", &[("b", "2")]);
    follow(&joined, &ledger);
    assert_eq!(accept(&joined, &[&first, &second]), []);
    assert_eq!([2, 3].map(|block| keys(&joined, block).unwrap()), ["bc", "de"]);
    assert_eq!(clear(&joined), clear(&ledger));
    assert_eq!(clear(&joined).len(), 4);
    purge(&ledger, "d");
    write(&ledger, "open", &[("e", "2")]);
    follow(&joined, &ledger);
    assert_eq!(keys(&joined, 3).unwrap(), "e");
    // What the purges themselves wrote in private is not given to others.
    assert_eq!(
        (missing(&joined, Absence::Missing), missing(&joined, Absence::NotFound)),
        (vec!["7 open".into(), "5 open".into()], vec![])
    );
    // What was for others is missed when it becomes ours.
    let opened = PrivateData::default().opening([("cc".to_owned(), "closed".to_owned())]);
    joined.commit(next_block(&joined, &[]), opened).unwrap();
    assert_eq!(missing(&joined, Absence::Missing), ["7 open", "5 open", "4 closed"]);
    assert_eq!(accept(&joined, &[&closed]), []);

    let seen = joined.contents().unwrap();
    drop(joined);
    let new = rebuilt(new);
    assert_eq!(seen.differences(&new.ledger().contents().unwrap()), [""; 0]);
    assert_eq!(clear(&new.ledger()), clear(&ledger));
}

#[test]
fn values_of_a_snapshot_expire_whether_they_came_or_not() {
    let old = peer();
    let ledger = old.ledger();
    // Written by blocks 2 and 3, to expire with blocks 6 and 7.
    let comes = write(&ledger, "short", &[("a", "1")]);
    let lacking = write(&ledger, "short", &[("b", "1")]);
    let new = Peer::join(&old.snapshot());
    let joined = new.ledger();
    assert_eq!(missing(&joined, Absence::Missing), ["3 short", "2 short"]);
    assert_eq!(accept(&joined, &[&comes]), []);
    let next = || {
        commit(&ledger, &[]);
        follow(&joined, &ledger);
        (keys(&joined, 2).is_some(), clear(&joined).len(), missing(&joined, Absence::Missing).len())
    };
    assert_eq!([next(), next(), next(), next()], [(true, 1, 1), (true, 1, 1), (false, 0, 1), (false, 0, 0)]);
    assert_eq!(accept(&joined, &[&lacking])[0].reason, Rejection::Expired);
    assert!(joined.contents().unwrap().private.is_empty());
    drop(joined);
    assert_eq!(clear(&rebuilt(new).ledger()), [""; 0]);
}

#[test]
fn a_snapshot_with_values_of_an_unknown_collection_is_refused() {
    let old = Peer::empty();
    write(&old.ledgers.create(genesis()).unwrap(), "open", &[("a", "1")]);
    let new = Peer::empty();
    let refused = new.ledgers.create_from_snapshot(&old.snapshot(), &org1()).map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "error while importing the hashes of private data: block 1 wrote to collection [cc:open], which no definition before it has"
    );
    assert!(!new.directory().exists() && new.ledgers.list().is_empty());
}
