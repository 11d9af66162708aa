use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::store::{Durability, Engine, Frozen, RawScan, Write};
use crate::{Keyspace, KvError};

type Keys = Arc<BTreeMap<Vec<u8>, Bytes>>;

/// Ordered maps; a snapshot shares them until the next write copies what it touches.
pub(crate) struct Memory {
    keyspaces: RwLock<HashMap<&'static str, Keys>>,
}

impl Memory {
    pub(crate) fn new(keyspaces: &[Keyspace]) -> Self {
        let keyspaces = keyspaces.iter().map(|keyspace| (keyspace.name, Keys::default())).collect();
        Self { keyspaces: RwLock::new(keyspaces) }
    }
}

impl Engine for Memory {
    fn write(&self, writes: Vec<Write>, _durability: Durability) -> Result<(), KvError> {
        let mut keyspaces = self.keyspaces.write();
        for write in &writes {
            if !keyspaces.contains_key(write.keyspace) {
                return Err(KvError::NoKeyspace(write.keyspace));
            }
            if write.key.is_empty() {
                return Err(KvError::EmptyKey);
            }
        }
        for write in writes {
            let Some(keys) = keyspaces.get_mut(write.keyspace) else { continue };
            let keys = Arc::make_mut(keys);
            match write.value {
                Some(value) => keys.insert(write.key, value),
                None => keys.remove(&write.key),
            };
        }
        Ok(())
    }

    fn freeze(&self) -> Arc<dyn Frozen> {
        Arc::new(FrozenMemory(self.keyspaces.read().clone()))
    }
}

struct FrozenMemory(HashMap<&'static str, Keys>);

impl FrozenMemory {
    fn keys(&self, keyspace: &'static str) -> Result<&Keys, KvError> {
        self.0.get(keyspace).ok_or(KvError::NoKeyspace(keyspace))
    }
}

impl Frozen for FrozenMemory {
    fn get(&self, keyspace: &'static str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.keys(keyspace)?.get(key).cloned())
    }

    fn range(&self, keyspace: &'static str, start: &[u8], end: Option<&[u8]>) -> Result<RawScan, KvError> {
        Ok(Box::new(MemoryScan {
            keys: Arc::clone(self.keys(keyspace)?),
            next: Bound::Included(start.to_vec()),
            end: end.map(<[u8]>::to_vec),
        }))
    }
}

struct MemoryScan {
    keys: Keys,
    next: Bound<Vec<u8>>,
    end: Option<Vec<u8>>,
}

impl Iterator for MemoryScan {
    type Item = Result<(Vec<u8>, Bytes), KvError>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.next.as_ref().map(Vec::as_slice);
        let (key, value) = self.keys.range::<[u8], _>((from, Bound::Unbounded)).next()?;
        if self.end.as_ref().is_some_and(|end| key >= end) {
            return None;
        }
        let pair = (key.clone(), value.clone());
        self.next = Bound::Excluded(key.clone());
        Some(Ok(pair))
    }
}
