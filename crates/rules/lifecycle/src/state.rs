use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_rwset::StateView;
use ripstop_types::{Digest, MspId};

use crate::{LEGACY_NAMESPACE, NAMESPACE, implicit_collection};

/// Whose part of the `_lifecycle` state is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// What the channel agreed on: public keys of `_lifecycle`.
    Public,
    /// What one organization keeps to itself: its implicit collection of `_lifecycle`.
    Org(MspId),
}

impl Scope {
    /// The collection of the scope; none for the public part.
    pub fn collection(&self) -> Option<String> {
        match self {
            Self::Public => None,
            Self::Org(org) => Some(implicit_collection(org)),
        }
    }
}

/// The state could not be read or written; the caller cannot decide and should pass the message on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StateFault(#[source] Box<dyn std::error::Error + Send + Sync>);

impl StateFault {
    /// Wraps the error of whatever holds the state.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// Reading the `_lifecycle` state. A simulation records every call as a read, so callers make Fabric's calls and no others.
pub trait ReadState {
    /// The value of a key, none when absent.
    fn get(&mut self, scope: &Scope, key: &str) -> Result<Option<Bytes>, StateFault>;

    /// The SHA-256 of a value in an organization's collection, none when absent. Every peer knows it, also one that may
    /// not see the value.
    fn hash(&mut self, org: &MspId, key: &str) -> Result<Option<Bytes>, StateFault>;

    /// All keys from `start` up to, but without, `end`, in order.
    fn range(&mut self, scope: &Scope, start: &str, end: &str) -> Result<Vec<(String, Bytes)>, StateFault>;

    /// The definition of a name in the legacy namespace `lscc`. No channel we serve has any, but Fabric reads the key
    /// wherever `_lifecycle` does not know a name, and the read is part of the read set.
    fn legacy(&mut self, name: &str) -> Result<Option<Bytes>, StateFault>;
}

/// Writing the `_lifecycle` state.
pub trait WriteState: ReadState {
    /// Sets a key.
    fn put(&mut self, scope: &Scope, key: &str, value: Bytes) -> Result<(), StateFault>;

    /// Removes a key.
    fn delete(&mut self, scope: &Scope, key: &str) -> Result<(), StateFault>;
}

/// The committed state, read without recording.
pub struct Committed<'a>(pub &'a dyn StateView);

impl ReadState for Committed<'_> {
    fn get(&mut self, scope: &Scope, key: &str) -> Result<Option<Bytes>, StateFault> {
        let value = match scope.collection() {
            None => self.0.get(NAMESPACE, key),
            Some(collection) => self.0.private(NAMESPACE, &collection, key),
        };
        Ok(value.map_err(StateFault::new)?.map(|value| value.value))
    }

    fn hash(&mut self, org: &MspId, key: &str) -> Result<Option<Bytes>, StateFault> {
        let value = self.0.hashed(NAMESPACE, &implicit_collection(org), Digest::of(key.as_bytes()).as_bytes());
        Ok(value.map_err(StateFault::new)?.map(|value| value.value))
    }

    fn range(&mut self, scope: &Scope, start: &str, end: &str) -> Result<Vec<(String, Bytes)>, StateFault> {
        let entries = match scope.collection() {
            None => self.0.range(NAMESPACE, start, end),
            Some(collection) => self.0.private_range(NAMESPACE, &collection, start, end),
        };
        entries
            .map_err(StateFault::new)?
            .map(|entry| entry.map(|(key, value)| (key, value.value)).map_err(StateFault::new))
            .collect()
    }

    fn legacy(&mut self, name: &str) -> Result<Option<Bytes>, StateFault> {
        Ok(self.0.get(LEGACY_NAMESPACE, name).map_err(StateFault::new)?.map(|value| value.value))
    }
}

/// The `_lifecycle` state in memory: what a transaction writes is there at once. For tests and for rehearsing a deployment.
#[derive(Debug, Clone, Default)]
pub struct MemoryLifecycleState {
    values: BTreeMap<(Scope, String), Bytes>,
    log: Vec<Access>,
}

/// One access to a [`MemoryLifecycleState`], in the order of the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A key was read.
    Read(Scope, String),
    /// The hash of a private value was read.
    Hash(MspId, String),
    /// A key was set.
    Put(Scope, String),
    /// A key was removed.
    Delete(Scope, String),
}

impl MemoryLifecycleState {
    /// What was accessed since the last call, in order.
    pub fn take_log(&mut self) -> Vec<Access> {
        std::mem::take(&mut self.log)
    }
}

impl ReadState for MemoryLifecycleState {
    fn get(&mut self, scope: &Scope, key: &str) -> Result<Option<Bytes>, StateFault> {
        self.log.push(Access::Read(scope.clone(), key.to_owned()));
        Ok(self.values.get(&(scope.clone(), key.to_owned())).cloned())
    }

    fn hash(&mut self, org: &MspId, key: &str) -> Result<Option<Bytes>, StateFault> {
        self.log.push(Access::Hash(org.clone(), key.to_owned()));
        let value = self.values.get(&(Scope::Org(org.clone()), key.to_owned()));
        Ok(value.map(|value| Digest::of(value).to_bytes()))
    }

    fn range(&mut self, scope: &Scope, start: &str, end: &str) -> Result<Vec<(String, Bytes)>, StateFault> {
        let from = (scope.clone(), start.to_owned());
        let to = (scope.clone(), end.to_owned());
        Ok(self.values.range(from..to).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn legacy(&mut self, _name: &str) -> Result<Option<Bytes>, StateFault> {
        Ok(None)
    }
}

impl WriteState for MemoryLifecycleState {
    fn put(&mut self, scope: &Scope, key: &str, value: Bytes) -> Result<(), StateFault> {
        self.log.push(Access::Put(scope.clone(), key.to_owned()));
        self.values.insert((scope.clone(), key.to_owned()), value);
        Ok(())
    }

    fn delete(&mut self, scope: &Scope, key: &str) -> Result<(), StateFault> {
        self.log.push(Access::Delete(scope.clone(), key.to_owned()));
        self.values.remove(&(scope.clone(), key.to_owned()));
        Ok(())
    }
}
