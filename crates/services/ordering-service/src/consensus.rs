//! One channel's consensus: everything that happens between an accepted message and a written block. Nothing here waits
//! but for the disk. Where messages come from and go is in `orders`, what is written in `blocks`, who leads in
//! `leadership`, blocks that others wrote in `catch_up`.

mod blocks;
mod catch_up;
mod leadership;
mod orders;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ripstop_block_store::BlockStore;
use ripstop_channel_config::ChannelConfig;
use ripstop_crypto::SigningIdentity;
use ripstop_deliver::PulledBlock;
use ripstop_ordering::{BatchLimits, BlockCutter, Message, NextBlock};
use ripstop_proto::orderer;
use ripstop_raft::{
    Consenters, Effect, Input as RaftInput, MembershipChange, NodeId, NoteLevel, RaftNode, Refused, Snapshot,
};
use ripstop_types::{Block, BlockHeader, BlockNumber};

use crate::answers::{Answer, Answers};
use crate::channel::Shared;
use crate::config::ExpiredClients;
use crate::error::Fault;
use crate::links::LinkReport;
use crate::metrics::ConsensusMetrics;
use crate::wal::Wal;
use catch_up::CatchUp;
use leadership::ActiveNodes;
pub(crate) use leadership::FirstCampaign;

const LOG: &str = "orderer.consensus.etcdraft";

/// How many messages may wait for their block; no more are taken in until some are answered.
pub(crate) const MAX_WAITING: usize = 8192;

/// A message that passed the filters.
pub(crate) struct Order {
    pub(crate) message: Message,
    pub(crate) kind: OrderKind,
    /// The sequence of the configuration it was checked against.
    pub(crate) validated_at: u64,
    pub(crate) origin: Origin,
}

/// Who sent a message, and thus who is told what becomes of it.
pub(crate) enum Origin {
    /// A client; told when the message survives a crash, or why it is not ordered.
    Client(Answer),
    /// Another consenter, for a client of its own; not told.
    Consenter(NodeId),
}

/// What another consenter sent for this channel's raft.
pub(crate) struct Arrival {
    pub(crate) from: NodeId,
    /// A `raftpb.Message`.
    pub(crate) payload: Bytes,
    /// An `etcdraft.ClusterMetadata`; empty most of the time.
    pub(crate) metadata: Bytes,
}

/// A message for another consenter's raft.
pub(crate) struct Outgoing {
    pub(crate) message: ripstop_raft::Message,
    /// What the leader adds about the group now and then.
    pub(crate) metadata: Bytes,
}

/// A client's message on its way to the leader.
pub(crate) struct Forward {
    pub(crate) to: NodeId,
    pub(crate) request: orderer::SubmitRequest,
}

/// Whether a message goes into a batch or into a block of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderKind {
    /// Into a batch.
    Normal,
    /// A configuration transaction made by this node.
    Config,
}

/// Whether raft took a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proposal {
    Made,
    Dropped,
}

/// What happens to a channel.
pub(crate) enum Input {
    /// A tick interval has passed.
    Tick,
    /// The batch under way has waited long enough.
    BatchTimeout,
    /// A message to order.
    Order(Order),
    /// A message of another consenter's raft.
    Arrival(Arrival),
    /// Something about the way to another consenter.
    Link(LinkReport),
    /// A block that was asked for in order to catch up.
    Pulled(PulledBlock),
}

/// What the loop must know after a step.
pub(crate) struct Outcome {
    /// Whether a batch is under way, so that its timer must run.
    pub(crate) batch_under_way: bool,
    /// Whether messages to order may come.
    pub(crate) accepting: bool,
    /// Messages to other consenters.
    pub(crate) outbox: Vec<Outgoing>,
    /// Messages of clients for the leader.
    pub(crate) forwards: Vec<Forward>,
    /// Whether blocks must be fetched from other orderers before any can be written.
    pub(crate) catching_up: bool,
}

/// What consensus begins with.
pub(crate) struct Start {
    pub(crate) raft: RaftNode,
    pub(crate) wal: Wal,
    /// Messages acknowledged before a restart and not yet in a block.
    pub(crate) accepted: Vec<Bytes>,
    pub(crate) consenters: Consenters,
    pub(crate) tip: Arc<Block>,
    pub(crate) last_config: BlockNumber,
    pub(crate) signer: SigningIdentity,
    pub(crate) expired: ExpiredClients,
    pub(crate) metrics: ConsensusMetrics,
    /// The snapshot that the log begins with, if blocks up to it are missing.
    pub(crate) missing: Option<Snapshot>,
    /// Set on the consenter of a new channel that asks for votes first.
    pub(crate) first_campaign: Option<FirstCampaign>,
    /// How long a forwarded message may take to the leader, in seconds.
    pub(crate) forwarding_limit: i64,
}

/// What the configuration in force says about blocks.
#[derive(Clone, Copy)]
struct Limits {
    batch: BatchLimits,
    blocks_in_flight: usize,
    /// Bytes of blocks after which the raft log is compacted; 0 for never.
    snapshot_interval: u64,
    /// The longest that a batch waits, in seconds.
    batch_timeout: i64,
}

