use std::borrow::Cow;
use std::collections::BTreeMap;

use ripstop_channel_config::ChannelConfig;
use ripstop_msp::Role;
use ripstop_policy::envelope::signed_by_any;
use ripstop_proto::protos::{
    CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig, collection_config,
    collection_policy_config,
};
use ripstop_rwset::{StateError, StateView};
use ripstop_types::MspId;

use crate::{ChaincodeDefinition, Committed, NAMESPACE, QueryError, ReadState, RecordError, definition};

/// Every organization has a collection of this prefix and its MSP id in every namespace, without any definition.
pub const IMPLICIT_COLLECTION_PREFIX: &str = "_implicit_org_";

/// The name of an organization's implicit collection.
pub fn implicit_collection(org: &MspId) -> String {
    format!("{IMPLICIT_COLLECTION_PREFIX}{org}")
}

/// Whose implicit collection this is; none for a collection of another kind.
pub fn implicit_collection_org(collection: &str) -> Option<MspId> {
    collection.strip_prefix(IMPLICIT_COLLECTION_PREFIX).map(MspId::new)
}

/// The configuration of an implicit collection: the members of the organization, kept for ever, never disseminated
/// beyond what the peer's own configuration asks for.
pub fn implicit_collection_config(org: &MspId) -> StaticCollectionConfig {
    StaticCollectionConfig {
        name: implicit_collection(org),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(signed_by_any(
                Role::Member,
                std::slice::from_ref(org),
            ))),
        }),
        ..StaticCollectionConfig::default()
    }
}

/// Why the collections of a chaincode are not known.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// The definition could not be read.
    #[error(transparent)]
    Definition(#[from] QueryError),
    /// No chaincode of that name is committed.
    #[error("namespace {0} is not defined")]
    NotDefined(String),
}

/// The collections that a definition lists.
pub fn explicit_collections(package: &CollectionConfigPackage) -> impl Iterator<Item = &StaticCollectionConfig> {
    let payloads = package.config.iter().filter_map(|config| config.payload.as_ref());
    payloads.map(|collection_config::Payload::StaticCollectionConfig(collection)| collection)
}

/// The configuration of one collection, explicit or implicit; none when the chaincode has no such collection.
pub fn collection(
    state: &dyn StateView,
    channel: &ChannelConfig,
    chaincode: &str,
    name: &str,
) -> Result<Option<StaticCollectionConfig>, CollectionError> {
    Ok(all_collections(state, channel, chaincode)?.into_iter().find(|collection| collection.name == name))
}

/// The collections of one committed state. Each definition is read once, however many of its collections are asked for: a
/// forged transaction may name very many.
pub struct CommittedCollections<'a> {
    state: &'a dyn StateView,
    /// The explicit collections of chaincodes, by name. `None`: no such chaincode.
    read: BTreeMap<String, Option<BTreeMap<String, StaticCollectionConfig>>>,
}

impl<'a> CommittedCollections<'a> {
    /// Those of this state.
    pub fn of(state: &'a dyn StateView) -> Self {
        Self { state, read: BTreeMap::new() }
    }

    /// The configuration of one collection from the committed state alone; every organization has an implicit collection
    /// here, whether it belongs to the channel or not (Fabric: `CollectionInfo`). None when there is no such chaincode or
    /// collection, or a definition that makes no sense: only a state that cannot be read is an error.
    pub fn find(&mut self, chaincode: &str, name: &str) -> Result<Option<Cow<'_, StaticCollectionConfig>>, StateError> {
        if !self.read.contains_key(chaincode) {
            let defined = sensible(committed(&mut Committed(self.state), chaincode))?;
            self.read.insert(chaincode.to_owned(), defined.map(by_name));
        }
        let Some(Some(explicit)) = self.read.get(chaincode) else { return Ok(None) };
        Ok(match implicit_collection_org(name) {
            Some(org) => Some(Cow::Owned(implicit_collection_config(&org))),
            None => explicit.get(name).map(Cow::Borrowed),
        })
    }
}

/// The collections that a definition lists, by name; of several with one name the first counts.
fn by_name(definition: ChaincodeDefinition) -> BTreeMap<String, StaticCollectionConfig> {
    let mut named = BTreeMap::new();
    for config in explicit_collections(&definition.parameters.collections) {
        named.entry(config.name.clone()).or_insert_with(|| config.clone());
    }
    named
}

/// The collections that the committed definition of a chaincode lists. There are none where there is no definition, or one
/// that makes no sense: only a state that cannot be read is an error.
pub fn committed_collections(state: &dyn StateView, chaincode: &str) -> Result<CollectionConfigPackage, StateError> {
    let defined = sensible(committed(&mut Committed(state), chaincode))?;
    Ok(defined.map(|definition| definition.parameters.collections).unwrap_or_default())
}

/// Takes a definition that makes no sense for none.
pub(crate) fn sensible(
    found: Result<Option<ChaincodeDefinition>, QueryError>,
) -> Result<Option<ChaincodeDefinition>, StateError> {
    match found {
        Ok(definition) => Ok(definition),
        Err(error @ QueryError::Record { error: RecordError::State { .. }, .. }) => Err(StateError::new(error)),
        Err(_) => Ok(None),
    }
}

/// All collections a chaincode may use: those of its definition, then the implicit one of every organization of the
/// channel. `_lifecycle` itself has the implicit ones only.
pub fn all_collections(
    state: &dyn StateView,
    channel: &ChannelConfig,
    chaincode: &str,
) -> Result<Vec<StaticCollectionConfig>, CollectionError> {
    let explicit = match committed(&mut Committed(state), chaincode)? {
        Some(definition) => definition.parameters.collections,
        None => return Err(CollectionError::NotDefined(chaincode.to_owned())),
    };
    let implicit = application_orgs(channel).into_iter().map(|org| implicit_collection_config(&org));
    Ok(explicit_collections(&explicit).cloned().chain(implicit).collect())
}

/// The committed definition of a name, where `_lifecycle` always has an empty one.
pub(crate) fn committed(state: &mut dyn ReadState, name: &str) -> Result<Option<ChaincodeDefinition>, QueryError> {
    if name == NAMESPACE {
        return Ok(Some(ChaincodeDefinition::default()));
    }
    definition(state, name)
}

/// The MSP ids of the channel's application organizations, sorted.
pub(crate) fn application_orgs(channel: &ChannelConfig) -> Vec<MspId> {
    let mut orgs: Vec<MspId> = channel
        .application()
        .into_iter()
        .flat_map(|application| application.organizations.values())
        .map(|org| org.msp_id.clone())
        .collect();
    orgs.sort();
    orgs
}
