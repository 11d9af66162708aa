use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::{ChannelMember, PkiId, PrivateDigest, PrivateElement};
use ripstop_gossip_service::AskError;
use ripstop_ledger::{PrivatePlace, PrivateSet, StateError};
use ripstop_rwset::ReceivedSets;
use ripstop_sharing::{Question, Search, Step, Wanted, answers_to, expected_to_keep};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::channel::{Answer, Inner};
use crate::gather::{TransactionKind, listed};
use crate::{ChannelPrivateData, Gathered, Missed, PullAtCommit};

/// How long one peer may take to answer (Fabric: `responseWaitTime`).
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Whoever had less time than this to answer is not taken for silent.
const FAIR_PATIENCE: Duration = Duration::from_secs(1);

/// How long to pause before peers that did not answer are asked again (Fabric: `pullRetrySleepInterval`).
const PAUSE: Duration = Duration::from_secs(1);

/// How many sets for one digest are looked at: a peer may have several endorsements of a transaction.
pub(crate) const MAX_PAYLOADS: usize = 16;

/// Whether peers that did not answer are asked again while there is time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    AskAgain,
    AskOnce,
}

/// The peers of a channel that may have the values of one collection.
struct Holders {
    /// Those of an organization that the policy names, with their heights: among them are endorsers that have the values.
    of_members: Vec<(PkiId, u64)>,
    /// Those that the policy admits, with their heights.
    admitted: Vec<(PkiId, u64)>,
    block_to_live: u64,
}

impl ChannelPrivateData {
    /// Asks other peers for what is missed of a block, for at most as long as a block may wait, and no longer than anybody is
    /// there who might have it and was not asked.
    pub async fn fetch(&self, gathered: Gathered) -> Result<Gathered, StateError> {
        let inner = &self.inner;
        if self.config().pull_patience.is_zero() {
            return Ok(gathered);
        }
        let wanted = inner.wanted(&gathered)?;
        if wanted.is_empty() {
            return Ok(gathered);
        }
        let began = Instant::now();
        let expected = gathered.missed.iter().map(|missed| (digest(missed), missed.clone())).collect();
        let mut completion = Completion { expected, gathered };
        let deadline = began + self.config().pull_patience;
        inner.search(wanted, deadline, Persistence::AskAgain, &mut completion).await;
        self.metrics().fetched(inner.channel(), began.elapsed());
        Ok(completion.gathered)
    }
}

/// What becomes of the elements that a search brings.
pub(crate) trait Acceptance: Send {
    /// Takes what a peer answered; says what of it is proven.
    fn accept(&mut self, elements: Vec<PrivateElement>) -> impl Future<Output = Vec<PrivateDigest>> + Send;
}

/// Completes what is known of a block that is not committed yet.
struct Completion {
    expected: BTreeMap<PrivateDigest, Missed>,
    gathered: Gathered,
}

impl Acceptance for Completion {
    async fn accept(&mut self, elements: Vec<PrivateElement>) -> Vec<PrivateDigest> {
        let (mut proven, mut unproven) = (Vec::new(), ReceivedSets::default());
        for PrivateElement { digest, payload } in elements {
            let Some(missed) = self.expected.get(&digest) else { continue };
            let something = !payload.is_empty();
            let mut sets =
                payload.into_iter().take(MAX_PAYLOADS).filter_map(|raw| parse(&missed.place, raw, &mut unproven));
            match sets.find(|set| set.writes.hash().as_bytes()[..] == missed.hash) {
                Some(set) => {
                    self.gathered.add(set);
                    proven.push(digest);
                }
                // Another peer may still have all of it.
                None if something => self.gathered.leave_for_later(&missed.place),
                None => {}
            }
        }
        proven
    }
}

fn digest(missed: &Missed) -> PrivateDigest {
    let PrivatePlace { block, tx, namespace, collection } = missed.place.clone();
    PrivateDigest { tx_id: missed.tx_id.as_str().to_owned(), namespace, collection, block: block.get(), tx }
}

