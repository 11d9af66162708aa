use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use prost::Message as _;
use ripstop_block_store::{BlockStore, BlockStoreOptions};
use ripstop_channel_config::{ChannelConfig, ConsensusState, RaftOptions as ChannelOptions};
use ripstop_crypto::SigningIdentity;
use ripstop_deliver::{BlockForm, BlockSource, Refusal, SourceError};
use ripstop_ordering::consenter_metadata;
use ripstop_policy::Reader;
use ripstop_proto::etcdraft;
use ripstop_raft::{Consenters, DurableState, HardState, NodeId, Persist, RaftNode, RaftOptions, Snapshot};
use ripstop_types::{Block, BlockNumber, ChannelId, GoDuration, SignedData};
use tokio::sync::{mpsc, watch};

use crate::config::OrderingConfig;
use crate::consensus::{Arrival, Consensus, FirstCampaign, Order, Start};
use crate::error::OpenError;
use crate::members::Members;
use crate::metrics::ConsensusMetrics;
use crate::produce::raft_consenters;
use crate::wal::{Recovered, Wal};

/// How many messages may wait for a channel's consensus; senders wait when it is full.
pub(crate) const ORDER_QUEUE: usize = 1024;
/// How many messages of other consenters' rafts may wait; their streams wait when it is full.
pub(crate) const ARRIVAL_QUEUE: usize = 256;

const LOG: &str = "orderer.consensus.etcdraft";
const READERS: &str = "/Channel/Readers";
const ORDERER_READERS: &str = "/Channel/Orderer/Readers";

/// What a channel's consensus and everybody else both use.
pub(crate) struct Shared {
    pub(crate) id: ChannelId,
    pub(crate) store: Arc<BlockStore>,
    /// Replaced after a configuration block is stored, before it becomes visible.
    pub(crate) config: ArcSwap<ChannelConfig>,
    pub(crate) consenters: ArcSwap<Consenters>,
    /// The same, as they reach and recognise each other.
    pub(crate) members: ArcSwap<Members>,
    /// The consenters that the leader hears of, as far as known.
    pub(crate) active: ArcSwap<Vec<NodeId>>,
    pub(crate) errored: watch::Sender<bool>,
    /// Counts changes of any channel's configuration.
    pub(crate) config_changed: watch::Sender<u64>,
    pub(crate) failed: AtomicBool,
}

impl Shared {
    /// Replaces the consenters.
    pub(crate) fn set_consenters(&self, consenters: &Consenters) {
        self.consenters.store(Arc::new(consenters.clone()));
        self.members.store(Arc::new(Members::of(consenters)));
    }
}

/// A channel that this node orders.
pub(crate) struct Channel {
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: mpsc::Sender<Order>,
    /// For what other consenters send.
    pub(crate) arrivals: mpsc::Sender<Arrival>,
}

/// Where a channel's files are.
pub(crate) struct Places {
    pub(crate) blocks: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) snapshots: PathBuf,
}

impl Places {
    pub(crate) fn new(config: &OrderingConfig, id: &ChannelId) -> Self {
        Self {
            blocks: chains_directory(config).join(id.as_str()),
            wal: config.wal_directory.join(id.as_str()),
            snapshots: config.snapshot_directory.join(id.as_str()),
        }
    }
}

/// The directory that holds one directory of block files for each channel, as Fabric's orderer has it.
pub(crate) fn chains_directory(config: &OrderingConfig) -> PathBuf {
    config.ledger_directory.join("chains")
}

/// A channel whose consensus is ready to run.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) consensus: Consensus,
    /// This node's number among the consenters.
    pub(crate) node: NodeId,
    pub(crate) tick: Duration,
}

