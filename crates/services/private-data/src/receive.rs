use std::sync::Arc;

use ripstop_gossip::{Contact, PrivatePayload};
use ripstop_ledger::{PrivateStoreError, Received, StateError, TransientKey, TransientSet};
use ripstop_lifecycle::{CommittedCollections, explicit_collections};
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_rwset::{NsPrivateRwSet, ReceivedSets, TxPrivateRwSet};
use ripstop_sharing::{Audience, Entry, TooLarge};
use ripstop_types::TxId;
use tokio::sync::oneshot;

use crate::channel::Inner;
use crate::definitions::package;

/// How far ahead of this peer the height may be that an endorser states. What is said to come from a later one is forgotten
/// as if it came from there.
const MAX_AHEAD: u64 = 1_000_000;

/// The longest transaction id, in bytes. Those of checked proposals have 64.
const MAX_TX_ID: usize = 128;

/// Why private data that was sent is not kept. The sender is told the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotKept {
    #[error("the message names no transaction")]
    TxId,
    #[error("the message holds no private writes")]
    Empty,
    #[error("the private writes do not decode")]
    Undecodable,
    #[error("collection {0} is not for this peer's organization")]
    NotForUs(String),
    #[error("{0}")]
    State(StateError),
}

/// Private data of a transaction, and where to say that they are kept.
pub(crate) type Incoming = (Contact, PrivatePayload, oneshot::Sender<Result<(), String>>);

impl Inner {
    /// Keeps what was sent, with one synchronisation for all of it. Blocks.
    pub(crate) fn receive(&self, received: Vec<Incoming>) {
        let (mut accepted, mut waiting) = (Vec::new(), Vec::new());
        for (from, payload, reply) in received {
            match self.examine(&payload) {
                Ok(set) => {
                    accepted.push((TxId::new(&payload.tx_id), set, from.organization));
                    waiting.push(reply);
                }
                Err(why) => {
                    if self.complaints.may_write() {
                        tracing::warn!(target: "gossip.state", channel = self.channel(), "{payload:?} from {from:?} is not kept: {why}");
                    }
                    // The sender may be gone.
                    drop(reply.send(Err(why.to_string())));
                }
            }
        }
        let stored = self.known_before().and_then(|()| {
            let sets = accepted.iter().map(|(tx_id, set, from)| (tx_id, set, from));
            self.ledger.transient().put_received(sets)
        });
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(target: "gossip.state", channel = self.channel(), "Wasn't able to persist private data, due to {error}");
                for reply in waiting {
                    drop(reply.send(Err("private data cannot be stored".to_owned())));
                }
                return;
            }
        };
        let mut gone = Vec::new();
        for (received, reply) in stored.into_iter().zip(waiting) {
            let answer = received.map_or(Ok(()), |received| self.admit(received, &mut gone));
            drop(reply.send(answer.map_err(|error| error.to_string())));
        }
        self.forget(&gone);
    }

    /// Counts a set that is kept; what must go for it is added to what is gone.
    fn admit(&self, received: Received, gone: &mut Vec<TransientKey>) -> Result<(), TooLarge> {
        let Received { tx_id, organization, bytes, key } = received;
        let entry = Entry { tx_id, key: key.clone(), bytes };
        match self.inbox.lock().sets.admit(&organization, entry) {
            Ok(oldest) => {
                gone.extend(oldest.into_iter().map(|entry| entry.key));
                Ok(())
            }
            Err(error) => {
                gone.push(key);
                Err(error)
            }
        }
    }

    /// Counts, once, what others sent before this process began.
    fn known_before(&self) -> Result<(), PrivateStoreError> {
        if self.inbox.lock().is_complete {
            return Ok(());
        }
        let (received, mut gone) = (self.ledger.transient().received()?, Vec::new());
        for set in received {
            // One that is too large goes, and nobody waits for an answer.
            self.admit(set, &mut gone).ok();
        }
        self.inbox.lock().is_complete = true;
        self.forget(&gone);
        Ok(())
    }

    fn forget(&self, gone: &[TransientKey]) {
        if let Err(error) = self.ledger.transient().remove(gone) {
            tracing::warn!(target: "gossip.state", channel = self.channel(), "private data that nobody asked for stays until it is old: {error}");
        }
    }

    fn examine(&self, payload: &PrivatePayload) -> Result<TransientSet, NotKept> {
        let tx_id = &payload.tx_id;
        if tx_id.is_empty() || tx_id.len() > MAX_TX_ID || !tx_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(NotKept::TxId);
        }
        if payload.writes.is_empty() {
            return Err(NotKept::Empty);
        }
        if !self.is_for_us(payload).map_err(NotKept::State)? {
            return Err(NotKept::NotForUs(payload.collection.clone()));
        }
        let (namespace, collection) = (payload.namespace.clone(), payload.collection.clone());
        let definition = sent_definition(payload).cloned();
        let set = ReceivedSets::default().collection(&namespace, collection, payload.writes.clone());
        let set = set.ok_or(NotKept::Undecodable)?;
        Ok(TransientSet {
            endorsed_at: payload.endorsed_at.min(self.ledger.height().saturating_add(MAX_AHEAD)),
            definitions: definition.map(|config| (namespace.clone(), package([config]))).into_iter().collect(),
            writes: TxPrivateRwSet { namespaces: vec![NsPrivateRwSet { namespace, collections: vec![set] }] },
        })
    }

    /// Whether this peer's organization keeps values of the collection: as it is defined here or, where it is not yet, as the
    /// endorser says.
    fn is_for_us(&self, payload: &PrivatePayload) -> Result<bool, StateError> {
        let (state, channel) = (self.ledger.snapshot(), self.ledger.config());
        let mut collections = CommittedCollections::of(&*state);
        let config = match collections.find(&payload.namespace, &payload.collection)? {
            Some(config) => Some(config.into_owned()),
            None => sent_definition(payload).cloned(),
        };
        let audience = config.and_then(|config| Audience::of(&config, channel.msps()).ok());
        Ok(audience.is_some_and(|audience| audience.keeps(&self.shared.organization, channel.msps())))
    }
}

/// The collection as the endorser knew it.
fn sent_definition(payload: &PrivatePayload) -> Option<&StaticCollectionConfig> {
    let mut sent = payload.collection_configs.iter().flat_map(explicit_collections);
    sent.find(|config| config.name == payload.collection)
}

/// Keeps a batch off the async threads.
pub(crate) async fn receive(inner: &Arc<Inner>, received: Vec<Incoming>) {
    if received.is_empty() {
        return;
    }
    let inner = Arc::clone(inner);
    if let Err(error) = tokio::task::spawn_blocking(move || inner.receive(received)).await {
        tracing::error!(target: "gossip.state", "keeping private data panicked: {error}");
    }
}
