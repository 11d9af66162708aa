use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_proto::{common, orderer};
use ripstop_types::{GoDuration, MspId};

use crate::group::Group;
use crate::organization::MspBuilder;
use crate::{
    ChannelCapabilities, ConfigError, ConfigFault, ConsensusMetadataError, OrdererCapabilities, RaftMetadata, key,
};

/// The ordering of a channel (`/Channel/Orderer`).
#[derive(Debug, Clone)]
pub struct OrdererConfig {
    /// How orderers agree.
    pub consensus_type: ConsensusType,
    /// Settings of that consensus, opaque; see [`Self::raft`].
    pub consensus_metadata: Bytes,
    /// Whether the channel takes messages or is being moved to another consensus.
    pub state: ConsensusState,
    /// When a block is full.
    pub batch_size: BatchSize,
    /// How long messages wait for a block; more than zero.
    pub batch_timeout: Duration,
    /// What its capabilities switch.
    pub capabilities: OrdererCapabilities,
    /// The organizations by name of their group, which need not be the MSP id.
    pub organizations: BTreeMap<String, OrdererOrganization>,
    /// The orderers under byzantine consensus; empty under others.
    pub consenters: Vec<Consenter>,
}

/// How orderers agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsensusType {
    /// Raft, the crash fault tolerant one.
    EtcdRaft,
    /// SmartBFT, the byzantine fault tolerant one.
    Bft,
    /// A name without a meaning here, such as `kafka` or `solo`.
    Other(String),
}

