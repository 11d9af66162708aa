use bytes::Bytes;
use prost::Message;
use ripstop_channel_config::ChannelConfig;
use ripstop_msp::Role;
use ripstop_policy::envelope::n_out_of_role;
use ripstop_proto::protos::{ApplicationPolicy, application_policy::Type};
use ripstop_rwset::StateView;
use ripstop_types::MspId;

use crate::collection::{application_orgs, committed, explicit_collections};
use crate::{Committed, NAMESPACE, QueryError, implicit_collection_org};

/// The policy of a definition that names none.
pub const DEFAULT_ENDORSEMENT_POLICY: &str = "/Channel/Application/Endorsement";
/// The policy of `_lifecycle` itself.
pub const LIFECYCLE_ENDORSEMENT_POLICY: &str = "/Channel/Application/LifecycleEndorsement";

/// The built-in validation plugin.
const VSCC: &str = "vscc";

/// How transactions of a chaincode are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationInfo {
    /// The validation plugin, `vscc` for all chaincodes we can judge.
    pub plugin: String,
    /// The endorsement policy: bytes of a `protos.ApplicationPolicy`, as they stand in the definition.
    pub policy: Bytes,
}

/// How transactions that write to the namespace `name` are judged, from the committed state alone; none when no such
/// chaincode is defined (Fabric: `INVALID_CHAINCODE`). An error means that the state cannot tell.
pub fn validation_info(
    state: &dyn StateView,
    channel: &ChannelConfig,
    name: &str,
) -> Result<Option<ValidationInfo>, QueryError> {
    if name == NAMESPACE {
        return Ok(Some(ValidationInfo { plugin: VSCC.to_owned(), policy: lifecycle_policy(channel) }));
    }
    Ok(committed(&mut Committed(state), name)?.map(|definition| ValidationInfo {
        plugin: definition.parameters.validation_plugin,
        policy: definition.parameters.validation_parameter,
    }))
}

/// The policy for writes to one collection: its own, or else the chaincode's; for an implicit collection the
/// organization's. None when there is no such chaincode or collection.
pub fn collection_endorsement_policy(
    state: &dyn StateView,
    channel: &ChannelConfig,
    chaincode: &str,
    collection: &str,
) -> Result<Option<Bytes>, QueryError> {
    let Some(definition) = committed(&mut Committed(state), chaincode)? else { return Ok(None) };
    if let Some(org) = implicit_collection_org(collection) {
        return Ok(org_policy(channel, &org));
    }
    let parameters = definition.parameters;
    let config = explicit_collections(&parameters.collections).find(|config| config.name == collection);
    Ok(config.map(|config| match &config.endorsement_policy {
        Some(policy) => policy.encode_to_vec().into(),
        None => parameters.validation_parameter.clone(),
    }))
}

/// The policy that a definition without one gets, or none when the channel has no such policy.
pub fn default_endorsement_policy(channel: &ChannelConfig) -> Option<Bytes> {
    channel.policies().contains(DEFAULT_ENDORSEMENT_POLICY).then(|| reference(DEFAULT_ENDORSEMENT_POLICY))
}

/// The channel's own policy for definitions, or a majority of the organizations' members.
fn lifecycle_policy(channel: &ChannelConfig) -> Bytes {
    if channel.policies().contains(LIFECYCLE_ENDORSEMENT_POLICY) {
        return reference(LIFECYCLE_ENDORSEMENT_POLICY);
    }
    let orgs = application_orgs(channel);
    let majority = i32::try_from(orgs.len() / 2 + 1).unwrap_or(i32::MAX);
    signature(majority, &orgs)
}

/// The organization's own endorsement policy, or any of its members; none for a stranger.
fn org_policy(channel: &ChannelConfig, org: &MspId) -> Option<Bytes> {
    let (name, _) = channel.application()?.organization_of(org)?;
    let path = format!("/Channel/Application/{name}/Endorsement");
    if channel.policies().contains(&path) {
        return Some(reference(&path));
    }
    Some(signature(1, std::slice::from_ref(org)))
}

fn reference(path: &str) -> Bytes {
    ApplicationPolicy { r#type: Some(Type::ChannelConfigPolicyReference(path.to_owned())) }.encode_to_vec().into()
}

fn signature(n: i32, orgs: &[MspId]) -> Bytes {
    ApplicationPolicy { r#type: Some(Type::SignaturePolicy(n_out_of_role(n, Role::Member, orgs))) }
        .encode_to_vec()
        .into()
}
