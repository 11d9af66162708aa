use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ripstop_gossip::{PkiId, PrivatePayload};
use ripstop_ledger::{PrivateStoreError, SimulationResults, TransientSet};
use ripstop_lifecycle::MembershipError;
use ripstop_proto::protos::{CollectionConfigPackage, StaticCollectionConfig};
use ripstop_rwset::TxPrivateRwSet;
use ripstop_sharing::{Audience, Candidate, NotDisseminated, PeerCounts, Standing, Tally, choose};
use ripstop_types::TxId;
use tokio::sync::mpsc;

use crate::ChannelPrivateData;
use crate::channel::Inner;
use crate::definitions::package;

/// Why no endorsement may be given: its private data is not where it must be.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// Too few other peers have it. Fabric's words.
    #[error("failed to distribute private collection, txID {tx_id}, channel {channel}: {source}")]
    NotDisseminated {
        /// The transaction.
        tx_id: TxId,
        /// The channel.
        channel: String,
        /// Why.
        source: NotDisseminated,
    },
    /// Nobody can be said to belong to a collection.
    #[error(
        "failed to distribute private collection, txID {tx_id}, channel {channel}: collection {collection}: {source}"
    )]
    Members {
        /// The transaction.
        tx_id: TxId,
        /// The channel.
        channel: String,
        /// The collection.
        collection: String,
        /// Why.
        source: MembershipError,
    },
    /// This peer cannot keep it.
    #[error("failed to keep private data: {0}")]
    Store(#[from] PrivateStoreError),
    /// A task panicked: a bug.
    #[error("failed to keep private data: {0}")]
    Panicked(String),
}

/// The values of one collection on their way.
struct Consignment {
    payload: PrivatePayload,
    to: Vec<PkiId>,
    /// How many of these peers must acknowledge.
    required: usize,
}

impl ChannelPrivateData {
    /// Keeps the private data of an endorsement and gives them to as many other peers as their collections demand. The
    /// endorsement may be given when this has succeeded. Peers that need not acknowledge may get theirs later.
    pub async fn share(&self, tx_id: &TxId, results: &SimulationResults) -> Result<(), ShareError> {
        let Some(writes) = &results.private else { return Ok(()) };
        let consignments = self.inner.plan(tx_id, results, writes)?;
        let definitions = by_namespace(&results.written_collections);
        let set = TransientSet { endorsed_at: results.height, writes: writes.clone(), definitions };
        let (ledger, id) = (Arc::clone(&self.inner.ledger), tx_id.clone());
        let stored = tokio::task::spawn_blocking(move || ledger.transient().put(&id, &set));
        let (stored, spread) = tokio::join!(stored, self.inner.spread(consignments));
        spread.map_err(|source| self.inner.refused(tx_id, source))?;
        stored.map_err(|error| ShareError::Panicked(error.to_string()))??;
        Ok(())
    }
}

impl Inner {
    fn refused(&self, tx_id: &TxId, source: NotDisseminated) -> ShareError {
        ShareError::NotDisseminated { tx_id: tx_id.clone(), channel: self.channel().to_owned(), source }
    }

    /// Decides who gets what (Fabric: `computeDisseminationPlan`).
    fn plan(
        &self,
        tx_id: &TxId,
        results: &SimulationResults,
        writes: &TxPrivateRwSet,
    ) -> Result<Vec<Consignment>, ShareError> {
        let (view, channel, mut random) = (self.view(), self.ledger.config(), fastrand::Rng::new());
        let mut consignments = Vec::new();
        for (namespace, config) in &results.written_collections {
            let Some(set) = writes.collection(namespace, &config.name) else { continue };
            let config = self.adjusted(config.clone());
            let counts = PeerCounts::of(&config);
            if counts == (PeerCounts { required: 0, maximum: 0 }) {
                continue;
            }
            let audience = Audience::of(&config, channel.msps()).map_err(|source| ShareError::Members {
                tx_id: tx_id.clone(),
                channel: self.channel().to_owned(),
                collection: config.name.clone(),
                source,
            })?;
            let eligible: Vec<Candidate> = self
                .others(&view)
                .filter(|member| audience.admits_member(member, channel.msps()))
                .map(|member| Candidate {
                    peer: member.peer.member.pki_id.clone(),
                    organization: member.peer.organization.clone(),
                })
                .collect();
            let known = eligible.len();
            let to = choose(counts, eligible, &mut random).ok_or_else(|| {
                let (chaincode, collection) = (namespace.clone(), config.name.clone());
                let source =
                    NotDisseminated::TooFewPeers { chaincode, collection, required: counts.required, eligible: known };
                self.refused(tx_id, source)
            })?;
            let payload = PrivatePayload {
                collection: config.name.clone(),
                namespace: namespace.clone(),
                tx_id: tx_id.as_str().to_owned(),
                writes: set.raw.clone(),
                endorsed_at: results.height,
                collection_configs: Some(package([config])),
            };
            consignments.push(Consignment { payload, to, required: counts.required });
        }
        Ok(consignments)
    }

