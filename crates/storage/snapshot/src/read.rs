use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ripstop_files::FileError;
use ripstop_types::{Digest, TxId};

use crate::file::{self, Counted};
use crate::{AdditionalMetadata, ConfigHistory, Part, SignableMetadata, SnapshotError, StateRecords};

/// A snapshot whose metadata was read. Nothing is known yet about its files.
#[derive(Debug, Clone)]
pub struct SnapshotFiles {
    directory: PathBuf,
    metadata: SignableMetadata,
}

impl SnapshotFiles {
    /// Reads the metadata of the snapshot in a directory.
    pub fn open(directory: &Path) -> Result<Self, SnapshotError> {
        Ok(Self { directory: directory.to_owned(), metadata: SignableMetadata::read(directory)? })
    }

    /// The metadata.
    pub fn metadata(&self) -> &SignableMetadata {
        &self.metadata
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Copies the metadata and all files that it names into a new directory. What is copied is safe on disk then, and not
    /// verified.
    pub fn copy_to(&self, directory: &Path) -> Result<Self, SnapshotError> {
        fs::create_dir(directory).map_err(FileError::of("create", directory))?;
        let names = self.metadata.files.keys().map(String::as_str);
        for name in names.chain([SignableMetadata::FILE, AdditionalMetadata::FILE]) {
            let (from, to) = (self.directory.join(name), directory.join(name));
            let mut original = File::open(&from).map_err(FileError::of("open", &from))?;
            let mut copy = file::create(&to)?;
            let copied = io::copy(&mut original, &mut copy).and_then(|_| copy.sync_all());
            copied.map_err(FileError::of("copy into", &to))?;
        }
        File::open(directory).and_then(|opened| opened.sync_all()).map_err(FileError::of("sync", directory))?;
        Self::open(directory)
    }

    /// The content, whatever it is: for whoever looks at a snapshot without taking it over.
    pub fn unverified(&self) -> SnapshotContent<'_> {
        SnapshotContent(self)
    }

    /// Compares the hashes of all files with those on record.
    pub fn verify(self) -> Result<VerifiedSnapshot, SnapshotError> {
        let additional = AdditionalMetadata::read(&self.directory)?;
        self.verify_file(SignableMetadata::FILE, &additional.snapshot_hash)?;
        for (name, expected) in &self.metadata.files {
            self.verify_file(name, &expected.to_string())?;
        }
        Ok(VerifiedSnapshot { files: self, additional })
    }

    fn verify_file(&self, name: &str, expected: &str) -> Result<(), SnapshotError> {
        let actual: Digest = file::hash(&self.directory.join(name))?;
        if actual.to_string() == expected {
            return Ok(());
        }
        Err(SnapshotError::HashMismatch {
            file: name.to_owned(),
            expected: expected.to_owned(),
            actual: actual.to_string(),
        })
    }
}

/// A snapshot whose files are those that its metadata names.
#[derive(Debug, Clone)]
pub struct VerifiedSnapshot {
    files: SnapshotFiles,
    additional: AdditionalMetadata,
}

impl VerifiedSnapshot {
    /// The content.
    pub fn content(&self) -> SnapshotContent<'_> {
        SnapshotContent(&self.files)
    }

    /// The metadata.
    pub fn metadata(&self) -> &SignableMetadata {
        &self.files.metadata
    }

    /// What goes with it and is not in its hash.
    pub fn additional(&self) -> &AdditionalMetadata {
        &self.additional
    }
}

/// What the files of a snapshot hold, read as it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotContent<'a>(&'a SnapshotFiles);

impl SnapshotContent<'_> {
    /// The ids of all transactions.
    pub fn tx_ids(&self) -> Result<TxIds, SnapshotError> {
        Ok(TxIds(self.counted(Part::TxIds)?))
    }

    /// The collections that chaincodes had, with the blocks that defined them.
    pub fn config_history(&self) -> Result<ConfigHistory, SnapshotError> {
        Ok(ConfigHistory::new(self.counted(Part::ConfigHistory)?))
    }

    /// The public state.
    pub fn public_state(&self) -> Result<StateRecords, SnapshotError> {
        self.records(Part::PublicState)
    }

    /// The hashes of private keys and values.
    pub fn private_state_hashes(&self) -> Result<StateRecords, SnapshotError> {
        self.records(Part::PrivateStateHashes)
    }

    fn counted(&self, part: Part) -> Result<Option<Counted>, SnapshotError> {
        self.0.metadata.has(part).then(|| Counted::open(&self.0.directory, part)).transpose()
    }

    fn records(&self, part: Part) -> Result<StateRecords, SnapshotError> {
        match self.0.metadata.has(part) {
            true => StateRecords::open(&self.0.directory, part),
            false => Ok(StateRecords::none()),
        }
    }
}

/// The ids of transactions in a snapshot.
pub struct TxIds(Option<Counted>);

impl Iterator for TxIds {
    type Item = Result<TxId, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next(|data| Ok(TxId::new(&data.text()?)))
    }
}
