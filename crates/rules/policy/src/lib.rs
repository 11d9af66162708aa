//! Is this enough? Policies over signatures.
//!
//! What question this crate answers: *do these signatures suffice?* A [`SignaturePolicy`] says whose signatures are needed; an
//! implicit-meta policy says of how many child groups the policy of that name must be satisfied; a [`PolicyTree`] holds all
//! policies of a channel's configuration under their paths, such as `/Channel/Application/Writers`; an
//! [`ApplicationPolicy`] is what chaincode definitions carry. Orderers ask before they order, peers before they answer and
//! before they commit. An [`Inquiry`] answers the question from the other end: *who could satisfy these policies?*
//!
//! Invariants:
//! - Evaluation is greedy and in order, exactly as Fabric's, because verdicts on transactions depend on it: no backtracking,
//!   and a signer counts once a policy.
//! - Signers are told apart by their certificates in low-S form; a repeated one is skipped before its signature is checked.
//! - A refusal begins with Fabric's words and then says what was needed and why each signer does not count; strangers are told
//!   only the latter.
//!
//! - What an inquiry lists is bounded, however many combinations a policy allows.
//!
//! Absent: which peers there are (`discovery`), and the byzantine quorum policy of blocks.

mod application;
pub mod dsl;
pub mod envelope;
mod explain;
pub mod implicit_meta;
pub mod inquiry;
mod refusal;
mod signature;
mod signers;
mod tree;

pub use application::{ApplicationPolicy, ApplicationPolicyError};
pub use inquiry::Inquiry;
pub use refusal::{PolicyRefusal, Reader};
pub use signature::{CompileError, SignaturePolicy};
pub use signers::{NotCounted, Signers};
pub use tree::{ConversionError, PolicyTree, PolicyTreeError};
