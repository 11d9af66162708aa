//! The durable part of a consenter's raft: log, hard state, snapshot, and messages accepted but not yet in a block.
//!
//! A segment file is a sequence of frames `length u32 | crc32 u32 | payload`, integers little-endian. A frame is one write
//! and one sync, and its payload a sequence of records, each a kind byte and its content (see [`Record`]). What is stored
//! together is one frame unless it is very much. A crash can only cut off the last frame; it is removed when the log is opened. Damage elsewhere is an error. Behind a snapshot, which is a
//! file of its own, a new segment begins and the old ones are deleted.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes};
use ripstop_raft::{DurableState, Entry, EntryKind, HardState, Persist, Snapshot};
use ripstop_types::Block;

use crate::snapshot_files;

const FRAME_HEADER: usize = 8;
/// The largest frame that is believed, in bytes: a batch of blocks is far below; anything above is damage.
const MAX_FRAME: usize = 1 << 30;
/// Records that would make a frame larger than this begin another one.
const FRAME_BOUND: usize = 64 << 20;
/// What a record takes beside its content, at most.
const RECORD_OVERHEAD: usize = 32;
const SEGMENT_SUFFIX: &str = "log";

/// Why the log cannot be read or written. Nothing may be acknowledged afterwards; the channel stops.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The operating system refuses.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Bytes before the end that are not what was written.
    #[error(
        "the Raft log {path} is damaged at byte {offset}: if this node is the channel's only consenter, move the directory away and start again, and the node goes on after its last block; if there are others, give this node a new certificate and add it to the channel anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// A frame that could not be read again.
    #[error("cannot write {bytes} bytes at once to the Raft log {path}: at most {MAX_FRAME} are possible")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How many were to be written.
        bytes: usize,
    },
    /// The log of another implementation.
    #[error(
        "{0} holds a write-ahead log of another Raft implementation: if this node is the channel's only consenter, move that directory away and start again, and the node goes on after its last block"
    )]
    Foreign(PathBuf),
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WalError + use<> {
    let path = path.to_owned();
    move |source| WalError::Io { action, path, source }
}

/// What a log holds when it is opened.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Raft's state.
    pub(crate) raft: DurableState,
    /// Messages that were acknowledged and are in no proposed block, in order.
    pub(crate) accepted: Vec<Bytes>,
    /// Whether the segments say anything of term and vote.
    has_state: bool,
}

/// One step of the log's history.
enum Record {
    HardState(HardState),
    Entry(Entry),
    /// A snapshot from the leader replaced everything before.
    Installed {
        index: u64,
    },
    /// A message was acknowledged.
    Accepted(Bytes),
}

/// A channel's log, open for appending.
pub(crate) struct Wal {
    directory: PathBuf,
    snapshot_directory: PathBuf,
    segment: u64,
    path: PathBuf,
    file: File,
    /// Records not yet written.
    buffer: Vec<u8>,
    frame_bound: usize,
}

impl Wal {
    /// Opens a channel's log, or begins an empty one, and reads what it holds.
    pub(crate) fn open(directory: &Path, snapshot_directory: &Path) -> Result<(Self, Recovered), WalError> {
        fs::create_dir_all(directory).map_err(failed("create", directory))?;
        fs::create_dir_all(snapshot_directory).map_err(failed("create", snapshot_directory))?;
        let mut recovered = Recovered::default();
        recovered.raft.snapshot = snapshot_files::read_newest(snapshot_directory)?;
        let segments = segments(directory)?;
        let last = segments.last().copied();
        for segment in segments {
            let end = if Some(segment) == last { SegmentEnd::MayBeCut } else { SegmentEnd::Whole };
            read_segment(&segment_path(directory, segment), end, &mut recovered)?;
        }
        let base = recovered.raft.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        recovered.raft.entries.retain(|entry| entry.index > base);
        let segment = last.unwrap_or(1);
        let path = segment_path(directory, segment);
        let file = open_segment(&path)?;
        sync_directory(directory)?;
        let wal = Self {
            directory: directory.to_owned(),
            snapshot_directory: snapshot_directory.to_owned(),
            segment,
            path,
            file,
            buffer: Vec::new(),
            frame_bound: FRAME_BOUND,
        };
        Ok((wal, recovered))
    }

