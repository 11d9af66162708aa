use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_msp::MspSet;
use ripstop_policy::PolicyTree;
use ripstop_proto::common;
use ripstop_types::{Block, ChannelId, Envelope, HeaderType};

use crate::endpoint::OrdererEndpoint;
use crate::group::{Group, check_names};
use crate::organization::MspBuilder;
use crate::{
    ApplicationConfig, ChannelCapabilities, ConfigError, ConfigFault, OrdererConfig, TransitionError, key, transition,
};

/// The only structure of a block's data hash that exists.
const HASHING_WIDTH: u32 = u32::MAX;

/// A channel's configuration, whole and valid. See the crate's documentation.
#[derive(Debug)]
pub struct ChannelConfig {
    channel_id: ChannelId,
    config: common::Config,
    root: common::ConfigGroup,
    capabilities: ChannelCapabilities,
    hashing_algorithm: HashingAlgorithm,
    orderer_addresses: Vec<String>,
    msps: MspSet,
    policies: PolicyTree,
    orderer: Option<OrdererConfig>,
    application: Option<ApplicationConfig>,
}

/// The algorithm that a configuration names. Block, data and transaction hashes are SHA-256 whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashingAlgorithm {
    /// `SHA256`.
    Sha256,
    /// `SHA3_256`.
    Sha3_256,
}

impl ChannelConfig {
    /// Reads and checks a configuration.
    pub fn new(channel_id: ChannelId, config: common::Config) -> Result<Self, ConfigError> {
        let root_path = format!("/{}", key::CHANNEL);
        let root =
            config.channel_group.clone().ok_or_else(|| ConfigError::new(&root_path, ConfigFault::NoChannelGroup))?;
        check_capability_order(&root_path, &root)?;
        check_names(&root_path, &root)?;
        let group = Group::new(
            root_path,
            &root,
            &[
                key::HASHING_ALGORITHM,
                key::BLOCK_DATA_HASHING_STRUCTURE,
                key::ORDERER_ADDRESSES,
                key::ORDERERS,
                key::CONSORTIUM,
                key::CAPABILITIES,
            ],
        )?;
        let names = group.capabilities()?;
        let capabilities = ChannelCapabilities::from_names(names.iter().map(String::as_str))
            .map_err(|fault| group.fault(key::CAPABILITIES, fault))?;
        let hashing_algorithm = read_hashing(&group)?;
        let orderer_addresses = read_orderer_addresses(&group, &capabilities)?;
        // Without meaning here, but what does not decode makes the configuration invalid all the same.
        group.value::<common::Consortium>(key::CONSORTIUM)?;
        group.value::<common::Orderers>(key::ORDERERS)?;
        let version = capabilities
            .msp_version()
            .ok_or_else(|| group.fault(key::CAPABILITIES, ConfigFault::CapabilityTooOld("channel")))?;
        let mut msps = MspBuilder::new(version);
        let (mut orderer, mut application) = (None, None);
        for (name, child) in &root.groups {
            let path = group.below(name);
            match name.as_str() {
                key::ORDERER => orderer = Some(OrdererConfig::read(path, child, &mut msps, &capabilities)?),
                key::APPLICATION => application = Some(ApplicationConfig::read(path, child, &mut msps)?),
                key::CONSORTIUMS => return Err(ConfigError::new(path, ConfigFault::SystemChannel)),
                _ => return Err(ConfigError::new(path, ConfigFault::UnexpectedGroup)),
            }
        }
        let policies = PolicyTree::new(&root).map_err(|e| ConfigError::new(&group.path, ConfigFault::Policy(e)))?;
        let msps = msps.finish();
        Ok(Self {
            channel_id,
            config,
            root,
            capabilities,
            hashing_algorithm,
            orderer_addresses,
            msps,
            policies,
            orderer,
            application,
        })
    }

