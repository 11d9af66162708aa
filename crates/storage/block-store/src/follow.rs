use std::sync::Arc;

use ripstop_types::{Block, BlockNumber};
use tokio::sync::watch;

use crate::{BlockStore, BlockStoreError};

/// A cursor over visible blocks that waits for the next one. Nobody has to be told when it is dropped.
pub struct Follower {
    store: Arc<BlockStore>,
    heights: watch::Receiver<u64>,
    next: BlockNumber,
}

impl Follower {
    pub(crate) fn new(store: Arc<BlockStore>, next: BlockNumber) -> Self {
        let heights = store.heights();
        Self { store, heights, next }
    }

    /// The number of the block that [`Self::next`] gives.
    pub fn position(&self) -> BlockNumber {
        self.next
    }

    /// The next block, as soon as it is visible. May be cancelled at any time without losing a block. One block at a
    /// time is read, and the newest come from memory.
    pub async fn next(&mut self) -> Result<Arc<Block>, BlockStoreError> {
        loop {
            if let Some(block) = self.store.block(self.next)? {
                self.next = self.next.next();
                return Ok(block);
            }
            // The sender lives in the store that this cursor holds, so there is always something to wait for.
            let next = self.next.get();
            let _ = self.heights.wait_for(|height| *height > next).await;
        }
    }
}