impl ConsensusType {
    fn from_name(name: &str) -> Self {
        match name {
            "etcdraft" => Self::EtcdRaft,
            "BFT" => Self::Bft,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The name in configurations.
    pub fn name(&self) -> &str {
        match self {
            Self::EtcdRaft => "etcdraft",
            Self::Bft => "BFT",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for ConsensusType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a channel takes messages (`orderer.ConsensusType.State`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsensusState {
    /// It does.
    Normal,
    /// Only changes of its configuration, by orderers' administrators.
    Maintenance,
    /// A number without a meaning.
    Unknown(i32),
}

/// When a block is full. All numbers are above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// The most messages in a block.
    pub max_message_count: u32,
    /// The largest message, in bytes.
    pub absolute_max_bytes: u32,
    /// The size of a block that is not exceeded unless a single message does, in bytes; at most the one above.
    pub preferred_max_bytes: u32,
}

/// An organization with orderers.
#[derive(Debug, Clone)]
pub struct OrdererOrganization {
    /// Its MSP.
    pub msp_id: MspId,
    /// Addresses of its orderers, host and port.
    pub endpoints: Vec<String>,
    /// CA certificates of its TLS servers and clients, PEM.
    pub tls_roots: Arc<[Bytes]>,
}

/// An orderer under byzantine consensus (`common.Consenter`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consenter {
    /// Its number.
    pub id: u32,
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u32,
    /// Its MSP.
    pub msp_id: MspId,
    /// Its certificate, PEM.
    pub identity: Bytes,
    /// Its TLS certificate as a client, PEM.
    pub client_tls_cert: Bytes,
    /// Its TLS certificate as a server, PEM.
    pub server_tls_cert: Bytes,
}

impl OrdererConfig {
    pub(crate) fn read(
        path: String,
        group: &common::ConfigGroup,
        msps: &mut MspBuilder,
        channel: &ChannelCapabilities,
    ) -> Result<Self, ConfigError> {
        let group = Group::new(
            path,
            group,
            &[
                key::CONSENSUS_TYPE,
                key::BATCH_SIZE,
                key::BATCH_TIMEOUT,
                key::KAFKA_BROKERS,
                key::CHANNEL_RESTRICTIONS,
                key::ORDERERS,
                key::CAPABILITIES,
            ],
        )?;
        let consensus: orderer::ConsensusType = group.value(key::CONSENSUS_TYPE)?;
        // Without meaning, but what does not decode makes the configuration invalid all the same.
        group.value::<orderer::KafkaBrokers>(key::KAFKA_BROKERS)?;
        group.value::<orderer::ChannelRestrictions>(key::CHANNEL_RESTRICTIONS)?;
        let consenters: common::Orderers = group.value(key::ORDERERS)?;
        let names = group.capabilities()?;
        let capabilities = OrdererCapabilities::from_names(names.iter().map(String::as_str))
            .map_err(|fault| group.fault(key::CAPABILITIES, fault))?;
        let batch_size = read_batch_size(&group)?;
        let batch_timeout = read_batch_timeout(&group)?;
        let mut organizations = BTreeMap::new();
        for (name, child) in &group.group.groups {
            organizations.insert(name.clone(), read_organization(&group, name, child, msps, channel)?);
        }
        if channel.consensus_type_bft() {
            let without: Vec<String> = organizations_without_endpoints(&organizations).map(str::to_owned).collect();
            if !without.is_empty() {
                return Err(ConfigError::new(group.path, ConfigFault::NoEndpoints(without)));
            }
        }
        Ok(Self {
            consensus_type: ConsensusType::from_name(&consensus.r#type),
            consensus_metadata: consensus.metadata,
            state: match consensus.state {
                0 => ConsensusState::Normal,
                1 => ConsensusState::Maintenance,
                other => ConsensusState::Unknown(other),
            },
            batch_size,
            batch_timeout,
            capabilities,
            organizations,
            consenters: consenters.consenter_mapping.into_iter().map(Consenter::from).collect(),
        })
    }

    /// The settings of Raft, read out of [`Self::consensus_metadata`]. Peers never need them, so a configuration is valid
    /// without.
    pub fn raft(&self) -> Result<RaftMetadata, ConsensusMetadataError> {
        RaftMetadata::decode(self.consensus_metadata.clone())
    }
}

/// The names of organizations that name no address.
pub(crate) fn organizations_without_endpoints(
    organizations: &BTreeMap<String, OrdererOrganization>,
) -> impl Iterator<Item = &str> {
    organizations.iter().filter(|(_, org)| org.endpoints.is_empty()).map(|(name, _)| name.as_str())
}

fn read_batch_size(group: &Group<'_>) -> Result<BatchSize, ConfigError> {
    let size: orderer::BatchSize = group.value(key::BATCH_SIZE)?;
    let fault = |fault| Err(group.fault(key::BATCH_SIZE, fault));
    if size.max_message_count == 0 {
        return fault(ConfigFault::ZeroBatchSize("max message count"));
    }
    if size.absolute_max_bytes == 0 {
        return fault(ConfigFault::ZeroBatchSize("absolute max bytes"));
    }
    if size.preferred_max_bytes == 0 {
        return fault(ConfigFault::ZeroBatchSize("preferred max bytes"));
    }
    if size.preferred_max_bytes > size.absolute_max_bytes {
        return fault(ConfigFault::PreferredMaxBytes {
            preferred: size.preferred_max_bytes,
            absolute: size.absolute_max_bytes,
        });
    }
    Ok(BatchSize {
        max_message_count: size.max_message_count,
        absolute_max_bytes: size.absolute_max_bytes,
        preferred_max_bytes: size.preferred_max_bytes,
    })
}

fn read_batch_timeout(group: &Group<'_>) -> Result<Duration, ConfigError> {
    let timeout: orderer::BatchTimeout = group.value(key::BATCH_TIMEOUT)?;
    let duration = GoDuration::parse(&timeout.timeout)
        .map_err(|error| group.fault(key::BATCH_TIMEOUT, ConfigFault::BatchTimeout(error)))?;
    duration
        .to_std()
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| group.fault(key::BATCH_TIMEOUT, ConfigFault::NonPositiveBatchTimeout(duration.to_string())))
}

fn read_organization(
    parent: &Group<'_>,
    name: &str,
    group: &common::ConfigGroup,
    msps: &mut MspBuilder,
    channel: &ChannelCapabilities,
) -> Result<OrdererOrganization, ConfigError> {
    let group = Group::new(parent.below(name), group, &[key::MSP, key::ENDPOINTS])?;
    if group.has_value(key::ENDPOINTS) && !channel.org_specific_orderer_endpoints() {
        return Err(group.fault(key::ENDPOINTS, ConfigFault::EarlyEndpoints(name.to_owned())));
    }
    let endpoints: common::OrdererAddresses = group.value(key::ENDPOINTS)?;
    let msp = msps.organization(name, &group)?;
    Ok(OrdererOrganization { msp_id: msp.msp_id, endpoints: endpoints.addresses, tls_roots: msp.tls_roots })
}

impl From<common::Consenter> for Consenter {
    fn from(consenter: common::Consenter) -> Self {
        Self {
            id: consenter.id,
            host: consenter.host,
            port: consenter.port,
            msp_id: MspId::new(&consenter.msp_id),
            identity: consenter.identity,
            client_tls_cert: consenter.client_tls_cert,
            server_tls_cert: consenter.server_tls_cert,
        }
    }
}
