use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ripstop_gossip::{PkiId, PrivateDigest, PrivateElement, View};
use ripstop_ledger::{Absence, PrivatePlace, PrivateSet, PrivateStoreError, ReconcileError, RejectedSet, StateError};
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_rwset::ReceivedSets;
use ripstop_sharing::{Audience, Wanted, expected_to_keep};
use ripstop_types::BlockNumber;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::channel::Inner;
use crate::definitions::definitions;
use crate::fetch::{Acceptance, MAX_PAYLOADS, Persistence, parse};
use crate::{ChannelPrivateData, Reconciliation};

/// How long looking for one batch may take.
const BATCH_PATIENCE: Duration = Duration::from_secs(60);

/// How soon after the last search another one may begin because a peer came that was not there before.
const EAGER_REST: Duration = Duration::from_secs(5);

/// How long to wait for others that come with a peer.
const SETTLING: Duration = Duration::from_secs(1);

/// Why a search for missed private data ended early.
#[derive(Debug, thiserror::Error)]
enum ReconcileFault {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] PrivateStoreError),
    #[error(transparent)]
    Ledger(#[from] ReconcileError),
    #[error("a task panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Why a rest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    Rested,
    SomebodyCame,
}

/// What a search brought.
#[derive(Debug, Default)]
struct Harvest {
    reconciled: usize,
    /// The oldest and the newest block that something was missed of.
    blocks: Option<(BlockNumber, BlockNumber)>,
}

impl ChannelPrivateData {
    /// Looks for what is missed, again and again: after each rest, and soon after a peer came that was not there before.
    /// What nobody had is looked for more rarely.
    pub(crate) async fn reconcile_forever(&self, settings: Reconciliation) {
        let inner = &self.inner;
        let mut views = inner.shared.neighbours.views();
        let mut there = inner.members();
        let (mut retry_at, mut retried) = (Instant::now() + settings.retry, Instant::now());
        loop {
            if rest(inner, &mut views, &mut there, settings.rest).await == Woken::SomebodyCame {
                // Who comes may have what nobody had, but whoever comes and goes all the time is not asked all the time.
                retry_at = retry_at.min(retried + settings.rest);
            }
            let began = Instant::now();
            tracing::debug!(target: "gossip.privdata", channel = inner.channel(), "Start reconcile missing private info");
            let mut ended = inner.reconcile(Absence::Missing, settings).await;
            if ended.is_ok() && Instant::now() >= retry_at {
                (retry_at, retried) = (began + settings.retry, began);
                ended = match (ended, inner.reconcile(Absence::NotFound, settings).await) {
                    (Ok(first), Ok(second)) => Ok(first.and(second)),
                    (_, failed) => failed,
                };
            }
            self.metrics().reconciled(inner.channel(), began.elapsed());
            match ended {
                Ok(Harvest { reconciled, blocks: Some((oldest, newest)) }) if reconciled > 0 => {
                    tracing::info!(target: "gossip.privdata", channel = inner.channel(), "Reconciliation cycle finished successfully. reconciled {reconciled} private data keys from blocks range [{oldest} - {newest}]");
                }
                Ok(_) => {
                    tracing::debug!(target: "gossip.privdata", channel = inner.channel(), "Reconciliation cycle finished successfully. no items to reconcile");
                }
                Err(error) => {
                    tracing::error!(target: "gossip.privdata", channel = inner.channel(), "Failed to reconcile missing private info, error: {error}");
                }
            }
        }
    }
}

/// Rests, but not long after a peer came that was not there a moment before. `there` is who was. Says whether one came. However
/// many come, and however often, none of them makes the rest longer.
async fn rest(
    inner: &Inner,
    views: &mut watch::Receiver<Arc<View>>,
    there: &mut BTreeSet<PkiId>,
    rest: Duration,
) -> Woken {
    let began = Instant::now();
    let (mut until, mut woken) = (began + rest, Woken::Rested);
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(until) => return woken,
            changed = views.changed() => {
                if changed.is_err() {
                    tokio::time::sleep_until(until).await;
                    return woken;
                }
                let before = std::mem::replace(there, inner.members());
                if !there.is_subset(&before) {
                    until = until.min((began + EAGER_REST).max(Instant::now() + SETTLING));
                    woken = Woken::SomebodyCame;
                }
            }
        }
    }
}

impl Harvest {
    fn and(self, other: Self) -> Self {
        let blocks = match (self.blocks, other.blocks) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        Self { reconciled: self.reconciled + other.reconciled, blocks }
    }
}

impl Inner {
    /// Who else is in the channel.
    pub(crate) fn members(&self) -> BTreeSet<PkiId> {
        self.others(&self.view()).map(|member| member.peer.member.pki_id.clone()).collect()
    }

    /// Looks once for all that is missed for a reason, from the newest block on.
    async fn reconcile(
        self: &Arc<Self>,
        absence: Absence,
        settings: Reconciliation,
    ) -> Result<Harvest, ReconcileFault> {
        let (mut newest, mut harvest) = (BlockNumber::new(u64::MAX), Harvest::default());
        loop {
            if self.others(&self.view()).next().is_none() {
                return Ok(harvest);
            }
            let (ledger, blocks) = (Arc::clone(&self.ledger), settings.blocks.get());
            let missed =
                tokio::task::spawn_blocking(move || ledger.missing_private_data(absence, newest, blocks)).await??;
            let (Some(first), Some(last)) = (missed.first(), missed.last()) else { return Ok(harvest) };
            let (oldest, range) = (last.block, (last.block, first.block));
            let reconciled = self.reconcile_batch(&missed).await?;
            harvest = harvest.and(Harvest { reconciled, blocks: Some(range) });
            match oldest.get().checked_sub(1) {
                Some(next) => newest = BlockNumber::new(next),
                None => return Ok(harvest),
            }
        }
    }

