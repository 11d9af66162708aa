//! Private values: spread before a transaction is ordered, fetched by whoever misses them, given to nobody else.
//!
//! Whom values are given and who is asked for them, the rules of `sharing` decide over real identities. Modelled is what a
//! peer keeps: what came before its transaction is ordered, what is committed, what it misses, and what is not for it.
//! Transactions carry the hash of their value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::{
    Content, Message, Moment, PkiId, PrivateDigest, PrivateElement, PrivatePayload, SignedMessage, Tag, Trust as _,
};
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_sharing::{
    Audience, Candidate, Definitions, FairQueue, PeerCounts, Question, Search, Standing, Step, Tally, Wanted,
    answers_to, choose, expected_to_keep, signed_handshake,
};
use ripstop_types::Digest;

use crate::definition::{COLLECTIONS, PULL_MARGIN, is_gone, lifetime};
use crate::world::{Event, World};

/// With what every private value begins, so that it is found wherever it is.
pub(crate) const MARK: &str = "PRIVATE:";
/// How many different values of one transaction are kept before it is ordered.
const VERSIONS: usize = 4;
/// How many transactions that are not ordered values are kept of.
const WAITING: usize = 10_000;
/// How many values are kept with one synchronisation, and how long that takes.
const BATCH: usize = 64;
const SYNCHRONISATION: Duration = Duration::from_millis(15);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The chaincode.
const NAMESPACE: &str = "cc";

/// What a peer has and lacks of private values.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// Those of committed blocks, by transaction.
    pub(crate) values: BTreeMap<String, Kept>,
    /// What came for transactions that are not committed yet.
    transient: BTreeMap<String, Vec<Bytes>>,
    missing: BTreeSet<PrivateDigest>,
    // What is not for this peer's organization.
    withheld: BTreeSet<PrivateDigest>,
    search: Option<Search>,
    open: BTreeMap<u64, (Question, Moment)>,
    // What came and is not stored yet, with whom to tell.
    arrived: FairQueue<(PkiId, u64, PrivatePayload)>,
    is_storing: bool,
}

/// A committed private value.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The value.
    pub(crate) value: Bytes,
    /// The block that wrote it.
    pub(crate) block: u64,
    collection: usize,
}

impl Shelf {
    /// What a crash leaves: the values, and what is missing.
    pub(crate) fn crash(&mut self) {
        self.search = None;
        self.open.clear();
        self.arrived = FairQueue::default();
        self.is_storing = false;
    }

    fn endorsed(&mut self, tx_id: &str, value: &Bytes) {
        let has_room = self.transient.len() < WAITING || self.transient.contains_key(tx_id);
        let values = has_room.then(|| self.transient.entry(tx_id.to_owned()).or_default());
        if let Some(values) = values.filter(|values| values.len() < VERSIONS && !values.contains(value)) {
            values.push(value.clone());
        }
    }

    /// Forgets values that lived for long enough.
    fn expire(&mut self, height: u64) {
        self.values.retain(|_, kept| !is_gone(kept.collection, kept.block, height));
        let lives = |digest: &PrivateDigest| !is_gone(collection_in(digest), digest.block, height);
        self.missing.retain(lives);
        self.withheld.retain(lives);
    }
}

fn collection_in(digest: &PrivateDigest) -> usize {
    digest.collection.parse().unwrap_or(COLLECTIONS)
}

/// Endorsements that wait for acknowledgements.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    waiting: BTreeMap<u64, (String, Tally)>,
    // What was decided once.
    entitled: BTreeMap<Entitlement, bool>,
}

/// Whether a peer may have values: which configuration counts, which peer it is, which collection, and which definitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entitlement {
    configuration: usize,
    peer: PkiId,
    collection: usize,
    then: usize,
    now: usize,
}

/// A transaction that writes a private value, as a block tells it.
pub(crate) struct Announced {
    /// Its name.
    pub(crate) tx_id: String,
    /// The collection.
    pub(crate) collection: usize,
    hash: String,
}

