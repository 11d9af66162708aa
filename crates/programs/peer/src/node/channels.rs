//! The peer's channels: for each one a committer, the puller that feeds it, and a watch on its configuration.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntGaugeVec;
use ripstop_chaincode::{ChaincodeHost, JoinChannel, keep_announced};
use ripstop_channel_config::{AddressOverride, ConsensusType};
use ripstop_committer::{BLOCK_QUEUE, CommitMetrics, Committer};
use ripstop_deliver::{BlockPuller, PullConfig, PullEnd, PulledBlock, WhenOutlasted};
use ripstop_gossip::AnnouncedChaincode;
use ripstop_gossip_service::{Gossip, Leadership, PrivateIncoming, ReceivedBlock};
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_operations::Health;
use ripstop_private_data::PrivateDataService;
use ripstop_runtime::{TaskGroup, TaskKind};
use ripstop_transport::ClientRoots;
use ripstop_types::{Block, MspId};
use tokio::sync::{mpsc, watch};

use super::catch_up::{self, CatchUp};
use super::gossip::OthersBlocks;
use super::orderers::{self, LedgerTarget};
use super::parts::Peer;
use super::private_data;

/// The peer's channels. Clones are the same.
#[derive(Clone)]
pub(super) struct PeerChannels(Arc<Shared>);

/// What all channels of the peer share.
struct Shared {
    ledgers: Arc<Ledgers>,
    pull: PullConfig,
    /// How long pulling may fail before the log says that it goes on nevertheless.
    patience: Duration,
    /// How long a puller pauses after a first failure.
    first_pause: Duration,
    overrides: Vec<AddressOverride>,
    /// The roots of TLS clients.
    roots: ClientRoots,
    tasks: TaskGroup,
    health: Health,
    heights: IntGaugeVec,
    commits: CommitMetrics,
    gossip: Gossip,
    private_data: PrivateDataService,
    chaincode: OnceLock<ChaincodeHost>,
    /// Whether an election decides when blocks are pulled.
    is_elected: bool,
    /// The snapshot from which a ledger is being created. Held while any ledger is.
    joining: Mutex<Option<PathBuf>>,
}

/// A channel while the peer works on it. Its tasks end together: when the peer does, and when the committer does, without
/// which there is nothing to work for.
struct Channel {
    ledger: Arc<Ledger>,
    tasks: TaskGroup,
}

impl PeerChannels {
    /// The channels of all ledgers. Nothing is done for them before [`Self::start_all`].
    pub(super) fn new(peer: &Peer, gossip: &Gossip) -> anyhow::Result<Self> {
        let (delivery, metrics, tls) = (&peer.config.delivery_client, &peer.node.metrics, peer.identity.tls.as_ref());
        Ok(Self(Arc::new(Shared {
            ledgers: Arc::clone(&peer.ledgers),
            pull: orderers::pull_config(peer),
            patience: delivery.reconnect_total_threshold,
            first_pause: delivery.minimal_reconnect_interval,
            overrides: orderers::overrides(&peer.config)?,
            roots: tls.map(|tls| tls.client_roots.clone()).unwrap_or_default(),
            tasks: peer.tasks.channels.clone(),
            health: peer.node.health.clone(),
            heights: metrics.gauge("ledger_blockchain_height", "Height of the chain in blocks.", &["channel"]),
            commits: CommitMetrics::new(metrics),
            gossip: gossip.clone(),
            private_data: private_data::service(peer, gossip),
            chaincode: OnceLock::new(),
            is_elected: peer.config.gossip.options.use_leader_election,
            joining: Mutex::default(),
        })))
    }

    /// Starts the tasks of all channels that the peer has.
    pub(super) fn start_all(&self) {
        for channel in self.0.ledgers.list() {
            if let Some(ledger) = self.0.ledgers.get(&channel) {
                if let Some(height) = ledger.former_height() {
                    tracing::info!(target: "nodeCmd", function = "serve", "Ledger rebuild: channel [{channel}]: preresetHeight: [{height}]");
                }
                self.start(&ledger);
            }
        }
        if self.0.ledgers.any_behind() {
            tracing::info!(target: "nodeCmd", function = "serve", "Ledger rebuild: Endorsement request processing is disabled until the ledgers have the heights they had before");
        }
        self.refresh_roots();
    }

