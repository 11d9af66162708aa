//! Blocks that other orderers wrote: fetched when the leader has forgotten the entries they were in.

use bytes::Bytes;
use prost::Message as _;
use ripstop_channel_config::{ChannelConfig, ConsensusType, update};
use ripstop_deliver::PulledBlock;
use ripstop_ordering::consenter_metadata;
use ripstop_proto::{common, etcdraft};
use ripstop_raft::{Consenters, Input as RaftInput, Snapshot};
use ripstop_types::{Block, BlockNumber};
use ripstop_validation::{check_content, verify_signatures};

use super::{Consensus, LOG};
use crate::error::Fault;
use crate::produce::raft_consenters;

/// Blocks that are missing before anything that follows a snapshot can be written.
pub(super) struct CatchUp {
    /// The block at which the snapshot was taken.
    last: BlockNumber,
    /// That block as raft has it.
    data: Bytes,
}

/// The configuration that a block puts in force.
struct Successor {
    config: ChannelConfig,
    /// None when the block ends etcdraft.
    consenters: Option<Consenters>,
}

impl Consensus {
    /// Puts off what raft agrees on until all blocks up to that of a snapshot are here; it takes part in elections
    /// meanwhile, because with those who are alive there may be no leader without it. A later snapshot replaces an earlier
    /// one.
    pub(super) fn begin_to_catch_up(&mut self, snapshot: Snapshot) {
        let Ok(block) = Block::parse(snapshot.data.clone()) else {
            tracing::warn!(target: LOG, "The snapshot at index {} holds no block {}", snapshot.index, self.log_suffix());
            return;
        };
        let (last, own, suffix) = (block.number(), self.tip.number, self.log_suffix());
        if own >= last {
            tracing::warn!(target: LOG, "Snapshot is at block [{last}], local block number is {own}, no sync needed {suffix}");
            self.catching_up = None;
            self.arrived_at(snapshot.data);
            return;
        }
        let next = own.next();
        tracing::info!(target: LOG, "Catching up with snapshot taken at block [{last}], starting from block [{next}] {suffix}");
        self.catching_up = Some(CatchUp { last, data: snapshot.data });
    }

    /// Takes a block that was fetched, if it is the one that follows and the channel's orderers signed it.
    pub(super) fn take_pulled(&mut self, pulled: PulledBlock) -> Result<(), Fault> {
        let wanted = self.catching_up.as_ref().is_some_and(|missing| pulled.block.number() <= missing.last);
        // Asked for twice, because the connection broke.
        let known = pulled.block.number() <= self.tip.number;
        if known || !wanted || pulled.is_refused() {
            return Ok(());
        }
        let number = pulled.block.number();
        if number > self.tip.number.next() {
            // Blocks between were not wanted yet when they came. They are asked for again.
            pulled.refuse();
            return Ok(());
        }
        let successor = match self.judge(&pulled.block) {
            Ok(successor) => successor,
            Err(reason) => {
                let (from, suffix) = (pulled.orderer(), self.log_suffix());
                tracing::error!(target: LOG, "Block [{number}] from {from} is refused: {reason} {suffix}");
                pulled.refuse();
                return Ok(());
            }
        };
        tracing::info!(target: LOG, "Writing block [{number}] fetched from {} to ledger {}", pulled.orderer(), self.log_suffix());
        self.written.extend_from_slice(&pulled.block.data);
        self.push(pulled.block);
        if let Some(Successor { config, consenters }) = successor {
            self.append_signed()?;
            self.last_config = number;
            if let Some(consenters) = consenters {
                self.consenters = consenters;
            }
            self.take_effect(config);
        }
        Ok(())
    }

    /// Stores what was fetched. Once all is there, what was put off follows with the next effects of raft.
    pub(super) fn store_pulled(&mut self) -> Result<(), Fault> {
        if self.catching_up.is_none() {
            return Ok(());
        }
        self.append_signed()?;
        self.store.publish();
        // Whoever's message is in a fetched block was waiting for just that.
        self.answer_written();
        let tip = self.tip.number;
        if let Some(missing) = self.catching_up.take_if(|missing| tip >= missing.last) {
            self.arrived_at(missing.data);
            tracing::info!(target: LOG, "Finished syncing with cluster up to and including block [{tip}] {}", self.log_suffix());
        }
        Ok(())
    }

    /// The block of a snapshot is written: what is applied last is as raft has it.
    fn arrived_at(&mut self, data: Bytes) {
        self.last_applied = data;
        self.bytes_since_snapshot = 0;
    }

    /// Lets raft apply what was put off. Whoever became leader meanwhile knows only now which change of members is left
    /// undone.
    pub(super) fn caught_up(&mut self) -> Result<(), Fault> {
        self.raft.handle(RaftInput::CaughtUp)?;
        self.drain()?;
        if self.raft.is_leader() {
            self.find_unfinished_membership();
        }
        Ok(())
    }

    /// Checks all that can be checked of a block that others wrote; tells what configuration it puts in force.
    fn judge(&self, block: &Block) -> Result<Option<Successor>, String> {
        let config = self.config();
        let previous = self.tip.hash().to_bytes();
        check_content(block, config.channel_id(), self.tip.number.next(), &previous)
            .map_err(|refusal| refusal.to_string())?;
        verify_signatures(&block.header, &block.metadata, &config).map_err(|refusal| refusal.to_string())?;
        let Some(envelope) = block.config_envelope() else { return Ok(None) };
        let content = common::ConfigEnvelope::decode(envelope.data).map_err(|error| error.to_string())?;
        let next = update::accept(&config, &content).map_err(|error| error.to_string())?;
        let consenters = consenters_after(block, &next)?;
        Ok(Some(Successor { config: next, consenters }))
    }
}

/// The consenters and their numbers after a configuration block, as the orderer that wrote it recorded them; none when
/// the block ends etcdraft.
fn consenters_after(block: &Block, config: &ChannelConfig) -> Result<Option<Consenters>, String> {
    let consensus = config.orderer().map(|orderer| orderer.consensus_type.clone());
    if consensus != Some(ConsensusType::EtcdRaft) {
        return Ok(None);
    }
    let recorded = consenter_metadata(block).map_err(|error| error.to_string())?;
    let recorded = etcdraft::BlockMetadata::decode(recorded).map_err(|error| error.to_string())?;
    let listed = raft_consenters(config)?;
    Consenters::restore(&recorded, listed).map(Some).map_err(|error| error.to_string())
}
