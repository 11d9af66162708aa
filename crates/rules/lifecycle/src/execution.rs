use ripstop_rwset::StateView;
use ripstop_types::MspId;

use crate::definition::LocalPackage;
use crate::query::{context, current_sequence};
use crate::record::{self, RecordError, Value};
use crate::{
    ChaincodeParameters, Committed, NAMESPACE, QueryError, ReadState, Scope, committed_definitions, definition, keys,
};

/// What runs when a chaincode is called on this peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// The committed sequence.
    pub sequence: i64,
    /// The committed terms.
    pub parameters: ChaincodeParameters,
    /// The id of the installed package that this organization approved for it.
    pub package_id: String,
}

/// Why a chaincode cannot be called on this peer.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// The definition changed between the simulation's snapshot and the newest state; try again.
    #[error(
        "chaincode cache at sequence {newest} but current sequence is {current}, chaincode definition for '{name}' \
         changed during invoke"
    )]
    Changed {
        /// The chaincode.
        name: String,
        /// The sequence the simulation sees.
        current: i64,
        /// The newest sequence.
        newest: i64,
    },
    /// This organization has not approved the committed definition.
    #[error(
        "chaincode definition for '{name}' at sequence {sequence} on channel '{channel}' has not yet been approved by \
         this org"
    )]
    NotApproved {
        /// The chaincode.
        name: String,
        /// The committed sequence.
        sequence: i64,
        /// The channel.
        channel: String,
    },
    /// The approved package is not installed on this peer, or none was approved.
    #[error("chaincode definition for '{name}' exists, but chaincode is not installed")]
    NotInstalled {
        /// The chaincode.
        name: String,
        /// The committed sequence.
        sequence: i64,
        /// The committed terms: a chaincode in development runs under them without a package.
        parameters: Box<ChaincodeParameters>,
    },
    /// The state could not be read or understood.
    #[error(transparent)]
    State(#[from] QueryError),
}

/// Which installed package runs `name`; none when no such chaincode is defined. Only the sequence is read through the
/// simulation (and so recorded, as Fabric does); the rest comes from the committed state. The package is found by the
/// hash of its id, so a peer that lacks the private data of its organization can run it too.
pub fn execution<'a>(
    simulation: &mut dyn ReadState,
    committed: &dyn StateView,
    channel: &str,
    org: &MspId,
    name: &str,
    installed: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Execution>, ExecutionError> {
    let current = current_sequence(simulation, name)?;
    if current == 0 {
        return Ok(None);
    }
    let state = &mut Committed(committed);
    let Some(definition) = definition(state, name)? else { return Ok(None) };
    if definition.sequence != current {
        return Err(ExecutionError::Changed { name: name.to_owned(), current, newest: definition.sequence });
    }
    let private_name = keys::private_name(name, current);
    let unreadable = || context(format!("could not check opaque org state for '{name}' on channel '{channel}'"));
    let mismatches = record::compare_hashes(state, org, keys::NAMESPACES, &private_name, &definition.parameters)
        .map_err(unreadable())?;
    if !mismatches.is_empty() {
        return Err(ExecutionError::NotApproved {
            name: name.to_owned(),
            sequence: current,
            channel: channel.to_owned(),
        });
    }
    let package_id = approved_package(state, org, &private_name, installed).map_err(unreadable())?;
    match package_id {
        Some(package_id) => {
            let package_id = package_id.to_owned();
            Ok(Some(Execution { sequence: current, parameters: definition.parameters, package_id }))
        }
        None => Err(ExecutionError::NotInstalled {
            name: name.to_owned(),
            sequence: current,
            parameters: Box::new(definition.parameters),
        }),
    }
}

/// Which committed definitions an installed package runs for an organization: their names and versions.
pub fn references(
    committed: &dyn StateView,
    org: &MspId,
    package_id: &str,
) -> Result<Vec<(String, String)>, QueryError> {
    let state = &mut Committed(committed);
    let mut found = Vec::new();
    for (name, definition) in committed_definitions(state)? {
        let private_name = keys::private_name(&name, definition.sequence);
        let unreadable = || context(format!("could not check opaque org state for '{name}'"));
        let approved = record::compare_hashes(state, org, keys::NAMESPACES, &private_name, &definition.parameters)
            .map_err(unreadable())?
            .is_empty();
        if approved && approved_package(state, org, &private_name, [package_id]).map_err(unreadable())?.is_some() {
            found.push((name, definition.parameters.version));
        }
    }
    Ok(found)
}

/// The chaincodes that a peer of an organization announces to others as those it can run: committed, approved by its
/// organization, with a package that is installed on it; and `_lifecycle` itself. Each with what others take for its version:
/// the sequence of its definition, because any part of a definition may change while its version stays (Fabric:
/// `MetadataManager`). Definitions that make no sense are not announced.
///
/// # Errors
/// When the state cannot be read.
pub fn announced(
    state: &mut dyn ReadState,
    org: &MspId,
    installed: &[&str],
) -> Result<Vec<(String, String)>, QueryError> {
    let names = record::read_all_metadata(state, &Scope::Public, keys::NAMESPACES)
        .map_err(context("could not query namespace metadata"))?;
    let mut announced = Vec::new();
    for name in names.into_keys() {
        match can_run(state, org, &name, installed) {
            Ok(Some(sequence)) => announced.push((name, sequence.to_string())),
            Ok(None) => {}
            Err(error @ QueryError::Record { error: RecordError::State { .. }, .. }) => return Err(error),
            Err(_) => {}
        }
    }
    announced.push((NAMESPACE.to_owned(), "1".to_owned()));
    Ok(announced)
}

/// The sequence of a definition that the organization approved with a package which is installed.
fn can_run(state: &mut dyn ReadState, org: &MspId, name: &str, installed: &[&str]) -> Result<Option<i64>, QueryError> {
    let Some(definition) = definition(state, name)? else { return Ok(None) };
    let private_name = keys::private_name(name, definition.sequence);
    let unreadable = || context(format!("could not check opaque org state for '{name}'"));
    let mismatches = record::compare_hashes(state, org, keys::NAMESPACES, &private_name, &definition.parameters)
        .map_err(unreadable())?;
    if !mismatches.is_empty() {
        return Ok(None);
    }
    let package = approved_package(state, org, &private_name, installed.iter().copied()).map_err(unreadable())?;
    Ok(package.map(|_| definition.sequence))
}

/// Which of the installed packages the organization approved, found by the hash of its id.
fn approved_package<'a>(
    state: &mut dyn ReadState,
    org: &MspId,
    private_name: &str,
    installed: impl IntoIterator<Item = &'a str>,
) -> Result<Option<&'a str>, RecordError> {
    if !record::has_metadata::<LocalPackage>(state, org, keys::SOURCES, private_name)? {
        return Ok(None);
    }
    let approved = record::read_hash(state, org, &keys::field(keys::SOURCES, private_name, LocalPackage::PACKAGE_ID))?;
    let stored = |package_id: &str| Value::String(package_id.to_owned()).encode();
    Ok(installed.into_iter().find(|package_id| record::is_hash_of(approved.as_ref(), &stored(package_id))))
}
