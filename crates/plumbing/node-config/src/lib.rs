//! What is this node told to do? `core.yaml`, `orderer.yaml` and the environment as typed, checked configuration.
//!
//! A program opens its file once at start ([`PeerConfig::load`], [`OrdererConfig::load`], [`PeerClientConfig::load`]) and
//! hands the typed parts to what it starts; nobody else reads files or variables. The rules of reading are viper's, as
//! operators know them from Fabric: keys in any case, `CORE_…` and `ORDERER_…` override and complete the file, Go's
//! durations, sizes with units, relative paths from the file's directory. They are in [`Settings`], which tools with a
//! file of their own use too.
//!
//! Invariants: a value that cannot mean what its key needs is an error that names key, origin and value (Fabric takes many
//! of them for zero in silence). A key without effect is a [`Warning`], never an error, because real files hold keys for
//! Docker and for features that are not built yet. Defaults are Fabric's.
//!
//! Absent: the content of the files that the configuration names (`keys` loads them), sockets, global state.

mod client;
mod discovery;
mod environment;
mod error;
mod file;
mod gossip;
mod keys;
mod orderer;
mod peer;
mod private_data;
mod server;
mod settings;
mod size;
mod value;
mod warning;

pub use client::PeerClientConfig;
pub use discovery::{AuthCacheConfig, DiscoveryConfig};
pub use environment::Environment;
pub use error::ConfigError;
pub use file::{CONFIG_PATH_VARIABLE, open_configtx, open_core, open_orderer};
pub use gossip::GossipConfig;
pub use orderer::{AdminConfig, ClusterConfig, ConsensusConfig, OrdererConfig, ReplicationPolicy, ThrottlingConfig};
pub use peer::{
    AddressOverride, ChaincodeConfig, DeliveryClientConfig, ExternalBuilder, GatewayConfig, LedgerConfig, LimitsConfig,
    PeerConfig, PeerTlsConfig, ProposalFilter, StateDatabase,
};
pub use private_data::PrivateDataConfig;
pub use server::{
    BackoffConfig, ClientKeepalive, MetricsConfig, MspLocation, OperationsConfig, ServerKeepalive, ServerTlsConfig,
    StatsdConfig,
};
pub use settings::{EmptyVariable, Settings};
pub use size::byte_size;
pub use value::{InvalidYaml, Value};
pub use warning::Warning;

use std::path::PathBuf;

const LOG: &str = "localconfig";

/// A node's configuration and what an operator should know about the file it came from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    /// The file it came from.
    pub file: PathBuf,
    /// Keys and variables without effect.
    pub warnings: Vec<Warning>,
}

impl<T> Loaded<T> {
    /// Tells the log where the configuration came from and, once each, what of it has no effect; and hands it over.
    pub fn announce(self) -> T {
        tracing::info!(target: LOG, function = "load", "Configuration is {}, overridden by the environment", self.file.display());
        for warning in &self.warnings {
            match warning {
                Warning::NoEffect { .. } => tracing::info!(target: LOG, function = "load", "{warning}"),
                Warning::UnknownKey(_) | Warning::UnknownVariable(_) => {
                    tracing::warn!(target: LOG, function = "load", "{warning}")
                }
            }
        }
        self.config
    }
}
