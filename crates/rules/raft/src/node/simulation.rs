//! Groups under virtual time, with a network that loses, delays, repeats and reorders messages, and members that crash.
//! Each seed is one history; whatever happens, what the leader applied stays, and all members apply the same.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::{OPTIONS, id};
use super::*;

/// How long a history is, in ticks.
const TICKS: u64 = 400;
/// Ticks without trouble at the end, after which everybody must have everything.
const CALM: u64 = 100;
/// Values that are fetched in a tick without trouble.
const FETCHED_A_TICK: u64 = 20;
/// How many proposals are applied between two compactions.
const COMPACT_EVERY: usize = 7;

/// A value of a ledger: its place, so that one that is applied again is known, and what was proposed.
fn value(place: usize, proposal: u64) -> Bytes {
    format!("{place}:{proposal}").into()
}

fn place(value: &Bytes) -> usize {
    let text = std::str::from_utf8(value).unwrap();
    text.split(':').next().unwrap().parse().unwrap()
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Member {
    /// None while it is down.
    node: Option<RaftNode>,
    disk: DurableState,
    ledger: Vec<Bytes>,
    /// The place up to which values are fetched from others.
    fetching: Option<usize>,
    since_compaction: usize,
}

struct World {
    seed: u64,
    random: Random,
    now: u64,
    members: BTreeMap<NodeId, Member>,
    /// By the tick of delivery: sender and message.
    network: BTreeMap<u64, Vec<(NodeId, Message)>>,
    /// Snapshots handed to the network, by sender and recipient: nobody knows whether they arrive.
    snapshots: Vec<(NodeId, NodeId)>,
    /// Who is cut off from the others.
    cut_off: BTreeSet<NodeId>,
    trouble: bool,
    proposed: u64,
    acknowledged: Vec<Bytes>,
}

impl World {
    fn new(size: u64, seed: u64) -> Self {
        let ids: Vec<_> = (1..=size).map(id).collect();
        let disk = DurableState::found(&ids);
        let member = |id: &NodeId| {
            let (disk, ledger) = (disk.clone(), Vec::new());
            (*id, Member { node: None, disk, ledger, fetching: None, since_compaction: 0 })
        };
        let mut world = Self {
            seed,
            random: Random(mix(seed)),
            now: 0,
            members: ids.iter().map(member).collect(),
            network: BTreeMap::new(),
            snapshots: Vec::new(),
            cut_off: BTreeSet::new(),
            trouble: true,
            proposed: 0,
            acknowledged: Vec::new(),
        };
        ids.into_iter().for_each(|id| world.start(id));
        world
    }

    fn start(&mut self, id: NodeId) {
        let options = RaftOptions { seed: self.seed, ..OPTIONS };
        let member = self.members.get_mut(&id).unwrap();
        let node = RaftNode::new(id, options, member.disk.clone()).unwrap();
        let wanted = member.disk.snapshot.as_ref().map(|snapshot| place(&snapshot.data));
        member.fetching = wanted.filter(|place| member.ledger.len() <= *place);
        member.node = Some(if member.fetching.is_some() { node.behind_its_snapshot() } else { node });
        self.drain(id);
    }

    fn input(&mut self, id: NodeId, input: Input) -> Result<(), Refused> {
        let Some(node) = self.members.get_mut(&id).and_then(|member| member.node.as_mut()) else { return Ok(()) };
        node.handle(input)?;
        self.drain(id);
        Ok(())
    }

    fn drain(&mut self, id: NodeId) {
        loop {
            let member = self.members.get_mut(&id).unwrap();
            let Some(effect) = member.node.as_mut().and_then(RaftNode::poll_effect) else { break };
            match effect {
                Effect::Send(message) => self.send(id, message),
                Effect::Persist(persist) => store(&mut member.disk, persist),
                Effect::Apply(committed) => self.apply(id, committed),
                Effect::CatchUp(snapshot) => {
                    let place = place(&snapshot.data);
                    member.fetching = (member.ledger.len() <= place).then_some(place);
                }
                Effect::Compact(snapshot) => member.disk.snapshot = Some(snapshot),
                Effect::Leader { .. } | Effect::Note(_) => {}
            }
        }
        let member = &self.members[&id];
        if member.fetching.is_none() && member.node.as_ref().is_some_and(RaftNode::is_catching_up) {
            self.input(id, Input::CaughtUp).unwrap();
        }
        self.compact(id);
    }

    fn send(&mut self, from: NodeId, message: Message) {
        if message.is_snapshot {
            self.snapshots.push((from, message.to));
        }
        if self.trouble && self.random.chance(10) {
            return;
        }
        let copies = if self.trouble && self.random.chance(5) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = if self.trouble { self.random.below(4) } else { 0 };
            self.network.entry(self.now + delay).or_default().push((from, message.clone()));
        }
    }

    fn apply(&mut self, id: NodeId, committed: Vec<Committed>) {
        let (now, seed) = (self.now, self.seed);
        let member = self.members.get_mut(&id).unwrap();
        for entry in committed {
            let Committed::Proposal { data, .. } = entry else { continue };
            let place = place(&data);
            assert!(
                place <= member.ledger.len(),
                "seed {seed}, tick {now}: node {id} misses what comes before {place}"
            );
            match member.ledger.get(place) {
                Some(before) => assert_eq!(*before, data, "seed {seed}, tick {now}: node {id}"),
                None => {
                    member.ledger.push(data.clone());
                    member.since_compaction += 1;
                    if member.node.as_ref().is_some_and(RaftNode::is_leader) {
                        self.acknowledged.push(data);
                    }
                }
            }
        }
    }

    /// Fetches the next value from any other that is alive and has it, if one is needed.
    fn fetch(&mut self, id: NodeId) {
        let member = &self.members[&id];
        let Some(wanted) = member.fetching.filter(|_| member.node.is_some()) else { return };
        let reaches = |other: &NodeId| self.cut_off.contains(other) == self.cut_off.contains(&id);
        let alive = self.members.iter().filter(|(other, m)| m.node.is_some() && reaches(other));
        let Some(value) = alive.filter_map(|(_, m)| m.ledger.get(member.ledger.len())).next().cloned() else { return };
        assert_eq!(place(&value), member.ledger.len(), "seed {}", self.seed);
        let member = self.members.get_mut(&id).unwrap();
        member.ledger.push(value);
        if member.ledger.len() > wanted {
            member.fetching = None;
            self.input(id, Input::CaughtUp).unwrap();
        }
    }

    fn compact(&mut self, id: NodeId) {
        let member = self.members.get_mut(&id).unwrap();
        if member.since_compaction < COMPACT_EVERY || member.fetching.is_some() {
            return;
        }
        member.since_compaction = 0;
        let data = member.ledger.last().unwrap().clone();
        self.input(id, Input::Compact { data }).unwrap();
    }

    fn tick(&mut self) {
        self.now += 1;
        let ids: Vec<_> = self.members.keys().copied().collect();
        for id in &ids {
            self.input(*id, Input::Tick).unwrap();
        }
        for (from, to) in std::mem::take(&mut self.snapshots) {
            self.input(from, Input::SnapshotSent { to, outcome: Ok(()) }).unwrap();
        }
        while let Some(mut entry) = self.network.first_entry().filter(|entry| *entry.key() <= self.now) {
            let due = entry.get_mut();
            let chosen = self.random.below(due.len() as u64) as usize;
            let (from, message) = due.swap_remove(chosen);
            if due.is_empty() {
                entry.remove();
            }
            if self.cut_off.contains(&from) != self.cut_off.contains(&message.to) {
                continue;
            }
            self.input(message.to, Input::Message { from, bytes: message.bytes }).unwrap();
        }
        for id in ids {
            // Fetching takes a while, and more may happen meanwhile.
            let values = if self.trouble { u64::from(self.random.chance(30)) } else { FETCHED_A_TICK };
            (0..values).for_each(|_| self.fetch(id));
            self.propose(id);
        }
    }

    /// A leader proposes what comes next once it has applied all there is.
    fn propose(&mut self, id: NodeId) {
        let member = &self.members[&id];
        let Some(node) = &member.node else { return };
        if node.is_leader() && node.has_applied_all() {
            let data = value(member.ledger.len(), self.proposed);
            self.proposed += 1;
            self.input(id, Input::Propose(data)).unwrap();
        }
    }

    fn make_trouble(&mut self) {
        let size = self.members.len() as u64;
        let victim = id(self.random.below(size) + 1);
        let down = self.members.values().filter(|member| member.node.is_none()).count() as u64;
        match self.random.below(60) {
            0..=2 if down < (size - 1) / 2 => self.members.get_mut(&victim).unwrap().node = None,
            3..=5 if self.members[&victim].node.is_none() => self.start(victim),
            6 | 7 => {
                self.cut_off.insert(victim);
            }
            8..=11 => self.cut_off.clear(),
            _ => {}
        }
    }

    fn run(mut self) {
        for _ in 0..TICKS {
            self.make_trouble();
            self.tick();
        }
        self.trouble = false;
        self.cut_off.clear();
        self.majority_goes_on();
        let down: Vec<_> = self.members.iter().filter(|(_, m)| m.node.is_none()).map(|(id, _)| *id).collect();
        down.into_iter().for_each(|id| self.start(id));
        for _ in 0..CALM {
            self.tick();
        }
        self.proposed_last_is_everywhere();
    }

    /// Whoever leads dies for a while, whatever the others are in the middle of, if a majority is left: it has to go on.
    fn majority_goes_on(&mut self) {
        let leads = |member: &Member| member.node.as_ref().is_some_and(RaftNode::is_leader);
        let down = self.members.values().filter(|member| member.node.is_none()).count();
        if down < (self.members.len() - 1) / 2
            && let Some(leader) = self.members.values_mut().find(|member| leads(member))
        {
            leader.node = None;
        }
        let agreed = self.acknowledged.len();
        for _ in 0..CALM {
            self.tick();
        }
        assert!(self.acknowledged.len() > agreed + 10, "seed {}: the others do not go on", self.seed);
    }

    fn proposed_last_is_everywhere(&self) {
        let seed = self.seed;
        let longest = self.members.values().map(|member| &member.ledger).max_by_key(|ledger| ledger.len()).unwrap();
        assert!(longest.len() > 20, "seed {seed}: only {} values", longest.len());
        for data in &self.acknowledged {
            assert_eq!(longest.get(place(data)), Some(data), "seed {seed}: an acknowledged value is lost");
        }
        for (id, member) in &self.members {
            assert!(longest.starts_with(&member.ledger), "seed {seed}: node {id} has another history");
            assert!(longest.len() - member.ledger.len() <= 2, "seed {seed}: node {id} stays behind");
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

#[test]
fn three_agree_whatever_happens() {
    (0..60).for_each(|seed| World::new(3, seed).run());
}

#[test]
fn five_agree_whatever_happens() {
    (0..30).for_each(|seed| World::new(5, seed).run());
}

#[test]
fn a_history_replays_from_its_seed() {
    let history = |seed| {
        let mut world = World::new(3, seed);
        for _ in 0..200 {
            world.make_trouble();
            world.tick();
        }
        world.members.into_values().map(|member| (member.ledger, member.disk)).collect::<Vec<_>>()
    };
    assert_eq!(history(5), history(5));
    assert_ne!(history(5), history(6));
}
