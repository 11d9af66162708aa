//! Changes of what is kept of committed transactions, gathered into one batch.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use ripstop_kv::{Batch, Snapshot};
use ripstop_rwset::Purge;
use ripstop_types::{BlockNumber, Digest};

use crate::committed::{Erased, purged, read_places, read_set};
use crate::keys::{self, EXPIRING, HASHED, KEYS, LATE, MISSING, PURGED, PURGING, WRITTEN};
use crate::{Absence, HashedValue, PrivatePlace, PrivateSet, PrivateStoreError};

/// A batch that sees its own changes of markers, which several steps make.
pub(crate) struct Change {
    snapshot: Option<Snapshot>,
    batch: Batch,
    /// Markers by key: places in the block.
    markers: BTreeMap<Vec<u8>, BTreeSet<u64>>,
}

type Result<T> = std::result::Result<T, PrivateStoreError>;

impl Change {
    pub(crate) fn new(snapshot: Option<Snapshot>) -> Self {
        Self { snapshot, batch: Batch::new(), markers: BTreeMap::new() }
    }

    pub(crate) fn finish(mut self) -> Batch {
        let is_new = self.snapshot.is_none();
        for (key, places) in self.markers {
            if !places.is_empty() {
                let value: Vec<u8> = places.iter().flat_map(|place| place.to_be_bytes()).collect();
                self.batch.put(&MISSING, key, value);
            } else if !is_new {
                self.batch.delete(&MISSING, key);
            }
        }
        self.batch
    }

    /// Removes what an earlier attempt to commit the block left.
    pub(crate) fn clear_block(&mut self, block: BlockNumber) -> Result<()> {
        self.remove_sets(block, |_| true)?;
        let Some(snapshot) = self.snapshot.clone() else { return Ok(()) };
        for absence in Absence::ALL {
            for entry in snapshot.prefix(&MISSING, &keys::missing_from(absence, block))? {
                self.markers.insert(entry?.0, BTreeSet::new());
            }
        }
        Ok(())
    }

    /// Keeps a set that came at this height.
    pub(crate) fn put_set(&mut self, set: &PrivateSet, arrived: u64) {
        let PrivateSet { place, writes } = set;
        let key = keys::written(place);
        for write in &writes.writes {
            self.batch.put(&KEYS, index_key(place, &write.key), write.key.clone());
        }
        if arrived != place.block.get() {
            self.batch.put(&LATE, keys::late(arrived, &key), Bytes::new());
        }
        self.batch.put(&WRITTEN, key, [&arrived.to_be_bytes(), writes.raw.as_ref()].concat());
    }

    /// Keeps the hashes of a value, and notes that the set it stands in is not here.
    pub(crate) fn put_hashed(&mut self, value: &HashedValue) -> Result<()> {
        let HashedValue { place, key_hash, value_hash, absence, expires } = value;
        self.batch.put(&HASHED, keys::hashed(place, key_hash), value_hash.clone());
        if let Some(at) = expires {
            self.expire_with(*at, place.block, &place.namespace, &place.collection);
        }
        self.mark(*absence, place)
    }

    /// Notes that a set is not here.
    pub(crate) fn mark(&mut self, absence: Absence, place: &PrivatePlace) -> Result<()> {
        self.marker(absence, place)?.insert(place.tx);
        Ok(())
    }

    /// Takes the marker of a set away, and the hashes that stood in for its block.
    pub(crate) fn unmark(&mut self, place: &PrivatePlace) -> Result<()> {
        for absence in Absence::ALL {
            self.marker(absence, place)?.remove(&place.tx);
        }
        self.remove_hashes(&keys::hashed_prefix(place), |_| true)
    }

    /// Lets a missed set wait behind others. One that is not `Missing` stays what it is.
    pub(crate) fn defer(&mut self, place: &PrivatePlace) -> Result<()> {
        if self.marker(Absence::Missing, place)?.remove(&place.tx) {
            self.mark(Absence::NotFound, place)?;
        }
        Ok(())
    }

    /// What was kept from this organization in these collections is missed from now on. All markers of that reason are looked
    /// at: definitions that open a collection are rare, and an index would cost every block another entry.
    pub(crate) fn open(&mut self, collections: &[(String, String)]) -> Result<()> {
        if collections.is_empty() {
            return Ok(());
        }
        let is_opened = |key: &[u8]| {
            keys::read_missing(key).is_some_and(|(_, namespace, collection)| {
                collections.iter().any(|opened| opened.0 == namespace && opened.1 == collection)
            })
        };
        let (start, end) = (
            keys::missing_from(Absence::Ineligible, BlockNumber::new(u64::MAX)),
            keys::missing_end(Absence::Ineligible),
        );
        let mut found: BTreeSet<Vec<u8>> =
            self.markers.keys().filter(|key| key.starts_with(&start[..1]) && is_opened(key)).cloned().collect();
        if let Some(snapshot) = &self.snapshot {
            for entry in snapshot.range(&MISSING, &start, Some(&end))? {
                let (key, _) = entry?;
                if is_opened(&key) {
                    found.insert(key);
                }
            }
        }
        for key in found {
            let places = std::mem::take(self.marker_at(key.clone())?);
            let Some((block, namespace, collection)) = keys::read_missing(&key) else { continue };
            let missing = keys::missing(Absence::Missing, block, &namespace, &collection);
            self.marker_at(missing)?.extend(places);
        }
        Ok(())
    }

    /// Notes with which block a block's sets in a collection, and their markers, expire.
    pub(crate) fn expire_with(&mut self, at: BlockNumber, block: BlockNumber, namespace: &str, collection: &str) {
        self.batch.put(&EXPIRING, keys::expiring(at, block, namespace, collection), Bytes::new());
    }

