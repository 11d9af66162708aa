//! The snapshots of a consenter's raft on disk: a file each, of which the newest counts.
//!
//! A file is `crc32 u32 | index u64 | term u64 | number of members u32 | a u64 for each | the block`, integers
//! little-endian, and is named after its index. It appears whole or not at all. A few old ones stay, as operators know it
//! from Fabric (`MaxSnapshotFiles`).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes};
use ripstop_raft::{NodeId, Snapshot};

use crate::wal::{WalError, failed, sync_directory};

/// How many files stay.
const KEPT: usize = 5;
const SUFFIX: &str = "snapshot";
const TEMPORARY: &str = "new";
/// The only file of former versions, in the same form.
const FORMER: &str = "snapshot";

/// The newest snapshot of a directory.
pub(crate) fn read_newest(directory: &Path) -> Result<Option<Snapshot>, WalError> {
    name_former(directory)?;
    let Some(newest) = indexes(directory)?.last().copied() else { return Ok(None) };
    let path = path(directory, newest);
    let content = fs::read(&path).map_err(failed("read", &path))?;
    match parse(content.into()) {
        Some(snapshot) => Ok(Some(snapshot)),
        None => Err(WalError::Damaged { path, offset: 0 }),
    }
}

fn name_former(directory: &Path) -> Result<(), WalError> {
    let former = directory.join(FORMER);
    let content = match fs::read(&former) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", &former)(error)),
    };
    let Some(snapshot) = parse(content.into()) else { return Err(WalError::Damaged { path: former, offset: 0 }) };
    fs::rename(&former, path(directory, snapshot.index)).map_err(failed("rename", &former))?;
    sync_directory(directory)
}

/// Stores a snapshot durably, then removes the oldest ones.
pub(crate) fn write(directory: &Path, snapshot: &Snapshot) -> Result<(), WalError> {
    let mut body = Vec::with_capacity(snapshot.data.len() + 64);
    body.put_u64_le(snapshot.index);
    body.put_u64_le(snapshot.term);
    body.put_u32_le(snapshot.members.len() as u32);
    snapshot.members.iter().for_each(|member| body.put_u64_le(member.get()));
    body.extend_from_slice(&snapshot.data);
    let (temporary, path) = (directory.join(TEMPORARY), path(directory, snapshot.index));
    let mut file = File::create(&temporary).map_err(failed("create", &temporary))?;
    file.write_all(&crc32fast::hash(&body).to_le_bytes()).map_err(failed("write", &temporary))?;
    file.write_all(&body).map_err(failed("write", &temporary))?;
    file.sync_all().map_err(failed("sync", &temporary))?;
    fs::rename(&temporary, &path).map_err(failed("replace", &path))?;
    sync_directory(directory)?;
    let indexes = indexes(directory)?;
    for old in &indexes[..indexes.len().saturating_sub(KEPT)] {
        let path = self::path(directory, *old);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    Ok(())
}

fn path(directory: &Path, index: u64) -> PathBuf {
    directory.join(format!("{index:016x}.{SUFFIX}"))
}

/// The indexes of a directory's snapshots, lowest first.
fn indexes(directory: &Path) -> Result<Vec<u64>, WalError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let path = entry.map_err(failed("list", directory))?.path();
        if path.extension().is_some_and(|extension| extension == SUFFIX) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            found.extend(stem.and_then(|stem| u64::from_str_radix(stem, 16).ok()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn parse(mut content: Bytes) -> Option<Snapshot> {
    let checksum = content.try_get_u32_le().ok()?;
    if crc32fast::hash(&content) != checksum {
        return None;
    }
    let (index, term) = (content.try_get_u64_le().ok()?, content.try_get_u64_le().ok()?);
    let count = content.try_get_u32_le().ok()?;
    let members: Option<Vec<_>> = (0..count).map(|_| NodeId::new(content.try_get_u64_le().ok()?)).collect();
    Some(Snapshot { index, term, members: members?, data: content })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(index: u64) -> Snapshot {
        Snapshot { index, term: 2, members: vec![NodeId::new(3).unwrap()], data: format!("block {index}").into() }
    }

    #[test]
    fn the_newest_counts_and_a_few_stay() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(read_newest(directory).unwrap(), None);
        for index in [9, 10, 11, 300, 301, 302, 303] {
            write(directory, &snapshot(index)).unwrap();
            assert_eq!(read_newest(directory).unwrap(), Some(snapshot(index)));
        }
        assert_eq!(indexes(directory).unwrap(), [11, 300, 301, 302, 303]);
    }

    #[test]
    fn the_file_of_former_versions_is_one_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        write(directory, &snapshot(7)).unwrap();
        fs::rename(path(directory, 7), directory.join(FORMER)).unwrap();
        assert_eq!(read_newest(directory).unwrap(), Some(snapshot(7)));
        assert_eq!(indexes(directory).unwrap(), [7]);
    }

    #[test]
    fn a_torn_write_is_not_seen_and_damage_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        write(directory, &snapshot(7)).unwrap();
        fs::write(directory.join(TEMPORARY), b"half of").unwrap();
        assert_eq!(read_newest(directory).unwrap(), Some(snapshot(7)));
        let mut content = fs::read(path(directory, 7)).unwrap();
        content[9] ^= 1;
        fs::write(path(directory, 8), content).unwrap();
        assert!(matches!(read_newest(directory), Err(WalError::Damaged { offset: 0, .. })));
    }
}
