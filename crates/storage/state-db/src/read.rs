use bytes::Bytes;
use ripstop_kv::{Scan, Snapshot};
use ripstop_rwset::{StateError, StateIter, StateValue};
use ripstop_types::{BlockNumber, Height};

use crate::keys::{self, Expiry, Savepoint};

/// Reads the state after one exact block.
#[derive(Clone)]
pub struct StateReader(Snapshot);

impl StateReader {
    /// Reads from a snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(snapshot)
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.0
    }

    /// Up to which block the state is written. `None`: nothing is written yet, or in another form.
    pub fn savepoint(&self) -> Result<Option<Savepoint>, StateError> {
        let stored = self.0.get(&keys::META, keys::SAVEPOINT_KEY).map_err(StateError::new)?;
        Ok(stored.as_ref().and_then(Savepoint::decode))
    }

    /// The value of a public key.
    pub fn public(&self, namespace: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        self.get(&keys::public(namespace, key))
    }

    /// The hash of a private value, by the hash of the key.
    pub fn hashed(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Result<Option<StateValue>, StateError> {
        self.get(&keys::hashed(namespace, collection, key_hash))
    }

    /// A clear private value.
    pub fn private(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        self.get(&keys::private(namespace, collection, key))
    }

    /// Public keys from `start` (inclusive) to `end` (exclusive; empty means to the end of the namespace), in order.
    pub fn public_range(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'static>, StateError> {
        self.range(&keys::public(namespace, ""), start, end)
    }

    /// Clear private keys of a range, as [`Self::public_range`].
    pub fn private_range(
        &self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateIter<'static>, StateError> {
        self.range(&keys::private(namespace, collection, ""), start, end)
    }

    /// The private keys that were to expire with a block, when they were written.
    pub fn expiries(&self, at: BlockNumber) -> Result<Vec<Expiry>, StateError> {
        let prefix = keys::expiry_prefix(at);
        let scan = self.0.prefix(&keys::META, &prefix).map_err(StateError::new)?;
        scan.map(|pair| {
            let (key, value) = pair.map_err(StateError::new)?;
            let name = Bytes::copy_from_slice(key.get(prefix.len()..).unwrap_or_default());
            Expiry::decode(&name, &value).ok_or_else(|| StateError::new("an expiry of private data is damaged"))
        })
        .collect()
    }

    /// All public keys in the order of namespace and key: namespace, key, value.
    pub fn all_public(
        &self,
    ) -> Result<impl Iterator<Item = Result<(String, Bytes, StateValue), StateError>>, StateError> {
        let scan = self.0.prefix(&keys::STATE, &[keys::PUBLIC]).map_err(StateError::new)?;
        Ok(scan.map(|pair| {
            let (key, stored) = pair.map_err(StateError::new)?;
            let (namespace, key) = keys::decode_public(&key).ok_or_else(damaged_key)?;
            Ok((namespace, key, decode(stored)?))
        }))
    }

    /// The collections that have hashes of private values: namespace and collection, in no order to rely on.
    pub fn hashed_places(&self) -> Result<Vec<(String, String)>, StateError> {
        let mut places = Vec::new();
        let mut start = vec![keys::HASHED];
        loop {
            let mut scan = self.0.range(&keys::STATE, &start, Some(&[keys::HASHED + 1])).map_err(StateError::new)?;
            let Some(first) = scan.next() else { return Ok(places) };
            let (key, _) = first.map_err(StateError::new)?;
            let (namespace, collection) = keys::decode_hashed_place(&key).ok_or_else(damaged_key)?;
            start = after_all(&keys::hashed(&namespace, &collection, &[]));
            places.push((namespace, collection));
        }
    }

    /// All hashes of a collection in the order of the hashes of the keys: hash of the key, value.
    pub fn all_hashed(
        &self,
        namespace: &str,
        collection: &str,
    ) -> Result<impl Iterator<Item = Result<(Bytes, StateValue), StateError>> + use<>, StateError> {
        let prefix = keys::hashed(namespace, collection, &[]);
        let scan = self.0.range(&keys::STATE, &prefix, Some(&after_all(&prefix))).map_err(StateError::new)?;
        let skip = prefix.len();
        Ok(scan.map(move |pair| {
            let (key, stored) = pair.map_err(StateError::new)?;
            Ok((Bytes::copy_from_slice(key.get(skip..).unwrap_or_default()), decode(stored)?))
        }))
    }

    /// The collections of a chaincode that blocks below `below` defined last: the block and the bytes of the
    /// `protos.CollectionConfigPackage`.
    pub fn collections_below(
        &self,
        chaincode: &str,
        below: BlockNumber,
    ) -> Result<Option<(BlockNumber, Bytes)>, StateError> {
        let Some((start, end)) = keys::collections_below(chaincode, below) else { return Ok(None) };
        let mut scan = self.0.range(&keys::META, &start, Some(&end)).map_err(StateError::new)?;
        let Some(found) = scan.next() else { return Ok(None) };
        let (key, collections) = found.map_err(StateError::new)?;
        let (_, block) = keys::decode_collections(&key).ok_or_else(damaged_key)?;
        Ok(Some((block, collections)))
    }

    /// All definitions of collections: chaincode, block, bytes of the `protos.CollectionConfigPackage`. By the text
    /// `CHAINCODE~collection`, newest first.
    pub fn all_collections(
        &self,
    ) -> Result<impl Iterator<Item = Result<(String, BlockNumber, Bytes), StateError>> + use<>, StateError> {
        let scan = self.0.prefix(&keys::META, keys::COLLECTIONS_PREFIX).map_err(StateError::new)?;
        Ok(scan.map(|pair| {
            let (key, collections) = pair.map_err(StateError::new)?;
            let (chaincode, block) = keys::decode_collections(&key).ok_or_else(damaged_key)?;
            Ok((chaincode, block, collections))
        }))
    }

    /// The transactions that changed a public key, newest first.
    pub fn history(&self, namespace: &str, key: &str) -> Result<HistoryIter, StateError> {
        let prefix = keys::history_prefix(namespace, key);
        let length = prefix.len() + 12;
        let scan = self.0.prefix(&keys::HISTORY, &prefix).map_err(StateError::new)?;
        Ok(HistoryIter { scan, length })
    }

    fn get(&self, key: &[u8]) -> Result<Option<StateValue>, StateError> {
        match self.0.get(&keys::STATE, key).map_err(StateError::new)? {
            None => Ok(None),
            Some(stored) => decode(stored).map(Some),
        }
    }

    fn range(&self, prefix: &[u8], start: &str, end: &str) -> Result<StateIter<'static>, StateError> {
        let first = [prefix, start.as_bytes()].concat();
        let scan = if end.is_empty() {
            self.0.range(&keys::STATE, &first, Some(&after_all(prefix)))
        } else {
            self.0.range(&keys::STATE, &first, Some(&[prefix, end.as_bytes()].concat()))
        };
        let skip = prefix.len();
        let decoded = scan.map_err(StateError::new)?.map(move |pair| {
            let (key, stored) = pair.map_err(StateError::new)?;
            let key = key.get(skip..).unwrap_or_default().to_vec();
            Ok((String::from_utf8(key).map_err(StateError::new)?, decode(stored)?))
        });
        Ok(Box::new(decoded))
    }
}

/// What follows all keys behind a prefix that ends with a separator, the byte 0: the byte 1 ends them.
fn after_all(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    if let Some(separator) = after.last_mut() {
        *separator = 1;
    }
    after
}

fn damaged_key() -> StateError {
    StateError::new("a key of the state is damaged")
}

fn decode(stored: Bytes) -> Result<StateValue, StateError> {
    keys::decode_value(stored).ok_or_else(|| StateError::new("a value of the state is damaged"))
}

/// The versions of a key, newest first.
pub struct HistoryIter {
    scan: Scan,
    length: usize,
}

impl Iterator for HistoryIter {
    type Item = Result<Height, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = match self.scan.next()? {
                Err(error) => return Some(Err(StateError::new(error))),
                Ok((key, _)) => key,
            };
            // The prefix holds the length of the key, so all that begin with it are of this key; a damaged one is not.
            if key.len() == self.length {
                return keys::history_version(&key).map(Ok);
            }
        }
    }
}
