use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use ripstop_gossip::{Contact, PrivateDigest, PrivateElement};
use ripstop_ledger::{PrivateStoreError, StateError, TransientSet};
use ripstop_lifecycle::explicit_collections;
use ripstop_proto::gossip::PvtDataPayload;
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_sharing::{Audience, FULL_ANSWER, signed_handshake};
use ripstop_types::{BlockNumber, MspId, SignedData, TxId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::channel::Inner;
use crate::definitions::definitions;
use crate::fetch::MAX_PAYLOADS;

/// How many digests of one request are looked at. What is behind them is not there, as far as the asking peer learns.
const MAX_SERVED: usize = 10_000;

/// Of how many blocks a request may ask for sets. What is behind them is not there either.
const MAX_SERVED_BLOCKS: usize = 1_000;

/// Of how many blocks that this peer does not have yet. An honest peer asks for sets of the one it commits.
const MAX_FUTURE_BLOCKS: usize = 4;

/// How many bytes of values one answer holds; below what a message of gossip may have.
const MAX_SERVED_BYTES: usize = 2 * FULL_ANSWER;

/// How many requests of one organization are answered at once.
const AT_ONCE: usize = 2;

/// How many requests of one organization may wait for that. Others are not answered.
const MAX_WAITING: usize = 32;

/// Requests that are being answered, by the organization that asks.
#[derive(Debug, Default)]
pub(crate) struct Serving(Mutex<HashMap<MspId, Arc<Turns>>>);

#[derive(Debug)]
struct Turns {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// Why nothing is answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] PrivateStoreError),
}

impl Serving {
    /// A place for the next request of an organization; `None` when too many wait.
    pub(crate) fn admit(&self, organization: &MspId) -> Option<Admitted> {
        let mut all = self.0.lock();
        all.retain(|_, turns| turns.admitted.available_permits() < AT_ONCE + MAX_WAITING);
        let turns = Arc::clone(all.entry(organization.clone()).or_insert_with(|| {
            let [admitted, running] = [AT_ONCE + MAX_WAITING, AT_ONCE].map(|count| Arc::new(Semaphore::new(count)));
            Arc::new(Turns { admitted, running })
        }));
        let place = Arc::clone(&turns.admitted).try_acquire_owned().ok()?;
        Some(Admitted { running: Arc::clone(&turns.running), _place: place })
    }
}

/// A request that has a place.
#[derive(Debug)]
pub(crate) struct Admitted {
    running: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

/// It is a request's turn, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _running: Option<OwnedSemaphorePermit>,
    _admitted: Admitted,
}

impl Admitted {
    /// Waits for the request's turn.
    pub(crate) async fn turn(self) -> Turn {
        let running = Arc::clone(&self.running).acquire_owned().await.ok();
        Turn { _running: running, _admitted: self }
    }
}

/// What a request is about, and whether the peer that asks may have it.
struct Entitlements<'a> {
    inner: &'a Inner,
    asking: SignedData,
    known: BTreeMap<(u64, String, String), bool>,
    /// Of the definition that came along last with what is asked for: mostly the next one is the same, and each answer takes the
    /// verification of a signature.
    came_along: RefCell<Option<(StaticCollectionConfig, bool)>>,
}

impl Entitlements<'_> {
    /// Whether the peer belongs to the collection, as it was defined for the block or is now.
    fn include(&mut self, block: u64, namespace: &str, collection: &str) -> Result<bool, StateError> {
        let name = (block, namespace.to_owned(), collection.to_owned());
        if let Some(known) = self.known.get(&name) {
            return Ok(*known);
        }
        let (state, channel) = (self.inner.ledger.snapshot(), self.inner.ledger.config());
        let definitions = definitions(&state, BlockNumber::new(block), namespace, collection)?;
        let entitled = definitions.entitle(&self.asking, channel.msps());
        self.known.insert(name, entitled);
        Ok(entitled)
    }

    /// Whether the peer may have what is not committed yet: by the definition that came with it, too. This peer's ledger may lag
    /// behind the one of whoever endorsed it, and hold to a definition that admits more (Fabric: `fromTransientStore`).
    fn include_endorsed(&self, digest: &PrivateDigest, set: &TransientSet) -> bool {
        let mut sent = set.definitions.get(&digest.namespace).into_iter().flat_map(explicit_collections);
        let Some(sent) = sent.find(|sent| sent.name == digest.collection) else { return true };
        let mut came_along = self.came_along.borrow_mut();
        if let Some((_, admitted)) = came_along.as_ref().filter(|(known, _)| known == sent) {
            return *admitted;
        }
        let config = self.inner.ledger.config();
        let audience = Audience::of(sent, config.msps());
        let admitted = audience.is_ok_and(|audience| audience.admits(&self.asking, config.msps()));
        *came_along = Some((sent.clone(), admitted));
        admitted
    }
}

