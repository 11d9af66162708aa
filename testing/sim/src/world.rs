//! Everybody who takes part, the moments that are to come, and what passes between them.

mod change;
mod deliver;
mod driver;
pub(crate) mod inbox;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::{ChannelInput, Input, Moment, Node, PkiId};
use ripstop_msp::MspSet;
use ripstop_proto::gossip as wire_format;
use ripstop_types::{ChannelId, MspId};

use crate::authority::Authority;
use crate::configuration::{Configuration, Draft};
use crate::definition::Definition;
use crate::history::Death;
use crate::hostile::Mind;
use crate::orderer::{self, Orderer};
use crate::peer::Peer;
use crate::story::{CALM, Story, Weather};
use crate::trust::{Reach, describe};
use crate::values::Exchange;
use crate::voucher::Voucher;

/// The name of the one channel.
pub(crate) const CHANNEL: &str = "simulated";
/// The name of another channel, of those who are not in it.
pub(crate) const ELSEWHERE: &str = "elsewhere";
/// How long a raft tick is.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// How often a client wants something ordered.
const REQUEST: Duration = Duration::from_millis(700);
/// How often hostile peers do something.
const MISCHIEF: Duration = Duration::from_millis(400);
/// When histories begin.
const BEGIN: Moment = Moment::from_nanoseconds(1_700_000_000_000_000_000);

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// A peer asked to be woken.
    Wake(usize),
    /// Something happens to a peer, if the process still runs for which it is.
    Input { to: usize, process: u64, input: Input },
    /// A message arrives at a peer.
    Gossip { from: usize, process: u64, to: usize, envelope: wire_format::Envelope },
    /// A peer's machine takes the next message.
    Turn { peer: usize, process: u64 },
    /// A peer keeps the private values that came.
    Keep { peer: usize, process: u64 },
    /// A peer gets another certificate.
    Renew(usize),
    /// A raft message arrives at an orderer.
    Raft { from: usize, to: usize, bytes: Bytes },
    /// A raft tick of an orderer.
    Tick(usize),
    /// A client asks an orderer to order a transaction; another orderer may have passed it on.
    Submit { to: usize, transaction: String, hops: u32 },
    /// A client looks what is still to be ordered.
    Request,
    /// A peer looks whether orderers have new blocks, and whether it misses private values.
    Poll { peer: usize, process: u64 },
    /// Blocks of an orderer arrive.
    Delivered { to: usize, process: u64, blocks: Vec<Bytes> },
    /// A hostile peer does something.
    Mischief(usize),
}

