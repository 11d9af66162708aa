use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use ripstop_block_store::{BlockStore, BlockStoreOptions};
use ripstop_channel_config::ChannelConfig;
use ripstop_crypto::SigningIdentity;
use ripstop_deliver::{BlockSource, Channels, PullConfig};
use ripstop_operations::Metrics;
use ripstop_runtime::{TaskGroup, TaskKind};
use ripstop_transport::{ClientRoots, Keepalive};
use ripstop_types::{Block, BlockNumber, ChannelId, SignedData};
use tokio::sync::{mpsc, watch};

use crate::channel::{ARRIVAL_QUEUE, Channel, ORDER_QUEUE, Opened, Places, chains_directory, open, own_number};
use crate::config::{ClusterConfig, OrderingConfig};
use crate::error::{ChannelError, OpenError};
use crate::info::{ChannelInfo, ConsensusRelation, Status};
use crate::join::JoinBlock;
use crate::links::Links;
use crate::metrics::{BroadcastMetrics, ClusterMetrics, ConsensusMetrics, ParticipationMetrics};
use crate::produce::raft_consenters;
use crate::run::{Loop, unix_now};
use crate::wal::Wal;

const LOG: &str = "orderer.common.multichannel";
/// How long a channel's consensus may take to end its present step.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Directories of channels that are being removed begin with this, which no channel id does.
const REMOVING_PREFIX: &str = ".removing-";
/// Whom peers believe that a block is right.
const BLOCK_VALIDATION: &str = "/Channel/Orderer/BlockValidation";
/// Locked by the node that uses the directory of ledgers.
const LOCK_FILE: &str = "fileLock";

/// The channels that this node orders. Clones are the same.
#[derive(Clone)]
pub struct OrderingService {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: OrderingConfig,
    pub(crate) signer: SigningIdentity,
    pub(crate) broadcast: BroadcastMetrics,
    consensus: ConsensusMetrics,
    participation: ParticipationMetrics,
    pub(crate) cluster_metrics: ClusterMetrics,
    cluster: Arc<ClusterConfig>,
    tasks: TaskGroup,
    entries: RwLock<BTreeMap<ChannelId, Entry>>,
    config_changed: watch::Sender<u64>,
    /// For each listener that verifies its clients.
    roots: Vec<ClientRoots>,
    /// Held while this node runs.
    _lock: File,
}

enum Entry {
    Active {
        channel: Arc<Channel>,
        group: TaskGroup,
    },
    /// Its first files are being written.
    Joining,
    /// It cannot be opened; the log says why.
    Broken,
    Removing,
    RemovalFailed,
}

impl OrderingService {
    /// Opens all channels whose blocks are stored here and runs their consensus within `tasks`. A channel that cannot be
    /// opened is logged and shown as failed; the others go on.
    pub async fn open(
        config: OrderingConfig,
        signer: SigningIdentity,
        metrics: &Metrics,
        roots: Vec<ClientRoots>,
        tasks: TaskGroup,
    ) -> Result<Self, OpenError> {
        let lock = lock_directory(&config.ledger_directory)?;
        let stored = stored_channels(&config)?;
        let service = Self {
            inner: Arc::new(Inner {
                broadcast: BroadcastMetrics::new(metrics),
                consensus: ConsensusMetrics::new(metrics),
                participation: ParticipationMetrics::new(metrics),
                cluster_metrics: ClusterMetrics::new(metrics),
                cluster: Arc::new(config.cluster.clone()),
                config,
                signer,
                tasks,
                entries: RwLock::default(),
                config_changed: watch::Sender::new(0),
                roots,
                _lock: lock,
            }),
        };
        let count = stored.len();
        tracing::info!(
            target: LOG,
            "Registrar initializing without a system channel, number of application channels: {count}, with {count} consensus.Chain(s) and 0 follower.Chain(s)"
        );
        for id in stored {
            let entry = match service.activate(&id).await {
                Ok(entry) => entry,
                Err(error) => {
                    tracing::error!(target: LOG, "Channel {id} cannot be opened: {error}");
                    service.inner.participation.failed(id.as_str());
                    Entry::Broken
                }
            };
            service.inner.entries.write().insert(id, entry);
        }
        service.refresh_roots();
        service.follow_configurations();
        Ok(service)
    }