impl Announced {
    /// Reads a transaction; `None` if it writes nothing private.
    pub(crate) fn parse(transaction: &str) -> Option<Self> {
        let mut words = transaction.strip_prefix("private ")?.split(' ');
        let tx_id = words.next()?.to_owned();
        let collection = words.next()?.parse().ok()?;
        Some(Self { tx_id, collection, hash: words.next()?.to_owned() })
    }
}

/// What a private value says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Its collection.
    pub(crate) collection: usize,
    /// The definition by which it was endorsed.
    pub(crate) definition: usize,
}

impl Claim {
    /// That of the first private value in some bytes.
    pub(crate) fn find(bytes: &[u8]) -> Option<Self> {
        let place = bytes.windows(MARK.len()).position(|window| window == MARK.as_bytes())?;
        let mut words = bytes[place + MARK.len()..].split(|byte| *byte == b':');
        let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
        Some(Self { collection: number()?, definition: number()? })
    }
}

impl World {
    /// A peer endorses a transaction that writes a private value: it spreads the value first.
    pub(crate) fn endorse_privately(&mut self, number: u64) {
        let collection = self.random.usize(..COLLECTIONS);
        let honest = self.honest().into_iter();
        let endorsers: Vec<_> = honest
            .filter(|peer| {
                self.is_in_channel(*peer) && self.keeps(*peer, self.peers[*peer].ledger.definition(), collection)
            })
            .collect();
        let Some(endorser) = self.random.choice(endorsers) else { return };
        let definition = self.peers[endorser].ledger.definition();
        let tx_id = format!("tx{number}");
        let value = Bytes::from(format!("{MARK}{collection}:{definition}:{tx_id}"));
        let transaction = format!("private {tx_id} {collection} {}", Digest::of(&value));
        let Some(config) = self.definitions[definition].collection(collection).cloned() else { return };
        let eligible = self.audience(endorser, &config, |_| true);
        let eligible = eligible.into_iter().filter_map(|peer| {
            let organization = self.peers[self.peer_of(&peer)?].about.organization.clone();
            Some(Candidate { peer, organization })
        });
        let (eligible, counts) = (eligible.collect(), PeerCounts::of(&config));
        let Some(chosen) = choose(counts, eligible, &mut self.random) else { return };
        self.peers[endorser].shelf.endorsed(&tx_id, &value);
        self.exchange.waiting.insert(number, (transaction, Tally::new(counts.required, chosen.len())));
        let payload = PrivatePayload {
            collection: collection.to_string(),
            namespace: NAMESPACE.to_owned(),
            tx_id,
            writes: value,
            endorsed_at: self.peers[endorser].ledger.height(),
            collection_configs: Some(self.definitions[definition].package.clone()),
        };
        for peer in chosen {
            self.tell(endorser, &peer, number, Content::PrivateData(payload.clone()));
        }
    }

    /// Takes what concerns private values. Only who may read the channel is heard.
    pub(crate) fn take_private(&mut self, from: usize, to: usize, message: &SignedMessage) {
        let nonce = message.message().nonce;
        let sender = self.peers[from].about.pki_id.clone();
        match &message.message().content {
            Content::PrivateData(payload) if self.is_reader(to, from) => {
                let organization = self.peers[from].about.organization.clone();
                let shelf = &mut self.peers[to].shelf;
                // The sender of what finds no room is told so; here it learns nothing.
                let pushed = shelf.arrived.push(&organization, payload.writes.len(), (sender, nonce, payload.clone()));
                if pushed.is_ok() && !std::mem::replace(&mut shelf.is_storing, true) {
                    let process = self.peers[to].process;
                    self.after(SYNCHRONISATION, Event::Keep { peer: to, process });
                }
            }
            Content::Acknowledgement { .. } => {
                let Some((transaction, tally)) = self.exchange.waiting.get_mut(&nonce) else { return };
                tally.acknowledged();
                if tally.standing() == Standing::Enough {
                    self.wanted.insert(transaction.clone());
                    self.exchange.waiting.remove(&nonce);
                }
            }
            Content::PrivateRequest(digests) if self.is_reader(to, from) => {
                let mut elements = Vec::new();
                for digest in digests.iter().take(100) {
                    let payload = self.asked_for(to, from, digest);
                    elements.push(PrivateElement { digest: digest.clone(), payload });
                }
                self.tell(to, &sender, nonce, Content::PrivateResponse(elements));
            }
            Content::PrivateResponse(elements) => self.take_answer(to, from, nonce, elements),
            _ => {}
        }
    }