impl Limits {
    fn of(config: &ChannelConfig) -> Self {
        let orderer = config.orderer();
        let options = orderer.and_then(|orderer| orderer.raft().ok()).map(|metadata| metadata.options);
        Self {
            batch: orderer.map_or(BatchLimits { max_messages: 1, preferred_bytes: 0 }, |orderer| BatchLimits {
                max_messages: orderer.batch_size.max_message_count as usize,
                preferred_bytes: orderer.batch_size.preferred_max_bytes as usize,
            }),
            blocks_in_flight: options.map_or(1, |options| options.max_inflight_blocks as usize),
            snapshot_interval: options.map_or(0, |options| u64::from(options.snapshot_interval_size)),
            batch_timeout: orderer
                .map_or(0, |orderer| i64::try_from(orderer.batch_timeout.as_secs() + 1).unwrap_or(i64::MAX)),
        }
    }
}

/// One channel's consensus.
pub(crate) struct Consensus {
    shared: Arc<Shared>,
    limits: Limits,
    store: Arc<BlockStore>,
    raft: RaftNode,
    wal: Wal,
    signer: SigningIdentity,
    expired: ExpiredClients,
    metrics: ConsensusMetrics,
    consenters: Consenters,
    tip: BlockHeader,
    tip_is_config: bool,
    last_config: BlockNumber,
    cutter: BlockCutter,
    /// When the first message of the batch under way came.
    batch_began: Option<Instant>,
    /// How many messages of the batch under way are noted in the log.
    noted: usize,
    /// Set while this node leads and everything before its term is applied.
    next: Option<NextBlock>,
    blocks_in_flight: usize,
    config_in_flight: bool,
    membership_in_flight: Option<MembershipChange>,
    membership_to_propose: Option<MembershipChange>,
    /// Messages that wait until this node accepts again; bounded by what one step takes in.
    waiting: VecDeque<Order>,
    recovered: VecDeque<Bytes>,
    bytes_since_snapshot: u64,
    last_applied: Bytes,
    /// Blocks to store together.
    signed: Vec<Arc<Block>>,
    /// What is in blocks since clients were last told.
    written: Vec<Bytes>,
    /// Clients whose messages are not in a written block yet, where there are several consenters.
    answers: Answers,
    /// The leader's snapshot whose blocks are being fetched; nothing is applied meanwhile.
    catching_up: Option<CatchUp>,
    first_campaign: Option<FirstCampaign>,
    forwarding_limit: i64,
    active: ActiveNodes,
    /// The last refusal of a message of another consenter, which may come again and again.
    last_refusal: String,
    outbox: Vec<Outgoing>,
    forwards: Vec<Forward>,
    /// Seconds since the Unix epoch, as of the present step.
    now: i64,
}

impl Consensus {
    pub(crate) fn new(shared: Arc<Shared>, start: Start) -> Self {
        let tip = &start.tip;
        let missing = start.missing;
        let mut consensus = Self {
            store: Arc::clone(&shared.store),
            limits: Limits::of(&shared.config.load()),
            raft: start.raft,
            wal: start.wal,
            signer: start.signer,
            expired: start.expired,
            metrics: start.metrics,
            consenters: start.consenters,
            tip: tip.header.clone(),
            tip_is_config: tip.config_envelope().is_some(),
            last_config: start.last_config,
            cutter: BlockCutter::default(),
            batch_began: None,
            noted: 0,
            next: None,
            blocks_in_flight: 0,
            config_in_flight: false,
            membership_in_flight: None,
            membership_to_propose: None,
            waiting: VecDeque::new(),
            recovered: start.accepted.into(),
            bytes_since_snapshot: 0,
            last_applied: Bytes::new(),
            signed: Vec::new(),
            written: Vec::new(),
            answers: Answers::default(),
            catching_up: None,
            first_campaign: start.first_campaign,
            forwarding_limit: start.forwarding_limit,
            active: ActiveNodes::default(),
            last_refusal: String::new(),
            outbox: Vec::new(),
            forwards: Vec::new(),
            now: 0,
            shared,
        };
        let channel = consensus.channel();
        consensus.metrics.cluster_size.with_label_values(&[channel]).set(consensus.consenters.len() as i64);
        consensus.metrics.reached(channel, consensus.tip.number);
        if let Some(snapshot) = missing {
            consensus.begin_to_catch_up(snapshot);
        }
        consensus
    }

    fn channel(&self) -> &str {
        self.shared.id.as_str()
    }

    fn log_suffix(&self) -> String {
        format!("channel={} node={}", self.channel(), self.raft.id())
    }

    fn config(&self) -> Arc<ChannelConfig> {
        self.shared.config.load_full()
    }

    /// Whether this is the channel's only consenter.
    fn is_alone(&self) -> bool {
        self.consenters.len() == 1
    }

