//! Where messages come from and go: into a block on the leader, to the leader from elsewhere, back to their sender.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use ripstop_channel_config::ChannelConfig;
use ripstop_ordering::{Message, check_normal};
use ripstop_proto::{common, orderer};
use ripstop_raft::{Input as RaftInput, NodeId, Refused};
use ripstop_types::Envelope;

use super::{Consensus, Forward, LOG, Order, OrderKind, Origin, Proposal};
use crate::answers::{Answer, Forwarded, Waiting};
use crate::error::{Fault, OrderError};
use crate::produce::{Producer, expiration};

fn bad(text: String) -> OrderError {
    OrderError::Refused { status: common::Status::BadRequest, text }
}

/// The content of a configuration transaction.
fn config_content(message: &Message) -> Result<common::ConfigEnvelope, OrderError> {
    common::ConfigEnvelope::decode(message.envelope.data.clone()).map_err(|error| bad(error.to_string()))
}

impl Consensus {
    /// Whether this node takes messages into blocks now.
    pub(super) fn accepts(&self) -> bool {
        self.next.is_some() && !self.config_in_flight && self.blocks_in_flight < self.limits.blocks_in_flight
    }

    /// Deals with messages as far as possible. Blocks are proposed together, as many as may be in flight, because then
    /// they share a sync of the log and one of the block files.
    pub(super) fn take_orders(&mut self, answers: &mut Vec<Answer>) -> Result<(), Fault> {
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
        if self.catching_up.is_some() || (self.raft.is_leader() && !self.accepts()) {
            None
        } else {
            self.waiting.pop_front()
        }
    }

    fn order(&mut self, order: Order, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        if let Origin::Client(_) = order.origin {
            let label = [self.channel()];
            match order.kind {
                OrderKind::Normal => self.metrics.normal_proposals.with_label_values(&label).inc(),
                OrderKind::Config => self.metrics.config_proposals.with_label_values(&label).inc(),
            }
        }
        match self.raft.leader() {
            _ if self.next.is_some() => self.lead(order, answers),
            Some(leader) if leader != self.raft.id() => {
                self.forward(leader, order);
                Ok(())
            }
            _ => {
                self.refuse(order.origin, OrderError::NoLeader);
                Ok(())
            }
        }
    }

    /// Takes a message into a block of this leader.
    fn lead(&mut self, order: Order, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        let message = match self.revalidated(&order) {
            Ok(message) => message,
            Err(error) => {
                self.refuse(order.origin, error);
                return Ok(());
            }
        };
        let raw = message.raw.clone();
        if let Origin::Client(answer) = order.origin {
            if self.is_alone() {
                answers.push(answer);
            } else {
                let (kind, validated_at) = (order.kind, order.validated_at);
                let waiting = Waiting { message: message.clone(), kind, validated_at, answer, forwarded: None };
                self.answers.add(raw.clone(), waiting);
            }
        }
        match order.kind {
            OrderKind::Normal => self.batch(message),
            OrderKind::Config => {
                self.cut_batch()?;
                self.config_in_flight = self.propose_batch(vec![raw])? == Proposal::Made;
                Ok(())
            }
        }
    }

    /// Sends a message to the leader. What another consenter sent goes on only once, because who leads may be seen
    /// differently in different places.
    fn forward(&mut self, to: NodeId, order: Order) {
        let Ok(envelope) = common::Envelope::decode(order.message.raw.clone()) else { return };
        match order.origin {
            Origin::Consenter(from) if from == to => {
                tracing::warn!(target: LOG, "Dropped a message of node {from}, which leads itself {}", self.log_suffix());
                return;
            }
            Origin::Consenter(_) => {}
            Origin::Client(answer) => {
                let until = self.now.saturating_add(self.limits.batch_timeout).saturating_add(self.forwarding_limit);
                let (raw, forwarded) = (order.message.raw.clone(), Some(Forwarded { to, until }));
                let Order { message, kind, validated_at, .. } = order;
                self.answers.add(raw, Waiting { message, kind, validated_at, answer, forwarded });
            }
        }
        tracing::info!(target: LOG, "Forwarding transaction to the leader {to} {}", self.log_suffix());
        let request = orderer::SubmitRequest {
            channel: self.channel().to_owned(),
            last_validation_seq: order.validated_at,
            payload: Some(envelope),
        };
        self.forwards.push(Forward { to, request });
    }

