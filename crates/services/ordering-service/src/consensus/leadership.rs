//! Who leads, and what a leader does beside making blocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use ripstop_ordering::NextBlock;
use ripstop_proto::etcdraft;
use ripstop_raft::{Input as RaftInput, NodeId, Role};

use super::{Consensus, LOG, spaced};
use crate::error::Fault;

/// Ticks for which the active consenters must be the same before others are told (Fabric: `Tracker`).
const STABLE_TICKS: u8 = 3;

/// The campaign with which a new channel begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstCampaign {
    /// Ticks between two attempts (Fabric: two heartbeats).
    pub(crate) interval: u64,
    pub(crate) elapsed: u64,
}

/// Whether the consenters that a leader hears of are as many as a tick before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Same,
    Changed,
}

/// Which consenters a leader hears of, and whom it has told.
#[derive(Debug, Default)]
pub(super) struct ActiveNodes {
    unchanged: u8,
    metadata: Bytes,
    told: BTreeSet<NodeId>,
}

impl ActiveNodes {
    /// Whether a number of consenters has been the same for long enough.
    fn is_stable(&mut self, activity: Activity) -> bool {
        let stable = activity == Activity::Same && self.unchanged >= STABLE_TICKS;
        self.unchanged = if activity == Activity::Changed || stable { 0 } else { self.unchanged + 1 };
        stable
    }

    fn announce(&mut self, active: &[NodeId]) {
        let active_nodes = active.iter().map(|node| node.get()).collect();
        self.metadata = etcdraft::ClusterMetadata { active_nodes }.encode_to_vec().into();
        self.told.clear();
    }

    /// What to tell a consenter: something once after each announcement.
    pub(super) fn metadata_for(&mut self, node: NodeId) -> Bytes {
        if self.told.insert(node) { self.metadata.clone() } else { Bytes::new() }
    }
}

impl Consensus {
    pub(super) fn leader_changed(&mut self, before: Option<NodeId>, now: Option<NodeId>, role: Role) {
        let number = |node: Option<NodeId>| node.map_or(0, NodeId::get);
        if before != now {
            tracing::info!(target: LOG, "Raft leader changed: {} -> {} {}", number(before), number(now), self.log_suffix());
            self.metrics.leader_changes.with_label_values(&[self.channel()]).inc();
        }
        if before != now && before.is_some() {
            self.leader_lost();
        }
        if now.is_some() {
            self.first_campaign = None;
        }
        self.metrics.is_leader.with_label_values(&[self.channel()]).set(i64::from(role == Role::Leader));
        if role == Role::Leader {
            if self.catching_up.is_none() {
                self.find_unfinished_membership();
            }
        } else {
            self.next = None;
            self.blocks_in_flight = 0;
            // The next leader orders these if their senders ask again: it never heard of them.
            let dropped = self.cutter.cut().map_or(0, |batch| batch.len());
            self.batch_began = None;
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

    /// Has a new leader propose the change of members that the last configuration asks for and that its predecessor left
    /// undone.
    pub(super) fn find_unfinished_membership(&mut self) {
        self.membership_to_propose =
            self.tip_is_config.then(|| self.consenters.unfinished(self.raft.members())).flatten();
        self.membership_in_flight = self.membership_to_propose;
        self.config_in_flight = self.membership_in_flight.is_some();
    }

    /// A leader accepts messages once everything from before its term is applied.
    pub(super) fn begin_to_accept(&mut self) -> Result<(), Fault> {
        let ready = self.raft.is_leader() && self.raft.has_applied_all();
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
        self.drain()
    }

    /// Asks for votes, again and again, until somebody leads.
    pub(super) fn campaign_first(&mut self) -> Result<(), Fault> {
        let Some(campaign) = &mut self.first_campaign else { return Ok(()) };
        campaign.elapsed += 1;
        if !campaign.elapsed.is_multiple_of(campaign.interval) {
            return Ok(());
        }
        self.raft.handle(RaftInput::Campaign)?;
        self.settle()
    }

    /// Before a tick: finds out which consenters the leader hears of, and lets the others know once that has been so for
    /// some ticks (Fabric: `Tracker.Check`).
    pub(super) fn track_active_nodes(&mut self) {
        if self.raft.leader().is_none() {
            self.shared.active.store(Arc::default());
            self.metrics.active_nodes.with_label_values(&[self.channel()]).set(0);
        }
        if !self.raft.is_leader() {
            return;
        }
        let current = self.raft.active_members();
        let same = current.len() == self.shared.active.load().len();
        if self.active.is_stable(if same { Activity::Same } else { Activity::Changed }) {
            tracing::debug!(target: LOG, "Current active nodes in cluster are: {} {}", spaced(&current), self.log_suffix());
            self.metrics.active_nodes.with_label_values(&[self.channel()]).set(current.len() as i64);
            self.active.announce(&current);
        }
        self.shared.active.store(Arc::new(current));
    }

    /// Remembers which consenters the leader hears of.
    pub(super) fn note_active_nodes(&self, from: NodeId, metadata: Bytes) {
        if metadata.is_empty() || self.raft.leader() != Some(from) {
            return;
        }
        let Ok(metadata) = etcdraft::ClusterMetadata::decode(metadata) else { return };
        let nodes: Vec<_> = metadata.active_nodes.into_iter().filter_map(NodeId::new).collect();
        self.metrics.active_nodes.with_label_values(&[self.channel()]).set(nodes.len() as i64);
        tracing::info!(target: LOG, "Store ActiveNodes {} {}", spaced(&nodes), self.log_suffix());
        self.shared.active.store(Arc::new(nodes));
    }
}
