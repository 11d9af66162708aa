use std::collections::BTreeSet;

use bytes::Bytes;
use ripstop_msp::{MspSet, Principal};
use ripstop_policy::{CompileError, SignaturePolicy, Signers};
use ripstop_proto::protos::{CollectionConfigPackage, StaticCollectionConfig, collection_policy_config};
use ripstop_rwset::{StateError, StateView};
use ripstop_types::{BlockNumber, MspId, SignedData};

use crate::collection::{IMPLICIT_COLLECTION_PREFIX, explicit_collections, sensible};
use crate::{Committed, CommittedCollections, definition, implicit_collection};

/// Why nobody can be said to belong to a collection.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The configuration names no members.
    #[error("Collection config policy is nil")]
    NoPolicy,
    /// The configuration names members in a way nobody knows.
    #[error("Collection config access policy is nil")]
    NoSignaturePolicy,
    /// The policy that names the members makes no sense.
    #[error("failed constructing policy object out of collection policy config: {0}")]
    Policy(#[from] CompileError),
}

/// Who belongs to a collection.
#[derive(Debug, Clone)]
pub struct CollectionMembers {
    organizations: BTreeSet<MspId>,
    policy: SignaturePolicy,
}

impl CollectionMembers {
    /// Reads the member policy of a collection's configuration. Its organizations are those that the principals of the
    /// policy name, however the policy combines them; a principal that cannot be read names none (Fabric:
    /// `SimpleCollection.Setup`).
    pub fn of(config: &StaticCollectionConfig, msps: &MspSet) -> Result<Self, MembershipError> {
        let policy = config.member_orgs_policy.as_ref().ok_or(MembershipError::NoPolicy)?;
        let Some(collection_policy_config::Payload::SignaturePolicy(envelope)) = &policy.payload else {
            return Err(MembershipError::NoSignaturePolicy);
        };
        let policy = SignaturePolicy::compile(envelope)?;
        let organizations = policy.principals().iter().filter_map(|principal| organization(principal, msps)).collect();
        Ok(Self { organizations, policy })
    }

    /// The organizations whose peers keep the collection's values.
    pub fn organizations(&self) -> &BTreeSet<MspId> {
        &self.organizations
    }

    /// Whether the peers of an organization keep the collection's values. They do also where the policy demands nothing
    /// of anybody.
    pub fn include(&self, organization: &MspId, msps: &MspSet) -> bool {
        let nobody = Signers::from_identities(vec![]);
        self.organizations.contains(organization) || self.policy.evaluate_signers(&nobody, msps).is_ok()
    }

    /// Whether who signed satisfies the member policy.
    pub fn admit(&self, signed: &SignedData, msps: &MspSet) -> bool {
        self.policy.evaluate(std::slice::from_ref(signed), msps).is_ok()
    }

    /// Whether the holder of an identity (the bytes of a `SerializedIdentity`) satisfies the member policy. That he is the
    /// holder was checked elsewhere.
    pub fn admit_holder(&self, identity: &Bytes, msps: &MspSet) -> bool {
        let Ok(identity) = msps.identify(identity) else { return false };
        self.policy.evaluate_signers(&Signers::from_identities(vec![identity]), msps).is_ok()
    }
}

/// Whom a principal belongs to. Only roles, units and identities do (Fabric: `getMemberOrgs`).
fn organization(principal: &Principal, msps: &MspSet) -> Option<MspId> {
    match principal {
        Principal::Role { msp_id, .. } | Principal::UnknownRole { msp_id, .. } => Some(msp_id.clone()),
        Principal::OrganizationUnit { msp_id, .. } => Some(msp_id.clone()),
        Principal::Identity(serialized) => Some(msps.identify(serialized).ok()?.msp_id().clone()),
        Principal::Nominal | Principal::Anonymous | Principal::Combined(_) | Principal::Nobody(_) => None,
    }
}

/// What the creator of a proposal may do with the values of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionRights {
    /// Whether he may let a chaincode read them.
    pub read: bool,
    /// Whether he may let a chaincode write them.
    pub write: bool,
}

impl CollectionRights {
    const ALL: Self = Self { read: true, write: true };

