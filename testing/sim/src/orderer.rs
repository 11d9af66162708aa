//! A model orderer: raft as it is, and a block writer that proposes one block at a time.

use std::collections::BTreeSet;

use bytes::Bytes;
use ripstop_raft::{Committed, DurableState, Effect, Input, NodeId, Persist, RaftNode, RaftOptions, Refused};

use crate::chain::{self, Ledger};

/// How many blocks are applied between two compactions.
const COMPACT_EVERY: u64 = 10;
/// How many transactions a block has at most.
const BATCH: usize = 5;

/// An orderer.
pub(crate) struct Orderer {
    /// Its number in the group.
    pub(crate) id: NodeId,
    /// Its ledger, which survives.
    pub(crate) ledger: Ledger,
    node: Option<RaftNode>,
    disk: DurableState,
    seed: u64,
    // The number of the block up to which it fetches from others.
    fetching: Option<u64>,
    compacted_at: u64,
    pending: BTreeSet<String>,
    sent: Vec<(NodeId, Bytes)>,
    // To whom a snapshot was sent; nobody knows whether it arrives.
    snapshots: Vec<NodeId>,
    acknowledged: Vec<String>,
    fault: Option<String>,
    // After how many effects its process ends, in the midst of them.
    doom: Option<u32>,
    comeback: Comeback,
}

/// When a process comes back that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comeback {
    /// With the next tick.
    AtOnce,
    /// When somebody starts it.
    Later,
}

/// The number of the orderer at an index.
pub(crate) fn id(index: usize) -> NodeId {
    NodeId::new(index as u64 + 1).expect("one more is not 0")
}

impl Orderer {
    /// An orderer of a new group, which does not run yet.
    pub(crate) fn new(index: usize, count: usize, seed: u64) -> Self {
        let ids: Vec<_> = (0..count).map(id).collect();
        Self {
            id: id(index),
            ledger: Ledger::default(),
            node: None,
            disk: DurableState::found(&ids),
            seed,
            fetching: None,
            compacted_at: 0,
            pending: BTreeSet::new(),
            sent: Vec::new(),
            snapshots: Vec::new(),
            acknowledged: Vec::new(),
            fault: None,
            doom: None,
            comeback: Comeback::Later,
        }
    }

    /// Begins with what is on its disk.
    pub(crate) fn start(&mut self) {
        self.comeback = Comeback::Later;
        let options = RaftOptions {
            election_tick: 10,
            heartbeat_tick: 1,
            max_inflight_messages: 5,
            max_message_bytes: 1 << 20,
            seed: self.seed,
        };
        let node = RaftNode::new(self.id, options, self.disk.clone()).expect("what was stored can be read");
        let wanted = self.disk.snapshot.as_ref().map(|snapshot| chain::number_of(&snapshot.data));
        self.fetching = wanted.filter(|number| self.ledger.height() <= *number);
        self.node = Some(if self.fetching.is_some() { node.behind_its_snapshot() } else { node });
        self.drain();
    }

    /// A crash: what was not stored is lost.
    pub(crate) fn crash(&mut self) {
        self.sent.clear();
        self.end();
    }

    /// A crash in the midst of what is to be done next, behind so many effects.
    pub(crate) const fn crash_behind(&mut self, effects: u32, comeback: Comeback) {
        self.doom = Some(effects);
        self.comeback = comeback;
    }

    /// No crash that was to come comes any more.
    pub(crate) const fn spare(&mut self) {
        self.doom = None;
    }

    fn end(&mut self) {
        self.node = None;
        self.doom = None;
        self.pending.clear();
        self.snapshots.clear();
    }

    /// Time passes.
    pub(crate) fn tick(&mut self) {
        if !self.is_up() && self.comeback == Comeback::AtOnce {
            self.start();
        }
        for to in std::mem::take(&mut self.snapshots) {
            self.input(Input::SnapshotSent { to, outcome: Ok(()) });
        }
        self.input(Input::Tick);
    }

