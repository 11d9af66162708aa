use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ripstop_gossip::{ChannelMember, PkiId, View};
use ripstop_gossip_service::Gossip;
use ripstop_ledger::{Ledger, StateError, TransientKey};
use ripstop_lifecycle::{CommittedCollections, implicit_collection_org};
use ripstop_operations::Metrics;
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_sharing::{Audience, Inbox, PeerCounts};
use ripstop_types::{ChannelId, MspId, TxId};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::serve::Serving;
use crate::{Neighbours, PrivateDataConfig, PrivateDataMetrics};

/// How many messages with private data may be on their way at once, in all channels. What does not fit counts as not
/// acknowledged.
const MAX_SENDING: usize = 1024;

/// How long a peer that did not answer is left alone when a block is committed.
const SILENCE: Duration = Duration::from_secs(60);

/// How often in a row a peer may fail to answer before it is left alone.
const MAX_FAILURES: u32 = 2;

/// How many peers that did not answer are remembered. When there are more, all are forgotten.
const MAX_SILENT: usize = 1024;

/// The sharing of private data of one peer. Clones are the same.
#[derive(Clone)]
pub struct PrivateDataService {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) neighbours: Arc<dyn Neighbours>,
    pub(crate) organization: MspId,
    pub(crate) config: PrivateDataConfig,
    pub(crate) metrics: PrivateDataMetrics,
    pub(crate) sending: Arc<Semaphore>,
    channels: Mutex<HashMap<ChannelId, ChannelPrivateData>>,
}

impl PrivateDataService {
    /// That of a peer of this organization among these neighbours.
    pub fn new(
        neighbours: Arc<dyn Neighbours>,
        organization: MspId,
        config: PrivateDataConfig,
        metrics: PrivateDataMetrics,
    ) -> Self {
        let sending = Arc::new(Semaphore::new(MAX_SENDING));
        let shared = Shared { neighbours, organization, config, metrics, sending, channels: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// That of a peer that meets no other one, for tests of what uses it.
    pub fn alone(organization: MspId) -> Self {
        let metrics = PrivateDataMetrics::new(&Metrics::new());
        Self::new(Arc::new(Gossip::alone()), organization, PrivateDataConfig::default(), metrics)
    }

    /// That of one channel; whoever asks for the same ledger gets the same.
    pub fn channel(&self, ledger: &Arc<Ledger>) -> ChannelPrivateData {
        let mut channels = self.shared.channels.lock();
        let known = channels.get(ledger.channel_id()).filter(|known| Arc::ptr_eq(&known.inner.ledger, ledger));
        if let Some(known) = known {
            return known.clone();
        }
        let inner = Inner {
            shared: Arc::clone(&self.shared),
            ledger: Arc::clone(ledger),
            inbox: Mutex::default(),
            complaints: Complaints::default(),
            silent: Mutex::default(),
            serving: Serving::default(),
        };
        let channel = ChannelPrivateData { inner: Arc::new(inner) };
        channels.insert(ledger.channel_id().clone(), channel.clone());
        channel
    }
}

/// The sharing of private data of one channel. Clones are the same.
#[derive(Clone)]
pub struct ChannelPrivateData {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ledger: Arc<Ledger>,
    /// What others sent for transactions that are not committed yet.
    pub(crate) inbox: Mutex<Sent>,
    pub(crate) complaints: Complaints,
    /// Who did not answer: how often in a row, and when last.
    silent: Mutex<HashMap<PkiId, (u32, Instant)>>,
    pub(crate) serving: Serving,
}

/// What others sent.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) sets: Inbox<TransientKey>,
    /// Whether what was sent before this process began is counted.
    pub(crate) is_complete: bool,
}

/// How often it is written to the log that something another peer sent is not kept: whoever sends much of it shall not fill the
/// disk with lines.
#[derive(Default)]
pub(crate) struct Complaints(Mutex<(u32, Option<Instant>)>);

/// So many lines are written in [`COMPLAINTS_TIME`] at most.
const COMPLAINTS: u32 = 20;
const COMPLAINTS_TIME: Duration = Duration::from_secs(10);

impl Complaints {
    /// Whether one more line may be written.
    pub(crate) fn may_write(&self) -> bool {
        let (written, since) = &mut *self.0.lock();
        if since.is_none_or(|since| since.elapsed() >= COMPLAINTS_TIME) {
            (*written, *since) = (0, Some(Instant::now()));
        }
        *written = written.saturating_add(1);
        *written <= COMPLAINTS
    }
}

impl ChannelPrivateData {
    /// How private data is shared.
    pub fn config(&self) -> &PrivateDataConfig {
        &self.inner.shared.config
    }

