use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use prost::Message;
use ripstop_gossip::PkiId;
use ripstop_ledger::{
    Ledger, PrivateData, PrivatePlace, PrivateSet, PrivateStoreError, StateError, StateSnapshot, TransientSet,
    announced_private_data, by_transaction,
};
use ripstop_lifecycle::{
    CommittedCollections, Eligibility, NAMESPACE as LIFECYCLE, eligibility, keys, opened_collections,
};
use ripstop_proto::gossip::PvtDataPayload;
use ripstop_rwset::{CollectionPrivateRwSet, PrivateExpectation, ReceivedSets, StateView, TxPrivateRwSet};
use ripstop_types::{BlockNumber, ChannelId, Envelope, MspId, SerializedIdentity, Transaction, TxId};
use ripstop_validation::ValidatedBlock;

/// How many missing sets a log line names.
const SHOWN: usize = 20;

/// Why the private data of a block cannot be gathered.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The transient store cannot be read.
    #[error(transparent)]
    Transient(#[from] PrivateStoreError),
}

/// Private data that came along with a block from another peer, by the transaction's place in the block. Unverified.
#[derive(Clone, Default)]
pub struct Prefetched(BTreeMap<u64, TxPrivateRwSet>);

impl Prefetched {
    /// Reads encoded `PvtDataPayload`s. What does not decode is left out: it is looked for elsewhere.
    pub fn parse(payloads: &[Bytes]) -> Self {
        let mut unproven = ReceivedSets::default();
        let read = |payload: &Bytes| {
            let payload = PvtDataPayload::decode(payload.clone()).ok()?;
            Some((payload.tx_seq_in_block, unproven.transaction(payload.payload)?))
        };
        Self(payloads.iter().filter_map(read).collect())
    }
}

// Values of collections never reach a log line.
impl fmt::Debug for Prefetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private data of {} transactions", self.0.len())
    }
}

/// A set of private writes that is for this peer's organization, and not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Where it belongs.
    pub place: PrivatePlace,
    /// The transaction.
    pub tx_id: TxId,
    /// The hash in the block.
    pub hash: Bytes,
    /// Whose transaction it is.
    pub of: TransactionKind,
    /// The peers that endorsed it: they have it most likely.
    pub endorsers: Vec<PkiId>,
}

/// Whether a transaction counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionKind {
    /// Its writes are in the state.
    Valid,
    /// Its writes are kept beside the state only.
    Invalid,
}

/// What is known of a block's private data.
#[derive(Debug)]
pub struct Gathered {
    pub(crate) block: BlockNumber,
    pub(crate) missed: Vec<Missed>,
    found: Vec<PrivateSet>,
    /// Those of the missed ones that came from other peers.
    arrived: BTreeSet<PrivatePlace>,
    /// Those of which another peer has a part only.
    curtailed: BTreeSet<PrivatePlace>,
    ineligible: BTreeSet<(String, String)>,
    opened: Vec<(String, String)>,
    sources: Sources,
}

#[derive(Debug, Default)]
struct Sources {
    prefetched: usize,
    transient: usize,
    peers: usize,
}

impl Gathered {
    /// A block of which nothing is here.
    #[cfg(test)]
    pub(crate) fn lacking(block: BlockNumber, missed: Vec<Missed>) -> Self {
        Self {
            block,
            missed,
            found: vec![],
            arrived: BTreeSet::new(),
            curtailed: BTreeSet::new(),
            ineligible: BTreeSet::new(),
            opened: vec![],
            sources: Sources::default(),
        }
    }

    /// What is not here.
    pub fn missed(&self) -> &[Missed] {
        &self.missed
    }

    /// A set came from another peer.
    pub(crate) fn add(&mut self, set: PrivateSet) {
        if self.arrived.insert(set.place.clone()) {
            self.found.push(set);
            self.sources.peers += 1;
        }
    }

    /// Another peer answered with something else than what the block announces: it has purged some of it, or began with a
    /// snapshot. Reconciliation can make use of such a part, a commit cannot.
    pub(crate) fn leave_for_later(&mut self, place: &PrivatePlace) {
        self.curtailed.insert(place.clone());
    }

    /// What the ledger needs to commit the block. Says in the log what came from where.
    pub fn finish(mut self, ledger: &Ledger) -> PrivateData {
        self.missed.retain(|missed| !self.arrived.contains(&missed.place));
        self.log(ledger.channel_id());
        PrivateData::from(by_transaction(self.found)).ineligible_for(self.ineligible).opening(self.opened)
    }

