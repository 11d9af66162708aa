use raft::{GetEntriesContext, RaftState, Storage, StorageError, eraftpb};

use crate::state::{CorruptState, DurableState, Snapshot, conf_state};

/// The log as the engine reads it: everything since the last compaction, in memory. What is durable is the driver's
/// concern, see [`crate::Effect::Persist`].
pub(crate) struct LogStore {
    initial: RaftState,
    snapshot: Option<Snapshot>,
    /// Index and term of the entry before the first one held.
    base: (u64, u64),
    entries: Vec<eraftpb::Entry>,
}

impl LogStore {
    pub(crate) fn new(state: DurableState) -> Result<Self, CorruptState> {
        let state = state.normalized()?;
        let members = state.snapshot.as_ref().map(|snapshot| snapshot.members.clone()).unwrap_or_default();
        Ok(Self {
            initial: RaftState { hard_state: state.hard_state.to_engine(), conf_state: conf_state(&members) },
            base: state.base(),
            snapshot: state.snapshot,
            entries: state.entries.iter().map(crate::Entry::to_engine).collect(),
        })
    }

    fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    /// All entries held.
    pub(crate) fn all_entries(&self) -> &[eraftpb::Entry] {
        &self.entries
    }

    /// The entries held after an index.
    pub(crate) fn entries_after(&self, index: u64) -> &[eraftpb::Entry] {
        let skip = index.saturating_sub(self.base.0) as usize;
        self.entries.get(skip..).unwrap_or_default()
    }

    /// Appends entries; held ones from the first new index on are replaced.
    pub(crate) fn append(&mut self, entries: &[eraftpb::Entry]) {
        let Some(first) = entries.first() else { return };
        let keep = first.index.saturating_sub(self.base.0 + 1) as usize;
        self.entries.truncate(keep);
        self.entries.extend_from_slice(entries);
    }

    /// Begins anew after a snapshot received from the leader.
    pub(crate) fn install(&mut self, snapshot: Snapshot) {
        self.base = (snapshot.index, snapshot.term);
        self.entries.clear();
        self.snapshot = Some(snapshot);
    }

    /// Takes a snapshot of the applied state and drops entries, all but the last `keep` up to it.
    pub(crate) fn compact(&mut self, snapshot: Snapshot, keep: u64) {
        let through = snapshot.index.saturating_sub(keep);
        self.snapshot = Some(snapshot);
        let Some(count) = through.checked_sub(self.base.0).map(|n| n as usize).filter(|n| *n > 0) else { return };
        let Some(last) = count.checked_sub(1).and_then(|at| self.entries.get(at)) else { return };
        self.base = (last.index, last.term);
        self.entries.drain(..count);
    }
}

impl Storage for LogStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let from = low.checked_sub(self.base.0 + 1).ok_or(StorageError::Compacted)? as usize;
        let to = high.checked_sub(self.base.0 + 1).ok_or(StorageError::Compacted)? as usize;
        let mut entries = self.entries.get(from..to).ok_or(StorageError::Unavailable)?.to_vec();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        let at = index.checked_sub(self.base.0 + 1).ok_or(StorageError::Compacted)?;
        Ok(self.entries.get(at as usize).ok_or(StorageError::Unavailable)?.term)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<eraftpb::Snapshot> {
        match &self.snapshot {
            Some(snapshot) if snapshot.index >= request_index => Ok(snapshot.to_engine()),
            _ => Err(StorageError::SnapshotTemporarilyUnavailable.into()),
        }
    }
}
