use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_files::{Access, File, FileError, FileSystem};

use crate::location::Location;
use crate::record::{MAX_VARINT, record_length};

/// How many block files stay open for reading; the one not used for longest is closed.
const OPEN_FILES: usize = 16;

/// How many bytes are read at once where many are.
const CHUNK: usize = 64 << 10;

/// What disks write as a whole, in bytes.
const SECTOR: u64 = 512;

/// The block files of a directory: `blockfile_000000`, `blockfile_000001` and so on.
pub(crate) struct Files {
    system: FileSystem,
    directory: PathBuf,
    open: Mutex<VecDeque<(u32, File)>>,
}

impl Files {
    pub(crate) fn new(system: &FileSystem, directory: &Path) -> Self {
        let open = Mutex::new(VecDeque::with_capacity(OPEN_FILES));
        Self { system: system.clone(), directory: directory.to_owned(), open }
    }

    pub(crate) fn path(&self, file: u32) -> PathBuf {
        self.directory.join(format!("blockfile_{file:06}"))
    }

    /// How many files there are. They are numbered without gaps.
    pub(crate) fn count(&self) -> Result<u32, FileError> {
        let mut count = 0;
        while self.system.exists(&self.path(count))? {
            count += 1;
        }
        Ok(count)
    }

    /// A file for appending, made where it does not exist. A new file's name is synchronised too.
    pub(crate) fn writable(&self, file: u32) -> Result<File, FileError> {
        let path = self.path(file);
        if self.system.exists(&path)? {
            return self.system.open(&path, Access::Write);
        }
        let created = self.system.open(&path, Access::CreateNew)?;
        self.system.sync_directory(&self.directory)?;
        Ok(created)
    }

    pub(crate) fn length(&self, file: u32) -> Result<u64, FileError> {
        self.readable(file)?.length()
    }

    /// Makes the names of all files survive.
    pub(crate) fn sync_names(&self) -> Result<(), FileError> {
        self.system.sync_directory(&self.directory)
    }

    /// Removes a file, and returns when it cannot come back.
    pub(crate) fn remove(&self, file: u32) -> Result<(), FileError> {
        self.open.lock().retain(|(number, _)| *number != file);
        self.system.remove_file(&self.path(file))?;
        self.system.sync_directory(&self.directory)
    }

    /// Shortens a file, and returns when it cannot grow back.
    pub(crate) fn cut(&self, file: u32, length: u64) -> Result<(), FileError> {
        let file = self.writable(file)?;
        file.set_length(length)?;
        file.sync()
    }

    /// The content of the record at a location whose length is known. `None`: another length, or none, stands there.
    pub(crate) fn read(&self, location: Location) -> Result<Option<Bytes>, FileError> {
        let mut record = vec![0; location.length as usize];
        self.readable(location.file)?.read_exact_at(&mut record, location.offset)?;
        let record = Bytes::from(record);
        let found = record_length(&record).filter(|(length, prefix)| *length == (record.len() - prefix) as u64);
        Ok(found.map(|(_, prefix)| record.slice(prefix..)))
    }

    /// All bytes from `offset` on.
    pub(crate) fn read_from(&self, file: u32, offset: u64, file_length: u64) -> Result<Bytes, FileError> {
        let mut rest = vec![0; file_length.saturating_sub(offset) as usize];
        self.readable(file)?.read_exact_at(&mut rest, offset)?;
        Ok(rest.into())
    }

    /// Whether a record's bytes in the last of its sectors are all zero: the sector was not written, more likely than that
    /// the hash at the end of the block ends so.
    pub(crate) fn ends_with_lost_sector(&self, location: Location) -> Result<bool, FileError> {
        let last_sector = (location.end() - 1) / SECTOR * SECTOR;
        if last_sector <= location.offset {
            return Ok(false);
        }
        self.is_zero_from(location.file, last_sector, location.end())
    }

    /// The location of the record that begins at `offset`, by its length prefix. `None`: cut off, or no record.
    pub(crate) fn locate(&self, file: u32, offset: u64, file_length: u64) -> Result<Option<Location>, FileError> {
        let available = file_length.saturating_sub(offset).min(MAX_VARINT as u64) as usize;
        let mut start = [0; MAX_VARINT];
        let Some(start) = start.get_mut(..available) else { return Ok(None) };
        self.readable(file)?.read_exact_at(start, offset)?;
        let Some((content, prefix)) = record_length(start).filter(|(content, _)| *content > 0) else { return Ok(None) };
        let length = content.saturating_add(prefix as u64);
        if length > file_length - offset {
            return Ok(None);
        }
        Ok(u32::try_from(length).ok().map(|length| Location { file, offset, length }))
    }

    /// Whether a file holds nothing but zeros from `offset` on, as after a loss of power.
    pub(crate) fn is_zero_from(&self, file: u32, mut offset: u64, file_length: u64) -> Result<bool, FileError> {
        let readable = self.readable(file)?;
        let mut chunk = vec![0; CHUNK];
        while offset < file_length {
            let part = chunk.len().min((file_length - offset) as usize);
            let Some(part) = chunk.get_mut(..part) else { return Ok(false) };
            readable.read_exact_at(part, offset)?;
            if part.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            offset += part.len() as u64;
        }
        Ok(true)
    }

    fn readable(&self, file: u32) -> Result<File, FileError> {
        let mut open = self.open.lock();
        if let Some(found) =
            open.iter().position(|(number, _)| *number == file).and_then(|position| open.remove(position))
        {
            let handle = found.1.clone();
            open.push_back(found);
            return Ok(handle);
        }
        let handle = self.system.open(&self.path(file), Access::Read)?;
        if open.len() >= OPEN_FILES {
            open.pop_front();
        }
        open.push_back((file, handle.clone()));
        Ok(handle)
    }
}
