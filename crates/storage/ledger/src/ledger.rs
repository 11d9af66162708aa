use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_rwset::TxPrivateRwSet;
use ripstop_types::{Block, BlockNumber, ChannelId, Digest, TxId, ValidationCode};

use ripstop_private_store::TransientStore;

use crate::{Follower, History, LedgerError, Simulator, StateSnapshot};

/// How long a chain is and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInfo {
    /// The number of blocks.
    pub height: u64,
    /// The hash of the last block's header.
    pub current_hash: Bytes,
    /// The hash of the header before that; empty when there is only the genesis block.
    pub previous_hash: Bytes,
}

/// A transaction as it stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedTransaction {
    /// The bytes of its `common.Envelope`.
    pub envelope: Bytes,
    /// The verdict.
    pub code: ValidationCode,
    /// The block it stands in.
    pub block: BlockNumber,
}

/// The clear private writes gathered for a block, by the transaction's place in it. Writes whose hash does not match
/// what the block says are not stored.
#[derive(Debug, Clone, Default)]
pub struct PrivateData(pub BTreeMap<u64, TxPrivateRwSet>);

/// The ledger of one channel. Shared by all who read it; one at a time commits.
pub struct Ledger {}

impl Ledger {
    /// The channel.
    pub fn channel_id(&self) -> &ChannelId {
        todo!()
    }

    /// How many blocks are committed; the next one has this number.
    pub fn height(&self) -> u64 {
        todo!()
    }

    /// Height and hashes.
    pub fn info(&self) -> ChainInfo {
        todo!()
    }

    /// The commit hash of the last block; empty where there is none (after the genesis block).
    pub fn commit_hash(&self) -> Bytes {
        todo!()
    }

    /// A block by number; `None` when it is not committed yet.
    pub fn block(&self, _number: BlockNumber) -> Result<Option<Arc<Block>>, LedgerError> {
        todo!()
    }

    /// A block by the hash of its header.
    pub fn block_by_hash(&self, _hash: &Digest) -> Result<Option<Arc<Block>>, LedgerError> {
        todo!()
    }

    /// The block that holds a transaction. Where an id occurs several times, its first occurrence counts.
    pub fn block_by_tx_id(&self, _tx_id: &TxId) -> Result<Option<Arc<Block>>, LedgerError> {
        todo!()
    }

    /// A transaction with its verdict (what `qscc` answers as `ProcessedTransaction`).
    pub fn transaction(&self, _tx_id: &TxId) -> Result<Option<CommittedTransaction>, LedgerError> {
        todo!()
    }

    /// The verdict on a transaction and the block it stands in.
    pub fn validation_code(&self, _tx_id: &TxId) -> Result<Option<(ValidationCode, BlockNumber)>, LedgerError> {
        todo!()
    }

    /// The state after the last committed block.
    pub fn snapshot(&self) -> Arc<StateSnapshot> {
        todo!()
    }

    /// Begins a simulation against [`Self::snapshot`]. Any number of simulations may run at once.
    pub fn simulate(&self, _tx_id: TxId) -> Simulator {
        todo!()
    }

    /// The changes of a public key, newest first.
    pub fn history(&self, _namespace: &str, _key: &str) -> Result<History, LedgerError> {
        todo!()
    }

    /// Private writes between endorsement and commit.
    pub fn transient(&self) -> &TransientStore {
        todo!()
    }

    /// A cursor that gives block `from`, then each one after it, waiting where needed.
    pub fn follow(self: &Arc<Self>, _from: BlockNumber) -> Follower {
        todo!()
    }
}
