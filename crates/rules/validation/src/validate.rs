use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_channel_config::{ChannelConfig, ConfigError};
use ripstop_proto::common;
use ripstop_rwset::{StateError, StateView, TxRwSet, UpdateBatch, commit_hash};
use ripstop_types::{
    Block, BlockNumber, ChaincodeName, Digest, Envelope, HeaderType, Height, MetadataError, MetadataSlot, Transaction,
    TxId, ValidationCode, ValidationCodes,
};

use crate::check::{Accepted, CheckedTransaction};
use crate::conflict::find_conflict;
use crate::endorsement::PolicyChanges;
use crate::{CheckedBlock, Refusal};

/// A block with its verdicts, its changes of the state and its commit hash: the only thing that a ledger commits.
#[derive(Debug)]
pub struct ValidatedBlock {
    block: Block,
    codes: ValidationCodes,
    transactions: Vec<ValidatedTransaction>,
    updates: UpdateBatch,
    config: Option<Arc<ChannelConfig>>,
    commit_hash: Option<Digest>,
}

/// Why a block cannot begin a channel.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// It is not the first block.
    #[error("block number is {0}, expected 0")]
    Number(BlockNumber),
    /// It holds no configuration.
    #[error("the block holds no configuration transaction")]
    NoConfig,
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(ConfigError),
}

/// Why a block of this node's own cannot be replayed: the block store is damaged.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The metadata does not decode.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Not one verdict a transaction.
    #[error("block {block} has {expected} transactions, but {found} verdicts")]
    Count {
        /// The block.
        block: BlockNumber,
        /// How many transactions it has.
        expected: usize,
        /// How many verdicts it has.
        found: usize,
    },
    /// A transaction that was found valid cannot be read.
    #[error("transaction {index} of block {block} is recorded as valid, but cannot be read")]
    Transaction {
        /// The block.
        block: BlockNumber,
        /// The transaction.
        index: usize,
    },
    /// A configuration that was found valid cannot be used.
    #[error("the configuration of block {block} cannot be used: {source}")]
    Config {
        /// The block.
        block: BlockNumber,
        /// Why not.
        source: ConfigError,
    },
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What became of one transaction.
#[derive(Debug)]
pub struct ValidatedTransaction {
    /// The id as the channel header says; empty where the header has none or cannot be read.
    pub tx_id: TxId,
    /// The type as the channel header says; none where the header cannot be read.
    pub kind: Option<HeaderType>,
    /// The chaincode that ran; none where the transaction is of another type, was refused before its endorsements were
    /// judged, or had its verdict read from the block.
    pub chaincode: Option<ChaincodeName>,
    /// The verdict.
    pub code: ValidationCode,
    /// Why it is invalid; none for a valid one, and for one whose verdict was read from the block.
    pub refusal: Option<Refusal>,
}

impl CheckedBlock {
    /// Judges the transactions in their order, each against the state before the block and the valid ones before it:
    /// changes of key-level policies, repeated ids, changed reads, phantoms.
    ///
    /// `before` is the state after the block before and `previous_commit_hash` that block's commit hash, empty if it has
    /// none.
    pub fn validate(self, before: &dyn StateView, previous_commit_hash: &[u8]) -> Result<ValidatedBlock, StateError> {
        let Self { block, transactions: checked, config } = self;
        let number = block.number();
        let mut updates = UpdateBatch::new();
        let mut changes = PolicyChanges::default();
        let mut seen: HashMap<TxId, usize> = HashMap::with_capacity(checked.len());
        let mut transactions = Vec::with_capacity(checked.len());
        for (index, CheckedTransaction { tx_id, kind, verdict }) in checked.into_iter().enumerate() {
            let version = Height::new(number, index as u64);
            let chaincode = match &verdict {
                Ok(Accepted::Endorsed { content, .. }) => Some(content.chaincode.clone()),
                _ => None,
            };
            let refusal = match verdict {
                Err(refusal) => Some(refusal),
                Ok(Accepted::Config(envelope, _)) => {
                    updates.set_config(envelope, version);
                    None
                }
                Ok(Accepted::Endorsed { content, namespaces }) => {
                    let refusal = match changes.judge(index, &content, namespaces) {
                        Some(refusal) => Some(refusal),
                        None => match seen.get(&tx_id) {
                            Some(first) => Some(Refusal::SeenInBlock { tx_id: tx_id.clone(), first: *first }),
                            None => {
                                seen.insert(tx_id.clone(), index);
                                find_conflict(&content.rwset, &updates, before)?
                            }
                        },
                    };
                    if refusal.is_none() {
                        updates.apply(&content.rwset, version, before)?;
                    }
                    refusal
                }
            };
            let code = refusal.as_ref().map_or(ValidationCode::Valid, Refusal::code);
            transactions.push(ValidatedTransaction { tx_id, kind, chaincode, code, refusal });
        }
        Ok(ValidatedBlock::seal(block, transactions, updates, config, previous_commit_hash))
    }
}

