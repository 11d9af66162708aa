//! One channel's consensus: everything that happens between an accepted message and a written block. Nothing here waits
//! but for the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use ripstop_block_store::BlockStore;
use ripstop_channel_config::{ChannelConfig, ConsensusType, update};
use ripstop_crypto::SigningIdentity;
use ripstop_keys::signature_header;
use ripstop_ordering::{BatchLimits, BlockCutter, BlockToSign, Message, NextBlock, check_normal};
use ripstop_proto::common;
use ripstop_raft::{
    Committed, Consenters, Effect, Input as RaftInput, MembershipChange, NodeId, NoteLevel, Persist, RaftNode, Refused,
    Role, Snapshot,
};
use ripstop_types::{Block, BlockHeader, BlockNumber, Envelope};
use tokio::sync::oneshot;

use crate::channel::Shared;
use crate::config::ExpiredClients;
use crate::error::{Fault, OrderError};
use crate::metrics::ConsensusMetrics;
use crate::produce::{Producer, expiration, raft_consenters};
use crate::wal::Wal;

const LOG: &str = "orderer.consensus.etcdraft";

/// A message that passed the filters.
pub(crate) struct Order {
    pub(crate) message: Message,
    pub(crate) kind: OrderKind,
    /// The sequence of the configuration it was checked against.
    pub(crate) validated_at: u64,
    /// Told when the message survives a crash of this node, or why it is not ordered.
    pub(crate) answer: oneshot::Sender<Result<(), OrderError>>,
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
}

/// What the loop must know after a step.
pub(crate) struct Outcome {
    /// Whether a batch is under way, so that its timer must run.
    pub(crate) batch_under_way: bool,
    /// Whether messages to order may come.
    pub(crate) accepting: bool,
    /// Messages to other consenters.
    pub(crate) outbox: Vec<ripstop_raft::Message>,
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
}

/// What the configuration in force says about blocks.
#[derive(Clone, Copy)]
struct Limits {
    batch: BatchLimits,
    blocks_in_flight: usize,
    /// Bytes of blocks after which the raft log is compacted; 0 for never.
    snapshot_interval: u64,
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
    outbox: Vec<ripstop_raft::Message>,
    /// Seconds since the Unix epoch, as of the present step.
    now: i64,
}

