use std::sync::Arc;

use bytes::Bytes;
use ripstop_block_store::BlockStore;
use ripstop_rwset::TxRwSet;
use ripstop_state_db::HistoryIter;
use ripstop_types::{Block, Envelope, Height, Timestamp, Transaction, TxId};

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
pub struct History {
    blocks: Arc<BlockStore>,
    versions: HistoryIter,
    namespace: String,
    key: String,
    /// The block read last: a block may change a key several times.
    last: Option<Arc<Block>>,
}

impl History {
    pub(crate) fn new(blocks: Arc<BlockStore>, versions: HistoryIter, namespace: &str, key: &str) -> Self {
        Self { blocks, versions, namespace: namespace.to_owned(), key: key.to_owned(), last: None }
    }

    fn modification(&mut self, version: Height) -> Result<KeyModification, LedgerError> {
        let block = match self.last.take().filter(|block| block.number() == version.block) {
            Some(block) => Some(block),
            None => self.blocks.appended_block(version.block)?,
        };
        self.last.clone_from(&block);
        block
            .and_then(|block| block.data.get(usize::try_from(version.tx).ok()?).cloned())
            .and_then(|envelope| find_write(envelope, &self.namespace, &self.key))
            .ok_or_else(|| LedgerError::NoHistory {
                namespace: self.namespace.clone(),
                key: self.key.clone(),
                block: version.block,
                transaction: version.tx,
            })
    }
}

impl Iterator for History {
    type Item = Result<KeyModification, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.versions.next()? {
            Ok(version) => Some(self.modification(version)),
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// What a transaction wrote to a key; of several writes in a forged set the first, as Fabric does.
fn find_write(envelope: Bytes, namespace: &str, key: &str) -> Option<KeyModification> {
    let envelope = Envelope::parse(envelope).ok()?;
    let action = Transaction::parse(envelope.data).ok()?.action().ok()?;
    let set = TxRwSet::parse(action.results).ok()?;
    let mut writes = set.namespaces.into_iter().filter(|ns| ns.namespace == namespace).flat_map(|ns| ns.writes);
    let write = writes.find(|write| write.key == key)?;
    Some(KeyModification {
        tx_id: envelope.channel_header.tx_id,
        is_delete: write.deletes(),
        value: write.value,
        timestamp: envelope.channel_header.timestamp,
    })
}
