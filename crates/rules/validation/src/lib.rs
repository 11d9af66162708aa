//! Is this block right?
//!
//! What question this crate answers: *does this block follow the last one, what is each of its transactions worth, and
//! what do the valid ones change?* It is step seven of the journey of a transaction, and progress is a type that nobody
//! else can make: [`VerifiedBlock`] (the orderers signed it) → [`CheckedBlock`] (each transaction judged on its own) →
//! [`ValidatedBlock`] (verdicts, changes, commit hash), which a ledger commits.
//!
//! # Verdicts
//!
//! Every peer of a channel must come to the same code, so the order of the checks is part of the protocol. The first
//! check that fails decides (Fabric: `txvalidator/v20`, `plugindispatcher`, `builtin/v20`, `txmgmt/validation`).
//!
//! | step | check | code |
//! |---|---|---|
//! | 1 | the bytes are an envelope | `INVALID_OTHER_REASON` |
//! | 2 | its payload decodes | `BAD_PAYLOAD` |
//! | 3 | header present; both headers decode; type `ENDORSER_TRANSACTION`, `CONFIG_UPDATE` or `CONFIG`; epoch 0; nonce; creator | `BAD_COMMON_HEADER` |
//! | 4 | the header names this channel; creator known to its MSPs, valid, signature right | `BAD_CREATOR_SIGNATURE` |
//! | 5 | (endorsed) id = SHA-256 of nonce and creator | `BAD_PROPOSAL_TXID` |
//! | 6 | (endorsed) one action that parses; hash of the proposal | `INVALID_ENDORSER_TRANSACTION` |
//! | 6 | (config) data present | `INVALID_CONFIG_TRANSACTION` |
//! | 6 | (config update) | `UNSUPPORTED_TX_PAYLOAD` |
//! | 7 | (endorsed) id not in the ledger | `DUPLICATE_TXID` |
//! | 8.1 | header extension decodes | `BAD_HEADER_EXTENSION` |
//! | 8.1 | endorsed action present and decodes | `BAD_RESPONSE_PAYLOAD` |
//! | 8.1 | read/write set decodes | `BAD_RWSET` |
//! | 8.1 | the channel has application capability V2_0 | `INVALID_OTHER_REASON` |
//! | 8.2 | chaincode named in header and action | `INVALID_OTHER_REASON` |
//! | 8.2 | name not empty, the same in both, version not empty | `INVALID_CHAINCODE` |
//! | 8.3 | event, if any, decodes and is of this chaincode | `INVALID_OTHER_REASON` |
//! | 8.4 | no namespace twice | `ILLEGAL_WRITESET` |
//! | 8.6 | for the invoked chaincode, then each other written namespace: a usable definition | `INVALID_CHAINCODE` |
//! | 8.7 | … whose policies are satisfied: of each written key, else of its collection, else of the chaincode; and no earlier transaction of the block changes the policy of a written key | `ENDORSEMENT_POLICY_FAILURE` |
//! | 9 | (config) accepted by the present configuration | none: [`Undecided`] |
//! | 10 | id not in an earlier transaction of this block that passed all steps so far | `DUPLICATE_TXID` |
//! | 11 | for each namespace: reads, then ranges, then hashed reads are as they were | `MVCC_READ_CONFLICT`, `PHANTOM_READ_CONFLICT` |
//!
//! Steps 1 to 6 and 8.1 to 8.4 need no state ([`VerifiedBlock::prepare_with`]), 7 and 8.6 to 9 need the state before the
//! block ([`VerifiedBlock::check`]), the change of policies, 10 and 11 need the transactions before
//! ([`CheckedBlock::validate`]).
//!
//! # Where Fabric's peers stop or hang
//!
//! Some blocks stop Fabric 3.1.5. Here they have verdicts: metadata written to a key that an earlier transaction of the
//! block deleted changes nothing; a definition of garbage in `_lifecycle` makes its chaincode `INVALID_CHAINCODE`; a
//! payload without a header is `BAD_COMMON_HEADER`; an empty or foreign channel name is `BAD_CREATOR_SIGNATURE`; a forged
//! range summary is `PHANTOM_READ_CONFLICT`; transactions that follow a malformed one are judged as if it were not there.
//!
//! # Invariants
//!
//! An invalid transaction is a value, an error means that nothing can be decided. The same block, configuration and state
//! give the same [`ValidatedBlock`], whatever runs the checks. No byte of a block makes anything panic.
//!
//! Absent: I/O, threads (callers bring a runner), private data itself, validation plugins, the rules by which Fabric
//! judged chaincode of channels below V2_0 (nothing endorsed is valid there).

mod check;
mod conflict;
mod endorsement;
mod form;
mod refusal;
mod validate;
mod verify;

pub use check::{CheckedBlock, Undecided};
pub use refusal::{ChaincodeNameError, EndorsementError, Found, KeyName, PolicyScope, Refusal};
pub use validate::{GenesisError, ReplayError, ValidatedBlock, ValidatedTransaction};
pub use verify::{
    BLOCK_VALIDATION_POLICY, BlockRefusal, SignatureRefusal, VerifiedBlock, check_content, verify_signatures,
};
