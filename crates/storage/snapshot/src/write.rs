use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ripstop_files::FileError;
use ripstop_types::{BlockNumber, ChannelId, Digest, TxId};

use crate::file::{self, ElementWriter};
use crate::{AdditionalMetadata, CollectionsChange, Part, SIMPLE_STATE, SignableMetadata, SnapshotError, StateRecord};

/// How the chain ends that a snapshot is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotTip {
    /// The channel.
    pub channel: ChannelId,
    /// The last block.
    pub last_block: BlockNumber,
    /// The hash of its header.
    pub last_block_hash: Bytes,
    /// The hash of the header before that.
    pub previous_block_hash: Bytes,
    /// The commit hash of the last block; empty where it has none.
    pub last_commit_hash: Bytes,
}

/// Writes a snapshot into a new directory. Entries are given in the order of their file.
pub struct SnapshotWriter {
    directory: PathBuf,
    parts: Vec<PartWriter>,
}

impl SnapshotWriter {
    /// Begins a snapshot in a directory, which is made here.
    pub fn create(directory: &Path) -> Result<Self, SnapshotError> {
        fs::create_dir(directory).map_err(FileError::of("create", directory))?;
        Ok(Self { directory: directory.to_owned(), parts: Vec::with_capacity(Part::ALL.len()) })
    }

    /// Adds the id of a transaction.
    pub fn tx_id(&mut self, tx_id: &TxId) -> Result<(), SnapshotError> {
        let part = self.part(Part::TxIds)?;
        part.count += 1;
        part.data.bytes(tx_id.as_str().as_bytes())
    }

    /// Adds a definition of a chaincode's collections.
    pub fn collections(&mut self, change: &CollectionsChange) -> Result<(), SnapshotError> {
        let part = self.part(Part::ConfigHistory)?;
        part.count += 1;
        part.data.bytes(&change.key())?;
        part.data.bytes(&change.collections)
    }

    /// Adds a public key.
    pub fn public(&mut self, record: &StateRecord) -> Result<(), SnapshotError> {
        self.part(Part::PublicState)?.record(record)
    }

    /// Adds the hash of a private key and value.
    pub fn private_hash(&mut self, record: &StateRecord) -> Result<(), SnapshotError> {
        self.part(Part::PrivateStateHashes)?.record(record)
    }

    /// A part is begun with its first entry: one without entries has no files.
    fn part(&mut self, part: Part) -> Result<&mut PartWriter, SnapshotError> {
        let position = match self.parts.iter().position(|writer| writer.part == part) {
            Some(position) => position,
            None => {
                let data = ElementWriter::create(self.directory.join(part.data_file()))?;
                self.parts.push(PartWriter { part, data, count: 0, rows: Vec::new() });
                self.parts.len() - 1
            }
        };
        Ok(&mut self.parts[position])
    }

    /// Writes the metadata. When this returns, all files are on disk, and so are their names.
    pub fn finish(self, tip: &SnapshotTip) -> Result<AdditionalMetadata, SnapshotError> {
        let Self { directory, parts } = self;
        let mut files = BTreeMap::new();
        for part in parts {
            part.finish(&directory, &mut files)?;
        }
        let signable = SignableMetadata {
            channel: tip.channel.clone(),
            last_block: tip.last_block,
            last_block_hash: tip.last_block_hash.clone(),
            previous_block_hash: tip.previous_block_hash.clone(),
            files,
            state_db: SIMPLE_STATE.to_owned(),
        }
        .to_json();
        let additional = AdditionalMetadata {
            snapshot_hash: Digest::of(&signable).to_string(),
            last_commit_hash: tip.last_commit_hash.clone(),
        };
        write_synced(&directory.join(SignableMetadata::FILE), &signable)?;
        write_synced(&directory.join(AdditionalMetadata::FILE), &additional.to_json())?;
        File::open(&directory).and_then(|opened| opened.sync_all()).map_err(FileError::of("sync", &directory))?;
        Ok(additional)
    }
}

fn write_synced(path: &Path, content: &[u8]) -> Result<(), SnapshotError> {
    let mut file = file::create(path)?;
    Ok(file.write_all(content).and_then(|()| file.sync_all()).map_err(FileError::of("write", path))?)
}

/// The files of one part. What goes into the metadata is counted on the way.
struct PartWriter {
    part: Part,
    data: ElementWriter,
    count: u64,
    rows: Vec<(String, u64)>,
}

impl PartWriter {
    fn record(&mut self, record: &StateRecord) -> Result<(), SnapshotError> {
        match self.rows.last_mut().filter(|(namespace, _)| *namespace == record.namespace) {
            Some((_, count)) => *count += 1,
            None => self.rows.push((record.namespace.clone(), 1)),
        }
        self.data.bytes(&record.encode())
    }

    fn finish(self, directory: &Path, files: &mut BTreeMap<String, Digest>) -> Result<(), SnapshotError> {
        let mut metadata = ElementWriter::create(directory.join(self.part.metadata_file()))?;
        match self.part {
            Part::TxIds | Part::ConfigHistory => metadata.number(self.count)?,
            Part::PublicState | Part::PrivateStateHashes => {
                metadata.number(self.rows.len() as u64)?;
                for (namespace, count) in &self.rows {
                    metadata.bytes(namespace.as_bytes())?;
                    metadata.number(*count)?;
                }
            }
        }
        files.insert(self.part.data_file().to_owned(), self.data.finish()?);
        files.insert(self.part.metadata_file().to_owned(), metadata.finish()?);
        Ok(())
    }
}
