//! Private values: spread before a transaction is ordered, fetched by whoever misses them, given to nobody else.
//!
//! A value of a collection belongs to the organizations of the collection: the first collection to the first two
//! organizations, the second one to the second alone. Transactions carry its hash.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::{
    Content, Message, Moment, PkiId, PrivateDigest, PrivateElement, PrivatePayload, SignedMessage, Tag,
};
use ripstop_sharing::{Candidate, PeerCounts, Question, Search, Standing, Step, Tally, Wanted, answers_to, choose};
use ripstop_types::Digest;

use crate::world::World;

/// With what every private value begins, so that it is found wherever it is.
pub(crate) const MARK: &str = "PRIVATE:";
/// How many collections there are.
const COLLECTIONS: usize = 2;
/// How many peers get a value before its transaction is ordered.
const COUNTS: PeerCounts = PeerCounts { required: 1, maximum: 2 };
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The chaincode.
const NAMESPACE: &str = "cc";

/// What a peer has and lacks of private values.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// By transaction.
    pub(crate) values: BTreeMap<String, Bytes>,
    missing: BTreeSet<PrivateDigest>,
    search: Option<Search>,
    open: BTreeMap<u64, (Question, Moment)>,
}

impl Shelf {
    /// What a crash leaves: the values, and what is missing.
    pub(crate) fn crash(&mut self) {
        self.search = None;
        self.open.clear();
    }
}

/// Endorsements that wait for acknowledgements.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    waiting: BTreeMap<u64, (String, Tally)>,
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

    fn proves(&self, value: &Bytes) -> bool {
        Digest::of(value).to_string() == self.hash
    }
}

/// Whether peers of an organization may have values of a collection.
pub(crate) const fn is_entitled(organization: usize, collection: usize) -> bool {
    match collection {
        0 => organization < 2,
        _ => organization == 1,
    }
}

impl World {
    /// A peer endorses a transaction that writes a private value: it spreads the value first.
    pub(crate) fn endorse_privately(&mut self, number: u64) {
        let collection = self.random.usize(..COLLECTIONS);
        let entitled = |index: &usize| is_entitled(self.story.parts[*index].organization, collection);
        let endorsers: Vec<_> = self.honest().into_iter().filter(entitled).collect();
        let Some(endorser) = self.random.choice(endorsers) else { return };
        let tx_id = format!("tx{number}");
        let value = Bytes::from(format!("{MARK}{collection}:{tx_id}"));
        let transaction = format!("private {tx_id} {collection} {}", Digest::of(&value));
        let eligible = self.holders(endorser, collection);
        let eligible = eligible.into_iter().filter_map(|peer| {
            let organization = self.peers[self.peer_of(&peer)?].about.organization.clone();
            Some(Candidate { peer, organization })
        });
        let eligible = eligible.collect();
        let Some(chosen) = choose(COUNTS, eligible, &mut self.random) else { return };
        self.peers[endorser].shelf.values.insert(tx_id.clone(), value.clone());
        self.exchange.waiting.insert(number, (transaction, Tally::new(COUNTS.required, chosen.len())));
        let payload = PrivatePayload {
            collection: collection.to_string(),
            namespace: NAMESPACE.to_owned(),
            tx_id,
            writes: value,
            endorsed_at: self.peers[endorser].ledger.height(),
            collection_configs: None,
        };
        for peer in chosen {
            self.tell(endorser, &peer, number, Content::PrivateData(payload.clone()));
        }
    }

