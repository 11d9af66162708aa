use std::path::{Path, PathBuf};

use ripstop_files::FileError;

/// Why a snapshot cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk or the file system failed, or a file is missing.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file begins with another byte than this format does. It was made by another kind of peer.
    #[error("{path}: unexpected data format: {found:x}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The byte.
        found: u8,
    },
    /// The content is not what the format allows. Fetch the snapshot anew from the peer that made it.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file is not the one that the metadata names.
    #[error("hash mismatch for file [{file}]. Expected hash = [{expected}], Actual hash = [{actual}]")]
    HashMismatch {
        /// The file.
        file: String,
        /// The hash in the metadata, hexadecimal.
        expected: String,
        /// The hash of the file, hexadecimal.
        actual: String,
    },
}

impl SnapshotError {
    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}
