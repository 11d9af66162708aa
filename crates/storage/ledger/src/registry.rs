use std::path::Path;
use std::sync::Arc;

use ripstop_types::{Block, ChannelId};

use crate::{CreateError, Ledger, OpenError};

/// How ledgers use memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerOptions {
    /// Bytes of the state engine's block cache, for each channel.
    pub cache_bytes: u64,
    /// Bytes of the state engine's write buffer, for each keyspace of a channel.
    pub write_buffer_bytes: u64,
}

impl Default for LedgerOptions {
    /// Small: an idle peer with one channel stays within tens of megabytes.
    fn default() -> Self {
        Self { cache_bytes: 16 << 20, write_buffer_bytes: 8 << 20 }
    }
}

/// All ledgers of a peer: one directory, in it one directory a channel.
pub struct Ledgers {}

impl Ledgers {
    /// Opens all ledgers under `root`, recovering each; makes the directory where it does not exist.
    pub fn open(_root: &Path, _options: LedgerOptions) -> Result<Self, OpenError> {
        todo!()
    }

    /// Creates the ledger of the channel that `genesis` begins. After a crash in the middle it is as if not called.
    pub fn create(&self, _genesis: Block) -> Result<Arc<Ledger>, CreateError> {
        todo!()
    }

    /// The ledger of a channel.
    pub fn get(&self, _channel: &ChannelId) -> Option<Arc<Ledger>> {
        todo!()
    }

    /// All channels, in order of their names.
    pub fn list(&self) -> Vec<ChannelId> {
        todo!()
    }
}