/// A simulated network.
pub(crate) struct World {
    pub(crate) story: Story,
    pub(crate) now: Moment,
    pub(crate) random: fastrand::Rng,
    pub(crate) peers: Vec<Peer>,
    pub(crate) orderers: Vec<Orderer>,
    pub(crate) organizations: Vec<MspId>,
    /// The authorities of the organizations.
    pub(crate) authorities: Vec<Authority>,
    /// All configurations of the channel, ordered or not yet.
    pub(crate) configurations: Vec<Rc<Configuration>>,
    /// All definitions of the chaincode, ordered or not yet.
    pub(crate) definitions: Vec<Definition>,
    /// What who is in no channel knows of configurations.
    nowhere: Rc<Configuration>,
    pub(crate) weather: Weather,
    /// In which part of the network each peer is, then each orderer.
    pub(crate) groups: Vec<u32>,
    /// Transactions whose clients know that they are ordered.
    pub(crate) acknowledged: BTreeSet<String>,
    /// Transactions that are to be ordered.
    pub(crate) wanted: BTreeSet<String>,
    /// Private values on their way.
    pub(crate) exchange: Exchange,
    /// What must not be, and was seen while it happened.
    pub(crate) faults: Vec<String>,
    /// Messages of each peer since the last look at them.
    pub(crate) said: Vec<u64>,
    /// Answers of each peer to each other one since then, by their kinds.
    pub(crate) answered: BTreeMap<(usize, usize, &'static str), u32>,
    /// The most that an honest one had.
    pub(crate) most_said: u64,
    /// Whether clients want nothing new.
    pub(crate) is_quiet: bool,
    /// The height of the orderers when the network became calm.
    pub(crate) ordered_before: u64,
    /// What was wanted then.
    pub(crate) wanted_before: BTreeSet<String>,
    pub(crate) channel: ChannelId,
    by_id: BTreeMap<PkiId, usize>,
    events: BTreeMap<(Moment, u64), Event>,
    next_event: u64,
    streams: BTreeSet<(usize, usize)>,
    next_transaction: u64,
    trace: DefaultHasher,
}

impl World {
    /// The network of a seed, in which everybody begins now.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let story = Story::of(&mut random);
        let organizations: Vec<_> = (1..=story.organizations).map(|n| MspId::new(&format!("Org{n}MSP"))).collect();
        let mut authorities: Vec<_> = organizations.iter().map(Authority::new).collect();
        let genesis = Rc::new(Configuration::new(0, &first_draft(&story), &organizations, &authorities));
        let nowhere = Rc::new(Configuration::new(0, &Draft::default(), &organizations, &authorities));
        let peers = people(&story, &organizations, &mut authorities, (&genesis, &nowhere));
        let orderers = (0..story.orderers).map(|index| Orderer::new(index, story.orderers, seed)).collect();
        let mut world = Self {
            now: BEGIN,
            groups: vec![0; peers.len() + story.orderers],
            by_id: peers.iter().enumerate().map(|(index, peer)| (peer.about.pki_id.clone(), index)).collect(),
            said: vec![0; peers.len()],
            weather: story.weather,
            exchange: Exchange::default(),
            acknowledged: BTreeSet::new(),
            wanted: BTreeSet::new(),
            faults: Vec::new(),
            most_said: 0,
            answered: BTreeMap::new(),
            definitions: vec![Definition::first(&organizations)],
            configurations: vec![genesis],
            nowhere,
            authorities,
            is_quiet: false,
            ordered_before: 0,
            wanted_before: BTreeSet::new(),
            channel: ChannelId::new(CHANNEL).expect("it is a name"),
            events: BTreeMap::new(),
            next_event: 0,
            streams: BTreeSet::new(),
            next_transaction: 0,
            trace: DefaultHasher::new(),
            story,
            random,
            peers,
            orderers,
            organizations,
        };
        (0..world.orderers.len()).for_each(|orderer| world.start_orderer(orderer));
        (0..world.peers.len()).for_each(|peer| world.start(peer));
        for index in 0..world.peers.len() {
            // Some operators are early, some late.
            let renewal = world.story.parts[index].lasts.map(|lasts| lasts.as_secs() + 6);
            if let Some(latest) = renewal.filter(|_| world.peers[index].mind.is_none()) {
                let delay = Duration::from_secs(latest - world.random.u64(..12).min(latest));
                world.after(delay, Event::Renew(index));
            }
        }
        (0..world.peers.len())
            .filter(|peer| world.peers[*peer].mind.is_some())
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|peer| world.after(MISCHIEF, Event::Mischief(peer)));
        (0..world.orderers.len()).for_each(|orderer| world.after(TICK, Event::Tick(orderer)));
        world.after(REQUEST, Event::Request);
        world
    }

    /// How long ago the history began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now.since(BEGIN)
    }

    /// A digest of all that happened.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Time passes.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let (at, _) = *entry.key();
            let event = entry.remove();
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    /// A peer's process begins.
    pub(crate) fn start(&mut self, index: usize) {
        self.close_all(index);
        let peer = &mut self.peers[index];
        peer.process += 1;
        peer.is_machine_down = false;
        peer.leads = false;
        peer.wakes_at = None;
        peer.orderer_seen = self.now;
        peer.inbox = inbox::Inbox::default();
        peer.refused = 0;
        self.equip(index);
        let seed = self.random.u64(..);
        let peer = &mut self.peers[index];
        peer.node = Some(Node::new(peer.options.clone(), peer.about.clone(), self.now, seed, &peer.voucher));
        self.drain(index);
        self.join(index);
        let process = self.peers[index].process;
        let delay = Duration::from_millis(self.random.u64(1..500));
        self.after(delay, Event::Poll { peer: index, process });
    }

    /// A peer tells its machine in which channel it is.
    fn join(&mut self, index: usize) {
        let (told, height) = (&self.peers[index].told, self.peers[index].ledger.height());
        let mut organizations = told.organizations.clone();
        let mut channel = self.channel.clone();
        if !self.story.parts[index].joins {
            channel = ChannelId::new(ELSEWHERE).expect("it is a name");
            organizations.anchors.insert(self.peers[index].about.organization.clone(), Vec::new());
        }
        let joined = ChannelInput::Joined { organizations, height, chaincodes: Vec::new() };
        self.input(index, Input::Channel(channel, joined));
    }

    /// A peer dies without a word.
    pub(crate) fn crash(&mut self, index: usize, death: Death) {
        let peer = &mut self.peers[index];
        peer.node = None;
        peer.leads = false;
        peer.is_machine_down = death == Death::Machine;
        peer.process += 1;
        peer.shelf.crash();
        if death == Death::Process {
            self.close_all(index);
        }
    }

    /// Remembers what must be done soon: what is ordered, and what is wanted.
    pub(crate) fn remember(&mut self) {
        self.ordered_before = self.orderers.iter().map(|orderer| orderer.ledger.height()).max().unwrap_or_default();
        self.wanted_before = self.wanted.clone();
    }

    /// An orderer's process begins.
    pub(crate) fn start_orderer(&mut self, index: usize) {
        self.orderers[index].start();
        self.carry_raft(index);
    }

    /// Whether a message can go between two nodes, peers first and then orderers.
    pub(crate) fn is_linked(&self, a: usize, b: usize) -> bool {
        self.groups[a] == self.groups[b]
    }

    /// The index of an orderer among all nodes.
    pub(crate) const fn place_of_orderer(&self, orderer: usize) -> usize {
        self.peers.len() + orderer
    }

    /// Peers that are up and not hostile.
    pub(crate) fn honest(&self) -> Vec<usize> {
        let honest = |index: &usize| self.peers[*index].is_up() && self.peers[*index].mind.is_none();
        (0..self.peers.len()).filter(honest).collect()
    }

    /// Which peer has a PKI-ID.
    pub(crate) fn peer_of(&self, pki_id: &PkiId) -> Option<usize> {
        self.by_id.get(pki_id).copied()
    }

    /// Whether a hostile peer is a sly one.
    pub(crate) fn is_sly(&self, pki_id: &PkiId) -> bool {
        let mind = self.peer_of(pki_id).and_then(|index| self.peers[index].mind.as_ref());
        mind.is_some_and(|mind| mind.is_sly)
    }

    /// How many transactions were begun.
    pub(crate) const fn transactions(&self) -> u64 {
        self.next_transaction
    }

    /// Calms the network: nothing is lost, cut or late any more.
    pub(crate) fn calm(&mut self) {
        self.weather = CALM;
        self.groups.fill(0);
    }

    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Moment, event: Event) {
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    fn happen(&mut self, event: Event) {
        self.note(&event);
        match event {
            Event::Wake(index) => {
                if self.peers[index].wakes_at == Some(self.now) {
                    self.peers[index].wakes_at = None;
                    self.input(index, Input::Wake);
                }
            }
            Event::Input { to, process, input } => {
                if self.peers[to].process == process {
                    self.input(to, input);
                }
            }
            Event::Gossip { from, process, to, envelope } => {
                if self.peers[from].process == process {
                    self.arrive(from, to, envelope);
                }
            }
            Event::Turn { peer, process } => {
                if self.peers[peer].process == process {
                    self.take_turn(peer);
                }
            }
            Event::Keep { peer, process } => {
                if self.peers[peer].process == process {
                    self.keep_values(peer);
                }
            }
            Event::Renew(index) => self.renew(index),
            Event::Raft { from, to, bytes } => {
                let from = orderer::id(from);
                self.orderers[to].input(ripstop_raft::Input::Message { from, bytes });
                self.carry_raft(to);
            }
            Event::Tick(index) => {
                self.orderers[index].tick();
                self.fetch(index);
                self.carry_raft(index);
                self.after(TICK, Event::Tick(index));
            }
            Event::Submit { to, transaction, hops } => self.take_transaction(to, transaction, hops),
            Event::Request => {
                self.request();
                self.after(REQUEST, Event::Request);
            }
            Event::Poll { peer, process } => {
                if self.peers[peer].process == process && self.peers[peer].is_up() {
                    self.poll(peer);
                    self.look_for_values(peer);
                    self.after(TICK, Event::Poll { peer, process });
                }
            }
            Event::Delivered { to, process, blocks } => {
                if self.peers[to].process == process && self.peers[to].is_up() {
                    self.take_delivered(to, &blocks);
                }
            }
            Event::Mischief(index) => {
                self.do_mischief(index);
                self.after(MISCHIEF, Event::Mischief(index));
            }
        }
    }

    /// The number of the next transaction.
    fn next_transaction(&mut self) -> u64 {
        self.next_transaction += 1;
        self.next_transaction
    }

    fn request(&mut self) {
        if !self.is_quiet {
            let number = self.next_transaction();
            match number % 3 {
                0 => self.endorse_privately(number),
                _ => drop(self.wanted.insert(format!("public {number}"))),
            }
        }
        // Whoever got no answer asks again, perhaps another orderer.
        let wanted: Vec<_> = self.wanted.iter().take(10).cloned().collect();
        for transaction in wanted {
            let to = self.random.usize(..self.orderers.len());
            let delay = self.delay();
            self.after(delay, Event::Submit { to, transaction, hops: 0 });
        }
    }

    /// Adds an event to the trace.
    fn note(&mut self, event: &Event) {
        self.now.hash(&mut self.trace);
        match event {
            Event::Wake(peer) => (0, *peer).hash(&mut self.trace),
            Event::Input { to, process, .. } => (1, *to, *process).hash(&mut self.trace),
            Event::Gossip { from, to, envelope, .. } => (2, *from, *to, &envelope.payload).hash(&mut self.trace),
            Event::Turn { peer, .. } => (10, *peer).hash(&mut self.trace),
            Event::Keep { peer, .. } => (11, *peer).hash(&mut self.trace),
            Event::Renew(peer) => (12, *peer).hash(&mut self.trace),
            Event::Raft { from, to, bytes } => (3, *from, *to, bytes).hash(&mut self.trace),
            Event::Tick(orderer) => (4, *orderer).hash(&mut self.trace),
            Event::Submit { to, transaction, .. } => (5, *to, transaction).hash(&mut self.trace),
            Event::Request => 6.hash(&mut self.trace),
            Event::Poll { peer, .. } => (7, *peer).hash(&mut self.trace),
            Event::Delivered { to, blocks, .. } => (8, *to, blocks).hash(&mut self.trace),
            Event::Mischief(peer) => (9, *peer).hash(&mut self.trace),
        }
    }
}

