use std::path::PathBuf;

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
    #[error("Error unmarshalling config into struct: {path}: {problem}")]
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
    /// A part of the configuration cannot be made.
    #[error("{part}: {problem}")]
    Part {
        /// Which part, in Fabric's words.
        part: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A policy of a group is missing.
    #[error("error adding policies to {group}: no {policy} policy defined")]
    NoPolicy {
        /// The group.
        group: String,
        /// The policy.
        policy: &'static str,
    },
    /// A group without policies.
    #[error("error adding policies to {0}: no policies defined")]
    NoPolicies(String),
    /// A policy of signatures that does not parse.
    #[error("error adding policies to {group}: invalid signature policy rule '{rule}': {source}")]
    SignaturePolicy {
        /// The group.
        group: String,
        /// The rule.
        rule: String,
        /// Why not.
        source: DslError,
    },
    /// A policy of policies that does not parse.
    #[error("error adding policies to {group}: invalid implicit meta policy rule '{rule}': {source}")]
    ImplicitMetaPolicy {
        /// The group.
        group: String,
        /// The rule.
        rule: String,
        /// Why not.
        source: ImplicitMetaError,
    },
    /// An MSP folder that cannot be read.
    #[error("Error loading MSP configuration for org: {organization}: {source}")]
    Msp {
        /// The organisation.
        organization: String,
        /// Why not.
        source: MspFolderError,
    },
    /// A certificate of an orderer that cannot be read.
    #[error("cannot load {what} for consenter {address}: {}: {source}", .path.display())]
    ConsenterFile {
        /// Which certificate.
        what: &'static str,
        /// The orderer.
        address: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}
