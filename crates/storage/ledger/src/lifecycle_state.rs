use bytes::Bytes;
use ripstop_lifecycle::{LEGACY_NAMESPACE, NAMESPACE, ReadState, Scope, StateFault, WriteState, implicit_collection};
use ripstop_types::MspId;

use crate::{SimulateError, Simulator};

/// The `_lifecycle` state through a simulation: every access is recorded.
pub struct SimulatedLifecycle<'a>(&'a mut Simulator);

impl<'a> SimulatedLifecycle<'a> {
    /// Works on this simulation.
    pub fn new(simulator: &'a mut Simulator) -> Self {
        Self(simulator)
    }
}

fn fault(error: SimulateError) -> StateFault {
    StateFault::new(error)
}

impl ReadState for SimulatedLifecycle<'_> {
    fn get(&mut self, scope: &Scope, key: &str) -> Result<Option<Bytes>, StateFault> {
        match scope.collection() {
            None => self.0.get(NAMESPACE, key),
            Some(collection) => self.0.get_private(NAMESPACE, &collection, key),
        }
        .map_err(fault)
    }

    fn hash(&mut self, org: &MspId, key: &str) -> Result<Option<Bytes>, StateFault> {
        self.0.get_private_hash(NAMESPACE, &implicit_collection(org), key).map_err(fault)
    }

    fn range(&mut self, scope: &Scope, start: &str, end: &str) -> Result<Vec<(String, Bytes)>, StateFault> {
        let range = match scope.collection() {
            None => self.0.range(NAMESPACE, start, end),
            Some(collection) => self.0.private_range(NAMESPACE, &collection, start, end),
        }
        .map_err(fault)?;
        let mut found = Vec::new();
        while let Some(entry) = self.0.next(range).map_err(fault)? {
            found.push((entry.key, entry.value));
        }
        self.0.close(range);
        Ok(found)
    }

    fn legacy(&mut self, name: &str) -> Result<Option<Bytes>, StateFault> {
        self.0.get(LEGACY_NAMESPACE, name).map_err(fault)
    }
}

impl WriteState for SimulatedLifecycle<'_> {
    fn put(&mut self, scope: &Scope, key: &str, value: Bytes) -> Result<(), StateFault> {
        match scope.collection() {
            None => self.0.put(NAMESPACE, key, value),
            Some(collection) => self.0.put_private(NAMESPACE, &collection, key, value),
        }
        .map_err(fault)
    }

    fn delete(&mut self, scope: &Scope, key: &str) -> Result<(), StateFault> {
        match scope.collection() {
            None => self.0.delete(NAMESPACE, key),
            Some(collection) => self.0.delete_private(NAMESPACE, &collection, key),
        }
        .map_err(fault)
    }
}