    /// Forgets everything about a channel.
    pub(crate) fn remove(directory: &Path, snapshot_directory: &Path) -> Result<(), WalError> {
        for directory in [directory, snapshot_directory] {
            match fs::remove_dir_all(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", directory)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Stores what raft asks for: durably if it must be, else together with what comes next.
    pub(crate) fn persist(&mut self, persist: &Persist) -> Result<(), WalError> {
        if let Some(snapshot) = &persist.snapshot {
            snapshot_files::write(&self.snapshot_directory, snapshot)?;
            self.note(&Record::Installed { index: snapshot.index })?;
        }
        // If they become several frames and not all survive a crash, these are as if fewer had come.
        for entry in &persist.entries {
            self.note(&Record::Entry(entry.clone()))?;
        }
        if let Some(state) = persist.hard_state {
            self.note(&Record::HardState(state))?;
        }
        if persist.durable { self.sync() } else { Ok(()) }
    }

    /// Notes a message that will be acknowledged after the next [`Self::sync`].
    pub(crate) fn accept(&mut self, message: &Bytes) -> Result<(), WalError> {
        self.note(&Record::Accepted(message.clone()))
    }

    /// Puts a record into the present frame, or into a new one if that is full.
    fn note(&mut self, record: &Record) -> Result<(), WalError> {
        if self.buffer.len() + record.content().len() + RECORD_OVERHEAD > self.frame_bound {
            self.sync()?;
        }
        put(&mut self.buffer, record);
        Ok(())
    }

    /// Makes everything noted so far survive a crash.
    pub(crate) fn sync(&mut self) -> Result<(), WalError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.len();
        let length = u32::try_from(bytes).ok().filter(|_| bytes <= MAX_FRAME);
        let length = length.ok_or_else(|| WalError::TooLarge { path: self.path.clone(), bytes })?;
        let mut frame = Vec::with_capacity(FRAME_HEADER + bytes);
        frame.put_u32_le(length);
        frame.put_u32_le(crc32fast::hash(&self.buffer));
        frame.extend_from_slice(&self.buffer);
        self.file.write_all(&frame).map_err(failed("write", &self.path))?;
        self.file.sync_data().map_err(failed("sync", &self.path))?;
        self.buffer.clear();
        Ok(())
    }

    /// Stores a snapshot and forgets what it replaces. `rest` is what must be remembered beside it.
    pub(crate) fn compact(&mut self, snapshot: &Snapshot, rest: &Persist, accepted: &[Bytes]) -> Result<(), WalError> {
        snapshot_files::write(&self.snapshot_directory, snapshot)?;
        let old = self.segment;
        self.segment += 1;
        self.path = segment_path(&self.directory, self.segment);
        self.file = open_segment(&self.path)?;
        self.buffer.clear();
        // One frame, however large: with a part of it entries of the old segments would be lost.
        put(&mut self.buffer, &Record::Installed { index: snapshot.index });
        accepted.iter().for_each(|message| put(&mut self.buffer, &Record::Accepted(message.clone())));
        rest.entries.iter().for_each(|entry| put(&mut self.buffer, &Record::Entry(entry.clone())));
        rest.hard_state.iter().for_each(|state| put(&mut self.buffer, &Record::HardState(*state)));
        self.sync()?;
        sync_directory(&self.directory)?;
        for segment in segments(&self.directory)?.into_iter().filter(|segment| *segment <= old) {
            let path = segment_path(&self.directory, segment);
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }
}

fn segment_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("{segment:016x}.{SEGMENT_SUFFIX}"))
}

fn open_segment(path: &Path) -> Result<File, WalError> {
    OpenOptions::new().create(true).append(true).open(path).map_err(failed("open", path))
}

pub(crate) fn sync_directory(directory: &Path) -> Result<(), WalError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
}

/// The segments of a directory, oldest first.
fn segments(directory: &Path) -> Result<Vec<u64>, WalError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let path = entry.map_err(failed("list", directory))?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(SEGMENT_SUFFIX) => {
                let number =
                    path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| u64::from_str_radix(stem, 16).ok());
                found.extend(number);
            }
            Some("wal") => return Err(WalError::Foreign(directory.to_owned())),
            _ => {}
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a crash can have cut off the end of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SegmentEnd {
    Whole,
    MayBeCut,
}

