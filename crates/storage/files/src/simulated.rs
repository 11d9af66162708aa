//! A disk in memory that does what disks may do, from a seed.
//!
//! A file has what everybody reads (the page cache) and what survives a loss of power; a page that was written and not yet
//! synchronised may be in one only. Names in directories are the same: changes survive in order, the last ones perhaps not.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::io::Errno;

use crate::file_system::{Backend, Content};
use crate::{Access, FileSystem};

/// The sizes of what is written or lost as a whole: a sector, and a page.
const PAGE_SIZES: [usize; 2] = [512, 4096];

/// One in how many writes lets the kernel write back some page by itself.
const WRITE_BACK: u32 = 8;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine goes off in the middle of a write, a sync or a change of names or length.
    PowerLoss,
    /// The process is killed there. The machine goes on.
    Kill,
    /// A write finds the disk full half-way, and so does every later one that needs room, until [`SimulatedDisk::make_room`].
    Full,
    /// A write or a change fails half-way, once.
    WriteError,
    /// A sync fails, once. As on Linux some of what was written is never going to be, and later syncs do not say so.
    SyncError,
    /// A read fails, once.
    ReadError,
}

/// How the process that used the disk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself or killed: what it wrote is read again, synchronised or not.
    Process,
    /// With the machine: what was not synchronised survives in part.
    Machine,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    /// An empty disk whose accidents follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let page = PAGE_SIZES[random.random_range(0..PAGE_SIZES.len())];
        let root = Node::Directory(Directory::default());
        Self(Arc::new(Mutex::new(State {
            page,
            random,
            armed: None,
            off: false,
            full: false,
            process: 0,
            handles: 0,
            nodes: vec![root],
        })))
    }

    /// The file system on it.
    pub fn file_system(&self) -> FileSystem {
        FileSystem::over(Arc::new(self.clone()))
    }

    /// Lets something go wrong after this many operations of the kind that it can befall.
    pub fn arm(&self, fault: Fault, after: u64) {
        self.0.lock().armed = Some((fault, after));
    }

    /// Whether nothing is going to go wrong any more: what was armed has befallen.
    pub fn has_struck(&self) -> bool {
        self.0.lock().armed.is_none()
    }

    /// Ends a full disk.
    pub fn make_room(&self) {
        self.0.lock().full = false;
    }

    /// What a new process finds. Files that are open fail from here on; what was armed is forgotten.
    pub fn restart(&self, end: End) {
        let mut state = self.0.lock();
        state.armed = None;
        state.off = false;
        state.process += 1;
        let State { nodes, random, page, .. } = &mut *state;
        for node in nodes {
            match (node, end) {
                (Node::File(file), End::Process) => file.locked_by = None,
                (Node::File(file), End::Machine) => file.lose_power(*page, random),
                (Node::Directory(_), End::Process) => {}
                (Node::Directory(directory), End::Machine) => directory.lose_power(random),
            }
        }
    }
}

struct State {
    page: usize,
    random: StdRng,
    armed: Option<(Fault, u64)>,
    off: bool,
    full: bool,
    /// Counts processes, so that what an earlier one opened cannot be used.
    process: u64,
    handles: u64,
    /// The first is the root.
    nodes: Vec<Node>,
}

enum Node {
    File(Stored),
    Directory(Directory),
}

/// What an operation does to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Change,
    Sync,
}

impl Fault {
    const fn befalls(self, kind: Kind) -> bool {
        match self {
            Self::PowerLoss | Self::Kill => matches!(kind, Kind::Write | Kind::Change | Kind::Sync),
            Self::Full => matches!(kind, Kind::Write),
            Self::WriteError => matches!(kind, Kind::Write | Kind::Change),
            Self::SyncError => matches!(kind, Kind::Sync),
            Self::ReadError => matches!(kind, Kind::Read),
        }
    }

    fn error(self) -> io::Error {
        match self {
            Self::PowerLoss | Self::Kill => off(),
            Self::Full => Errno::NOSPC.into(),
            Self::WriteError | Self::SyncError | Self::ReadError => Errno::IO.into(),
        }
    }
}

fn off() -> io::Error {
    io::Error::other("the process has ended")
}

impl State {
    /// Begins an operation; gives the fault that befalls it.
    fn begin(&mut self, kind: Kind) -> io::Result<Option<Fault>> {
        if self.off {
            return Err(off());
        }
        let Some((fault, after)) = self.armed.filter(|(fault, _)| fault.befalls(kind)) else { return Ok(None) };
        if let Some(after) = after.checked_sub(1) {
            self.armed = Some((fault, after));
            return Ok(None);
        }
        self.armed = None;
        self.off = matches!(fault, Fault::PowerLoss | Fault::Kill);
        self.full |= fault == Fault::Full;
        Ok(Some(fault))
    }

