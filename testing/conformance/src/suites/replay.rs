//! A chain as a peer takes it from an orderer: verified, checked, validated, committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_channel_config::ChannelConfig;
use ripstop_rwset::{MemoryState, StateView};
use ripstop_types::{Block, BlockNumber, ValidationCode};
use ripstop_validation::{ValidatedBlock, VerifiedBlock};

/// A chain and the state behind it, in memory.
pub(crate) struct Replay {
    state: MemoryState,
    config: Arc<ChannelConfig>,
    next: BlockNumber,
    header_hash: Bytes,
    commit_hash: Bytes,
    /// Every public key that a block changed, by namespace.
    pub(crate) public_keys: BTreeMap<String, BTreeSet<String>>,
    /// The hash of every private key that a block changed, by namespace and collection.
    pub(crate) hashed_keys: BTreeMap<(String, String), BTreeSet<Bytes>>,
}

/// What became of a block.
pub(crate) struct Replayed {
    /// The block with its metadata filled in.
    pub(crate) block: Block,
    /// One verdict a transaction.
    pub(crate) codes: Vec<ValidationCode>,
    /// Why a transaction is invalid; empty for a valid one.
    pub(crate) reasons: Vec<String>,
}

impl Replay {
    /// Begins a chain.
    pub(crate) fn begin(genesis: Block) -> Result<Self, String> {
        let genesis = ValidatedBlock::genesis(genesis).map_err(|error| error.to_string())?;
        let config = genesis.config().cloned().ok_or("the genesis block brings no configuration")?;
        let mut replay = Self {
            state: MemoryState::new(),
            config,
            next: BlockNumber::GENESIS,
            header_hash: Bytes::new(),
            commit_hash: Bytes::new(),
            public_keys: BTreeMap::new(),
            hashed_keys: BTreeMap::new(),
        };
        replay.take(&genesis);
        Ok(replay)
    }

    /// Verifies, checks, validates and commits the next block.
    pub(crate) fn commit(&mut self, block: Block) -> Result<Replayed, String> {
        let verified = VerifiedBlock::verify(block, &self.config, self.next, &self.header_hash)
            .map_err(|refusal| format!("the block was refused: {refusal}"))?;
        let checked = verified.check(&self.config, &self.state).map_err(|error| format!("undecided: {error}"))?;
        let validated = checked.validate(&self.state, &self.commit_hash).map_err(|error| error.to_string())?;
        self.take(&validated);
        Ok(Replayed {
            block: validated.block().clone(),
            codes: validated.codes().as_slice().to_vec(),
            reasons: validated
                .transactions()
                .iter()
                .map(|transaction| transaction.refusal.as_ref().map(ToString::to_string).unwrap_or_default())
                .collect(),
        })
    }

    fn take(&mut self, validated: &ValidatedBlock) {
        for (namespace, key, _) in validated.updates().public_updates() {
            self.public_keys.entry(namespace.to_owned()).or_default().insert(key.to_owned());
        }
        for (namespace, collection, key_hash, _) in validated.updates().hashed_updates() {
            let collection = (namespace.to_owned(), collection.to_owned());
            self.hashed_keys.entry(collection).or_default().insert(key_hash.clone());
        }
        self.state.apply(validated.updates());
        for transaction in validated.transactions() {
            self.state.add_transaction(transaction.tx_id.clone());
        }
        if let Some(config) = validated.config() {
            self.config = config.clone();
        }
        self.next = self.next.next();
        self.header_hash = validated.block().header.hash().to_bytes();
        self.commit_hash = validated.commit_hash().map(|hash| hash.to_bytes()).unwrap_or_default();
    }

    /// The configuration after the last block.
    pub(crate) fn config(&self) -> &ChannelConfig {
        &self.config
    }

    /// The state after the last block.
    pub(crate) fn state(&self) -> &dyn StateView {
        &self.state
    }
}
