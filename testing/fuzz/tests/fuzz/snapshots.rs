use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ripstop_snapshot::{
    CollectionsChange, Part, SignableMetadata, SnapshotFiles, SnapshotTip, SnapshotWriter, StateRecord,
    hashed_namespace,
};
use ripstop_types::{BlockNumber, ChannelId, Height, TxId};
use tempfile::TempDir;

/// A snapshot with entries in all its files, one of which can be replaced at a time.
pub(crate) struct SnapshotPlace(TempDir);

impl SnapshotPlace {
    pub(crate) fn make() -> Self {
        let place = tempfile::tempdir().unwrap();
        let record = |namespace: &str| StateRecord {
            namespace: namespace.to_owned(),
            key: Bytes::from_static(b"key"),
            value: Bytes::from_static(b"value"),
            metadata: Bytes::from_static(b"metadata"),
            version: Height::new(BlockNumber::new(5), 1),
        };
        let hash = Bytes::from_static(&[7; 32]);
        let mut writer = SnapshotWriter::create(&place.path().join("snapshot")).unwrap();
        ["", "basic"].iter().for_each(|namespace| writer.public(&record(namespace)).unwrap());
        writer.private_hash(&record(&hashed_namespace("basic", "coll"))).unwrap();
        writer.tx_id(&TxId::new("tx")).unwrap();
        let (chaincode, block) = ("basic".to_owned(), BlockNumber::new(4));
        writer
            .collections(&CollectionsChange { chaincode, block, collections: Bytes::from_static(b"package") })
            .unwrap();
        let tip = SnapshotTip {
            channel: ChannelId::new("mychannel").unwrap(),
            last_block: BlockNumber::new(7),
            last_block_hash: hash.clone(),
            previous_block_hash: hash.clone(),
            last_commit_hash: hash,
        };
        writer.finish(&tip).unwrap();
        Self(place)
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.0.path().join("snapshot")
    }

    /// Those that can be replaced: data and metadata of each part, then what the snapshot says of itself.
    pub(crate) fn files() -> Vec<&'static str> {
        let parts = Part::ALL.iter().flat_map(|part| [part.data_file(), part.metadata_file()]);
        parts.chain([SignableMetadata::FILE]).collect()
    }

    /// A file's place in [`Self::files`], and its content.
    pub(crate) fn seed(&self, file: &str) -> Bytes {
        let place = Self::files().iter().position(|known| *known == file).unwrap();
        let content = fs::read(self.directory().join(file)).unwrap();
        [&[place as u8], content.as_slice()].concat().into()
    }

    /// Shows the snapshot with other content in one of its files.
    pub(crate) fn with(&self, file: &str, content: &[u8], look: impl FnOnce(&Path)) {
        let path = self.directory().join(file);
        let original = fs::read(&path).unwrap();
        replace(&path, content);
        look(&self.directory());
        replace(&path, &original);
    }
}

/// The files of a snapshot are read-only.
fn replace(path: &Path, content: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, content).unwrap();
}

/// Reads all of a snapshot. What ends with an error does not go on behind it.
pub(crate) fn read_all(directory: &Path) {
    fn read<T, E>(entries: Result<impl Iterator<Item = Result<T, E>>, E>) {
        let Ok(mut entries) = entries else { return };
        while let Some(entry) = entries.next() {
            if entry.is_err() {
                assert!(entries.next().is_none());
            }
        }
    }
    let Ok(files) = SnapshotFiles::open(directory) else { return };
    let content = files.unverified();
    read(content.tx_ids());
    read(content.config_history());
    read(content.public_state());
    read(content.private_state_hashes());
}
