//! What may be asked for: names, versions and collections of a proposed definition.

use std::collections::BTreeSet;

use ripstop_channel_config::ChannelConfig;
use ripstop_policy::SignaturePolicy;
use ripstop_proto::common::msp_principal::Classification;
use ripstop_proto::common::{self, signature_policy};
use ripstop_proto::protos::{
    CollectionConfigPackage, StaticCollectionConfig, collection_config, collection_policy_config,
};
use ripstop_types::MspId;

use crate::{QueryError, ReadState, definition, explicit_collections};

/// Names that Fabric's system chaincodes have or had.
const SYSTEM_CHAINCODES: [&str; 5] = ["cscc", "escc", "lscc", "qscc", "vscc"];
/// How deep a collection's policy may nest.
const MAX_POLICY_DEPTH: usize = 32;

/// Why a proposed definition is malformed.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The name has characters it must not have.
    #[error(
        "invalid chaincode name '{0}'. Names can only consist of alphanumerics, '_', and '-' and can only begin with \
         alphanumerics"
    )]
    Name(String),
    /// The name is taken.
    #[error("chaincode name '{0}' is the name of a system chaincode")]
    SystemName(String),
    /// The version has characters it must not have.
    #[error("invalid chaincode version '{0}'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'")]
    Version(String),
    /// A collection is malformed.
    #[error(transparent)]
    Collection(#[from] InvalidCollection),
    /// The committed definition could not be read.
    #[error("could not retrieve committed definition for chaincode '{name}': {error}")]
    Committed {
        /// The chaincode.
        name: String,
        /// Why.
        error: QueryError,
    },
}

/// What is wrong with a collection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCollection {
    /// An entry without content.
    #[error("collection config contains unexpected payload type: <nil>")]
    Empty,
    /// The name has characters it must not have.
    #[error(
        "invalid collection name '{0}'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'"
    )]
    Name(String),
    /// Two collections of one name.
    #[error("collection-name: {0} -- found duplicate in collection configuration")]
    Duplicate(String),
    /// More peers are required than allowed.
    #[error(
        "collection-name: {name} -- maximum peer count ({maximum}) cannot be less than the required peer count ({required})"
    )]
    PeerCounts {
        /// The collection.
        name: String,
        /// Peers that may get the data.
        maximum: i32,
        /// Peers that must get the data.
        required: i32,
    },
    /// A negative number of peers is required.
    #[error("collection-name: {name} -- requiredPeerCount ({required}) cannot be less than zero")]
    NegativePeers {
        /// The collection.
        name: String,
        /// The number.
        required: i32,
    },
    /// No member policy.
    #[error("collection member policy is not set for collection '{0}'")]
    NoPolicy(String),
    /// A member policy without content.
    #[error("collection member org policy is empty for collection '{0}'")]
    EmptyPolicy(String),
    /// A member policy that is no policy.
    #[error("invalid member org policy for collection '{name}': {reason}")]
    Policy {
        /// The collection.
        name: String,
        /// Why.
        reason: String,
    },
    /// A member policy that asks for more than one signature.
    #[error(
        "collection-name: {name} -- error in member org policy: signature policy is not an OR concatenation, NOutOf {n}"
    )]
    NotOr {
        /// The collection.
        name: String,
        /// How many signatures it asks for.
        n: i32,
    },
    /// A principal that does not decode.
    #[error("collection-name: {name} -- cannot unmarshal identity bytes into {kind}: {error}")]
    Principal {
        /// The collection.
        name: String,
        /// What the principal says it is.
        kind: &'static str,
        /// Why it does not decode.
        error: prost::DecodeError,
    },
    /// A member that is no organization of the channel.
    #[error("collection-name: {name} -- collection member '{member}' is not part of the channel")]
    NotMember {
        /// The collection.
        name: String,
        /// The MSP id.
        member: String,
    },
    /// A member identity that the channel does not know.
    #[error("collection-name: {0} -- contains an identity that is not part of the channel")]
    UnknownIdentity(String),
    /// A principal of a kind that cannot be a member.
    #[error("collection-name: {name} -- principal type {kind} is not supported")]
    PrincipalKind {
        /// The collection.
        name: String,
        /// The kind.
        kind: i32,
    },
    /// All committed collections were dropped.
    #[error("the proposed collection config does not contain previously defined collections")]
    AllMissing,
    /// A committed collection was dropped.
    #[error("existing collection [{0}] missing in the proposed collection configuration")]
    Missing(String),
    /// A committed collection's time to live was changed.
    #[error("the BlockToLive in an existing collection [{name}] modified. Existing value [{existing}]")]
    BlockToLive {
        /// The collection.
        name: String,
        /// The committed value.
        existing: u64,
    },
}

/// Checks what was asked for, before anything is approved or committed. Reads the committed definition through `state`.
pub fn check_input(
    state: &mut dyn ReadState,
    channel: &ChannelConfig,
    name: &str,
    version: &str,
    collections: Option<&CollectionConfigPackage>,
) -> Result<(), InputError> {
    if !is_name(name) {
        return Err(InputError::Name(name.to_owned()));
    }
    if SYSTEM_CHAINCODES.contains(&name) {
        return Err(InputError::SystemName(name.to_owned()));
    }
    if version.is_empty() || !version.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c)) {
        return Err(InputError::Version(version.to_owned()));
    }
    let proposed = static_collections(collections)?;
    check_collections(channel, &proposed)?;

    let unreadable = |error| InputError::Committed { name: name.to_owned(), error };
    match definition(state, name).map_err(unreadable)? {
        Some(committed) => check_continuity(&proposed, &committed.parameters.collections)?,
        None => {
            let legacy = state.legacy(name);
            legacy.map_err(|fault| {
                let error = crate::RecordError::State { action: "get value for key", key: name.to_owned(), fault };
                unreadable(QueryError::Record { context: "could not get the legacy definition".to_owned(), error })
            })?;
        }
    }
    Ok(())
}

