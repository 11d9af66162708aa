//! Pulling: asking a few peers what they have, and fetching what is missing from those that have it.
//!
//! `Hello` → `Digest` → (after a while, when several have answered) `Request` → `Update`. This is both sides of it, for any
//! kind of items; what items there are, and who may have them, its owner knows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ripstop_proto::gossip as wire;
use ripstop_types::ChannelId;

use crate::{Content, DataKind, Message, Moment, Options, PkiId, SignedMessage, Surroundings, Tag};

/// How many items are wanted at most in one round; the others in the next.
const MAX_WANTED: usize = 1 << 14;
/// How many owners of an item are remembered.
const MAX_OWNERS: usize = 8;
/// How many items are asked of one peer, and given to one, at most at once.
const MAX_REQUESTED: usize = 1 << 12;
/// How many bytes of items are given at once; one item is always given.
const MAX_GIVEN_BYTES: usize = 16 << 20;
/// How many peers that said hello are remembered until they ask; of further ones, hello is ignored.
const MAX_GUESTS: usize = 1 << 12;
/// How soon the same peer may say hello again; what comes sooner is ignored.
const MIN_HELLO_INTERVAL: Duration = Duration::from_millis(200);

/// Both sides of pulling items of one kind.
#[derive(Debug)]
pub(crate) struct Pull {
    kind: DataKind,
    channel: Option<ChannelId>,
    digest_wait: Duration,
    request_wait: Duration,
    response_wait: Duration,
    next_round: Moment,
    round: Option<Round>,
    guests: BTreeMap<PkiId, Guest>,
}

/// A round that this peer began.
#[derive(Debug)]
struct Round {
    nonces: BTreeMap<PkiId, u64>,
    stage: Stage,
    ends: Moment,
}

#[derive(Debug)]
enum Stage {
    /// Who has what?
    Collecting(BTreeMap<Bytes, Vec<PkiId>>),
    /// What was asked of whom and is not there yet.
    Fetching(BTreeMap<PkiId, BTreeSet<Bytes>>),
}

/// A peer that said hello.
#[derive(Debug)]
struct Guest {
    // Until it has asked.
    nonce: Option<u64>,
    since: Moment,
}

impl Pull {
    /// Begins; the first round comes after an interval.
    pub(crate) fn new(now: Moment, kind: DataKind, channel: Option<ChannelId>, options: &Options) -> Self {
        Self {
            kind,
            channel,
            digest_wait: options.digest_wait_time,
            request_wait: options.request_wait_time,
            response_wait: options.response_wait_time,
            next_round: now + options.pull_interval,
            round: None,
            guests: BTreeMap::new(),
        }
    }

    /// When time alone changes something.
    pub(crate) fn wake_at(&self) -> Moment {
        self.round.as_ref().map_or(self.next_round, |round| round.ends.min(self.next_round))
    }

    /// Does what is due: asks for items when digests had their time, ends a round, begins the next one with the peers that
    /// `choose` names, an `interval` after the last one.
    pub(crate) fn wake(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        interval: Duration,
        choose: impl FnOnce(&mut fastrand::Rng) -> Vec<PkiId>,
    ) {
        let now = surroundings.now;
        if self.round.as_ref().is_some_and(|round| round.ends <= now) {
            self.go_on(surroundings);
        }
        if self.next_round <= now {
            // An interval shorter than a round cuts it short.
            self.next_round = now + interval.max(Duration::from_millis(1));
            let peers = choose(surroundings.random);
            self.begin(surroundings, peers);
        }
    }

    fn begin(&mut self, surroundings: &mut Surroundings<'_>, peers: Vec<PkiId>) {
        let mut nonces = BTreeMap::new();
        for peer in peers {
            let nonce = surroundings.random.u64(1..);
            let content = Content::Hello { nonce, metadata: Bytes::new(), kind: self.kind };
            let message = self.message(content);
            surroundings.send(&peer, message);
            nonces.insert(peer, nonce);
        }
        let ends = surroundings.now + self.digest_wait;
        self.round = (!nonces.is_empty()).then(|| Round { nonces, stage: Stage::Collecting(BTreeMap::new()), ends });
    }

