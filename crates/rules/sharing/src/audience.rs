use ripstop_gossip::{ChannelMember, Contact};
use ripstop_lifecycle::{
    CollectionMembers, MembershipError, explicit_collections, implicit_collection_config, implicit_collection_org,
};
use ripstop_msp::MspSet;
use ripstop_proto::protos::{CollectionConfigPackage, StaticCollectionConfig};
use ripstop_types::{MspId, SignedData};

/// What a peer at the other end of a stream signed to open it. Policies are evaluated over it.
pub fn signed_handshake(contact: &Contact) -> SignedData {
    let envelope = contact.handshake.envelope();
    SignedData {
        identity: contact.identity.clone(),
        message: envelope.payload.clone(),
        signature: envelope.signature.clone(),
    }
}

/// Which peers may be given the values of a collection.
#[derive(Debug, Clone)]
pub struct Audience(CollectionMembers);

impl Audience {
    /// As the configuration of a collection says.
    pub fn of(config: &StaticCollectionConfig, msps: &MspSet) -> Result<Self, MembershipError> {
        Ok(Self(CollectionMembers::of(config, msps)?))
    }

    /// Whether a peer that signed this may be given values.
    pub fn admits(&self, signed: &SignedData, msps: &MspSet) -> bool {
        self.0.admit(signed, msps)
    }

    /// Whether a member of the channel may be given values. That it signed what it said of itself was verified when it came;
    /// Fabric evaluates the policy over that signature each time (`PeerFilter`).
    pub fn admits_member(&self, member: &ChannelMember, msps: &MspSet) -> bool {
        self.0.admit_holder(&member.peer.identity, msps)
    }

    /// Whether the peers of an organization keep values.
    pub fn keeps(&self, organization: &MspId, msps: &MspSet) -> bool {
        self.0.include(organization, msps)
    }

    /// Whether the policy names an organization.
    pub fn names(&self, organization: &MspId) -> bool {
        self.0.organizations().contains(organization)
    }
}

/// What a collection was when a block wrote to it, and what it is now.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    /// In force for the block. `None` where no definition before the block has the collection.
    pub then: Option<StaticCollectionConfig>,
    /// In force for the next block.
    pub now: Option<StaticCollectionConfig>,
}

impl Definitions {
    /// Finds a collection in the definitions of its chaincode. An implicit collection needs none.
    pub fn of(collection: &str, then: Option<&CollectionConfigPackage>, now: &CollectionConfigPackage) -> Self {
        if let Some(organization) = implicit_collection_org(collection) {
            let config = implicit_collection_config(&organization);
            return Self { then: Some(config.clone()), now: Some(config) };
        }
        let find = |package| explicit_collections(package).find(|config| config.name == collection).cloned();
        Self { then: then.and_then(find), now: find(now) }
    }

    /// Whether a peer that signed this may be given what the block wrote: whoever belongs to the collection now, or did when
    /// the block was written (Fabric: `filterNotEligible`).
    pub fn entitle(&self, signed: &SignedData, msps: &MspSet) -> bool {
        let admits = |config: &Option<StaticCollectionConfig>| {
            let audience = config.as_ref().and_then(|config| Audience::of(config, msps).ok());
            audience.is_some_and(|audience| audience.admits(signed, msps))
        };
        admits(&self.now) || admits(&self.then)
    }

    /// Whether a client may read what the block wrote along with the block: everybody may, unless the collection was for its
    /// members only (Fabric: `collPolicyChecker`). Implicit collections are: they have no definition that opens them, and
    /// hold what an organization keeps to itself. `None` where there was no such collection.
    pub fn may_read(&self, client: &SignedData, msps: &MspSet) -> Option<Result<bool, MembershipError>> {
        let config = self.then.as_ref()?;
        if !config.member_only_read && implicit_collection_org(&config.name).is_none() {
            return Some(Ok(true));
        }
        Some(Audience::of(config, msps).map(|audience| audience.admits(client, msps)))
    }
}
