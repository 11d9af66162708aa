//! A model of the machine for networks in which each peer cannot be a machine: what is said of one peer, followed through
//! all others.
//!
//! What peers come to know of one peer does not depend on what they know of another, so a network is measured by some such
//! stories. A story has the machine's rules and intervals, and of each peer only what it knows of the one: the number of its
//! last alive message, when it was heard, whether its identity is there. What the load of all stories together does to one
//! peer is not in it; batches are, by their mean length. With [`Rules::Fabric`] the rules are those of Fabric's source.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use ripstop_gossip::Options;

use super::load::{self, Load};
use super::{Cost, LATENCY, PATIENCE, Times, organizations};

/// How many stories are told of a network, by its size: as many as follow about so many peers, within bounds.
const FOLLOWED: usize = 200_000;
const STORIES: std::ops::RangeInclusive<usize> = 10..=400;
/// How long a story goes on before anything is counted, and for how long what is said in it is.
const EARLIER: Duration = Duration::from_secs(40);
const COUNTED: Duration = Duration::from_secs(60);
/// Behind which time without anybody who holds a dead peer alive nobody does so again.
const OVER: u64 = 40_000_000;
/// Until when a newcomer knows only those whom it dialled: then it has the identities of others.
const STRANGE: u64 = 5_200_000;
/// A second in the unit of a story's time, microseconds.
const SECOND: f64 = 1_000_000.0;

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Those of the machine.
    Ripstop,
    /// Those of Fabric 3.1.
    Fabric,
}

/// Measures a network of so many peers.
pub fn measure(peers: usize, rules: Rules) -> Cost {
    tell(peers, rules, (FOLLOWED / peers).clamp(*STORIES.start(), *STORIES.end()))
}

/// Measures it by so many stories.
pub(super) fn tell(peers: usize, rules: Rules, stories: usize) -> Cost {
    let (mut sends, mut wrong, mut seconds) = (0.0, 0.0, 0.0);
    let (mut newcomer, mut vanished, mut refusing) = (Gathered::default(), Gathered::default(), Gathered::default());
    for number in 0..stories {
        let seed = number as u64;
        let origin = fastrand::Rng::with_seed(seed).usize(organizations(peers)..peers.max(organizations(peers) + 1));
        newcomer.add(Story::new(rules, peers, peers, seed).newcomer(), peers);
        let mut story = Story::new(rules, peers, origin, seed);
        story.settle();
        sends += story.sends as f64;
        wrong += story.wrong as f64;
        seconds += COUNTED.as_secs_f64();
        let (grave, gathered) = match number % 2 {
            0 => (Grave::Silent, &mut vanished),
            _ => (Grave::Refusing, &mut refusing),
        };
        gathered.add(story.death(grave), peers - 1);
    }
    let stretch = Story::new(rules, peers, 0, 0).stretch();
    let Load { messages, bytes, by_kind } = load::of(peers, sends / seconds, stretch);
    Cost {
        peers,
        bytes,
        messages,
        // Of one peer a story tells; there are as many stories as peers.
        given_up_wrongly: wrong / seconds * 3600.0,
        block: blocks(peers, stories),
        newcomer: newcomer.times(),
        vanished: vanished.times(),
        refusing: refusing.times(),
        by_kind,
    }
}

/// What several stories tell.
#[derive(Debug, Default)]
struct Gathered {
    told: Vec<Times>,
}

impl Gathered {
    fn add(&mut self, known: Vec<u64>, all: usize) {
        self.told.push(Times::of(known.into_iter().map(Duration::from_micros).collect(), all));
    }

    fn times(&self) -> Times {
        Times::median(&self.told)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grave {
    Silent,
    Refusing,
}

/// What a peer knows of the one.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Of its last alive message, and of the last one that was pushed; 0 when nothing is known.
    known: u32,
    pushed: u32,
    /// Whether the last one carries the identity.
    carries: bool,
    heard: u64,
    is_alive: bool,
    has_identity: bool,
    /// Whether it can pass the identity on.
    is_signed: bool,
    /// When it came to be held alive or not for the last time.
    changed: u64,
}

/// An alive message: its number, and whether it carries the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    number: u32,
    carries: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The one says that it lives.
    Heartbeat,
    /// An alive message comes to a peer from another.
    Pushed { to: usize, from: usize, said: Said },
    /// A peer passes an alive message on that it had from another.
    Forward { by: usize, from: usize, said: Said },
    /// The one's own membership request comes to a peer.
    Asked { to: usize, said: Said },
    /// An answer comes to a peer; it holds a copy of an alive message among those of the living or the dead.
    Copied { to: usize, said: Said, is_alive: bool },
    /// A peer asks some others who is there.
    Synchronize(usize),
    /// A peer asks some others which identities they have.
    Pull(usize),
    /// The identity comes to a peer.
    Identity(usize),
    /// A peer looks who is dead.
    Check(usize),
    /// A peer sends something to the one.
    Talk(usize),
}

