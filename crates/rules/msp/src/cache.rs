use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::Identity;

/// How many identities a generation of the cache holds; there are two generations. A channel's active signers are far
/// fewer; when there are more, the older half is forgotten and identified anew.
const GENERATION: usize = 1024;

/// Longer identities are not kept.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// Valid identities by the bytes they travel as. Reading takes a shared lock only.
#[derive(Default)]
pub(crate) struct IdentityCache(RwLock<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Bytes, Arc<Identity>>,
    old: HashMap<Bytes, Arc<Identity>>,
}

impl IdentityCache {
    pub(crate) fn get(&self, serialized: &Bytes) -> Option<Arc<Identity>> {
        let found = {
            let generations = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(identity) = generations.young.get(serialized) {
                return Some(Arc::clone(identity));
            }
            Arc::clone(generations.old.get(serialized)?)
        };
        self.put(serialized, &found);
        Some(found)
    }

    /// Keeps an identity if it is valid. What is not valid is rare, cheap to refuse again and not worth the room.
    pub(crate) fn put(&self, serialized: &Bytes, identity: &Arc<Identity>) {
        if identity.validity.is_err() || serialized.len() > MAX_KEY_BYTES {
            return;
        }
        let mut generations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        // A copy, because the slice received keeps a whole block alive.
        generations.young.insert(Bytes::copy_from_slice(serialized), Arc::clone(identity));
    }
}