    fn log(&self, channel: &ChannelId) {
        let report = self.report();
        match report.outcome {
            Outcome::Nothing => tracing::debug!(target: "gossip.privdata", %channel, "{report}"),
            Outcome::Complete => tracing::info!(target: "gossip.privdata", %channel, "{report}"),
            Outcome::Lacking(_) => tracing::warn!(target: "gossip.privdata", %channel, "{report}"),
        }
    }

    pub(crate) fn report(&self) -> Report {
        let total = self.found.len() + self.missed.len();
        let lacking: Vec<&Missed> =
            self.missed.iter().filter(|missed| !self.curtailed.contains(&missed.place)).collect();
        let Sources { prefetched, transient, peers } = self.sources;
        let peers = peers + self.missed.len() - lacking.len();
        let outcome = match lacking.len() {
            _ if total == 0 => Outcome::Nothing,
            0 => Outcome::Complete,
            _ => Outcome::Lacking(listed(lacking)),
        };
        Report { block: self.block, total, sources: Sources { prefetched, transient, peers }, outcome }
    }
}

/// What an operator is told of a block's private data.
#[derive(Debug)]
pub(crate) struct Report {
    block: BlockNumber,
    total: usize,
    sources: Sources,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    /// None of it is for this peer.
    Nothing,
    /// All is here, or some other peer has a part of it.
    Complete,
    /// These are not to be had.
    Lacking(String),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, total, sources: Sources { prefetched, transient, peers }, outcome } = self;
        let sources =
            format!("({prefetched} from local cache, {transient} from transient store, {peers} from other peers)");
        match outcome {
            Outcome::Nothing => write!(f, "No eligible collection private write sets to fetch for block [{block}]"),
            Outcome::Complete => write!(
                f,
                "Successfully fetched (or marked to reconcile later) all {total} eligible collection private write sets \
                 for block [{block}] {sources}"
            ),
            Outcome::Lacking(named) => write!(
                f,
                "Could not fetch (or mark to reconcile later) {total} eligible collection private write sets for block \
                 [{block}] {sources}. Will commit block with missing private write sets:[{named}]"
            ),
        }
    }
}

/// The first of some missing sets, as log lines name them, and how many more there are.
pub(crate) fn listed<'a>(missed: impl IntoIterator<Item = &'a Missed, IntoIter: ExactSizeIterator>) -> String {
    let missed = missed.into_iter();
    let more = missed.len().saturating_sub(SHOWN);
    let mut named: Vec<String> = missed.take(SHOWN).map(ToString::to_string).collect();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named.join("; ")
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PrivatePlace { tx, namespace, collection, .. } = &self.place;
        write!(f, "txID: {}, seq: {tx}, namespace: {namespace}, collection: {collection}", self.tx_id)
    }
}

/// Gathers the private data of a block that are here: for each set of private writes that is for this peer's organization,
/// what came with the block, was endorsed here or was sent by other peers before. What the organization is kept out of is not
/// looked for (Fabric: `PvtdataProvider`).
///
/// `before` is the state before the block, which may be ahead of what the ledger shows to others.
pub fn gather(
    ledger: &Ledger,
    before: &StateSnapshot,
    organization: Option<&MspId>,
    validated: &ValidatedBlock,
    prefetched: &Prefetched,
) -> Result<Gathered, GatherError> {
    let (config, block) = (ledger.config(), validated.block().number());
    let mut gathered = Gathered {
        block,
        missed: Vec::new(),
        found: Vec::new(),
        arrived: BTreeSet::new(),
        curtailed: BTreeSet::new(),
        ineligible: BTreeSet::new(),
        opened: opened(ledger, organization, validated, before)?,
        sources: Sources::default(),
    };
    let mut collections = CommittedCollections::of(before);
    let mut known: BTreeMap<(String, String), Option<Eligibility>> = BTreeMap::new();
    let mut here: Option<Here> = None;
    for expected in announced_private_data(validated) {
        let PrivateExpectation { namespace, collection, .. } = &expected;
        let eligible = match known.entry((namespace.clone(), collection.clone())) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(match organization {
                None => Some(Eligibility::Ineligible),
                Some(org) => eligibility(&mut collections, config.msps(), org, namespace, collection)?,
            }),
        };
        match eligible {
            Some(Eligibility::Eligible) => {}
            Some(Eligibility::Ineligible) => {
                gathered.ineligible.insert((namespace.clone(), collection.clone()));
                continue;
            }
            // No such collection: forged.
            None => continue,
        }
        // The sets stand in block order, so each transaction is looked up once.
        if here.as_ref().is_none_or(|here| here.tx != expected.tx) {
            here = Here::of(ledger, validated, expected.tx)?;
        }
        if let Some(here) = &mut here {
            here.take(expected, prefetched, &mut gathered);
        }
    }
    Ok(gathered)
}

