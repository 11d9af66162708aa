use std::fmt;

use ripstop_msp::MspSetupError;
use ripstop_policy::PolicyTreeError;
use ripstop_types::{InvalidDuration, MspId};

/// Why a tree is no valid configuration of a channel: where in the tree, and what is wrong there.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigError {
    /// The group, value or policy, such as `/Channel/Orderer/BatchSize`.
    pub path: String,
    /// What is wrong with it.
    pub fault: ConfigFault,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.fault)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.fault)
    }
}

impl ConfigError {
    pub(crate) fn new(path: impl Into<String>, fault: ConfigFault) -> Self {
        Self { path: path.into(), fault }
    }

    /// Whether the configuration is beyond this software rather than wrong. A node that meets such a configuration in a
    /// block must stop; it cannot judge what follows.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.fault,
            ConfigFault::UnsupportedCapability { .. } | ConfigFault::CapabilityTooOld(_) | ConfigFault::SystemChannel
        )
    }
}

/// What is wrong with a part of a configuration. The words are Fabric's where Fabric has some.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigFault {
    /// A configuration without its tree.
    #[error("config must contain a channel group")]
    NoChannelGroup,
    /// Bytes that are not the message they should be.
    #[error("failed to deserialize values: {0}")]
    Decode(prost::DecodeError),
    /// A value that this group does not have.
    #[error("failed to deserialize values: Unexpected key {0}")]
    UnexpectedKey(String),
    /// A group that the tree does not have.
    #[error("Disallowed channel group")]
    UnexpectedGroup,
    /// Groups below an organization.
    #[error("organizations do not support sub-groups")]
    SubGroups,
    /// Consortiums, which only the system channel had.
    #[error("the group belongs to the system channel, which no longer exists")]
    SystemChannel,
    /// A nameless group, value or policy.
    #[error("config ID illegal, cannot be empty")]
    EmptyName,
    /// A name beyond [`crate::MAX_CONFIG_NAME_LENGTH`].
    #[error("config ID illegal, cannot be longer than {}", crate::MAX_CONFIG_NAME_LENGTH)]
    LongName,
    /// One of [`crate::ILLEGAL_CONFIG_NAMES`].
    #[error("name '{0}' for config ID is not allowed")]
    ReservedName(String),
    /// A name with other characters than letters, digits, `.` and `-`.
    #[error("config ID '{0}' contains illegal characters")]
    NameCharacters(String),
    /// The algorithm that nothing but the configuration names.
    #[error("Unknown hashing algorithm type: {0}")]
    HashingAlgorithm(String),
    /// The only structure that ever existed.
    #[error("BlockDataHashStructure width only supported at MaxUint32 in this version")]
    HashingWidth,
    /// No way to find an orderer.
    #[error("Must set some OrdererAddresses")]
    NoOrdererAddresses,
    /// Addresses that belong to no organization, where each must.
    #[error("global OrdererAddresses are not allowed with V3_0 capability, use org specific addresses only")]
    GlobalOrdererAddresses,
    /// Organizations without addresses, where each must have some.
    #[error("some orderer organizations endpoints are empty: [{}]", .0.join(" "))]
    NoEndpoints(Vec<String>),
    /// Addresses of an organization before organizations had any.
    #[error("Orderer Org {0} cannot contain endpoints value until V1_4_2+ capabilities have been enabled")]
    EarlyEndpoints(String),
    /// Access control lists before there were any.
    #[error("ACLs may not be specified without the required capability")]
    EarlyAcls,
    /// Capabilities without those of ordering.
    #[error("cannot enable {0} capabilities without orderer support first")]
    NoOrdererCapabilities(&'static str),
    /// A capability that this software does not know.
    #[error("{kind} capability {name} is required but not supported")]
    UnsupportedCapability {
        /// `Channel`, `Orderer` or `Application`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A level of capabilities whose rules are not built.
    #[error("{0} capabilities below V2_0 are not supported: raise them with a running Fabric network first")]
    CapabilityTooOld(&'static str),
    /// A limit of zero.
    #[error("Attempted to set the batch size {0} to an invalid value: 0")]
    ZeroBatchSize(&'static str),
    /// Limits that contradict each other.
    #[error(
        "Attempted to set the batch size preferred max bytes ({preferred}) greater than the absolute max bytes ({absolute})."
    )]
    PreferredMaxBytes {
        /// The preferred size of a block.
        preferred: u32,
        /// The largest size of a message.
        absolute: u32,
    },
    /// A timeout that is no duration.
    #[error("Attempted to set the batch timeout to a invalid value: {0}")]
    BatchTimeout(InvalidDuration),
    /// A timeout that is never or always over.
    #[error("Attempted to set the batch timeout to a non-positive value: {0}")]
    NonPositiveBatchTimeout(String),
    /// An MSP that cannot be set up.
    #[error("setting up the MSP manager failed: {0}")]
    Msp(MspSetupError),
    /// An MSP without name.
    #[error("MSP for org {0} has empty MSP ID")]
    EmptyMspId(String),
    /// One name for two MSPs.
    #[error("Attempted to define two different versions of MSP: {0}")]
    MspDefinedTwice(MspId),
    /// Policies that do not compile.
    #[error(transparent)]
    Policy(PolicyTreeError),
    /// A block that holds no configuration.
    #[error("the block is no configuration block: {0}")]
    NoConfigBlock(String),
}
