//! Snapshots of a ledger on request, made while commits go on.
//!
//! A snapshot of block N shows the state between the commits of N and N + 1. Taking hold of that state costs nothing, so
//! the commit of N hands it over and goes on, and a thread of its own writes the files: into a directory that is removed at
//! the next start, moved to its place when it is whole. Requests are kept in a file of the ledger's directory until their
//! snapshot is there; one that a crash or a full disk prevented is made at the next start, from the blocks if the state has
//! moved on.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use ripstop_block_store::BlockStore;
use ripstop_files::{Access, FileError, FileSystem};
use ripstop_snapshot::SnapshotTip;
use ripstop_types::{BlockNumber, ChannelId};

use crate::error::RecoverError;
use crate::recover::Origin;
use crate::{GenerateError, SnapshotRequestError, StateSnapshot, export};

/// How many snapshots of a channel may be requested and not be there yet. A further request is refused.
const MAX_REQUESTS: usize = 1000;

/// The directory of a peer's snapshots, laid out as Fabric does: `completed/CHANNEL/BLOCK`, and `temp` for those that are
/// being made.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotsDirectory(PathBuf);

impl SnapshotsDirectory {
    /// Makes the directory where it does not exist, and removes what a crash left unfinished.
    pub(crate) fn open(root: &Path) -> Result<Self, FileError> {
        let (files, directory) = (FileSystem::host(), Self(root.to_owned()));
        files.remove_directory(&directory.temporary())?;
        files.create_directory(&directory.temporary())?;
        files.create_directory(&root.join("completed"))?;
        Ok(directory)
    }

    fn temporary(&self) -> PathBuf {
        self.0.join("temp")
    }

    fn completed(&self, channel: &ChannelId) -> PathBuf {
        self.0.join("completed").join(channel.as_str())
    }

    /// Moves a snapshot to its place for good.
    fn complete(&self, made: &Path, channel: &ChannelId, block: BlockNumber) -> Result<(), FileError> {
        let (files, completed) = (FileSystem::host(), self.completed(channel));
        files.create_directory(&completed)?;
        files.rename(made, &completed.join(block.to_string()))?;
        files.sync_directory(&completed)
    }
}

