//! Where a chain begins whose first blocks are not here: behind a snapshot. A file beside the block files says so; its
//! name and content are Fabric's.

use std::path::Path;

use bytes::Bytes;
use prost::Message;
use ripstop_files::{Access, FileSystem};
use ripstop_proto::msgs::BootstrappingSnapshotInfo;
use ripstop_types::BlockNumber;

use crate::{BlockStoreError, ChainTip};

const FILE: &str = "bootstrappingSnapshot.info";

/// The longest such file.
const MAX_LENGTH: u64 = 1024;

/// The end of the part of a chain that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainBase {
    /// The last block that is not here.
    pub last_block: BlockNumber,
    /// The hash of its header.
    pub last_block_hash: Bytes,
    /// The hash of the header before that.
    pub previous_block_hash: Bytes,
}

impl ChainBase {
    /// Makes a directory, without blocks yet, one of a chain that begins behind `self`. Returns when it is safe on disk.
    pub fn place(&self, directory: &Path) -> Result<(), BlockStoreError> {
        let system = FileSystem::host();
        system.create_directory(directory)?;
        let content = BootstrappingSnapshotInfo {
            last_block_num: self.last_block.get(),
            last_block_hash: self.last_block_hash.clone(),
            previous_block_hash: self.previous_block_hash.clone(),
        };
        let file = system.open(&directory.join(FILE), Access::CreateNew)?;
        file.write_all_at(&content.encode_to_vec(), 0)?;
        file.sync()?;
        Ok(system.sync_directory(directory)?)
    }

    /// Reads where the chain of a directory begins; none where it begins with the genesis block.
    pub(crate) fn read(system: &FileSystem, directory: &Path) -> Result<Option<Self>, BlockStoreError> {
        let path = directory.join(FILE);
        if !system.exists(&path)? {
            return Ok(None);
        }
        let file = system.open(&path, Access::Read)?;
        // Two hashes and a number: what is longer is not read, and does not decode.
        let mut content = vec![0; file.length()?.min(MAX_LENGTH) as usize];
        file.read_exact_at(&mut content, 0)?;
        let content = BootstrappingSnapshotInfo::decode(content.as_slice()).map_err(BlockStoreError::Base)?;
        Ok(Some(Self {
            last_block: BlockNumber::new(content.last_block_num),
            last_block_hash: content.last_block_hash,
            previous_block_hash: content.previous_block_hash,
        }))
    }

    pub(crate) fn tip(&self) -> ChainTip {
        ChainTip {
            height: self.last_block.next().get(),
            current_hash: self.last_block_hash.clone(),
            previous_hash: self.previous_block_hash.clone(),
        }
    }
}
