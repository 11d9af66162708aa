use std::collections::BTreeMap;

use super::*;

pub(super) const OPTIONS: RaftOptions =
    RaftOptions { election_tick: 10, heartbeat_tick: 1, max_inflight_messages: 5, max_message_bytes: 1 << 20, seed: 7 };

pub(super) fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// One consenter with a disk that forgets what was not made durable.
struct Machine {
    node: RaftNode,
    disk: DurableState,
    applied: Vec<Bytes>,
    outbox: Vec<Message>,
    /// Whether the state of a snapshot is not to be had.
    lacks_state: bool,
}

impl Machine {
    fn start(number: u64, disk: DurableState) -> Self {
        let node = RaftNode::new(id(number), OPTIONS, disk.clone()).unwrap();
        let mut machine = Self { node, disk, applied: Vec::new(), outbox: Vec::new(), lacks_state: false };
        machine.drain();
        machine
    }

    fn input(&mut self, input: Input) -> Result<(), Refused> {
        self.node.handle(input)?;
        self.drain();
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(effect) = self.node.poll_effect() {
            match effect {
                Effect::Send(message) => self.outbox.push(message),
                Effect::Persist(persist) => self.persist(persist),
                Effect::Apply(committed) => {
                    self.applied.extend(committed.into_iter().filter_map(|entry| match entry {
                        Committed::Proposal { data, .. } => Some(data),
                        Committed::Membership { .. } => None,
                    }))
                }
                Effect::Compact(snapshot) => {
                    self.disk.entries.retain(|entry| entry.index > snapshot.index);
                    self.disk.snapshot = Some(snapshot);
                }
                Effect::CatchUp(snapshot) => self.applied = vec![snapshot.data],
                Effect::Leader { .. } | Effect::Note(_) => {}
            }
        }
        if self.node.is_catching_up() && !self.lacks_state {
            self.input(Input::CaughtUp).unwrap();
        }
    }

    fn persist(&mut self, persist: Persist) {
        if let Some(snapshot) = persist.snapshot {
            self.disk.entries.clear();
            self.disk.snapshot = Some(snapshot);
        }
        if let Some(first) = persist.entries.first() {
            self.disk.entries.retain(|entry| entry.index < first.index);
        }
        self.disk.entries.extend(persist.entries);
        if let Some(hard_state) = persist.hard_state.filter(|_| persist.durable) {
            self.disk.hard_state = hard_state;
        }
    }

    fn restart(&mut self) {
        *self = Self::start(self.node.id().get(), self.disk.clone());
    }
}

struct Cluster(BTreeMap<NodeId, Machine>);

impl Cluster {
    fn found(size: u64) -> Self {
        let members: Vec<_> = (1..=size).map(id).collect();
        let machine = |node: &NodeId| (*node, Machine::start(node.get(), DurableState::found(&members)));
        Self(members.iter().map(machine).collect())
    }

    /// Delivers messages until there are none.
    fn settle(&mut self) {
        loop {
            let sent = self.0.iter_mut().flat_map(|(from, machine)| {
                std::mem::take(&mut machine.outbox).into_iter().map(|message| (*from, message))
            });
            let messages: Vec<_> = sent.collect();
            if messages.is_empty() {
                return;
            }
            for (from, message) in messages {
                if let Some(machine) = self.0.get_mut(&message.to) {
                    machine.input(Input::Message { from, bytes: message.bytes }).unwrap();
                }
            }
        }
    }

    /// Lets time pass until somebody leads.
    fn elect(&mut self) -> NodeId {
        for _ in 0..200 {
            if let Some(leader) = self.0.values().find(|machine| machine.node.is_leader()) {
                return leader.node.id();
            }
            self.tick();
        }
        panic!("nobody was elected within 200 ticks");
    }

    fn tick(&mut self) {
        self.0.values_mut().for_each(|machine| machine.input(Input::Tick).unwrap());
        self.settle();
    }

    fn machine(&mut self, node: NodeId) -> &mut Machine {
        self.0.get_mut(&node).unwrap()
    }
}

#[test]
fn a_lone_consenter_leads_at_once_and_after_every_restart() {
    let mut machine = Machine::start(1, DurableState::found(&[id(1)]));
    assert!(machine.node.is_leader());
    assert_eq!(machine.node.last_index(), machine.node.applied_index());
    for round in 0..3u8 {
        machine.input(Input::Propose(vec![round].into())).unwrap();
        assert_eq!(machine.applied.last(), Some(&Bytes::from(vec![round])));
        assert_eq!(machine.outbox, []);
        machine.restart();
        assert!(machine.node.is_leader());
        assert_eq!(machine.applied.len(), usize::from(round) + 1, "everything proposed is applied again");
    }
}