    /// Keeps values that came, all with one synchronisation, and only then says so.
    pub(crate) fn keep_values(&mut self, index: usize) {
        let batch = self.peers[index].shelf.arrived.take(BATCH);
        if batch.is_empty() {
            self.peers[index].shelf.is_storing = false;
            return;
        }
        for (sender, nonce, payload) in batch {
            let collection = payload.collection.parse().unwrap_or(COLLECTIONS);
            if self.keeps(index, self.peers[index].ledger.definition(), collection) {
                self.peers[index].shelf.endorsed(&payload.tx_id, &payload.writes);
                self.tell(index, &sender, nonce, Content::Acknowledgement { error: String::new() });
            }
        }
        let process = self.peers[index].process;
        self.after(SYNCHRONISATION, Event::Keep { peer: index, process });
    }

    /// Notes which private values of a block a peer misses and which are not for it, and takes those that came before, or
    /// with it.
    pub(crate) fn shelve(&mut self, index: usize, number: u64, came: &[Bytes]) {
        let announced: Vec<_> = self.peers[index].ledger.transactions(number).filter_map(Announced::parse).collect();
        for (tx, Announced { tx_id, collection, hash }) in (0..).zip(announced) {
            let definition = self.peers[index].ledger.definition_for(number);
            let is_kept = self.keeps(index, definition, collection);
            let shelf = &mut self.peers[index].shelf;
            let endorsed = shelf.transient.remove(&tx_id).unwrap_or_default();
            let value = endorsed.iter().chain(came).find(|value| proves(&hash, value)).cloned();
            let (namespace, name) = (NAMESPACE.to_owned(), collection.to_string());
            let digest = PrivateDigest { tx_id: tx_id.clone(), namespace, collection: name, block: number, tx };
            match value {
                _ if !is_kept => drop(shelf.withheld.insert(digest)),
                Some(value) => drop(shelf.values.insert(tx_id, Kept { value, block: number, collection })),
                None => drop(shelf.missing.insert(digest)),
            }
        }
        self.open_collections(index, number);
        self.peers[index].shelf.expire(number + 1);
    }

    /// If a block brought a definition, what it opens to the peer's organization is missed from then on.
    fn open_collections(&mut self, index: usize, number: u64) {
        let ledger = &self.peers[index].ledger;
        let (before, now) = (ledger.definition_for(number), ledger.definition());
        for collection in (0..COLLECTIONS).filter(|_| before != now) {
            if !self.keeps(index, before, collection) && self.keeps(index, now, collection) {
                let shelf = &mut self.peers[index].shelf;
                let withheld = std::mem::take(&mut shelf.withheld).into_iter();
                let (opened, others): (BTreeSet<_>, BTreeSet<_>) =
                    withheld.partition(|digest| collection_in(digest) == collection);
                shelf.withheld = others;
                shelf.missing.extend(opened);
            }
        }
    }

    /// The private values of a block that another peer may have from this one.
    pub(crate) fn values_for(&mut self, index: usize, other: usize, number: u64) -> Vec<Bytes> {
        let announced: Vec<_> = self.peers[index].ledger.transactions(number).filter_map(Announced::parse).collect();
        let mut values = Vec::new();
        for Announced { tx_id, collection, .. } in announced {
            if self.entitles(index, other, collection, number) {
                values.extend(self.peers[index].shelf.values.get(&tx_id).map(|kept| kept.value.clone()));
            }
        }
        values
    }

