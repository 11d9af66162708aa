use std::io;
use std::path::{Path, PathBuf};

/// A file or directory could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}{advice}", path = path.display(), advice = remedy(source))]
pub struct FileError {
    /// What was attempted.
    pub action: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: says what was attempted.
    pub fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }

    /// The kind of failure.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// What an operator can do about a failure, to be put behind its text; empty where the text says enough.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (free space there and start this node again; nothing that was acknowledged is lost)"
        }
        io::ErrorKind::ReadOnlyFilesystem => " (make it writable and start this node again)",
        _ => "",
    }
}
