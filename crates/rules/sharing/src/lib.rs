//! Who is given private values, and who is asked for them?
//!
//! What question this crate answers: *which peers get the private values of an endorsement, which are asked for values that
//! are missed, and who may have or keep what?* It is the straying step of the journey: values travel beside the blocks, from
//! endorser to entitled peers before the transaction is ordered, and from peer to peer when they are missed at commit or long
//! afterwards.
//!
//! Invariants:
//! - a value goes only to a peer whose own signature satisfies the member policy of its collection ([`Audience`]);
//! - an endorsement stands only when as many peers acknowledged as each collection demands ([`Tally`]);
//! - nobody waits for what cannot come: a [`Search`] ends as soon as every peer that might have a value was asked;
//! - what others send before it is known to be part of a transaction takes a bounded part of the disk ([`Inbox`]).
//!
//! Absent: sending and storing, clocks, and the proof that a value is what a block announces (`ledger` has that).

mod audience;
mod dissemination;
mod fair;
mod inbox;
mod search;

pub use audience::{Audience, Definitions, signed_handshake};
pub use dissemination::{Candidate, NotDisseminated, PeerCounts, Standing, Tally, choose};
pub use fair::{FairQueue, MAX_QUEUED, MAX_QUEUED_BYTES};
pub use inbox::{Entry, Inbox, MAX_WAITING_BYTES, MAX_WAITING_SETS, TooLarge};
pub use search::{
    FULL_ANSWER, MAX_CANDIDATES, MAX_DIGESTS, MAX_QUESTIONS, Question, Search, Step, Wanted, answers_to,
    expected_to_keep,
};