#[test]
fn a_group_agrees_and_a_minority_crash_loses_nothing() {
    let mut cluster = Cluster::found(3);
    let leader = cluster.elect();
    cluster.machine(leader).input(Input::Propose("one".into())).unwrap();
    cluster.settle();
    let follower = id(leader.get() % 3 + 1);
    cluster.machine(follower).restart();
    cluster.machine(leader).input(Input::Propose("two".into())).unwrap();
    cluster.settle();
    (0..3).for_each(|_| cluster.tick());
    for machine in cluster.0.values() {
        assert_eq!(machine.applied, ["one", "two"], "node {}", machine.node.id());
    }
}

#[test]
fn only_the_leader_proposes() {
    let mut cluster = Cluster::found(3);
    let leader = cluster.elect();
    let follower = id(leader.get() % 3 + 1);
    let refusal = cluster.machine(follower).input(Input::Propose("no".into())).unwrap_err();
    assert!(matches!(refusal, Refused::NotLeader));
}

#[test]
fn a_consenter_joins_from_nothing_and_leaves_again() {
    let mut cluster = Cluster::found(1);
    cluster.machine(id(1)).input(Input::Propose("one".into())).unwrap();
    cluster.0.insert(id(2), Machine::start(2, DurableState::default()));
    cluster.machine(id(1)).input(Input::ProposeMembership(MembershipChange::Add(id(2)))).unwrap();
    (0..5).for_each(|_| cluster.tick());
    cluster.machine(id(1)).input(Input::Propose("two".into())).unwrap();
    (0..5).for_each(|_| cluster.tick());
    assert_eq!(cluster.machine(id(2)).applied, ["one", "two"]);
    assert_eq!(cluster.machine(id(2)).node.members(), [id(1), id(2)]);
    cluster.machine(id(1)).input(Input::ProposeMembership(MembershipChange::Remove(id(2)))).unwrap();
    (0..5).for_each(|_| cluster.tick());
    assert_eq!(cluster.machine(id(1)).node.members(), [id(1)]);
}

#[test]
fn a_late_consenter_receives_a_snapshot_of_a_compacted_log() {
    let mut cluster = Cluster::found(1);
    for number in 0..20u8 {
        cluster.machine(id(1)).input(Input::Propose(vec![number].into())).unwrap();
    }
    cluster.machine(id(1)).input(Input::Compact { data: vec![19].into() }).unwrap();
    cluster.machine(id(1)).restart();
    assert!(cluster.machine(id(1)).node.is_leader());
    assert_eq!(cluster.machine(id(1)).applied, [] as [&[u8]; 0], "the snapshot replaces what came before");
    cluster.0.insert(id(2), Machine::start(2, DurableState::default()));
    cluster.machine(id(1)).input(Input::ProposeMembership(MembershipChange::Add(id(2)))).unwrap();
    (0..5).for_each(|_| cluster.tick());
    assert_eq!(cluster.machine(id(2)).applied, [vec![19]]);
    cluster.machine(id(2)).restart();
    assert_eq!(cluster.machine(id(2)).node.members(), [id(1), id(2)]);
}

/// Three, of which the third one was missing and lacks the state of the first one's snapshot.
fn with_one_that_lacks_state() -> Cluster {
    let mut cluster = Cluster::found(3);
    cluster.machine(id(1)).input(Input::Campaign).unwrap();
    cluster.settle();
    let mut third = cluster.0.remove(&id(3)).unwrap();
    for number in 0..20u8 {
        cluster.machine(id(1)).input(Input::Propose(vec![number].into())).unwrap();
        cluster.settle();
    }
    cluster.machine(id(1)).input(Input::Compact { data: vec![19].into() }).unwrap();
    third.lacks_state = true;
    cluster.0.insert(id(3), third);
    (0..3).for_each(|_| cluster.tick());
    assert!(cluster.machine(id(3)).node.is_catching_up());
    cluster
}

#[test]
fn who_lacks_state_leads_but_proposes_nothing_before_it_is_there() {
    let mut cluster = with_one_that_lacks_state();
    cluster.0.remove(&id(1));
    while !cluster.machine(id(3)).node.is_leader() {
        let third = cluster.machine(id(3));
        (0..10).for_each(|_| third.input(Input::Tick).unwrap());
        let second = cluster.machine(id(2));
        (0..10).for_each(|_| second.input(Input::Tick).unwrap());
        second.outbox.clear();
        cluster.settle();
    }
    let third = cluster.machine(id(3));
    assert!(!third.node.has_applied_all());
    assert!(matches!(third.input(Input::Propose("early".into())), Err(Refused::CatchingUp)));
    assert!(matches!(third.input(Input::Compact { data: "early".into() }), Err(Refused::CatchingUp)));
    third.input(Input::CaughtUp).unwrap();
    assert!(third.node.has_applied_all());
    third.input(Input::Propose("late".into())).unwrap();
    cluster.settle();
    assert_eq!(cluster.machine(id(2)).applied.last().unwrap(), "late");
    assert_eq!(cluster.machine(id(3)).applied, [Bytes::from(vec![19]), "late".into()]);
}

