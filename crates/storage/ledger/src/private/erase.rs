use ripstop_private_store::{CommittedPrivateData, Erased, PrivateStoreError};
use ripstop_types::ChannelId;

/// Where Fabric's peers log what becomes of private data on the disk.
const LOGGER: &str = "pvtdatastorage";

/// What is written to the log when private keys are purged. Values never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeLog {
    /// Each of them by name, for auditors, and how many they were.
    Keys,
    /// How many they were.
    Counts,
}

/// Erases what was purged by blocks below a height, and says so in the log.
pub(crate) fn erase_purged(
    channel: &ChannelId,
    kept: &CommittedPrivateData,
    height: u64,
    log: PurgeLog,
) -> Result<(), PrivateStoreError> {
    let Erased { keys, writes } = kept.erase_purged(height)?;
    let named = if log == PurgeLog::Keys { writes.as_slice() } else { &[] };
    for (place, key) in named {
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