    /// A peer looks for what it misses.
    pub(crate) fn look_for_values(&mut self, index: usize) {
        let now = self.now;
        let shelf = &mut self.peers[index].shelf;
        let late: Vec<_> = shelf.open.iter().filter(|(_, (_, until))| *until <= now).map(|(nonce, _)| *nonce).collect();
        for nonce in late {
            if let (Some((question, _)), Some(search)) = (shelf.open.remove(&nonce), shelf.search.as_mut()) {
                search.silent(&question);
            }
        }
        if shelf.missing.is_empty() {
            shelf.search = None;
            return;
        }
        if shelf.search.is_none() {
            let missing: Vec<_> = shelf.missing.iter().take(20).cloned().collect();
            let wanted: Vec<_> = missing.into_iter().map(|digest| self.wanted_from(index, digest)).collect();
            self.peers[index].shelf.search = Some(Search::new(wanted, &mut self.random));
        }
        while let Some(search) = self.peers[index].shelf.search.as_mut() {
            match search.step() {
                Step::Ask(question) => {
                    let nonce = self.random.u64(1..);
                    let (to, digests) = (question.to.clone(), question.digests.clone());
                    self.peers[index].shelf.open.insert(nonce, (question, now + PATIENCE));
                    self.tell(index, &to, nonce, Content::PrivateRequest(digests));
                }
                Step::Await => break,
                // The next look begins anew, with whoever is there then.
                Step::Pause | Step::Done => self.peers[index].shelf.search = None,
            }
        }
    }

    fn wanted_from(&mut self, index: usize, digest: PrivateDigest) -> Wanted {
        let (collection, block) = (collection_in(&digest), digest.block);
        let ledger = &self.peers[index].ledger;
        let [then, now] = [ledger.definition_for(block), ledger.definition()]
            .map(|definition| self.definitions[definition].collection(collection).cloned());
        let keeps = |height| expected_to_keep(height, block, lifetime(collection), PULL_MARGIN);
        let [preferred, others] =
            [then, now].map(|config| config.map(|config| self.audience(index, &config, keeps)).unwrap_or_default());
        Wanted { digest, preferred, others }
    }

    /// Takes values that were asked for.
    fn take_answer(&mut self, to: usize, from: usize, nonce: u64, elements: &[PrivateElement]) {
        let sender = &self.peers[from].about.pki_id;
        let shelf = &self.peers[to].shelf;
        let Some((question, _)) = shelf.open.get(&nonce).filter(|(question, _)| question.to == *sender) else { return };
        let question = question.clone();
        let ledger = &self.peers[to].ledger;
        let proven: Vec<_> = answers_to(&question, elements.to_vec())
            .into_iter()
            .filter_map(|element| {
                let mut announced = ledger.transactions(element.digest.block).filter_map(Announced::parse);
                let announced = announced.find(|announced| announced.tx_id == element.digest.tx_id)?;
                let value = element.payload.into_iter().find(|value| proves(&announced.hash, value))?;
                Some((element.digest, value))
            })
            .collect();
        let shelf = &mut self.peers[to].shelf;
        shelf.open.remove(&nonce);
        if let Some(search) = &mut shelf.search {
            let found: Vec<_> = proven.iter().map(|(digest, _)| digest.clone()).collect();
            search.answered(&question, &found, proven.iter().map(|(_, value)| value.len()).sum());
        }
        for (digest, value) in proven {
            if shelf.missing.remove(&digest) {
                let kept = Kept { value, block: digest.block, collection: collection_in(&digest) };
                shelf.values.insert(digest.tx_id.clone(), kept);
            }
        }
    }

