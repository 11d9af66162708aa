//! The peer's channels: for each one a committer, the puller that feeds it, and a watch on its configuration.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::IntGaugeVec;
use ripstop_chaincode::JoinChannel;
use ripstop_channel_config::ConsensusType;
use ripstop_channel_config::acl::{self, Resource};
use ripstop_committer::{BLOCK_QUEUE, CommitMetrics, Committer};
use ripstop_deliver::{
    BlockForm, BlockPuller, BlockSource, Channels, OrdererEndpoint, PullConfig, PullTarget, Refusal, SourceError,
};
use ripstop_gateway::AddressOverride;
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_operations::{Health, Metrics};
use ripstop_policy::Reader;
use ripstop_runtime::{TaskGroup, TaskKind};
use ripstop_transport::ClientRoots;
use ripstop_types::{Block, BlockNumber, ChannelId, MspId, SignedData};
use tokio::sync::{mpsc, watch};

/// How long the tasks of a channel may take to end: a block that is being committed is finished.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What all channels of the peer share.
pub(super) struct ChannelParts {
    pub(super) ledgers: Arc<Ledgers>,
    pub(super) pull: PullConfig,
    /// How long pulling may fail before the log says that it goes on nevertheless.
    pub(super) patience: Duration,
    /// How long a puller pauses after a first failure.
    pub(super) first_pause: Duration,
    pub(super) overrides: Vec<AddressOverride>,
    /// The roots of TLS clients.
    pub(super) roots: ClientRoots,
    /// Those of the roots that come from no channel.
    pub(super) configured_roots: Vec<Bytes>,
    pub(super) tasks: TaskGroup,
    pub(super) health: Health,
    pub(super) heights: IntGaugeVec,
    pub(super) commits: CommitMetrics,
    /// The snapshot from which a ledger is being created. Held while any ledger is.
    pub(super) joining: Mutex<Option<PathBuf>>,
}

/// The peer's channels. Clones are the same.
#[derive(Clone)]
pub(super) struct PeerChannels(Arc<ChannelParts>);

/// The gauge of ledger heights, under Fabric's name.
pub(super) fn height_gauge(metrics: &Metrics) -> IntGaugeVec {
    metrics.gauge("ledger_blockchain_height", "Height of the chain in blocks.", &["channel"])
}

