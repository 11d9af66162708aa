//! Installed packages on disk: one file each, named by label and hash as Fabric does.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_chaincode_builder::package_id;
use tokio::sync::watch;

/// The end of a package's file name.
const EXTENSION: &str = ".tar.gz";
/// The length of a hash in hexadecimal digits.
const HASH_DIGITS: usize = 64;
/// The mode of a package's file.
const PRIVATE: u32 = 0o600;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such package. `_lifecycle` answers this with status 404.
    #[error("chaincode install package '{0}' not found")]
    NotFound(String),
    /// The package is there already.
    #[error("chaincode already successfully installed (package ID '{0}')")]
    Installed(String),
    /// The disk failed.
    #[error("error {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstalledPackage {
    /// Its id: label and hash.
    pub id: String,
    /// Its label.
    pub label: String,
}

/// The installed packages of a peer.
pub struct PackageStore {
    directory: PathBuf,
    /// What is in the directory. Only this store writes there.
    installed: watch::Sender<Arc<[InstalledPackage]>>,
    /// Held by who writes.
    writing: Mutex<()>,
}

impl PackageStore {
    /// Opens the store, and makes its directory where there is none.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { action: "opening", path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let mut installed = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            installed.extend(name.to_str().and_then(parse_file_name));
        }
        installed.sort();
        Ok(Self {
            directory: directory.to_owned(),
            installed: watch::Sender::new(installed.into()),
            writing: Mutex::default(),
        })
    }

    /// All installed packages, sorted by id.
    pub fn list(&self) -> Arc<[InstalledPackage]> {
        Arc::clone(&self.installed.borrow())
    }

    /// The installed packages, as they change.
    pub fn follow(&self) -> watch::Receiver<Arc<[InstalledPackage]>> {
        self.installed.subscribe()
    }

    /// An installed package by id.
    pub fn get(&self, id: &str) -> Option<InstalledPackage> {
        self.installed.borrow().iter().find(|package| package.id == id).cloned()
    }

    /// The bytes of an installed package.
    pub fn load(&self, id: &str) -> Result<Bytes, StoreError> {
        if self.get(id).is_none() {
            return Err(StoreError::NotFound(id.to_owned()));
        }
        let path = self.path(id);
        let failed =
            |source| StoreError::Io { action: "reading chaincode install package at", path: path.clone(), source };
        Ok(fs::read(&path).map_err(failed)?.into())
    }

    /// Keeps a package; when this returns it is on disk. A crash leaves all of it or nothing.
    pub fn save(&self, label: &str, package: &[u8]) -> Result<InstalledPackage, StoreError> {
        let id = package_id(label, package);
        let _writing = self.writing.lock();
        let installed = self.list();
        if installed.iter().any(|package| package.id == id) {
            return Err(StoreError::Installed(id));
        }
        let path = self.path(&id);
        let failed =
            |source| StoreError::Io { action: "writing chaincode install package to", path: path.clone(), source };
        let temporary = self.directory.join(".installing");
        let mut file = private_file(&temporary).map_err(failed)?;
        file.write_all(package).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary, &path).map_err(failed)?;
        fs::File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        let saved = InstalledPackage { id, label: label.to_owned() };
        let mut all = installed.to_vec();
        all.push(saved.clone());
        all.sort();
        self.installed.send_replace(all.into());
        Ok(saved)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{}{EXTENSION}", id.replacen(':', ".", 1)))
    }
}

/// A new file that only the peer's user can read: packages of services hold private keys. One that a crash left there may be
/// of any mode.
fn private_file(path: &Path) -> std::io::Result<fs::File> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(PRIVATE))?;
    Ok(file)
}

fn parse_file_name(name: &str) -> Option<InstalledPackage> {
    let (label, hash) = name.strip_suffix(EXTENSION)?.rsplit_once('.')?;
    let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (is_hash && !label.is_empty()).then(|| InstalledPackage { id: format!("{label}:{hash}"), label: label.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lifecycle").join("chaincodes");
        let store = PackageStore::open(&path).unwrap();
        assert!(store.list().is_empty());
        fs::write(path.join(".installing"), b"left by a crash").unwrap();
        let saved = store.save("basic_1.0", b"bytes").unwrap();
        assert_eq!(saved.id, package_id("basic_1.0", b"bytes"));
        let file = fs::metadata(path.join(format!("{}.tar.gz", saved.id.replace(':', ".")))).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, PRIVATE);
        assert!(matches!(store.save("basic_1.0", b"bytes"), Err(StoreError::Installed(_))));
        fs::write(path.join("unrelated.txt"), b"").unwrap();
        fs::write(path.join("no-hash.tar.gz"), b"").unwrap();

        let store = PackageStore::open(&path).unwrap();
        assert_eq!(store.list().as_ref(), std::slice::from_ref(&saved));
        assert_eq!(store.get(&saved.id), Some(saved.clone()));
        assert_eq!(store.load(&saved.id).unwrap().as_ref(), b"bytes");
        assert_eq!(store.load("x:1").unwrap_err().to_string(), "chaincode install package 'x:1' not found");
    }
}
