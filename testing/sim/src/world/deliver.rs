//! How transactions come to orderers, and blocks from them to peers.

use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::ChannelInput;

use super::{Event, World};
use crate::checks::heights;
use crate::story::Distribution;

/// How many blocks an orderer delivers at once.
const DELIVERED: u64 = 10;
/// How often a transaction is passed on to who leads at most.
const HOPS: u32 = 2;
/// After how long without an orderer a leading peer says so.
const PATIENCE: Duration = Duration::from_secs(10);

impl World {
    /// Takes messages, acknowledgements and faults of an orderer.
    pub(super) fn carry_raft(&mut self, index: usize) {
        let from = index;
        for (to, bytes) in self.orderers[index].take_sent() {
            let Some(to) = self.orderers.iter().position(|orderer| orderer.id == to) else { continue };
            let is_lost = self.random.u32(..1000) < self.weather.lost;
            if is_lost || !self.is_linked(self.place_of_orderer(from), self.place_of_orderer(to)) {
                continue;
            }
            let delay = self.delay();
            self.after(delay, Event::Raft { from, to, bytes });
        }
        for transaction in self.orderers[index].take_acknowledged() {
            self.wanted.remove(&transaction);
            self.acknowledged.insert(transaction);
        }
        self.faults.extend(self.orderers[index].take_fault());
    }

    /// An orderer gets the next block it needs from another one, if it needs one.
    pub(super) fn fetch(&mut self, index: usize) {
        while let Some(number) = self.orderers[index].fetches() {
            let place = self.place_of_orderer(index);
            let reached =
                |other: &usize| self.orderers[*other].is_up() && self.is_linked(place, self.place_of_orderer(*other));
            let mut others = (0..self.orderers.len()).filter(reached);
            let Some(block) = others.find_map(|other| self.orderers[other].ledger.block(number).cloned()) else {
                return;
            };
            self.orderers[index].fetched(&block);
        }
    }

    /// An orderer is asked to order something; if another one leads, it passes it on.
    pub(super) fn take_transaction(&mut self, to: usize, transaction: String, hops: u32) {
        if !self.orderers[to].is_up() || !self.wanted.contains(&transaction) {
            return;
        }
        let leader = self.orderers[to].leader();
        if leader == Some(self.orderers[to].id) {
            self.orderers[to].submit(transaction);
            return self.carry_raft(to);
        }
        let leader = leader.and_then(|leader| self.orderers.iter().position(|orderer| orderer.id == leader));
        if let Some(leader) = leader.filter(|_| hops < HOPS)
            && self.is_linked(self.place_of_orderer(to), self.place_of_orderer(leader))
        {
            let delay = self.delay();
            self.after(delay, Event::Submit { to: leader, transaction, hops: hops + 1 });
        }
    }

    /// A peer that leads asks an orderer for new blocks.
    pub(super) fn poll(&mut self, index: usize) {
        if !self.peers[index].leads {
            return;
        }
        let reached: Vec<_> = (0..self.orderers.len())
            .filter(|orderer| self.orderers[*orderer].is_up() && self.is_linked(index, self.place_of_orderer(*orderer)))
            .filter(|orderer| {
                let configuration = &self.configurations[self.orderers[*orderer].ledger.configuration()];
                configuration.admits(self.now, &self.peers[index].voucher.issued)
            })
            .collect();
        let Some(orderer) = self.random.choice(reached) else {
            if self.now.since(self.peers[index].orderer_seen) > PATIENCE {
                self.peers[index].orderer_seen = self.now;
                self.channel_input(index, ChannelInput::OrderersUnreachable);
            }
            return;
        };
        self.peers[index].orderer_seen = self.now;
        let height = self.peers[index].ledger.height();
        let ledger = &self.orderers[orderer].ledger;
        let blocks: Vec<_> = (height..height + DELIVERED).map_while(|number| ledger.block(number)).cloned().collect();
        if !blocks.is_empty() {
            let (delay, process) = (self.delay(), self.peers[index].process);
            self.after(delay, Event::Delivered { to: index, process, blocks });
        }
    }

    /// Blocks of an orderer arrive at a peer.
    pub(super) fn take_delivered(&mut self, index: usize, blocks: &[Bytes]) {
        for block in blocks {
            let number = self.peers[index].ledger.height();
            // What came twice does not continue the chain any more.
            if !self.commit(index, block) {
                continue;
            }
            self.shelve(index, number, &[]);
            self.learn_configuration(index);
            if self.story.distribution != Distribution::EveryPeerPulls {
                self.channel_input(index, ChannelInput::Pulled { number, block: block.clone() });
            }
            self.channel_input(index, ChannelInput::Height(number + 1));
        }
    }

    /// Verifies a block and writes it. Says whether it is right.
    pub(super) fn commit(&mut self, index: usize, block: &Bytes) -> bool {
        let is_right = self.peers[index].ledger.commit(block).is_ok();
        if is_right && self.peers[index].mind.is_none() {
            heights::inspect(self, index);
        }
        is_right
    }
}
