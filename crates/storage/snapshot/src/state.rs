use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::privacyenabledstate::SnapshotRecord;
use ripstop_types::Height;

use crate::file::ElementReader;
use crate::{Part, SnapshotError};

/// What stands between chaincode and collection in the namespace of hashes.
const HASHED: &str = "$$h";

/// The namespace in which a snapshot keeps the hashes of a collection.
pub fn hashed_namespace(chaincode: &str, collection: &str) -> String {
    [chaincode, HASHED, collection].concat()
}

/// Chaincode and collection of a namespace of hashes (Fabric: `decodeHashedDataNsColl`).
pub fn split_hashed_namespace(namespace: &str) -> Option<(&str, &str)> {
    namespace.split_once(HASHED).filter(|(_, collection)| !collection.contains(HASHED))
}

/// A key of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRecord {
    /// The namespace; for hashes see [`hashed_namespace`].
    pub namespace: String,
    /// The key, or the hash of a private key.
    pub key: Bytes,
    /// The value, or the hash of a private value.
    pub value: Bytes,
    /// Its metadata; empty for none.
    pub metadata: Bytes,
    /// The transaction that wrote it.
    pub version: Height,
}

impl StateRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        SnapshotRecord {
            key: self.key.clone(),
            value: self.value.clone(),
            metadata: self.metadata.clone(),
            version: self.version.to_bytes().into(),
        }
        .encode_to_vec()
    }

    fn decode(namespace: String, raw: Bytes) -> Result<Self, String> {
        let record = SnapshotRecord::decode(raw).map_err(|error| error.to_string())?;
        match Height::get(&record.version) {
            Ok((version, [])) => {
                Ok(Self { namespace, key: record.key, value: record.value, metadata: record.metadata, version })
            }
            Ok(_) => Err("bytes follow a version".to_owned()),
            Err(error) => Err(format!("a version: {error}")),
        }
    }
}

/// The records of a state file, in its order.
pub struct StateRecords(Option<Rows>);

struct Rows {
    data: ElementReader,
    /// Namespaces and how many records each has that are not read yet.
    rows: VecDeque<(String, u64)>,
}

impl StateRecords {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn open(directory: &Path, part: Part) -> Result<Self, SnapshotError> {
        let mut metadata = ElementReader::open(directory.join(part.metadata_file()))?;
        let mut rows = VecDeque::new();
        // Not reserved beforehand: the count is only believed as far as rows follow.
        for _ in 0..metadata.number()? {
            let (namespace, count) = (metadata.text()?, metadata.number()?);
            // The zero byte stands between the parts of a key.
            if namespace.contains('\0') {
                return Err(metadata.damaged(format!("'{}' is no namespace", namespace.escape_debug())));
            }
            if count == 0 {
                return Err(metadata.damaged(format!("namespace '{namespace}' has no records")));
            }
            rows.push_back((namespace, count));
        }
        metadata.finish()?;
        Ok(Self(Some(Rows { data: ElementReader::open(directory.join(part.data_file()))?, rows })))
    }
}

impl Rows {
    fn read(&mut self) -> Option<Result<StateRecord, SnapshotError>> {
        let (namespace, left) = self.rows.front_mut()?;
        *left -= 1;
        let (namespace, last_of_row) = (namespace.clone(), *left == 0);
        if last_of_row {
            self.rows.pop_front();
        }
        let record = self.data.bytes().and_then(|raw| {
            StateRecord::decode(namespace, raw).map_err(|reason| self.data.damaged(format!("a record: {reason}")))
        });
        Some(match record {
            Ok(record) if self.rows.is_empty() => self.data.finish().map(|()| record),
            other => other,
        })
    }
}

impl Iterator for StateRecords {
    type Item = Result<StateRecord, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.0.as_mut()?.read()?;
        if entry.is_err() {
            self.0 = None;
        }
        Some(entry)
    }
}