    /// The peer's organization.
    fn organization(&self) -> &MspId {
        &self.0.pull.signer.identity().msp_id
    }

    /// The sharing of private data.
    pub(super) fn private_data(&self) -> &PrivateDataService {
        &self.0.private_data
    }

    /// The peer among other peers.
    pub(super) fn gossip(&self) -> &Gossip {
        &self.0.gossip
    }

    /// Where orderers really are.
    pub(super) fn orderer_overrides(&self) -> &[AddressOverride] {
        &self.0.overrides
    }

    /// Says which chaincodes are announced to other peers. Without it none are.
    pub(super) fn announce_those_of(&self, chaincode: &ChaincodeHost) {
        // Told twice, the first word counts: there is one host.
        self.0.chaincode.set(chaincode.clone()).ok();
    }

    /// The chaincodes that other peers are told of, as they change with blocks and installed packages.
    fn announce(&self, channel: &Channel) -> watch::Receiver<Vec<AnnouncedChaincode>> {
        let (told, chaincodes) = watch::channel(Vec::new());
        if let Some(host) = self.0.chaincode.get().cloned() {
            let (ledger, organization) = (Arc::clone(&channel.ledger), self.organization().clone());
            let announcing = keep_announced(ledger, organization, host.packages().follow(), told);
            channel.tasks.spawn_droppable("announced chaincodes", announcing);
        }
        chaincodes
    }

    /// Starts the work on one channel: blocks come in, are committed, and what follows from them is seen to.
    fn start(&self, ledger: &Arc<Ledger>) {
        let channel = Channel { ledger: Arc::clone(ledger), tasks: self.0.tasks.child("channel") };
        let (blocks, received) = mpsc::channel(BLOCK_QUEUE);
        let door = self.0.gossip.join(Arc::clone(ledger), self.announce(&channel));
        self.commit(&channel, received);
        self.share(&channel, door.private);
        self.take(&channel, door.blocks, blocks.clone());
        self.pull(&channel, door.leadership, blocks);
        channel.tasks.spawn_droppable("watch", self.clone().watch(Arc::clone(ledger)));
    }

    /// Commits what comes in. The peer is not healthy once that ends in an error.
    fn commit(&self, channel: &Channel, received: mpsc::Receiver<PulledBlock>) {
        let failed = Arc::new(Mutex::new(None::<String>));
        let failure = Arc::clone(&failed);
        let part = format!("committer of channel {}", channel.ledger.channel_id());
        self.0.health.register(&part, move || match &*failure.lock() {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        });
        let committer = Committer::new(Arc::clone(&channel.ledger))
            .of_organization(self.organization().clone())
            .sharing(self.0.private_data.channel(&channel.ledger))
            .counting(self.0.commits.clone());
        channel.tasks.spawn(TaskKind::Core, "committer", async move {
            let ended = committer.run(received).await;
            if let Err(error) = &ended {
                *failed.lock() = Some(error.to_string());
            }
            ended
        });
    }

    /// Keeps private data that other peers send, answers those that lack some, and looks for what is missed here.
    fn share(&self, channel: &Channel, received: mpsc::Receiver<PrivateIncoming>) {
        let sharing = self.0.private_data.channel(&channel.ledger);
        channel.tasks.spawn_droppable("private data", async move { sharing.run(received).await });
    }

    /// Takes blocks that other peers send.
    fn take(&self, channel: &Channel, received: mpsc::Receiver<ReceivedBlock>, blocks: mpsc::Sender<PulledBlock>) {
        let (gossip, heights) = (self.0.gossip.clone(), channel.ledger.heights());
        let channel_id = channel.ledger.channel_id().clone();
        let others = OthersBlocks { gossip, channel: channel_id, heights, received, blocks };
        channel.tasks.spawn_droppable("blocks of other peers", others.hand_over());
    }