    /// Trusts the TLS authorities of a channel's organizations as soon as its configuration names them.
    fn follow_configurations(&self) {
        let mut changes = self.inner.config_changed.subscribe();
        let (service, tasks) = (self.clone(), self.inner.tasks.clone());
        let stopped = tasks.cancelled();
        tasks.spawn(TaskKind::Isolated, "client roots", async move {
            let mut stopped = std::pin::pin!(stopped);
            loop {
                tokio::select! {
                    () = &mut stopped => return Ok::<_, std::convert::Infallible>(()),
                    changed = changes.changed() => if changed.is_err() { return Ok(()) },
                }
                service.refresh_roots();
            }
        });
    }

    fn refresh_roots(&self) {
        let mut pems: Vec<Bytes> = Vec::new();
        for entry in self.inner.entries.read().values() {
            if let Entry::Active { channel, .. } = entry {
                pems.extend(channel.shared.config.load().tls_roots());
            }
        }
        for roots in &self.inner.roots {
            if let Err(error) = roots.replace_of_channels(pems.iter().cloned()) {
                tracing::error!(target: "orderer.common.server", "Failed updating trusted client roots, the previous ones stay: {error}");
            }
        }
    }

    pub(crate) fn channel(&self, id: &str) -> Option<Arc<Channel>> {
        let id = ChannelId::new(id).ok()?;
        match self.inner.entries.read().get(&id) {
            Some(Entry::Active { channel, .. }) => Some(Arc::clone(channel)),
            _ => None,
        }
    }

    /// A channel that this node serves, or why it does not.
    pub(crate) fn active(&self, id: &ChannelId) -> Result<Arc<Channel>, ChannelError> {
        match self.inner.entries.read().get(id) {
            Some(Entry::Active { channel, .. }) => Ok(Arc::clone(channel)),
            Some(Entry::Removing) => Err(ChannelError::PendingRemoval),
            Some(Entry::RemovalFailed) => Err(ChannelError::RemovalFailed),
            Some(Entry::Joining | Entry::Broken) | None => Err(ChannelError::NotFound),
        }
    }

    /// The channels this node takes part in, in order.
    pub fn list(&self) -> Vec<ChannelId> {
        self.inner.entries.read().keys().cloned().collect()
    }

    /// What this node does in a channel.
    pub fn info(&self, id: &ChannelId) -> Result<ChannelInfo, ChannelError> {
        let entries = self.inner.entries.read();
        let (status, height) = match entries.get(id).ok_or(ChannelError::NotFound)? {
            Entry::Active { channel, .. } if channel.has_failed() => (Status::Failed, channel.shared.store.height()),
            Entry::Active { channel, .. } => (Status::Active, channel.shared.store.height()),
            Entry::Broken | Entry::RemovalFailed => (Status::Failed, 0),
            Entry::Joining | Entry::Removing => (Status::Inactive, 0),
        };
        Ok(ChannelInfo::new(id, ConsensusRelation::Consenter, status, height))
    }

    /// A block: `newest`, `oldest`, `config`, or a number.
    pub fn fetch_block(&self, id: &ChannelId, which: &str) -> Result<Arc<Block>, ChannelError> {
        let channel = self.active(id)?;
        let refuse = |text: String| ChannelError::Refused(text);
        let read = |number: BlockNumber| channel.block(number).map_err(|error| refuse(error.to_string()));
        let newest = BlockNumber::new(channel.shared.store.height().saturating_sub(1));
        match which {
            "oldest" => read(BlockNumber::GENESIS),
            "newest" => read(newest),
            "config" => read(read(newest)?.metadata.last_config().map_err(|error| refuse(error.to_string()))?),
            number => {
                read(BlockNumber::new(number.parse().map_err(|_| refuse(format!("'{number}' is no block number")))?))
            }
        }
    }