    fn refuse(&self, origin: Origin, error: OrderError) {
        self.metrics.proposal_failures.with_label_values(&[self.channel()]).inc();
        match origin {
            Origin::Client(answer) => drop(answer.send(Err(error))),
            Origin::Consenter(from) => {
                tracing::error!(target: LOG, "Failed to order message that node {from} forwarded: {error} {}", self.log_suffix());
            }
        }
    }

    /// The way to the leader is lost, and with it perhaps the messages that were on it.
    pub(super) fn forwarding_failed(&mut self, to: NodeId) {
        self.refuse_waiting(|waiting| {
            let lost = waiting.forwarded.is_some_and(|forwarded| forwarded.to == to);
            lost.then_some(OrderError::ForwardingFailed(to))
        });
    }

    /// Does not let clients wait for ever whose messages the leader dropped.
    pub(super) fn expire_forwarded(&mut self) {
        let now = self.now;
        self.refuse_waiting(|waiting| {
            let late = waiting.forwarded.filter(|forwarded| forwarded.until < now);
            late.map(|forwarded| OrderError::NotOrdered(forwarded.to))
        });
    }

    /// After a new configuration: the leader looks at forwarded messages again, and tells nobody of those it drops.
    pub(super) fn check_forwarded_again(&mut self) {
        // What is in this very block is in order.
        self.answer_written();
        let config = self.config();
        let mut answers = std::mem::take(&mut self.answers);
        let refused = answers.refuse_if(|waiting| {
            waiting.forwarded?;
            self.checked_again(&config, &waiting.message, waiting.kind, waiting.validated_at).err()
        });
        self.answers = answers;
        self.count_failures(refused);
    }

    /// Whoever leads now knows nothing of what clients sent before.
    pub(super) fn leader_lost(&mut self) {
        self.refuse_waiting(|_| Some(OrderError::LeaderChanged));
    }

    fn refuse_waiting(&mut self, verdict: impl Fn(&Waiting) -> Option<OrderError>) {
        let refused = self.answers.refuse_if(verdict);
        self.count_failures(refused);
    }

    fn count_failures(&self, count: usize) {
        self.metrics.proposal_failures.with_label_values(&[self.channel()]).inc_by(count as u64);
    }

    /// The message, checked again if the configuration has changed since it was, or if another consenter made it a
    /// configuration.
    fn revalidated(&self, order: &Order) -> Result<Message, OrderError> {
        let config = self.config();
        let foreign = matches!(order.origin, Origin::Consenter(_));
        // Nobody can have checked it against a configuration that is yet to come.
        let validated_at = if order.validated_at > config.sequence() { 0 } else { order.validated_at };
        let message = self.checked_again(&config, &order.message, order.kind, validated_at)?;
        if foreign && order.kind == OrderKind::Config {
            let content = config_content(&message)?;
            self.producer(&self.shared.active.load())
                .check_foreign(&config, &content)
                .map_err(|refusal| OrderError::Refused { status: refusal.status(), text: refusal.to_string() })?;
        }
        Ok(message)
    }

    fn checked_again(
        &self,
        config: &ChannelConfig,
        message: &Message,
        kind: OrderKind,
        validated_at: u64,
    ) -> Result<Message, OrderError> {
        let now = config.sequence();
        if validated_at >= now {
            return Ok(message.clone());
        }
        let what = match kind {
            OrderKind::Normal => "Normal",
            OrderKind::Config => "Config",
        };
        tracing::warn!(target: LOG, "{what} message was validated against {validated_at}, although current config seq has advanced ({now}) {}", self.log_suffix());
        match kind {
            OrderKind::Normal => check_normal(config, &message.envelope, expiration(self.expired, self.now))
                .map(|()| message.clone())
                .map_err(|refusal| OrderError::Refused { status: refusal.status(), text: refusal.to_string() }),
            OrderKind::Config => self.produced_again(config, message),
        }
    }

