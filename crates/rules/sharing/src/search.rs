use std::collections::{BTreeMap, BTreeSet};

use ripstop_gossip::{PkiId, PrivateDigest, PrivateElement};

/// How many peers are asked for a set at most. With a larger collection others have it just as well.
pub const MAX_CANDIDATES: usize = 16;

/// How many sets one question names at most: an answer holds all of them.
pub const MAX_DIGESTS: usize = 500;

/// From how many bytes of values on there may have been no room in an answer for all that the peer has. It is half of what
/// peers of this kind put into one: only a set that is larger than that is not asked for again.
pub const FULL_ANSWER: usize = 32 << 20;

/// How many questions are open at once, each to another peer.
pub const MAX_QUESTIONS: usize = 8;

/// A set of private writes that is missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub digest: PrivateDigest,
    /// Who most likely has it: those that endorsed it, or belonged to the collection when it was written.
    pub preferred: Vec<PkiId>,
    /// Who else may.
    pub others: Vec<PkiId>,
}

/// Whether a peer at this height still has what a block wrote to a collection, and will for some blocks
/// (`peer.gossip.pvtData.btlPullMargin`).
pub fn expected_to_keep(height: u64, block: u64, block_to_live: u64, margin: u64) -> bool {
    block_to_live == 0 || height.saturating_add(margin) < block.saturating_add(block_to_live)
}

/// What to ask a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Whom.
    pub to: PkiId,
    /// For what.
    pub digests: Vec<PrivateDigest>,
}

/// The elements of an answer that were asked for and hold something. A peer that answers what it was not asked is not heard.
pub fn answers_to(question: &Question, elements: Vec<PrivateElement>) -> Vec<PrivateElement> {
    let mut open: BTreeSet<&PrivateDigest> = question.digests.iter().collect();
    elements.into_iter().filter(|element| !element.payload.is_empty() && open.remove(&element.digest)).collect()
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask.
    Ask(Question),
    /// Wait for an answer.
    Await,
    /// Nobody is left to ask but those that did not answer: pause, and [`Search::resume`] if there is time.
    Pause,
    /// It is over: all is found that can come.
    Done,
}

/// A search for sets of private writes among peers. Every peer is asked once for a set; one that does not answer may be asked
/// again, and one whose answer had no room for all is. It ends when all is found or nobody is left who might have what is not.
///
/// Fabric goes on asking until a time is over, whether or not there is anybody to ask.
#[derive(Debug, Default)]
pub struct Search {
    open: BTreeMap<PrivateDigest, Vec<Candidate>>,
    /// Who is being asked.
    asked: BTreeSet<PkiId>,
}

#[derive(Debug)]
struct Candidate {
    peer: PkiId,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was not asked yet, or may have more than it gave.
    Untried,
    /// It is being asked.
    Asked,
    /// It answered, and does not have the set.
    Denied,
    /// It did not answer.
    Silent,
}

impl Search {
    /// Looks for these. Those that are equally likely to have a set are asked in a random order, which spreads the load.
    pub fn new(wanted: impl IntoIterator<Item = Wanted>, random: &mut fastrand::Rng) -> Self {
        let mut search = Self::default();
        for Wanted { digest, mut preferred, mut others } in wanted {
            random.shuffle(&mut preferred);
            random.shuffle(&mut others);
            let mut candidates: Vec<Candidate> = Vec::new();
            for peer in preferred.into_iter().chain(others) {
                if candidates.len() < MAX_CANDIDATES && !candidates.iter().any(|candidate| candidate.peer == peer) {
                    candidates.push(Candidate { peer, state: State::Untried });
                }
            }
            search.open.insert(digest, candidates);
        }
        search
    }

    /// What to do next. A question counts as open until [`Self::answered`] or [`Self::silent`].
    pub fn step(&mut self) -> Step {
        if self.asked.len() >= MAX_QUESTIONS {
            return Step::Await;
        }
        if let Some(question) = self.question() {
            self.asked.insert(question.to.clone());
            return Step::Ask(question);
        }
        if !self.asked.is_empty() {
            return Step::Await;
        }
        let may_come = self.open.values().flatten().any(|candidate| candidate.state == State::Silent);
        if may_come { Step::Pause } else { Step::Done }
    }

    /// The first peer to be asked for anything that is not being asked, and all that it is the next one to be asked for.
    fn question(&mut self) -> Option<Question> {
        let mut question: Option<Question> = None;
        for (digest, candidates) in &mut self.open {
            if candidates.iter().any(|candidate| candidate.state == State::Asked) {
                continue;
            }
            let next = candidates.iter_mut().find(|candidate| candidate.state == State::Untried);
            let Some(next) = next.filter(|next| !self.asked.contains(&next.peer)) else { continue };
            let question = question.get_or_insert_with(|| Question { to: next.peer.clone(), digests: Vec::new() });
            if question.to == next.peer && question.digests.len() < MAX_DIGESTS {
                next.state = State::Asked;
                question.digests.push(digest.clone());
            }
        }
        question
    }