/// Whether a text may label a package.
pub fn is_label(label: &str) -> bool {
    label.starts_with(|c: char| c.is_ascii_alphanumeric())
        && label.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c))
}

/// Words of letters and digits, joined by single `-` or `_`.
fn is_name(name: &str) -> bool {
    name.split(['-', '_']).all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn is_collection_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn static_collections(
    package: Option<&CollectionConfigPackage>,
) -> Result<Vec<&StaticCollectionConfig>, InvalidCollection> {
    let configs = package.map(|package| package.config.as_slice()).unwrap_or_default();
    configs
        .iter()
        .map(|config| match &config.payload {
            Some(collection_config::Payload::StaticCollectionConfig(collection)) => Ok(collection),
            None => Err(InvalidCollection::Empty),
        })
        .collect()
}

fn check_collections(channel: &ChannelConfig, proposed: &[&StaticCollectionConfig]) -> Result<(), InvalidCollection> {
    let mut names = BTreeSet::new();
    for collection in proposed {
        let name = || collection.name.clone();
        if !is_collection_name(&collection.name) {
            return Err(InvalidCollection::Name(name()));
        }
        if !names.insert(collection.name.as_str()) {
            return Err(InvalidCollection::Duplicate(name()));
        }
        let (maximum, required) = (collection.maximum_peer_count, collection.required_peer_count);
        if maximum < required {
            return Err(InvalidCollection::PeerCounts { name: name(), maximum, required });
        }
        if required < 0 {
            return Err(InvalidCollection::NegativePeers { name: name(), required });
        }
        check_members(channel, collection)?;
    }
    Ok(())
}

fn check_members(channel: &ChannelConfig, collection: &StaticCollectionConfig) -> Result<(), InvalidCollection> {
    let name = &collection.name;
    let policy = collection.member_orgs_policy.as_ref().ok_or_else(|| InvalidCollection::NoPolicy(name.clone()))?;
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = &policy.payload else {
        return Err(InvalidCollection::EmptyPolicy(name.clone()));
    };
    SignaturePolicy::compile(policy)
        .map_err(|error| InvalidCollection::Policy { name: name.clone(), reason: error.to_string() })?;
    if let Some(rule) = &policy.rule {
        check_is_or(name, rule, 0)?;
    }
    policy.identities.iter().try_for_each(|principal| check_principal(channel, name, principal))
}

fn check_is_or(name: &str, rule: &common::SignaturePolicy, depth: usize) -> Result<(), InvalidCollection> {
    let Some(signature_policy::Type::NOutOf(rule)) = &rule.r#type else { return Ok(()) };
    if rule.n != 1 {
        return Err(InvalidCollection::NotOr { name: name.to_owned(), n: rule.n });
    }
    if depth >= MAX_POLICY_DEPTH {
        let reason = format!("policies nest at most {MAX_POLICY_DEPTH} levels deep");
        return Err(InvalidCollection::Policy { name: name.to_owned(), reason });
    }
    rule.rules.iter().try_for_each(|rule| check_is_or(name, rule, depth + 1))
}

fn check_principal(
    channel: &ChannelConfig,
    name: &str,
    principal: &common::MspPrincipal,
) -> Result<(), InvalidCollection> {
    let undecodable = |kind, error| InvalidCollection::Principal { name: name.to_owned(), kind, error };
    let member = match Classification::try_from(principal.principal_classification) {
        Ok(Classification::Role) => {
            ripstop_proto::read::<common::MspRole>(principal.principal.clone())
                .map_err(|error| undecodable("MSPRole", error))?
                .msp_identifier
        }
        Ok(Classification::OrganizationUnit) => {
            ripstop_proto::read::<common::OrganizationUnit>(principal.principal.clone())
                .map_err(|error| undecodable("OrganizationUnit", error))?
                .msp_identifier
        }
        Ok(Classification::Identity) => {
            let identity = channel.msps().identify(&principal.principal);
            return identity.map(drop).map_err(|_| InvalidCollection::UnknownIdentity(name.to_owned()));
        }
        _ => {
            let kind = principal.principal_classification;
            return Err(InvalidCollection::PrincipalKind { name: name.to_owned(), kind });
        }
    };
    match channel.msps().get(&MspId::new(&member)) {
        Some(_) => Ok(()),
        None => Err(InvalidCollection::NotMember { name: name.to_owned(), member }),
    }
}

/// A new definition keeps every collection of the committed one, with its time to live.
fn check_continuity(
    proposed: &[&StaticCollectionConfig],
    committed: &CollectionConfigPackage,
) -> Result<(), InvalidCollection> {
    if committed.config.is_empty() {
        return Ok(());
    }
    if proposed.is_empty() {
        return Err(InvalidCollection::AllMissing);
    }
    for existing in explicit_collections(committed) {
        let kept = proposed
            .iter()
            .find(|collection| collection.name == existing.name)
            .ok_or_else(|| InvalidCollection::Missing(existing.name.clone()))?;
        if kept.block_to_live != existing.block_to_live {
            let name = existing.name.clone();
            return Err(InvalidCollection::BlockToLive { name, existing: existing.block_to_live });
        }
    }
    Ok(())
}