#[test]
fn who_lacks_state_helps_a_new_leader_to_agree_on_what_it_has_and_on_nothing_else() {
    let mut cluster = with_one_that_lacks_state();
    // The second one has this in its log when the leader dies, and does not know that it is agreed on.
    cluster.machine(id(1)).input(Input::Propose("last".into())).unwrap();
    let sent = std::mem::take(&mut cluster.machine(id(1)).outbox);
    for message in sent.into_iter().filter(|message| message.to == id(2)) {
        cluster.machine(id(2)).input(Input::Message { from: id(1), bytes: message.bytes }).unwrap();
    }
    cluster.0.remove(&id(1));
    cluster.machine(id(2)).outbox.clear();
    (0..10).for_each(|_| cluster.machine(id(3)).input(Input::Tick).unwrap());
    cluster.machine(id(3)).outbox.clear();
    cluster.machine(id(2)).input(Input::Campaign).unwrap();
    cluster.settle();
    (0..3).for_each(|_| cluster.tick());
    assert_eq!(cluster.machine(id(2)).applied.last().unwrap(), "last");
    assert_eq!(cluster.machine(id(3)).applied, [vec![19]], "put off");
    cluster.machine(id(2)).input(Input::Propose("new".into())).unwrap();
    (0..3).for_each(|_| cluster.tick());
    assert_eq!(cluster.machine(id(2)).applied.last().unwrap(), "last", "new blocks wait");
    cluster.machine(id(3)).input(Input::CaughtUp).unwrap();
    (0..3).for_each(|_| cluster.tick());
    assert_eq!(cluster.machine(id(2)).applied.last().unwrap(), "new");
    assert_eq!(cluster.machine(id(3)).applied, [Bytes::from(vec![19]), "last".into(), "new".into()]);
}

#[test]
fn who_lacked_state_before_a_crash_lacks_it_afterwards() {
    let mut cluster = with_one_that_lacks_state();
    let disk = cluster.machine(id(3)).disk.clone();
    let mut node = RaftNode::new(id(3), OPTIONS, disk).unwrap().behind_its_snapshot();
    while node.poll_effect().is_some() {}
    assert!(node.is_catching_up() && !node.has_applied_all());
    node.handle(Input::CaughtUp).unwrap();
    assert!(node.has_applied_all());
}

#[test]
fn leadership_is_handed_over_on_request() {
    let mut cluster = Cluster::found(3);
    let leader = cluster.elect();
    let next = id(leader.get() % 3 + 1);
    cluster.machine(leader).input(Input::TransferLeadership(next)).unwrap();
    cluster.settle();
    assert!(cluster.machine(next).node.is_leader());
}

#[test]
fn a_bad_message_is_refused_and_changes_nothing() {
    let mut machine = Machine::start(1, DurableState::found(&[id(1), id(2)]));
    let before = machine.node.hard_state();
    let input = Input::Message { from: id(2), bytes: vec![0xff; 9].into() };
    assert!(matches!(machine.input(input), Err(Refused::Message(BadMessage::Malformed(_)))));
    assert_eq!((machine.node.hard_state(), machine.outbox.len()), (before, 0));
}

/// What lies before the commit index is not looked at again, and entries that follow it cannot lie before it.
#[test]
fn a_leader_that_contradicts_committed_entries_changes_nothing() {
    let mut machine = Machine::start(1, DurableState::found(&[id(1), id(2)]));
    let before = machine.node.entries_after(0);
    assert_eq!(machine.node.hard_state().commit, 2);
    let mut message = eraftpb::Message { to: 1, from: 2, term: 9, index: 1, log_term: 1, ..Default::default() };
    message.set_msg_type(eraftpb::MessageType::MsgAppend);
    message.entries = vec![eraftpb::Entry { index: 2, term: 9, ..Default::default() }].into();
    let bytes = message.write_to_bytes().unwrap().into();
    machine.input(Input::Message { from: id(2), bytes }).unwrap();
    assert_eq!(machine.node.entries_after(0), before);
}

#[test]
fn whoever_is_told_to_campaigns_at_once() {
    let mut cluster = Cluster::found(3);
    cluster.machine(id(2)).input(Input::Campaign).unwrap();
    cluster.settle();
    assert!(cluster.machine(id(2)).node.is_leader());
}

#[test]
fn a_log_with_a_gap_is_refused() {
    let mut disk = DurableState::found(&[id(1), id(2)]);
    disk.entries.remove(0);
    assert!(matches!(RaftNode::new(id(1), OPTIONS, disk), Err(Refused::Corrupt(_))));
}
