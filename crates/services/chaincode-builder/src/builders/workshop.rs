use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::connection::private_directory;
use crate::error::BuildError;
use crate::package::Package;

/// The directories in which a package is built; removed when dropped.
pub(super) struct Workshop {
    scratch: TempDir,
    /// The code.
    pub(super) source: PathBuf,
    /// `metadata.json`.
    pub(super) metadata: PathBuf,
    /// What a builder makes to be run.
    pub(super) output: PathBuf,
    /// What a builder tells the peer.
    pub(super) release: PathBuf,
}

impl Workshop {
    /// Unpacks a package.
    pub(super) fn open(name: &str, package: &Package) -> Result<Self, BuildError> {
        let failed = |source| BuildError::Io { action: "preparing a build in", path: std::env::temp_dir(), source };
        let scratch = private_directory(&format!("fabric-{name}")).map_err(failed)?;
        let make = |name: &str| {
            let path = scratch.path().join(name);
            fs::create_dir(&path).map(|()| path)
        };
        let made = || io::Result::Ok((make("src")?, make("metadata")?, make("bld")?, make("release")?));
        let (source, metadata, output, release) = made().map_err(failed)?;
        package.unpack_code(&source)?;
        fs::write(metadata.join("metadata.json"), &package.metadata_json).map_err(failed)?;
        Ok(Self { scratch, source, metadata, output, release })
    }

    /// A home for tools, where the peer has none.
    pub(super) fn home(&self) -> &Path {
        self.scratch.path()
    }
}