    /// The rights of whoever signed a proposal: all of them, unless the collection is for its members only (Fabric:
    /// `RetrieveReadWritePermission`).
    pub fn of(config: &StaticCollectionConfig, creator: &SignedData, msps: &MspSet) -> Result<Self, MembershipError> {
        let members = CollectionMembers::of(config, msps)?;
        let is_open = !config.member_only_read && !config.member_only_write;
        if is_open || members.admit(creator, msps) {
            return Ok(Self::ALL);
        }
        Ok(Self { read: !config.member_only_read, write: !config.member_only_write })
    }
}

/// Whether the peers of an organization keep the values that a transaction wrote to a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Eligibility {
    /// They do: a value that is not here is missed.
    Eligible,
    /// They do not.
    Ineligible,
}

impl From<bool> for Eligibility {
    fn from(is_member: bool) -> Self {
        if is_member { Self::Eligible } else { Self::Ineligible }
    }
}

/// Whether an organization's peers keep what the next block writes to a collection. Fabric judges by the configuration
/// before the block. None when the chaincode has no such collection: nobody keeps anything then.
pub fn eligibility(
    before: &mut CommittedCollections<'_>,
    msps: &MspSet,
    organization: &MspId,
    chaincode: &str,
    collection: &str,
) -> Result<Option<Eligibility>, StateError> {
    let Some(config) = before.find(chaincode, collection)? else { return Ok(None) };
    let is_member = CollectionMembers::of(&config, msps).is_ok_and(|members| members.include(organization, msps));
    Ok(Some(is_member.into()))
}

/// What an organization's peers keep of a collection's values, told long afterwards from all that its chaincode defined.
#[derive(Debug, Clone)]
pub struct PastEligibility(Vec<(BlockNumber, bool)>);

impl PastEligibility {
    /// Reads definitions of a chaincode's collections, newest first, each with its block. An implicit collection needs none.
    pub fn of(
        definitions: &[(BlockNumber, CollectionConfigPackage)],
        msps: &MspSet,
        organization: &MspId,
        collection: &str,
    ) -> Self {
        if collection.starts_with(IMPLICIT_COLLECTION_PREFIX) {
            return Self(vec![(BlockNumber::GENESIS, collection == implicit_collection(organization))]);
        }
        let defined = definitions.iter().flat_map(|(block, package)| {
            let config = explicit_collections(package).find(|config| config.name == collection);
            config.map(|config| (*block, names(config, organization, msps)))
        });
        Self(defined.collect())
    }

    /// Whether the peers keep what a block wrote. The definition before the block says so, or one that has opened the
    /// collection since (Fabric: `eligibilityAndBTLCache.isEligibile`). None when no definition before the block has it.
    pub fn of_block(&self, block: BlockNumber) -> Option<Eligibility> {
        let in_force = self.0.iter().position(|(defined, _)| *defined < block)?;
        Some(self.0.iter().take(in_force + 1).any(|(_, is_member)| *is_member).into())
    }
}

/// Whether the member policy names an organization (Fabric: `AmMemberOf`).
fn names(config: &StaticCollectionConfig, organization: &MspId, msps: &MspSet) -> bool {
    CollectionMembers::of(config, msps).is_ok_and(|members| members.organizations().contains(organization))
}

/// The collections of a chaincode that a new definition opens to an organization which the old one kept out (Fabric:
/// `collElgNotifier`). A collection that the old definition did not have is not among them.
pub fn opened_collections(
    before: &dyn StateView,
    after: &dyn StateView,
    msps: &MspSet,
    organization: &MspId,
    chaincode: &str,
) -> Result<Vec<String>, StateError> {
    let (Some(old), Some(new)) = (
        sensible(definition(&mut Committed(before), chaincode))?,
        sensible(definition(&mut Committed(after), chaincode))?,
    ) else {
        return Ok(vec![]);
    };
    let is_member = |config: &StaticCollectionConfig| names(config, organization, msps);
    let kept_out = |name: &str| {
        explicit_collections(&old.parameters.collections).any(|config| config.name == name && !is_member(config))
    };
    let opened = explicit_collections(&new.parameters.collections)
        .filter(|config| kept_out(&config.name) && is_member(config))
        .map(|config| config.name.clone());
    Ok(opened.collect())
}
