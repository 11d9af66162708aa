//! Which chaincode?
//!
//! What question this crate answers: *which chaincode stands behind a name on this channel, under which rules, and who
//! agreed to it?* A channel's organizations approve the parameters of a definition in private (each in its own implicit
//! collection of `_lifecycle`), then one transaction commits the definition in public. Both are ordinary state of the
//! namespace [`NAMESPACE`]; everything here is a function of that state and of the channel's configuration.
//!
//! Where it stands in the journey: `_lifecycle` (in `chaincode`) calls [`approve`], [`commit`], [`check_readiness`] and
//! the queries while it simulates; `chaincode` asks [`execution`] which package runs a name; `validation` asks
//! [`validation_info`] and [`collection_endorsement_policy`] which policy a transaction had to satisfy; `ledger` asks
//! [`all_collections`] which collections exist and for their [`Lifetimes`], and `committer` asks for the [`eligibility`] of its
//! organization; gossip tells other peers which chaincodes are [`announced`].
//!
//! Invariants: keys and values in the state are Fabric's bytes (see [`keys`]), because organizations compare hashes of
//! them; reads happen in Fabric's order and number, because they become part of the read/write set that all endorsers
//! must agree on. Nothing is cached: the state is the only truth.
//!
//! Absent: definitions of the legacy `lscc` (channels below capability V2_0), installed packages (in `chaincode`), who is
//! given private values (in `sharing`).

mod approval;
mod collection;
mod definition;
mod execution;
mod input;
pub mod keys;
mod lifetime;
mod membership;
mod messages;
mod policy;
mod query;
mod record;
mod state;

pub use approval::{
    ApproveError, CommitError, NoDefaultPolicy, Readiness, ReadinessError, approve, check_readiness, commit,
    org_approvals,
};
pub use collection::{
    CollectionError, CommittedCollections, IMPLICIT_COLLECTION_PREFIX, all_collections, collection,
    committed_collections, explicit_collections, implicit_collection, implicit_collection_config,
    implicit_collection_org,
};
pub use definition::{ApprovedDefinition, ChaincodeDefinition, ChaincodeParameters, PackageSource, ParameterMismatch};
pub use execution::{Execution, ExecutionError, announced, execution, references};
pub use input::{InputError, InvalidCollection, check_input, is_label};
pub use lifetime::Lifetimes;
pub use membership::{
    CollectionMembers, CollectionRights, Eligibility, MembershipError, PastEligibility, eligibility, opened_collections,
};
pub use policy::{
    DEFAULT_ENDORSEMENT_POLICY, LIFECYCLE_ENDORSEMENT_POLICY, ValidationInfo, collection_endorsement_policy,
    default_endorsement_policy, validation_info,
};
pub use query::{
    QueryError, approved_definition, approved_definitions, committed_definition, committed_definitions,
    current_sequence, definition,
};
pub use record::RecordError;
pub use state::{Access, Committed, MemoryLifecycleState, ReadState, Scope, StateFault, WriteState};

/// The namespace of all definitions and approvals, and the name of the system chaincode that writes them.
pub const NAMESPACE: &str = "_lifecycle";

/// The namespace of definitions made before `_lifecycle` existed.
pub const LEGACY_NAMESPACE: &str = "lscc";
