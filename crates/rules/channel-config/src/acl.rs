//! Who may use which function of a peer (Fabric: `core/aclmgmt`).
//!
//! Every function is a [`Resource`]. Some concern the peer itself and are for its own organization, whatever a channel
//! says; the others are for whoever satisfies a policy of the channel: the one its configuration names for the resource,
//! or else the default.

use std::fmt;

use ripstop_msp::{LocalMsp, LocalPolicy, LocalRefusal};
use ripstop_policy::{PolicyRefusal, Reader};
use ripstop_types::{ChannelId, SignedData};

use crate::ChannelConfig;

/// The default policy of reading.
const CHANNEL_READERS: &str = "/Channel/Application/Readers";
/// The default policy of writing.
const CHANNEL_WRITERS: &str = "/Channel/Application/Writers";

/// Whom a resource is for when no channel configuration says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultPolicy {
    /// Members of the peer's own organization; channel configurations cannot change it.
    Local(LocalPolicy),
    /// Whoever satisfies this policy of the channel.
    Channel(&'static str),
    /// Nobody: the function no longer exists.
    None,
}

macro_rules! resources {
    ($($variant:ident = $name:literal, $policy:expr;)*) => {
        /// A function of a peer, named as in access control lists.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Resource {
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl Resource {
            /// All resources.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in access control lists, such as `qscc/GetChainInfo`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The resource of that name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Whom it is for when no channel configuration says otherwise.
            pub const fn default_policy(self) -> DefaultPolicy {
                match self {
                    $(Self::$variant => $policy,)*
                }
            }
        }
    };
}

const ADMINS: DefaultPolicy = DefaultPolicy::Local(LocalPolicy::Admins);
const MEMBERS: DefaultPolicy = DefaultPolicy::Local(LocalPolicy::Members);
const READERS: DefaultPolicy = DefaultPolicy::Channel(CHANNEL_READERS);
const WRITERS: DefaultPolicy = DefaultPolicy::Channel(CHANNEL_WRITERS);

