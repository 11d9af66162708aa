//! Private data on this peer's disk, which no block file can give back.
//!
//! What question this crate answers: *which clear private writes does this peer hold for that transaction?* The
//! [`TransientStore`] keeps them between endorsement and commit; a transaction that is never committed is forgotten after
//! some blocks.
//!
//! Invariants: what was stored survives a crash (it is synchronised before it is acknowledged); an entry is only removed
//! after the block that holds its transaction is committed, or when it is too old.
//!
//! Absent: hashes are not compared here. Expiry of committed private data and reconciliation of missing data come later.

use ripstop_rwset::TxPrivateRwSet;
use ripstop_types::{BlockNumber, TxId};

/// The private writes of one endorsement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransientSet {
    /// The ledger's height when it was endorsed.
    pub endorsed_at: u64,
    /// The writes.
    pub writes: TxPrivateRwSet,
}

/// The transient store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TransientError {}

/// Private writes by transaction, between endorsement and commit. Shared by endorsers and the committer.
pub struct TransientStore {}

impl TransientStore {
    /// Keeps the private writes of an endorsed proposal. Returns after they are safe on disk. The same proposal may be
    /// endorsed several times, with different results; all are kept.
    pub fn put(&self, _tx_id: &TxId, _set: &TransientSet) -> Result<(), TransientError> {
        todo!()
    }

    /// All writes kept for a transaction.
    pub fn get(&self, _tx_id: &TxId) -> Result<Vec<TransientSet>, TransientError> {
        todo!()
    }

    /// Forgets transactions that are committed.
    pub fn purge(&self, _tx_ids: &[TxId]) -> Result<(), TransientError> {
        todo!()
    }

    /// Forgets what was endorsed below a height and never committed.
    pub fn purge_below(&self, _height: BlockNumber) -> Result<(), TransientError> {
        todo!()
    }
}
