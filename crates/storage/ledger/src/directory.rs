//! What stands where in the directory of a peer's ledgers. Each change made here is either undone or done after a crash.
//!
//! | name | what |
//! |---|---|
//! | `fileLock` | locked by the process that uses the ledgers |
//! | `.creating-CHANNEL` | a ledger that is being made; removed when the ledgers are opened |
//! | `.deleting-CHANNEL` | a ledger that is being removed; the same |
//! | `CHANNEL/blocks` | the block files: the truth |
//! | `CHANNEL/private` | clear private data, which stands nowhere else |
//! | `CHANNEL/state` | what is derived from both |
//! | `CHANNEL/state.dropped` | a former state that is being removed |
//! | `CHANNEL/snapshot` | the snapshot that the ledger began with, if it did: a part of the truth |
//! | `CHANNEL/snapshot-requests` | requests for snapshots |
//! | `CHANNEL/paused` | empty; where it is, the ledger is not opened |
//! | `CHANNEL/rollback` | see [`crate::rollback`] |

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ripstop_files::{Access, File, FileError, FileSystem};
use ripstop_types::ChannelId;

use crate::OpenError;

/// The beginning of the names of directories in which a ledger is being made. No channel's name begins so.
const CREATING: &str = ".creating-";
/// The beginning of the names of directories of ledgers that are being removed.
const DELETING: &str = ".deleting-";
const LOCK: &str = "fileLock";
const PAUSED: &str = "paused";
const STATE: &str = "state";
const DROPPED_STATE: &str = "state.dropped";
const ROLLBACK: &str = "rollback";
/// The most bytes that the record of a rollback has: two numbers.
const MAX_ROLLBACK: u64 = 64;

/// Whether a peer takes part in a channel that it has joined. Displayed in Fabric's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerStatus {
    /// It does.
    Active,
    /// It was paused: the ledger stays as it is until it is resumed.
    Inactive,
}

impl fmt::Display for LedgerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
        })
    }
}

/// The directory of all ledgers of a peer, which one process at a time holds.
pub(crate) struct LedgersDirectory {
    files: FileSystem,
    root: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl LedgersDirectory {
    /// Takes hold of the directory, made where it does not exist, and finishes removals that were interrupted. Private values
    /// stand in it in clear, so it is closed to other users of the machine.
    pub(crate) fn open(files: &FileSystem, root: &Path) -> Result<Self, OpenError> {
        files.create_directory(root)?;
        files.close_to_others(root)?;
        let lock = files.open(&root.join(LOCK), Access::Create)?;
        lock.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse(error.path),
            _ => error.into(),
        })?;
        for entry in files.list(root)? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(CREATING) || name.starts_with(DELETING) {
                files.remove_directory(&entry)?;
            }
        }
        Ok(Self { files: files.clone(), root: root.to_owned(), _lock: lock })
    }

    /// The ledgers, by channel.
    pub(crate) fn ledgers(&self) -> Result<BTreeMap<ChannelId, LedgerDirectory>, FileError> {
        let mut ledgers = BTreeMap::new();
        for path in self.files.list(&self.root)? {
            match ChannelId::new(&path.file_name().unwrap_or_default().to_string_lossy()) {
                Ok(channel) => drop(ledgers.insert(channel, LedgerDirectory { files: self.files.clone(), path })),
                Err(_) if path.is_dir() => tracing::warn!("{} is no ledger and is left alone", path.display()),
                Err(_) => {}
            }
        }
        Ok(ledgers)
    }

    /// Makes a ledger's directory: what `fill` writes stands under the channel's name once it is whole.
    pub(crate) fn create<E: From<FileError>>(
        &self,
        channel: &ChannelId,
        fill: impl FnOnce(&LedgerDirectory) -> Result<(), E>,
    ) -> Result<LedgerDirectory, E> {
        let creating = self.root.join(format!("{CREATING}{channel}"));
        self.files.remove_directory(&creating)?;
        self.files.create_directory(&creating)?;
        let mut directory = LedgerDirectory { files: self.files.clone(), path: creating };
        fill(&directory)?;
        self.files.sync_directory(&directory.path)?;
        let path = self.root.join(channel.as_str());
        self.files.rename(&directory.path, &path)?;
        self.files.sync_directory(&self.root)?;
        directory.path = path;
        Ok(directory)
    }

    /// Removes a ledger with all that is in it. An error may leave a part of it, which is removed when the directory is
    /// opened again; it is no ledger any more.
    pub(crate) fn delete(&self, channel: &ChannelId) -> Result<(), FileError> {
        let deleting = self.root.join(format!("{DELETING}{channel}"));
        self.files.rename(&self.root.join(channel.as_str()), &deleting)?;
        self.files.sync_directory(&self.root)?;
        self.files.remove_directory(&deleting)
    }
}

