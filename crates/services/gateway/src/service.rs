use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ripstop_channel_config::ChannelConfig;
use ripstop_channel_config::acl::{self, Resource};
use ripstop_discovery::Discovery;
use ripstop_gossip::View;
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_policy::Reader;
use ripstop_proto::gateway;
use ripstop_proto::gateway::gateway_server::GatewayServer;
use ripstop_transport::{BOUNDED_BY_LISTENER, ConcurrencyLimit};
use ripstop_types::{ChannelId, SignedData};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::peers::{PeerDirectory, Peers};
use crate::proposal::Proposal;
use crate::roster::Roster;

/// How long after stale connections were looked for they are not looked for again: views change with every block.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// How the gateway works.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// How long one endorser may take (`peer.gateway.endorsementTimeout`).
    pub endorsement_timeout: Duration,
    /// How long one orderer may take (`peer.gateway.broadcastTimeout`).
    pub broadcast_timeout: Duration,
    /// How many calls are handled at once (`peer.limits.concurrency.gatewayService`).
    pub limit: ConcurrencyLimit,
}

/// The gateway service. Clones are the same service.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) ledgers: Arc<Ledgers>,
    pub(crate) local_msp: Arc<LocalMsp>,
    pub(crate) discovery: Discovery,
    pub(crate) views: watch::Receiver<Arc<View>>,
    pub(crate) peers: Peers,
    pub(crate) config: Arc<GatewayConfig>,
}

impl Gateway {
    /// A gateway over the channels of this peer. `discovery` names endorsers, `views` is what the peer knows of others, `peers`
    /// how it reaches them.
    pub fn new(
        ledgers: Arc<Ledgers>,
        local_msp: Arc<LocalMsp>,
        discovery: Discovery,
        views: watch::Receiver<Arc<View>>,
        peers: PeerDirectory,
        config: GatewayConfig,
    ) -> Self {
        Self { ledgers, local_msp, discovery, views, peers: Arc::new(peers), config: Arc::new(config) }
    }

    /// Gives up the connections to peers and orderers that are gone, until views end. To be run as a task beside the service.
    pub async fn close_stale_connections(self) -> Result<(), Infallible> {
        let mut views = self.views.clone();
        while views.changed().await.is_ok() {
            views.borrow_and_update();
            self.close_unneeded();
            tokio::time::sleep(SWEEP_PAUSE).await;
        }
        Ok(())
    }

    fn close_unneeded(&self) {
        if self.peers.is_idle() {
            return;
        }
        let ledgers = self.ledgers.list().into_iter().filter_map(|channel| self.ledgers.get(&channel));
        self.peers.close_stale(ledgers.map(|ledger| (ledger.config(), self.roster(&ledger).addresses())));
    }

    /// Who is in a channel now.
    pub(crate) fn roster(&self, ledger: &Ledger) -> Roster {
        let view = Arc::clone(&self.views.borrow());
        let address = self.peers.local_address().to_owned();
        Roster::new(view, ledger.channel_id().clone(), address, ledger.height())
    }

    /// Whether whoever signed a proposal may know which peers a channel has: its members may. Others are told no more than
    /// Fabric tells everybody.
    pub(crate) fn may_know_peers(&self, proposal: &Proposal, config: &ChannelConfig) -> bool {
        proposal
            .signed_data()
            .is_some_and(|signed| acl::check(Resource::PeerPropose, Some(config), &self.local_msp, &signed).is_ok())
    }

    /// The gRPC service.
    pub fn into_server(self) -> GatewayServer<Self> {
        GatewayServer::new(self)
            .max_decoding_message_size(BOUNDED_BY_LISTENER)
            .max_encoding_message_size(BOUNDED_BY_LISTENER)
    }

    /// The ledger of a channel; none for names that cannot be a channel's either.
    pub(crate) fn ledger(&self, channel: &str) -> Option<Arc<Ledger>> {
        ChannelId::new(channel).ok().and_then(|id| self.ledgers.get(&id))
    }

    pub(crate) fn channel_config(&self, channel: &str) -> Option<Arc<ChannelConfig>> {
        self.ledger(channel).map(|ledger| ledger.config())
    }

    /// Checks that whoever signed a request may use a resource of the channel.
    pub(crate) fn check_access(&self, resource: Resource, channel: &str, signed: &SignedData) -> Result<(), Status> {
        let config = self.channel_config(channel);
        let Some(config) = config else {
            // Fabric's words for a channel that the peer has not joined.
            let text = format!("failed to get policy manager for channel [{channel}]");
            return Err(Status::permission_denied(text));
        };
        acl::check(resource, Some(&config), &self.local_msp, signed).map_err(|refusal| {
            tracing::warn!(target: "gateway", channel, resource = %resource, error = refusal.text(Reader::Member), "access denied");
            Status::permission_denied(refusal.to_string())
        })
    }
}

#[tonic::async_trait]
impl gateway::gateway_server::Gateway for Gateway {
    type ChaincodeEventsStream = ReceiverStream<Result<gateway::ChaincodeEventsResponse, Status>>;

    async fn endorse(
        &self,
        request: Request<gateway::EndorseRequest>,
    ) -> Result<Response<gateway::EndorseResponse>, Status> {
        let _permit = self.config.limit.enter()?;
        self.endorse_proposal(request.into_inner()).await.map(Response::new)
    }

    async fn submit(
        &self,
        request: Request<gateway::SubmitRequest>,
    ) -> Result<Response<gateway::SubmitResponse>, Status> {
        let _permit = self.config.limit.enter()?;
        self.submit_transaction(request.into_inner()).await.map(Response::new)
    }

    async fn commit_status(
        &self,
        request: Request<gateway::SignedCommitStatusRequest>,
    ) -> Result<Response<gateway::CommitStatusResponse>, Status> {
        let _permit = self.config.limit.enter()?;
        self.status_of_commit(request.into_inner()).await.map(Response::new)
    }

    async fn evaluate(
        &self,
        request: Request<gateway::EvaluateRequest>,
    ) -> Result<Response<gateway::EvaluateResponse>, Status> {
        let _permit = self.config.limit.enter()?;
        self.evaluate_proposal(request.into_inner()).await.map(Response::new)
    }

    async fn chaincode_events(
        &self,
        request: Request<gateway::SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        let permit = self.config.limit.enter()?;
        self.follow_events(request.into_inner(), permit).map(Response::new)
    }
}
