use ripstop_ledger::{StateError, StateSnapshot};
use ripstop_lifecycle::committed_collections;
use ripstop_proto::protos::{CollectionConfig, CollectionConfigPackage, StaticCollectionConfig, collection_config};
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

/// The definitions of some collections, as they travel.
pub(crate) fn package(configs: impl IntoIterator<Item = StaticCollectionConfig>) -> CollectionConfigPackage {
    let payload = |config| Some(collection_config::Payload::StaticCollectionConfig(config));
    let config = configs.into_iter().map(|config| CollectionConfig { payload: payload(config) });
    CollectionConfigPackage { config: config.collect() }
}