resources! {
    LifecycleInstallChaincode = "_lifecycle/InstallChaincode", ADMINS;
    LifecycleQueryInstalledChaincode = "_lifecycle/QueryInstalledChaincode", ADMINS;
    LifecycleGetInstalledChaincodePackage = "_lifecycle/GetInstalledChaincodePackage", ADMINS;
    LifecycleQueryInstalledChaincodes = "_lifecycle/QueryInstalledChaincodes", ADMINS;
    LifecycleApproveChaincodeDefinitionForMyOrg = "_lifecycle/ApproveChaincodeDefinitionForMyOrg", ADMINS;
    LifecycleQueryApprovedChaincodeDefinition = "_lifecycle/QueryApprovedChaincodeDefinition", ADMINS;
    LifecycleQueryApprovedChaincodeDefinitions = "_lifecycle/QueryApprovedChaincodeDefinitions", ADMINS;
    LifecycleCommitChaincodeDefinition = "_lifecycle/CommitChaincodeDefinition", WRITERS;
    LifecycleQueryChaincodeDefinition = "_lifecycle/QueryChaincodeDefinition", WRITERS;
    LifecycleQueryChaincodeDefinitions = "_lifecycle/QueryChaincodeDefinitions", WRITERS;
    LifecycleCheckCommitReadiness = "_lifecycle/CheckCommitReadiness", WRITERS;
    SnapshotSubmitRequest = "snapshot/submitrequest", ADMINS;
    SnapshotCancelRequest = "snapshot/cancelrequest", ADMINS;
    SnapshotListPending = "snapshot/listpending", ADMINS;
    LsccInstall = "lscc/Install", ADMINS;
    LsccGetInstalledChaincodes = "lscc/GetInstalledChaincodes", ADMINS;
    LsccDeploy = "lscc/Deploy", DefaultPolicy::None;
    LsccUpgrade = "lscc/Upgrade", DefaultPolicy::None;
    LsccChaincodeExists = "lscc/ChaincodeExists", READERS;
    LsccGetDeploymentSpec = "lscc/GetDeploymentSpec", READERS;
    LsccGetChaincodeData = "lscc/GetChaincodeData", READERS;
    LsccGetInstantiatedChaincodes = "lscc/GetInstantiatedChaincodes", READERS;
    LsccGetCollectionsConfig = "lscc/GetCollectionsConfig", READERS;
    QsccGetChainInfo = "qscc/GetChainInfo", READERS;
    QsccGetBlockByNumber = "qscc/GetBlockByNumber", READERS;
    QsccGetBlockByHash = "qscc/GetBlockByHash", READERS;
    QsccGetTransactionById = "qscc/GetTransactionByID", READERS;
    QsccGetBlockByTxId = "qscc/GetBlockByTxID", READERS;
    CsccJoinChain = "cscc/JoinChain", ADMINS;
    CsccJoinChainBySnapshot = "cscc/JoinChainBySnapshot", ADMINS;
    CsccJoinBySnapshotStatus = "cscc/JoinBySnapshotStatus", ADMINS;
    CsccGetChannels = "cscc/GetChannels", MEMBERS;
    CsccGetConfigBlock = "cscc/GetConfigBlock", READERS;
    CsccGetChannelConfig = "cscc/GetChannelConfig", READERS;
    PeerPropose = "peer/Propose", WRITERS;
    PeerChaincodeToChaincode = "peer/ChaincodeToChaincode", WRITERS;
    EventBlock = "event/Block", READERS;
    EventFilteredBlock = "event/FilteredBlock", READERS;
    GatewayCommitStatus = "gateway/CommitStatus", READERS;
    GatewayChaincodeEvents = "gateway/ChaincodeEvents", READERS;
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why somebody may not use a resource. Displays as for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AclRefusal {
    /// Not somebody the peer's own organization means it for.
    Local(LocalRefusal),
    /// The same for requests that are no proposals.
    LocalRequest(LocalRefusal),
    /// The channel's default policy is not satisfied.
    Default {
        /// The channel.
        channel: ChannelId,
        /// The policy's path.
        policy: String,
        /// Why not.
        refusal: PolicyRefusal,
    },
    /// The policy that the channel's configuration names is not satisfied.
    Configured {
        /// The policy's path.
        policy: String,
        /// Why not.
        refusal: PolicyRefusal,
    },
    /// The channel's configuration names a policy that it does not have.
    PolicyNotFound {
        /// The policy's path.
        policy: String,
    },
    /// A resource of channels was used without one.
    NoChannel(Resource),
    /// A resource that is for nobody.
    Unmapped(Resource),
}

impl AclRefusal {
    /// Exactly what Fabric says.
    pub fn headline(&self) -> String {
        match self {
            Self::Local(refusal) => refusal.to_string(),
            Self::LocalRequest(refusal) => request_text(refusal),
            Self::Default { channel, policy, refusal } => format!(
                "Failed evaluating policy on signed data during check policy on channel [{channel}] with policy [{policy}]: [{}]",
                refusal.headline()
            ),
            Self::Configured { policy, refusal } => format!(
                "failed evaluating policy on signed data during check policy [{policy}]: [{}]",
                refusal.headline()
            ),
            Self::PolicyNotFound { policy } => format!(
                "failed evaluating policy on signed data during check policy [{policy}]: [policy {policy} not found]"
            ),
            Self::NoChannel(resource) => {
                format!("Failed to get policy manager for channel []: {resource} needs a channel")
            }
            Self::Unmapped(resource) => format!("Unmapped policy for {resource}"),
        }
    }

    /// Who asked, and what was lacking, as far as a reader may know; may be empty.
    pub fn explanation(&self, reader: Reader) -> String {
        match self {
            Self::Local(refusal) => format!("the creator is {}", refusal.claim()),
            Self::LocalRequest(refusal) => format!("the signer is {}", refusal.claim()),
            Self::Default { refusal, .. } | Self::Configured { refusal, .. } => refusal.explanation(reader).to_owned(),
            Self::PolicyNotFound { .. } | Self::NoChannel(_) | Self::Unmapped(_) => String::new(),
        }
    }

    /// All that a reader may know.
    pub fn text(&self, reader: Reader) -> String {
        explained(self.headline(), &self.explanation(reader))
    }

    /// What to tell whoever asked where Fabric has words around its words: the explanation stands behind all of them.
    pub fn within(&self, words: impl FnOnce(&str) -> String) -> String {
        explained(words(&self.headline()), &self.explanation(Reader::Signer))
    }
}

fn explained(headline: String, explanation: &str) -> String {
    if explanation.is_empty() { headline } else { format!("{headline}: {explanation}") }
}

impl fmt::Display for AclRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Reader::Signer))
    }
}

impl std::error::Error for AclRefusal {}

/// Fabric words the refusal of a signed request otherwise than that of a proposal.
fn request_text(refusal: &LocalRefusal) -> String {
    match refusal {
        LocalRefusal::Identity { policy, source, .. } => format!(
            "failed deserializing signed data identity during channelless check policy with policy [{policy}]: [{source}]"
        ),
        LocalRefusal::Principal { policy, source, .. } => format!(
            "failed verifying that the signed data identity satisfies local MSP principal during channelless check policy with policy [{policy}]: [{source}]"
        ),
        LocalRefusal::Signature { source, .. } => source.to_string(),
    }
}