impl ValidatedBlock {
    fn seal(
        mut block: Block,
        transactions: Vec<ValidatedTransaction>,
        updates: UpdateBatch,
        config: Option<Arc<ChannelConfig>>,
        previous_commit_hash: &[u8],
    ) -> Self {
        let codes = ValidationCodes::new(transactions.iter().map(|transaction| transaction.code).collect());
        // Fabric begins with block 1; a chain that has no hash there never gets one.
        let chained = block.number() == BlockNumber::new(1) || !previous_commit_hash.is_empty();
        let hash = chained.then(|| commit_hash(&codes, &updates.canonical_bytes(), previous_commit_hash));
        block.metadata.set(MetadataSlot::TransactionsFilter, codes.to_bytes());
        block.metadata.set(MetadataSlot::CommitHash, hash.map(commit_hash_slot).unwrap_or_default());
        Self { block, codes, transactions, updates, config, commit_hash: hash }
    }

    /// The first block of a channel. Nobody signed it: whoever joins the channel trusts it.
    pub fn genesis(block: Block) -> Result<Self, GenesisError> {
        if block.number() != BlockNumber::GENESIS {
            return Err(GenesisError::Number(block.number()));
        }
        let envelope = block.config_envelope().ok_or(GenesisError::NoConfig)?;
        let config = ChannelConfig::from_block(&block).map_err(GenesisError::Config)?;
        let mut updates = UpdateBatch::new();
        updates.set_config(envelope.data, Height::new(BlockNumber::GENESIS, 0));
        let transaction = ValidatedTransaction {
            tx_id: envelope.channel_header.tx_id,
            kind: Some(HeaderType::Config),
            chaincode: None,
            code: ValidationCode::Valid,
            refusal: None,
        };
        Ok(Self::seal(block, vec![transaction], updates, Some(Arc::new(config)), &[]))
    }

    /// Takes the verdicts from the metadata of a block that this node has validated before, and computes its changes
    /// again from the state before it, to bring a state that lags behind its blocks up to date.
    pub fn replay(block: Block, before: &dyn StateView) -> Result<Self, ReplayError> {
        let number = block.number();
        let codes = block.metadata.validation_codes()?;
        let (expected, found) = (block.data.len(), codes.as_slice().len());
        if expected != found {
            return Err(ReplayError::Count { block: number, expected, found });
        }
        let recorded = block.metadata.commit_hash()?;
        let commit_hash = <[u8; 32]>::try_from(recorded.as_ref()).ok().map(Digest::new);
        let mut updates = UpdateBatch::new();
        let mut config = None;
        let mut transactions = Vec::with_capacity(found);
        for (index, (raw, code)) in block.data.iter().zip(codes.as_slice()).enumerate() {
            let envelope = Envelope::parse(raw.clone());
            let header = envelope.as_ref().ok().map(|envelope| &envelope.channel_header);
            transactions.push(ValidatedTransaction {
                tx_id: header.map_or_else(|| TxId::new(""), |header| header.tx_id.clone()),
                kind: header.map(|header| header.kind),
                chaincode: None,
                code: *code,
                refusal: None,
            });
            if !code.is_valid() {
                continue;
            }
            let version = Height::new(number, index as u64);
            let unreadable = || ReplayError::Transaction { block: number, index };
            let envelope = envelope.map_err(|_| unreadable())?;
            if envelope.channel_header.kind == HeaderType::Config {
                let new = ChannelConfig::from_block(&block)
                    .map_err(|source| ReplayError::Config { block: number, source })?;
                config = Some(Arc::new(new));
                updates.set_config(envelope.data, version);
                continue;
            }
            let transaction = Transaction::parse(envelope.data).map_err(|_| unreadable())?;
            let action = transaction.action().map_err(|_| unreadable())?;
            let set = TxRwSet::parse(action.results).map_err(|_| unreadable())?;
            updates.apply(&set, version, before)?;
        }
        Ok(Self { block, codes, transactions, updates, config, commit_hash })
    }

    /// The block, with verdicts and commit hash in its metadata.
    pub const fn block(&self) -> &Block {
        &self.block
    }

    /// Takes the block out.
    pub fn into_block(self) -> Block {
        self.block
    }

    /// One verdict a transaction.
    pub const fn codes(&self) -> &ValidationCodes {
        &self.codes
    }

    /// The transactions, in block order.
    pub fn transactions(&self) -> &[ValidatedTransaction] {
        &self.transactions
    }

    /// What the valid transactions change.
    pub const fn updates(&self) -> &UpdateBatch {
        &self.updates
    }

    /// The configuration that holds after this block, if it brings one.
    pub const fn config(&self) -> Option<&Arc<ChannelConfig>> {
        self.config.as_ref()
    }

    /// The hash over verdicts, changes and the commit hash before; none for a genesis block.
    pub const fn commit_hash(&self) -> Option<Digest> {
        self.commit_hash
    }

    /// The invalid transactions: place in the block, transaction, reason.
    pub fn refusals(&self) -> impl Iterator<Item = (usize, &ValidatedTransaction, &Refusal)> {
        self.transactions
            .iter()
            .enumerate()
            .filter_map(|(index, transaction)| Some((index, transaction, transaction.refusal.as_ref()?)))
    }
}

fn commit_hash_slot(hash: Digest) -> Bytes {
    common::Metadata { value: hash.to_bytes(), signatures: vec![] }.encode_to_vec().into()
}