/// What is said of one peer.
struct Story {
    rules: Rules,
    options: Options,
    peers: usize,
    organizations: usize,
    origin: usize,
    random: fastrand::Rng,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    next: u64,
    states: Vec<State>,
    alive: usize,
    began: u64,
    number: u32,
    /// The number of its last heartbeat.
    spoken: u32,
    grave: Option<Grave>,
    sends: u64,
    wrong: u64,
}

const fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

impl Story {
    fn new(rules: Rules, peers: usize, origin: usize, seed: u64) -> Self {
        let mut story = Self {
            rules,
            options: Options::default(),
            peers,
            organizations: organizations(peers),
            origin,
            random: fastrand::Rng::with_seed(seed),
            now: 0,
            events: BinaryHeap::new(),
            next: 0,
            states: vec![State::default(); peers.max(origin + 1)],
            alive: 0,
            began: 0,
            number: 0,
            spoken: 0,
            grave: None,
            sends: 0,
            wrong: 0,
        };
        let check = micros(story.options.alive_expiration_check_interval());
        let interval = story.interval(story.options.pull_interval);
        for peer in 0..peers {
            for (within, event) in
                [(check, Event::Check(peer)), (interval, Event::Synchronize(peer)), (interval, Event::Pull(peer))]
            {
                let at = story.random.u64(..within);
                story.schedule(at, event);
            }
        }
        story
    }

    fn stretch(&self) -> u32 {
        match self.rules {
            Rules::Ripstop => u32::try_from(self.peers.div_ceil(load::FEW).max(1)).unwrap_or(u32::MAX),
            Rules::Fabric => 1,
        }
    }

    fn interval(&self, interval: Duration) -> u64 {
        micros(interval.saturating_mul(self.stretch()))
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.next += 1;
        self.events.push(Reverse((self.now + after, self.next, event)));
    }

    fn latency(&mut self) -> u64 {
        self.random.u64(500..micros(LATENCY))
    }

    /// How long a message waits for others that are pushed with it.
    fn wait(&mut self) -> u64 {
        let longest = micros(self.options.max_propagation_burst_latency);
        let per_wait = self.peers as f64 / SECOND * longest as f64 / self.options.alive_time_interval.as_secs_f64();
        let burst = self.options.max_propagation_burst_size as f64;
        let longest = if per_wait > burst { (longest as f64 * burst / per_wait) as u64 } else { longest };
        match self.random.f64() < 1.0 / (1.0 + per_wait) {
            true => longest,
            false => self.random.u64(..=longest),
        }
    }

    fn of(&self, peer: usize) -> usize {
        peer % self.organizations
    }

    /// A random peer of an organization, or of all.
    fn anybody(&mut self, of: Option<usize>) -> usize {
        match of {
            None => self.random.usize(..self.states.len()),
            Some(organization) => {
                let count = (self.states.len() - organization).div_ceil(self.organizations);
                organization + self.organizations * self.random.usize(..count)
            }
        }
    }

    /// Some random peers that satisfy something, each drawn by a rule.
    fn some(&mut self, draw: impl Fn(&mut Self) -> usize, accept: impl Fn(usize) -> bool) -> Vec<usize> {
        let count = self.options.propagate_peer_num;
        let mut chosen = Vec::with_capacity(count);
        for _ in 0..count * 8 {
            if chosen.len() == count {
                break;
            }
            let peer = draw(self);
            if accept(peer) && !chosen.contains(&peer) {
                chosen.push(peer);
            }
        }
        chosen
    }

    fn say(&mut self) -> Said {
        self.number += 1;
        let age = self.now - self.began;
        let period = match self.rules {
            Rules::Ripstop => {
                self.interval(self.options.publish_cert_period) + micros(self.options.alive_time_interval)
            }
            Rules::Fabric => micros(self.options.publish_cert_period),
        };
        let (number, carries) = (self.number, self.began > 0 && age < period);
        let origin = &mut self.states[self.origin];
        (origin.known, origin.carries) = (number, carries);
        Said { number, carries }
    }

