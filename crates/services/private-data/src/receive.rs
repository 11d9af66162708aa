use std::sync::Arc;

use ripstop_gossip::{Contact, PrivatePayload};
use ripstop_ledger::{StateError, TransientSet};
use ripstop_lifecycle::{CommittedCollections, explicit_collections};
use ripstop_rwset::{CollectionPrivateRwSet, NsPrivateRwSet, TxPrivateRwSet};
use ripstop_sharing::{Audience, Entry};
use ripstop_types::TxId;
use tokio::sync::oneshot;

use crate::channel::Inner;

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
pub(crate) type Received = (Contact, PrivatePayload, oneshot::Sender<Result<(), String>>);

impl Inner {
    /// Keeps what was sent, with one synchronisation for all of it. Blocks.
    pub(crate) fn receive(&self, received: Vec<Received>) {
        let (mut accepted, mut waiting) = (Vec::new(), Vec::new());
        for (from, payload, reply) in received {
            match self.examine(&payload) {
                Ok(set) => {
                    let bytes = payload.writes.len() + payload.namespace.len() + payload.collection.len();
                    accepted.push((TxId::new(&payload.tx_id), set));
                    waiting.push((from.organization, bytes as u64, reply));
                }
                Err(why) => {
                    tracing::warn!(target: "gossip.state", channel = self.channel(), "{payload:?} from {from:?} is not kept: {why}");
                    // The sender may be gone.
                    drop(reply.send(Err(why.to_string())));
                }
            }
        }
        let stored = self.ledger.transient().put_all(accepted.iter().map(|(tx_id, set)| (tx_id, set)));
        let keys = match stored {
            Ok(keys) => keys,
            Err(error) => {
                tracing::error!(target: "gossip.state", channel = self.channel(), "Wasn't able to persist private data, due to {error}");
                for (_, _, reply) in waiting {
                    drop(reply.send(Err("private data cannot be stored".to_owned())));
                }
                return;
            }
        };
        let mut gone = Vec::new();
        for (((tx_id, _), key), (organization, bytes, reply)) in accepted.into_iter().zip(keys).zip(waiting) {
            let admitted = match key {
                Some(key) => {
                    self.inbox.lock().admit(&organization, Entry { tx_id, key: key.clone(), bytes }).map_err(|error| {
                        gone.push(key);
                        error.to_string()
                    })
                }
                None => Ok(vec![]),
            };
            let answer = admitted.map(|oldest| gone.extend(oldest.into_iter().map(|entry| entry.key)));
            drop(reply.send(answer));
        }
        if let Err(error) = self.ledger.transient().remove(&gone) {
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
        let set = CollectionPrivateRwSet::parse(&namespace, collection, payload.writes.clone())
            .map_err(|_| NotKept::Undecodable)?;
        Ok(TransientSet {
            endorsed_at: payload.endorsed_at.min(self.ledger.height().saturating_add(MAX_AHEAD)),
            writes: TxPrivateRwSet { namespaces: vec![NsPrivateRwSet { namespace, collections: vec![set] }] },
        })
    }

    /// Whether this peer's organization keeps values of the collection: as it is defined here or, where it is not yet, as the
    /// endorser says.
    fn is_for_us(&self, payload: &PrivatePayload) -> Result<bool, StateError> {
        let (state, channel) = (self.ledger.snapshot(), self.ledger.config());
        let mut collections = CommittedCollections::of(&*state);
        let sent = payload.collection_configs.iter().flat_map(explicit_collections);
        let config = match collections.find(&payload.namespace, &payload.collection)? {
            Some(config) => Some(config.into_owned()),
            None => sent.into_iter().find(|config| config.name == payload.collection).cloned(),
        };
        let audience = config.and_then(|config| Audience::of(&config, channel.msps()).ok());
        Ok(audience.is_some_and(|audience| audience.keeps(&self.shared.organization, channel.msps())))
    }
}

/// Keeps a batch off the async threads.
pub(crate) async fn receive(inner: &Arc<Inner>, received: Vec<Received>) {
    if received.is_empty() {
        return;
    }
    let inner = Arc::clone(inner);
    if let Err(error) = tokio::task::spawn_blocking(move || inner.receive(received)).await {
        tracing::error!(target: "gossip.state", "keeping private data panicked: {error}");
    }
}
