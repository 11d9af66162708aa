use std::collections::BTreeMap;

use ripstop_channel_config::ChannelConfig;
use ripstop_types::MspId;

use crate::collection::application_orgs;
use crate::definition::LocalPackage;
use crate::query::{context, current_sequence};
use crate::record::{self, Record, RecordError};
use crate::{
    ChaincodeDefinition, ChaincodeParameters, DEFAULT_ENDORSEMENT_POLICY, PackageSource, ParameterMismatch, QueryError,
    ReadState, Scope, WriteState, default_endorsement_policy, keys,
};

/// The plugin that endorses where a definition names none.
const DEFAULT_ENDORSEMENT_PLUGIN: &str = "escc";
/// The plugin that validates where a definition names none.
const DEFAULT_VALIDATION_PLUGIN: &str = "vscc";

/// Why a definition cannot be completed: the channel offers no default policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not set defaults for chaincode definition in channel {channel}: policy '{DEFAULT_ENDORSEMENT_POLICY}' must be \
     defined for channel '{channel}' before chaincode operations can be attempted"
)]
pub struct NoDefaultPolicy {
    channel: String,
}

/// Why an approval is refused.
#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    /// Sequences count from 1.
    #[error("requested sequence is 0, but first definable sequence number is 1")]
    SequenceZero,
    /// A later definition stands already.
    #[error("currently defined sequence {current} is larger than requested sequence {requested}")]
    SequencePassed {
        /// The committed sequence.
        current: i64,
        /// The sequence asked for.
        requested: i64,
    },
    /// A sequence in between is missing.
    #[error("requested sequence {requested} is larger than the next available sequence number {next}")]
    SequenceAhead {
        /// The sequence that comes next.
        next: i64,
        /// The sequence asked for.
        requested: i64,
    },
    /// The channel has no default policy.
    #[error(transparent)]
    Defaults(#[from] NoDefaultPolicy),
    /// The state has the sequence of a definition, but not the definition.
    #[error("missing metadata for currently committed sequence number ({0})")]
    MissingMetadata(i64),
    /// The committed definition has other parameters.
    #[error(
        "attempted to redefine the current committed sequence ({sequence}) for namespace {name} with different \
         parameters: {mismatch}"
    )]
    DifferentParameters {
        /// The committed sequence.
        sequence: i64,
        /// The chaincode.
        name: String,
        /// The first difference.
        mismatch: ParameterMismatch,
    },
    /// The organization approved exactly this already.
    #[error("attempted to redefine the current committed sequence ({sequence}) for namespace {name}")]
    AlreadyApproved {
        /// The committed sequence.
        sequence: i64,
        /// The chaincode.
        name: String,
    },
    /// The organization approved exactly this already, and it is not committed yet.
    #[error("attempted to redefine uncommitted sequence ({sequence}) for namespace {name} with unchanged content")]
    Unchanged {
        /// The next sequence.
        sequence: i64,
        /// The chaincode.
        name: String,
    },
    /// The state could not be read, written or understood.
    #[error(transparent)]
    State(#[from] QueryError),
}

