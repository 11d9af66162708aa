use std::collections::BTreeMap;

use ripstop_types::MspId;

use crate::definition::LocalPackage;
use crate::record::{self, Record, RecordError, Values};
use crate::{ApprovedDefinition, ChaincodeDefinition, ChaincodeParameters, PackageSource, ReadState, Scope, keys};

/// Why a definition cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No chaincode of that name is committed. `_lifecycle` answers this with status 404.
    #[error("namespace {0} is not defined")]
    NotDefined(String),
    /// The name stands for something that is no chaincode.
    #[error("not a chaincode type: {0}")]
    NotChaincode(String),
    /// The organization has not approved this definition.
    #[error(
        "could not fetch approved chaincode definition (name: '{name}', sequence: '{sequence}') on channel '{channel}'"
    )]
    NotApproved {
        /// The chaincode.
        name: String,
        /// The sequence asked for, or the current one.
        sequence: i64,
        /// The channel.
        channel: String,
    },
    /// The private record is of another kind.
    #[error("not a {expected} type: {found}")]
    PrivateType {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The approval lacks the record of its package.
    #[error("could not fetch chaincode-source metadata for {0}")]
    NoSource(String),
    /// A private record's name has no sequence.
    #[error(
        "could not extract chaincode name and sequence number from metadata: {0}: invalid private name format: {0}"
    )]
    PrivateName(String),
    /// The state could not be read or understood.
    #[error("{context}: {error}")]
    Record {
        /// What was tried.
        context: String,
        /// Why it failed.
        #[source]
        error: RecordError,
    },
}

pub(crate) fn context(what: impl Into<String>) -> impl FnOnce(RecordError) -> QueryError {
    let context = what.into();
    move |error| QueryError::Record { context, error }
}

/// The sequence of the committed definition of a name, 0 when there is none. Reads one key.
pub fn current_sequence(state: &mut dyn ReadState, name: &str) -> Result<i64, QueryError> {
    Values::new(state, &Scope::Public, keys::NAMESPACES, name)
        .int64("Sequence")
        .map_err(context("could not get current sequence"))
}

/// The committed definition of a chaincode, if any.
pub fn definition(state: &mut dyn ReadState, name: &str) -> Result<Option<ChaincodeDefinition>, QueryError> {
    let metadata = record::read_metadata(state, &Scope::Public, keys::NAMESPACES, name)
        .map_err(context(format!("could not deserialize metadata for chaincode {name}")))?;
    let Some(metadata) = metadata else { return Ok(None) };
    if metadata.datatype != ChaincodeDefinition::DATATYPE {
        return Err(QueryError::NotChaincode(metadata.datatype));
    }
    record::read(state, &Scope::Public, keys::NAMESPACES, name, &metadata)
        .map(Some)
        .map_err(context(format!("could not deserialize chaincode definition for chaincode {name}")))
}

/// The committed definition as `QueryChaincodeDefinition` gives it: an unknown name is an error.
pub fn committed_definition(state: &mut dyn ReadState, name: &str) -> Result<ChaincodeDefinition, QueryError> {
    let metadata = record::read_metadata(state, &Scope::Public, keys::NAMESPACES, name)
        .map_err(context(format!("could not fetch metadata for namespace {name}")))?
        .ok_or_else(|| QueryError::NotDefined(name.to_owned()))?;
    record::read(state, &Scope::Public, keys::NAMESPACES, name, &metadata)
        .map_err(context(format!("could not deserialize namespace {name} as chaincode")))
}

/// All committed definitions by name. Reads the range of metadata, then each definition.
pub fn committed_definitions(state: &mut dyn ReadState) -> Result<BTreeMap<String, ChaincodeDefinition>, QueryError> {
    let all = record::read_all_metadata(state, &Scope::Public, keys::NAMESPACES)
        .map_err(context("could not query namespace metadata"))?;
    let mut definitions = BTreeMap::new();
    for (name, metadata) in all {
        if metadata.datatype == ChaincodeDefinition::DATATYPE {
            let definition = committed_definition(state, &name)?;
            definitions.insert(name, definition);
        }
    }
    Ok(definitions)
}