fn read_segment(path: &Path, end: SegmentEnd, recovered: &mut Recovered) -> Result<(), WalError> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))?;
    let length = file.metadata().map_err(failed("read", path))?.len();
    let mut reader = io::BufReader::new(&file);
    let mut offset = 0;
    while offset < length {
        let start = offset;
        let damaged = || WalError::Damaged { path: path.to_owned(), offset: start };
        match read_frame(&mut reader, length - offset).map_err(failed("read", path))? {
            Frame::Whole(payload) => {
                offset += (FRAME_HEADER + payload.len()) as u64;
                let mut rest = Bytes::from(payload);
                while rest.has_remaining() {
                    let record = take(&mut rest).ok_or_else(damaged)?;
                    recovered.replay(record);
                }
            }
            Frame::Cut if end == SegmentEnd::MayBeCut => {
                tracing::warn!(
                    target: "orderer.consensus.etcdraft",
                    "The last write to {} was cut off by a crash; removing its {} bytes, which nobody was told of",
                    path.display(),
                    length - offset
                );
                file.set_len(offset).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed("truncate", path))?;
                file.sync_all().map_err(failed("sync", path))?;
                return Ok(());
            }
            Frame::Cut | Frame::Damaged => return Err(damaged()),
        }
    }
    Ok(())
}

enum Frame {
    Whole(Vec<u8>),
    /// The file ends before the frame does, or with it while its content is not what was to be written.
    Cut,
    Damaged,
}

fn read_frame(reader: &mut impl Read, remaining: u64) -> io::Result<Frame> {
    if remaining < FRAME_HEADER as u64 {
        return Ok(Frame::Cut);
    }
    let mut header = [0; FRAME_HEADER];
    reader.read_exact(&mut header)?;
    let mut fields = header.as_slice();
    let (length, checksum) = (fields.get_u32_le() as usize, fields.get_u32_le());
    let available = remaining - FRAME_HEADER as u64;
    if length == 0 {
        // The file may have grown before its content arrived: then only zeros follow.
        let mut rest = Vec::new();
        reader.take(available).read_to_end(&mut rest)?;
        return Ok(if checksum == 0 && rest.iter().all(|byte| *byte == 0) { Frame::Cut } else { Frame::Damaged });
    }
    if length > MAX_FRAME {
        return Ok(Frame::Damaged);
    }
    if length as u64 > available {
        return Ok(Frame::Cut);
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload)?;
    if crc32fast::hash(&payload) == checksum {
        return Ok(Frame::Whole(payload));
    }
    Ok(if length as u64 == available { Frame::Cut } else { Frame::Damaged })
}

impl Recovered {
    /// What a log begins with that was not there before.
    pub(crate) fn begun(raft: DurableState) -> Self {
        Self { raft, accepted: Vec::new(), has_state: true }
    }

    /// Whether there is nothing to go on from. Snapshots lie elsewhere and outlive a lost log, but without term and vote a
    /// consenter could vote twice.
    pub(crate) fn is_missing(&self) -> bool {
        !self.has_state
    }

    fn replay(&mut self, record: Record) {
        self.has_state |= matches!(record, Record::HardState(_) | Record::Installed { .. });
        match record {
            Record::HardState(state) => self.raft.hard_state = state,
            Record::Installed { index } => self.raft.entries.retain(|entry| entry.index > index),
            // Noted again when a proposal of it was dropped.
            Record::Accepted(message) if self.accepted.contains(&message) => {}
            Record::Accepted(message) => self.accepted.push(message),
            Record::Entry(entry) => {
                if entry.kind == EntryKind::Normal
                    && !self.accepted.is_empty()
                    && let Ok(block) = Block::parse(entry.data.clone())
                {
                    let ordered: HashSet<&Bytes> = block.data.iter().collect();
                    self.accepted.retain(|message| !ordered.contains(message));
                }
                // Indexes only ever grow by one or fall back, so what is replaced is at the end.
                while self.raft.entries.last().is_some_and(|last| last.index >= entry.index) {
                    self.raft.entries.pop();
                }
                self.raft.entries.push(entry);
            }
        }
    }
}

impl Record {
    /// The part whose size is up to others.
    fn content(&self) -> &[u8] {
        match self {
            Self::HardState(_) | Self::Installed { .. } => &[],
            Self::Entry(Entry { data, .. }) | Self::Accepted(data) => data,
        }
    }
}

fn put(buffer: &mut Vec<u8>, record: &Record) {
    match record {
        Record::HardState(state) => {
            buffer.put_u8(1);
            buffer.put_u64_le(state.term);
            buffer.put_u64_le(state.vote);
            buffer.put_u64_le(state.commit);
        }
        Record::Entry(entry) => {
            buffer.put_u8(match entry.kind {
                EntryKind::Normal => 2,
                EntryKind::Membership => 3,
            });
            buffer.put_u64_le(entry.index);
            buffer.put_u64_le(entry.term);
            put_bytes(buffer, &entry.data);
        }
        Record::Installed { index } => {
            buffer.put_u8(4);
            buffer.put_u64_le(*index);
        }
        Record::Accepted(message) => {
            buffer.put_u8(5);
            put_bytes(buffer, message);
        }
    }
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: &Bytes) {
    buffer.put_u32_le(bytes.len() as u32);
    buffer.extend_from_slice(bytes);
}

