//! The course of a history: trouble, calm, perhaps a split, a death, and the end; and what is looked at meanwhile.

use std::time::Duration;

use ripstop_gossip::Moment;

use crate::checks::{ALWAYS, END, FIRST, Goal, WHOLE, belief, load};
use crate::orderer::{Comeback, Orderer};
use crate::story::{CALM, Cut, Weather};
use crate::world::World;

/// How often is looked at the network.
const LOOK: Duration = Duration::from_secs(1);
/// For how long everything must hold before it counts.
const STEADY: Duration = Duration::from_secs(10);

/// What came of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// A digest of all that happened; the same for the same seed.
    pub trace: u64,
    /// How many blocks were ordered.
    pub height: u64,
    /// How many transactions were acknowledged.
    pub acknowledged: usize,
    /// How long it took, in virtual time.
    pub took: Duration,
    /// The most messages that an honest peer sent in a second.
    pub most_said: u64,
    /// How long each goal took at most, of the phases of the history.
    pub settled: Vec<(&'static str, Duration)>,
}

/// Lives through the history of a seed.
///
/// # Panics
/// When something does not hold that must.
pub fn live(seed: u64) -> Outcome {
    let mut history = History { seed, world: World::new(seed), settled: Vec::new() };
    history.trouble();
    history.calm();
    history.settle("behind the trouble", &WHOLE);
    history.complete();
    if history.world.story.splits {
        history.split();
        history.settle("in a split network", &ALWAYS);
        history.calm();
        history.settle("behind the split", &WHOLE);
    }
    history.one_dies();
    history.settle("behind a death", &WHOLE);
    history.world.is_quiet = true;
    history.settle("at the end", &END);
    let world = &history.world;
    let height = world.orderers.iter().map(|orderer| orderer.ledger.height()).max().unwrap_or_default();
    if height < 5 {
        history.fail("the end", &format!("only {height} blocks were ordered"));
    }
    Outcome {
        trace: world.trace(),
        height,
        acknowledged: world.acknowledged.len(),
        took: world.elapsed(),
        most_said: world.most_said,
        settled: history.settled,
    }
}

struct History {
    seed: u64,
    world: World,
    settled: Vec<(&'static str, Duration)>,
}

impl History {
    /// Processes and machines die and come back, the network falls apart and grows together.
    fn trouble(&mut self) {
        let end = self.world.now + self.world.story.trouble;
        while self.world.now < end {
            self.trouble_peers();
            self.trouble_orderers();
            let world = &mut self.world;
            match world.random.u32(..100) {
                0..4 => divide(world),
                4..16 => world.groups.fill(0),
                16..28 if world.story.changes => world.change(),
                _ => {}
            }
            self.look();
        }
    }

    fn trouble_peers(&mut self) {
        let world = &mut self.world;
        let peer = world.random.usize(..world.peers.len());
        let up = world.peers.iter().filter(|peer| peer.is_up()).count();
        let can_die = world.peers[peer].is_up() && world.peers[peer].mind.is_none() && up > world.peers.len() / 2;
        if can_die && world.random.u32(..100) < 10 {
            let is_machine = world.random.bool();
            world.crash(peer, if is_machine { Death::Machine } else { Death::Process });
        } else if !world.peers[peer].is_up() && world.random.u32(..100) < 40 {
            world.start(peer);
        }
    }

    fn trouble_orderers(&mut self) {
        let world = &mut self.world;
        let orderer = world.random.usize(..world.orderers.len());
        let down = world.orderers.iter().filter(|orderer| !orderer.is_up()).count();
        if !world.orderers[orderer].is_up() {
            if world.random.u32(..100) < 40 {
                world.start_orderer(orderer);
            }
        } else if down < (world.orderers.len() - 1) / 2 && world.random.u32(..100) < 8 {
            match world.random.u32(..3) {
                0 => world.orderers[orderer].crash(),
                1 => world.orderers[orderer].crash_behind(world.random.u32(..6), Comeback::Later),
                _ => world.orderers[orderer].crash_behind(world.random.u32(..6), Comeback::AtOnce),
            }
        }
    }