/// Opens a channel of which at least the genesis block is stored, and continues from what its log holds.
pub(crate) fn open(
    config: &OrderingConfig,
    id: &ChannelId,
    signer: SigningIdentity,
    metrics: ConsensusMetrics,
    config_changed: watch::Sender<u64>,
) -> Result<Opened, OpenError> {
    let places = Places::new(config, id);
    let chain = Chain::read(&places.blocks)?;
    let node = own_number(&chain.consenters, &config.server.leaf()).ok_or_else(|| {
        OpenError::Consensus("this node's TLS certificate is that of none of the channel's consenters".into())
    })?;
    let (batch_bytes, options) = consensus_options(&chain.config)?;
    let (mut wal, recovered) = Wal::open(&places.wal, &places.snapshots)?;
    let is_new = recovered.is_missing() && chain.tip.number() == BlockNumber::GENESIS;
    let recovered = begin(&mut wal, recovered, &chain.tip, &chain.consenters)?;
    let missing = recovered.raft.snapshot.clone().filter(|snapshot| is_ahead(snapshot, &chain.tip));
    let raft = RaftNode::new(node, raft_options(&options, batch_bytes), recovered.raft)?
        .refusing_snapshots_unless(|data| Block::parse(data.clone()).is_ok());
    let raft = if missing.is_some() { raft.behind_its_snapshot() } else { raft };
    let shared = Arc::new(Shared {
        id: id.clone(),
        store: chain.store,
        config: ArcSwap::from_pointee(chain.config),
        consenters: ArcSwap::from_pointee(chain.consenters.clone()),
        members: ArcSwap::from_pointee(Members::of(&chain.consenters)),
        active: ArcSwap::default(),
        // Until somebody leads; with up to two consenters the channel is readable without.
        errored: watch::Sender::new(chain.consenters.len() > 2),
        config_changed,
        failed: AtomicBool::new(false),
    });
    let start = Start {
        raft,
        wal,
        accepted: recovered.accepted,
        first_campaign: if is_new { first_campaign(id, node, &chain.consenters, &options) } else { None },
        consenters: chain.consenters,
        tip: chain.tip,
        last_config: chain.last_config,
        signer,
        expired: config.expiration,
        metrics,
        missing,
        forwarding_limit: i64::try_from(config.cluster.rpc_timeout.as_secs()).unwrap_or(i64::MAX),
    };
    let tick = tick(config, &options);
    Ok(Opened { consensus: Consensus::new(Arc::clone(&shared), start), shared, node, tick })
}

/// What a channel's blocks say.
struct Chain {
    store: Arc<BlockStore>,
    tip: Arc<Block>,
    last_config: BlockNumber,
    config: ChannelConfig,
    consenters: Consenters,
}

impl Chain {
    fn read(directory: &Path) -> Result<Self, OpenError> {
        let store = Arc::new(BlockStore::open(directory, BlockStoreOptions::default())?);
        let tip = last_block(&store)?;
        let last_config = match tip.number() {
            BlockNumber::GENESIS => BlockNumber::GENESIS,
            _ => tip.metadata.last_config().map_err(|error| OpenError::Metadata(error.to_string()))?,
        };
        let config = ChannelConfig::from_block(&*block(&store, last_config)?)?;
        let consenters = consenters(&tip, &config)?;
        Ok(Self { store, tip, last_config, config, consenters })
    }
}

/// The preferred size of a block, in bytes, and the channel's options of consensus.
fn consensus_options(config: &ChannelConfig) -> Result<(u32, ChannelOptions), OpenError> {
    let orderer =
        config.orderer().ok_or_else(|| OpenError::Consensus("config does not contain orderer config".into()))?;
    let raft = orderer.raft().map_err(|error| OpenError::Consensus(error.to_string()))?;
    Ok((orderer.batch_size.preferred_max_bytes, raft.options))
}

fn raft_options(options: &ChannelOptions, batch_bytes: u32) -> RaftOptions {
    RaftOptions {
        election_tick: options.election_tick as usize,
        heartbeat_tick: options.heartbeat_tick as usize,
        max_inflight_messages: options.max_inflight_blocks as usize,
        max_message_bytes: u64::from(batch_bytes),
        seed: rand::random(),
    }
}

/// In a new channel one of several consenters does not wait for an election timeout; whether it is this one.
fn first_campaign(
    id: &ChannelId,
    node: NodeId,
    consenters: &Consenters,
    options: &ChannelOptions,
) -> Option<FirstCampaign> {
    if consenters.len() == 1 || consenters.first_campaigner(id.as_str()) != Some(node) {
        return None;
    }
    tracing::info!(target: LOG, "This node is picked to start campaign channel={id} node={node}");
    Some(FirstCampaign { interval: u64::from(options.heartbeat_tick) * 2, elapsed: 0 })
}

fn tick(config: &OrderingConfig, options: &ChannelOptions) -> Duration {
    let Some(tick) = config.tick_interval else { return options.tick_interval };
    tracing::info!(
        target: LOG,
        "TickIntervalOverride is set, overriding channel configuration tick interval to {}",
        GoDuration::from(tick)
    );
    tick
}

fn block(store: &BlockStore, number: BlockNumber) -> Result<Arc<Block>, OpenError> {
    store.block(number)?.ok_or_else(|| OpenError::Metadata(format!("block {number} is missing")))
}