/// Checks that whoever signed something may use a resource. `channel` is the configuration of the channel that the request
/// names; resources of the peer itself ignore it.
pub fn check(
    resource: Resource,
    channel: Option<&ChannelConfig>,
    local: &LocalMsp,
    signed: &SignedData,
) -> Result<(), AclRefusal> {
    let default = match resource.default_policy() {
        DefaultPolicy::Local(policy) => {
            return local.check(policy, signed).map(drop).map_err(|refusal| match resource {
                Resource::SnapshotSubmitRequest | Resource::SnapshotCancelRequest | Resource::SnapshotListPending => {
                    AclRefusal::LocalRequest(refusal)
                }
                _ => AclRefusal::Local(refusal),
            });
        }
        DefaultPolicy::Channel(policy) => Some(policy),
        DefaultPolicy::None => None,
    };
    let channel = channel.ok_or(AclRefusal::NoChannel(resource))?;
    let evaluate = |policy: &str| channel.policies().evaluate(policy, std::slice::from_ref(signed), channel.msps());
    if let Some(policy) = configured_policy(resource, channel) {
        if !channel.policies().contains(policy) {
            return Err(AclRefusal::PolicyNotFound { policy: policy.to_owned() });
        }
        return evaluate(policy).map_err(|refusal| AclRefusal::Configured { policy: policy.to_owned(), refusal });
    }
    let policy = default.ok_or(AclRefusal::Unmapped(resource))?;
    evaluate(policy).map_err(|refusal| AclRefusal::Default {
        channel: channel.channel_id().clone(),
        policy: policy.to_owned(),
        refusal,
    })
}

/// The path of the policy that a channel has for a resource; `None` for resources that are no channel's.
pub fn policy_path(resource: Resource, channel: &ChannelConfig) -> Option<&str> {
    match resource.default_policy() {
        DefaultPolicy::Local(_) => None,
        DefaultPolicy::Channel(policy) => Some(configured_policy(resource, channel).unwrap_or(policy)),
        DefaultPolicy::None => configured_policy(resource, channel),
    }
}

