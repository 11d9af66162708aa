//! What operators do while the network runs: organizations come and go, anchor peers change, identities are revoked and end
//! and are issued anew, collections are defined otherwise.

use std::rc::Rc;
use std::time::Duration;

use ripstop_gossip::{ChannelInput, Input};
use ripstop_msp::MspSet;

use super::{Event, World};
use crate::chain::{configuring, defining};
use crate::configuration::{Configuration, Draft};
use crate::definition::COLLECTIONS;
use crate::history::Death;
use crate::peer::handshake;
use crate::story::Distribution;
use crate::trust::{Reach, describe};

/// How long no history is.
const LONG: Duration = Duration::from_secs(100_000);

impl World {
    /// The configuration that was made last.
    pub(crate) fn latest(&self) -> &Rc<Configuration> {
        self.configurations.last().expect("there is one at the begin")
    }

    /// Whether a peer takes part in the channel, as the last configuration says.
    pub(crate) fn is_in_channel(&self, peer: usize) -> bool {
        let part = &self.story.parts[peer];
        part.joins && self.latest().has(part.organization)
    }

    /// Whether a configuration or a definition waits to be ordered.
    pub(crate) fn is_changing(&self) -> bool {
        let (configuration, definition) =
            (configuring(self.configurations.len() - 1), defining(self.definitions.len() - 1));
        self.wanted.contains(&configuration) || self.wanted.contains(&definition)
    }

    /// An operator changes something.
    pub(crate) fn change(&mut self) {
        if self.is_changing() {
            return;
        }
        match self.random.u32(..5) {
            0 => self.remove_or_return(),
            1 => self.choose_anchors(),
            2 => self.revoke(),
            _ => self.define(),
        }
    }

    /// Brings back the organization that was removed, if one was.
    pub(crate) fn complete(&mut self) {
        if self.is_changing() {
            return;
        }
        if let Some(gone) = (0..self.organizations.len()).find(|organization| !self.latest().has(*organization)) {
            self.configure(|draft| draft.members.extend([gone]));
        }
    }

    /// Where an organization came back, has those of its peers pull from the orderers that depend on others: a peer whose ledger
    /// says that its organization left trusts none of its fellows as members, and cannot learn of the return from them.
    pub(crate) fn free_stranded(&mut self) {
        if self.is_changing() || self.story.distribution != Distribution::StaticLeaders {
            return;
        }
        for index in self.honest() {
            let part = self.story.parts[index];
            let is_shut_out = part.joins && !self.configuration_of(index).has(part.organization);
            if is_shut_out && self.is_in_channel(index) && !self.peers[index].options.org_leader {
                self.peers[index].options.org_leader = true;
                self.crash(index, Death::Process);
                self.start(index);
            }
        }
    }

    /// All honest peers whose certificates are revoked or will end begin anew with other ones.
    pub(crate) fn renew_all(&mut self) {
        (0..self.peers.len()).for_each(|index| self.renew(index));
    }

    /// An honest peer whose certificate is revoked or will end gets another one, and begins anew if it is up.
    pub(super) fn renew(&mut self, index: usize) {
        let (peer, revoked) = (&mut self.peers[index], &self.configurations.last().expect("there is one").draft);
        let ends = peer.voucher.issued.ends < self.now + LONG || revoked.revokes(&peer.voucher.issued.identity);
        if !ends || peer.mind.is_some() {
            return;
        }
        peer.renews = true;
        if self.peers[index].is_up() {
            self.crash(index, Death::Process);
            self.start(index);
        }
    }

    /// Takes another certificate, if one is wanted, and what the organization says of its own by now.
    pub(super) fn equip(&mut self, index: usize) {
        let part = self.story.parts[index];
        let organization = part.organization;
        let peer = &mut self.peers[index];
        if std::mem::take(&mut peer.renews) {
            let issued = self.authorities[organization].issue(&format!("peer{index}"), None);
            peer.about = describe(index, &self.organizations[organization], issued.identity.clone(), part.reach);
            peer.voucher.issued = issued;
            peer.handshake = handshake(&peer.about, &peer.voucher);
            self.by_id.insert(peer.about.pki_id.clone(), index);
        }
        let revoked = self.configurations.last().map(|latest| latest.draft.revoked_of(organization));
        let local = self.authorities[organization].msp(revoked.unwrap_or_default());
        let configuration = self.configuration_of(index);
        let peer = &mut self.peers[index];
        peer.voucher.local = Rc::new(MspSet::new([local]));
        peer.told = Rc::clone(&configuration);
        peer.voucher.configuration = configuration;
    }