/// Writes as another peer sent them, for the place where they are said to belong.
pub(crate) fn parse(place: &PrivatePlace, raw: Bytes, unproven: &mut ReceivedSets) -> Option<PrivateSet> {
    let writes = unproven.collection(&place.namespace, place.collection.clone(), raw)?;
    Some(PrivateSet { place: place.clone(), writes })
}

impl Inner {
    /// Who may be asked for what is missed of a block.
    fn wanted(&self, gathered: &Gathered) -> Result<Vec<Wanted>, StateError> {
        let mut collections: BTreeMap<(&str, &str), Option<Holders>> = BTreeMap::new();
        let (mut wanted, mut forgotten) = (Vec::new(), Vec::new());
        for missed in &gathered.missed {
            if missed.of == TransactionKind::Invalid && self.shared.config.pull_at_commit != PullAtCommit::Everything {
                continue;
            }
            let PrivatePlace { block, namespace, collection, .. } = &missed.place;
            let holders = match collections.entry((namespace, collection)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(self.holders(namespace, collection)?),
            };
            let Some(holders) = holders else { continue };
            let (lifetime, margin) = (holders.block_to_live, self.shared.config.pull_margin);
            let keep = |holders: &[(PkiId, u64)]| that_keep(holders, block.get(), lifetime, margin);
            let mut preferred = keep(&holders.of_members);
            preferred.retain(|peer| missed.endorsers.contains(peer));
            let others = keep(&holders.admitted);
            if preferred.is_empty() && others.is_empty() && !holders.admitted.is_empty() {
                forgotten.push(missed);
            }
            wanted.push(Wanted { digest: digest(missed), preferred, others });
        }
        if !forgotten.is_empty() {
            let margin = self.shared.config.pull_margin;
            tracing::warn!(target: "gossip.privdata", channel = self.channel(), "Missing key because was purged or will soon be purged, continue block commit without [{}] in private rwset: no peer is asked for what its collection's blockToLive lets it forget within peer.gossip.pvtData.btlPullMargin ({margin}) blocks", listed(forgotten));
        }
        Ok(wanted)
    }

    fn holders(&self, namespace: &str, collection: &str) -> Result<Option<Holders>, StateError> {
        let Some(defined) = self.audience(namespace, collection)? else { return Ok(None) };
        let (view, channel) = (self.view(), self.ledger.config());
        let there: Vec<_> =
            self.others(&view).filter(|member| self.is_worth_waiting_for(&member.peer.member.pki_id)).collect();
        let id = |member: &ChannelMember| (member.peer.member.pki_id.clone(), member.height);
        let of_members = there.iter().filter(|member| defined.audience.names(&member.peer.organization));
        let admitted = there.iter().filter(|member| defined.audience.admits_member(member, channel.msps()));
        Ok(Some(Holders {
            of_members: of_members.map(|member| id(member)).collect(),
            admitted: admitted.map(|member| id(member)).collect(),
            block_to_live: defined.block_to_live,
        }))
    }

    /// Carries out a search.
    pub(crate) async fn search(
        self: &Arc<Self>,
        wanted: Vec<Wanted>,
        deadline: Instant,
        persistence: Persistence,
        acceptance: &mut impl Acceptance,
    ) -> Search {
        let mut search = Search::new(wanted, &mut fastrand::Rng::new());
        let mut asking = JoinSet::new();
        loop {
            match search.step() {
                Step::Ask(question) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return search;
                    }
                    asking.spawn(Arc::clone(self).ask(question, left.min(ANSWER_PATIENCE)));
                }
                Step::Await => {
                    let Some(Ok((question, answer))) = asking.join_next().await else { return search };
                    match answer {
                        Some(elements) => {
                            let elements = answers_to(&question, elements);
                            let bytes = elements.iter().flat_map(|element| &element.payload).map(Bytes::len).sum();
                            let proven = acceptance.accept(elements).await;
                            search.answered(&question, &proven, bytes);
                        }
                        None => search.silent(&question),
                    }
                }
                Step::Pause if persistence == Persistence::AskAgain && Instant::now() + PAUSE < deadline => {
                    tokio::time::sleep(PAUSE).await;
                    let there = self.members();
                    search.resume(|peer| there.contains(peer) && self.is_worth_waiting_for(peer));
                }
                Step::Pause | Step::Done => return search,
            }
        }
    }

    async fn ask(self: Arc<Self>, question: Question, patience: Duration) -> (Question, Option<Vec<PrivateElement>>) {
        let (began, channel) = (Instant::now(), self.ledger.channel_id());
        let asked = self.shared.neighbours.ask(&question.to, channel, question.digests.clone(), patience).await;
        self.shared.metrics.pulled(channel.as_str(), began.elapsed());
        match &asked {
            Ok(_) => self.note_answer(&question.to, Answer::Given),
            Err(AskError::Timeout(_)) if patience >= FAIR_PATIENCE => self.note_answer(&question.to, Answer::Missing),
            Err(AskError::Timeout(_) | AskError::Send(_)) => {}
        }
        if let Err(error) = &asked {
            tracing::debug!(target: "gossip.privdata", %channel, "{} did not answer: {error}", question.to);
        }
        (question, asked.ok())
    }
}

