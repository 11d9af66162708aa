use ripstop_ledger::{StateError, StateSnapshot};
use ripstop_lifecycle::committed_collections;
use ripstop_sharing::Definitions;
use ripstop_types::BlockNumber;

/// What a collection was when a block wrote to it, and what it is in this state.
pub(crate) fn definitions(
    state: &StateSnapshot,
    block: BlockNumber,
    namespace: &str,
    collection: &str,
) -> Result<Definitions, StateError> {
    let then = state.collections_below(namespace, block)?.map(|(_, package)| package);
    let now = committed_collections(state, namespace)?;
    Ok(Definitions::of(collection, then.as_ref(), &now))
}