/// The directory of one ledger.
#[derive(Clone)]
pub(crate) struct LedgerDirectory {
    files: FileSystem,
    path: PathBuf,
}

impl LedgerDirectory {
    /// Where it is.
    pub(crate) fn files(&self) -> &FileSystem {
        &self.files
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn blocks(&self) -> PathBuf {
        self.path.join("blocks")
    }

    pub(crate) fn private(&self) -> PathBuf {
        self.path.join("private")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// The snapshot that the ledger began with, if it did.
    pub(crate) fn snapshot(&self) -> PathBuf {
        self.path.join("snapshot")
    }

    pub(crate) fn begins_with_snapshot(&self) -> Result<bool, FileError> {
        self.files.exists(&self.snapshot())
    }

    pub(crate) fn status(&self) -> Result<LedgerStatus, FileError> {
        let paused = self.files.exists(&self.path.join(PAUSED))?;
        Ok(if paused { LedgerStatus::Inactive } else { LedgerStatus::Active })
    }

    pub(crate) fn set_status(&self, status: LedgerStatus) -> Result<(), FileError> {
        match status {
            LedgerStatus::Active => self.remove_file(PAUSED),
            LedgerStatus::Inactive => {
                self.files.open(&self.path.join(PAUSED), Access::Create)?;
                self.files.sync_directory(&self.path)
            }
        }
    }

    /// Removes the state, of which nothing is left when it is opened the next time.
    pub(crate) fn drop_state(&self) -> Result<(), FileError> {
        self.finish_dropping()?;
        if !self.files.exists(&self.state())? {
            return Ok(());
        }
        self.files.rename(&self.state(), &self.path.join(DROPPED_STATE))?;
        self.files.sync_directory(&self.path)?;
        self.finish_dropping()
    }

    /// Removes what a crash left of [`Self::drop_state`].
    pub(crate) fn finish_dropping(&self) -> Result<(), FileError> {
        self.files.remove_directory(&self.path.join(DROPPED_STATE))
    }

    /// The bytes of the record of a rollback, if there is one.
    pub(crate) fn rollback(&self) -> Result<Option<Vec<u8>>, FileError> {
        let path = self.path.join(ROLLBACK);
        if !self.files.exists(&path)? {
            return Ok(None);
        }
        let file = self.files.open(&path, Access::Read)?;
        let mut record = vec![0; file.length()?.min(MAX_ROLLBACK) as usize];
        file.read_exact_at(&mut record, 0)?;
        Ok(Some(record))
    }

    /// Writes the record of a rollback, in place of any before.
    pub(crate) fn put_rollback(&self, record: &[u8]) -> Result<(), FileError> {
        let (path, temporary) = (self.path.join(ROLLBACK), self.path.join(format!("{ROLLBACK}.new")));
        let file = self.files.open(&temporary, Access::Create)?;
        file.set_length(0)?;
        file.write_all_at(record, 0)?;
        file.sync()?;
        self.files.rename(&temporary, &path)?;
        self.files.sync_directory(&self.path)
    }

    pub(crate) fn remove_rollback(&self) -> Result<(), FileError> {
        self.remove_file(ROLLBACK)
    }

    fn remove_file(&self, name: &str) -> Result<(), FileError> {
        self.files.remove_file(&self.path.join(name))?;
        self.files.sync_directory(&self.path)
    }
}
