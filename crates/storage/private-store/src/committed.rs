use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_kv::Snapshot;
use ripstop_rwset::{CollectionPrivateRwSet, HashedWrite, NsPrivateRwSet, Purge, TxPrivateRwSet};
use ripstop_types::{BlockNumber, Digest, Height};

use crate::PrivateStoreError;
use crate::change::Change;
use crate::keys::{self, HASHED, KEYS, LATE, MISSING, PURGED, PURGING, WRITTEN};
use crate::store::LazyStore;

/// The private writes of one transaction to one collection: where they belong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrivatePlace {
    /// The block.
    pub block: BlockNumber,
    /// The transaction's place in it.
    pub tx: u64,
    /// The namespace.
    pub namespace: String,
    /// The collection.
    pub collection: String,
}

impl PrivatePlace {
    /// The version of what it writes.
    pub fn height(&self) -> Height {
        Height::new(self.block, self.tx)
    }
}

/// Private writes with their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateSet {
    /// Where they belong.
    pub place: PrivatePlace,
    /// The writes.
    pub writes: CollectionPrivateRwSet,
}

/// Why private writes are not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Absence {
    /// They are missed, and looked for first.
    Missing,
    /// They are missed, but nobody had them when they were looked for.
    NotFound,
    /// They are for other organizations.
    Ineligible,
}

/// A value that is not here, and neither is its block: a snapshot had its hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedValue {
    /// The set it stands in.
    pub place: PrivatePlace,
    /// SHA-256 of the key.
    pub key_hash: Bytes,
    /// SHA-256 of the value.
    pub value_hash: Bytes,
    /// Why the set is not here.
    pub absence: Absence,
    /// With which block it expires, if with any.
    pub expires: Option<BlockNumber>,
}

/// What a block leaves in the store.
#[derive(Default)]
pub struct BlockSets<'a> {
    /// The private writes that came with it.
    pub present: Vec<PrivateSet>,
    /// Those that did not, though they are for this organization.
    pub missing: Vec<PrivatePlace>,
    /// Those that are not for this organization.
    pub ineligible: Vec<PrivatePlace>,
    /// Collections that are open to this organization from now on: namespace and collection.
    pub opened: &'a [(String, String)],
    /// With which block its sets in a collection expire: namespace, collection, block.
    pub expiring: Vec<(String, String, BlockNumber)>,
    /// Keys whose former values vanish.
    pub purges: &'a [Purge],
}

/// What [`CommittedPrivateData::erase_purged`] erased.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// How many keys were purged, whether or not they were ever here.
    pub keys: usize,
    /// Each write of them that was here: its set and the clear key.
    pub writes: Vec<(PrivatePlace, String)>,
}

/// Private writes of committed transactions, by block and place in it, with markers for those that are not here. Written
/// before the block itself, so the last entries may belong to a block that a crash prevented; that block comes again and
/// replaces them.
pub struct CommittedPrivateData(Arc<LazyStore>);