    /// Joins a channel with its genesis block, as the consenter it names.
    pub async fn join(&self, join: JoinBlock) -> Result<ChannelInfo, ChannelError> {
        let service = self.clone();
        to_its_end(async move { service.take_part(join).await }).await
    }

    async fn take_part(&self, join: JoinBlock) -> Result<ChannelInfo, ChannelError> {
        let id = join.channel.clone();
        // The place is taken first, so that a second request for the same channel finds it taken.
        match self.inner.entries.write().entry(id.clone()) {
            std::collections::btree_map::Entry::Vacant(vacant) => vacant.insert(Entry::Joining),
            std::collections::btree_map::Entry::Occupied(occupied) => {
                return Err(match occupied.get() {
                    Entry::Active { .. } | Entry::Joining | Entry::Broken => ChannelError::Exists,
                    Entry::Removing => ChannelError::PendingRemoval,
                    Entry::RemovalFailed => ChannelError::RemovalFailed,
                });
            }
        };
        let joined = match self.check_membership(&join) {
            Ok(()) => self.begin_channel(join).await,
            Err(error) => Err(error),
        };
        match joined {
            Ok(entry) => {
                self.inner.entries.write().insert(id.clone(), entry);
            }
            Err(error) => {
                self.inner.entries.write().remove(&id);
                return Err(error);
            }
        }
        self.refresh_roots();
        let info = self.info(&id)?;
        tracing::info!(target: LOG, "Joining channel: {{{} {} {} {}}}", info.name, info.consensus_relation, info.status, info.height);
        Ok(info)
    }

    fn check_membership(&self, join: &JoinBlock) -> Result<(), ChannelError> {
        let refuse = |text: String| Err(ChannelError::Refused(text));
        let listed = raft_consenters(&join.config).map_err(|reason| {
            ChannelError::Refused(format!(
                "failed to determine cluster membership from join-block: failed to validate config metadata of ordering config: {reason}"
            ))
        })?;
        let consenters = ripstop_raft::Consenters::initial(listed);
        let number = join.block.number();
        if number != BlockNumber::GENESIS {
            return refuse(format!(
                "this orderer can join a channel only with its genesis block yet, not with block {number}: fetching the blocks before it from other orderers comes later"
            ));
        }
        if own_number(&consenters, &self.inner.config.server.leaf()).is_none() {
            return refuse(
                "this orderer's TLS certificate (General.TLS.Certificate) is that of none of the channel's consenters; following a channel without being a consenter is not possible yet: name this orderer in the consenters of the channel's configuration".into(),
            );
        }
        let probe = Bytes::from_static(b"may this identity sign blocks?");
        let signature = self.inner.signer.sign(&probe).map_err(|error| ChannelError::Refused(error.to_string()))?;
        let signed = SignedData { identity: self.inner.signer.identity().raw.clone(), message: probe, signature };
        let (policies, msps) = (join.config.policies(), join.config.msps());
        if let Err(refusal) = policies.evaluate(BLOCK_VALIDATION, &[signed], msps) {
            return refuse(format!(
                "nobody would accept blocks signed by this orderer (General.LocalMSPID, General.LocalMSPDir): {refusal}"
            ));
        }
        Ok(())
    }