/// Reads the next record; `None` if the bytes are none.
fn take(buffer: &mut Bytes) -> Option<Record> {
    match buffer.try_get_u8().ok()? {
        1 => {
            Some(Record::HardState(HardState { term: number(buffer)?, vote: number(buffer)?, commit: number(buffer)? }))
        }
        kind @ (2 | 3) => {
            let kind = if kind == 2 { EntryKind::Normal } else { EntryKind::Membership };
            Some(Record::Entry(Entry { kind, index: number(buffer)?, term: number(buffer)?, data: bytes(buffer)? }))
        }
        4 => Some(Record::Installed { index: number(buffer)? }),
        5 => Some(Record::Accepted(bytes(buffer)?)),
        _ => None,
    }
}

fn number(buffer: &mut Bytes) -> Option<u64> {
    buffer.try_get_u64_le().ok()
}

fn bytes(buffer: &mut Bytes) -> Option<Bytes> {
    let length = buffer.try_get_u32_le().ok()? as usize;
    (length <= buffer.len()).then(|| buffer.split_to(length))
}

#[cfg(test)]
mod tests {
    use ripstop_raft::NodeId;

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn open(&self) -> Result<(Wal, Recovered), WalError> {
            Wal::open(&self.0.path().join("wal"), &self.0.path().join("snap"))
        }

