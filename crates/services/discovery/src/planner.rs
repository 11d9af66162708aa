use std::sync::Arc;

use ripstop_gossip::View;
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_proto::protos::ChaincodeInterest;
use ripstop_types::ChannelId;
use tokio::sync::watch;

use crate::demand::ChannelState;
use crate::peers::{Audience, ChannelPeer, channel_peers};
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

    /// Which peers have to endorse a call that touches what `interest` lists. Peers of the own organization are among them
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
        let at = self.channel(channel)?;
        let (requirements, policies) = (at.requirements(interest)?, at.policies(interest)?);
        endorsement::plan(&requirements, &policies, &self.channel_peers(channel, audience), at.config.msps())
    }

    pub(crate) fn local_msp(&self) -> Arc<LocalMsp> {
        Arc::clone(&self.local_msp)
    }

    pub(crate) fn ledger(&self, channel: &ChannelId) -> Option<Arc<Ledger>> {
        self.ledgers.get(channel)
    }

    /// The channel as its ledger has it now.
    pub(crate) fn channel(&self, channel: &ChannelId) -> Result<ChannelState, PlanError> {
        let ledger = self.ledger(channel).ok_or_else(|| PlanError::UnknownChannel(channel.as_str().to_owned()))?;
        Ok(ChannelState { id: channel.clone(), state: ledger.snapshot(), config: ledger.config() })
    }

    /// Who is there now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    pub(crate) fn channel_peers(&self, channel: &ChannelId, audience: Audience) -> Vec<ChannelPeer> {
        channel_peers(&self.view(), channel, self.local_msp.id(), audience)
    }
}