impl CommittedPrivateData {
    pub(crate) fn new(store: Arc<LazyStore>) -> Self {
        Self(store)
    }

    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        self.0.snapshot()
    }

    /// Keeps what a block leaves, instead of anything kept for that block before. Returns after all of it is safe on disk.
    /// Purged values are hidden from then on; [`Self::erase_purged`] erases them.
    pub fn put(&self, block: BlockNumber, sets: &BlockSets<'_>) -> Result<(), PrivateStoreError> {
        let mut change = Change::new(self.0.snapshot());
        change.clear_block(block)?;
        for set in &sets.present {
            change.put_set(set, block.get());
        }
        for (absence, places) in [(Absence::Missing, &sets.missing), (Absence::Ineligible, &sets.ineligible)] {
            for place in places {
                change.mark(absence, place)?;
            }
        }
        change.open(sets.opened)?;
        for (namespace, collection, at) in &sets.expiring {
            change.expire_with(*at, block, namespace, collection);
        }
        for purge in sets.purges {
            change.purge(purge)?;
        }
        self.0.write(change.finish())
    }

    /// Forgets what expires with a block or did before. The block must be safe: until then the state before it may have to
    /// be built anew, with what expires.
    pub fn forget_expired(&self, block: BlockNumber) -> Result<(), PrivateStoreError> {
        let mut change = Change::new(self.0.snapshot());
        change.expire_up_to(block)?;
        self.0.write(change.finish())
    }

    /// Keeps private writes that came after their blocks, when the ledger had this height, and takes their markers away.
    /// What is not found anywhere is looked for after what was not looked for yet. Returns after all of it is safe on disk.
    pub fn add(&self, height: u64, sets: &[PrivateSet], not_found: &[PrivatePlace]) -> Result<(), PrivateStoreError> {
        let mut change = Change::new(self.0.snapshot());
        for set in sets {
            change.put_set(set, height);
            change.unmark(&set.place)?;
        }
        for place in not_found {
            change.defer(place)?;
        }
        self.0.write(change.finish())
    }

    /// Notes values that a snapshot had the hashes of, and their sets as missing. Returns after all of it is safe on disk;
    /// several calls may name values of one set.
    pub fn put_hashed(&self, values: &[HashedValue]) -> Result<(), PrivateStoreError> {
        let mut change = Change::new(self.0.snapshot());
        for value in values {
            change.put_hashed(value)?;
        }
        self.0.write(change.finish())
    }

    /// The values in a set that is not here, as far as a snapshot had their hashes.
    pub fn hashed(&self, place: &PrivatePlace) -> Result<Vec<HashedWrite>, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(vec![]) };
        let prefix = keys::hashed_prefix(place);
        snapshot
            .prefix(&HASHED, &prefix)?
            .map(|entry| {
                let (key, value_hash) = entry?;
                let key_hash = Bytes::copy_from_slice(key.get(prefix.len()..).unwrap_or_default());
                Ok(HashedWrite { key_hash, is_delete: false, value_hash, is_purge: false })
            })
            .collect()
    }

    /// Erases from the disk what was purged by blocks below a height. The clear keys are gone then, so the state must have
    /// been changed by those blocks before, beyond a loss of power. Says what is gone.
    pub fn erase_purged(&self, height: u64) -> Result<Erased, PrivateStoreError> {
        let mut change = Change::new(self.0.snapshot());
        let erased = change.erase_purged(height)?;
        self.0.write(change.finish())?;
        Ok(erased)
    }

    /// Whether [`Self::erase_purged`] has something to do.
    pub fn has_purged(&self) -> Result<bool, PrivateStoreError> {
        match self.0.snapshot() {
            Some(snapshot) => Ok(snapshot.range(&PURGING, &[], None)?.next().transpose()?.is_some()),
            None => Ok(false),
        }
    }

    /// The private writes kept for a block, without purged ones.
    pub fn get(&self, block: BlockNumber) -> Result<Vec<PrivateSet>, PrivateStoreError> {
        Ok(self.of_block(block)?.into_iter().map(|(_, set)| set).collect())
    }

    /// Whether anything is kept of a block, or noted as missing.
    pub fn has_any_of(&self, block: BlockNumber) -> Result<bool, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(false) };
        if snapshot.prefix(&WRITTEN, &keys::written_prefix(block))?.next().transpose()?.is_some() {
            return Ok(true);
        }
        for absence in Absence::ALL {
            if snapshot.prefix(&MISSING, &keys::missing_from(absence, block))?.next().transpose()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a set is kept here.
    pub fn contains(&self, place: &PrivatePlace) -> Result<bool, PrivateStoreError> {
        match self.0.snapshot() {
            Some(snapshot) => Ok(snapshot.get(&WRITTEN, &keys::written(place))?.is_some()),
            None => Ok(false),
        }
    }

    /// The private writes kept for a block that came with it, without purged ones.
    pub fn on_time(&self, block: BlockNumber) -> Result<Vec<PrivateSet>, PrivateStoreError> {
        let on_time = self.of_block(block)?.into_iter().filter(|(arrived, _)| *arrived == block.get());
        Ok(on_time.map(|(_, set)| set).collect())
    }

    /// The private writes that came after their blocks, when the ledger had a height from `from` up to, but without, `to`.
    pub fn late(&self, from: u64, to: Option<u64>) -> Result<Vec<PrivateSet>, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(vec![]) };
        let end = to.map(u64::to_be_bytes);
        let mut sets = Vec::new();
        for entry in snapshot.range(&LATE, &from.to_be_bytes(), end.as_ref().map(<[u8; 8]>::as_slice))? {
            let (key, _) = entry?;
            let (_, written) = keys::read_late(&key).ok_or(PrivateStoreError::DamagedKey("late"))?;
            if let Some(value) = snapshot.get(&WRITTEN, written)? {
                sets.push(without_purged(&snapshot, read_set(written, value)?.1)?);
            }
        }
        Ok(sets)
    }

    /// What is absent for a reason, block by block from the newest at or below `newest` on, of at most so many blocks.
    pub fn missing(
        &self,
        absence: Absence,
        newest: BlockNumber,
        max_blocks: usize,
    ) -> Result<Vec<PrivatePlace>, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(vec![]) };
        let (mut places, mut blocks): (Vec<PrivatePlace>, _) = (Vec::new(), 0);
        let (start, end) = (keys::missing_from(absence, newest), keys::missing_end(absence));
        for entry in snapshot.range(&MISSING, &start, Some(&end))? {
            let (key, value) = entry?;
            let (block, namespace, collection) =
                keys::read_missing(&key).ok_or(PrivateStoreError::DamagedKey("missing"))?;
            if places.last().is_none_or(|last| last.block != block) {
                blocks += 1;
            }
            if blocks > max_blocks {
                break;
            }
            let place = |tx| PrivatePlace { block, tx, namespace: namespace.clone(), collection: collection.clone() };
            places.extend(read_places(&value)?.into_iter().map(place));
        }
        Ok(places)
    }

    /// When a key was purged last. Values of that version and older ones must neither be kept nor served.
    pub fn purged(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Result<Option<Height>, PrivateStoreError> {
        match self.0.snapshot() {
            Some(snapshot) => purged(&snapshot, &keys::clear_key(namespace, collection, key_hash)),
            None => Ok(None),
        }
    }

    /// The clear key behind a hash, if any writes kept here name it.
    pub fn clear_key(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Result<Option<String>, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(None) };
        let prefix = keys::clear_key(namespace, collection, key_hash);
        for entry in snapshot.prefix(&KEYS, &prefix)? {
            let (key, clear) = entry?;
            if keys::is_behind(&prefix, &key) {
                let clear = String::from_utf8(clear.to_vec());
                return clear.map(Some).map_err(|_| PrivateStoreError::DamagedKey("keys"));
            }
        }
        Ok(None)
    }

    fn of_block(&self, block: BlockNumber) -> Result<Vec<(u64, PrivateSet)>, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(vec![]) };
        snapshot
            .prefix(&WRITTEN, &keys::written_prefix(block))?
            .map(|entry| {
                let (key, value) = entry?;
                let (arrived, set) = read_set(&key, value)?;
                Ok((arrived, without_purged(&snapshot, set)?))
            })
            .collect()
    }
}

