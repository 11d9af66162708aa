use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_files::{Access, File, FileError, FileSystem};

use crate::BlockStoreError;
use crate::location::Location;
use crate::record::{MAX_VARINT, record_length};

/// How many block files stay open for reading; the one not used for longest is closed.
const OPEN_FILES: usize = 16;

/// What a block file's name begins with; its number follows, with six digits at least.
const PREFIX: &str = "blockfile_";

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

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn path(&self, file: u32) -> PathBuf {
        self.directory.join(format!("{PREFIX}{file:06}"))
    }

    /// How many files there are. They are numbered without gaps; where one is missing, blocks are.
    pub(crate) fn count(&self) -> Result<u32, BlockStoreError> {
        let mut numbers: Vec<u32> =
            self.system.list(&self.directory)?.iter().filter_map(|path| self.number(path)).collect();
        numbers.sort_unstable();
        match (0..).zip(&numbers).find(|(expected, found)| expected != *found) {
            Some((missing, _)) => Err(BlockStoreError::NoFile(self.path(missing))),
            None => Ok(numbers.len() as u32),
        }
    }

    /// The number in a block file's name. `None`: it is another file.
    fn number(&self, path: &Path) -> Option<u32> {
        let number = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
        (self.path(number) == path).then_some(number)
    }

    /// A file for appending, made where it does not exist. A new file's name is synchronised too.
    pub(crate) fn writable(&self, file: u32) -> Result<File, FileError> {
        let path = self.path(file);
        if self.system.exists(&path)? { self.system.open(&path, Access::Write) } else { self.begin(file) }
    }

    /// An empty file for appending, whatever stands there under its name. The name is synchronised.
    pub(crate) fn begin(&self, file: u32) -> Result<File, FileError> {
        let begun = self.system.open(&self.path(file), Access::Create)?;
        begun.set_length(0)?;
        self.system.sync_directory(&self.directory)?;
        Ok(begun)
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

    /// The bytes from `from` up to `to`, which the file has.
    pub(crate) fn read_range(&self, file: u32, from: u64, to: u64) -> Result<Bytes, FileError> {
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        self.readable(file)?.read_exact_at(&mut bytes, from)?;
        Ok(bytes.into())
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