fn configured_policy(resource: Resource, channel: &ChannelConfig) -> Option<&str> {
    channel.application()?.acls.get(resource.name()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use ripstop_crypto::SigningIdentity;
    use ripstop_msp::Claim;
    use ripstop_proto::{common, protos};
    use ripstop_testkit::{Channel, Organization, signed_data, value};

    use super::*;

    #[test]
    fn functions_of_the_peer_are_for_its_own_organisation() {
        let (org1, org2) = (Organization::new("Org1MSP"), Organization::new("Org2MSP"));
        let local = LocalMsp::new(&org1.msp_config()).unwrap();
        let ask = |resource, signer: &SigningIdentity| check(resource, None, &local, &signed_data(signer, b"proposal"));
        assert_eq!(ask(Resource::CsccJoinChain, &org1.admin("a")), Ok(()));
        assert_eq!(ask(Resource::CsccGetChannels, &org1.client("c")), Ok(()));
        let (client, stranger) = (org1.client("c"), org2.admin("a"));
        for (resource, signer, words, who) in [
            (
                Resource::LifecycleInstallChaincode,
                &client,
                "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with \
                 policy [Admins]: [The identity is not an admin under this MSP [Org1MSP]: The identity does not contain OU \
                 [ADMIN], MSP: [Org1MSP]]",
                "creator",
            ),
            (
                Resource::CsccGetChannels,
                &stranger,
                "Failed deserializing proposal creator during channelless check policy with policy [Members]: [expected MSP \
                 ID Org1MSP, received Org2MSP]",
                "creator",
            ),
            (
                Resource::SnapshotCancelRequest,
                &client,
                "failed verifying that the signed data identity satisfies local MSP principal during channelless check policy \
                 with policy [Admins]: [The identity is not an admin under this MSP [Org1MSP]: The identity does not contain \
                 OU [ADMIN], MSP: [Org1MSP]]",
                "signer",
            ),
            (
                Resource::SnapshotListPending,
                &stranger,
                "failed deserializing signed data identity during channelless check policy with policy [Admins]: [expected \
                 MSP ID Org1MSP, received Org2MSP]",
                "signer",
            ),
        ] {
            let expected = format!("{words}: the {who} is {}", Claim::of(&signer.identity().raw));
            assert_eq!(ask(resource, signer).unwrap_err().to_string(), expected);
        }
        let forged = SignedData { message: b"other".as_slice().into(), ..signed_data(&org1.admin("a"), b"proposal") };
        assert!(check(Resource::CsccJoinChain, None, &local, &forged).is_err());
        assert_eq!(
            ask(Resource::QsccGetChainInfo, &org1.admin("a")),
            Err(AclRefusal::NoChannel(Resource::QsccGetChainInfo))
        );
    }

    #[test]
    fn functions_of_a_channel_are_for_whom_its_policies_mean() {
        let (orderer, org1, org2) =
            (Organization::new("OrdererMSP"), Organization::new("Org1MSP"), Organization::new("Org2MSP"));
        let stranger = Organization::new("Org3MSP");
        let local = LocalMsp::new(&org1.msp_config()).unwrap();
        let mut config = Channel::new(&orderer, [&org1, &org2]).config();
        let acl = |name: &str, policy: &str| (name.to_owned(), protos::ApiResource { policy_ref: policy.into() });
        let acls = [
            acl("qscc/GetChainInfo", "/Channel/Application/Org1MSP/Admins"),
            acl("event/Block", "Nobody"),
            acl("cscc/JoinChain", "/Channel/Application/Readers"),
        ];
        let root: &mut common::ConfigGroup = config.channel_group.as_mut().unwrap();
        let application = root.groups.get_mut("Application").unwrap();
        application.values.extend([value("ACLs", &protos::AcLs { acls: acls.into() })]);
        let channel = ChannelConfig::new(ChannelId::new("mychannel").unwrap(), config).unwrap();
        let ask =
            |resource, signer: &SigningIdentity| check(resource, Some(&channel), &local, &signed_data(signer, b"m"));
        assert_eq!(ask(Resource::PeerPropose, &org2.client("c")), Ok(()));
        let stranger = stranger.client("c");
        let refusal = ask(Resource::PeerPropose, &stranger).unwrap_err();
        let words = "Failed evaluating policy on signed data during check policy on channel [mychannel] with policy \
                     [/Channel/Application/Writers]: [implicit policy evaluation failed - 0 sub-policies were satisfied, but \
                     this policy requires 1 of the 'Writers' sub-policies to be satisfied]";
        let who = format!(
            "signature 0 claims to be by {}, who is nobody known: MSP Org3MSP is not defined on channel",
            Claim::of(&stranger.identity().raw)
        );
        assert_eq!(refusal.to_string(), format!("{words}: {who}"));
        assert_eq!(
            refusal.text(Reader::Member),
            format!(
                "{words}: /Channel/Application/Writers needs ANY Writers; /Channel/Application/Org1MSP/Writers needs OutOf(1, \
                 Org1MSP.MEMBER); /Channel/Application/Org2MSP/Writers needs OutOf(1, Org2MSP.MEMBER); {who}"
            )
        );
        assert_eq!(ask(Resource::QsccGetChainInfo, &org1.admin("a")), Ok(()));
        assert_eq!(
            ask(Resource::QsccGetChainInfo, &org2.admin("a")).unwrap_err().to_string(),
            "failed evaluating policy on signed data during check policy [/Channel/Application/Org1MSP/Admins]: [signature set \
             did not satisfy policy]: /Channel/Application/Org1MSP/Admins needs OutOf(1, Org1MSP.ADMIN); \
             'CN=a.Org2MSP,OU=admin,C=US' of Org2MSP signed, but that is not one of the organisations needed"
        );
        assert_eq!(
            ask(Resource::EventBlock, &org1.admin("a")).unwrap_err().to_string(),
            "failed evaluating policy on signed data during check policy [/Channel/Application/Nobody]: [policy \
             /Channel/Application/Nobody not found]"
        );
        assert!(
            ask(Resource::CsccJoinChain, &org1.client("c")).is_err(),
            "channels cannot open a peer's own functions"
        );
        assert_eq!(policy_path(Resource::GatewayCommitStatus, &channel), Some("/Channel/Application/Readers"));
        assert_eq!(policy_path(Resource::CsccJoinChain, &channel), None);
    }

    #[test]
    fn resources_have_fabrics_names_and_defaults() {
        for resource in Resource::ALL {
            assert_eq!(Resource::from_name(resource.name()), Some(*resource));
        }
        assert_eq!(Resource::ALL.len(), 40);
        assert_eq!(Resource::from_name("qscc/GetBlock"), None);
        let of = |name| Resource::from_name(name).unwrap().default_policy();
        assert_eq!(of("_lifecycle/InstallChaincode"), ADMINS);
        assert_eq!(of("_lifecycle/CheckCommitReadiness"), WRITERS);
        assert_eq!(of("cscc/GetChannels"), MEMBERS);
        assert_eq!(of("qscc/GetChainInfo"), READERS);
        assert_eq!(of("peer/Propose"), WRITERS);
        assert_eq!(of("lscc/Deploy"), DefaultPolicy::None);
    }
}