impl Consensus {
    pub(crate) fn new(shared: Arc<Shared>, start: Start) -> Self {
        let tip = &start.tip;
        let consensus = Self {
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
            outbox: Vec::new(),
            now: 0,
            shared,
        };
        let channel = consensus.channel();
        consensus.metrics.cluster_size.with_label_values(&[channel]).set(consensus.consenters.len() as i64);
        consensus.metrics.committed_block.with_label_values(&[channel]).set(consensus.tip.number.get() as i64);
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

    /// Takes inputs and carries out what follows. Messages to order are answered when they are safe on disk: in an
    /// agreed block, or noted in the log. All of one step share a sync.
    pub(crate) fn step(&mut self, inputs: Vec<Input>, now: i64) -> Result<Outcome, Fault> {
        self.now = now;
        self.settle()?;
        let mut answers = Vec::new();
        for input in inputs {
            match input {
                Input::Tick => {
                    self.raft.handle(RaftInput::Tick)?;
                    self.settle()?;
                }
                Input::BatchTimeout => {
                    self.cut_batch()?;
                    self.settle()?;
                }
                Input::Order(order) => self.waiting.push_back(order),
            }
        }
        self.take_orders(&mut answers)?;
        self.note_pending()?;
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
        let accepting = self.waiting.is_empty() && (self.accepts() || !self.raft.is_leader());
        let outbox = std::mem::take(&mut self.outbox);
        Ok(Outcome { batch_under_way: !self.cutter.pending().is_empty(), accepting, outbox })
    }

    /// Whether this node takes messages into blocks now.
    fn accepts(&self) -> bool {
        self.next.is_some() && !self.config_in_flight && self.blocks_in_flight < self.limits.blocks_in_flight
    }

    /// Deals with messages as far as possible. Blocks are proposed together, as many as may be in flight, because then
    /// they share a sync of the log and one of the block files.
    fn take_orders(&mut self, answers: &mut Vec<oneshot::Sender<Result<(), OrderError>>>) -> Result<(), Fault> {
        loop {
            let before = self.waiting.len();
            while let Some(order) = self.take_order() {
                self.order(order, answers)?;
            }
            self.settle()?;
            if self.waiting.is_empty() || self.waiting.len() == before {
                return Ok(());
            }
        }
    }

    /// The next message that can be dealt with now: into a block, or by a refusal because another node leads.
    fn take_order(&mut self) -> Option<Order> {
        if self.waiting.is_empty() || (self.raft.is_leader() && !self.accepts()) {
            None
        } else {
            self.waiting.pop_front()
        }
    }

    fn order(&mut self, order: Order, answers: &mut Vec<oneshot::Sender<Result<(), OrderError>>>) -> Result<(), Fault> {
        let label = [self.channel()];
        match order.kind {
            OrderKind::Normal => self.metrics.normal_proposals.with_label_values(&label).inc(),
            OrderKind::Config => self.metrics.config_proposals.with_label_values(&label).inc(),
        }
        let message = if self.next.is_some() { self.revalidated(&order) } else { Err(OrderError::NoLeader) };
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                self.metrics.proposal_failures.with_label_values(&[self.channel()]).inc();
                let _ = order.answer.send(Err(error));
                return Ok(());
            }
        };
        match order.kind {
            OrderKind::Normal => self.batch(message)?,
            OrderKind::Config => {
                self.cut_batch()?;
                if self.propose(vec![message.raw])? == Proposal::Dropped {
                    let _ = order.answer.send(Err(OrderError::NoLeader));
                    return Ok(());
                }
                self.config_in_flight = true;
            }
        }
        answers.push(order.answer);
        Ok(())
    }

    /// The message, checked again if the configuration has changed since it was.
    fn revalidated(&self, order: &Order) -> Result<Message, OrderError> {
        let config = self.config();
        if order.validated_at >= config.sequence() {
            return Ok(order.message.clone());
        }
        let (seen, now) = (order.validated_at, config.sequence());
        tracing::warn!(target: LOG, "Message was validated against {seen}, although current config seq has advanced ({now}) {}", self.log_suffix());
        match order.kind {
            OrderKind::Normal => check_normal(&config, &order.message.envelope, expiration(self.expired, self.now))
                .map(|()| order.message.clone())
                .map_err(|refusal| OrderError::Refused { status: refusal.status(), text: refusal.to_string() }),
            OrderKind::Config => self.produced_again(&config, &order.message),
        }
    }

    fn produced_again(&self, config: &ChannelConfig, message: &Message) -> Result<Message, OrderError> {
        let bad = |text: String| OrderError::Refused { status: common::Status::BadRequest, text };
        let content = common::ConfigEnvelope::decode(message.envelope.data.clone()).map_err(|e| bad(e.to_string()))?;
        let update = content.last_update.ok_or_else(|| bad("the config transaction holds no update".into()))?;
        let update = Envelope::from_proto(update).map_err(|error| bad(error.to_string()))?;
        let active = self.raft.active_members();
        let producer = Producer {
            signer: &self.signer,
            expired: self.expired,
            consenters: &self.consenters,
            active: &active,
            now: self.now,
        };
        producer
            .produce(config, &update)
            .map_err(|error| OrderError::Refused { status: error.status(), text: error.to_string() })
    }

    /// Puts a message into the batch under way and proposes what becomes complete.
    fn batch(&mut self, message: Message) -> Result<(), Fault> {
        let size = message.envelope.size();
        let cut = self.cutter.add(message.raw, size, self.limits.batch);
        if !cut.batches.is_empty() {
            self.noted = 0;
        }
        cut.batches.into_iter().try_for_each(|batch| self.propose_batch(batch))
    }

    fn cut_batch(&mut self) -> Result<(), Fault> {
        self.noted = 0;
        match self.cutter.cut() {
            Some(batch) => self.propose_batch(batch),
            None => Ok(()),
        }
    }

    /// Proposes a batch. While leadership is on its way elsewhere its messages are kept until it is clear where.
    fn propose_batch(&mut self, batch: Vec<Bytes>) -> Result<(), Fault> {
        if self.propose(batch.clone())? == Proposal::Dropped {
            batch.iter().for_each(|message| self.wal.accept(message));
            self.wal.sync()?;
            self.recovered.extend(batch);
        }
        Ok(())
    }

    /// Proposes the next block; it is agreed on when raft is settled.
    fn propose(&mut self, batch: Vec<Bytes>) -> Result<Proposal, Fault> {
        let Some(next) = &mut self.next else { return Ok(Proposal::Dropped) };
        let block = next.create(batch);
        match self.raft.handle(RaftInput::Propose(block.to_proto().encode_to_vec().into())) {
            Ok(()) => {
                tracing::info!(target: LOG, "Created block [{}], there are {} blocks in flight {}", block.number(), self.blocks_in_flight, self.log_suffix());
                self.blocks_in_flight += 1;
                Ok(Proposal::Made)
            }
            Err(Refused::NotLeader | Refused::Dropped) => {
                self.next = None;
                Ok(Proposal::Dropped)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes messages that wait in the batch under way survive a crash.
    fn note_pending(&mut self) -> Result<(), Fault> {
        let pending = self.cutter.pending();
        let new = pending.get(self.noted..).unwrap_or_default();
        if new.is_empty() {
            return Ok(());
        }
        new.iter().for_each(|message| self.wal.accept(message));
        self.noted = pending.len();
        Ok(self.wal.sync()?)
    }

    /// Carries out everything raft wants, until it wants nothing.
    fn settle(&mut self) -> Result<(), Fault> {
        loop {
            while let Some(effect) = self.raft.poll_effect() {
                self.carry_out(effect)?;
            }
            match self.membership_to_propose.take().filter(|_| self.raft.is_leader()) {
                Some(change) => self.raft.handle(RaftInput::ProposeMembership(change))?,
                None => break,
            }
        }
        self.begin_to_accept()
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), Fault> {
        match effect {
            Effect::Send(message) => self.outbox.push(message),
            Effect::Persist(persist) => self.wal.persist(&persist)?,
            Effect::CatchUp(snapshot) => {
                let block = Block::parse(snapshot.data).map_or(0, |block| block.number().get());
                return Err(Fault::CatchUp(block));
            }
            Effect::Leader { before, now, role } => self.leader_changed(before, now, role),
            Effect::Apply(committed) => {
                committed.into_iter().try_for_each(|entry| self.apply(entry))?;
                self.append_signed()?;
                self.store.publish();
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

    fn leader_changed(&mut self, before: Option<NodeId>, now: Option<NodeId>, role: Role) {
        let number = |node: Option<NodeId>| node.map_or(0, NodeId::get);
        if before != now {
            tracing::info!(target: LOG, "Raft leader changed: {} -> {} {}", number(before), number(now), self.log_suffix());
            self.metrics.leader_changes.with_label_values(&[self.channel()]).inc();
        }
        self.metrics.is_leader.with_label_values(&[self.channel()]).set(i64::from(role == Role::Leader));
        if role == Role::Leader {
            self.membership_to_propose =
                self.tip_is_config.then(|| self.consenters.unfinished(self.raft.members())).flatten();
            self.membership_in_flight = self.membership_to_propose;
            self.config_in_flight = self.membership_in_flight.is_some();
        } else {
            self.next = None;
            self.blocks_in_flight = 0;
            // The next leader orders these if their senders ask again: it never heard of them.
            let dropped = self.cutter.cut().map_or(0, |batch| batch.len());
            self.noted = 0;
            if dropped > 0 {
                tracing::warn!(target: LOG, "Dropped {dropped} messages of the batch under way with the leadership {}", self.log_suffix());
            }
        }
        if now.is_none() && self.consenters.len() <= 2 && before.is_some() {
            tracing::warn!(target: LOG, "No leader is present, cluster size is {} {}", self.consenters.len(), self.log_suffix());
        }
        // With up to two consenters the channel stays readable, or it could never be expanded.
        self.shared.errored.send_replace(now.is_none() && self.consenters.len() > 2);
    }

    /// A leader accepts messages once everything from before its term is applied.
    fn begin_to_accept(&mut self) -> Result<(), Fault> {
        let ready = self.raft.is_leader() && self.raft.applied_index() == self.raft.last_index();
        if self.next.is_some() || !ready || self.config_in_flight {
            return Ok(());
        }
        tracing::info!(target: LOG, "Start accepting requests as Raft leader at block [{}] {}", self.tip.number, self.log_suffix());
        self.blocks_in_flight = 0;
        self.next = Some(NextBlock::after(&self.tip));
        if !self.recovered.is_empty() {
            tracing::info!(target: LOG, "Ordering {} messages that were acknowledged before {}", self.recovered.len(), self.log_suffix());
        }
        let config = self.config();
        while let Some(raw) = self.recovered.pop_front() {
            match self.recover(&config, raw) {
                Ok(message) => self.batch(message)?,
                Err(reason) => {
                    tracing::warn!(target: LOG, "An acknowledged message can no longer be ordered: {reason} {}", self.log_suffix());
                }
            }
        }
        // These are noted in the log already.
        self.noted = self.cutter.pending().len();
        while let Some(effect) = self.raft.poll_effect() {
            self.carry_out(effect)?;
        }
        Ok(())
    }

    fn recover(&self, config: &ChannelConfig, raw: Bytes) -> Result<Message, String> {
        let envelope = common::Envelope::decode(raw).map_err(|error| error.to_string())?;
        let message = Message::parse(envelope).map_err(|error| error.to_string())?;
        let expiration = expiration(self.expired, self.now);
        check_normal(config, &message.envelope, expiration).map_err(|refusal| refusal.to_string())?;
        Ok(message)
    }

    fn apply(&mut self, entry: Committed) -> Result<(), Fault> {
        match entry {
            Committed::Proposal { index, data } => self.write(index, data),
            Committed::Membership { change, members, .. } => {
                let verb = if matches!(change, MembershipChange::Add(_)) { "add" } else { "remove" };
                let nodes: Vec<u64> = members.iter().map(|id| id.get()).collect();
                let (node, suffix) = (change.node(), self.log_suffix());
                tracing::info!(target: LOG, "Applied config change to {verb} node {node}, current nodes in channel: {nodes:?} {suffix}");
                if self.membership_in_flight == Some(change) {
                    self.membership_in_flight = None;
                    self.config_in_flight = false;
                    self.metrics.cluster_size.with_label_values(&[self.channel()]).set(members.len() as i64);
                }
                Ok(())
            }
        }
    }

    /// Writes an agreed block. One that is written already was applied before a restart.
    fn write(&mut self, index: u64, data: Bytes) -> Result<(), Fault> {
        let bad = |reason: String| Fault::Entry { index, reason };
        let block = Block::parse(data.clone()).map_err(|error| bad(error.to_string()))?;
        self.bytes_since_snapshot += data.len() as u64;
        self.last_applied = data;
        let (number, expected) = (block.number(), self.tip.number.next());
        if number > expected {
            return Err(bad(format!("got block [{number}], expected block [{expected}]")));
        }
        if number < expected {
            tracing::debug!(target: LOG, "Got block [{number}], expect block [{expected}], it is written already {}", self.log_suffix());
            return Ok(());
        }
        self.blocks_in_flight = self.blocks_in_flight.saturating_sub(1);
        tracing::info!(target: LOG, "Writing block [{number}] (Raft index: {index}) to ledger {}", self.log_suffix());
        match block.config_envelope() {
            Some(envelope) => self.write_config(index, block, &envelope),
            None => {
                let metadata = self.consenters.block_metadata(index).encode_to_vec();
                self.sign(block, metadata.into())
            }
        }
    }

    fn write_config(&mut self, index: u64, block: Block, envelope: &Envelope) -> Result<(), Fault> {
        let number = block.number();
        let bad = |reason: String| Fault::Config { block: number.get(), reason };
        let current = self.config();
        let content = common::ConfigEnvelope::decode(envelope.data.clone()).map_err(|error| bad(error.to_string()))?;
        let next = update::accept(&current, &content).map_err(|error| bad(error.to_string()))?;
        let consensus_of = |config: &ChannelConfig| config.orderer().map(|orderer| orderer.consensus_type.clone());
        self.config_in_flight = false;
        self.last_config = number;
        if consensus_of(&next) == Some(ConsensusType::EtcdRaft) {
            let listed = raft_consenters(&next).map_err(bad)?;
            let change = self.consenters.change_to(&listed).map_err(|error| bad(error.to_string()))?;
            self.consenters = change.consenters;
            if change.membership.is_some() {
                self.membership_in_flight = change.membership;
                self.membership_to_propose = change.membership;
                self.config_in_flight = true;
            }
        }
        // A block that changes the consensus records nothing about the one that ends.
        let metadata = if consensus_of(&next) == consensus_of(&current) {
            self.consenters.block_metadata(index).encode_to_vec().into()
        } else {
            Bytes::new()
        };
        self.sign(block, metadata)?;
        // A configuration block becomes visible together with its configuration.
        self.append_signed()?;
        self.limits = Limits::of(&next);
        self.shared.config.store(Arc::new(next));
        self.shared.consenters.store(Arc::new(self.consenters.clone()));
        self.shared.config_changed.send_modify(|generation| *generation += 1);
        self.store.publish();
        Ok(())
    }

    /// Signs a block, which goes to disk with the other blocks of its batch of entries.
    fn sign(&mut self, block: Block, consensus: Bytes) -> Result<(), Fault> {
        let number = block.number();
        let is_config = block.config_envelope().is_some();
        let to_sign = BlockToSign::new(block, self.last_config, consensus, signature_header(&self.signer));
        let signature = self
            .signer
            .sign(&to_sign.message())
            .map_err(|error| Fault::Sign { block: number.get(), reason: error.to_string() })?;
        let block = to_sign.signed(signature);
        self.tip = block.header.clone();
        self.tip_is_config = is_config;
        self.signed.push(Arc::new(block));
        Ok(())
    }

    fn append_signed(&mut self) -> Result<(), Fault> {
        if !self.signed.is_empty() {
            self.store.append_all(std::mem::take(&mut self.signed))?;
            self.metrics.committed_block.with_label_values(&[self.channel()]).set(self.tip.number.get() as i64);
        }
        Ok(())
    }

    fn is_snapshot_due(&self) -> bool {
        let interval = self.limits.snapshot_interval;
        interval > 0 && self.bytes_since_snapshot >= interval && !self.last_applied.is_empty()
    }

    fn compact(&mut self, snapshot: Snapshot) -> Result<(), Fault> {
        tracing::info!(target: LOG, "Taking snapshot at block [{}] (index: {}) {}", self.tip.number, snapshot.index, self.log_suffix());
        let rest = Persist {
            hard_state: Some(self.raft.hard_state()),
            entries: self.raft.entries_after(snapshot.index),
            ..Persist::default()
        };
        let pending: Vec<Bytes> = self.recovered.iter().chain(self.cutter.pending()).cloned().collect();
        self.wal.compact(&snapshot, &rest, &pending)?;
        self.noted = self.cutter.pending().len();
        self.metrics.snapshot_block.with_label_values(&[self.channel()]).set(self.tip.number.get() as i64);
        Ok(())
    }
}
