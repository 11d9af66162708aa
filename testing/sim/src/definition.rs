//! Definitions of the simulated chaincode: which organizations may have the values of its collections, and for how long.

use std::collections::BTreeSet;

use ripstop_lifecycle::explicit_collections;
use ripstop_msp::Role;
use ripstop_policy::envelope::signed_by_any;
use ripstop_proto::protos::{
    CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig, collection_config,
    collection_policy_config,
};
use ripstop_types::MspId;

/// How many collections there are.
pub(crate) const COLLECTIONS: usize = 3;
/// How many blocks the values of the last collection live.
pub(crate) const BLOCK_TO_LIVE: u64 = 25;
/// For how many more blocks who is asked for a value must be expected to keep it.
pub(crate) const PULL_MARGIN: u64 = 10;

/// A definition.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    /// The organizations of each collection.
    pub(crate) members: Vec<BTreeSet<usize>>,
    /// The same, as peers read it.
    pub(crate) package: CollectionConfigPackage,
}

impl Definition {
    /// The first one: a collection of two organizations, one of one, and one of all whose values do not live for ever.
    pub(crate) fn first(names: &[MspId]) -> Self {
        let members = vec![BTreeSet::from([0, 1]), BTreeSet::from([1]), (0..names.len()).collect()];
        Self::of(members, names)
    }

    /// One in which a collection has gained an organization, or lost it.
    pub(crate) fn changed(&self, collection: usize, organization: usize, names: &[MspId]) -> Self {
        let mut members = self.members.clone();
        if !members[collection].insert(organization) && members[collection].len() > 1 {
            members[collection].remove(&organization);
        }
        Self::of(members, names)
    }

    /// The configuration of a collection.
    pub(crate) fn collection(&self, collection: usize) -> Option<&StaticCollectionConfig> {
        explicit_collections(&self.package).find(|config| config.name == collection.to_string())
    }

    fn of(members: Vec<BTreeSet<usize>>, names: &[MspId]) -> Self {
        let config = |(number, members): (usize, &BTreeSet<usize>)| {
            let members: Vec<_> = members.iter().map(|member| names[*member].clone()).collect();
            let policy = collection_policy_config::Payload::SignaturePolicy(signed_by_any(Role::Member, &members));
            let collection = StaticCollectionConfig {
                name: number.to_string(),
                member_orgs_policy: Some(CollectionPolicyConfig { payload: Some(policy) }),
                required_peer_count: 1,
                maximum_peer_count: 2,
                block_to_live: lifetime(number),
                ..StaticCollectionConfig::default()
            };
            CollectionConfig { payload: Some(collection_config::Payload::StaticCollectionConfig(collection)) }
        };
        let package = CollectionConfigPackage { config: members.iter().enumerate().map(config).collect() };
        Self { members, package }
    }
}

/// How many blocks the values of a collection live; 0: for ever.
pub(crate) const fn lifetime(collection: usize) -> u64 {
    if collection + 1 == COLLECTIONS { BLOCK_TO_LIVE } else { 0 }
}

/// Whether a value of a collection that a block wrote is gone at a height.
pub(crate) const fn is_gone(collection: usize, block: u64, height: u64) -> bool {
    let lifetime = lifetime(collection);
    lifetime > 0 && block + lifetime + 1 < height
}