    /// The members of the channel, as a peer sees them, that may have values of a collection and whose height is right.
    fn audience(&mut self, index: usize, config: &StaticCollectionConfig, accept: impl Fn(u64) -> bool) -> Vec<PkiId> {
        let (view, msps) = (self.peers[index].view(), &self.peers[index].voucher.configuration.msps);
        let Ok(audience) = Audience::of(config, msps) else { return Vec::new() };
        let own = &self.peers[index].about.pki_id;
        let members = view.channels.get(&self.channel).into_iter().flatten().filter(|(pki_id, _)| *pki_id != own);
        let entitled = members.filter(|(_, member)| accept(member.height) && audience.admits_member(member, msps));
        entitled.map(|(pki_id, _)| pki_id.clone()).collect()
    }

    /// Whether a peer's organization keeps the values of a collection, as it was defined once.
    fn keeps(&self, index: usize, definition: usize, collection: usize) -> bool {
        let peer = &self.peers[index];
        let msps = &peer.voucher.configuration.msps;
        let config = self.definitions[definition].collection(collection);
        let audience = config.and_then(|config| Audience::of(config, msps).ok());
        audience.is_some_and(|audience| audience.keeps(&peer.about.organization, msps))
    }

    /// Whether another peer may have what a block wrote to a collection, as far as this one knows.
    fn entitles(&mut self, index: usize, other: usize, collection: usize, block: u64) -> bool {
        let peer = &self.peers[index];
        let (then, now) = (peer.ledger.definition_for(block), peer.ledger.definition());
        let other_id = self.peers[other].about.pki_id.clone();
        let configuration = peer.ledger.configuration();
        let question = Entitlement { configuration, peer: other_id, collection, then, now };
        if let Some(known) = self.exchange.entitled.get(&question) {
            return *known;
        }
        let [then, now] = [then, now].map(|definition| &self.definitions[definition].package);
        let definitions = Definitions::of(&collection.to_string(), Some(then), now);
        let contact = self.judged(index, other);
        let msps = &peer.voucher.configuration.msps;
        let is_entitled = contact.is_some_and(|contact| definitions.entitle(&signed_handshake(&contact), msps));
        self.exchange.entitled.insert(question, is_entitled);
        is_entitled
    }

    /// Whether a peer takes another one for a reader of the channel.
    fn is_reader(&self, index: usize, other: usize) -> bool {
        let handshake = self.peers[other].handshake.envelope();
        let identity = &self.peers[other].about.identity;
        self.peers[index].voucher.verify_reader(&self.channel, identity, &handshake.payload, &handshake.signature)
    }

    /// What another peer gets when it asks for a value.
    fn asked_for(&mut self, index: usize, other: usize, digest: &PrivateDigest) -> Vec<Bytes> {
        if !self.entitles(index, other, collection_in(digest), digest.block) {
            return Vec::new();
        }
        let peer = &self.peers[index];
        if digest.block < peer.ledger.height() {
            let kept = peer.shelf.values.get(&digest.tx_id);
            let kept = kept.filter(|kept| kept.block == digest.block && kept.collection == collection_in(digest));
            return kept.map(|kept| kept.value.clone()).into_iter().collect();
        }
        // Among what waits for its block only the collection that is asked for counts.
        let waiting = peer.shelf.transient.get(&digest.tx_id).into_iter().flatten();
        let is_asked =
            |value: &&Bytes| Claim::find(value).is_some_and(|claim| claim.collection == collection_in(digest));
        waiting.filter(is_asked).cloned().collect()
    }

    fn tell(&mut self, from: usize, to: &PkiId, nonce: u64, content: Content) {
        let endpoint = self.peers[from].view().alive.get(to).map(|peer| peer.member.preferred_endpoint().to_owned());
        let channel = Some(self.channel.clone());
        let message = SignedMessage::unsigned(Message { nonce, channel, tag: Tag::ChannelOrOrganization, content });
        self.send(from, to, endpoint.unwrap_or_default(), &message);
    }
}

fn proves(hash: &str, value: &Bytes) -> bool {
    Digest::of(value).to_string() == hash
}
