use std::sync::Arc;

use bytes::Bytes;
use ripstop_channel_config::ChannelConfig;
use ripstop_lifecycle::{
    Committed, NAMESPACE, collection_endorsement_policy, definition, explicit_collections, implicit_collection_config,
    implicit_collection_org, validation_info,
};
use ripstop_msp::Principal;
use ripstop_policy::{ApplicationPolicy, SignaturePolicy};
use ripstop_proto::Message as _;
use ripstop_proto::protos::{
    ChaincodeCall, ChaincodeInterest, CollectionConfigPackage, StaticCollectionConfig, collection_policy_config,
};
use ripstop_rwset::StateView;
use ripstop_types::ChannelId;

use crate::PlanError;

/// How many calls one interest may hold.
const MAX_CALLS: usize = 64;
/// How many collections one call may name.
const MAX_COLLECTIONS: usize = 64;
/// How many policies of keys one call may bring along.
const MAX_KEY_POLICIES: usize = 256;

/// A channel as its ledger has it at a moment.
pub(crate) struct ChannelState {
    pub(crate) id: ChannelId,
    pub(crate) state: Arc<dyn StateView>,
    pub(crate) config: Arc<ChannelConfig>,
}

/// What a call of a chaincode asks of every peer that endorses it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Requirement {
    /// The chaincode to run.
    pub(crate) chaincode: String,
    /// What peers announce as its version: the sequence of the definition in decimals, since any part of a definition may
    /// change without its version.
    pub(crate) version: String,
    /// For each collection that is read: who is entitled to it.
    pub(crate) entitled: Vec<Vec<Principal>>,
}

/// The policies that all endorsements together have to satisfy.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Policies {
    /// Those of chaincodes and collections.
    pub(crate) of_definitions: Vec<SignaturePolicy>,
    /// Those of keys.
    pub(crate) of_keys: Vec<SignaturePolicy>,
}

/// The definition of a chaincode, as far as plans need it.
struct Definition {
    sequence: i64,
    policy: Bytes,
    collections: CollectionConfigPackage,
}

fn check_size(what: &'static str, found: usize, most: usize) -> Result<(), PlanError> {
    if found > most { Err(PlanError::TooLarge { what, found, most }) } else { Ok(()) }
}

impl ChannelState {
    /// What each call of an interest asks of every endorser. An interest without calls asks for nothing.
    pub(crate) fn requirements(&self, interest: &ChaincodeInterest) -> Result<Vec<Requirement>, PlanError> {
        check_size("chaincode calls", interest.chaincodes.len(), MAX_CALLS)?;
        interest.chaincodes.iter().map(|call| self.requirement(call)).collect()
    }

    /// What all endorsements of an interest together have to satisfy.
    pub(crate) fn policies(&self, interest: &ChaincodeInterest) -> Result<Policies, PlanError> {
        check_size("chaincode calls", interest.chaincodes.len(), MAX_CALLS)?;
        let mut policies = Policies::default();
        for call in &interest.chaincodes {
            self.add_policies(call, &mut policies)?;
        }
        Ok(policies)
    }

    fn no_metadata(&self, chaincode: &str, why: impl ToString) -> PlanError {
        let channel = self.id.as_str().to_owned();
        PlanError::NoMetadata { chaincode: chaincode.to_owned(), channel, why: why.to_string() }
    }

    fn definition(&self, chaincode: &str) -> Result<Definition, PlanError> {
        let undefined = || self.no_metadata(chaincode, "it is not defined there");
        if chaincode == NAMESPACE {
            // It needs no definition; peers announce it with sequence 1.
            let info = validation_info(self.state.as_ref(), &self.config, chaincode)
                .map_err(|error| self.no_metadata(chaincode, error))?
                .ok_or_else(undefined)?;
            return Ok(Definition {
                sequence: 1,
                policy: info.policy,
                collections: CollectionConfigPackage::default(),
            });
        }
        let definition = definition(&mut Committed(self.state.as_ref()), chaincode)
            .map_err(|error| self.no_metadata(chaincode, error))?
            .ok_or_else(undefined)?;
        let parameters = definition.parameters;
        Ok(Definition {
            sequence: definition.sequence,
            policy: parameters.validation_parameter,
            collections: parameters.collections,
        })
    }