    /// Looks for some sets; says how many were found. What somebody was asked for in vain waits behind the rest from now on.
    async fn reconcile_batch(self: &Arc<Self>, missed: &[PrivatePlace]) -> Result<usize, ReconcileFault> {
        let wanted = self.wanted_late(missed)?;
        let mut arrivals = Arrivals { inner: Arc::clone(self), reconciled: 0, failed: None };
        let deadline = Instant::now() + BATCH_PATIENCE;
        let search = self.search(wanted, deadline, Persistence::AskOnce, &mut arrivals).await;
        if let Some(error) = arrivals.failed {
            return Err(error);
        }
        let not_found: Vec<PrivatePlace> = search.denied().map(place).collect();
        if !not_found.is_empty() {
            let ledger = Arc::clone(&self.ledger);
            tokio::task::spawn_blocking(move || ledger.accept_private_data(vec![], &not_found)).await??;
        }
        Ok(arrivals.reconciled)
    }

    /// Who may be asked for sets of old blocks: first those that belonged to the collection already when they were written, even
    /// if they do not any more, then those that belong to it now (Fabric asks the latter only, `computeReconciliationFilters`).
    fn wanted_late(&self, missed: &[PrivatePlace]) -> Result<Vec<Wanted>, StateError> {
        let mut known: BTreeMap<(BlockNumber, &str, &str), Askable> = BTreeMap::new();
        let mut wanted = Vec::new();
        for place in missed {
            let PrivatePlace { block, tx, namespace, collection } = place;
            let name = (*block, namespace.as_str(), collection.as_str());
            let askable = match known.entry(name) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(self.askable(*block, namespace, collection)?),
            };
            let (namespace, collection) = (namespace.clone(), collection.clone());
            let digest = PrivateDigest { tx_id: String::new(), namespace, collection, block: block.get(), tx: *tx };
            wanted.push(Wanted { digest, preferred: askable.then.clone(), others: askable.now.clone() });
        }
        Ok(wanted)
    }

    fn askable(&self, block: BlockNumber, namespace: &str, collection: &str) -> Result<Askable, StateError> {
        let (state, channel, view) = (self.ledger.snapshot(), self.ledger.config(), self.view());
        let definitions = definitions(&state, block, namespace, collection)?;
        let lifetime = definitions.now.as_ref().or(definitions.then.as_ref()).map(|config| config.block_to_live);
        let margin = self.shared.config.pull_margin;
        let admitted = |config: &Option<StaticCollectionConfig>| -> Vec<PkiId> {
            let Some(audience) = config.as_ref().and_then(|config| Audience::of(config, channel.msps()).ok()) else {
                return Vec::new();
            };
            self.others(&view)
                .filter(|member| {
                    expected_to_keep(member.height, block.get(), lifetime.unwrap_or_default(), margin)
                        && audience.admits_member(member, channel.msps())
                })
                .map(|member| member.peer.member.pki_id.clone())
                .collect()
        };
        Ok(Askable { then: admitted(&definitions.then), now: admitted(&definitions.now) })
    }

    /// Gives the ledger what came; says what of it is proven.
    async fn accept(self: &Arc<Self>, elements: Vec<PrivateElement>) -> Result<Vec<PrivateDigest>, ReconcileFault> {
        let (mut sets, mut offered): (Vec<PrivateSet>, BTreeMap<PrivatePlace, (PrivateDigest, usize)>) =
            Default::default();
        let mut unproven = ReceivedSets::default();
        for PrivateElement { digest, payload } in elements {
            let place = place(&digest);
            let parsed: Vec<PrivateSet> =
                payload.into_iter().take(MAX_PAYLOADS).filter_map(|raw| parse(&place, raw, &mut unproven)).collect();
            offered.insert(place, (digest, parsed.len()));
            sets.extend(parsed);
        }
        if sets.is_empty() {
            return Ok(Vec::new());
        }
        let ledger = Arc::clone(&self.ledger);
        let rejected = tokio::task::spawn_blocking(move || ledger.accept_private_data(sets, &[])).await??;
        for RejectedSet { place, reason } in rejected {
            let PrivatePlace { block, tx, namespace, collection } = &place;
            tracing::warn!(target: "gossip.privdata", channel = self.channel(), "failed to reconcile pvtdata chaincode {namespace}, collection {collection}, block num {block}, tx num {tx} due to hash mismatch or partially available bootKVs: {reason}");
            if let Some((_, left)) = offered.get_mut(&place) {
                *left = left.saturating_sub(1);
            }
        }
        Ok(offered.into_values().filter(|(_, left)| *left > 0).map(|(digest, _)| digest).collect())
    }
}

/// Gives the ledger what arrives after its block.
struct Arrivals {
    inner: Arc<Inner>,
    reconciled: usize,
    failed: Option<ReconcileFault>,
}

impl Acceptance for Arrivals {
    async fn accept(&mut self, elements: Vec<PrivateElement>) -> Vec<PrivateDigest> {
        match self.inner.accept(elements).await {
            Ok(proven) => {
                self.reconciled += proven.len();
                proven
            }
            Err(error) => {
                self.failed = Some(error);
                Vec::new()
            }
        }
    }
}

/// Who may be asked for a set.
struct Askable {
    then: Vec<PkiId>,
    now: Vec<PkiId>,
}

fn place(digest: &PrivateDigest) -> PrivatePlace {
    let PrivateDigest { namespace, collection, block, tx, .. } = digest.clone();
    PrivatePlace { block: BlockNumber::new(block), tx, namespace, collection }
}