    /// What is measured.
    pub fn metrics(&self) -> &PrivateDataMetrics {
        &self.inner.shared.metrics
    }

    /// Transactions are committed: what waited for them makes room.
    pub fn committed(&self, transactions: &[TxId]) {
        let mut inbox = self.inner.inbox.lock();
        transactions.iter().for_each(|tx_id| inbox.sets.forget(tx_id));
    }
}

impl Inner {
    pub(crate) fn channel(&self) -> &str {
        self.ledger.channel_id().as_str()
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.shared.neighbours.views().borrow())
    }

    /// The other members of the channel.
    pub(crate) fn others<'a>(&self, view: &'a View) -> impl Iterator<Item = &'a ChannelMember> + use<'a> {
        let me = view.me.as_ref().map(|me| me.member.pki_id.clone());
        let members = view.channels.get(self.ledger.channel_id()).into_iter().flatten();
        members.filter(move |(peer, _)| Some(*peer) != me.as_ref()).map(|(_, member)| member)
    }

    /// The configuration of a collection as this peer uses it: it is this peer's settings that say who gets values of its
    /// organization's own implicit collection (Fabric: `GenerateImplicitCollectionForOrg`).
    pub(crate) fn adjusted(&self, mut config: StaticCollectionConfig) -> StaticCollectionConfig {
        if implicit_collection_org(&config.name).is_some_and(|organization| organization == self.shared.organization) {
            let PeerCounts { required, maximum } = self.shared.config.implicit;
            let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
            (config.required_peer_count, config.maximum_peer_count) = (count(required), count(maximum));
        }
        config
    }

    /// A collection as it is defined now; `None` where there is none, or its policy makes no sense.
    pub(crate) fn audience(&self, namespace: &str, collection: &str) -> Result<Option<Defined>, StateError> {
        let (state, channel) = (self.ledger.snapshot(), self.ledger.config());
        let Some(config) =
            CommittedCollections::of(&*state).find(namespace, collection)?.map(|found| found.into_owned())
        else {
            return Ok(None);
        };
        let block_to_live = config.block_to_live;
        Ok(Audience::of(&config, channel.msps()).ok().map(|audience| Defined { audience, block_to_live }))
    }

    /// A peer answered, or did not.
    pub(crate) fn note_answer(&self, peer: &PkiId, answer: Answer) {
        let mut silent = self.silent.lock();
        match answer {
            Answer::Given => {
                silent.remove(peer);
            }
            Answer::Missing => {
                if silent.len() >= MAX_SILENT {
                    silent.clear();
                }
                let (failures, last) = silent.entry(peer.clone()).or_insert((0, Instant::now()));
                *failures += 1;
                *last = Instant::now();
            }
        }
    }

    /// Whether a block may wait for this peer.
    pub(crate) fn is_worth_waiting_for(&self, peer: &PkiId) -> bool {
        let silent = self.silent.lock();
        silent.get(peer).is_none_or(|(failures, last)| *failures < MAX_FAILURES || last.elapsed() >= SILENCE)
    }
}

/// A collection's members, and how long its values live.
pub(crate) struct Defined {
    pub(crate) audience: Audience,
    pub(crate) block_to_live: u64,
}

/// Whether a peer answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Given,
    Missing,
}