    /// Behind the digests come the requests; behind those, the end.
    fn go_on(&mut self, surroundings: &mut Surroundings<'_>) {
        let Some(mut round) = self.round.take() else { return };
        let Stage::Collecting(owners) = round.stage else { return };
        let mut requests = BTreeMap::<PkiId, BTreeSet<Bytes>>::new();
        for (item, owners) in owners {
            let owner = &owners[surroundings.random.usize(..owners.len())];
            let wanted = requests.entry(owner.clone()).or_default();
            if wanted.len() < MAX_REQUESTED {
                wanted.insert(item);
            }
        }
        if requests.is_empty() {
            return;
        }
        for (owner, items) in &requests {
            let nonce = round.nonces.get(owner).copied().unwrap_or_default();
            let content = Content::Request { nonce, digests: items.iter().cloned().collect(), kind: self.kind };
            let message = self.message(content);
            surroundings.send(owner, message);
        }
        round.stage = Stage::Fetching(requests);
        round.ends = surroundings.now + self.response_wait;
        self.round = Some(round);
    }

    /// Takes what a peer has: the items of its digest that are missing here. What nobody asked it for is ignored.
    pub(crate) fn take_digest(&mut self, from: &PkiId, nonce: u64, missing: impl Iterator<Item = Bytes>) {
        let Some(Round { nonces, stage: Stage::Collecting(owners), .. }) = &mut self.round else { return };
        if nonces.get(from) != Some(&nonce) {
            return;
        }
        for item in missing {
            if let Some(known) = owners.get_mut(&item) {
                if known.len() < MAX_OWNERS && !known.contains(from) {
                    known.push(from.clone());
                }
            } else if owners.len() < MAX_WANTED {
                owners.insert(item, vec![from.clone()]);
            }
        }
    }

    /// The items that an update may hold: those that were asked of the peer. `None` when none were, or the time is over;
    /// then the update is to be ignored.
    pub(crate) fn take_update(&mut self, from: &PkiId, nonce: u64) -> Option<BTreeSet<Bytes>> {
        let Some(Round { nonces, stage: Stage::Fetching(requests), .. }) = &mut self.round else { return None };
        if nonces.get(from) != Some(&nonce) {
            return None;
        }
        requests.remove(from)
    }

    /// Takes a hello. Whether it is to be answered with a digest of the items that this peer may have.
    pub(crate) fn take_hello(&mut self, now: Moment, from: &PkiId, nonce: u64) -> bool {
        if self.guests.get(from).is_some_and(|guest| now.since(guest.since) < MIN_HELLO_INTERVAL) {
            return false;
        }
        if self.guests.len() >= MAX_GUESTS && !self.guests.contains_key(from) {
            let request_wait = self.request_wait;
            self.guests.retain(|_, guest| now.since(guest.since) < request_wait);
            if self.guests.len() >= MAX_GUESTS {
                return false;
            }
        }
        self.guests.insert(from.clone(), Guest { nonce: Some(nonce), since: now });
        true
    }

    /// Takes a request. Whether it is to be answered: its sender said hello with this nonce not too long ago, and did not ask
    /// since; answers are large.
    pub(crate) fn take_request(&mut self, now: Moment, from: &PkiId, nonce: u64) -> bool {
        let Some(guest) = self.guests.get_mut(from) else { return false };
        let is_right = guest.nonce == Some(nonce) && now.since(guest.since) < self.request_wait;
        if is_right {
            guest.nonce = None;
        }
        is_right
    }

    /// Answers a hello. Without items there is no answer.
    pub(crate) fn answer_hello(
        &self,
        surroundings: &mut Surroundings<'_>,
        to: &PkiId,
        nonce: u64,
        digests: Vec<Bytes>,
    ) {
        if !digests.is_empty() {
            let message = self.message(Content::Digest { nonce, digests, kind: self.kind });
            surroundings.send(to, message);
        }
    }

    /// Answers a request with as many of the items as may be given at once. Without items there is no answer.
    pub(crate) fn answer_request(
        &self,
        surroundings: &mut Surroundings<'_>,
        to: &PkiId,
        nonce: u64,
        items: impl Iterator<Item = wire::Envelope>,
    ) {
        let mut bytes = 0;
        let data: Vec<_> = items
            .take(MAX_REQUESTED)
            .take_while(|item| {
                let fits = bytes == 0 || bytes + item.payload.len() <= MAX_GIVEN_BYTES;
                bytes += item.payload.len();
                fits
            })
            .collect();
        if !data.is_empty() {
            let message = self.message(Content::Update { nonce, data, kind: self.kind });
            surroundings.send(to, message);
        }
    }

    fn message(&self, content: Content) -> SignedMessage {
        let tag = match self.kind {
            DataKind::Blocks => Tag::ChannelAndOrganization,
            DataKind::Identities => Tag::Everybody,
        };
        SignedMessage::unsigned(Message { nonce: 0, channel: self.channel.clone(), tag, content })
    }
}
