use std::fmt;

use ripstop_msp::{Claim, VerifyError};
use ripstop_policy::{PolicyRefusal, Reader};
use ripstop_rwset::RwSetError;
use ripstop_types::{Digest, EnvelopeError, HeaderType, Height, TransactionError, TxId, ValidationCode};

/// Why a transaction is invalid. [`Self::code`] is the verdict that all peers of the channel must agree on; the text
/// is for people and is made only when it is asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The bytes do not parse down to both headers.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A type that has no place in a block.
    #[error("invalid header type {0:?}")]
    HeaderType(HeaderType),
    /// Fabric keeps epochs at 0.
    #[error("invalid Epoch in ChannelHeader. Expected 0, got [{0}]")]
    Epoch(u64),
    /// No nonce or no creator in the signature header.
    #[error("invalid {0} specified in the header")]
    SignatureHeaderLacks(&'static str),
    /// The transaction names another channel, whose members are unknown here.
    #[error("the transaction names channel '{0}', not this one, so its creator is not known")]
    ForeignChannel(String),
    /// Creator unknown, invalid, or signature wrong.
    #[error("the creator's signature does not hold: {source}: the creator is {claim}")]
    Creator {
        /// What is wrong.
        source: VerifyError,
        /// Whom the creator claims to be.
        claim: Claim,
    },
    /// The id is not the hash of nonce and creator.
    #[error("invalid txid. got [{claimed}], expected [{computed}]")]
    TransactionId {
        /// As the header says.
        claimed: TxId,
        /// As it should be.
        computed: TxId,
    },
    /// The data is no endorsed transaction.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The action lacks the proposal that it answers.
    #[error("the action holds no proposal payload")]
    NoProposal,
    /// The endorsers signed an answer to another proposal.
    #[error("proposal hash does not match: endorsed {endorsed}, computed {computed}")]
    ProposalHash {
        /// In hex, as endorsed.
        endorsed: String,
        /// Over the headers and proposal of this transaction.
        computed: Digest,
    },
    /// A configuration transaction without content.
    #[error("the configuration transaction has no data")]
    NoConfig,
    /// Well formed, but of a type that peers do not execute.
    #[error("no peer executes a transaction of type {0:?}")]
    Unsupported(HeaderType),
    /// The id stands in an earlier block.
    #[error("Duplicate transaction found, {0}, skipping: the id stands in the ledger already")]
    SeenInLedger(TxId),
    /// The id stands earlier in this block.
    #[error("Duplicate txid {tx_id} found, skipping: transaction {first} of this block has it")]
    SeenInBlock {
        /// The id.
        tx_id: TxId,
        /// The valid transaction that had it first.
        first: usize,
    },
    /// The header extension does not decode.
    #[error("the header extension does not decode: {0}")]
    HeaderExtension(prost::DecodeError),
    /// The endorsed response has no action.
    #[error("response payload is missing extension")]
    NoAction,
    /// The endorsed action does not decode.
    #[error("the endorsed action does not decode: {0}")]
    Action(prost::DecodeError),
    /// The read/write set does not decode.
    #[error("txRWSet.FromProtoBytes failed: {0}")]
    RwSet(RwSetError),
    /// No chaincode can be defined on the channel.
    #[error(
        "the channel's application capability is below V2_0: no chaincode can be deployed or run before it is raised"
    )]
    NoLifecycle,
    /// Header or action name no chaincode.
    #[error("nil ChaincodeId in {0}")]
    NoChaincode(&'static str),
    /// Name or version empty, or names differ.
    #[error("{0}")]
    ChaincodeName(ChaincodeNameError),
    /// The event does not decode.
    #[error("invalid chaincode event: {0}")]
    Event(prost::DecodeError),
    /// The event claims another chaincode.
    #[error("chaincode event chaincode id does not match chaincode action chaincode id: '{event}', not '{action}'")]
    ForeignEvent {
        /// As the event says.
        event: String,
        /// As the action says.
        action: String,
    },
    /// One namespace twice in a read/write set.
    #[error("duplicate namespace '{0}' in txRWSet")]
    RepeatedNamespace(String),
    /// No usable definition of a chaincode.
    #[error("chaincode {name}: {why}")]
    Definition {
        /// The chaincode, or the namespace that was written.
        name: String,
        /// What is wrong with its definition.
        why: String,
    },
    /// The endorsements do not suffice.
    #[error("validation of {scope} failed: {refusal}")]
    Endorsement {
        /// Whose policy.
        scope: PolicyScope,
        /// Why not.
        refusal: EndorsementError,
    },
    /// An earlier transaction of the block changed the policy of a key that this one writes.
    #[error("validation parameters for {key} have been changed by transaction {by} of this block")]
    PolicyChanged {
        /// The key.
        key: KeyName,
        /// The transaction that changed it.
        by: usize,
    },
    /// A key that was read has changed since.
    #[error("{key} was read at version {}, but {}", VersionText(*.read), .found)]
    ReadConflict {
        /// The key.
        key: KeyName,
        /// The version that the transaction read.
        read: Option<Height>,
        /// What stands there now.
        found: Found,
    },
    /// A range that was read has other content now.
    #[error("range query [{start:?}, {end:?}) in namespace {namespace} gives another result now: {why}")]
    Phantom {
        /// The chaincode.
        namespace: String,
        /// The first key asked for.
        start: String,
        /// The end, or the last key seen.
        end: String,
        /// The first difference.
        why: String,
    },
}