impl Inner {
    fn entitlements(&self, asking: &Contact) -> Entitlements<'_> {
        Entitlements {
            inner: self,
            asking: signed_handshake(asking),
            known: BTreeMap::new(),
            came_along: RefCell::default(),
        }
    }

    /// What a peer may have of what it asks for and is here. Blocks.
    pub(crate) fn serve(
        &self,
        asking: &Contact,
        digests: Vec<PrivateDigest>,
    ) -> Result<Vec<PrivateElement>, ServeError> {
        let began = Instant::now();
        let mut entitlements = self.entitlements(asking);
        let mut blocks: BTreeMap<u64, Vec<PrivateDigest>> = BTreeMap::new();
        for digest in digests.into_iter().take(MAX_SERVED) {
            if entitlements.include(digest.block, &digest.namespace, &digest.collection)? {
                blocks.entry(digest.block).or_default().push(digest);
            } else {
                tracing::debug!(target: "gossip.privdata", channel = self.channel(), "Peer {asking:?} isn't eligible for txID {} at collection {}", digest.tx_id, digest.collection);
            }
        }
        let (mut elements, mut left, mut last) = (Vec::new(), MAX_SERVED_BYTES, None);
        let mut future = blocks.split_off(&self.ledger.height());
        let future = std::iter::from_fn(|| future.pop_first()).take(MAX_FUTURE_BLOCKS);
        for (block, mut digests) in blocks.into_iter().take(MAX_SERVED_BLOCKS).chain(future) {
            digests.sort();
            digests.dedup();
            for (digest, payload) in self.read(BlockNumber::new(block), digests, &entitlements, &mut last)? {
                let bytes: usize = payload.iter().map(Bytes::len).sum();
                if payload.is_empty() || bytes > left {
                    continue;
                }
                left -= bytes;
                elements.push(PrivateElement { digest, payload });
            }
        }
        self.shared.metrics.retrieved(self.channel(), began.elapsed());
        Ok(elements)
    }

    /// Reads what is kept of a block, or of endorsements when it is not committed yet.
    fn read(
        &self,
        block: BlockNumber,
        digests: Vec<PrivateDigest>,
        entitlements: &Entitlements<'_>,
        last: &mut Option<(String, Vec<TransientSet>)>,
    ) -> Result<Vec<(PrivateDigest, Vec<Bytes>)>, PrivateStoreError> {
        if block.get() < self.ledger.height() {
            return self.read_committed(block, digests);
        }
        let (mut found, mut missed) = (Vec::with_capacity(digests.len()), Vec::new());
        for digest in digests {
            // Whoever names one transaction many times, at blocks that nobody knows yet, has it read once.
            if last.as_ref().is_none_or(|(tx_id, _)| *tx_id != digest.tx_id) {
                *last = Some((digest.tx_id.clone(), self.ledger.transient().get(&TxId::new(&digest.tx_id))?));
            }
            let sets = last.as_ref().map(|(_, sets)| sets.as_slice()).unwrap_or_default();
            match endorsed(&digest, sets, entitlements) {
                payload if payload.is_empty() => missed.push(digest),
                payload => found.push((digest, payload)),
            }
        }
        // It may have been committed meanwhile, and what was endorsed forgotten.
        if !missed.is_empty() && block.get() < self.ledger.height() {
            found.extend(self.read_committed(block, missed)?);
        }
        Ok(found)
    }

    fn read_committed(
        &self,
        block: BlockNumber,
        digests: Vec<PrivateDigest>,
    ) -> Result<Vec<(PrivateDigest, Vec<Bytes>)>, PrivateStoreError> {
        let asked: BTreeSet<(&str, &str)> =
            digests.iter().map(|digest| (digest.namespace.as_str(), digest.collection.as_str())).collect();
        let kept = self.ledger.private_data(block, |namespace, collection| asked.contains(&(namespace, collection)))?;
        let set = |digest: &PrivateDigest| {
            let set = kept.get(&digest.tx).and_then(|set| set.collection(&digest.namespace, &digest.collection));
            set.map(|set| set.raw.clone())
        };
        let found = digests.iter().filter_map(|digest| Some((digest.clone(), vec![set(digest)?])));
        Ok(found.collect())
    }

    /// The private data of a block that may go along with it to a peer: encoded `PvtDataPayload`s. Blocks.
    pub(crate) fn along(&self, to: &Contact, block: BlockNumber) -> Result<Vec<Bytes>, ServeError> {
        let mut entitlements = self.entitlements(to);
        let kept = self.ledger.private_data(block, |_, _| true)?;
        let (mut payloads, mut left) = (Vec::new(), MAX_SERVED_BYTES);
        for (tx, mut set) in kept {
            for ns in &mut set.namespaces {
                let mut entitled = Vec::new();
                for collection in std::mem::take(&mut ns.collections) {
                    if entitlements.include(block.get(), &ns.namespace, &collection.collection)? {
                        entitled.push(collection);
                    }
                }
                ns.collections = entitled;
            }
            set.namespaces.retain(|ns| !ns.collections.is_empty());
            if set.namespaces.is_empty() {
                continue;
            }
            let payload = PvtDataPayload { tx_seq_in_block: tx, payload: set.encode() };
            let encoded = Bytes::from(payload.encode_to_vec());
            let Some(rest) = left.checked_sub(encoded.len()) else { break };
            left = rest;
            payloads.push(encoded);
        }
        Ok(payloads)
    }
}

/// What is kept of a transaction's endorsements for a digest. It is not known which of them will be ordered.
fn endorsed(digest: &PrivateDigest, sets: &[TransientSet], entitlements: &Entitlements<'_>) -> Vec<Bytes> {
    let mut payload: Vec<Bytes> = Vec::new();
    let meant = sets.iter().filter(|set| entitlements.include_endorsed(digest, set));
    for set in meant.filter_map(|set| set.writes.collection(&digest.namespace, &digest.collection)) {
        if payload.len() < MAX_PAYLOADS && !payload.contains(&set.raw) {
            payload.push(set.raw.clone());
        }
    }
    payload
}
