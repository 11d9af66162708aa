use std::sync::Arc;

use ripstop_types::{Block, BlockNumber};

use crate::{Ledger, LedgerError};

/// A cursor over committed blocks that waits for the next one. Dropping it ends the wait; nobody else notices.
pub struct Follower {
    ledger: Arc<Ledger>,
    next: BlockNumber,
}

impl Follower {
    /// The number of the block that [`Self::next`] gives.
    pub fn position(&self) -> BlockNumber {
        self.next
    }

    /// The next block, as soon as it is committed. Safe to cancel. Reads at most one block from disk at a time.
    pub async fn next(&mut self) -> Result<Arc<Block>, LedgerError> {
        let _ = &self.ledger;
        todo!()
    }
}
