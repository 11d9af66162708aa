//! The state with which a ledger begins that was made from a snapshot.

use bytes::Bytes;
use ripstop_block_store::TransactionIndex;
use ripstop_channel_config::ChannelConfig;
use ripstop_kv::{Batch, Durability, Store};
use ripstop_lifecycle::{Eligibility, Lifetimes, PastEligibility};
use ripstop_private_store::{Absence, CommittedPrivateData, HashedValue, PrivatePlace};
use ripstop_snapshot::{SnapshotContent, StateRecord, VerifiedSnapshot, split_hashed_namespace};
use ripstop_state_db::{Expiry, Savepoint, StateWriter};
use ripstop_types::MspId;

use crate::StateSnapshot;
use crate::error::ImportError;

/// A batch is written when its keys and values have this many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// What an entry takes beside its key and value, roughly: many small ones must not make a large batch.
const ENTRY_BYTES: usize = 100;

/// How many private values are noted as missing in one step at most.
const NOTED_AT_ONCE: usize = 10_000;

/// Writes all of a snapshot into a store without a state, the savepoint last: what a crash interrupts is begun anew.
/// History begins with the first block behind the snapshot. Of private data there are the hashes only.
pub(crate) fn import(store: &Store, snapshot: &VerifiedSnapshot) -> Result<StateSnapshot, ImportError> {
    let (content, block) = (snapshot.content(), snapshot.metadata().last_block);
    let mut batches = Batches { store, batch: Batch::new(), bytes: 0 };
    for tx_id in content.tx_ids()? {
        TransactionIndex::put_before_snapshot(batches.room(0)?, &tx_id?);
    }
    for change in content.config_history()? {
        let change = change?;
        let mut writer = StateWriter::new(batches.room(change.collections.len())?);
        writer.put_collections(&change.chaincode, change.block, change.collections);
    }
    for record in content.public_state()? {
        let record = record?;
        let key = std::str::from_utf8(&record.key).map_err(|_| ImportError::Key(record.namespace.clone()))?;
        let mut writer = StateWriter::new(batches.room(record.key.len() + record.value.len() + record.metadata.len())?);
        writer.put_public(&record.namespace, key, &record.value, record.version, &record.metadata);
    }
    // When private data expires is told by the definitions of chaincodes, which are public.
    batches.write()?;
    let written = StateSnapshot::new(store.snapshot(), block.next().get(), Bytes::new());
    hashes(&mut batches, content, &written)?;
    let commit_hash = snapshot.additional().last_commit_hash.clone();
    StateWriter::new(&mut batches.batch).put_savepoint(&Savepoint { block, commit_hash: commit_hash.clone() });
    batches.write()?;
    Ok(StateSnapshot::new(store.snapshot(), block.next().get(), commit_hash))
}

/// Hashes of private values, and when they expire: with the same block as on a peer that saw them being written.
fn hashes(batches: &mut Batches<'_>, content: SnapshotContent<'_>, written: &StateSnapshot) -> Result<(), ImportError> {
    let mut lifetimes = Lifetimes::of(written);
    for record in content.private_state_hashes()? {
        let StateRecord { namespace: place, key: key_hash, value, metadata, version } = record?;
        let (namespace, collection) =
            split_hashed_namespace(&place).ok_or_else(|| ImportError::Namespace(place.clone()))?;
        let mut writer = StateWriter::new(batches.room(metadata.len())?);
        writer.put_hashed(namespace, collection, &key_hash, &value, version, &metadata);
        if let Some(at) = lifetimes.end(namespace, collection, version.block)? {
            let (namespace, collection) = (namespace.to_owned(), collection.to_owned());
            writer.put_expiry(at, &Expiry { namespace, collection, key_hash, written_by: version.block, key: None });
        }
    }
    Ok(())
}

/// Notes all private values of an imported state, of which there are the hashes only, as missing in the private store: for
/// reconciliation where they are for the peer's organization (Fabric: `SnapshotDataImporter`).
pub(crate) fn note_missing(
    state: &StateSnapshot,
    config: &ChannelConfig,
    organization: &MspId,
    private: &CommittedPrivateData,
) -> Result<(), ImportError> {
    let mut lifetimes = Lifetimes::of(state);
    let mut noted = Vec::new();
    for (namespace, collection) in state.reader().hashed_places()? {
        let definitions = state.all_collections_of(&namespace)?;
        let eligibility = PastEligibility::of(&definitions, config.msps(), organization, &collection);
        for hash in state.reader().all_hashed(&namespace, &collection)? {
            let (key_hash, found) = hash?;
            let (block, tx) = (found.version.block, found.version.tx);
            let absence = match eligibility.of_block(block) {
                Some(Eligibility::Eligible) => Absence::Missing,
                Some(Eligibility::Ineligible) => Absence::Ineligible,
                None => return Err(ImportError::NoCollection { namespace, collection, block }),
            };
            let expires = lifetimes.end(&namespace, &collection, block)?;
            let place = PrivatePlace { block, tx, namespace: namespace.clone(), collection: collection.clone() };
            noted.push(HashedValue { place, key_hash, value_hash: found.value, absence, expires });
            if noted.len() == NOTED_AT_ONCE {
                private.put_hashed(&std::mem::take(&mut noted))?;
            }
        }
    }
    Ok(private.put_hashed(&noted)?)
}

/// Entries on their way into the store.
struct Batches<'a> {
    store: &'a Store,
    batch: Batch,
    bytes: usize,
}

impl Batches<'_> {
    /// A batch with room for an entry of this many bytes.
    fn room(&mut self, bytes: usize) -> Result<&mut Batch, ImportError> {
        if self.bytes >= BATCH_BYTES {
            self.write()?;
        }
        self.bytes += ENTRY_BYTES + bytes;
        Ok(&mut self.batch)
    }

    fn write(&mut self) -> Result<(), ImportError> {
        self.bytes = 0;
        Ok(self.store.write(std::mem::take(&mut self.batch), Durability::Buffered)?)
    }
}