    /// Reads the configuration in a configuration block.
    pub fn from_block(block: &Block) -> Result<Self, ConfigError> {
        let fault =
            |reason: String| ConfigError::new(format!("block {}", block.number()), ConfigFault::NoConfigBlock(reason));
        let envelope =
            block.config_envelope().ok_or_else(|| fault("its only transaction is no configuration".into()))?;
        Self::from_envelope(&envelope).map_err(|error| match error {
            EnvelopeFault::Form(reason) => fault(reason),
            EnvelopeFault::Config(error) => error,
        })
    }

    fn from_envelope(envelope: &Envelope) -> Result<Self, EnvelopeFault> {
        if envelope.channel_header.kind != HeaderType::Config {
            return Err(EnvelopeFault::Form("its only transaction is no configuration".into()));
        }
        let channel_id = ChannelId::new(&envelope.channel_header.channel_id)
            .map_err(|error| EnvelopeFault::Form(format!("bad channel ID: {error}")))?;
        let message = ripstop_proto::read::<common::ConfigEnvelope>(envelope.data.clone())
            .map_err(|error| EnvelopeFault::Form(format!("its configuration does not decode: {error}")))?;
        let config = message.config.ok_or_else(|| EnvelopeFault::Form("it holds no configuration".into()))?;
        Self::new(channel_id, config).map_err(EnvelopeFault::Config)
    }

    /// The channel.
    pub fn channel_id(&self) -> &ChannelId {
        &self.channel_id
    }

    /// The number of the configuration: 0 in the genesis block, one more with every update.
    pub fn sequence(&self) -> u64 {
        self.config.sequence
    }

    /// The configuration as received.
    pub fn config(&self) -> &common::Config {
        &self.config
    }

    /// The root group of [`Self::config`].
    pub(crate) fn root(&self) -> &common::ConfigGroup {
        &self.root
    }

    /// The organizations' MSPs.
    pub fn msps(&self) -> &MspSet {
        &self.msps
    }

    /// The policies of all groups, under their paths.
    pub fn policies(&self) -> &PolicyTree {
        &self.policies
    }

    /// Capabilities of the channel as a whole.
    pub fn capabilities(&self) -> &ChannelCapabilities {
        &self.capabilities
    }

    /// The algorithm that the configuration names.
    pub fn hashing_algorithm(&self) -> HashingAlgorithm {
        self.hashing_algorithm
    }

    /// The ordering. Every channel of a network has one; tools may read trees without.
    pub fn orderer(&self) -> Option<&OrdererConfig> {
        self.orderer.as_ref()
    }

    /// The peers' side.
    pub fn application(&self) -> Option<&ApplicationConfig> {
        self.application.as_ref()
    }

    /// Where orderers can be reached: the addresses of their organizations, or, where no organization names one, those of
    /// the channel with the CA certificates of all of them (Fabric: `common/deliverclient/orderers`). Each address once.
    pub fn orderer_endpoints(&self) -> Vec<OrdererEndpoint> {
        let Some(orderer) = &self.orderer else { return Vec::new() };
        let mut seen = BTreeSet::new();
        let mut endpoints = Vec::new();
        for organization in orderer.organizations.values() {
            for address in &organization.endpoints {
                if seen.insert(address) {
                    endpoints
                        .push(OrdererEndpoint { address: address.clone(), tls_roots: organization.tls_roots.clone() });
                }
            }
        }
        if endpoints.is_empty() {
            let all: Arc<[Bytes]> = orderer
                .organizations
                .values()
                .flat_map(|organization| organization.tls_roots.iter().cloned())
                .collect();
            for address in &self.orderer_addresses {
                if seen.insert(address) {
                    endpoints.push(OrdererEndpoint { address: address.clone(), tls_roots: all.clone() });
                }
            }
        }
        endpoints
    }

    /// CA certificates of the TLS clients of all organizations, PEM, each once.
    pub fn tls_roots(&self) -> Vec<Bytes> {
        let mut roots = BTreeSet::new();
        for msp in self.msps.iter() {
            roots.extend(msp.tls_roots().iter().chain(msp.tls_intermediates()).cloned());
        }
        roots.into_iter().collect()
    }

