use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_kv::{Batch, Snapshot};
use ripstop_rwset::TxPrivateRwSet;
use ripstop_types::BlockNumber;

use crate::PrivateStoreError;
use crate::keys::{self, COMMITTED};
use crate::store::LazyStore;

/// Private writes of committed transactions, by block and place in it. Written before the block itself, so the last
/// entries may belong to a block that a crash prevented; that block comes again and replaces them.
pub struct CommittedPrivateData(Arc<LazyStore>);

impl CommittedPrivateData {
    pub(crate) fn new(store: Arc<LazyStore>) -> Self {
        Self(store)
    }

    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        self.0.snapshot()
    }

    /// Keeps the private writes of a block's transactions, instead of any kept for that block before. Returns after they
    /// are safe on disk.
    pub fn put(&self, block: BlockNumber, sets: &BTreeMap<u64, TxPrivateRwSet>) -> Result<(), PrivateStoreError> {
        let mut batch = Batch::new();
        if let Some(snapshot) = self.0.snapshot() {
            for entry in snapshot.prefix(&COMMITTED, &block.get().to_be_bytes())? {
                batch.delete(&COMMITTED, entry?.0);
            }
        }
        for (place, set) in sets {
            batch.put(&COMMITTED, keys::committed(block, *place), set.encode());
        }
        self.0.write(batch)
    }

    /// The private writes kept for a block.
    pub fn get(&self, block: BlockNumber) -> Result<BTreeMap<u64, TxPrivateRwSet>, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(BTreeMap::new()) };
        let mut sets = BTreeMap::new();
        for entry in snapshot.prefix(&COMMITTED, &block.get().to_be_bytes())? {
            let (key, value) = entry?;
            if let Some((_, place)) = key.split_last_chunk::<8>() {
                sets.insert(u64::from_be_bytes(*place), TxPrivateRwSet::parse(value)?);
            }
        }
        Ok(sets)
    }
}
