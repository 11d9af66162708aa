//! Snapshots of a ledger on request, made while commits go on.
//!
//! A snapshot of block N shows the state between the commits of N and N + 1. Taking hold of that state costs nothing, so
//! the commit of N hands it over and goes on, and a thread of its own writes the files: into a directory that is removed at
//! the next start, moved to its place when it is whole. Requests are kept in a file of the ledger's directory until their
//! snapshot is there; one that a crash prevented is made at the next start, from the blocks if the state has moved on.

use std::collections::{BTreeSet, VecDeque};
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
    requests: RequestFile,
    origin: Origin,
    work: Mutex<Work>,
    /// Told when nothing is due any more.
    idle: Condvar,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Work {
    /// Requested and not there yet.
    pending: BTreeSet<u64>,
    /// What can be made now, first come first served. All are pending too.
    due: VecDeque<Due>,
    /// Whether a thread works at it.
    busy: bool,
}

/// A snapshot that can be made.
enum Due {
    /// Of this state.
    Of(Arc<StateSnapshot>),
    /// Of an earlier state, which must be computed once more.
    Past(BlockNumber),
}

impl Due {
    fn block(&self) -> u64 {
        match self {
            Self::Of(state) => last_block(state).get(),
            Self::Past(block) => block.get(),
        }
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
        let last = last_block(state).get();
        let missed = pending.range(..=last).map(|block| match *block == last {
            true => Due::Of(Arc::clone(state)),
            false => Due::Past(BlockNumber::new(*block)),
        });
        let work = Work { due: missed.collect(), pending, busy: false };
        let maker = Maker {
            channel,
            directory,
            requests,
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
    /// shows the state as it is: asked under the lock, so that no commit goes by unseen.
    pub(crate) fn submit(
        &self,
        block: BlockNumber,
        newest: impl FnOnce() -> Arc<StateSnapshot>,
    ) -> Result<(), SnapshotRequestError> {
        let mut work = self.maker.work.lock();
        let state = newest();
        let last = last_block(&state);
        let block = if block == BlockNumber::GENESIS { last } else { block };
        if block < last {
            return Err(SnapshotRequestError::Past { block, last });
        }
        if block == last && self.maker.directory.completed(&self.maker.channel).join(block.to_string()).exists() {
            return Err(SnapshotRequestError::Made(block));
        }
        if work.pending.contains(&block.get()) {
            return Err(SnapshotRequestError::Duplicate(block));
        }
        self.maker.change(&mut work.pending, |pending| pending.insert(block.get()))?;
        if block == last {
            work.due.push_back(Due::Of(state));
            self.start(&mut work);
        }
        Ok(())
    }

    /// Takes a request back.
    pub(crate) fn cancel(&self, block: BlockNumber) -> Result<(), SnapshotRequestError> {
        let mut work = self.maker.work.lock();
        if !work.pending.contains(&block.get()) {
            return Err(SnapshotRequestError::Unknown(block));
        }
        if work.due.iter().any(|due| due.block() == block.get()) {
            return Err(SnapshotRequestError::InProgress);
        }
        Ok(self.maker.change(&mut work.pending, |pending| pending.remove(&block.get()))?)
    }

    /// The blocks of which snapshots are requested and not there yet.
    pub(crate) fn pending(&self) -> Vec<BlockNumber> {
        self.maker.work.lock().pending.iter().map(|block| BlockNumber::new(*block)).collect()
    }

    /// Takes hold of a state that was just committed, where a snapshot of it is requested.
    pub(crate) fn committed(&self, state: &Arc<StateSnapshot>) {
        let mut work = self.maker.work.lock();
        let block = last_block(state).get();
        if work.pending.contains(&block) && !work.due.iter().any(|due| due.block() == block) {
            work.due.push_back(Due::Of(Arc::clone(state)));
            self.start(&mut work);
        }
    }

    /// Waits until all snapshots are made that are due.
    pub(crate) fn wait(&self) {
        let mut work = self.maker.work.lock();
        self.maker.idle.wait_while(&mut work, |work| !work.due.is_empty());
    }

    fn start(&self, work: &mut Work) {
        if work.due.is_empty() || work.busy {
            return;
        }
        work.busy = true;
        let maker = Arc::clone(&self.maker);
        let spawned = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || maker.run());
        match spawned {
            Ok(thread) => *self.thread.lock() = Some(thread),
            Err(error) => {
                work.busy = false;
                tracing::error!("channel [{}]: no thread for snapshots: {error}", self.maker.channel);
            }
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
        loop {
            let due = {
                let mut work = self.work.lock();
                match work.due.front() {
                    Some(Due::Of(state)) if !self.is_stopped() => Due::Of(Arc::clone(state)),
                    Some(Due::Past(block)) if !self.is_stopped() => Due::Past(*block),
                    _ => {
                        work.busy = false;
                        break;
                    }
                }
            };
            let (channel, block) = (&self.channel, BlockNumber::new(due.block()));
            tracing::info!("Generating snapshot channelID={channel} lastCommittedBlockNumber={block}");
            let made = self.make(&due);
            let mut work = self.work.lock();
            match made {
                Ok(()) => tracing::info!("Generated snapshot channelID={channel} lastCommittedBlockNumber={block}"),
                Err(GenerateError::Stopped | GenerateError::Rebuild(RecoverError::Stopped)) => continue,
                Err(error) => tracing::error!(
                    "Failed to generate snapshot channelID={channel} lastCommittedBlockNumber={block} error={error}"
                ),
            }
            work.due.pop_front();
            if let Err(error) = self.change(&mut work.pending, |pending| pending.remove(&block.get())) {
                tracing::error!(
                    "Failed to delete snapshot request channelID={channel} requestedBlockNum={block}: {error}"
                );
            }
            if work.due.is_empty() {
                self.idle.notify_all();
            }
        }
        self.idle.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Makes a snapshot and puts it in its place. What is left of a failure is removed.
    fn make(&self, due: &Due) -> Result<(), GenerateError> {
        let block = BlockNumber::new(due.block());
        if self.directory.completed(&self.channel).join(block.to_string()).exists() {
            return Ok(());
        }
        let system = FileSystem::host();
        let temporary = self.directory.temporary().join(format!("{}-{block}", self.channel));
        system.remove_directory(&temporary)?;
        system.create_directory(&temporary)?;
        let files = temporary.join("files");
        let made = match due {
            Due::Of(state) => self.write(state, &files),
            Due::Past(block) => self
                .origin
                .state_after(*block, &temporary.join("scratch"), || !self.is_stopped())
                .map_err(GenerateError::from)
                // A ledger that begins behind the block shows another one.
                .and_then(|state| match last_block(&state) == *block {
                    true => self.write(&state, &files),
                    false => Err(GenerateError::NoBlock(*block)),
                }),
        };
        let made = made.and_then(|()| Ok(self.directory.complete(&files, &self.channel, block)?));
        system.remove_directory(&temporary)?;
        made
    }

    fn write(&self, state: &StateSnapshot, files: &Path) -> Result<(), GenerateError> {
        let tip = tip(&self.channel, state, &self.origin.blocks)?;
        export::export(state, &tip, files, || !self.is_stopped()).map(drop)
    }

    /// Changes the requests on disk, then in memory.
    fn change(
        &self,
        pending: &mut BTreeSet<u64>,
        change: impl FnOnce(&mut BTreeSet<u64>) -> bool,
    ) -> Result<(), FileError> {
        let mut changed = pending.clone();
        change(&mut changed);
        self.requests.write(&changed)?;
        *pending = changed;
        Ok(())
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
    fn read(&self) -> Result<BTreeSet<u64>, FileError> {
        let system = FileSystem::host();
        if !system.exists(&self.0)? {
            return Ok(BTreeSet::new());
        }
        let file = system.open(&self.0, Access::Read)?;
        let mut text = vec![0; file.length()? as usize];
        file.read_exact_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text);
        let (blocks, others): (Vec<_>, Vec<_>) = text.lines().map(str::parse).partition(Result::is_ok);
        if !others.is_empty() {
            tracing::warn!("{}: {} lines name no block and are left out", self.0.display(), others.len());
        }
        Ok(blocks.into_iter().flatten().collect())
    }

    fn write(&self, pending: &BTreeSet<u64>) -> Result<(), FileError> {
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