fn last_block(store: &BlockStore) -> Result<Arc<Block>, OpenError> {
    let last = store.height().checked_sub(1).ok_or_else(|| OpenError::Metadata("there is no block".into()))?;
    block(store, BlockNumber::new(last))
}

fn consenters(tip: &Block, config: &ChannelConfig) -> Result<Consenters, OpenError> {
    let listed = raft_consenters(config).map_err(OpenError::Consensus)?;
    let recorded = consenter_metadata(tip).map_err(|error| OpenError::Metadata(error.to_string()))?;
    if recorded.is_empty() {
        return Ok(Consenters::initial(listed));
    }
    let metadata = etcdraft::BlockMetadata::decode(recorded).map_err(|error| OpenError::Metadata(error.to_string()))?;
    Consenters::restore(&metadata, listed).map_err(|error| OpenError::Metadata(error.to_string()))
}

/// The consenter whose TLS certificate has the public key of this node's.
pub(crate) fn own_number(consenters: &Consenters, certificate: &[u8]) -> Option<NodeId> {
    Members::of(consenters).by_server_certificate(certificate)
}

/// Whether a snapshot came from the leader and its blocks were not all fetched.
fn is_ahead(snapshot: &Snapshot, tip: &Block) -> bool {
    Block::parse(snapshot.data.clone()).is_ok_and(|block| block.number() > tip.number())
}

/// A channel without a log either is new, or its only consenter lost the log; then the blocks tell where to go on. Of
/// several consenters none may go on without: it could vote twice in a term, and has forgotten what it told the leader.
fn begin(wal: &mut Wal, recovered: Recovered, tip: &Block, consenters: &Consenters) -> Result<Recovered, OpenError> {
    if !recovered.is_missing() {
        return Ok(recovered);
    }
    let members = consenters.ids();
    let raft = if tip.number() == BlockNumber::GENESIS && recovered.raft.snapshot.is_none() {
        DurableState::found(&members)
    } else if members.len() == 1 {
        let recorded = consenter_metadata(tip).map_err(|error| OpenError::Metadata(error.to_string()))?;
        let metadata = etcdraft::BlockMetadata::decode(recorded).unwrap_or_default();
        // Old snapshots stay, and the newest one counts.
        let index = metadata.raft_index.max(recovered.raft.snapshot.map_or(1, |snapshot| snapshot.index));
        tracing::warn!(
            target: LOG,
            "The Raft log is missing; going on after block [{}], whose only consenter this node is",
            tip.number()
        );
        let data = tip.to_proto().encode_to_vec().into();
        DurableState {
            hard_state: HardState { term: 1, vote: 0, commit: index },
            snapshot: Some(Snapshot { index, term: 1, members, data }),
            entries: Vec::new(),
        }
    } else {
        return Err(OpenError::Consensus(
            "the Raft log is missing though the chain has blocks or the log a snapshot: restore the WAL directory, or give \
             this node a new certificate and add it to the channel anew"
                .into(),
        ));
    };
    wal.persist(&Persist {
        snapshot: raft.snapshot.clone(),
        entries: raft.entries.clone(),
        hard_state: Some(raft.hard_state),
        durable: true,
    })?;
    Ok(Recovered::begun(raft))
}

impl BlockSource for Channel {
    fn heights(&self) -> watch::Receiver<u64> {
        self.shared.store.heights()
    }

    fn block(&self, number: BlockNumber) -> Result<Arc<Block>, SourceError> {
        match self.shared.store.block(number) {
            Ok(Some(block)) => Ok(block),
            Ok(None) => Err(SourceError(format!("no such block number [{number}] in index"))),
            Err(error) => Err(SourceError(error.to_string())),
        }
    }

    fn config_sequence(&self) -> u64 {
        self.shared.config.load().sequence()
    }

    fn errored(&self) -> Option<watch::Receiver<bool>> {
        Some(self.shared.errored.subscribe())
    }

    /// Readers of the channel; while it is in maintenance, readers among the orderers only.
    fn authorize(&self, _form: BlockForm, request: &SignedData) -> Result<(), Refusal> {
        let config = self.shared.config.load();
        let maintenance = config.orderer().is_some_and(|orderer| orderer.state == ConsensusState::Maintenance);
        let policy = if maintenance { ORDERER_READERS } else { READERS };
        config
            .policies()
            .evaluate(policy, std::slice::from_ref(request), config.msps())
            .map_err(|refusal| Refusal(refusal.text(Reader::Member)))
    }
}

impl Channel {
    /// Whether consensus stopped after a failure.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }
}