    /// The trouble is over: everybody comes back, but for one peer that is no anchor.
    fn calm(&mut self) {
        let world = &mut self.world;
        world.calm();
        world.orderers.iter_mut().for_each(Orderer::spare);
        let down: Vec<_> = (0..world.peers.len()).filter(|peer| !world.peers[*peer].is_up()).collect();
        let stays = down.iter().copied().find(|peer| !world.story.parts[*peer].is_anchor);
        down.into_iter().filter(|peer| Some(*peer) != stays).for_each(|peer| world.start(peer));
        world.renew_all();
        // An organization that left may stay outside for a while.
        if world.random.bool() {
            world.complete();
        }
        let down: Vec<_> = (0..world.orderers.len()).filter(|orderer| !world.orderers[*orderer].is_up()).collect();
        down.into_iter().for_each(|orderer| world.start_orderer(orderer));
    }

    /// An organization that left comes back in the calm.
    fn complete(&mut self) {
        if self.world.latest().draft.members.len() < self.world.organizations.len() {
            self.world.complete();
            self.settle("behind a return", &WHOLE);
        }
    }

    /// The network falls into two parts, each of which is calm.
    fn split(&mut self) {
        let world = &mut self.world;
        let cut = if world.random.bool() { Cut::Refused } else { Cut::Silent };
        divide(world);
        world.weather = Weather { cut, ..CALM };
    }

    /// One peer dies in the calm.
    fn one_dies(&mut self) {
        let world = &mut self.world;
        let honest = world.honest();
        if let Some(peer) = world.random.choice(honest) {
            let is_machine = world.random.bool();
            world.crash(peer, if is_machine { Death::Machine } else { Death::Process });
        }
    }

    /// Waits until all goals hold for a while; each must within its bound, and stay so.
    fn settle(&mut self, when: &str, goals: &[Goal]) {
        self.await_steady(&format!("before the rest, {when}"), &FIRST, Duration::ZERO);
        self.await_steady(when, goals, STEADY);
    }

    fn await_steady(&mut self, when: &str, goals: &[Goal], steady: Duration) {
        let begin = self.world.now;
        self.world.remember();
        let mut since: Vec<Option<Moment>> = vec![None; goals.len()];
        loop {
            self.look();
            self.world.free_stranded();
            let elapsed = self.world.now.since(begin);
            for (goal, since) in goals.iter().zip(&mut since) {
                match (goal.holds)(&mut self.world) {
                    Ok(()) => drop(since.get_or_insert(self.world.now)),
                    Err(why) if elapsed > (goal.bound)(&self.world.story) => {
                        self.fail(&format!("{} {when}, {elapsed:?} after it became calm", goal.name), &why);
                    }
                    Err(_) => *since = None,
                }
            }
            let is_steady = |since: &Option<Moment>| since.is_some_and(|at| self.world.now.since(at) >= steady);
            if since.iter().all(is_steady) {
                break;
            }
        }
        for (goal, since) in goals.iter().zip(since) {
            self.settled.push((goal.name, since.map(|at| at.since(begin)).unwrap_or_default()));
        }
    }

    /// Lets a second pass, and looks whether something is as it must never be.
    fn look(&mut self) {
        self.world.run(LOOK);
        belief::inspect(&mut self.world);
        load::inspect(&mut self.world);
        if let Some(fault) = self.world.faults.first() {
            self.fail("what must never be", &fault.clone());
        }
    }

    fn fail(&self, name: &str, why: &str) -> ! {
        let Self { seed, world, .. } = self;
        panic!("seed {seed}, {:?} after the begin: {name}: {why}\n{:#?}", world.elapsed(), world.story);
    }
}

/// How a peer dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// Its process ends, and its machine says so to who asks.
    Process,
    /// Its machine says nothing any more.
    Machine,
}

/// The network falls into two parts at random.
fn divide(world: &mut World) {
    for place in 0..world.groups.len() {
        world.groups[place] = world.random.u32(..2);
    }
}
