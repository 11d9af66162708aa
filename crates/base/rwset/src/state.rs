use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::kvrwset;
use ripstop_types::{Height, TxId};

use crate::MetadataEntry;

/// What the state holds under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateValue {
    /// The value; of a hashed key the hash of the value. Never empty.
    pub value: Bytes,
    /// Where it was written last, be it only its metadata.
    pub version: Height,
    /// The key's metadata as [`encode_metadata`] makes it; empty where there is none. Clear private keys have none:
    /// their metadata stands under the hashed key.
    pub metadata: Bytes,
}

impl StateValue {
    /// The value of one metadata entry. Of several with the same name the last counts.
    pub fn metadata_entry(&self, name: &str) -> Result<Option<Bytes>, StateError> {
        Ok(decode_metadata(&self.metadata)?.remove(name))
    }
}

/// The state could not be read. Nothing can be decided; the caller stops and reports.
#[derive(Debug, thiserror::Error)]
#[error("the state cannot be read: {0}")]
pub struct StateError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl StateError {
    /// Wraps the storage engine's error, or a text.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// Keys and values in key order.
pub type StateIter<'a> = Box<dyn Iterator<Item = Result<(String, StateValue), StateError>> + Send + 'a>;

/// A world state that does not change while it is looked at: the state after some block.
///
/// Implementations must answer equally for equal chains; validation depends on it. Reading must not block writers.
pub trait StateView: Send + Sync {
    /// The public value of a key. `None` when the key does not exist.
    fn get(&self, namespace: &str, key: &str) -> Result<Option<StateValue>, StateError>;

    /// The public keys from `start` (inclusive) to `end` (exclusive; empty means to the end of the namespace), bytewise.
    fn range(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'_>, StateError>;

    /// The hash of a private value by the hash of its key, with version and metadata.
    fn hashed(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Result<Option<StateValue>, StateError>;

    /// A clear private value, where this peer has it. It may be older than the hash; compare versions.
    fn private(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<StateValue>, StateError>;

    /// The clear private keys of a range, as [`Self::range`].
    fn private_range(
        &self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateIter<'_>, StateError>;

    /// Whether a transaction with this id stands in the chain, valid or not.
    fn has_transaction(&self, tx_id: &TxId) -> Result<bool, StateError>;
}

/// The bytes under which a key's metadata is kept: a `kvrwset.KVMetadataWrite` with nothing but entries.
pub fn encode_metadata(entries: &[MetadataEntry]) -> Bytes {
    let message = kvrwset::KvMetadataWrite { key: String::new(), entries: MetadataEntry::list_to_proto(entries) };
    message.encode_to_vec().into()
}

/// The entries by name. Of several with the same name the last counts.
pub fn decode_metadata(metadata: &Bytes) -> Result<BTreeMap<String, Bytes>, StateError> {
    let message = ripstop_proto::read::<kvrwset::KvMetadataWrite>(metadata.clone()).map_err(StateError::new)?;
    Ok(message.entries.into_iter().map(|entry| (entry.name, entry.value)).collect())
}