/// The requests for snapshots of one ledger, and their making.
pub(crate) struct Snapshots {
    maker: Arc<Maker>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Maker {
    channel: ChannelId,
    directory: SnapshotsDirectory,
    /// Locked for as long as a change of the requests takes, before `work`.
    requests: Mutex<RequestFile>,
    origin: Origin,
    /// Commits lock it: nobody who holds it waits for the disk.
    work: Mutex<Work>,
    /// Told when no thread works any more.
    idle: Condvar,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Work {
    /// Requested and not there yet.
    pending: BTreeSet<BlockNumber>,
    /// What can be made now. All are pending too.
    due: VecDeque<Due>,
    /// What is being made: no longer due, and pending still.
    making: Option<BlockNumber>,
    /// Whether a thread works at it.
    busy: bool,
}

/// A snapshot that can be made.
enum Due {
    /// Of this state. The engine keeps all that has changed since, so one waits at most.
    Of(Arc<StateSnapshot>),
    /// Of an earlier state, which must be computed once more.
    Past(BlockNumber),
}

impl Due {
    fn block(&self) -> BlockNumber {
        match self {
            Self::Of(state) => last_block(state),
            Self::Past(block) => *block,
        }
    }
}

impl Work {
    /// Makes the snapshot of a block due if it is requested, and `newest` shows the block or one behind it.
    fn take_up(&mut self, block: BlockNumber, newest: &Arc<StateSnapshot>) {
        let last = last_block(newest);
        if block > last || !self.pending.contains(&block) || self.in_progress(block) {
            return;
        }
        let a_view_waits = self.due.iter().any(|due| matches!(due, Due::Of(_)));
        self.due.push_back(match block == last && !a_view_waits {
            true => Due::Of(Arc::clone(newest)),
            false => Due::Past(block),
        });
    }

    /// Takes out what is made next. A state comes first, so that the engine can let go of it.
    fn next(&mut self) -> Option<Due> {
        let place = self.due.iter().position(|due| matches!(due, Due::Of(_))).unwrap_or(0);
        let next = self.due.remove(place);
        self.making = next.as_ref().map(Due::block);
        next
    }

    fn in_progress(&self, block: BlockNumber) -> bool {
        self.making == Some(block) || self.due.iter().any(|due| due.block() == block)
    }
}

/// The last block that a state shows. A ledger has a block at least.
fn last_block(state: &StateSnapshot) -> BlockNumber {
    BlockNumber::new(state.height().saturating_sub(1))
}

impl Snapshots {
    /// Reads the requests of the ledger in `ledger`, and begins with those that are due already.
    pub(crate) fn open(
        channel: ChannelId,
        directory: SnapshotsDirectory,
        ledger: &Path,
        origin: Origin,
        state: &Arc<StateSnapshot>,
    ) -> Result<Self, FileError> {
        let requests = RequestFile(ledger.join("snapshot-requests"));
        let pending = requests.read()?;
        let mut work = Work { pending: pending.clone(), ..Work::default() };
        pending.into_iter().for_each(|block| work.take_up(block, state));
        let maker = Maker {
            channel,
            directory,
            requests: Mutex::new(requests),
            origin,
            work: Mutex::new(work),
            idle: Condvar::new(),
            stopped: AtomicBool::new(false),
        };
        let snapshots = Self { maker: Arc::new(maker), thread: Mutex::new(None) };
        snapshots.start(&mut snapshots.maker.work.lock());
        Ok(snapshots)
    }

    /// Requests a snapshot of a block that is committed last, or will be; of the last one where `block` is 0. `newest`
    /// shows the state as it is.
    pub(crate) fn submit(
        &self,
        block: BlockNumber,
        newest: impl Fn() -> Arc<StateSnapshot>,
    ) -> Result<(), SnapshotRequestError> {
        let requests = self.maker.requests.lock();
        let state = newest();
        let last = last_block(&state);
        let block = if block == BlockNumber::GENESIS { last } else { block };
        if block < last {
            return Err(SnapshotRequestError::Past { block, last });
        }
        if block == last && self.maker.directory.completed(&self.maker.channel).join(block.to_string()).exists() {
            return Err(SnapshotRequestError::Made(block));
        }
        let pending = {
            let mut work = self.maker.work.lock();
            if work.pending.contains(&block) {
                return Err(SnapshotRequestError::Duplicate(block));
            }
            if work.pending.len() >= MAX_REQUESTS {
                return Err(SnapshotRequestError::TooMany(MAX_REQUESTS));
            }
            work.pending.insert(block);
            // Known from here on to whoever commits; a block may have been committed just before.
            work.take_up(block, &if block == last { state } else { newest() });
            work.pending.clone()
        };
        let written = requests.write(&pending);
        let mut work = self.maker.work.lock();
        if let Err(error) = written {
            work.pending.remove(&block);
            work.due.retain(|due| due.block() != block);
            return Err(error.into());
        }
        self.start(&mut work);
        Ok(())
    }

    /// Takes a request back.
    pub(crate) fn cancel(&self, block: BlockNumber) -> Result<(), SnapshotRequestError> {
        let requests = self.maker.requests.lock();
        let pending = {
            let mut work = self.maker.work.lock();
            if !work.pending.contains(&block) {
                return Err(SnapshotRequestError::Unknown(block));
            }
            if work.in_progress(block) {
                return Err(SnapshotRequestError::InProgress);
            }
            work.pending.remove(&block);
            work.pending.clone()
        };
        requests.write(&pending).map_err(|error| {
            // It stands. If its block was committed meanwhile, it is made at the next start.
            self.maker.work.lock().pending.insert(block);
            error.into()
        })
    }

    /// The blocks of which snapshots are requested and not there yet.
    pub(crate) fn pending(&self) -> Vec<BlockNumber> {
        self.maker.work.lock().pending.iter().copied().collect()
    }

    /// Whether a snapshot of a block is requested and not there yet.
    pub(crate) fn wants(&self, block: BlockNumber) -> bool {
        self.maker.work.lock().pending.contains(&block)
    }

    /// Takes hold of a state that was just committed, where a snapshot of it is requested; also where one is of a block since
    /// `before`, the height of the state before it.
    pub(crate) fn committed(&self, before: u64, state: &Arc<StateSnapshot>) {
        let mut work = self.maker.work.lock();
        let since: Vec<_> = work.pending.range(BlockNumber::new(before)..=last_block(state)).copied().collect();
        since.into_iter().for_each(|block| work.take_up(block, state));
        self.start(&mut work);
    }

    /// Waits until nothing is being made any more: all is there that was due, apart from what the log calls failed.
    pub(crate) fn wait(&self) {
        let mut work = self.maker.work.lock();
        self.maker.idle.wait_while(&mut work, |work| work.busy);
    }

    /// Has a thread make what is due. Where there can be none, it is tried again with the next block or request.
    fn start(&self, work: &mut Work) {
        if work.due.is_empty() || work.busy {
            return;
        }
        let maker = Arc::clone(&self.maker);
        let spawned = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || maker.run());
        match spawned {
            Ok(thread) => {
                work.busy = true;
                *self.thread.lock() = Some(thread);
            }
            Err(error) => tracing::error!(
                "channel [{}]: no thread for snapshots, their requests stand: {error}",
                self.maker.channel
            ),
        }
    }
}

impl Drop for Snapshots {
    /// Gives up what is being made: it is done again when the ledger is opened.
    fn drop(&mut self) {
        self.maker.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Maker {
    fn run(&self) {
        while let Some(due) = self.next() {
            let (channel, block) = (&self.channel, due.block());
            tracing::info!("Generating snapshot channelID={channel} lastCommittedBlockNumber={block}");
            // What a panic leaves behind is a directory, which is removed before the next attempt.
            let made = catch_unwind(AssertUnwindSafe(|| self.make(&due))).unwrap_or(Err(GenerateError::Panicked));
            self.finish(block, made);
        }
    }

    fn next(&self) -> Option<Due> {
        let mut work = self.work.lock();
        let next = if self.is_stopped() { None } else { work.next() };
        if next.is_none() {
            work.busy = false;
            self.idle.notify_all();
        }
        next
    }

    /// Removes the request if it has come to its end. Otherwise it stands until the next start.
    fn finish(&self, block: BlockNumber, made: Result<(), GenerateError>) {
        let channel = &self.channel;
        let failed = format!("Failed to generate snapshot channelID={channel} lastCommittedBlockNumber={block}");
        let ended = match made {
            Ok(()) => {
                tracing::info!("Generated snapshot channelID={channel} lastCommittedBlockNumber={block}");
                true
            }
            Err(GenerateError::Stopped | GenerateError::Rebuild(RecoverError::Stopped)) => false,
            Err(error @ GenerateError::NoBlock(_)) => {
                tracing::error!("{failed} error={error}; the request is dropped");
                true
            }
            Err(error) => {
                tracing::error!("{failed} error={error}; the request stands and is tried again at the next start");
                false
            }
        };
        if !ended {
            self.work.lock().making = None;
            return;
        }
        let requests = self.requests.lock();
        let pending = {
            let mut work = self.work.lock();
            work.making = None;
            work.pending.remove(&block);
            work.pending.clone()
        };
        if let Err(error) = requests.write(&pending) {
            tracing::error!("Failed to delete snapshot request channelID={channel} requestedBlockNum={block}: {error}");
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Makes a snapshot and puts it in its place. What is left of a failure is removed.
    fn make(&self, due: &Due) -> Result<(), GenerateError> {
        let block = due.block();
        if self.directory.completed(&self.channel).join(block.to_string()).exists() {
            return Ok(());
        }
        let system = FileSystem::host();
        let temporary = self.directory.temporary().join(format!("{}-{block}", self.channel));
        system.remove_directory(&temporary)?;
        let made = system.create_directory(&temporary).map_err(GenerateError::from).and_then(|()| {
            let files = temporary.join("files");
            self.write(due, &temporary.join("scratch"), &files)?;
            Ok(self.directory.complete(&files, &self.channel, block)?)
        });
        if let Err(error) = system.remove_directory(&temporary) {
            tracing::warn!(
                "channel [{}]: what is left of making a snapshot stays until the next start: {error}",
                self.channel
            );
        }
        made
    }

    fn write(&self, due: &Due, scratch: &Path, files: &Path) -> Result<(), GenerateError> {
        let state = match due {
            Due::Of(state) => Arc::clone(state),
            Due::Past(block) => {
                let state = self.origin.state_after(*block, scratch, || !self.is_stopped())?;
                // A ledger that begins behind the block shows another one.
                if last_block(&state) != *block {
                    return Err(GenerateError::NoBlock(*block));
                }
                Arc::new(state)
            }
        };
        let tip = tip(&self.channel, &state, &self.origin.blocks)?;
        export::export(&state, &tip, files, || !self.is_stopped()).map(drop)
    }
}

/// How the chain ends that a state shows.
fn tip(channel: &ChannelId, state: &StateSnapshot, blocks: &BlockStore) -> Result<SnapshotTip, GenerateError> {
    let last_block = last_block(state);
    let (last_block_hash, previous_block_hash) = match blocks.base().filter(|base| base.last_block == last_block) {
        Some(base) => (base.last_block_hash.clone(), base.previous_block_hash.clone()),
        None => {
            let block = blocks.appended_block(last_block)?.ok_or(GenerateError::NoBlock(last_block))?;
            (block.header.hash().to_bytes(), block.header.previous_hash.clone())
        }
    };
    Ok(SnapshotTip {
        channel: channel.clone(),
        last_block,
        last_block_hash,
        previous_block_hash,
        last_commit_hash: state.commit_hash().clone(),
    })
}

/// The requests on disk: a block number a line.
struct RequestFile(PathBuf);

impl RequestFile {
    fn read(&self) -> Result<BTreeSet<BlockNumber>, FileError> {
        let system = FileSystem::host();
        if !system.exists(&self.0)? {
            return Ok(BTreeSet::new());
        }
        let file = system.open(&self.0, Access::Read)?;
        let mut text = vec![0; file.length()? as usize];
        file.read_exact_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text);
        let (blocks, others): (Vec<_>, Vec<_>) = text.lines().map(str::parse::<u64>).partition(Result::is_ok);
        if !others.is_empty() {
            tracing::warn!("{}: {} lines name no block and are left out", self.0.display(), others.len());
        }
        Ok(blocks.into_iter().flatten().map(BlockNumber::new).collect())
    }

    fn write(&self, pending: &BTreeSet<BlockNumber>) -> Result<(), FileError> {
        let (system, new) = (FileSystem::host(), self.0.with_extension("new"));
        system.remove_file(&new)?;
        let file = system.open(&new, Access::CreateNew)?;
        let text: String = pending.iter().map(|block| format!("{block}\n")).collect();
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync()?;
        system.rename(&new, &self.0)?;
        self.0.parent().map_or(Ok(()), |directory| system.sync_directory(directory))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use bytes::Bytes;
    use ripstop_block_store::BlockStoreOptions;
    use ripstop_kv::{Options, Store};
    use tempfile::TempDir;

    use super::*;

    /// A place for files, and a state after a block, in which nothing stands.
    fn place() -> (TempDir, impl Fn(u64) -> Arc<StateSnapshot>) {
        let place = tempfile::tempdir().unwrap();
        let options = Options { cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20 };
        let store = Store::open(&place.path().join("state"), &[], options).unwrap();
        let state = move |block: u64| Arc::new(StateSnapshot::new(store.snapshot(), block + 1, Bytes::new()));
        (place, state)
    }

    /// The requests of a ledger without blocks: no snapshot can be made.
    fn snapshots(place: &TempDir, requested: &str, state: &Arc<StateSnapshot>) -> Snapshots {
        std::fs::write(place.path().join("snapshot-requests"), requested).unwrap();
        let blocks = BlockStore::open(&place.path().join("blocks"), BlockStoreOptions::default()).unwrap();
        let origin = Origin {
            files: FileSystem::host(),
            blocks: Arc::new(blocks),
            snapshot: place.path().join("snapshot"),
            options: Options { cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20 },
            purge_log: crate::PurgeLog::Keys,
        };
        let directory = SnapshotsDirectory::open(&place.path().join("snapshots")).unwrap();
        Snapshots::open(ChannelId::new("golden").unwrap(), directory, place.path(), origin, state).unwrap()
    }

    fn numbers(blocks: &[u64]) -> Vec<BlockNumber> {
        blocks.iter().map(|block| BlockNumber::new(*block)).collect()
    }

    #[test]
    fn a_commit_does_not_wait_while_requests_are_written() {
        let (place, state) = place();
        let snapshots = snapshots(&place, "5\n", &state(4));
        let writing = snapshots.maker.requests.lock();
        snapshots.committed(5, &state(5));
        assert!(snapshots.maker.work.lock().in_progress(BlockNumber::new(5)));
        assert_eq!(snapshots.pending(), numbers(&[5]));
        drop(writing);
        snapshots.wait();
        assert_eq!(snapshots.pending(), []);
    }

    #[test]
    fn nobody_waits_for_what_is_given_up() {
        let (place, state) = place();
        let snapshots = snapshots(&place, "", &state(4));
        snapshots.maker.stopped.store(true, Ordering::Relaxed);
        snapshots.submit(BlockNumber::new(4), || state(4)).unwrap();
        snapshots.wait();
        assert_eq!(snapshots.pending(), numbers(&[4]));
    }

    #[test]
    fn one_state_waits_and_it_comes_first() {
        let (_place, state) = place();
        let mut work = Work { pending: numbers(&[1, 2, 3, 9]).into_iter().collect(), ..Work::default() };
        work.take_up(BlockNumber::new(1), &state(1));
        work.take_up(BlockNumber::new(2), &state(2));
        let mut next = || {
            let next = work.next();
            // Not requested; taken up already; still to come.
            for block in [0, 2, 9] {
                work.take_up(BlockNumber::new(block), &state(3));
            }
            work.take_up(BlockNumber::new(3), &state(3));
            work.pending.remove(&BlockNumber::new(3));
            next.map(|due| (due.block().get(), matches!(due, Due::Of(_))))
        };
        assert_eq!(next(), Some((1, true)));
        assert_eq!(next(), Some((3, true)));
        assert_eq!(next(), Some((2, false)));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_block_that_was_committed_during_the_request_is_not_missed() {
        let (place, state) = place();
        let snapshots = snapshots(&place, "", &state(4));
        snapshots.maker.stopped.store(true, Ordering::Relaxed);
        for (block, behind) in [(5, 5), (7, 8)] {
            let looked = std::cell::Cell::new(block - 1);
            snapshots.submit(BlockNumber::new(block), || state(looked.replace(behind))).unwrap();
            assert!(snapshots.maker.work.lock().in_progress(BlockNumber::new(block)));
        }
    }
}