        fn segment(&self) -> PathBuf {
            let directory = self.0.path().join("wal");
            segment_path(&directory, *segments(&directory).unwrap().last().unwrap())
        }
    }

    fn block(number: u64, data: &[&Bytes]) -> Bytes {
        use prost::Message as _;
        let data = data.iter().map(|bytes| (*bytes).clone()).collect();
        Block::new(ripstop_types::BlockNumber::new(number), Bytes::new(), data).to_proto().encode_to_vec().into()
    }

    fn entry(index: u64, term: u64, data: Bytes) -> Entry {
        Entry { index, term, kind: EntryKind::Normal, data }
    }

    fn append(wal: &mut Wal, entries: Vec<Entry>) {
        let commit = entries.first().unwrap().index - 1;
        let hard_state = Some(HardState { term: 1, vote: 1, commit });
        wal.persist(&Persist { entries, hard_state, durable: true, ..Persist::default() }).unwrap();
    }

    #[test]
    fn what_was_stored_is_found_again_and_later_entries_replace_earlier_ones() {
        let place = Place::new();
        let (mut wal, recovered) = place.open().unwrap();
        assert!(recovered.raft.is_empty());
        append(&mut wal, vec![entry(1, 1, "a".into()), entry(2, 1, "b".into())]);
        append(&mut wal, vec![entry(2, 2, "c".into()), entry(3, 2, "d".into())]);
        drop(wal);
        let (_, recovered) = place.open().unwrap();
        let expected = [entry(1, 1, "a".into()), entry(2, 2, "c".into()), entry(3, 2, "d".into())];
        assert_eq!(recovered.raft.entries, expected);
        assert_eq!(recovered.raft.hard_state, HardState { term: 1, vote: 1, commit: 1 });
    }

    #[test]
    fn a_crash_at_any_byte_of_the_last_write_costs_only_that_write() {
        let place = Place::new();
        let (mut wal, _) = place.open().unwrap();
        append(&mut wal, vec![entry(1, 1, "first".into())]);
        let whole = fs::metadata(place.segment()).unwrap().len();
        append(&mut wal, vec![entry(2, 1, "second".into())]);
        let content = fs::read(place.segment()).unwrap();
        for length in whole as usize..content.len() {
            fs::write(place.segment(), &content[..length]).unwrap();
            let (mut wal, recovered) = place.open().unwrap();
            assert_eq!(recovered.raft.entries, [entry(1, 1, "first".into())], "cut at {length}");
            append(&mut wal, vec![entry(2, 1, "again".into())]);
            assert_eq!(place.open().unwrap().1.raft.entries.len(), 2, "cut at {length}");
        }
        let mut zeros = content[..whole as usize].to_vec();
        zeros.resize(content.len(), 0);
        fs::write(place.segment(), zeros).unwrap();
        assert_eq!(place.open().unwrap().1.raft.entries.len(), 1);
    }

    #[test]
    fn much_at_once_is_several_frames() {
        let place = Place::new();
        let (mut wal, _) = place.open().unwrap();
        wal.frame_bound = 100;
        let entries: Vec<_> = (1..=5).map(|index| entry(index, 1, vec![b'x'; 30].into())).collect();
        append(&mut wal, entries.clone());
        let content = fs::read(place.segment()).unwrap();
        let length = u32::from_le_bytes(content[..4].try_into().unwrap()) as usize;
        assert!(length <= 100 && length + FRAME_HEADER < content.len(), "{length} of {}", content.len());
        assert_eq!(place.open().unwrap().1.raft.entries, entries);
    }

    #[test]
    fn damage_before_the_end_is_an_error() {
        let place = Place::new();
        let (mut wal, _) = place.open().unwrap();
        append(&mut wal, vec![entry(1, 1, "first".into())]);
        append(&mut wal, vec![entry(2, 1, "second".into())]);
        let mut content = fs::read(place.segment()).unwrap();
        content[FRAME_HEADER + 3] ^= 1;
        fs::write(place.segment(), content).unwrap();
        assert!(matches!(place.open(), Err(WalError::Damaged { offset: 0, .. })));
    }

    #[test]
    fn an_acknowledged_message_is_remembered_until_it_is_in_a_block() {
        let place = Place::new();
        let (mut wal, _) = place.open().unwrap();
        let messages: Vec<Bytes> = ["a", "b", "c"].into_iter().map(Bytes::from).collect();
        messages.iter().try_for_each(|message| wal.accept(message)).unwrap();
        wal.sync().unwrap();
        drop(wal);
        let (mut wal, recovered) = place.open().unwrap();
        assert_eq!(recovered.accepted, messages);
        append(&mut wal, vec![entry(1, 1, block(1, &[&messages[0], &messages[1]]))]);
        assert_eq!(place.open().unwrap().1.accepted, messages[2..]);
    }

    #[test]
    fn compaction_keeps_the_snapshot_what_follows_and_accepted_messages() {
        let place = Place::new();
        let (mut wal, _) = place.open().unwrap();
        append(&mut wal, (1..=9).map(|index| entry(index, 1, "x".into())).collect());
        let members = vec![NodeId::new(1).unwrap(), NodeId::new(4).unwrap()];
        let snapshot = Snapshot { index: 8, term: 1, members, data: "block".into() };
        let hard_state = Some(HardState { term: 1, vote: 1, commit: 9 });
        let rest = Persist { entries: vec![entry(9, 1, "x".into())], hard_state, ..Persist::default() };
        wal.compact(&snapshot, &rest, &["waiting".into()]).unwrap();
        append(&mut wal, vec![entry(10, 1, "y".into())]);
        let (_, recovered) = place.open().unwrap();
        assert_eq!(recovered.raft.snapshot, Some(snapshot));
        assert_eq!(recovered.raft.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [9, 10]);
        assert_eq!(recovered.accepted, ["waiting"]);
        assert_eq!(segments(&place.0.path().join("wal")).unwrap(), [2]);
    }

    #[test]
    fn a_snapshot_alone_is_no_log() {
        let place = Place::new();
        let (mut wal, recovered) = place.open().unwrap();
        assert!(recovered.is_missing());
        append(&mut wal, (1..=3).map(|index| entry(index, 1, "x".into())).collect());
        let snapshot = Snapshot { index: 2, term: 1, members: vec![NodeId::new(1).unwrap()], data: "block".into() };
        let hard_state = Some(HardState { term: 1, vote: 1, commit: 3 });
        let rest = Persist { entries: vec![entry(3, 1, "x".into())], hard_state, ..Persist::default() };
        wal.compact(&snapshot, &rest, &[]).unwrap();
        assert!(!place.open().unwrap().1.is_missing());
        fs::remove_dir_all(place.0.path().join("wal")).unwrap();
        // The second time there is an empty segment.
        for _ in 0..2 {
            let (_, recovered) = place.open().unwrap();
            assert!(recovered.is_missing() && recovered.raft.snapshot.is_some());
        }
    }

    proptest::proptest! {
        // Each case syncs files.
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

        #[test]
        fn no_content_of_a_file_does_more_than_be_refused(content in proptest::collection::vec(0u8..8, 0..200)) {
            let place = Place::new();
            drop(place.open().unwrap());
            fs::write(place.segment(), &content).unwrap();
            let mut framed = (content.len() as u32).to_le_bytes().to_vec();
            framed.extend(crc32fast::hash(&content).to_le_bytes());
            framed.extend(&content);
            let _ = place.open();
            fs::write(place.segment(), &framed).unwrap();
            let _ = place.open();
        }
    }
}