/// Those that still have what a block wrote.
fn that_keep(holders: &[(PkiId, u64)], block: u64, block_to_live: u64, margin: u64) -> Vec<PkiId> {
    let keeps = |height: u64| expected_to_keep(height, block, block_to_live, margin);
    holders.iter().filter(|(_, height)| keeps(*height)).map(|(peer, _)| peer.clone()).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ripstop_rwset::RwSetBuilder;
    use ripstop_types::{BlockNumber, TxId};

    use super::*;

    fn writes(keys: &[&str]) -> Bytes {
        let mut builder = RwSetBuilder::new();
        for key in keys {
            builder.private_write("cc", "coll", key, "value".into());
        }
        builder.build().1.expect("something was written").namespaces[0].collections[0].raw.clone()
    }

    fn missed(tx: u64, keys: &[&str]) -> Missed {
        let block = BlockNumber::new(7);
        let place = PrivatePlace { block, tx, namespace: "cc".to_owned(), collection: "coll".to_owned() };
        let hash = parse(&place, writes(keys), &mut ReceivedSets::default()).expect("it is well formed").writes.hash();
        let hash = Bytes::copy_from_slice(hash.as_bytes());
        Missed { place, tx_id: TxId::new(&format!("tx{tx}")), hash, of: TransactionKind::Valid, endorsers: vec![] }
    }

    /// What is said of a block with two sets, one of which comes, when somebody answers for the other one with this.
    async fn report(answer: Vec<Bytes>) -> String {
        let all = [missed(0, &["a", "b"]), missed(1, &["c"])];
        let expected = all.iter().map(|missed| (digest(missed), missed.clone())).collect();
        let gathered = Gathered::lacking(BlockNumber::new(7), all.to_vec());
        let mut completion = Completion { expected, gathered };
        let elements = [(&all[0], answer), (&all[1], vec![writes(&["c"])])];
        let elements = elements.map(|(missed, payload)| PrivateElement { digest: digest(missed), payload });
        let proven = completion.accept(elements.to_vec()).await;
        assert!(proven.contains(&digest(&all[1])));
        completion.gathered.missed.retain(|missed| !proven.contains(&digest(missed)));
        completion.gathered.report().to_string()
    }

    #[tokio::test]
    async fn what_other_peers_have_purged_in_part_is_left_for_reconciliation_without_an_alarm() {
        for part in [writes(&["b"]), Bytes::new()] {
            assert_eq!(
                report(vec![part]).await,
                "Successfully fetched (or marked to reconcile later) all 2 eligible collection private write sets for \
                 block [7] (0 from local cache, 0 from transient store, 2 from other peers)"
            );
        }
    }

    #[tokio::test]
    async fn what_nobody_answers_for_is_named() {
        assert_eq!(
            report(vec![]).await,
            "Could not fetch (or mark to reconcile later) 2 eligible collection private write sets for block [7] (0 from \
             local cache, 0 from transient store, 1 from other peers). Will commit block with missing private write \
             sets:[txID: tx0, seq: 0, namespace: cc, collection: coll]"
        );
    }
}