    async fn begin_channel(&self, join: JoinBlock) -> Result<Entry, ChannelError> {
        let id = join.channel.clone();
        let places = Places::new(&self.inner.config, &id);
        let write = move || {
            // Nothing refers to what an earlier, incomplete attempt may have left.
            remove_files(&places).map_err(|error| error.to_string())?;
            let store = BlockStore::open(&places.blocks, BlockStoreOptions::default()).map_err(|e| e.to_string())?;
            store
                .append(Arc::new(join.block))
                .map_err(|error| format!("failed to append join block to the ledger: {error}"))
        };
        let written = tokio::task::spawn_blocking(write).await;
        written.unwrap_or_else(|error| Err(error.to_string())).map_err(ChannelError::Refused)?;
        let activated = self.activate(&id).await;
        if activated.is_err() {
            remove_files(&Places::new(&self.inner.config, &id)).ok();
        }
        let entry = activated.map_err(|error| ChannelError::Refused(error.to_string()))?;
        tracing::info!(target: LOG, "Created and started new channel {id}");
        Ok(entry)
    }

    /// Opens a channel, lets its consensus take its first step, and runs it.
    async fn activate(&self, id: &ChannelId) -> Result<Entry, OpenError> {
        let inner = Arc::clone(&self.inner);
        let channel_id = id.clone();
        let prepare = move || {
            let changed = inner.config_changed.clone();
            let mut opened = open(&inner.config, &channel_id, inner.signer.clone(), inner.consensus.clone(), changed)?;
            opened.consensus.step(Vec::new(), unix_now()).map_err(|fault| OpenError::Consensus(fault.to_string()))?;
            Ok::<_, OpenError>(opened)
        };
        let Opened { shared, consensus, node, tick } = tokio::task::spawn_blocking(prepare)
            .await
            .unwrap_or_else(|error| Err(OpenError::Consensus(error.to_string())))?;
        let (order_sender, orders) = mpsc::channel(ORDER_QUEUE);
        let (arrival_sender, arrivals) = mpsc::channel(ARRIVAL_QUEUE);
        let group = self.inner.tasks.child("channel");
        let participation = self.inner.participation.clone();
        participation.consenter(id.as_str());
        let (cluster, metrics) = (Arc::clone(&self.inner.cluster), self.inner.cluster_metrics.clone());
        let (links, reports) = Links::new(Arc::clone(&shared), node, cluster, metrics, group.clone());
        let drive = Loop {
            shared: Arc::clone(&shared),
            orders,
            arrivals,
            links,
            reports,
            pull: self.pull_config(),
            tick,
            group: group.clone(),
            participation,
        };
        group.spawn(TaskKind::Isolated, "consensus", drive.run(consensus));
        let channel = Channel { shared, orders: order_sender, arrivals: arrival_sender };
        Ok(Entry::Active { channel: Arc::new(channel), group })
    }

    /// How blocks are fetched from other orderers.
    fn pull_config(&self) -> PullConfig {
        let cluster = &self.inner.cluster;
        PullConfig {
            signer: self.inner.signer.clone(),
            tls: Some(cluster.key_pair.clone()),
            connect_timeout: cluster.dial_timeout,
            keepalive: Keepalive::default(),
            messages: cluster.messages,
            max_pause: cluster.retry_pause,
            silence: Some(cluster.pull_timeout),
            time_shift: cluster.time_shift,
        }
    }

    /// Leaves a channel and removes its files.
    pub async fn remove(&self, id: &ChannelId) -> Result<(), ChannelError> {
        let (service, id) = (self.clone(), id.clone());
        to_its_end(async move { service.leave(&id).await }).await
    }