/// What is wrong with the name or version of a chaincode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChaincodeNameError {
    /// The header names the empty chaincode.
    #[error("invalid chaincode ID: it is empty")]
    Empty,
    /// Header and action differ.
    #[error("inconsistent ccid info ({header}/{action})")]
    Differs {
        /// As the header says.
        header: String,
        /// As the endorsed action says.
        action: String,
    },
    /// The action has an empty version.
    #[error("invalid chaincode version: it is empty")]
    NoVersion,
}

/// Why endorsements do not satisfy a policy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EndorsementError {
    /// The policy was evaluated and is not satisfied.
    #[error("{}", .0.text(Reader::Member))]
    Refused(#[from] PolicyRefusal),
    /// There is no such policy, or its bytes make no sense.
    #[error("{0}")]
    NoPolicy(String),
}

/// Which policy judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyScope {
    /// The endorsement policy of a chaincode.
    Chaincode(String),
    /// The endorsement policy of a collection.
    Collection {
        /// The chaincode.
        chaincode: String,
        /// The collection.
        collection: String,
    },
    /// The endorsement policy of one key.
    Key(KeyName),
}

impl fmt::Display for PolicyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chaincode(name) => write!(f, "endorsement policy for chaincode {name}"),
            Self::Collection { chaincode, collection } => {
                write!(f, "endorsement policy for collection {collection} chaincode {chaincode}")
            }
            Self::Key(key) => write!(f, "{key}"),
        }
    }
}

/// A key of the state, public or hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyName {
    /// The chaincode.
    pub namespace: String,
    /// The collection; empty for a public key.
    pub collection: String,
    /// The key; in a collection its hash in hex.
    pub key: String,
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.collection.is_empty() {
            write!(f, "key {} (ns '{}')", self.key.escape_debug(), self.namespace)
        } else {
            write!(f, "key hash {} (coll '{}', ns '{}')", self.key, self.collection, self.namespace)
        }
    }
}

/// What stands in place of a version that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// An earlier transaction of the same block writes the key.
    WrittenInBlock,
    /// The committed version; none when the key does not exist.
    Committed(Option<Height>),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrittenInBlock => f.write_str("an earlier transaction of this block writes it"),
            Self::Committed(version) => write!(f, "its committed version is {}", VersionText(*version)),
        }
    }
}

struct VersionText(Option<Height>);

impl fmt::Display for VersionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(height) => height.fmt(f),
            None => f.write_str("none (no such key)"),
        }
    }
}

impl Refusal {
    /// The verdict that goes into the block's metadata. The table in the crate's documentation gives the order in
    /// which the checks are made; this gives the code of each.
    pub const fn code(&self) -> ValidationCode {
        use ValidationCode as Code;
        match self {
            Self::Envelope(EnvelopeError::Envelope(_)) => Code::InvalidOtherReason,
            Self::Envelope(EnvelopeError::Payload(_)) => Code::BadPayload,
            Self::Envelope(
                EnvelopeError::NoHeader | EnvelopeError::ChannelHeader(_) | EnvelopeError::SignatureHeader(_),
            )
            | Self::HeaderType(_)
            | Self::Epoch(_)
            | Self::SignatureHeaderLacks(_) => Code::BadCommonHeader,
            Self::ForeignChannel(_) | Self::Creator { .. } => Code::BadCreatorSignature,
            Self::TransactionId { .. } => Code::BadProposalTxid,
            Self::Transaction(_) | Self::NoProposal | Self::ProposalHash { .. } => Code::InvalidEndorserTransaction,
            Self::NoConfig => Code::InvalidConfigTransaction,
            Self::Unsupported(_) => Code::UnsupportedTxPayload,
            Self::SeenInLedger(_) | Self::SeenInBlock { .. } => Code::DuplicateTxid,
            Self::HeaderExtension(_) => Code::BadHeaderExtension,
            Self::NoAction | Self::Action(_) => Code::BadResponsePayload,
            Self::RwSet(_) => Code::BadRwset,
            Self::NoLifecycle | Self::NoChaincode(_) | Self::Event(_) | Self::ForeignEvent { .. } => {
                Code::InvalidOtherReason
            }
            Self::ChaincodeName(_) | Self::Definition { .. } => Code::InvalidChaincode,
            Self::RepeatedNamespace(_) => Code::IllegalWriteset,
            Self::Endorsement { .. } | Self::PolicyChanged { .. } => Code::EndorsementPolicyFailure,
            Self::ReadConflict { .. } => Code::MvccReadConflict,
            Self::Phantom { .. } => Code::PhantomReadConflict,
        }
    }
}