    /// Sends, and waits until each collection has its acknowledgements. The rest goes on by itself.
    async fn spread(&self, consignments: Vec<Consignment>) -> Result<(), NotDisseminated> {
        // Bounded by the number of messages that may be on their way.
        let (done, mut acknowledged) = mpsc::unbounded_channel();
        let (mut tallies, mut sent, mut failed) = (Vec::new(), 0, 0);
        for Consignment { payload, to, required } in consignments {
            let place = tallies.len();
            tallies.push(Tally::new(required, to.len()));
            for peer in to {
                sent += 1;
                self.send(peer, payload.clone(), {
                    let done = done.clone();
                    // Nobody listens any more when all that was needed is there.
                    move |is_acknowledged| done.send((place, is_acknowledged)).unwrap_or(())
                });
            }
        }
        drop(done);
        let is_decided = |tallies: &[Tally]| {
            let standing = |wanted| move |tally: &Tally| tally.standing() == wanted;
            tallies.iter().all(standing(Standing::Enough)) || tallies.iter().any(standing(Standing::Failed))
        };
        while !is_decided(&tallies) {
            let Some((place, is_acknowledged)) = acknowledged.recv().await else { break };
            let Some(tally) = tallies.get_mut(place) else { continue };
            if is_acknowledged {
                tally.acknowledged();
            } else {
                tally.failed();
                failed += 1;
            }
        }
        match tallies.iter().all(|tally| tally.standing() == Standing::Enough) {
            true => Ok(()),
            false => Err(NotDisseminated::NotAcknowledged { failed, sent }),
        }
    }

    /// Gives one peer the values of one collection, in a task that ends with the patience.
    fn send(&self, to: PkiId, payload: PrivatePayload, done: impl FnOnce(bool) + Send + 'static) {
        let (shared, channel) = (Arc::clone(&self.shared), self.ledger.channel_id().clone());
        let described =
            format!("TxID {}, namespace {} collection {}", payload.tx_id, payload.namespace, payload.collection);
        let Ok(permit) = Arc::clone(&shared.sending).try_acquire_owned() else {
            tracing::warn!(target: "gossip.privdata", %channel, "Failed disseminating private RWSet for {described} to {to}: too many messages with private data are on their way");
            return done(false);
        };
        tokio::spawn(async move {
            let began = Instant::now();
            let patience = shared.config.push_patience;
            let given = shared.neighbours.give(&to, &channel, payload, patience).await;
            shared.metrics.sent(channel.as_str(), began.elapsed());
            drop(permit);
            if let Err(error) = &given {
                tracing::error!(target: "gossip.privdata", %channel, "Failed disseminating private RWSet for {described} to {to}: {error}");
            }
            done(given.is_ok());
        });
    }
}

/// The collections that were written to, by namespace.
fn by_namespace(written: &[(String, StaticCollectionConfig)]) -> BTreeMap<String, CollectionConfigPackage> {
    let mut configs: BTreeMap<&str, Vec<StaticCollectionConfig>> = BTreeMap::new();
    for (namespace, config) in written {
        configs.entry(namespace).or_default().push(config.clone());
    }
    configs.into_iter().map(|(namespace, configs)| (namespace.to_owned(), package(configs))).collect()
}