    fn requirement(&self, call: &ChaincodeCall) -> Result<Requirement, PlanError> {
        check_size("collections of one call", call.collection_names.len(), MAX_COLLECTIONS)?;
        let definition = self.definition(&call.name)?;
        let read = if call.no_private_reads { [].as_slice() } else { call.collection_names.as_slice() };
        let entitled = read
            .iter()
            .map(|name| {
                let config = definition.collection(name);
                let no_such = || PlanError::NoCollection { chaincode: call.name.clone(), collection: name.clone() };
                config.and_then(|config| entitled(&config)).ok_or_else(no_such)
            })
            .collect::<Result<_, _>>()?;
        Ok(Requirement { chaincode: call.name.clone(), version: definition.sequence.to_string(), entitled })
    }

    /// The policy of each collection, which is the chaincode's where it has none of its own; the chaincode's where no
    /// collection is named; and those of keys (Fabric: `PoliciesByChaincode`, `computePrincipalSets`). To disregard the
    /// chaincode's policy leaves the collections' own ones.
    fn add_policies(&self, call: &ChaincodeCall, policies: &mut Policies) -> Result<(), PlanError> {
        check_size("collections of one call", call.collection_names.len(), MAX_COLLECTIONS)?;
        check_size("key policies of one call", call.key_policies.len(), MAX_KEY_POLICIES)?;
        let definition = self.definition(&call.name)?;
        let own: Vec<Option<Bytes>> = call
            .collection_names
            .iter()
            .map(|collection| self.own_policy(&call.name, &definition, collection))
            .collect::<Result<_, _>>()?;
        let has_own = own.iter().any(Option::is_some);
        if call.disregard_namespace_policy && !has_own && call.key_policies.is_empty() {
            return Err(PlanError::NothingToRegard(call.name.clone()));
        }
        let needs_definition = own.is_empty() || own.iter().any(Option::is_none);
        if needs_definition && !call.disregard_namespace_policy {
            policies.of_definitions.push(self.signature_policy(&call.name, &definition.policy)?);
        }
        for policy in own.into_iter().flatten() {
            policies.of_definitions.push(self.signature_policy(&call.name, &policy)?);
        }
        for policy in &call.key_policies {
            let policy = SignaturePolicy::compile(policy).map_err(|error| PlanError::KeyPolicy(error.to_string()))?;
            policies.of_keys.push(policy);
        }
        Ok(())
    }

    /// The endorsement policy of a collection's own, where it has one.
    fn own_policy(
        &self,
        chaincode: &str,
        definition: &Definition,
        collection: &str,
    ) -> Result<Option<Bytes>, PlanError> {
        if implicit_collection_org(collection).is_some() {
            let policy = collection_endorsement_policy(self.state.as_ref(), &self.config, chaincode, collection)
                .map_err(|error| self.no_metadata(chaincode, error))?;
            // That of an organization outside of the channel: nobody satisfies it.
            return policy.map(Some).ok_or_else(|| PlanError::NoCollection {
                chaincode: chaincode.to_owned(),
                collection: collection.to_owned(),
            });
        }
        let config = definition.collection(collection);
        Ok(config.and_then(|config| config.endorsement_policy).map(|policy| policy.encode_to_vec().into()))
    }

    fn signature_policy(&self, chaincode: &str, policy: &[u8]) -> Result<SignaturePolicy, PlanError> {
        let policy = ApplicationPolicy::parse(policy).map_err(|error| self.no_metadata(chaincode, error))?;
        let policy =
            policy.as_signature_policy(self.config.policies()).map_err(|error| self.no_metadata(chaincode, error))?;
        Ok(policy.into_owned())
    }
}

impl Definition {
    /// The collection of that name; the implicit one of an organization needs no definition.
    fn collection(&self, name: &str) -> Option<StaticCollectionConfig> {
        match implicit_collection_org(name) {
            Some(org) => Some(implicit_collection_config(&org)),
            None => explicit_collections(&self.collections).find(|config| config.name == name).cloned(),
        }
    }
}

/// Whoever is one of these is entitled to a collection; none for a collection that does not say who.
fn entitled(collection: &StaticCollectionConfig) -> Option<Vec<Principal>> {
    match collection.member_orgs_policy.as_ref()?.payload.as_ref()? {
        collection_policy_config::Payload::SignaturePolicy(policy) => {
            Some(policy.identities.iter().map(Principal::parse).collect())
        }
    }
}