    /// Takes inputs and carries out what follows. All of one step share a sync of the log.
    pub(crate) fn step(&mut self, inputs: Vec<Input>, now: i64) -> Result<Outcome, Fault> {
        self.now = now;
        self.settle()?;
        let mut answers = Vec::new();
        inputs.into_iter().try_for_each(|input| self.take(input))?;
        self.store_pulled()?;
        self.settle()?;
        self.take_orders(&mut answers)?;
        if self.is_alone() {
            self.note_pending()?;
        }
        // Only here is every acknowledged message either in the batch under way or in an entry.
        if self.is_snapshot_due() {
            self.bytes_since_snapshot = 0;
            self.raft.handle(RaftInput::Compact { data: self.last_applied.clone() })?;
            self.settle()?;
        }
        for answer in answers {
            // A client that is gone needs no answer.
            let _ = answer.send(Ok(()));
        }
        let (catching_up, room) = (self.catching_up.is_some(), self.answers.len() < MAX_WAITING);
        let takes = self.accepts() || !self.raft.is_leader();
        Ok(Outcome {
            batch_under_way: !self.cutter.pending().is_empty(),
            accepting: self.waiting.is_empty() && !catching_up && room && takes,
            outbox: std::mem::take(&mut self.outbox),
            forwards: std::mem::take(&mut self.forwards),
            catching_up,
        })
    }

    /// Takes one input.
    fn take(&mut self, input: Input) -> Result<(), Fault> {
        match input {
            Input::Order(order) => self.waiting.push_back(order),
            Input::Pulled(block) => self.take_pulled(block)?,
            Input::Link(LinkReport::ForwardingFailed(to)) => self.forwarding_failed(to),
            Input::Tick => self.tick()?,
            Input::BatchTimeout => {
                self.cut_batch()?;
                self.settle()?;
            }
            Input::Arrival(arrival) => self.receive(arrival)?,
            Input::Link(LinkReport::Unreachable(to)) => self.raft.handle(RaftInput::Unreachable(to))?,
            Input::Link(LinkReport::Snapshot { to, outcome }) => {
                self.raft.handle(RaftInput::SnapshotSent { to, outcome })?;
            }
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Fault> {
        self.settle()?;
        self.track_active_nodes();
        self.raft.handle(RaftInput::Tick)?;
        self.settle()?;
        self.campaign_first()?;
        self.expire_forwarded();
        Ok(())
    }

    /// Lets raft have a message of another consenter. Those that come together share a sync.
    fn receive(&mut self, arrival: Arrival) -> Result<(), Fault> {
        let Arrival { from, payload, metadata } = arrival;
        match self.raft.handle(RaftInput::Message { from, bytes: payload }) {
            Ok(()) => self.note_active_nodes(from, metadata),
            Err(Refused::Message(refusal)) => {
                let text = format!("Refused a message of node {from}: {refusal} {}", self.log_suffix());
                if text == self.last_refusal {
                    tracing::debug!(target: LOG, "{text}");
                } else {
                    tracing::warn!(target: LOG, "{text}");
                    self.last_refusal = text;
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Carries out everything raft wants, until it wants nothing.
    fn settle(&mut self) -> Result<(), Fault> {
        loop {
            self.drain()?;
            if self.catching_up.is_some() {
                return Ok(());
            }
            if self.raft.is_catching_up() {
                self.caught_up()?;
            }
            match self.membership_to_propose.take().filter(|_| self.raft.is_leader()) {
                Some(change) => self.raft.handle(RaftInput::ProposeMembership(change))?,
                None => break,
            }
        }
        self.begin_to_accept()
    }

    fn drain(&mut self) -> Result<(), Fault> {
        while let Some(effect) = self.raft.poll_effect() {
            self.carry_out(effect)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), Fault> {
        match effect {
            Effect::Send(message) => {
                let metadata = self.active.metadata_for(message.to);
                self.outbox.push(Outgoing { message, metadata });
            }
            Effect::Persist(persist) => {
                let begun = Instant::now();
                self.wal.persist(&persist)?;
                let took = self.metrics.persist.with_label_values(&[self.channel()]);
                took.observe(begun.elapsed().as_secs_f64());
            }
            Effect::CatchUp(snapshot) => self.begin_to_catch_up(snapshot),
            Effect::Leader { before, now, role } => self.leader_changed(before, now, role),
            Effect::Apply(committed) => {
                committed.into_iter().try_for_each(|entry| self.apply(entry))?;
                self.append_signed()?;
                self.store.publish();
                self.answer_written();
            }
            Effect::Compact(snapshot) => self.compact(snapshot)?,
            Effect::Note(note) => {
                let (text, suffix) = (note.text, self.log_suffix());
                match note.level {
                    NoteLevel::Info => tracing::debug!(target: LOG, "{} {text} {suffix}", self.raft.id()),
                    NoteLevel::Warning => tracing::warn!(target: LOG, "{} {text} {suffix}", self.raft.id()),
                }
            }
        }
        Ok(())
    }
}

/// Numbers of consenters as Fabric prints them: `[1 2 3]`.
fn spaced(nodes: &[NodeId]) -> String {
    let numbers: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(" "))
}

#[cfg(test)]
mod tests;