/// What an organization approved: at a sequence, or (with sequence 0) at the next sequence if it approved that already,
/// else at the current one.
pub fn approved_definition(
    state: &mut dyn ReadState,
    org: &MspId,
    channel: &str,
    name: &str,
    sequence: i64,
) -> Result<ApprovedDefinition, QueryError> {
    let scope = Scope::Org(org.clone());
    let mut sequence = sequence;
    if sequence == 0 {
        sequence = current_sequence(state, name)?;
        let next = sequence.saturating_add(1);
        let approved_next = record::read_metadata(state, &scope, keys::NAMESPACES, &keys::private_name(name, next))
            .map_err(context(format!("could not deserialize namespace metadata for next sequence {next}")))?;
        if approved_next.is_some() {
            sequence = next;
        }
    }
    let private_name = keys::private_name(name, sequence);
    let metadata = record::read_metadata(state, &scope, keys::NAMESPACES, &private_name)
        .map_err(context(format!("could not deserialize namespace metadata for {private_name}")))?
        .ok_or_else(|| QueryError::NotApproved { name: name.to_owned(), sequence, channel: channel.to_owned() })?;
    read_approved(state, &scope, &private_name, sequence, &metadata)
}

/// Everything an organization approved, by chaincode name and sequence.
pub fn approved_definitions(
    state: &mut dyn ReadState,
    org: &MspId,
) -> Result<BTreeMap<(String, i64), ApprovedDefinition>, QueryError> {
    let scope = Scope::Org(org.clone());
    let all =
        record::read_all_metadata(state, &scope, keys::NAMESPACES).map_err(context("could not fetch metadatas"))?;
    let mut definitions = BTreeMap::new();
    for (private_name, metadata) in all {
        let (name, sequence) = private_name
            .split_once('#')
            .and_then(|(name, sequence)| Some((name.to_owned(), sequence.parse::<i64>().ok()?)))
            .ok_or_else(|| QueryError::PrivateName(private_name.clone()))?;
        let definition = read_approved(state, &scope, &private_name, sequence, &metadata)?;
        definitions.insert((name, sequence), definition);
    }
    Ok(definitions)
}

fn read_approved(
    state: &mut dyn ReadState,
    scope: &Scope,
    private_name: &str,
    sequence: i64,
    metadata: &ripstop_proto::lifecycle::StateMetadata,
) -> Result<ApprovedDefinition, QueryError> {
    if metadata.datatype != ChaincodeParameters::DATATYPE {
        let found = metadata.datatype.clone();
        return Err(QueryError::PrivateType { expected: "chaincode parameters", found });
    }
    let parameters = record::read(state, scope, keys::NAMESPACES, private_name, metadata)
        .map_err(context(format!("could not deserialize chaincode parameters for {private_name}")))?;
    let source = record::read_metadata(state, scope, keys::SOURCES, private_name)
        .map_err(context(format!("could not deserialize chaincode-source metadata for {private_name}")))?
        .ok_or_else(|| QueryError::NoSource(private_name.to_owned()))?;
    if source.datatype != LocalPackage::DATATYPE {
        return Err(QueryError::PrivateType { expected: "chaincode local package", found: source.datatype });
    }
    let package: LocalPackage = record::read(state, scope, keys::SOURCES, private_name, &source)
        .map_err(context(format!("could not deserialize chaincode package for {private_name}")))?;
    let source = match package.package_id.is_empty() {
        true => PackageSource::Unavailable,
        false => PackageSource::Local(package.package_id),
    };
    Ok(ApprovedDefinition { definition: ChaincodeDefinition { sequence, parameters }, source })
}