/// Why readiness cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ReadinessError {
    /// Only the next sequence can be committed.
    #[error("requested sequence is {requested}, but new definition must be sequence {next}")]
    Sequence {
        /// The sequence that comes next.
        next: i64,
        /// The sequence asked for.
        requested: i64,
    },
    /// The channel has no default policy.
    #[error(transparent)]
    Defaults(#[from] NoDefaultPolicy),
    /// The state could not be read or understood.
    #[error(transparent)]
    State(#[from] QueryError),
}

/// Why a definition cannot be committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It is not ready, or readiness cannot be told.
    #[error(transparent)]
    Readiness(#[from] ReadinessError),
    /// This organization has not approved it.
    #[error("chaincode definition not agreed to by this org ({org}): {}", disagreement(.mismatches, *.sequence))]
    NotApproved {
        /// The organization.
        org: MspId,
        /// The sequence of the definition.
        sequence: i64,
        /// In what its approval differs; see [`Readiness::mismatches`].
        mismatches: Vec<&'static str>,
    },
    /// This peer's organization is no member of the channel's application.
    #[error("impossibly, this peer's org is processing requests for a channel it is not a member of")]
    NotMember,
    /// The state could not be written.
    #[error(transparent)]
    State(#[from] QueryError),
}

/// Who agrees to a definition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readiness {
    /// Whether each organization of the channel approved exactly these parameters.
    pub approvals: BTreeMap<MspId, bool>,
    /// What differs, for each organization that did not: names of fields, or `ChaincodeParameters` when it approved
    /// nothing for the sequence.
    pub mismatches: BTreeMap<MspId, Vec<&'static str>>,
}

/// Records that `org` approves a definition and where its peers find the code. `proposed` is completed with the defaults.
pub fn approve(
    state: &mut dyn WriteState,
    channel: &ChannelConfig,
    org: &MspId,
    name: &str,
    mut proposed: ChaincodeDefinition,
    source: &PackageSource,
) -> Result<(), ApproveError> {
    let current = current_sequence(state, name)?;
    let requested = proposed.sequence;
    check_sequence(current, requested)?;
    set_defaults(channel, &mut proposed.parameters)?;

    let private_name = keys::private_name(name, requested);
    if requested == current {
        let metadata = record::read_metadata(state, &Scope::Public, keys::NAMESPACES, name)
            .map_err(context("could not fetch metadata for current definition"))?
            .ok_or(ApproveError::MissingMetadata(current))?;
        let committed: ChaincodeDefinition = record::read(state, &Scope::Public, keys::NAMESPACES, name, &metadata)
            .map_err(context(format!("could not deserialize namespace {name} as chaincode")))?;
        if let Err(mismatch) = committed.parameters.compare(&proposed.parameters) {
            return Err(ApproveError::DifferentParameters { sequence: current, name: name.to_owned(), mismatch });
        }
        if is_unchanged(state, org, &private_name, &proposed.parameters, source)? {
            return Err(ApproveError::AlreadyApproved { sequence: current, name: name.to_owned() });
        }
    } else if is_unchanged(state, org, &private_name, &proposed.parameters, source)? {
        return Err(ApproveError::Unchanged { sequence: requested, name: name.to_owned() });
    }

    let scope = Scope::Org(org.clone());
    record::write(state, &scope, keys::NAMESPACES, &private_name, &proposed.parameters)
        .map_err(context("could not serialize chaincode parameters to state"))?;
    let package = LocalPackage { package_id: source.package_id().to_owned() };
    record::write(state, &scope, keys::SOURCES, &private_name, &package)
        .map_err(context("could not serialize chaincode package info to state"))?;
    Ok(())
}

fn check_sequence(current: i64, requested: i64) -> Result<(), ApproveError> {
    let next = current.saturating_add(1);
    match requested {
        0 if current == 0 => Err(ApproveError::SequenceZero),
        _ if requested < current => Err(ApproveError::SequencePassed { current, requested }),
        _ if requested > next => Err(ApproveError::SequenceAhead { next, requested }),
        _ => Ok(()),
    }
}

/// Whether the organization approved these parameters with this package already, so that nothing would be written.
fn is_unchanged(
    state: &mut dyn ReadState,
    org: &MspId,
    private_name: &str,
    proposed: &ChaincodeParameters,
    source: &PackageSource,
) -> Result<bool, QueryError> {
    let scope = Scope::Org(org.clone());
    let metadata = record::read_metadata(state, &scope, keys::NAMESPACES, private_name)
        .map_err(context(format!("could not fetch chaincode definition, chaincode {private_name}")))?;
    let Some(metadata) = metadata else { return Ok(false) };
    let approved: ChaincodeParameters = record::read(state, &scope, keys::NAMESPACES, private_name, &metadata)
        .map_err(context(format!("could not deserialize namespace {private_name} as chaincode")))?;
    if approved.compare(proposed).is_err() {
        return Ok(false);
    }
    let metadata = record::read_metadata(state, &scope, keys::SOURCES, private_name)
        .map_err(context(format!("could not deserialize chaincode-source metadata for {private_name}")))?;
    let Some(metadata) = metadata else { return Ok(false) };
    let package: LocalPackage = record::read(state, &scope, keys::SOURCES, private_name, &metadata)
        .map_err(context(format!("could not deserialize chaincode package for {private_name}")))?;
    Ok(package.package_id == source.package_id())
}

/// Which organizations of the channel approved this as the next definition of `name`.
pub fn check_readiness(
    state: &mut dyn ReadState,
    channel: &ChannelConfig,
    name: &str,
    proposed: &mut ChaincodeDefinition,
) -> Result<Readiness, ReadinessError> {
    let next = current_sequence(state, name)?.saturating_add(1);
    if proposed.sequence != next {
        return Err(ReadinessError::Sequence { next, requested: proposed.sequence });
    }
    set_defaults(channel, &mut proposed.parameters)?;
    Ok(org_approvals(state, channel, name, proposed)?)
}

/// Writes a definition for all, if `org`, for which this peer speaks, approved it. Whether enough others did is decided by
/// the endorsement policy of `_lifecycle`: their peers refuse to endorse otherwise.
pub fn commit(
    state: &mut dyn WriteState,
    channel: &ChannelConfig,
    org: &MspId,
    name: &str,
    mut proposed: ChaincodeDefinition,
) -> Result<(), CommitError> {
    if !application_orgs(channel).contains(org) {
        return Err(CommitError::NotMember);
    }
    let readiness = check_readiness(state, channel, name, &mut proposed)?;
    record::write(state, &Scope::Public, keys::NAMESPACES, name, &proposed)
        .map_err(context("could not serialize chaincode definition"))?;
    match readiness.mismatches.get(org) {
        None => Ok(()),
        Some(mismatches) => Err(CommitError::NotApproved {
            org: org.clone(),
            sequence: proposed.sequence,
            mismatches: mismatches.clone(),
        }),
    }
}

fn disagreement(mismatches: &[&str], sequence: i64) -> String {
    if mismatches == [ChaincodeParameters::DATATYPE] {
        format!("it approved nothing for sequence {sequence}")
    } else {
        format!("what it approved for sequence {sequence} differs in {}", mismatches.join(", "))
    }
}

/// Which organizations approved a definition, judged by the hashes of their private records.
pub fn org_approvals(
    state: &mut dyn ReadState,
    channel: &ChannelConfig,
    name: &str,
    definition: &ChaincodeDefinition,
) -> Result<Readiness, QueryError> {
    let private_name = keys::private_name(name, definition.sequence);
    let mut readiness = Readiness::default();
    for org in application_orgs(channel) {
        let mismatches: Result<_, RecordError> =
            record::compare_hashes(state, &org, keys::NAMESPACES, &private_name, &definition.parameters);
        let mismatches = mismatches.map_err(context(format!("serialization check failed for key {private_name}")))?;
        readiness.approvals.insert(org.clone(), mismatches.is_empty());
        if !mismatches.is_empty() {
            readiness.mismatches.insert(org, mismatches);
        }
    }
    Ok(readiness)
}

/// Fills in what a definition leaves open.
fn set_defaults(channel: &ChannelConfig, parameters: &mut ChaincodeParameters) -> Result<(), NoDefaultPolicy> {
    if parameters.endorsement_plugin.is_empty() {
        parameters.endorsement_plugin = DEFAULT_ENDORSEMENT_PLUGIN.to_owned();
    }
    if parameters.validation_plugin.is_empty() {
        parameters.validation_plugin = DEFAULT_VALIDATION_PLUGIN.to_owned();
    }
    if parameters.validation_parameter.is_empty() {
        parameters.validation_parameter = default_endorsement_policy(channel)
            .ok_or_else(|| NoDefaultPolicy { channel: channel.channel_id().to_string() })?;
    }
    Ok(())
}