    /// Pulls blocks from the orderers whenever this peer leads.
    fn pull(&self, channel: &Channel, leadership: watch::Receiver<Leadership>, blocks: mpsc::Sender<PulledBlock>) {
        let pulling = self.clone().pull_while_leading(Arc::clone(&channel.ledger), leadership, blocks);
        channel.tasks.spawn_droppable("puller", pulling);
    }

    async fn pull_while_leading(
        self,
        ledger: Arc<Ledger>,
        mut leadership: watch::Receiver<Leadership>,
        blocks: mpsc::Sender<PulledBlock>,
    ) {
        let channel = ledger.channel_id();
        while becomes(&mut leadership, Leadership::Leads).await {
            if self.0.is_elected {
                tracing::info!(target: "gossip.service", "Elected as a leader, starting delivery service for channel {channel}");
            }
            let puller = self.puller(&ledger, blocks.clone());
            let renounced = tokio::select! {
                ended = puller.run() => match ended {
                    PullEnd::Unwanted => return,
                    PullEnd::Outlasted => {
                        // Another peer may lead now; this one leads again when it is told so anew.
                        self.0.gossip.yield_leadership(channel).await;
                        becomes(&mut leadership, Leadership::Follows).await
                    }
                },
                renounced = becomes(&mut leadership, Leadership::Follows) => renounced,
            };
            if renounced && self.0.is_elected {
                tracing::info!(target: "gossip.service", "Renounced leadership, stopping delivery service for channel {channel}");
            }
        }
    }

    fn puller(&self, ledger: &Arc<Ledger>, blocks: mpsc::Sender<PulledBlock>) -> BlockPuller {
        let (parts, name) = (&self.0, ledger.channel_id());
        let byzantine = ledger.config().orderer().is_some_and(|orderer| orderer.consensus_type == ConsensusType::Bft);
        let kind = if byzantine { "BFT (byzantine" } else { "CFT (crash" };
        tracing::info!(target: "deliveryClient", function = "DeliverBlocks", "Creating a {kind} fault tolerant) BlockDeliverer for channel `{name}`");
        let target = Arc::new(LedgerTarget { ledger: Arc::clone(ledger), overrides: parts.overrides.clone() });
        let then = if parts.is_elected { WhenOutlasted::End } else { WhenOutlasted::GoOn };
        BlockPuller::new(target, parts.pull.clone(), blocks)
            .with_patience(parts.patience, then)
            .with_first_pause(parts.first_pause)
    }

    /// The highest ledger of a channel that other peers claim: those of this organization, if there are any.
    fn others_height(&self, ledger: &Ledger) -> u64 {
        let view = self.0.gossip.view();
        let me = view.me.as_ref().map(|me| &me.member.pki_id);
        let members = view.channels.get(ledger.channel_id());
        let others = || members.into_iter().flatten().filter(|(id, _)| Some(*id) != me).map(|(_, member)| member);
        let own = others().filter(|member| member.peer.organization == *self.organization());
        let height = own.map(|member| member.height).max();
        height.or_else(|| others().map(|member| member.height).max()).unwrap_or_default()
    }