impl PeerChannels {
    pub(super) fn new(parts: ChannelParts) -> Self {
        Self(Arc::new(parts))
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

    /// The peer's organisation.
    fn organization(&self) -> &MspId {
        &self.0.pull.signer.identity().msp_id
    }

    /// Starts the tasks of one channel.
    fn start(&self, ledger: &Arc<Ledger>) {
        let parts = &self.0;
        let channel = ledger.channel_id().clone();
        let byzantine = ledger.config().orderer().is_some_and(|orderer| orderer.consensus_type == ConsensusType::Bft);
        let kind = if byzantine { "BFT (byzantine" } else { "CFT (crash" };
        tracing::info!(target: "deliveryClient", function = "DeliverBlocks", "Creating a {kind} fault tolerant) BlockDeliverer for channel ´{channel}´");
        let (blocks, received) = mpsc::channel(BLOCK_QUEUE);
        let failed = Arc::new(Mutex::new(None::<String>));
        let failure = Arc::clone(&failed);
        parts.health.register(&format!("committer of channel {channel}"), move || match &*failure.lock() {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        });
        let committer = Committer::new(Arc::clone(ledger))
            .of_organization(self.organization().clone())
            .counting(parts.commits.clone());
        parts.tasks.spawn(TaskKind::Isolated, "committer", async move {
            let ended = committer.run(received).await;
            if let Err(error) = &ended {
                *failed.lock() = Some(error.to_string());
            }
            ended
        });
        let target = Arc::new(LedgerTarget { ledger: Arc::clone(ledger), overrides: parts.overrides.clone() });
        let puller = BlockPuller::new(target, parts.pull.clone(), blocks)
            .with_patience(parts.patience)
            .with_first_pause(parts.first_pause);
        let stopping = parts.tasks.cancelled();
        parts.tasks.spawn(TaskKind::Isolated, "puller", async move {
            tokio::select! {
                () = puller.run() => {}
                () = stopping => {}
            }
            Ok::<_, Infallible>(())
        });
        parts.tasks.spawn(TaskKind::Isolated, "configuration", self.clone().watch(Arc::clone(ledger)));
    }

    /// Follows the height of a ledger: shows it, takes up the TLS roots of a changed configuration, and says when a ledger
    /// that was taken back has come as far again.
    async fn watch(self, ledger: Arc<Ledger>) -> Result<(), Infallible> {
        let mut heights = ledger.heights();
        let gauge = self.0.heights.with_label_values(&[ledger.channel_id().as_str()]);
        let mut sequence = ledger.config().sequence();
        let mut behind = ledger.former_height().is_some();
        loop {
            gauge.set(i64::try_from(*heights.borrow_and_update()).unwrap_or(i64::MAX));
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
                changed = heights.changed() => if changed.is_err() { return Ok(()) },
                () = self.0.tasks.cancelled() => return Ok(()),
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

    /// Lets in the TLS clients of all organisations of all channels.
    fn refresh_roots(&self) {
        let ledgers = &self.0.ledgers;
        let joined = ledgers.list();
        let configs = joined.iter().filter_map(|channel| ledgers.get(channel)).map(|ledger| ledger.config());
        let mut pems = self.0.configured_roots.clone();
        pems.extend(configs.flat_map(|config| config.tls_roots()));
        if let Err(error) = self.0.roots.replace(pems.iter().map(AsRef::as_ref)) {
            tracing::error!(target: "core.peer", "TLS clients are verified as before, because the channels' TLS certificates cannot be used: {error}");
        }
    }
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

/// The channels as the deliver service sees them.
pub(super) struct DeliverChannels {
    pub(super) ledgers: Arc<Ledgers>,
    pub(super) local_msp: Arc<LocalMsp>,
}

impl Channels for DeliverChannels {
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>> {
        let ledger = self.ledgers.get(&ChannelId::new(channel).ok()?)?;
        Some(Arc::new(LedgerSource { ledger, local_msp: Arc::clone(&self.local_msp) }))
    }
}

/// A ledger's blocks, for those who may read them.
struct LedgerSource {
    ledger: Arc<Ledger>,
    local_msp: Arc<LocalMsp>,
}

impl BlockSource for LedgerSource {
    fn heights(&self) -> watch::Receiver<u64> {
        self.ledger.heights()
    }

    fn first_block(&self) -> BlockNumber {
        self.ledger.first_block()
    }

    fn block(&self, number: BlockNumber) -> Result<Arc<Block>, SourceError> {
        match self.ledger.block(number) {
            Ok(Some(block)) => Ok(block),
            Ok(None) => Err(SourceError(format!("block [{number}] is not there"))),
            Err(error) => Err(SourceError(error.to_string())),
        }
    }

    fn config_sequence(&self) -> u64 {
        self.ledger.config().sequence()
    }

    fn authorize(&self, form: BlockForm, request: &SignedData) -> Result<(), Refusal> {
        let resource = match form {
            BlockForm::Full => Resource::EventBlock,
            BlockForm::Filtered => Resource::EventFilteredBlock,
        };
        acl::check(resource, Some(&self.ledger.config()), &self.local_msp, request)
            .map_err(|refusal| Refusal(refusal.text(Reader::Member)))
    }
}

/// A ledger that wants blocks.
struct LedgerTarget {
    ledger: Arc<Ledger>,
    overrides: Vec<AddressOverride>,
}

impl PullTarget for LedgerTarget {
    fn channel(&self) -> &ChannelId {
        self.ledger.channel_id()
    }

    fn next_block(&self) -> BlockNumber {
        BlockNumber::new(self.ledger.height())
    }

    fn orderers(&self) -> Vec<OrdererEndpoint> {
        let replace = |endpoint: ripstop_channel_config::OrdererEndpoint| {
            let replaced = self.overrides.iter().find(|replaced| replaced.from == endpoint.address);
            let tls_roots = match replaced {
                Some(replaced) if !replaced.tls_roots.is_empty() => replaced.tls_roots.clone(),
                _ => endpoint.tls_roots.to_vec(),
            };
            let address = replaced.map_or(endpoint.address, |replaced| replaced.to.clone());
            OrdererEndpoint { address, tls_roots }
        };
        self.ledger.config().orderer_endpoints().into_iter().map(replace).collect()
    }
}
