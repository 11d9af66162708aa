use bytes::Bytes;
use prost::Message;
use ripstop_block_store::{IndexedTransaction, TransactionIndex, TxIds};
use ripstop_kv::{KvError, Snapshot};
use ripstop_proto::protos::CollectionConfigPackage;
use ripstop_rwset::{StateError, StateIter, StateValue, StateView};
use ripstop_state_db::{Expiry, HistoryIter, StateReader};
use ripstop_types::{BlockNumber, TxId};

/// The state of a channel after one exact block. Cheap to hold; do not hold one for minutes, because the engine keeps
/// what it shows.
pub struct StateSnapshot {
    reader: StateReader,
    height: u64,
    commit_hash: Bytes,
}

impl StateSnapshot {
    pub(crate) fn new(snapshot: Snapshot, height: u64, commit_hash: Bytes) -> Self {
        Self { reader: StateReader::new(snapshot), height, commit_hash }
    }

    /// How many blocks the state reflects.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// The commit hash of the last of these blocks; empty where there is none.
    pub fn commit_hash(&self) -> &Bytes {
        &self.commit_hash
    }

    /// As [`StateView::range`], independent of this borrow.
    pub fn range_owned(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'static>, StateError> {
        self.reader.public_range(namespace, start, end)
    }

    /// As [`StateView::private_range`], independent of this borrow.
    pub fn private_range_owned(
        &self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateIter<'static>, StateError> {
        self.reader.private_range(namespace, collection, start, end)
    }

    /// The collections of a chaincode that were in force for block `below`: those that a block before it defined last,
    /// and that block. A definition without collections does not count.
    pub fn collections_below(
        &self,
        chaincode: &str,
        below: BlockNumber,
    ) -> Result<Option<(BlockNumber, CollectionConfigPackage)>, StateError> {
        let Some((block, raw)) = self.reader.collections_below(chaincode, below)? else { return Ok(None) };
        Ok(Some((block, CollectionConfigPackage::decode(raw).map_err(StateError::new)?)))
    }

    /// All definitions of a chaincode's collections, each with its block, newest first.
    pub(crate) fn all_collections_of(
        &self,
        chaincode: &str,
    ) -> Result<Vec<(BlockNumber, CollectionConfigPackage)>, StateError> {
        let (mut all, mut below) = (Vec::new(), BlockNumber::new(u64::MAX));
        while let Some(found) = self.collections_below(chaincode, below)? {
            below = found.0;
            all.push(found);
        }
        Ok(all)
    }

    pub(crate) fn reader(&self) -> &StateReader {
        &self.reader
    }

    /// All keyspaces.
    pub(crate) fn raw(&self) -> &Snapshot {
        self.reader.snapshot()
    }

    pub(crate) fn transaction(&self, tx_id: &TxId) -> Result<Option<IndexedTransaction>, KvError> {
        TransactionIndex::transaction(self.reader.snapshot(), tx_id)
    }

    pub(crate) fn tx_ids(&self) -> Result<TxIds, KvError> {
        TransactionIndex::tx_ids(self.reader.snapshot())
    }

    pub(crate) fn block(&self, hash: &[u8]) -> Result<Option<BlockNumber>, KvError> {
        TransactionIndex::block(self.reader.snapshot(), hash)
    }

    pub(crate) fn expiries(&self, at: BlockNumber) -> Result<Vec<Expiry>, StateError> {
        self.reader.expiries(at)
    }

    pub(crate) fn history(&self, namespace: &str, key: &str) -> Result<HistoryIter, StateError> {
        self.reader.history(namespace, key)
    }
}

impl StateView for StateSnapshot {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        self.reader.public(namespace, key)
    }

    fn range(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'_>, StateError> {
        self.range_owned(namespace, start, end)
    }

    fn hashed(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Result<Option<StateValue>, StateError> {
        self.reader.hashed(namespace, collection, key_hash)
    }

    fn private(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        self.reader.private(namespace, collection, key)
    }

    fn private_range(
        &self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateIter<'_>, StateError> {
        self.private_range_owned(namespace, collection, start, end)
    }

    fn has_transaction(&self, tx_id: &TxId) -> Result<bool, StateError> {
        Ok(self.transaction(tx_id).map_err(StateError::new)?.is_some())
    }
}