    /// A peer answered with so many bytes of values, among them these sets, which are what they should be. What else it was
    /// asked for it does not have, unless the answer was full. Whoever gives nothing of use is not asked again.
    pub fn answered(&mut self, question: &Question, found: &[PrivateDigest], bytes: usize) {
        for digest in found {
            self.open.remove(digest);
        }
        let may_have_more = bytes >= FULL_ANSWER && !found.is_empty();
        self.settle(question, if may_have_more { State::Untried } else { State::Denied });
    }

    /// A peer did not answer. Nothing else is asked of it before a pause.
    pub fn silent(&mut self, question: &Question) {
        self.settle(question, State::Silent);
        let others = self.open.values_mut().flatten();
        for candidate in others.filter(|candidate| candidate.peer == question.to && candidate.state == State::Untried) {
            candidate.state = State::Silent;
        }
    }

    fn settle(&mut self, question: &Question, state: State) {
        self.asked.remove(&question.to);
        for digest in &question.digests {
            let candidates = self.open.get_mut(digest).into_iter().flatten();
            for candidate in candidates.filter(|candidate| candidate.peer == question.to) {
                candidate.state = state;
            }
        }
    }

    /// Goes on after a pause: peers that did not answer are asked again, as far as they are worth it.
    pub fn resume(&mut self, is_worth_it: impl Fn(&PkiId) -> bool) {
        for candidates in self.open.values_mut() {
            candidates.retain(|candidate| candidate.state != State::Silent || is_worth_it(&candidate.peer));
            for candidate in candidates.iter_mut().filter(|candidate| candidate.state == State::Silent) {
                candidate.state = State::Untried;
            }
        }
    }

    /// What was not found.
    pub fn missed(&self) -> impl Iterator<Item = &PrivateDigest> {
        self.open.keys()
    }

