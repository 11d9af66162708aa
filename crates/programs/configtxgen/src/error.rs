use std::io;
use std::path::PathBuf;

use ripstop_channel_config::update::ComputeError;
use ripstop_command_line::os_text;
use ripstop_keys::MspFolderError;
use ripstop_node_config::ConfigError;
use ripstop_policy::dsl::DslError;
use ripstop_policy::implicit_meta::ImplicitMetaError;

/// Why no channel can be made of a profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no `configtx.yaml`, or it is no YAML.
    #[error("Error reading configuration: {0}")]
    File(ConfigError),
    /// A key or value that has no place where it stands.
    #[error(
        "Error loading config from config cache: Error unmarshalling config into struct: decoding failed due to the following error(s): '{path}' {problem}"
    )]
    Value {
        /// Where in the file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// No profile of that name.
    #[error(
        "Could not find profile: {name}. Please make sure that FABRIC_CFG_PATH or -configPath is set to a path which contains configtx.yaml with the specified profile; the file has {}",
        .known.join(", ")
    )]
    NoProfile {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A profile whose ordering lacks something, or contradicts itself.
    #[error("{0}")]
    Ordering(String),
    /// A part of the configuration cannot be made.
    #[error("{part}: {source}")]
    Within {
        /// Which part, in Fabric's words.
        part: String,
        /// Why not.
        source: Box<ProfileError>,
    },
    /// What the profile asks for is not made.
    #[error("{0}")]
    Refused(String),
    /// A policy of a group is missing.
    #[error("no {0} policy defined")]
    NoPolicy(&'static str),
    /// A group without policies.
    #[error("no policies defined")]
    NoPolicies,
    /// A policy of a kind that does not exist.
    #[error("unknown policy type: {0}")]
    PolicyType(String),
    /// A policy of signatures that does not parse.
    #[error("invalid signature policy rule '{rule}': {source}")]
    SignaturePolicy {
        /// The rule.
        rule: String,
        /// Why not.
        source: DslError,
    },
    /// A policy of policies that does not parse.
    #[error("invalid implicit meta policy rule '{rule}': {source}")]
    ImplicitMetaPolicy {
        /// The rule.
        rule: String,
        /// Why not.
        source: ImplicitMetaError,
    },
    /// An MSP of another kind than X.509.
    #[error("unknown MSP type '{0}': organisations have X.509 certificates (MSPType bccsp)")]
    MspType(String),
    /// An MSP folder that cannot be read.
    #[error(transparent)]
    Msp(MspFolderError),
    /// A certificate of an orderer that cannot be read.
    #[error("cannot load {what} for consenter {address}: open {}: {}", .path.display(), os_text(.source))]
    ConsenterFile {
        /// Which certificate.
        what: &'static str,
        /// The orderer.
        address: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No update leads from the one configuration to the other.
    #[error("could not compute update: {0}")]
    Update(ComputeError),
}

/// Naming the part in which something went wrong.
pub(crate) trait Within<T> {
    /// Puts the part, in Fabric's words, before the error.
    fn within(self, part: impl Into<String>) -> Result<T, ProfileError>;
}

impl<T> Within<T> for Result<T, ProfileError> {
    fn within(self, part: impl Into<String>) -> Self {
        self.map_err(|source| ProfileError::Within { part: part.into(), source: Box::new(source) })
    }
}
