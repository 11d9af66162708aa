//! Bringing the state up to the blocks, from wherever a crash left it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_block_store::{BlockStore, TransactionIndex};
use ripstop_files::FileSystem;
use ripstop_kv::{Batch, Durability, Keyspace, Options, Store, set_aside_on};
use ripstop_lifecycle::Lifetimes;
use ripstop_private_store::{PrivateSet, PrivateStore};
use ripstop_rwset::commit_hash;
use ripstop_snapshot::SnapshotFiles;
use ripstop_state_db::{KEYSPACES, Savepoint, StateReader, StateWriter};
use ripstop_types::{BlockNumber, ChannelId};
use ripstop_validation::ValidatedBlock;

use crate::error::RecoverError;
use crate::import::import;
use crate::private::{PurgeLog, announced_private_data, erase_purged, purged_keys};
use crate::{OpenError, StateSnapshot, apply, late};

/// How often the progress of a long replay is logged, in blocks.
const PROGRESS: u64 = 10_000;

/// What a state follows from, apart from private data.
#[derive(Clone)]
pub(crate) struct Origin {
    /// Where all of it is.
    pub(crate) files: FileSystem,
    /// The blocks.
    pub(crate) blocks: Arc<BlockStore>,
    /// Where the snapshot lies that stands before them, if the chain does not begin with the genesis block.
    pub(crate) snapshot: PathBuf,
    pub(crate) options: Options,
    pub(crate) purge_log: PurgeLog,
}

impl Origin {
    /// Computes the state after an earlier block once more, beside the ledger's own: a scratch directory holds it. Of
    /// private data there are the hashes only. `go_on` is asked after each block.
    pub(crate) fn state_after(
        &self,
        last: BlockNumber,
        scratch: &Path,
        go_on: impl Fn() -> bool,
    ) -> Result<StateSnapshot, RecoverError> {
        let private = PrivateStore::open_on(&self.files, &scratch.join("private"))?;
        let (_, state) = caught_up(&scratch.join("state"), self, &private, last.next().get(), go_on)?;
        Ok(state)
    }
}

/// Opens the state and replays what it lacks. A state that cannot be used is set aside and begun anew.
pub(crate) fn open_state(
    channel: &ChannelId,
    directory: &Path,
    origin: &Origin,
    private: &PrivateStore,
) -> Result<(Store, StateSnapshot), OpenError> {
    let height = origin.blocks.appended();
    let open = || -> Result<_, RecoverError> {
        let (store, current) = caught_up(directory, origin, private, height, || true)?;
        erase_left_over(channel, &store, &current, private, origin.purge_log)?;
        Ok((store, current))
    };
    let reason = match open() {
        Ok(opened) => return Ok(opened),
        Err(reason) if reason.blames_state() => reason,
        Err(source) => return Err(OpenError::Recover { channel: channel.clone(), source }),
    };
    let aside = set_aside_on(&origin.files, directory)?;
    tracing::warn!(
        "channel [{channel}]: the state cannot be used ({reason}); it was moved to {} and is rebuilt up to block {}",
        aside.display(),
        height.saturating_sub(1)
    );
    open().map_err(|source| OpenError::Recover { channel: channel.clone(), source })
}

/// Opens the state, and replays blocks until it shows `height` of them.
fn caught_up(
    directory: &Path,
    origin: &Origin,
    private: &PrivateStore,
    height: u64,
    go_on: impl Fn() -> bool,
) -> Result<(Store, StateSnapshot), RecoverError> {
    let keyspaces: Vec<Keyspace> = KEYSPACES.into_iter().chain(TransactionIndex::KEYSPACES).collect();
    let store = Store::open_on(&origin.files, directory, &keyspaces, origin.options)?;
    let mut current = written(&store, origin)?;
    if current.height() < height {
        tracing::info!("replaying blocks {} to {} into the state", current.height(), height - 1);
    }
    current = replay_late(&store, current, &origin.blocks, private)?;
    while current.height() < height {
        if !go_on() {
            return Err(RecoverError::Stopped);
        }
        current = replay_next(&store, current, &origin.blocks, private)?;
        current = replay_late(&store, current, &origin.blocks, private)?;
        if current.height().is_multiple_of(PROGRESS) {
            tracing::info!("replayed up to block {} of {height}", current.height());
        }
    }
    if let Some(last) = current.height().checked_sub(1) {
        private.committed().forget_expired(BlockNumber::new(last))?;
    }
    Ok((store, current))
}

