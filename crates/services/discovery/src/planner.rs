use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_gossip::View;
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_proto::discovery::{Peer, PeerMembershipResult, Peers};
use ripstop_proto::protos::ChaincodeInterest;
use ripstop_types::ChannelId;
use tokio::sync::watch;

use crate::demand::{self, Channel, policies};
use crate::peers::{Audience, ChannelPeer, channel_peers, live_peers, public};
use crate::{Descriptor, PlanError, endorsement};

/// Knows which peers there are and which of them have to endorse what. Clones are the same.
#[derive(Clone)]
pub struct Discovery {
    ledgers: Arc<Ledgers>,
    local_msp: Arc<LocalMsp>,
    view: watch::Receiver<Arc<View>>,
}

impl Discovery {
    /// Brings together what the ledgers of this peer and its view of others say.
    pub fn new(ledgers: Arc<Ledgers>, local_msp: Arc<LocalMsp>, view: watch::Receiver<Arc<View>>) -> Self {
        Self { ledgers, local_msp, view }
    }

    /// Which peers have to endorse a call that touches what `interest` lists. Peers of the own organisation are among them
    /// even if they have no external endpoint. No access check: the gateway asks for its own client.
    ///
    /// # Errors
    /// When no peers can be named; the text says what is lacking.
    pub fn endorsement_plan(&self, channel: &ChannelId, interest: &ChaincodeInterest) -> Result<Descriptor, PlanError> {
        self.plan(channel, interest, Audience::ThisPeer)
    }

    pub(crate) fn plan(
        &self,
        channel: &ChannelId,
        interest: &ChaincodeInterest,
        audience: Audience,
    ) -> Result<Descriptor, PlanError> {
        let ledger = self.joined(channel)?;
        let (state, config) = (ledger.snapshot(), ledger.config());
        let of_ledger = Channel { id: channel, state: state.as_ref(), config: &config };
        let requirements = demand::requirements(of_ledger, interest)?;
        let policies = policies(of_ledger, interest)?;
        endorsement::plan(&requirements, &policies, &self.channel_peers(channel, audience), config.msps())
    }

    pub(crate) fn local_msp(&self) -> Arc<LocalMsp> {
        Arc::clone(&self.local_msp)
    }

    pub(crate) fn ledger(&self, channel: &ChannelId) -> Option<Arc<Ledger>> {
        self.ledgers.get(channel)
    }

    fn joined(&self, channel: &ChannelId) -> Result<Arc<Ledger>, PlanError> {
        self.ledger(channel).ok_or_else(|| PlanError::UnknownChannel(channel.as_str().to_owned()))
    }

    fn channel_peers(&self, channel: &ChannelId, audience: Audience) -> Vec<ChannelPeer> {
        // The view is behind a lock that gossip writes through: held no longer than it takes to count it in.
        let view = Arc::clone(&self.view.borrow());
        channel_peers(&view, channel, self.local_msp.id(), audience)
    }

    /// The peers of a channel that can serve an interest; all of them where it is empty.
    pub(crate) fn channel_members(
        &self,
        channel: &ChannelId,
        interest: &ChaincodeInterest,
    ) -> Result<PeerMembershipResult, PlanError> {
        let ledger = self.joined(channel)?;
        let (state, config) = (ledger.snapshot(), ledger.config());
        let of_ledger = Channel { id: channel, state: state.as_ref(), config: &config };
        let requirements = demand::requirements(of_ledger, interest)?;
        let peers = self.channel_peers(channel, Audience::Applications);
        let members = endorsement::entitled(&requirements, &peers, config.msps());
        let told = members.into_iter().filter(|member| member.runs_all).map(|member| {
            let candidate = &member.peer.candidate;
            (candidate.organization.as_str().to_owned(), candidate.as_ref().into())
        });
        Ok(by_organization(told))
    }

    /// The peers that are alive, whatever channels they are in.
    pub(crate) fn local_members(&self) -> PeerMembershipResult {
        let view = Arc::clone(&self.view.borrow());
        by_organization(live_peers(&view).map(|peer| {
            let told =
                Peer { state_info: None, membership_info: Some(public(&peer.alive)), identity: peer.identity.clone() };
            (peer.organization.as_str().to_owned(), told)
        }))
    }
}

fn by_organization(peers: impl IntoIterator<Item = (String, Peer)>) -> PeerMembershipResult {
    let mut peers_by_org: BTreeMap<String, Peers> = BTreeMap::new();
    for (organization, peer) in peers {
        peers_by_org.entry(organization).or_default().peers.push(peer);
    }
    PeerMembershipResult { peers_by_org }
}