    /// Everybody knows the one, and goes on doing so.
    fn settle(&mut self) {
        let known = State { is_alive: true, has_identity: true, is_signed: true, ..State::default() };
        self.states.fill(known);
        self.alive = self.peers - 1;
        let first = self.random.u64(..micros(self.options.alive_time_interval));
        self.schedule(first, Event::Heartbeat);
        self.run(micros(EARLIER), |_| false);
        (self.sends, self.wrong) = (0, 0);
        self.run(micros(COUNTED), |_| false);
    }

    /// The one begins. Gives back when each other peer first held it alive.
    fn newcomer(&mut self) -> Vec<u64> {
        // So that the others are in the middle of what they do.
        self.run(micros(EARLIER), |_| false);
        self.began = self.now;
        let first = match self.rules {
            Rules::Ripstop => micros(LATENCY) + micros(self.options.max_propagation_burst_latency),
            Rules::Fabric => micros(self.options.alive_time_interval),
        };
        self.schedule(first, Event::Heartbeat);
        let interval = self.interval(self.options.pull_interval);
        self.schedule(interval, Event::Synchronize(self.origin));
        // Its bootstrap peer, and the anchor peers of all organizations.
        let said = self.say();
        self.states[self.origin].is_signed = true;
        for to in 0..self.organizations {
            let after = 2 * self.latency();
            self.schedule(after, Event::Asked { to, said });
        }
        let mut first = vec![None; self.peers];
        let begin = self.now;
        while self.now - begin < micros(PATIENCE) && first.iter().any(Option::is_none) {
            self.run(50_000, |_| false);
            for (peer, first) in first.iter_mut().enumerate() {
                if self.states[peer].is_alive && first.is_none() {
                    *first = Some(self.states[peer].changed - begin);
                }
            }
        }
        first.into_iter().flatten().collect()
    }

    /// The one dies. Gives back when each other peer held it alive for the last time.
    fn death(&mut self, grave: Grave) -> Vec<u64> {
        let begin = self.now;
        self.grave = Some(grave);
        if grave == Grave::Refusing {
            let origin = self.origin;
            for peer in (0..self.peers).filter(|peer| *peer != origin) {
                self.talk_later(peer);
            }
        }
        while self.now - begin < micros(PATIENCE) {
            self.run(micros(PATIENCE), |story| story.alive == 0);
            self.run(OVER, |story| story.alive > 0);
            if self.alive == 0 {
                break;
            }
        }
        let others = self.states.iter().enumerate().filter(|(peer, _)| *peer != self.origin);
        others.filter(|(_, state)| !state.is_alive).map(|(_, state)| state.changed.saturating_sub(begin)).collect()
    }

    /// A peer sends something to the one some time later: pushes go to random peers.
    fn talk_later(&mut self, peer: usize) {
        let (all, of) = (self.peers as f64, self.peers as f64 / self.organizations as f64);
        let each = self.options.propagate_peer_num as f64 / self.options.alive_time_interval.as_secs_f64();
        // Of each organization's alive messages, how many of those that are pushed come to this one.
        let own = each * of / all;
        let others = (self.organizations - 1) as f64;
        let (to_own, to_theirs) = match self.rules {
            Rules::Ripstop => (1.0 - of / all, of / all),
            Rules::Fabric => (0.5, 0.5),
        };
        let rate = match self.of(peer) == self.of(self.origin) {
            true => own + each * others * to_own,
            false => own + each * to_theirs,
        };
        let after = -(1.0 - self.random.f64()).ln() / rate * SECOND;
        self.schedule(after as u64, Event::Talk(peer));
    }