    fn produced_again(&self, config: &ChannelConfig, message: &Message) -> Result<Message, OrderError> {
        let update = config_content(message)?.last_update;
        let update = update.ok_or_else(|| bad("the config transaction holds no update".into()))?;
        let update = Envelope::from_proto(update).map_err(|error| bad(error.to_string()))?;
        self.producer(&self.shared.active.load())
            .produce(config, &update)
            .map_err(|error| OrderError::Refused { status: error.status(), text: error.to_string() })
    }

    fn producer<'a>(&'a self, active: &'a [NodeId]) -> Producer<'a> {
        let (signer, consenters) = (&self.signer, &self.consenters);
        Producer { signer, expired: self.expired, consenters, active, now: self.now }
    }

    /// Puts a message into the batch under way and proposes what becomes complete.
    pub(super) fn batch(&mut self, message: Message) -> Result<(), Fault> {
        let size = message.envelope.size();
        self.batch_began.get_or_insert_with(Instant::now);
        let cut = self.cutter.add(message.raw, size, self.limits.batch);
        if !cut.batches.is_empty() {
            self.noted = 0;
            self.note_filled(cut.batches.len());
        }
        cut.batches.into_iter().try_for_each(|batch| self.propose_batch(batch).map(drop))
    }

    pub(super) fn cut_batch(&mut self) -> Result<(), Fault> {
        self.noted = 0;
        match self.cutter.cut() {
            Some(batch) => {
                self.note_filled(1);
                self.propose_batch(batch).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Notes how long the batch took that was just cut; one that was cut beside it holds nothing but the newest message.
    fn note_filled(&mut self, batches: usize) {
        let began = self.batch_began.take();
        if !self.cutter.pending().is_empty() {
            self.batch_began = Some(Instant::now());
        }
        let took = began.map(|began| began.elapsed()).unwrap_or_default();
        for took in std::iter::once(took).chain(std::iter::repeat_n(Duration::ZERO, batches.saturating_sub(1))) {
            self.metrics.filled(self.channel(), took);
        }
    }

    /// Proposes the next block; it is agreed on when raft is settled. While leadership is on its way elsewhere nothing is
    /// proposed. A lone consenter has acknowledged the messages already and keeps them; others have not.
    fn propose_batch(&mut self, batch: Vec<Bytes>) -> Result<Proposal, Fault> {
        let proposal = self.propose(batch.clone())?;
        if proposal == Proposal::Dropped && self.is_alone() {
            batch.iter().try_for_each(|message| self.wal.accept(message))?;
            self.wal.sync()?;
            self.recovered.extend(batch);
        } else if proposal == Proposal::Dropped {
            self.leader_lost();
        }
        Ok(proposal)
    }

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
    pub(super) fn note_pending(&mut self) -> Result<(), Fault> {
        let pending = self.cutter.pending();
        let new = pending.get(self.noted..).unwrap_or_default();
        if new.is_empty() {
            return Ok(());
        }
        new.iter().try_for_each(|message| self.wal.accept(message))?;
        self.noted = pending.len();
        Ok(self.wal.sync()?)
    }

    pub(super) fn recover(&self, config: &ChannelConfig, raw: Bytes) -> Result<Message, String> {
        let envelope = common::Envelope::decode(raw).map_err(|error| error.to_string())?;
        let message = Message::parse(envelope).map_err(|error| error.to_string())?;
        let expiration = expiration(self.expired, self.now);
        check_normal(config, &message.envelope, expiration).map_err(|refusal| refusal.to_string())?;
        Ok(message)
    }
}