    /// Forgets what has expired.
    pub(crate) fn expire_up_to(&mut self, block: BlockNumber) -> Result<()> {
        let Some(snapshot) = self.snapshot.clone() else { return Ok(()) };
        for entry in snapshot.range(&EXPIRING, &[], Some(&block.next().get().to_be_bytes()))? {
            let (key, _) = entry?;
            let (written, namespace, collection) =
                keys::read_expiring(&key).ok_or(PrivateStoreError::DamagedKey("expiring"))?;
            let expires = |place: &PrivatePlace| place.namespace == namespace && place.collection == collection;
            self.remove_sets(written, expires)?;
            self.remove_hashes(&keys::written_prefix(written), expires)?;
            for absence in Absence::ALL {
                self.markers.insert(keys::missing(absence, written, &namespace, &collection), BTreeSet::new());
            }
            self.batch.delete(&EXPIRING, key);
        }
        Ok(())
    }

    /// Notes that a key was purged. Of several purges the last one counts.
    pub(crate) fn purge(&mut self, purge: &Purge) -> Result<()> {
        let Purge { namespace, collection, key_hash, version } = purge;
        let key = keys::clear_key(namespace, collection, key_hash);
        let known = match &self.snapshot {
            Some(snapshot) => purged(snapshot, &key)?,
            None => None,
        };
        if known.is_none_or(|known| known <= *version) {
            self.batch.put(&PURGED, key.clone(), keys::height_bytes(*version).to_vec());
            self.batch.put(&PURGING, key, Bytes::new());
        }
        Ok(())
    }

    /// Erases writes of purged keys out of their sets.
    pub(crate) fn erase_purged(&mut self, height: u64) -> Result<Erased> {
        let mut erased = Erased::default();
        let Some(snapshot) = self.snapshot.clone() else { return Ok(erased) };
        let mut gone: BTreeMap<PrivatePlace, HashSet<String>> = BTreeMap::new();
        for entry in snapshot.range(&PURGING, &[], None)? {
            let (key, _) = entry?;
            let Some(purge) = purged(&snapshot, &key)?.filter(|purge| purge.block.get() < height) else { continue };
            for entry in snapshot.prefix(&KEYS, &key)? {
                let (index, clear) = entry?;
                if !keys::is_behind(&key, &index) {
                    continue;
                }
                let damaged = || PrivateStoreError::DamagedKey("keys");
                let version = keys::read_height(&index).ok_or_else(damaged)?;
                if version > purge {
                    break;
                }
                let (namespace, collection) = keys::read_purged(&key).ok_or_else(damaged)?;
                let place = PrivatePlace { block: version.block, tx: version.tx, namespace, collection };
                let clear = String::from_utf8(clear.to_vec()).map_err(|_| damaged())?;
                erased.writes.push((place.clone(), clear.clone()));
                gone.entry(place).or_default().insert(clear);
                self.batch.delete(&KEYS, index);
            }
            erased.keys += 1;
            self.batch.delete(&PURGING, key);
        }
        for (place, gone) in gone {
            let key = keys::written(&place);
            let Some(value) = snapshot.get(&WRITTEN, &key)? else { continue };
            let (arrived, set) = read_set(&key, value)?;
            let left = set.writes.without(&gone);
            self.batch.put(&WRITTEN, key, [&arrived.to_be_bytes(), left.raw.as_ref()].concat());
        }
        Ok(erased)
    }

    fn remove_sets(&mut self, block: BlockNumber, which: impl Fn(&PrivatePlace) -> bool) -> Result<()> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        for entry in snapshot.prefix(&WRITTEN, &keys::written_prefix(block))? {
            let (key, value) = entry?;
            let (arrived, PrivateSet { place, writes }) = read_set(&key, value)?;
            if !which(&place) {
                continue;
            }
            for write in &writes.writes {
                self.batch.delete(&KEYS, index_key(&place, &write.key));
            }
            self.batch.delete(&LATE, keys::late(arrived, &key));
            self.batch.delete(&WRITTEN, key);
        }
        Ok(())
    }

    fn remove_hashes(&mut self, prefix: &[u8], which: impl Fn(&PrivatePlace) -> bool) -> Result<()> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        for entry in snapshot.prefix(&HASHED, prefix)? {
            let (key, _) = entry?;
            if which(&keys::read_hashed(&key).ok_or(PrivateStoreError::DamagedKey("hashed"))?) {
                self.batch.delete(&HASHED, key);
            }
        }
        Ok(())
    }

    fn marker(&mut self, absence: Absence, place: &PrivatePlace) -> Result<&mut BTreeSet<u64>> {
        self.marker_at(keys::missing(absence, place.block, &place.namespace, &place.collection))
    }

    fn marker_at(&mut self, key: Vec<u8>) -> Result<&mut BTreeSet<u64>> {
        use std::collections::btree_map::Entry;
        match self.markers.entry(key) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let stored = match &self.snapshot {
                    Some(snapshot) => snapshot.get(&MISSING, unknown.key())?,
                    None => None,
                };
                let places = read_places(&stored.unwrap_or_default())?;
                Ok(unknown.insert(places.into_iter().collect()))
            }
        }
    }
}

fn index_key(place: &PrivatePlace, clear: &str) -> Vec<u8> {
    let hash = Digest::of(clear.as_bytes());
    let prefix = keys::clear_key(&place.namespace, &place.collection, hash.as_bytes());
    keys::clear_key_at(&prefix, place.height())
}
