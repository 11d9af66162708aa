//! What the loop learns of one channel's ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_channel_config::ChannelConfig;
use ripstop_gossip::{AnchorPeer, AnnouncedChaincode, ChannelInput, ChannelOrganizations};
use ripstop_ledger::Ledger;
use ripstop_proto::Message as _;
use ripstop_types::{BlockNumber, MspId};
use tokio::sync::watch;

use crate::config::Spreading;
use crate::door::Leadership;
use crate::event::{Event, Events};
use crate::metrics::GossipMetrics;

/// How many of the newest blocks are sent on at most when several came at once: others have the older ones, or fetch them.
const SPREAD_AT_ONCE: u64 = 10;

/// Follows a ledger on behalf of the loop.
pub(crate) struct Follower {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) chaincodes: watch::Receiver<Vec<AnnouncedChaincode>>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) events: Events,
    pub(crate) metrics: GossipMetrics,
    /// The peer's organization.
    pub(crate) organization: MspId,
    pub(crate) spreading: Spreading,
}

impl Follower {
    /// Tells the loop how the channel is, and then whatever changes, until it is dropped.
    pub(crate) async fn follow(mut self) {
        let mut heights = self.ledger.heights();
        let mut height = *heights.borrow_and_update();
        self.metrics.reaches(self.ledger.channel_id().as_str(), height);
        let mut config = self.ledger.config();
        let mut is_member = false;
        if let Some(organizations) = self.organizations(&config) {
            self.join(organizations, height).await;
            is_member = true;
        }
        loop {
            tokio::select! {
                changed = heights.changed() => if changed.is_err() { return },
                // Otherwise nobody says any more what can be executed.
                Ok(()) = self.chaincodes.changed() => {
                    let chaincodes = self.chaincodes.borrow_and_update().clone();
                    self.tell(ChannelInput::Chaincodes(chaincodes)).await;
                    continue;
                }
            }
            let before = std::mem::replace(&mut height, *heights.borrow_and_update());
            let newer = self.ledger.config();
            if newer.sequence() != config.sequence() {
                config = newer;
                self.events.push(Event::TrustChanged).await;
                if let Some(organizations) = self.organizations(&config) {
                    match is_member {
                        true => self.tell(ChannelInput::Reconfigured(organizations)).await,
                        false => self.join(organizations, height).await,
                    }
                    is_member = true;
                }
            }
            self.metrics.reaches(self.ledger.channel_id().as_str(), height);
            self.tell(ChannelInput::Height(height)).await;
            self.spread(before, height).await;
        }
    }

    async fn join(&mut self, organizations: ChannelOrganizations, height: u64) {
        let chaincodes = self.chaincodes.borrow_and_update().clone();
        self.tell(ChannelInput::Joined { organizations, height, chaincodes }).await;
    }

    /// The channel's organizations, if the peer's own one is among them. (Fabric's peers too keep to the configuration before,
    /// when a newer one shuts their organization out.)
    fn organizations(&self, config: &ChannelConfig) -> Option<ChannelOrganizations> {
        let organizations = organizations(config);
        if organizations.anchors.contains_key(&self.organization) {
            return Some(organizations);
        }
        let names: Vec<&str> = organizations.anchors.keys().map(MspId::as_str).collect();
        let (channel, own, names) = (self.ledger.channel_id(), &self.organization, names.join(" "));
        tracing::error!(target: "gossip.service", "Tried joining channel {channel} but our org( {own} ), isn't among the orgs of the channel: [{names}] , aborting.");
        None
    }

    async fn tell(&self, input: ChannelInput) {
        self.events.push(Event::Channel(self.ledger.channel_id().clone(), input)).await;
    }

    /// A leading peer sends new blocks on.
    async fn spread(&self, from: u64, height: u64) {
        if self.spreading == Spreading::Keep || *self.leadership.borrow() == Leadership::Follows {
            return;
        }
        for number in from.max(height.saturating_sub(SPREAD_AT_ONCE))..height {
            match read_block(&self.ledger, number).await {
                Ok(block) => self.tell(ChannelInput::Pulled { number, block }).await,
                Err(why) => {
                    tracing::warn!(target: "gossip.state", "Block [{number}] of channel {} is not sent on: {why}", self.ledger.channel_id());
                }
            }
        }
    }
}

/// An encoded block of a ledger, read off the async threads.
pub(crate) async fn read_block(ledger: &Arc<Ledger>, number: u64) -> Result<Bytes, String> {
    let ledger = Arc::clone(ledger);
    let read = tokio::task::spawn_blocking(move || match ledger.block(BlockNumber::new(number)) {
        Ok(Some(block)) => Ok(Bytes::from(block.to_proto().encode_to_vec())),
        Ok(None) => Err("it is not there".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    read.await.map_err(|error| error.to_string())?
}

fn organizations(config: &ChannelConfig) -> ChannelOrganizations {
    let mut anchors = BTreeMap::<MspId, Vec<AnchorPeer>>::new();
    for organization in config.application().into_iter().flat_map(|application| application.organizations.values()) {
        let peers = organization.anchor_peers.iter();
        let peers = peers.map(|peer| AnchorPeer { host: peer.host.clone(), port: i32::from(peer.port) });
        anchors.entry(organization.msp_id.clone()).or_default().extend(peers);
    }
    ChannelOrganizations { sequence: config.sequence(), anchors }
}