    /// What was not found though somebody answered: nobody who is there has it. The rest may only have met silence.
    pub fn denied(&self) -> impl Iterator<Item = &PrivateDigest> {
        let denied = |candidates: &[Candidate]| candidates.iter().any(|candidate| candidate.state == State::Denied);
        self.open.iter().filter(move |(_, candidates)| denied(candidates)).map(|(digest, _)| digest)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn peer(name: &str) -> PkiId {
        PkiId::claimed(Bytes::copy_from_slice(name.as_bytes()))
    }

    fn digest(tx: u64) -> PrivateDigest {
        let [namespace, collection] = ["cc", "coll"].map(str::to_owned);
        PrivateDigest { tx_id: format!("tx{tx}"), namespace, collection, block: 5, tx }
    }

    fn wanted(tx: u64, preferred: &[&str], others: &[&str]) -> Wanted {
        let peers = |names: &[&str]| names.iter().map(|name| peer(name)).collect();
        Wanted { digest: digest(tx), preferred: peers(preferred), others: peers(others) }
    }

    fn search(wanted: Vec<Wanted>) -> Search {
        Search::new(wanted, &mut fastrand::Rng::with_seed(1))
    }

    fn ask(search: &mut Search) -> Question {
        match search.step() {
            Step::Ask(question) => question,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn endorsers_are_asked_first_for_all_that_they_may_have() {
        let mut search = search(vec![
            wanted(0, &["endorser"], &["other"]),
            wanted(1, &["endorser"], &["other"]),
            wanted(2, &[], &["other"]),
        ]);
        let first = ask(&mut search);
        assert_eq!(first, Question { to: peer("endorser"), digests: vec![digest(0), digest(1)] });
        let second = ask(&mut search);
        assert_eq!(second, Question { to: peer("other"), digests: vec![digest(2)] });
        assert_eq!(search.step(), Step::Await);
        search.answered(&first, &[digest(0)], 1);
        assert_eq!(search.step(), Step::Await, "the other peer is being asked already");
        search.answered(&second, &[], 0);
        assert_eq!(ask(&mut search), Question { to: peer("other"), digests: vec![digest(1)] });
    }

    #[test]
    fn nobody_waits_for_what_cannot_come() {
        assert_eq!(search(vec![]).step(), Step::Done);
        let mut nobody = search(vec![wanted(0, &[], &[])]);
        assert_eq!(nobody.step(), Step::Done);
        assert_eq!((nobody.missed().count(), nobody.denied().count()), (1, 0));

        let mut search = search(vec![wanted(0, &["a"], &["b"])]);
        for name in ["a", "b"] {
            let question = ask(&mut search);
            assert_eq!(question.to, peer(name));
            search.answered(&question, &[], 0);
        }
        assert_eq!(search.step(), Step::Done);
        assert_eq!(search.denied().collect::<Vec<_>>(), [&digest(0)]);
    }

    #[test]
    fn peers_that_are_equally_likely_to_have_a_set_are_asked_in_any_order() {
        let first = |seed: u64| {
            let wanted = [wanted(0, &["a", "b", "c"], &["d"])];
            ask(&mut Search::new(wanted, &mut fastrand::Rng::with_seed(seed))).to
        };
        let asked: BTreeSet<PkiId> = (0..100).map(first).collect();
        assert_eq!(asked, ["a", "b", "c"].map(peer).into());
    }

    #[test]
    fn who_had_no_room_for_all_in_an_answer_is_asked_for_the_rest() {
        let mut search = search((0..3).map(|tx| wanted(tx, &["a"], &[])).collect());
        let first = ask(&mut search);
        search.answered(&first, &[digest(1)], FULL_ANSWER);
        let second = ask(&mut search);
        assert_eq!(second, Question { to: peer("a"), digests: vec![digest(0), digest(2)] });
        // A full answer without anything of use is the last one.
        search.answered(&second, &[], FULL_ANSWER);
        assert_eq!(search.step(), Step::Done);
        assert_eq!(search.denied().count(), 2);
    }

    #[test]
    fn a_peer_that_does_not_answer_is_asked_again_after_a_pause() {
        let mut search = search(vec![wanted(0, &["a"], &["b"])]);
        let question = ask(&mut search);
        search.silent(&question);
        let other = ask(&mut search);
        search.answered(&other, &[], 0);
        assert_eq!(search.step(), Step::Pause);
        search.resume(|_| true);
        assert_eq!(ask(&mut search), question);
        search.silent(&question);
        assert_eq!(search.step(), Step::Pause);
        search.resume(|peer| *peer != question.to);
        assert_eq!(search.step(), Step::Done);
        assert_eq!(search.missed().count(), 1);
    }

    #[test]
    fn questions_are_bounded_in_size_and_number_and_candidates_too() {
        let many = (MAX_DIGESTS * 2 * (MAX_QUESTIONS + 2)) as u64;
        let names: Vec<String> = (0..MAX_QUESTIONS + 2).map(|number| number.to_string()).collect();
        let of = |tx: u64| names[tx as usize % names.len()].as_str();
        let mut search = search((0..many).map(|tx| wanted(tx, &[of(tx)], &[])).collect());
        let mut asked = Vec::new();
        for _ in 0..MAX_QUESTIONS {
            let question = ask(&mut search);
            assert_eq!(question.digests.len(), MAX_DIGESTS);
            assert!(!asked.contains(&question.to), "a peer has one question at a time");
            asked.push(question.to);
        }
        assert_eq!(search.step(), Step::Await);

        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut search = Search::new([wanted(0, &["a"], &names)], &mut fastrand::Rng::with_seed(1));
        let mut asked = 0;
        while let Step::Ask(question) = search.step() {
            search.answered(&question, &[], 0);
            asked += 1;
        }
        assert_eq!(asked, MAX_CANDIDATES);
    }

    #[test]
    fn a_peer_that_does_not_answer_one_question_is_asked_no_other_before_a_pause() {
        let many = MAX_DIGESTS as u64 * 3;
        let mut search = search((0..many).map(|tx| wanted(tx, &["a"], &[])).collect());
        let question = ask(&mut search);
        assert_eq!(search.step(), Step::Await);
        search.silent(&question);
        assert_eq!(search.step(), Step::Pause);
        search.resume(|_| true);
        assert_eq!(ask(&mut search).digests.len(), MAX_DIGESTS);
    }

    #[test]
    fn an_answer_holds_only_what_was_asked_for_and_once() {
        let element = |tx, payload: &[&[u8]]| PrivateElement {
            digest: digest(tx),
            payload: payload.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect(),
        };
        let question = Question { to: peer("a"), digests: vec![digest(0), digest(1), digest(2)] };
        let elements = vec![element(1, &[b"x"]), element(1, &[b"y"]), element(7, &[b"x"]), element(2, &[])];
        let left = answers_to(&question, elements);
        assert_eq!(left, [element(1, &[b"x"])]);
    }

    #[test]
    fn peers_that_have_forgotten_or_will_soon_are_not_asked() {
        assert!(expected_to_keep(1_000_000, 5, 0, 10));
        assert!(expected_to_keep(94, 5, 100, 10));
        assert!(!expected_to_keep(95, 5, 100, 10));
        assert!(expected_to_keep(u64::MAX, 5, 0, 10));
        assert!(!expected_to_keep(u64::MAX, 5, 100, 10));
        assert!(expected_to_keep(10, 5, u64::MAX, 10));
    }
}