/// Lets private data that came after its block take effect where it came. At the end that is everything that is left: what
/// came when the ledger was longer than it is now. What the state has already takes effect once more, which changes nothing.
fn replay_late(
    store: &Store,
    current: StateSnapshot,
    blocks: &BlockStore,
    private: &PrivateStore,
) -> Result<StateSnapshot, RecoverError> {
    let height = current.height();
    let is_last = height == blocks.appended();
    let sets = private.committed().late(height, (!is_last).then_some(height + 1))?;
    let batch = late::batch(&sets, blocks, &current)?;
    if batch.is_empty() {
        return Ok(current);
    }
    store.write(batch, Durability::Buffered)?;
    Ok(StateSnapshot::new(store.snapshot(), height, current.commit_hash().clone()))
}

/// Erases purged values that a crash left. The state must be safe on disk before, because it is the last to need their keys.
fn erase_left_over(
    channel: &ChannelId,
    store: &Store,
    current: &StateSnapshot,
    private: &PrivateStore,
    log: PurgeLog,
) -> Result<(), RecoverError> {
    let Some(last) = current.height().checked_sub(1).map(BlockNumber::new) else { return Ok(()) };
    if !private.committed().has_purged()? {
        return Ok(());
    }
    let mut batch = Batch::new();
    StateWriter::new(&mut batch).put_savepoint(&Savepoint { block: last, commit_hash: current.commit_hash().clone() });
    store.write(batch, Durability::Synced)?;
    Ok(erase_purged(channel, private.committed(), current.height(), log)?)
}

/// The state as it was written last, if the blocks agree that it may be so. The first one comes from the snapshot, if the
/// chain begins behind one.
fn written(store: &Store, origin: &Origin) -> Result<StateSnapshot, RecoverError> {
    let snapshot = store.snapshot();
    let (savepoint, base) = (StateReader::new(snapshot.clone()).savepoint()?, origin.blocks.base());
    let Some(savepoint) = savepoint else {
        return match base {
            None => Ok(StateSnapshot::new(snapshot, 0, Bytes::new())),
            Some(_) => Ok(import(store, &SnapshotFiles::open(&origin.snapshot)?.verify()?)?),
        };
    };
    if base.is_none_or(|base| base.last_block != savepoint.block) {
        let Some(block) = origin.blocks.appended_block(savepoint.block)? else {
            return Err(RecoverError::Ahead { state: savepoint.block, blocks: origin.blocks.appended() });
        };
        same_hash(savepoint.block, &block.metadata.commit_hash()?, &savepoint.commit_hash)?;
    }
    Ok(StateSnapshot::new(snapshot, savepoint.block.next().get(), savepoint.commit_hash))
}

/// Writes the next block's changes, computed from the verdicts it records, and checks that they are those that were
/// computed when it was committed.
fn replay_next(
    store: &Store,
    current: StateSnapshot,
    blocks: &BlockStore,
    private: &PrivateStore,
) -> Result<StateSnapshot, RecoverError> {
    let number = BlockNumber::new(current.height());
    let Some(block) = blocks.appended_block(number)? else { return Ok(current) };
    let validated = ValidatedBlock::replay(ripstop_types::Block::clone(&block), &current)?;
    let recorded = apply::commit_hash(&validated);
    if number == BlockNumber::new(1) || !current.commit_hash().is_empty() {
        let updates = validated.updates().canonical_bytes();
        let computed = commit_hash(validated.codes(), &updates, current.commit_hash());
        same_hash(number, &recorded, computed.as_bytes())?;
    }
    let announced = announced_private_data(&validated);
    let mut sets = if announced.is_empty() { vec![] } else { private.committed().on_time(number)? };
    // A set that its block announces was compared with the hashes when it was stored.
    let announced: HashSet<_> = announced.iter().map(|set| (set.tx, &set.namespace, &set.collection)).collect();
    sets.retain(|PrivateSet { place, .. }| announced.contains(&(place.tx, &place.namespace, &place.collection)));
    let purged = purged_keys(validated.updates().purges(), &sets, private.committed())?;
    let batch = apply::batch(&validated, &sets, &purged, &current, &mut Lifetimes::of(&current))?;
    store.write(batch, Durability::Buffered)?;
    Ok(StateSnapshot::new(store.snapshot(), number.next().get(), recorded))
}

fn same_hash(block: BlockNumber, recorded: &[u8], computed: &[u8]) -> Result<(), RecoverError> {
    if recorded == computed {
        return Ok(());
    }
    Err(RecoverError::Diverged { block, recorded: hex::encode(recorded), computed: hex::encode(computed) })
}