    /// Whether it runs.
    pub(crate) const fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// Who leads, as far as it knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.node.as_ref().and_then(RaftNode::leader)
    }

    /// The next block it needs and cannot get by raft.
    pub(crate) fn fetches(&self) -> Option<u64> {
        self.fetching.filter(|_| self.is_up()).map(|_| self.ledger.height())
    }

    /// Takes a block that it needed.
    pub(crate) fn fetched(&mut self, block: &Bytes) {
        if self.ledger.commit(block).is_err() {
            self.fault = Some(format!("orderer {}: another orderer has another chain", self.id));
        }
        if self.fetching.is_some_and(|number| self.ledger.height() > number) {
            self.fetching = None;
            self.input(Input::CaughtUp);
        }
    }

    /// Takes a transaction, if it leads.
    pub(crate) fn submit(&mut self, transaction: String) {
        if self.node.as_ref().is_some_and(RaftNode::is_leader) {
            self.pending.insert(transaction);
            self.propose();
        }
    }

    /// Something happens to it.
    pub(crate) fn input(&mut self, input: Input) {
        let Some(node) = self.node.as_mut() else { return };
        match node.handle(input) {
            Ok(()) | Err(Refused::Message(_)) => {}
            Err(refused) => self.fault = Some(format!("orderer {}: {refused}", self.id)),
        }
        self.drain();
        self.propose();
    }

    /// Messages to other orderers.
    pub(crate) fn take_sent(&mut self) -> Vec<(NodeId, Bytes)> {
        std::mem::take(&mut self.sent)
    }

    /// Transactions whose clients were told that they are ordered.
    pub(crate) fn take_acknowledged(&mut self) -> Vec<String> {
        std::mem::take(&mut self.acknowledged)
    }

    /// What must not be, and is.
    pub(crate) const fn take_fault(&mut self) -> Option<String> {
        self.fault.take()
    }

    fn propose(&mut self) {
        let Some(node) = self.node.as_mut() else { return };
        if self.pending.is_empty() || self.fetching.is_some() || !node.is_leader() || !node.has_applied_all() {
            return;
        }
        let batch: Vec<_> = self.pending.iter().take(BATCH).cloned().collect();
        let draft = chain::draft(self.ledger.height(), self.ledger.tip(), &batch);
        match node.handle(Input::Propose(draft)) {
            Ok(()) => self.pending.retain(|transaction| !batch.contains(transaction)),
            Err(refused) => self.fault = Some(format!("orderer {}: {refused}", self.id)),
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.node.as_mut().and_then(RaftNode::poll_effect) {
            match effect {
                Effect::Send(message) => {
                    self.snapshots.extend(message.is_snapshot.then_some(message.to));
                    self.sent.push((message.to, message.bytes));
                }
                Effect::Persist(persist) => store(&mut self.disk, persist),
                Effect::Apply(committed) => self.apply(committed),
                Effect::CatchUp(snapshot) => {
                    let number = chain::number_of(&snapshot.data);
                    self.fetching = (self.ledger.height() <= number).then_some(number);
                }
                Effect::Compact(snapshot) => {
                    self.disk.entries.retain(|entry| entry.index > snapshot.index);
                    self.disk.snapshot = Some(snapshot);
                }
                Effect::Leader { .. } | Effect::Note(_) => {}
            }
            if let Some(doom) = &mut self.doom {
                match doom.checked_sub(1) {
                    Some(left) => *doom = left,
                    None => return self.end(),
                }
            }
        }
        if self.fetching.is_none() && self.node.as_ref().is_some_and(RaftNode::is_catching_up) {
            self.input(Input::CaughtUp);
        }
        self.compact();
    }

    fn apply(&mut self, committed: Vec<Committed>) {
        for entry in committed {
            let Committed::Proposal { data, .. } = entry else { continue };
            let (number, block) = (chain::number_of(&data), chain::sealed(&data));
            match self.ledger.block(number).cloned() {
                Some(before) if before == block => {}
                Some(_) => self.fault = Some(format!("orderer {}: another block {number} than before", self.id)),
                None if self.ledger.commit(&block).is_err() => {
                    self.fault = Some(format!("orderer {}: block {number} does not continue its chain", self.id));
                }
                None => {
                    if self.node.as_ref().is_some_and(RaftNode::is_leader) {
                        self.acknowledged.extend(self.ledger.transactions(number).map(str::to_owned));
                    }
                }
            }
        }
    }

    fn compact(&mut self) {
        let height = self.ledger.height();
        let applied_all = self.node.as_ref().is_some_and(RaftNode::has_applied_all);
        if height < self.compacted_at + COMPACT_EVERY || self.fetching.is_some() || !applied_all {
            return;
        }
        self.compacted_at = height;
        if let Some(block) = self.ledger.block(height - 1) {
            self.input(Input::Compact { data: chain::unsealed(block) });
        }
    }
}

/// As a disk does: what was not made durable is lost, though here only a mere advance of the commit index ever is.
fn store(disk: &mut DurableState, persist: Persist) {
    if let Some(snapshot) = persist.snapshot {
        disk.entries.clear();
        disk.snapshot = Some(snapshot);
    }
    if let Some(first) = persist.entries.first() {
        disk.entries.retain(|entry| entry.index < first.index);
    }
    disk.entries.extend(persist.entries);
    if let Some(hard_state) = persist.hard_state.filter(|_| persist.durable) {
        disk.hard_state = hard_state;
    }
}
