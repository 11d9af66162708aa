use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use ripstop_files::FileError;
use ripstop_types::{BlockNumber, ChannelId, Digest};
use serde::{Deserialize, Serialize};

use crate::SnapshotError;

/// The kind of state database of peers without CouchDB.
pub const SIMPLE_STATE: &str = "SimpleKeyValueDB";

/// A pair of a data file and its metadata file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Ids of all transactions.
    TxIds,
    /// Collections of chaincodes.
    ConfigHistory,
    /// Public keys.
    PublicState,
    /// Hashes of private keys and values.
    PrivateStateHashes,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 4] = [Self::TxIds, Self::ConfigHistory, Self::PublicState, Self::PrivateStateHashes];

    /// The name of the data file.
    pub const fn data_file(self) -> &'static str {
        match self {
            Self::TxIds => "txids.data",
            Self::ConfigHistory => "confighistory.data",
            Self::PublicState => "public_state.data",
            Self::PrivateStateHashes => "private_state_hashes.data",
        }
    }

    /// The name of the metadata file.
    pub const fn metadata_file(self) -> &'static str {
        match self {
            Self::TxIds => "txids.metadata",
            Self::ConfigHistory => "confighistory.metadata",
            Self::PublicState => "public_state.metadata",
            Self::PrivateStateHashes => "private_state_hashes.metadata",
        }
    }
}

/// What identifies a snapshot: equal for all peers of a channel that have the same kind of state database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignableMetadata {
    /// The channel.
    pub channel: ChannelId,
    /// The last block that the snapshot covers.
    pub last_block: BlockNumber,
    /// The hash of its header.
    pub last_block_hash: Bytes,
    /// The hash of the header before that.
    pub previous_block_hash: Bytes,
    /// Data and metadata files with their hashes.
    pub files: BTreeMap<String, Digest>,
    /// The kind of state database: values of JSON may differ between kinds.
    pub state_db: String,
}

impl SignableMetadata {
    /// The name of the file.
    pub const FILE: &'static str = "_snapshot_signable_metadata.json";

    /// Reads the file of a snapshot's directory. Files that it names are those of [`Part::ALL`], data and metadata together.
    pub fn read(directory: &Path) -> Result<Self, SnapshotError> {
        let path = directory.join(Self::FILE);
        let file: SignableFile = read_json(&path)?;
        let damaged = |reason: String| SnapshotError::damaged(&path, reason);
        let hash = |text: &str| hex::decode(text).map_err(|error| damaged(format!("hash '{text}': {error}")));
        if file.last_block_number == u64::MAX {
            return Err(damaged("no block can follow the last one".to_owned()));
        }
        let mut files = BTreeMap::new();
        for (name, text) in file.snapshot_files_raw_hashes {
            if !Part::ALL.iter().any(|part| name == part.data_file() || name == part.metadata_file()) {
                return Err(damaged(format!("it names the file '{name}', which is not part of a snapshot")));
            }
            let hash = hash(&text)?.try_into().map_err(|_| damaged(format!("'{text}' is no SHA-256")))?;
            files.insert(name, Digest::new(hash));
        }
        for part in Part::ALL {
            if files.contains_key(part.data_file()) != files.contains_key(part.metadata_file()) {
                return Err(damaged(format!("of {} and {} it names one only", part.data_file(), part.metadata_file())));
            }
        }
        Ok(Self {
            channel: ChannelId::new(&file.channel_name).map_err(|error| damaged(error.to_string()))?,
            last_block: BlockNumber::new(file.last_block_number),
            last_block_hash: hash(&file.last_block_hash)?.into(),
            previous_block_hash: hash(&file.previous_block_hash)?.into(),
            files,
            state_db: file.state_db_type,
        })
    }

    /// Whether the snapshot has this part; there is nothing to read where it has not.
    pub fn has(&self, part: Part) -> bool {
        self.files.contains_key(part.data_file())
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        json(&SignableFile {
            channel_name: self.channel.to_string(),
            last_block_number: self.last_block.get(),
            last_block_hash: hex::encode(&self.last_block_hash),
            previous_block_hash: hex::encode(&self.previous_block_hash),
            snapshot_files_raw_hashes: self.files.iter().map(|(name, hash)| (name.clone(), hash.to_string())).collect(),
            state_db_type: self.state_db.clone(),
        })
    }
}

/// What goes with a snapshot and is not in its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionalMetadata {
    /// The hash of the signable metadata, and so of the whole snapshot; hexadecimal.
    pub snapshot_hash: String,
    /// The commit hash of the last block; empty where it has none.
    pub last_commit_hash: Bytes,
}

impl AdditionalMetadata {
    /// The name of the file.
    pub const FILE: &'static str = "_snapshot_additional_metadata.json";

    /// Reads the file of a snapshot's directory.
    pub fn read(directory: &Path) -> Result<Self, SnapshotError> {
        let path = directory.join(Self::FILE);
        let file: AdditionalFile = read_json(&path)?;
        let last_commit_hash =
            hex::decode(&file.last_block_commit_hash).ok().filter(|hash| matches!(hash.len(), 0 | 32)).ok_or_else(
                || SnapshotError::damaged(&path, format!("'{}' is no commit hash", file.last_block_commit_hash)),
            )?;
        Ok(Self { snapshot_hash: file.snapshot_hash, last_commit_hash: last_commit_hash.into() })
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        json(&AdditionalFile {
            snapshot_hash: self.snapshot_hash.clone(),
            last_block_commit_hash: hex::encode(&self.last_commit_hash),
        })
    }
}

/// The fields of the file, in Fabric's order.
#[derive(Serialize, Deserialize)]
struct SignableFile {
    channel_name: String,
    last_block_number: u64,
    last_block_hash: String,
    previous_block_hash: String,
    snapshot_files_raw_hashes: BTreeMap<String, String>,
    state_db_type: String,
}

/// The fields of the file, in Fabric's order.
#[derive(Serialize, Deserialize)]
struct AdditionalFile {
    snapshot_hash: String,
    last_block_commit_hash: String,
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, SnapshotError> {
    let text = fs::read(path).map_err(FileError::of("read", path))?;
    serde_json::from_slice(&text).map_err(|error| SnapshotError::damaged(path, error.to_string()))
}

/// Go's `json.MarshalIndent` with four spaces and no line feed at the end.
fn json(content: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    content
        .serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
        .expect("texts and numbers always serialize into memory");
    out
}
