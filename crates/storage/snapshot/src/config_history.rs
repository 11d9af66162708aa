use bytes::Bytes;
use ripstop_types::BlockNumber;

use crate::SnapshotError;
use crate::file::Counted;

/// What stands in front of each chaincode's name. Fabric keeps the collections of `_lifecycle` where those of `lscc` were.
const PREFIX: &[u8] = b"slscc\0";

/// What follows the name.
const SUFFIX: &[u8] = b"~collection";

/// The collections of a chaincode as a block defined them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionsChange {
    /// The chaincode.
    pub chaincode: String,
    /// The block that defined them.
    pub block: BlockNumber,
    /// Bytes of a `protos.CollectionConfigPackage`.
    pub collections: Bytes,
}

impl CollectionsChange {
    /// The key: newer changes come first (Fabric: `confighistory/db_helper.go`).
    pub fn key(&self) -> Vec<u8> {
        [PREFIX, self.chaincode.as_bytes(), SUFFIX, &(!self.block.get()).to_be_bytes()].concat()
    }

    /// Reads a key and its value; none where the key is not of this form.
    pub fn parse(key: &[u8], collections: Bytes) -> Option<Self> {
        let (name, block) = key.strip_prefix(PREFIX)?.split_last_chunk::<8>()?;
        let chaincode = String::from_utf8(name.strip_suffix(SUFFIX)?.to_vec()).ok()?;
        if chaincode.contains('\0') {
            return None;
        }
        Some(Self { chaincode, block: BlockNumber::new(!u64::from_be_bytes(*block)), collections })
    }
}

/// The changes in a snapshot, in the order of their keys.
pub struct ConfigHistory(Option<Counted>);

impl ConfigHistory {
    pub(crate) fn new(counted: Option<Counted>) -> Self {
        Self(counted)
    }
}

impl Iterator for ConfigHistory {
    type Item = Result<CollectionsChange, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next(|data| {
            let (key, value) = (data.bytes()?, data.bytes()?);
            CollectionsChange::parse(&key, value).ok_or_else(|| data.damaged("a key is none of collections"))
        })
    }
}
