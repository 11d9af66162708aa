use ripstop_channel_config::{ChannelConfig, ConsensusState, ConsensusType, OrdererConfig, key};
use ripstop_proto::{common, etcdraft};
use ripstop_types::Envelope;

const ORDERER: &str = "Orderer";

/// Why an update breaks the rules of a change of consensus. The words are Fabric's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaintenanceRefusal {
    /// The new configuration has no part for ordering.
    #[error("next config is missing orderer group")]
    NoOrderer,
    /// Maintenance needs a capability that the channel lacks.
    #[error("next config attempted to change ConsensusType.State to {0}, but capability is disabled")]
    StateWithoutCapability(&'static str),
    /// A change of consensus needs a capability that the channel lacks.
    #[error("next config attempted to change ConsensusType.Type from {from} to {to}, but capability is disabled")]
    TypeWithoutCapability {
        /// The consensus in force.
        from: String,
        /// The one asked for.
        to: String,
    },
    /// Entry to and exit from maintenance go alone.
    #[error("{0}")]
    MoreThanState(String),
    /// State and type cannot change together.
    #[error(
        "attempted to change ConsensusType.Type from {from} to {to}, but ConsensusType.State is changing from {state} to {next_state}"
    )]
    TypeWithState {
        /// The consensus in force.
        from: String,
        /// The one asked for.
        to: String,
        /// The state in force.
        state: &'static str,
        /// The one asked for.
        next_state: &'static str,
    },
    /// State and metadata cannot change together.
    #[error(
        "attempted to change ConsensusType.Metadata, but ConsensusType.State is changing from {state} to {next_state}"
    )]
    MetadataWithState {
        /// The state in force.
        state: &'static str,
        /// The one asked for.
        next_state: &'static str,
    },
    /// The consensus changes in maintenance only.
    #[error(
        "attempted to change consensus type from {from} to {to}, but {which} config ConsensusType.State is not in maintenance mode"
    )]
    NotInMaintenance {
        /// The consensus in force.
        from: String,
        /// The one asked for.
        to: String,
        /// `current` or `next`.
        which: &'static str,
    },
    /// Only byzantine consensus can follow.
    #[error("attempted to change consensus type from {from} to {to}, transition not supported")]
    Transition {
        /// The consensus in force.
        from: String,
        /// The one asked for.
        to: String,
    },
    /// The byzantine consenters are not those of raft.
    #[error("invalid BFT consenter mapping configuration: {0}")]
    Mapping(String),
}

const fn state_name(state: ConsensusState) -> &'static str {
    match state {
        ConsensusState::Normal => "STATE_NORMAL",
        ConsensusState::Maintenance => "STATE_MAINTENANCE",
        ConsensusState::Unknown(_) => "an unknown state",
    }
}

/// Checks that `update` moves from one configuration to the next within the rules of maintenance mode
/// (Fabric: `maintenancefilter.go`).
pub(crate) fn check(
    current: &ChannelConfig,
    next: &ChannelConfig,
    update: &Envelope,
) -> Result<(), MaintenanceRefusal> {
    let (Some(current), Some(next)) = (current.orderer(), next.orderer()) else {
        return Err(MaintenanceRefusal::NoOrderer);
    };
    let (from, to) = (current.consensus_type.name().to_owned(), next.consensus_type.name().to_owned());
    if !current.capabilities.consensus_type_migration() {
        if next.state != ConsensusState::Normal {
            return Err(MaintenanceRefusal::StateWithoutCapability(state_name(next.state)));
        }
        return if from == to { Ok(()) } else { Err(MaintenanceRefusal::TypeWithoutCapability { from, to }) };
    }
    if current.state != next.state {
        return check_state_change(current, next, update);
    }
    if from == to {
        return Ok(());
    }
    if current.state == ConsensusState::Normal {
        return Err(MaintenanceRefusal::NotInMaintenance { from, to, which: "current" });
    }
    if next.consensus_type != ConsensusType::Bft {
        return Err(MaintenanceRefusal::Transition { from, to });
    }
    check_mapping(current, next)
}

fn check_state_change(
    current: &OrdererConfig,
    next: &OrdererConfig,
    update: &Envelope,
) -> Result<(), MaintenanceRefusal> {
    check_only_consensus_type(update).map_err(MaintenanceRefusal::MoreThanState)?;
    let (state, next_state) = (state_name(current.state), state_name(next.state));
    if current.consensus_type != next.consensus_type {
        let (from, to) = (current.consensus_type.name().to_owned(), next.consensus_type.name().to_owned());
        return Err(MaintenanceRefusal::TypeWithState { from, to, state, next_state });
    }
    if current.consensus_metadata != next.consensus_metadata {
        return Err(MaintenanceRefusal::MetadataWithState { state, next_state });
    }
    Ok(())
}

/// The write set may hold the value `ConsensusType` of the group `Orderer` and nothing else.
fn check_only_consensus_type(update: &Envelope) -> Result<(), String> {
    let decode = |error: prost::DecodeError| format!("config update unmarshalling error: {error}");
    let envelope = ripstop_proto::read::<common::ConfigUpdateEnvelope>(update.data.clone()).map_err(decode)?;
    let update = ripstop_proto::read::<common::ConfigUpdate>(envelope.config_update).map_err(decode)?;
    let written = update.write_set.unwrap_or_default();
    if written.groups.is_empty() {
        return Err("config update contains no changes".into());
    }
    if !written.values.is_empty() {
        return Err("config update contains changes to values in group Channel".into());
    }
    if written.groups.len() > 1 {
        return Err("config update contains changes to more than one group".into());
    }
    let orderer = written.groups.get(ORDERER).ok_or_else(|| format!("update does not contain the {ORDERER} group"))?;
    if !orderer.groups.is_empty() {
        return Err(format!("config update contains changes to groups within the {ORDERER} group"));
    }
    if !orderer.values.contains_key(key::CONSENSUS_TYPE) {
        return Err(format!("config update does not contain the {} value", key::CONSENSUS_TYPE));
    }
    if orderer.values.len() > 1 {
        let name = key::CONSENSUS_TYPE;
        return Err(format!("config update contain more then just the {name} value in the {ORDERER} group"));
    }
    Ok(())
}

fn check_mapping(current: &OrdererConfig, next: &OrdererConfig) -> Result<(), MaintenanceRefusal> {
    let refuse = |text: String| Err(MaintenanceRefusal::Mapping(text));
    let raft = ripstop_proto::read::<etcdraft::ConfigMetadata>(current.consensus_metadata.clone())
        .unwrap_or_default()
        .consenters;
    let bft = &next.consenters;
    if bft.is_empty() {
        return refuse("Invalid new config: bft consenters are missing".into());
    }
    if raft.len() != bft.len() {
        return refuse(format!(
            "Invalid new config: the number of bft consenters: {} is not equal to the number of raft consenters: {}",
            bft.len(),
            raft.len()
        ));
    }
    for consenter in &raft {
        let same = bft.iter().any(|other| {
            other.port == consenter.port
                && other.host == consenter.host
                && other.server_tls_cert == consenter.server_tls_cert
                && other.client_tls_cert == consenter.client_tls_cert
        });
        if !same {
            let (host, port) = (&consenter.host, consenter.port);
            return refuse(format!("No suitable BFT consenter for Raft consenter: {host}:{port}"));
        }
    }
    Ok(())
}