/// Puts sets of one block together by transaction, each in the order of namespaces and collections.
pub fn by_transaction(sets: impl IntoIterator<Item = PrivateSet>) -> BTreeMap<u64, TxPrivateRwSet> {
    let mut transactions: BTreeMap<u64, TxPrivateRwSet> = BTreeMap::new();
    for PrivateSet { place, writes } in sets {
        let namespaces = &mut transactions.entry(place.tx).or_default().namespaces;
        match namespaces.iter_mut().find(|ns| ns.namespace == place.namespace) {
            Some(ns) => ns.collections.push(writes),
            None => namespaces.push(NsPrivateRwSet { namespace: place.namespace, collections: vec![writes] }),
        }
    }
    transactions
}

/// An entry of `written`: when it came, and what.
pub(crate) fn read_set(key: &[u8], value: Bytes) -> Result<(u64, PrivateSet), PrivateStoreError> {
    let place = keys::read_written(key).ok_or(PrivateStoreError::DamagedKey("written"))?;
    let arrived = value.first_chunk::<8>().ok_or(PrivateStoreError::DamagedKey("written"))?;
    let arrived = u64::from_be_bytes(*arrived);
    let writes = CollectionPrivateRwSet::parse(&place.namespace, place.collection.clone(), value.slice(8..))?;
    Ok((arrived, PrivateSet { place, writes }))
}

pub(crate) fn read_places(value: &[u8]) -> Result<Vec<u64>, PrivateStoreError> {
    let (places, rest) = value.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(PrivateStoreError::DamagedKey("missing"));
    }
    Ok(places.iter().map(|place| u64::from_be_bytes(*place)).collect())
}

pub(crate) fn purged(snapshot: &Snapshot, key: &[u8]) -> Result<Option<Height>, PrivateStoreError> {
    match snapshot.get(&PURGED, key)? {
        None => Ok(None),
        Some(value) => keys::read_height(&value).map(Some).ok_or(PrivateStoreError::DamagedKey("purged")),
    }
}

/// Leaves out writes that were purged at their version or later (Fabric: `removePurgedDataFromCollPvtRWset`).
fn without_purged(snapshot: &Snapshot, mut set: PrivateSet) -> Result<PrivateSet, PrivateStoreError> {
    let PrivateSet { place, writes } = &mut set;
    let mut gone = HashSet::new();
    for write in &writes.writes {
        let hash = Digest::of(write.key.as_bytes());
        let key = keys::clear_key(&place.namespace, &place.collection, hash.as_bytes());
        if purged(snapshot, &key)?.is_some_and(|purge| place.height() <= purge) {
            gone.insert(write.key.clone());
        }
    }
    if !gone.is_empty() {
        *writes = writes.without(&gone);
    }
    Ok(set)
}
