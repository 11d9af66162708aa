//! What a validated block writes, apart from the block itself: one batch.

use std::collections::HashSet;

use bytes::Bytes;
use ripstop_block_store::{TransactionIndex, TransactionLocation};
use ripstop_kv::{Batch, KvError};
use ripstop_lifecycle::Lifetimes;
use ripstop_private_store::PrivateSet;
use ripstop_rwset::StateError;
use ripstop_state_db::{Savepoint, StateWriter};
use ripstop_types::{Envelope, Height, TxId};
use ripstop_validation::ValidatedBlock;

use crate::private::{PrivateUpdates, PurgedKey, is_of_valid};
use crate::{StateSnapshot, collections, expire};

/// State, history, private values, index and savepoint of a block. `private` holds proven writes of any of its transactions,
/// `purged` the clear keys behind its purges.
pub(crate) fn batch(
    validated: &ValidatedBlock,
    private: &[PrivateSet],
    purged: &[PurgedKey],
    before: &StateSnapshot,
    lifetimes: &mut Lifetimes<'_>,
) -> Result<Batch, StateError> {
    let mut batch = Batch::new();
    index(&mut batch, validated, before).map_err(StateError::new)?;
    let (block, updates) = (validated.block().number(), validated.updates());
    let codes = validated.codes();
    let valid: Vec<PrivateSet> = private.iter().filter(|set| is_of_valid(set, codes)).cloned().collect();
    let private = PrivateUpdates::of_block(&valid, purged, updates, before)?;
    let mut writer = StateWriter::new(&mut batch);
    writer.put_updates(updates);
    private.put(&mut writer);
    expire::expire(&mut writer, block, updates, &private, before)?;
    expire::schedule(&mut writer, block, updates, &private, lifetimes)?;
    collections::note(&mut writer, block, updates, before)?;
    writer.put_savepoint(&Savepoint { block, commit_hash: commit_hash(validated) });
    Ok(batch)
}

/// The commit hash of a block; empty where it has none.
pub(crate) fn commit_hash(validated: &ValidatedBlock) -> Bytes {
    validated.commit_hash().map(ripstop_types::Digest::to_bytes).unwrap_or_default()
}

fn index(batch: &mut Batch, validated: &ValidatedBlock, before: &StateSnapshot) -> Result<(), KvError> {
    let block = validated.block();
    TransactionIndex::put_block(batch, &block.header);
    let mut seen = HashSet::with_capacity(validated.transactions().len());
    for (place, (transaction, raw)) in validated.transactions().iter().zip(&block.data).enumerate() {
        let tx_id = match transaction.tx_id.is_empty() {
            true => computed_id(raw),
            false => Some(transaction.tx_id.clone()),
        };
        let Some(tx_id) = tx_id.filter(|tx_id| seen.insert(tx_id.clone())) else { continue };
        // A valid transaction was looked for in the index already.
        if !transaction.code.is_valid() && before.transaction(&tx_id)?.is_some() {
            continue;
        }
        let height = Height::new(block.number(), place as u64);
        TransactionIndex::put_transaction(batch, &tx_id, TransactionLocation { height, code: transaction.code });
    }
    Ok(())
}

/// Transactions that orderers make have no id in their header; it follows from nonce and creator all the same.
fn computed_id(raw: &Bytes) -> Option<TxId> {
    let header = Envelope::parse(raw.clone()).ok()?.signature_header;
    Some(TxId::compute(&header.nonce, &header.creator))
}