    /// The configuration in a peer's ledger.
    pub(super) fn configuration_of(&self, index: usize) -> Rc<Configuration> {
        if !self.story.parts[index].joins {
            return Rc::clone(&self.nowhere);
        }
        Rc::clone(&self.configurations[self.peers[index].ledger.configuration()])
    }

    /// A block was committed: if it brought a configuration, that counts at once, and the machine is told.
    pub(super) fn learn_configuration(&mut self, index: usize) {
        let configuration = self.configuration_of(index);
        if Rc::ptr_eq(&configuration, &self.peers[index].voucher.configuration) {
            return;
        }
        self.peers[index].voucher.configuration = Rc::clone(&configuration);
        self.input(index, Input::TrustChanged);
        if !Rc::ptr_eq(&configuration, &self.peers[index].voucher.configuration) {
            // The machine had a block for the committer, which brought the next one.
            return;
        }
        self.peers[index].told = Rc::clone(&configuration);
        self.channel_input(index, ChannelInput::Reconfigured(configuration.organizations.clone()));
    }

    fn configure(&mut self, act: impl FnOnce(&mut Draft)) {
        let mut draft = self.latest().draft.clone();
        act(&mut draft);
        let sequence = self.configurations.len();
        let configuration = Configuration::new(sequence as u64, &draft, &self.organizations, &self.authorities);
        self.configurations.push(Rc::new(configuration));
        self.wanted.insert(configuring(sequence));
    }

    fn remove_or_return(&mut self) {
        if self.latest().draft.members.len() < self.organizations.len() {
            return self.complete();
        }
        let organization = self.random.usize(..self.organizations.len());
        // Where a hostile peer may be elected it may keep blocks to itself; its fellows need those of other organizations then.
        if self.story.distribution != Distribution::ElectedLeaders
            || !self.story.parts.iter().any(|part| part.is_hostile)
        {
            self.configure(|draft| draft.members.retain(|member| *member != organization));
        }
    }

    /// Other peers of an organization become its anchor peers.
    fn choose_anchors(&mut self) {
        let organization = self.random.usize(..self.organizations.len());
        let parts = self.story.parts.iter().enumerate();
        let open = parts.filter(|(_, part)| {
            part.organization == organization && part.reach == Reach::Everybody && !part.is_hostile
        });
        let mut open: Vec<_> = open.map(|(index, _)| index).collect();
        self.random.shuffle(&mut open);
        open.truncate(2);
        let endpoints = open.iter().map(|index| self.peers[*index].about.external_endpoint.clone()).collect();
        self.configure(|draft| drop(draft.anchors.insert(organization, endpoints)));
    }

    /// A peer's certificate is revoked. An honest one gets another before long.
    fn revoke(&mut self) {
        let index = self.random.usize(..self.peers.len());
        let leads_alone = self.story.distribution == Distribution::StaticLeaders && self.peers[index].leads;
        let issued = self.peers[index].voucher.issued.clone();
        if leads_alone || self.latest().draft.revokes(&issued.identity) {
            return;
        }
        let organization = self.story.parts[index].organization;
        self.configure(|draft| draft.revoked.entry(organization).or_default().push(issued));
        if self.peers[index].mind.is_none() {
            let delay = Duration::from_secs(self.random.u64(5..30));
            self.after(delay, Event::Renew(index));
        }
    }

    fn define(&mut self) {
        let collection = self.random.usize(..COLLECTIONS);
        let organization = self.random.usize(..self.organizations.len());
        let before = self.definitions.last().expect("there is one at the begin");
        let definition = before.changed(collection, organization, &self.organizations);
        self.definitions.push(definition);
        self.wanted.insert(defining(self.definitions.len() - 1));
    }
}