    fn run(&mut self, duration: u64, mut until: impl FnMut(&Self) -> bool) {
        let end = self.now + duration;
        while let Some(Reverse((at, _, event))) = self.events.peek().copied() {
            if at > end || until(self) {
                break;
            }
            self.events.pop();
            self.now = at;
            self.happen(event);
        }
        if self.events.peek().is_none_or(|Reverse((at, ..))| *at > end) {
            self.now = end;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Heartbeat if self.grave.is_none() => {
                let said = self.say();
                self.spoken = said.number;
                self.push(self.origin, self.origin, said);
                self.schedule(micros(self.options.alive_time_interval), Event::Heartbeat);
            }
            Event::Pushed { to, from, said } => self.hear(to, from, said),
            Event::Forward { by, from, said } => self.push(by, from, said),
            Event::Asked { to, said } => {
                self.states[to].has_identity = true;
                if said.number > self.states[to].known {
                    self.believe(to, said, self.now);
                }
            }
            Event::Copied { to, said, is_alive } => self.take_copy(to, said, is_alive),
            Event::Synchronize(peer) => self.synchronize(peer),
            Event::Pull(peer) => self.pull(peer),
            Event::Identity(peer) => (self.states[peer].has_identity, self.states[peer].is_signed) = (true, true),
            Event::Check(peer) => {
                let silence = self.now.saturating_sub(self.states[peer].heard);
                if silence > micros(self.options.alive_expiration_timeout) {
                    self.give_up(peer);
                }
                self.schedule(micros(self.options.alive_expiration_check_interval()), Event::Check(peer));
            }
            Event::Talk(peer) => {
                self.give_up(peer);
                self.talk_later(peer);
            }
            Event::Heartbeat => {}
        }
    }

    fn push(&mut self, by: usize, from: usize, said: Said) {
        let (organizations, origin, peers) = (self.organizations, self.origin, self.peers);
        let (own, theirs) = (self.of(by), self.of(origin));
        let fresh = by == origin && self.began > 0 && self.now - self.began < STRANGE;
        let rules = self.rules;
        let share = (peers - theirs).div_ceil(organizations);
        let both = share + (peers - own).div_ceil(organizations);
        let receivers = self.some(
            |story| match (fresh, own == theirs, rules) {
                (true, ..) => story.random.usize(..organizations),
                (_, true, _) => story.anybody(None),
                (_, _, Rules::Ripstop) => {
                    let is_theirs = story.random.usize(..peers) < share;
                    story.anybody(Some(if is_theirs { theirs } else { own }))
                }
                (_, _, Rules::Fabric) => {
                    let is_theirs = story.random.usize(..both) < share;
                    story.anybody(Some(if is_theirs { theirs } else { own }))
                }
            },
            |peer| peer != by && peer != from && (peer != origin || rules == Rules::Fabric),
        );
        for to in receivers {
            self.sends += 1;
            let after = self.latency();
            self.schedule(after, Event::Pushed { to, from: by, said });
        }
    }

    fn hear(&mut self, to: usize, from: usize, said: Said) {
        let state = &mut self.states[to];
        state.has_identity |= said.carries;
        let last = match self.rules {
            Rules::Ripstop => state.known,
            Rules::Fabric => state.pushed,
        };
        if to == self.origin || !state.has_identity || said.number <= last {
            return;
        }
        state.pushed = said.number;
        if said.number > state.known {
            self.believe(to, said, self.now);
        }
        let after = self.wait();
        self.schedule(after, Event::Forward { by: to, from, said });
    }

    fn believe(&mut self, peer: usize, said: Said, heard: u64) {
        let state = &mut self.states[peer];
        (state.known, state.carries, state.heard) = (said.number, said.carries, heard);
        if !std::mem::replace(&mut state.is_alive, true) {
            state.changed = self.now;
            self.alive += 1;
        }
    }

    fn give_up(&mut self, peer: usize) {
        let state = &mut self.states[peer];
        if peer != self.origin && std::mem::replace(&mut state.is_alive, false) {
            state.changed = self.now;
            self.alive -= 1;
            self.wrong += u64::from(self.grave.is_none());
        }
    }

    fn take_copy(&mut self, to: usize, said: Said, is_alive: bool) {
        let state = &mut self.states[to];
        state.has_identity |= said.carries;
        let is_news = match is_alive {
            true => said.number > state.known,
            false => state.known == 0,
        };
        if to == self.origin || !state.has_identity || !is_news {
            return;
        }
        if !is_alive {
            (state.known, state.carries, state.heard) = (said.number, said.carries, self.now);
            return;
        }
        let heard = match self.rules {
            Rules::Ripstop if state.known > 0 => {
                let later = u64::from(said.number - state.known) * micros(self.options.alive_time_interval);
                self.now.min(state.heard + later)
            }
            Rules::Ripstop | Rules::Fabric => self.now,
        };
        if self.now - heard <= micros(self.options.alive_expiration_timeout) || state.is_alive {
            self.believe(to, said, heard);
        } else {
            (state.known, state.carries, state.heard) = (said.number, said.carries, heard);
        }
    }

