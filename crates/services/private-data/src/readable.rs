use std::collections::BTreeMap;

use ripstop_ledger::{Ledger, PrivateStoreError, StateError};
use ripstop_proto::rwset;
use ripstop_rwset::TxPrivateRwSet;
use ripstop_types::{BlockNumber, SignedData};

use crate::definitions::definitions;

/// Why the private data of a block cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadableError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The private store cannot be read.
    #[error(transparent)]
    Store(#[from] PrivateStoreError),
}

/// The private data of a block that a client may read along with the block, by the transaction's place in it. Blocks.
pub fn readable(
    ledger: &Ledger,
    number: BlockNumber,
    client: &SignedData,
) -> Result<BTreeMap<u64, rwset::TxPvtReadWriteSet>, ReadableError> {
    let (state, channel) = (ledger.snapshot(), ledger.config());
    let kept = ledger.private_data(number, |_, _| true)?;
    let mut known: BTreeMap<(String, String), bool> = BTreeMap::new();
    for (namespace, collection) in kept.values().flat_map(collections) {
        let name = (namespace.to_owned(), collection.to_owned());
        if known.contains_key(&name) {
            continue;
        }
        let definitions = definitions(&state, number, namespace, collection)?;
        // What no definition speaks of, or nobody can be said to belong to, is not given away.
        let may_read = definitions.may_read(client, channel.msps()).and_then(Result::ok).unwrap_or(false);
        known.insert(name, may_read);
    }
    let may_read = |namespace: &str, collection: &str| {
        known.get(&(namespace.to_owned(), collection.to_owned())).copied().unwrap_or(false)
    };
    let readable = kept.into_iter().filter_map(|(tx, mut set)| {
        for ns in &mut set.namespaces {
            ns.collections.retain(|collection| may_read(&ns.namespace, &collection.collection));
        }
        set.namespaces.retain(|ns| !ns.collections.is_empty());
        (!set.namespaces.is_empty()).then(|| (tx, set.to_proto()))
    });
    Ok(readable.collect())
}

fn collections(set: &TxPrivateRwSet) -> impl Iterator<Item = (&str, &str)> {
    set.namespaces
        .iter()
        .flat_map(|ns| ns.collections.iter().map(|collection| (ns.namespace.as_str(), collection.collection.as_str())))
}
