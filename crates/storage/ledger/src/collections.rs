//! Which collections chaincodes had, and since when.

use std::collections::BTreeSet;

use prost::Message;
use ripstop_lifecycle::{NAMESPACE, committed_collections, keys};
use ripstop_rwset::{StateError, StateView, UpdateBatch};
use ripstop_state_db::StateWriter;
use ripstop_types::BlockNumber;

/// Notes the collections of chaincodes that a block defines. A definition without collections leaves no trace
/// (Fabric: `confighistory/mgr.go`).
pub(crate) fn note(
    writer: &mut StateWriter<'_>,
    block: BlockNumber,
    updates: &UpdateBatch,
    before: &dyn StateView,
) -> Result<(), StateError> {
    let changed = updates.public_updates().filter(|(namespace, _, _)| *namespace == NAMESPACE);
    let chaincodes: BTreeSet<&str> = changed.filter_map(|(_, key, _)| keys::defined_chaincode(key)).collect();
    let after = updates.over(before);
    for chaincode in chaincodes {
        let collections = committed_collections(&after, chaincode)?;
        if !collections.config.is_empty() {
            writer.put_collections(chaincode, block, collections.encode_to_vec());
        }
    }
    Ok(())
}
