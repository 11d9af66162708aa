//! What is written: blocks that the consenters agreed on, and snapshots.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use ripstop_channel_config::{ChannelConfig, ConsensusType, update};
use ripstop_keys::signature_header;
use ripstop_ordering::BlockToSign;
use ripstop_proto::common;
use ripstop_raft::{Committed, MembershipChange, Persist, Snapshot};
use ripstop_types::{Block, Envelope};

use super::{Consensus, LOG, Limits, spaced};
use crate::error::Fault;
use crate::produce::raft_consenters;

impl Consensus {
    pub(super) fn apply(&mut self, entry: Committed) -> Result<(), Fault> {
        match entry {
            Committed::Proposal { index, data } => self.write(index, data),
            Committed::Membership { change, members, .. } => {
                let verb = if matches!(change, MembershipChange::Add(_)) { "add" } else { "remove" };
                let nodes = spaced(&members);
                let (node, suffix) = (change.node(), self.log_suffix());
                tracing::info!(target: LOG, "Applied config change to {verb} node {node}, current nodes in channel: {nodes} {suffix}");
                self.membership_to_propose.take_if(|pending| *pending == change);
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
        self.take_effect(next);
        self.store.publish();
        self.check_forwarded_again();
        Ok(())
    }

    /// Puts a configuration in force whose block is stored.
    pub(super) fn take_effect(&mut self, config: ChannelConfig) {
        self.limits = Limits::of(&config);
        self.shared.config.store(Arc::new(config));
        self.shared.set_consenters(&self.consenters);
        self.shared.config_changed.send_modify(|generation| *generation += 1);
    }

    /// Signs a block, which goes to disk with the other blocks of its batch of entries.
    fn sign(&mut self, block: Block, consensus: Bytes) -> Result<(), Fault> {
        let number = block.number();
        let to_sign = BlockToSign::new(block, self.last_config, consensus, signature_header(&self.signer));
        let signature = self
            .signer
            .sign(&to_sign.message())
            .map_err(|error| Fault::Sign { block: number.get(), reason: error.to_string() })?;
        let block = to_sign.signed(signature);
        self.written.extend_from_slice(&block.data);
        self.push(block);
        Ok(())
    }

    /// Puts a block behind the last one. It is stored with those that come together with it.
    pub(super) fn push(&mut self, block: Block) {
        self.tip = block.header.clone();
        self.tip_is_config = block.config_envelope().is_some();
        self.signed.push(Arc::new(block));
    }

    pub(super) fn append_signed(&mut self) -> Result<(), Fault> {
        if !self.signed.is_empty() {
            let (blocks, began) = (std::mem::take(&mut self.signed), Instant::now());
            let count = blocks.len();
            self.store.append_all(blocks)?;
            self.metrics.stored(self.channel(), count, began.elapsed());
            self.metrics.reached(self.channel(), self.tip.number);
        }
        Ok(())
    }

    /// Tells clients that their messages are in written blocks.
    pub(super) fn answer_written(&mut self) {
        let written = std::mem::take(&mut self.written);
        self.answers.ordered(&written);
    }

    pub(super) fn is_snapshot_due(&self) -> bool {
        let interval = self.limits.snapshot_interval;
        let settled = self.catching_up.is_none();
        settled && interval > 0 && self.bytes_since_snapshot >= interval && !self.last_applied.is_empty()
    }

    pub(super) fn compact(&mut self, snapshot: Snapshot) -> Result<(), Fault> {
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