/// What is here of one transaction.
struct Here {
    tx: u64,
    tx_id: TxId,
    of: TransactionKind,
    raw: Bytes,
    transient: Vec<TransientSet>,
    /// Read out of the transaction when something is missed.
    endorsers: Option<Vec<PkiId>>,
}

impl Here {
    fn of(ledger: &Ledger, validated: &ValidatedBlock, tx: u64) -> Result<Option<Self>, GatherError> {
        let Ok(place) = usize::try_from(tx) else { return Ok(None) };
        let (Some(transaction), Some(raw)) =
            (validated.transactions().get(place), validated.block().data.get(place).cloned())
        else {
            return Ok(None);
        };
        let of = if transaction.code.is_valid() { TransactionKind::Valid } else { TransactionKind::Invalid };
        let transient = ledger.transient().get(&transaction.tx_id)?;
        Ok(Some(Self { tx, tx_id: transaction.tx_id.clone(), of, raw, transient, endorsers: None }))
    }

    fn take(&mut self, expected: PrivateExpectation, prefetched: &Prefetched, gathered: &mut Gathered) {
        let PrivateExpectation { tx, namespace, collection, hash } = expected;
        let matches = |writes: &&CollectionPrivateRwSet| writes.hash().as_bytes()[..] == hash;
        let came = prefetched.0.get(&tx).and_then(|set| set.collection(&namespace, &collection)).filter(matches);
        // Of several endorsements only one has the announced hash.
        let mut sets = self.transient.iter().filter_map(|set| set.writes.collection(&namespace, &collection));
        let found = match came {
            Some(writes) => Some((writes, &mut gathered.sources.prefetched)),
            None => sets.find(matches).map(|writes| (writes, &mut gathered.sources.transient)),
        };
        let place = PrivatePlace { block: gathered.block, tx, namespace, collection };
        match found {
            Some((writes, source)) => {
                *source += 1;
                gathered.found.push(PrivateSet { place, writes: writes.clone() });
            }
            None => {
                let endorsers = self.endorsers.get_or_insert_with(|| endorsers(&self.raw)).clone();
                gathered.missed.push(Missed { place, tx_id: self.tx_id.clone(), hash, of: self.of, endorsers });
            }
        }
    }
}

/// The peers that endorsed a transaction.
fn endorsers(raw: &Bytes) -> Vec<PkiId> {
    let envelope = Envelope::parse(raw.clone()).ok();
    let transaction = envelope.and_then(|envelope| Transaction::parse(envelope.data).ok());
    let endorsements = transaction.map(|transaction| transaction.endorsements).unwrap_or_default();
    let endorser = |endorser: Bytes| Some(PkiId::of(&SerializedIdentity::parse(endorser).ok()?));
    endorsements.into_iter().filter_map(|endorsement| endorser(endorsement.endorser)).collect()
}

/// The collections that definitions in this block open to the organization.
fn opened(
    ledger: &Ledger,
    organization: Option<&MspId>,
    validated: &ValidatedBlock,
    before: &dyn StateView,
) -> Result<Vec<(String, String)>, StateError> {
    let Some(organization) = organization else { return Ok(vec![]) };
    let (config, updates) = (ledger.config(), validated.updates());
    let mut opened = Vec::new();
    let changed = updates.public_updates().filter(|(namespace, ..)| *namespace == LIFECYCLE);
    for chaincode in changed.filter_map(|(_, key, _)| keys::defined_chaincode(key)) {
        let after = updates.over(before);
        let collections = opened_collections(before, &after, config.msps(), organization, chaincode)?;
        for collection in collections {
            tracing::info!(
                target: "pvtdatastorage",
                "[{}] Converting missing data entries from ineligible to eligible for [ns={chaincode}, coll={collection}]",
                ledger.channel_id()
            );
            opened.push((chaincode.to_owned(), collection));
        }
    }
    Ok(opened)
}
