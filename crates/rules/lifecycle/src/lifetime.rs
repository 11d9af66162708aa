use std::collections::HashMap;

use ripstop_rwset::{StateError, StateView};
use ripstop_types::BlockNumber;

use crate::CommittedCollections;

/// How many blocks the values of collections live (`block_to_live`), looked up once each.
pub struct Lifetimes<'a> {
    collections: CommittedCollections<'a>,
    /// `None`: no such collection.
    known: HashMap<(String, String), Option<u64>>,
}

impl<'a> Lifetimes<'a> {
    /// As the definitions in this state say.
    pub fn of(state: &'a dyn StateView) -> Self {
        Self { collections: CommittedCollections::of(state), known: HashMap::new() }
    }

    /// Whether the collection exists.
    pub fn exists(&mut self, namespace: &str, collection: &str) -> Result<bool, StateError> {
        Ok(self.block_to_live(namespace, collection)?.is_some())
    }

    /// With which block a value expires that a block wrote; `None`: with none. Implicit collections and those that do not
    /// exist know no end.
    pub fn end(
        &mut self,
        namespace: &str,
        collection: &str,
        written_by: BlockNumber,
    ) -> Result<Option<BlockNumber>, StateError> {
        let lifetime = self.block_to_live(namespace, collection)?.unwrap_or_default();
        let end = written_by.get().checked_add(lifetime).and_then(|last| last.checked_add(1));
        Ok(end.filter(|_| lifetime > 0).map(BlockNumber::new))
    }

    fn block_to_live(&mut self, namespace: &str, collection: &str) -> Result<Option<u64>, StateError> {
        let name = (namespace.to_owned(), collection.to_owned());
        if let Some(known) = self.known.get(&name) {
            return Ok(*known);
        }
        let found = self.collections.find(namespace, collection)?.map(|config| config.block_to_live);
        self.known.insert(name, found);
        Ok(found)
    }
}