    async fn leave(&self, id: &ChannelId) -> Result<(), ChannelError> {
        let removed = {
            let mut entries = self.inner.entries.write();
            match entries.get(id) {
                None => return Err(ChannelError::NotFound),
                Some(Entry::Removing) => return Err(ChannelError::PendingRemoval),
                Some(Entry::Joining) => {
                    let text = "the channel is being joined right now; remove it when that is done";
                    return Err(ChannelError::Refused(text.into()));
                }
                Some(Entry::Active { .. } | Entry::Broken | Entry::RemovalFailed) => {}
            }
            entries.insert(id.clone(), Entry::Removing)
        };
        if let Some(Entry::Active { group, channel }) = removed {
            let ended = group.close(STOP_PATIENCE).await;
            // Readers that wait for blocks learn that none will come.
            channel.shared.errored.send_replace(true);
            if !ended {
                tracing::error!(target: LOG, "Channel {id} did not stop within {STOP_PATIENCE:?}; its files stay as they are, remove it again later");
                channel.shared.failed.store(true, Ordering::Relaxed);
                // Kept, so that the next attempt waits for its end too.
                self.inner.entries.write().insert(id.clone(), Entry::Active { channel, group });
                return Err(ChannelError::RemovalFailed);
            }
        }
        let places = Places::new(&self.inner.config, id);
        let outcome = tokio::task::spawn_blocking(move || remove_files(&places)).await;
        let outcome = outcome.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        if let Err(error) = outcome {
            tracing::error!(target: LOG, "ledger factory failed to remove ledger '{id}', error: {error}");
            self.inner.entries.write().insert(id.clone(), Entry::RemovalFailed);
            return Err(ChannelError::RemovalFailed);
        }
        self.inner.entries.write().remove(id);
        self.inner.participation.removed(id.as_str());
        self.refresh_roots();
        tracing::info!(target: LOG, "Removed channel: {id}");
        Ok(())
    }

    /// The configuration in force of a channel, for those who show it.
    pub fn configuration(&self, id: &ChannelId) -> Option<Arc<ChannelConfig>> {
        self.channel(id.as_str()).map(|channel| channel.shared.config.load_full())
    }
}

impl Channels for OrderingService {
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>> {
        self.channel(channel).map(|channel| channel as Arc<dyn BlockSource>)
    }
}

/// Goes on with work although whoever asked for it is gone: half done, it would hold the channel's place for ever.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ChannelError>> + Send + 'static,
) -> Result<T, ChannelError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(ChannelError::Refused(error.to_string())))
}

/// Makes sure that no other process writes the same ledgers. The operating system releases the lock when this one ends.
fn lock_directory(directory: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Directory { path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let file = File::create(directory.join(LOCK_FILE)).map_err(failed)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| OpenError::InUse(directory.to_owned()))?;
    Ok(file)
}

/// The channels whose blocks are stored. Leftovers of joins and removals that a crash interrupted are removed.
fn stored_channels(config: &OrderingConfig) -> Result<Vec<ChannelId>, OpenError> {
    let directory = chains_directory(config);
    let failed = |source| OpenError::Directory { path: directory.clone(), source };
    std::fs::create_dir_all(&directory).map_err(failed)?;
    let mut stored = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with(REMOVING_PREFIX) {
            std::fs::remove_dir_all(&path).map_err(failed)?;
            continue;
        }
        let Ok(id) = ChannelId::new(name) else { continue };
        if BlockStore::open(&path, BlockStoreOptions::default())?.height() == 0 {
            tracing::warn!(target: LOG, "Removing the empty ledger of channel {id}: joining it was interrupted, join it again");
            remove_files(&Places::new(config, &id)).map_err(failed)?;
            continue;
        }
        stored.push(id);
    }
    stored.sort();
    Ok(stored)
}

/// Removes a channel's files. The blocks go first and at once, because a channel exists while its blocks do.
fn remove_files(places: &Places) -> std::io::Result<()> {
    if let (Some(parent), Some(name)) =
        (places.blocks.parent(), places.blocks.file_name().and_then(|name| name.to_str()))
    {
        let aside = parent.join(format!("{REMOVING_PREFIX}{name}"));
        remove_directory(&aside)?;
        match std::fs::rename(&places.blocks, &aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        remove_directory(&aside)?;
    }
    Wal::remove(&places.wal, &places.snapshots).map_err(std::io::Error::other)
}

fn remove_directory(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