    /// Begins an operation that is done as a whole or not at all.
    fn begin_whole(&mut self, kind: Kind) -> io::Result<()> {
        self.begin(kind)?.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut found = 0;
        for component in path.components() {
            if let Component::Normal(name) = component {
                found = *self.directory(found)?.current.get(name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(found)
    }

    fn parent<'a>(&self, path: &'a Path) -> io::Result<(usize, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?, name))
    }

    fn directory(&self, number: usize) -> io::Result<&Directory> {
        match self.nodes.get(number) {
            Some(Node::Directory(directory)) => Ok(directory),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn directory_mut(&mut self, number: usize) -> io::Result<&mut Directory> {
        match self.nodes.get_mut(number) {
            Some(Node::Directory(directory)) => Ok(directory),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let (parent, name) = self.parent(path)?;
        let number = self.nodes.len();
        if self.directory(parent)?.current.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        self.directory_mut(parent)?.change(vec![(name.to_owned(), Some(number))]);
        Ok(number)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.begin_whole(Kind::Change)?;
        self.find(path)?;
        let (parent, name) = self.parent(path)?;
        self.directory_mut(parent)?.change(vec![(name.to_owned(), None)]);
        Ok(())
    }
}

type Names = BTreeMap<OsString, usize>;
/// Changes of names that happen together.
type Change = Vec<(OsString, Option<usize>)>;

#[derive(Default)]
struct Directory {
    current: Names,
    durable: Names,
    /// What leads from `durable` to `current`.
    pending: Vec<Change>,
}

fn apply(names: &mut Names, change: &Change) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}

impl Directory {
    fn change(&mut self, change: Change) {
        apply(&mut self.current, &change);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        self.pending.clear();
        self.durable.clone_from(&self.current);
    }

    fn lose_power(&mut self, random: &mut StdRng) {
        let kept = random.random_range(0..=self.pending.len());
        self.pending.iter().take(kept).for_each(|change| apply(&mut self.durable, change));
        self.pending.clear();
        self.current.clone_from(&self.durable);
    }
}

#[derive(Default)]
struct Stored {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// The pages that are to be written.
    dirty: BTreeSet<usize>,
    locked_by: Option<u64>,
}

impl Stored {
    fn write(&mut self, bytes: &[u8], offset: usize, page: usize) {
        let end = offset + bytes.len();
        let from = offset.min(self.cached.len());
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        self.dirty.extend(from / page..end.div_ceil(page));
    }

    fn set_length(&mut self, length: usize, page: usize) {
        let from = length.min(self.cached.len());
        self.cached.resize(length, 0);
        self.dirty.retain(|dirty| dirty * page < length);
        self.dirty.extend(from / page..length.div_ceil(page));
    }

    /// Writes a page back.
    fn flush(&mut self, number: usize, page: usize) {
        let start = number * page;
        let end = (start + page).min(self.cached.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        if start < end {
            self.durable[start..end].copy_from_slice(&self.cached[start..end]);
        }
    }

    fn sync(&mut self, page: usize) {
        for dirty in std::mem::take(&mut self.dirty) {
            self.flush(dirty, page);
        }
        self.durable.resize(self.cached.len(), 0);
    }

    /// Writes some dirty pages back and forgets of the others that they are dirty.
    fn flush_some(&mut self, page: usize, random: &mut StdRng) {
        for dirty in std::mem::take(&mut self.dirty) {
            if random.random() {
                self.flush(dirty, page);
            }
        }
    }

    fn lose_power(&mut self, page: usize, random: &mut StdRng) {
        self.flush_some(page, random);
        let (one, other) = (self.durable.len(), self.cached.len());
        let length = match random.random_range(0..3) {
            0 => one,
            1 => other,
            _ => random.random_range(one.min(other)..=one.max(other)),
        };
        self.durable.resize(length, 0);
        self.cached.clone_from(&self.durable);
        self.locked_by = None;
    }
}

impl Backend for SimulatedDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn Content>> {
        let mut state = self.0.lock();
        let node = match (state.find(path), access) {
            (Ok(_), Access::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(node), _) => {
                state.begin_whole(Kind::Read)?;
                node
            }
            (Err(error), Access::Create | Access::CreateNew) if error.kind() == io::ErrorKind::NotFound => {
                state.begin_whole(Kind::Change)?;
                state.add(path, Node::File(Stored::default()))?
            }
            (Err(error), _) => return Err(error),
        };
        if matches!(state.nodes.get(node), Some(Node::Directory(_))) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        state.handles += 1;
        let (process, handle) = (state.process, state.handles);
        Ok(Arc::new(Handle { disk: self.clone(), process, handle, node }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.0.lock();
        state.begin_whole(Kind::Read)?;
        match state.find(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin_whole(Kind::Change)?;
        state.add(path, Node::Directory(Directory::default())).map(drop)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin_whole(Kind::Sync)?;
        let directory = state.find(path)?;
        state.directory_mut(directory)?.sync();
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.0.lock();
        state.begin_whole(Kind::Read)?;
        let found = state.find(directory)?;
        Ok(state.directory(found)?.current.keys().map(|name| directory.join(name)).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin_whole(Kind::Change)?;
        let node = state.find(from)?;
        let ((parent, old), (new_parent, new)) = (state.parent(from)?, state.parent(to)?);
        if parent != new_parent {
            // What survives would be two changes.
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        state.directory_mut(parent)?.change(vec![(old.to_owned(), None), (new.to_owned(), Some(node))]);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.lock().remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.0.lock().remove(path)
    }

    /// It has one user.
    fn close_to_others(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn is_host(&self) -> bool {
        false
    }
}

/// An open file.
struct Handle {
    disk: SimulatedDisk,
    process: u64,
    handle: u64,
    node: usize,
}

impl Handle {
    /// Begins an operation on the file; gives it with what befalls the operation.
    fn begin<T>(
        &self,
        kind: Kind,
        operation: impl FnOnce(&mut Stored, Option<Fault>, &mut Surroundings<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.0.lock();
        if state.process != self.process {
            return Err(off());
        }
        let fault = state.begin(kind)?;
        let State { nodes, random, page, full, .. } = &mut *state;
        match nodes.get_mut(self.node) {
            Some(Node::File(file)) => operation(file, fault, &mut Surroundings { random, page: *page, full: *full }),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

/// What a file's operation needs to know of the disk.
struct Surroundings<'a> {
    random: &'a mut StdRng,
    page: usize,
    full: bool,
}

impl Content for Handle {
    fn length(&self) -> io::Result<u64> {
        self.begin(Kind::Read, |file, fault, _| match fault {
            Some(fault) => Err(fault.error()),
            None => Ok(file.cached.len() as u64),
        })
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.begin(Kind::Read, |file, fault, _| {
            if let Some(fault) = fault {
                return Err(fault.error());
            }
            let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let found = file.cached.get(start..).and_then(|rest| rest.get(..buffer.len()));
            buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.begin(Kind::Write, |file, fault, around| {
            let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
            if let Some(fault) = fault {
                let written = around.random.random_range(0..=bytes.len());
                file.write(&bytes[..written], start, around.page);
                return Err(fault.error());
            }
            if around.full && start + bytes.len() > file.cached.len() {
                return Err(Fault::Full.error());
            }
            file.write(bytes, start, around.page);
            if around.random.random_ratio(1, WRITE_BACK) {
                let number = around.random.random_range(0..=file.cached.len() / around.page);
                if file.dirty.remove(&number) {
                    file.flush(number, around.page);
                }
            }
            Ok(())
        })
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.begin(Kind::Change, |file, fault, around| {
            let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
            if around.full && length > file.cached.len() {
                return Err(Fault::Full.error());
            }
            if fault.is_none() || around.random.random() {
                file.set_length(length, around.page);
            }
            fault.map_or(Ok(()), |fault| Err(fault.error()))
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.begin(Kind::Sync, |file, fault, around| {
            match fault {
                None => file.sync(around.page),
                Some(Fault::SyncError) => file.flush_some(around.page, around.random),
                Some(_) => {}
            }
            fault.map_or(Ok(()), |fault| Err(fault.error()))
        })
    }

    fn lock(&self) -> io::Result<()> {
        self.begin(Kind::Read, |file, fault, _| {
            if let Some(fault) = fault {
                return Err(fault.error());
            }
            match file.locked_by {
                Some(other) if other != self.handle => Err(io::ErrorKind::WouldBlock.into()),
                _ => {
                    file.locked_by = Some(self.handle);
                    Ok(())
                }
            }
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.disk.0.lock();
        if let Some(Node::File(file)) = state.nodes.get_mut(self.node)
            && file.locked_by == Some(self.handle)
        {
            file.locked_by = None;
        }
    }
}
