//! The state after a block as a snapshot that another peer can begin from.

use std::path::Path;

use ripstop_rwset::StateError;
use ripstop_snapshot::{
    AdditionalMetadata, CollectionsChange, SnapshotTip, SnapshotWriter, StateRecord, hashed_namespace,
};

use crate::{GenerateError, StateSnapshot};

/// Writes the snapshot of a state into a new directory. `go_on` is asked now and then.
pub(crate) fn export(
    state: &StateSnapshot,
    tip: &SnapshotTip,
    directory: &Path,
    go_on: impl Fn() -> bool,
) -> Result<AdditionalMetadata, GenerateError> {
    let mut writer = SnapshotWriter::create(directory)?;
    let checked = || if go_on() { Ok(()) } else { Err(GenerateError::Stopped) };
    for tx_id in state.tx_ids().map_err(StateError::new)? {
        writer.tx_id(&tx_id.map_err(StateError::new)?)?;
        checked()?;
    }
    for change in state.reader().all_collections()? {
        let (chaincode, block, collections) = change?;
        writer.collections(&CollectionsChange { chaincode, block, collections })?;
    }
    for entry in state.reader().all_public()? {
        let (namespace, key, found) = entry?;
        let (value, metadata, version) = (found.value, found.metadata, found.version);
        writer.public(&StateRecord { namespace, key, value, metadata, version })?;
        checked()?;
    }
    let places = state.reader().hashed_places()?;
    let mut places: Vec<_> =
        places.into_iter().map(|(chaincode, name)| (hashed_namespace(&chaincode, &name), chaincode, name)).collect();
    places.sort();
    for (namespace, chaincode, collection) in places {
        for entry in state.reader().all_hashed(&chaincode, &collection)? {
            let (key, found) = entry?;
            let (value, metadata, version) = (found.value, found.metadata, found.version);
            writer.private_hash(&StateRecord { namespace: namespace.clone(), key, value, metadata, version })?;
            checked()?;
        }
    }
    Ok(writer.finish(tip)?)
}