    /// Takes what concerns private values.
    pub(crate) fn take_private(&mut self, from: usize, to: usize, message: &SignedMessage) {
        let nonce = message.message().nonce;
        let sender = self.peers[from].about.pki_id.clone();
        match &message.message().content {
            Content::PrivateData(payload) => {
                let is_ours = payload.collection.parse().is_ok_and(|collection| self.may_have(to, collection));
                let has_room = self.peers[to].shelf.values.len() < 10_000;
                if is_ours && has_room {
                    self.peers[to].shelf.values.entry(payload.tx_id.clone()).or_insert(payload.writes.clone());
                    self.tell(to, &sender, nonce, Content::Acknowledgement { error: String::new() });
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
            Content::PrivateRequest(digests) => {
                let elements = digests.iter().take(100).map(|digest| PrivateElement {
                    digest: digest.clone(),
                    payload: self.value_for(to, from, &digest.tx_id).into_iter().collect(),
                });
                let elements = elements.collect();
                self.tell(to, &sender, nonce, Content::PrivateResponse(elements));
            }
            Content::PrivateResponse(elements) => self.take_answer(to, from, nonce, elements),
            _ => {}
        }
    }

    /// Notes which private values of a block a peer misses, and takes those that came with it.
    pub(crate) fn shelve(&mut self, index: usize, number: u64, came: &[Bytes]) {
        let peer = &self.peers[index];
        let announced: Vec<_> = peer.ledger.transactions(number).filter_map(Announced::parse).collect();
        for (tx, announced) in (0..).zip(announced) {
            if !self.may_have(index, announced.collection) {
                continue;
            }
            let shelf = &mut self.peers[index].shelf;
            if shelf.values.get(&announced.tx_id).is_some_and(|value| !announced.proves(value)) {
                shelf.values.remove(&announced.tx_id);
            }
            if let Some(value) = came.iter().find(|value| announced.proves(value)) {
                shelf.values.insert(announced.tx_id.clone(), value.clone());
            }
            if !shelf.values.contains_key(&announced.tx_id) {
                shelf.missing.insert(PrivateDigest {
                    tx_id: announced.tx_id,
                    namespace: NAMESPACE.to_owned(),
                    collection: announced.collection.to_string(),
                    block: number,
                    tx,
                });
            }
        }
    }

    /// The private values of a block that another peer may have from this one.
    pub(crate) fn values_for(&self, index: usize, other: usize, number: u64) -> Vec<Bytes> {
        let announced = self.peers[index].ledger.transactions(number).filter_map(Announced::parse);
        announced.filter_map(|announced| self.value_for(index, other, &announced.tx_id)).collect()
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
        let collection = digest.collection.parse().unwrap_or(COLLECTIONS);
        let others = self.holders(index, collection);
        Wanted { digest, preferred: Vec::new(), others }
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
                let value = element.payload.into_iter().find(|value| announced.proves(value))?;
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
            shelf.values.insert(digest.tx_id.clone(), value);
            shelf.missing.remove(&digest);
        }
    }

    /// The members of the channel, as a peer sees them, that may have values of a collection.
    fn holders(&mut self, index: usize, collection: usize) -> Vec<PkiId> {
        let view = self.peers[index].view();
        let own = self.peers[index].about.pki_id.clone();
        let members = view.channels.get(&self.channel);
        let members = members.into_iter().flatten().filter(|(pki_id, _)| **pki_id != own);
        let entitled = members.filter(|(_, member)| {
            let organization = self.organizations.iter().position(|name| *name == member.peer.organization);
            organization.is_some_and(|organization| is_entitled(organization, collection))
        });
        entitled.map(|(pki_id, _)| pki_id.clone()).collect()
    }

    fn may_have(&self, index: usize, collection: usize) -> bool {
        collection < COLLECTIONS && is_entitled(self.story.parts[index].organization, collection)
    }

    fn value_for(&self, holder: usize, other: usize, tx_id: &str) -> Option<Bytes> {
        let value = self.peers[holder].shelf.values.get(tx_id)?;
        let collection = collection_of(value)?;
        self.may_have(other, collection).then(|| value.clone())
    }

    fn tell(&mut self, from: usize, to: &PkiId, nonce: u64, content: Content) {
        let endpoint = self.peers[from].view().alive.get(to).map(|peer| peer.member.preferred_endpoint().to_owned());
        let channel = Some(self.channel.clone());
        let message = SignedMessage::unsigned(Message { nonce, channel, tag: Tag::ChannelOrOrganization, content });
        self.send(from, to, endpoint.unwrap_or_default(), &message);
    }
}

/// The collection of the first private value in some bytes.
pub(crate) fn collection_of(bytes: &[u8]) -> Option<usize> {
    let place = bytes.windows(MARK.len()).position(|window| window == MARK.as_bytes())?;
    let digit = bytes.get(place + MARK.len())?;
    Some(usize::from(digit.wrapping_sub(b'0')))
}