    /// Checks that the channel is at a level that Fabric 3 networks run at: V2_0 for the channel and its ordering. Nodes
    /// ask when they join. Its applications may still be below: see [`Self::lifecycle_v2`].
    pub fn check_level(&self) -> Result<(), ConfigError> {
        let too_old = |group: &str, kind| {
            Err(ConfigError::new(
                format!("/{}{group}/{}", key::CHANNEL, key::CAPABILITIES),
                ConfigFault::CapabilityTooOld(kind),
            ))
        };
        if !self.capabilities.is_v2() {
            return too_old("", "channel");
        }
        if self.orderer.as_ref().is_some_and(|orderer| !orderer.capabilities.is_v2()) {
            return too_old("/Orderer", "orderer");
        }
        Ok(())
    }

    /// Whether chaincode can be deployed and run: with application capability V2_0. Below it, configurations are all that
    /// happens on the channel, until one of them raises it.
    pub fn lifecycle_v2(&self) -> bool {
        self.application.as_ref().is_some_and(|application| application.capabilities.lifecycle_v2())
    }

    /// Checks that `next` may follow this configuration, whoever signed for it (Fabric: `Bundle.ValidateNew`).
    pub fn check_successor(&self, next: &Self) -> Result<(), TransitionError> {
        transition::check(self, next)
    }
}

enum EnvelopeFault {
    Form(String),
    Config(ConfigError),
}

/// Capabilities of channel and application need those of ordering (Fabric: `channelconfig.preValidate`).
fn check_capability_order(path: &str, root: &common::ConfigGroup) -> Result<(), ConfigError> {
    let enables = |group: &common::ConfigGroup| group.values.contains_key(key::CAPABILITIES);
    match root.groups.get(key::ORDERER) {
        Some(orderer) if !enables(orderer) => {
            if enables(root) {
                return Err(ConfigError::new(path, ConfigFault::NoOrdererCapabilities("channel")));
            }
            if root.groups.get(key::APPLICATION).is_some_and(enables) {
                return Err(ConfigError::new(path, ConfigFault::NoOrdererCapabilities("application")));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn read_hashing(group: &Group<'_>) -> Result<HashingAlgorithm, ConfigError> {
    let algorithm: common::HashingAlgorithm = group.value(key::HASHING_ALGORITHM)?;
    let algorithm = match algorithm.name.as_str() {
        "SHA256" => HashingAlgorithm::Sha256,
        "SHA3_256" => HashingAlgorithm::Sha3_256,
        _ => return Err(group.fault(key::HASHING_ALGORITHM, ConfigFault::HashingAlgorithm(algorithm.name))),
    };
    let structure: common::BlockDataHashingStructure = group.value(key::BLOCK_DATA_HASHING_STRUCTURE)?;
    if structure.width != HASHING_WIDTH {
        return Err(group.fault(key::BLOCK_DATA_HASHING_STRUCTURE, ConfigFault::HashingWidth));
    }
    Ok(algorithm)
}

fn read_orderer_addresses(group: &Group<'_>, capabilities: &ChannelCapabilities) -> Result<Vec<String>, ConfigError> {
    let addresses: common::OrdererAddresses = group.value(key::ORDERER_ADDRESSES)?;
    if addresses.addresses.is_empty() && !capabilities.org_specific_orderer_endpoints() {
        return Err(group.fault(key::ORDERER_ADDRESSES, ConfigFault::NoOrdererAddresses));
    }
    if !addresses.addresses.is_empty() && capabilities.consensus_type_bft() {
        return Err(group.fault(key::ORDERER_ADDRESSES, ConfigFault::GlobalOrdererAddresses));
    }
    Ok(addresses.addresses)
}

#[cfg(test)]
mod tests;