    /// Those whom a peer asks something: random ones that it holds alive.
    fn those_asked(&mut self, peer: usize) -> Vec<usize> {
        let (origin, knows) = (self.origin, self.states[peer].is_alive);
        self.some(|story| story.anybody(None), |other| other != peer && (other != origin || knows))
    }

    fn synchronize(&mut self, peer: usize) {
        let interval = self.interval(self.options.pull_interval);
        let is_origin = peer == self.origin;
        if is_origin && self.grave.is_some() {
            return;
        }
        self.schedule(interval, Event::Synchronize(peer));
        let asked = self.those_asked(peer);
        let said = (is_origin && self.number > 0).then(|| self.say());
        for other in asked {
            let after = self.latency();
            if let Some(said) = said {
                self.schedule(after, Event::Asked { to: other, said });
                continue;
            }
            let is_dead = other == self.origin && self.grave.is_some();
            let state = self.states[other];
            let is_told = [self.of(peer), self.of(other)].contains(&self.of(self.origin));
            if is_told && !is_dead && state.known > 0 {
                let number = match (other == self.origin, self.rules) {
                    (true, Rules::Fabric) => self.spoken,
                    _ => state.known,
                };
                let said = Said { number, carries: state.carries };
                let is_alive = state.is_alive || other == self.origin;
                let after = after + self.latency();
                self.schedule(after, Event::Copied { to: peer, said, is_alive });
            }
        }
    }

    fn pull(&mut self, peer: usize) {
        let interval = self.interval(self.options.pull_interval);
        self.schedule(interval, Event::Pull(peer));
        let asked = self.those_asked(peer);
        let has_it = asked.into_iter().any(|other| {
            let is_told = self.of(peer) == self.of(other)
                || ([self.of(peer), self.of(other)].contains(&self.of(self.origin))
                    && (self.states[other].known > 0 || other == self.origin));
            is_told && self.states[other].is_signed && !(other == self.origin && self.grave.is_some())
        });
        if has_it && !self.states[peer].is_signed {
            let after = micros(self.options.digest_wait_time) + 2 * self.latency();
            self.schedule(after, Event::Identity(peer));
        }
    }
}

/// How long a block takes that one peer of each organization has.
fn blocks(peers: usize, stories: usize) -> Times {
    let organizations = organizations(peers);
    let mut gathered = Gathered::default();
    for seed in 0..stories {
        let mut known = Vec::new();
        for organization in 0..organizations {
            let count = (peers - organization).div_ceil(organizations);
            known.extend(block(count, (seed * organizations + organization) as u64));
        }
        gathered.add(known, peers - organizations);
    }
    gathered.times()
}

/// A block in one organization of so many peers.
fn block(peers: usize, seed: u64) -> Vec<u64> {
    let options = Options::default();
    let mut random = fastrand::Rng::with_seed(seed);
    let interval = micros(options.pull_interval);
    let mut have = BTreeMap::from([(0, 0)]);
    // When a peer gets it, and whether it passes it on: of those that pull nobody does.
    let mut events = BinaryHeap::from([Reverse((0, 0, Get::Has))]);
    for peer in 1..peers {
        events.push(Reverse((random.u64(..interval), peer, Get::Pull)));
    }
    while let Some(Reverse((at, peer, get))) = events.pop() {
        if have.len() == peers {
            break;
        }
        if get != Get::Has && have.contains_key(&peer) {
            continue;
        }
        let others: Vec<_> = (0..options.propagate_peer_num * 8).map(|_| random.usize(..peers)).collect();
        let mut others: Vec<_> = others.into_iter().filter(|other| *other != peer).collect();
        others.dedup();
        others.truncate(options.propagate_peer_num);
        match get {
            Get::Pull => {
                let answer = micros(options.digest_wait_time) + 2 * random.u64(500..micros(LATENCY));
                if others.iter().any(|other| have.get(other).is_some_and(|since| *since <= at)) {
                    events.push(Reverse((at + answer, peer, Get::Pulled)));
                }
                events.push(Reverse((at + interval, peer, Get::Pull)));
            }
            Get::Pulled => drop(have.insert(peer, at)),
            Get::Pushed | Get::Has => {
                have.entry(peer).or_insert(at);
                let wait = micros(options.max_propagation_burst_latency);
                for other in others {
                    events.push(Reverse((at + wait + random.u64(500..micros(LATENCY)), other, Get::Pushed)));
                }
            }
        }
    }
    have.into_iter().filter(|(peer, _)| *peer != 0).map(|(_, at)| at).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Get {
    Has,
    Pushed,
    Pull,
    Pulled,
}
