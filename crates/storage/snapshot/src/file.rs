//! Files of numbers and byte strings behind a format byte.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ripstop_files::FileError;
use ripstop_types::{Digest, put_varuint};
use sha2::Digest as _;

use crate::{Part, SnapshotError};

/// The first byte of every data and metadata file.
const FORMAT: u8 = 1;

/// The longest byte string that is read. No value of a ledger comes near it: messages between peers are smaller.
const MAX_ELEMENT: u64 = 1 << 30;

/// Nobody changes a file of a snapshot: its hash is on record.
const READ_ONLY: u32 = 0o444;

/// A file that does not exist yet.
pub(crate) fn create(path: &Path) -> Result<File, SnapshotError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(READ_ONLY).open(path);
    Ok(created.map_err(FileError::of("create", path))?)
}

/// The SHA-256 of a whole file.
pub(crate) fn hash(path: &Path) -> Result<Digest, SnapshotError> {
    let mut file = File::open(path).map_err(FileError::of("open", path))?;
    let mut hasher = sha2::Sha256::new();
    std::io::copy(&mut file, &mut hasher).map_err(FileError::of("read", path))?;
    Ok(Digest::new(hasher.finalize().into()))
}

pub(crate) struct ElementWriter {
    path: PathBuf,
    file: BufWriter<File>,
    hasher: sha2::Sha256,
}

impl ElementWriter {
    pub(crate) fn create(path: PathBuf) -> Result<Self, SnapshotError> {
        let file = BufWriter::new(create(&path)?);
        let mut writer = Self { path, file, hasher: sha2::Sha256::new() };
        writer.put(&[FORMAT])?;
        Ok(writer)
    }

    pub(crate) fn number(&mut self, number: u64) -> Result<(), SnapshotError> {
        let mut encoded = Vec::with_capacity(10);
        put_varuint(&mut encoded, number);
        self.put(&encoded)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.number(bytes.len() as u64)?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.hasher.update(bytes);
        Ok(self.file.write_all(bytes).map_err(FileError::of("write", &self.path))?)
    }

    /// Returns the hash of the file when it is on disk.
    pub(crate) fn finish(mut self) -> Result<Digest, SnapshotError> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(FileError::of("write", &self.path))?;
        Ok(Digest::new(self.hasher.finalize().into()))
    }
}

pub(crate) struct ElementReader {
    path: PathBuf,
    file: BufReader<File>,
    /// How many bytes of the file are not read yet.
    remaining: u64,
}

impl ElementReader {
    pub(crate) fn open(path: PathBuf) -> Result<Self, SnapshotError> {
        let file = File::open(&path).map_err(FileError::of("open", &path))?;
        let remaining = file.metadata().map_err(FileError::of("measure", &path))?.len();
        let mut reader = Self { path, file: BufReader::new(file), remaining };
        match reader.byte()? {
            FORMAT => Ok(reader),
            found => Err(SnapshotError::Format { path: reader.path, found }),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, SnapshotError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.damaged("a number is longer than 64 bits"))
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, SnapshotError> {
        let length = self.number()?;
        if length > self.remaining.min(MAX_ELEMENT) {
            return Err(self.damaged(format!("an element of {length} bytes, where {} follow", self.remaining)));
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact(&mut bytes).map_err(FileError::of("read", &self.path))?;
        self.remaining -= length;
        Ok(bytes.into())
    }

    pub(crate) fn text(&mut self) -> Result<String, SnapshotError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).map_err(|error| self.damaged(error.to_string()))
    }

    /// Nothing may follow.
    pub(crate) fn finish(&self) -> Result<(), SnapshotError> {
        match self.remaining {
            0 => Ok(()),
            more => Err(self.damaged(format!("{more} bytes follow the last entry that the metadata counts"))),
        }
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> SnapshotError {
        SnapshotError::damaged(&self.path, reason)
    }

    fn byte(&mut self) -> Result<u8, SnapshotError> {
        if self.remaining == 0 {
            return Err(self.damaged("it is cut off"));
        }
        let mut byte = [0];
        self.file.read_exact(&mut byte).map_err(FileError::of("read", &self.path))?;
        self.remaining -= 1;
        Ok(byte[0])
    }
}

/// A data file and how many entries of it follow.
pub(crate) struct Counted {
    data: ElementReader,
    left: u64,
}

impl Counted {
    pub(crate) fn open(directory: &Path, part: Part) -> Result<Self, SnapshotError> {
        let mut metadata = ElementReader::open(directory.join(part.metadata_file()))?;
        let left = metadata.number()?;
        metadata.finish()?;
        Ok(Self { data: ElementReader::open(directory.join(part.data_file()))?, left })
    }

    /// Reads the next entry. Nothing more comes after an error.
    pub(crate) fn next<T>(
        &mut self,
        read: impl FnOnce(&mut ElementReader) -> Result<T, SnapshotError>,
    ) -> Option<Result<T, SnapshotError>> {
        self.left = self.left.checked_sub(1)?;
        let last = self.left == 0;
        let entry = read(&mut self.data).and_then(|entry| match last {
            true => self.data.finish().map(|()| entry),
            false => Ok(entry),
        });
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}