    /// Follows the height of the channel's ledger: shows it, takes up the TLS roots of a changed configuration, says how far one is
    /// that lags behind, and when a ledger that was taken back has come as far again.
    async fn watch(self, ledger: Arc<Ledger>) {
        let mut heights = ledger.heights();
        let gauge = self.0.heights.with_label_values(&[ledger.channel_id().as_str()]);
        let mut sequence = ledger.config().sequence();
        let mut behind = ledger.former_height().is_some();
        let (mut catch_up, mut now_and_then) = (CatchUp::default(), tokio::time::interval(catch_up::EVERY));
        loop {
            let height = *heights.borrow_and_update();
            if let Some(word) = catch_up.look(Instant::now(), height, self.others_height(&ledger)) {
                tracing::info!(target: "gossip.state", "[{}] {word}", ledger.channel_id());
            }
            gauge.set(i64::try_from(height).unwrap_or(i64::MAX));
            if ledger.config().sequence() != sequence {
                sequence = ledger.config().sequence();
                self.refresh_roots();
            }
            if behind && ledger.former_height().is_none() {
                behind = false;
                if !self.0.ledgers.any_behind() {
                    tracing::info!(target: "nodeCmd", function = "resetLoop", "Ledger rebuild: Complete, all ledgers surpass prereset heights. Endorsement request processing will be enabled.");
                }
            }
            tokio::select! {
                changed = heights.changed() => if changed.is_err() { return },
                _ = now_and_then.tick() => {}
            }
        }
    }

    /// Creates a ledger from a snapshot and starts its channel. How it ends is in the log, as on Fabric's peers.
    async fn create_from_snapshot(&self, directory: PathBuf) {
        let shown = directory.display();
        tracing::info!(target: "ledgermgmt", function = "createFromSnapshot", "Creating ledger from snapshot at {shown}");
        let (ledgers, path, organization) =
            (Arc::clone(&self.0.ledgers), directory.clone(), self.organization().clone());
        let created = tokio::task::spawn_blocking(move || ledgers.create_from_snapshot(&path, &organization)).await;
        let failed = match created {
            Ok(Ok(ledger)) => {
                let channel = ledger.channel_id();
                tracing::info!(target: "ledgermgmt", function = "createFromSnapshot", "Created ledger [{channel}] from snapshot");
                self.start(&ledger);
                return self.refresh_roots();
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(target: "ledgermgmt", "Error creating ledger from snapshot snapshotDir={shown} error={failed}");
    }

    /// Lets in the TLS clients of all organizations of all channels.
    fn refresh_roots(&self) {
        let ledgers = &self.0.ledgers;
        let joined = ledgers.list();
        let configs = joined.iter().filter_map(|channel| ledgers.get(channel)).map(|ledger| ledger.config());
        if let Err(error) = self.0.roots.replace_of_channels(configs.flat_map(|config| config.tls_roots())) {
            tracing::error!(target: "core.peer", "TLS clients are verified as before, because the channels' TLS certificates cannot be used: {error}");
        }
    }
}

/// Waits until this is so; `false` when it will never be.
async fn becomes(leadership: &mut watch::Receiver<Leadership>, wanted: Leadership) -> bool {
    leadership.wait_for(|now| *now == wanted).await.is_ok()
}

/// One snapshot at a time, and nothing beside it. Fabric's words.
fn refuse_another(joining: &Option<PathBuf>) -> Result<(), String> {
    match joining {
        None => Ok(()),
        Some(directory) => Err(format!(
            "a ledger is being created from a snapshot at {}. Call ledger creation again after it is done.",
            directory.display()
        )),
    }
}

impl JoinChannel for PeerChannels {
    fn join(&self, genesis: Block) -> Result<(), String> {
        let joining = self.0.joining.lock();
        refuse_another(&joining).map_err(|busy| format!("cannot create ledger from genesis block: {busy}"))?;
        let ledger = self.0.ledgers.create(genesis).map_err(|error| error.to_string())?;
        self.start(&ledger);
        self.refresh_roots();
        Ok(())
    }

    fn join_by_snapshot(&self, directory: &Path) -> Result<(), String> {
        let mut joining = self.0.joining.lock();
        refuse_another(&joining)?;
        *joining = Some(directory.to_owned());
        let (channels, directory) = (self.clone(), directory.to_owned());
        self.0.tasks.spawn(TaskKind::Isolated, "join by snapshot", async move {
            channels.create_from_snapshot(directory).await;
            *channels.0.joining.lock() = None;
            Ok::<_, Infallible>(())
        });
        Ok(())
    }

    fn joining(&self) -> Option<PathBuf> {
        self.0.joining.lock().clone()
    }
}
