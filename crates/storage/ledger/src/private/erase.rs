use ripstop_private_store::{CommittedPrivateData, Erased, PrivateStoreError};
use ripstop_types::ChannelId;

/// Where Fabric's peers log what becomes of private data on the disk.
const LOGGER: &str = "pvtdatastorage";

/// Erases what was purged by blocks below a height, and says so in the log, for auditors: the keys, never the values.
pub(crate) fn erase_purged(
    channel: &ChannelId,
    kept: &CommittedPrivateData,
    height: u64,
) -> Result<(), PrivateStoreError> {
    let Erased { keys, writes } = kept.erase_purged(height)?;
    for (place, key) in &writes {
        tracing::info!(
            target: LOGGER,
            %channel,
            chaincode = %place.namespace,
            collection = %place.collection,
            %key,
            blockNum = place.block.get(),
            tranNum = place.tx,
            "Purging private data from private data storage"
        );
    }
    if keys > 0 {
        tracing::info!(
            target: LOGGER,
            %channel,
            numKeysPurged = keys,
            numPrivateDataStoreRecordsPurged = writes.len(),
            "Purged private data from private data storage"
        );
    }
    Ok(())
}
