use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::FileError;
use crate::host::Host;

/// How many bytes are rewritten at once.
const CHUNK: usize = 64 << 10;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading one that exists.
    Read,
    /// Reading and writing one that exists.
    Write,
    /// Reading and writing one that may exist.
    Create,
    /// Reading and writing one that does not exist.
    CreateNew,
}

/// What is behind a file system. Implementations keep the promises of [`FileSystem`], whose methods say more.
pub(crate) trait Backend: Send + Sync {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn Content>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes one directory, whose parent exists.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    fn close_to_others(&self, path: &Path) -> io::Result<()>;
    fn is_host(&self) -> bool;
}

/// What is behind an open file.
pub(crate) trait Content: Send + Sync {
    fn length(&self) -> io::Result<u64>;
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn set_length(&self, length: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn lock(&self) -> io::Result<()>;
}

/// Where files are. Clones are the same.
#[derive(Clone)]
pub struct FileSystem(Arc<dyn Backend>);

impl FileSystem {
    /// That of the machine.
    pub fn host() -> Self {
        Self(Arc::new(Host))
    }

    #[cfg(feature = "simulated")]
    pub(crate) fn over(backend: Arc<dyn Backend>) -> Self {
        Self(backend)
    }

    /// Whether paths are those of the machine, so that others who open them see the same.
    pub fn is_host(&self) -> bool {
        self.0.is_host()
    }

    /// Opens a file. The name of a new one survives after [`Self::sync_directory`].
    pub fn open(&self, path: &Path, access: Access) -> Result<File, FileError> {
        let content = self.0.open(path, access).map_err(FileError::of("open", path))?;
        Ok(File { path: path.into(), content })
    }

    /// Whether there is a file or directory of this name.
    pub fn exists(&self, path: &Path) -> Result<bool, FileError> {
        self.0.exists(path).map_err(FileError::of("look for", path))
    }

    /// Makes a directory and those above it, as far as they do not exist; returns when their names survive.
    pub fn create_directory(&self, path: &Path) -> Result<(), FileError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if self.exists(path)? {
            // Whoever made it may have been killed before its name was safe. Where others made it, that is theirs.
            return match self.sync_directory(parent) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                synced => synced,
            };
        }
        self.create_directory(parent)?;
        match self.0.make_directory(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(FileError::of("create", path)(error)),
            _ => self.sync_directory(parent),
        }
    }

    /// Lets only the owner of a directory, and his group, look into it. Where that cannot be said it stays as it is: some
    /// file systems have no such thing, and what others made is theirs.
    pub fn close_to_others(&self, path: &Path) -> Result<(), FileError> {
        match self.0.close_to_others(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                Ok(())
            }
            closed => closed.map_err(FileError::of("change the permissions of", path)),
        }
    }

    /// Makes the names in a directory survive: those that were added, and that others were removed or changed.
    pub fn sync_directory(&self, path: &Path) -> Result<(), FileError> {
        self.0.sync_directory(path).map_err(FileError::of("sync", path))
    }

    /// The paths of all files and directories in a directory, in order.
    pub fn list(&self, directory: &Path) -> Result<Vec<PathBuf>, FileError> {
        let mut found = self.0.list(directory).map_err(FileError::of("list", directory))?;
        found.sort();
        Ok(found)
    }

    /// Gives a file or directory another name, at once for everybody; it survives after [`Self::sync_directory`].
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.0.rename(from, to).map_err(FileError::of("rename", from))
    }

    /// Removes a file, if it is there.
    pub fn remove_file(&self, path: &Path) -> Result<(), FileError> {
        absent_is_fine(self.0.remove_file(path)).map_err(FileError::of("remove", path))
    }

    /// Removes a directory and all in it, if it is there.
    pub fn remove_directory(&self, path: &Path) -> Result<(), FileError> {
        absent_is_fine(self.0.remove_directory(path)).map_err(FileError::of("remove", path))
    }
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// An open file. Clones are the same. What was written is read by everybody, but only survives a loss of power after
/// [`Self::sync`]. After a failed write or sync nobody knows what of the file survives, and a later sync does not tell.
#[derive(Clone)]
pub struct File {
    path: Arc<Path>,
    content: Arc<dyn Content>,
}

impl File {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes it has.
    pub fn length(&self) -> Result<u64, FileError> {
        self.content.length().map_err(FileError::of("read", &self.path))
    }

    /// Fills the buffer with what begins at `offset`.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FileError> {
        self.content.read_exact_at(buffer, offset).map_err(FileError::of("read", &self.path))
    }

    /// Writes all bytes from `offset` on. After an error some of them may be written.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<(), FileError> {
        self.content.write_all_at(bytes, offset).map_err(FileError::of("write", &self.path))
    }

    /// Cuts it off, or makes it longer with zeros.
    pub fn set_length(&self, length: u64) -> Result<(), FileError> {
        self.content.set_length(length).map_err(FileError::of("truncate", &self.path))
    }

    /// Makes its content and length survive (`fdatasync`).
    pub fn sync(&self) -> Result<(), FileError> {
        self.content.sync().map_err(FileError::of("sync", &self.path))
    }

    /// Writes again what is read there, and returns when it survives. To synchronise it would not do where an earlier sync may
    /// have failed: the kernel takes pages for written then that are not.
    pub fn rewrite(&self, from: u64, to: u64) -> Result<(), FileError> {
        let mut chunk = vec![0; CHUNK];
        for start in (from..to).step_by(CHUNK) {
            let part = CHUNK.min((to - start) as usize);
            let Some(part) = chunk.get_mut(..part) else { break };
            self.read_exact_at(part, start)?;
            self.write_all_at(part, start)?;
        }
        self.sync()
    }

    /// Keeps it from being locked by anybody else, until all clones are dropped or the process ends, however it ends.
    /// Fails with [`io::ErrorKind::WouldBlock`] where somebody else has it.
    pub fn lock(&self) -> Result<(), FileError> {
        self.content.lock().map_err(FileError::of("lock", &self.path))
    }
}
