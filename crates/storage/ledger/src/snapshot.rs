use ripstop_rwset::{StateError, StateIter, StateValue, StateView};
use ripstop_types::TxId;

/// The state of a channel after one exact block. Cheap to hold; do not hold one for minutes, because the engine keeps
/// what it shows.
pub struct StateSnapshot {
    height: u64,
}

impl StateSnapshot {
    /// How many blocks the state reflects.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// As [`StateView::range`], independent of this borrow.
    pub fn range_owned(&self, _namespace: &str, _start: &str, _end: &str) -> Result<StateIter<'static>, StateError> {
        todo!()
    }

    /// As [`StateView::private_range`], independent of this borrow.
    pub fn private_range_owned(
        &self,
        _namespace: &str,
        _collection: &str,
        _start: &str,
        _end: &str,
    ) -> Result<StateIter<'static>, StateError> {
        todo!()
    }
}

impl StateView for StateSnapshot {
    fn get(&self, _namespace: &str, _key: &str) -> Result<Option<StateValue>, StateError> {
        todo!()
    }

    fn range(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'_>, StateError> {
        self.range_owned(namespace, start, end)
    }

    fn hashed(&self, _namespace: &str, _collection: &str, _key_hash: &[u8]) -> Result<Option<StateValue>, StateError> {
        todo!()
    }

    fn private(&self, _namespace: &str, _collection: &str, _key: &str) -> Result<Option<StateValue>, StateError> {
        todo!()
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

    fn has_transaction(&self, _tx_id: &TxId) -> Result<bool, StateError> {
        todo!()
    }
}
