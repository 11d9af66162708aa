use bytes::Bytes;
use ripstop_types::{Timestamp, TxId};

use crate::LedgerError;

/// One change of a key by a valid transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyModification {
    /// The transaction.
    pub tx_id: TxId,
    /// The value written; empty for a delete.
    pub value: Bytes,
    /// When the client made the transaction, by its own clock.
    pub timestamp: Option<Timestamp>,
    /// Whether the key was deleted.
    pub is_delete: bool,
}

/// The changes of a key, newest first. Values are read from the blocks.
pub struct History {}

impl Iterator for History {
    type Item = Result<KeyModification, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
