//! Endorsement policies and collections as operators write them.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use ripstop_proto::protos;
use serde::Deserialize;

use crate::text;

/// The endorsement policy that one of two flags gives, if any.
pub(super) fn application_policy(
    signature: &str,
    reference: &str,
) -> anyhow::Result<Option<protos::ApplicationPolicy>> {
    use protos::application_policy::Type;
    let policy = match (signature, reference) {
        ("", "") => return Ok(None),
        (signature, "") => {
            let policy = ripstop_policy::dsl::parse(signature)
                .map_err(|error| anyhow!("invalid signature policy: {signature} ({error})"))?;
            Type::SignaturePolicy(policy)
        }
        ("", reference) => Type::ChannelConfigPolicyReference(reference.to_owned()),
        _ => bail!("cannot specify both \"--signature-policy\" and \"--channel-config-policy\""),
    };
    Ok(Some(protos::ApplicationPolicy { r#type: Some(policy) }))
}

/// A private-data collection in a `--collections-config` file. Member names are taken in any case, as Go takes them.
#[derive(Debug, Deserialize)]
struct Collection {
    name: String,
    policy: String,
    #[serde(rename = "requiredPeerCount")]
    required_peer_count: Option<i32>,
    #[serde(rename = "maxPeerCount")]
    maximum_peer_count: Option<i32>,
    #[serde(default, rename = "blockToLive")]
    block_to_live: u64,
    #[serde(default, rename = "memberOnlyRead")]
    member_only_read: bool,
    #[serde(default, rename = "memberOnlyWrite")]
    member_only_write: bool,
    #[serde(rename = "endorsementPolicy")]
    endorsement_policy: Option<EndorsementPolicy>,
}

#[derive(Debug, Deserialize)]
struct EndorsementPolicy {
    #[serde(default, rename = "channelConfigPolicy")]
    channel_config_policy: String,
    #[serde(default, rename = "signaturePolicy")]
    signature_policy: String,
}

/// How many peers receive a collection's data unless the file says otherwise.
const DEFAULT_MAXIMUM_PEER_COUNT: i32 = 1;

/// Reads a `--collections-config` file.
pub(super) fn read(file: &Path) -> anyhow::Result<protos::CollectionConfigPackage> {
    let invalid = || format!("invalid collection configuration in file {}", file.display());
    let text = std::fs::read(file)
        .map_err(|error| anyhow!("could not read file '{}': {}", file.display(), text::not_opened(file, &error)))
        .with_context(invalid)?;
    parse(&text).with_context(invalid)
}

fn parse(json: &[u8]) -> anyhow::Result<protos::CollectionConfigPackage> {
    let collections: Vec<Collection> = serde_json::from_slice(json)
        .map_err(|error| anyhow!(text::not_json(&error)))
        .context("could not parse the collection configuration")?;
    let config = collections.into_iter().map(Collection::into_config).collect::<anyhow::Result<_>>()?;
    Ok(protos::CollectionConfigPackage { config })
}

impl Collection {
    fn into_config(self) -> anyhow::Result<protos::CollectionConfig> {
        let members = ripstop_policy::dsl::parse(&self.policy)
            .map_err(|error| anyhow!("invalid policy {}: {error}", self.policy))?;
        let endorsement_policy = match &self.endorsement_policy {
            Some(policy) => application_policy(&policy.signature_policy, &policy.channel_config_policy)
                .with_context(|| format!("invalid endorsement policy [{policy:?}]"))?,
            None => None,
        };
        let collection = protos::StaticCollectionConfig {
            name: self.name,
            member_orgs_policy: Some(protos::CollectionPolicyConfig {
                payload: Some(protos::collection_policy_config::Payload::SignaturePolicy(members)),
            }),
            required_peer_count: self.required_peer_count.unwrap_or(0),
            maximum_peer_count: self.maximum_peer_count.unwrap_or(DEFAULT_MAXIMUM_PEER_COUNT),
            block_to_live: self.block_to_live,
            member_only_read: self.member_only_read,
            member_only_write: self.member_only_write,
            endorsement_policy,
        };
        let payload = Some(protos::collection_config::Payload::StaticCollectionConfig(collection));
        Ok(protos::CollectionConfig { payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_get_fabrics_defaults() {
        let package = parse(br#"[{"name":"c","policy":"OR('Org1MSP.member')","blockToLive":3}]"#).unwrap();
        let Some(protos::collection_config::Payload::StaticCollectionConfig(collection)) =
            package.config[0].payload.clone()
        else {
            panic!("no static collection");
        };
        assert_eq!((collection.required_peer_count, collection.maximum_peer_count), (0, 1));
        assert_eq!((collection.block_to_live, collection.endorsement_policy), (3, None));
        assert!(parse(br#"[{"name":"c","policy":"nonsense("}]"#).unwrap_err().to_string().contains("invalid policy"));
    }

    #[test]
    fn a_policy_is_given_in_one_way_only() {
        assert_eq!(application_policy("", "").unwrap(), None);
        assert!(application_policy("OR('A.member')", "/x").is_err());
        assert!(application_policy("OR(", "").unwrap_err().to_string().starts_with("invalid signature policy: OR("));
    }
}