/// Everybody is in the channel; the first peers of each organization are its anchor peers.
fn first_draft(story: &Story) -> Draft {
    let mut draft = Draft { members: (0..story.organizations).collect(), ..Draft::default() };
    for (index, part) in story.parts.iter().enumerate().filter(|(_, part)| part.is_anchor) {
        draft.anchors.entry(part.organization).or_default().push(format!("peer{index}.outside:7051"));
    }
    draft
}

fn people(
    story: &Story,
    organizations: &[MspId],
    authorities: &mut [Authority],
    (genesis, nowhere): (&Rc<Configuration>, &Rc<Configuration>),
) -> Vec<Peer> {
    let bootstrap = |organization: usize| -> Vec<String> {
        let anchors = story.parts.iter().enumerate().filter(|(_, part)| part.is_anchor);
        let own = anchors.filter(|(_, part)| part.organization == organization);
        own.map(|(index, _)| format!("peer{index}.inside:7051")).collect()
    };
    let mut people = Vec::new();
    for (index, part) in story.parts.iter().enumerate() {
        let authority = &mut authorities[part.organization];
        let issued = authority.issue(&format!("peer{index}"), part.lasts.map(|lasts| BEGIN + lasts));
        let rank = story.parts[..index].iter().filter(|other| other.organization == part.organization).count();
        let about = describe(index, &organizations[part.organization], issued.identity.clone(), part.reach);
        let local = Rc::new(MspSet::new([authority.msp(&[])]));
        let configuration = Rc::clone(if part.joins { genesis } else { nowhere });
        let options = story.options_of(rank, bootstrap(part.organization));
        let mind = part.is_hostile.then(|| Mind::of(story));
        people.push(Peer::new(about, Voucher { issued, local, configuration }, options, mind));
    }
    people
}

/// Whether peers of all organizations can reach a peer.
pub(crate) fn is_open(story: &Story, peer: usize) -> bool {
    story.parts[peer].reach == Reach::Everybody
}
