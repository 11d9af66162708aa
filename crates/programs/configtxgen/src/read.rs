//! From `configtx.yaml` to profiles.

use std::collections::BTreeMap;
use std::path::Path;

use ripstop_node_config::{ConfigError, Environment, Settings, open_configtx};
use ripstop_proto::orderer::smartbft;
use ripstop_types::{GoDuration, MspId};

use crate::profile::{DEFAULT_BATCH_TIMEOUT, DEFAULT_MSP_TYPE, default_bft_options};
use crate::section::Section;
use crate::{
    AnchorPeer, Application, BatchSize, BftConsenter, ConfigTx, Consensus, EtcdRaft, EtcdRaftOptions, Orderer,
    Organization, Policy, Profile, ProfileError, RaftConsenter,
};

impl ConfigTx {
    /// Opens `configtx.yaml` in a directory, or where `FABRIC_CFG_PATH` says, and reads it.
    pub fn load(directory: Option<&Path>, environment: &Environment) -> Result<Self, ProfileError> {
        let settings = open_configtx(directory, environment).map_err(ProfileError::File)?;
        Self::from_settings(&settings)
    }

    /// Reads an opened file.
    pub fn from_settings(settings: &Settings) -> Result<Self, ProfileError> {
        let root = Section::root(settings.root(), settings.environment(), settings.directory())?;
        let organizations =
            root.sections("Organizations")?.into_iter().map(read_organization).collect::<Result<_, _>>()?;
        let mut profiles = BTreeMap::new();
        if let Some(section) = root.section("Profiles")? {
            for (name, profile) in section.named_sections()? {
                profiles.insert(name.to_owned(), read_profile(profile)?);
            }
        }
        // These hold the parts that profiles refer to. They are read so that what is wrong in them is found.
        if let Some(section) = root.section("Channel")? {
            read_profile(section)?;
        }
        if let Some(section) = root.section("Application")? {
            read_application(section)?;
        }
        if let Some(section) = root.section("Orderer")? {
            read_orderer(section)?;
        }
        let mut capabilities = BTreeMap::new();
        if let Some(section) = root.section("Capabilities")? {
            for name in section.names() {
                capabilities.insert(name.to_owned(), read_capabilities(&section, name)?);
            }
        }
        root.finish()?;
        Ok(Self { file: settings.file().to_owned(), organizations, profiles, capabilities })
    }

    /// The profile of that name.
    pub fn profile(&self, name: &str) -> Result<&Profile, ProfileError> {
        self.profiles.get(name).ok_or_else(|| ProfileError::NoProfile {
            name: name.to_owned(),
            known: self.profiles.keys().cloned().collect(),
        })
    }
}

impl ProfileError {
    /// Whether there is no file at all.
    pub(crate) fn is_no_file(&self) -> bool {
        matches!(self, Self::File(ConfigError::NotFound { .. } | ConfigError::NoDirectory(_)))
    }
}

fn read_profile(section: Section<'_>) -> Result<Profile, ProfileError> {
    let profile = Profile {
        consortiums: section.section("Consortiums")?.map(read_consortiums).transpose()?,
        consortium: section.text("Consortium")?,
        capabilities: read_capabilities(&section, "Capabilities")?,
        policies: read_policies(&section)?,
        orderer: section.section("Orderer")?.map(read_orderer).transpose()?,
        application: section.section("Application")?.map(read_application).transpose()?,
    };
    section.finish()?;
    Ok(profile)
}

/// Their organizations by name; those without any are consortiums too.
fn read_consortiums(section: Section<'_>) -> Result<BTreeMap<String, Vec<Organization>>, ProfileError> {
    section
        .named_sections()?
        .into_iter()
        .map(|(name, consortium)| {
            let organizations = read_organizations(&consortium)?;
            consortium.finish()?;
            Ok((name.to_owned(), organizations))
        })
        .collect()
}

fn read_capabilities(section: &Section<'_>, key: &str) -> Result<BTreeMap<String, bool>, ProfileError> {
    let Some(capabilities) = section.section(key)? else { return Ok(BTreeMap::new()) };
    capabilities.names().map(|name| Ok((name.to_owned(), capabilities.flag(name)?))).collect()
}

fn read_policies(section: &Section<'_>) -> Result<BTreeMap<String, Policy>, ProfileError> {
    let Some(policies) = section.section("Policies")? else { return Ok(BTreeMap::new()) };
    policies
        .named_sections()?
        .into_iter()
        .map(|(name, policy)| {
            let rule = policy.text("Rule")?;
            let read = match policy.text("Type")?.as_str() {
                "ImplicitMeta" => Policy::ImplicitMeta(rule),
                "Signature" => Policy::Signature(rule),
                other => Policy::Other(other.to_owned()),
            };
            policy.finish()?;
            Ok((name.to_owned(), read))
        })
        .collect()
}

fn read_organization(section: Section<'_>) -> Result<Organization, ProfileError> {
    section.text("AdminPrincipal")?;
    let anchor_peers = section
        .sections("AnchorPeers")?
        .into_iter()
        .map(|peer| {
            let anchor = AnchorPeer { host: peer.text("Host")?, port: peer.number("Port")? };
            peer.finish()?;
            Ok(anchor)
        })
        .collect::<Result<_, ProfileError>>()?;
    let organization = Organization {
        name: section.text("Name")?,
        msp_id: MspId::new(&section.text("ID")?),
        msp_type: section.text_or("MSPType", DEFAULT_MSP_TYPE)?,
        msp_directory: section.path("MSPDir")?,
        policies: read_policies(&section)?,
        anchor_peers,
        orderer_endpoints: section.texts("OrdererEndpoints")?,
        skip_as_foreign: section.flag("SkipAsForeign")?,
    };
    section.finish()?;
    Ok(organization)
}

fn read_organizations(section: &Section<'_>) -> Result<Vec<Organization>, ProfileError> {
    section.sections("Organizations")?.into_iter().map(read_organization).collect()
}

fn read_application(section: Section<'_>) -> Result<Application, ProfileError> {
    let application = Application {
        organizations: read_organizations(&section)?,
        capabilities: read_capabilities(&section, "Capabilities")?,
        policies: read_policies(&section)?,
        acls: read_acls(&section)?,
    };
    section.finish()?;
    Ok(application)
}

fn read_acls(section: &Section<'_>) -> Result<BTreeMap<String, String>, ProfileError> {
    let Some(acls) = section.section("ACLs")? else { return Ok(BTreeMap::new()) };
    acls.names().map(|name| Ok((name.to_owned(), acls.text(name)?))).collect()
}

fn read_orderer(section: Section<'_>) -> Result<Orderer, ProfileError> {
    let raft = section.section("EtcdRaft")?.map(read_raft).transpose()?;
    let consenters = section
        .sections("ConsenterMapping")?
        .into_iter()
        .map(read_bft_consenter)
        .collect::<Result<Vec<_>, ProfileError>>()?;
    // Files from before Fabric 3 say something about Kafka, whatever their consensus.
    section.section("Kafka")?;
    let options = section.section("SmartBFT")?.map(read_bft_options).transpose()?;
    let consensus = match section.text_or("OrdererType", "solo")?.as_str() {
        "solo" => Consensus::Solo,
        "etcdraft" => Consensus::EtcdRaft(raft),
        "BFT" => Consensus::Bft { consenters, options: options.unwrap_or_else(default_bft_options) },
        other => Consensus::Other(other.to_owned()),
    };
    let batch_timeout = section.duration("BatchTimeout")?;
    let orderer = Orderer {
        consensus,
        addresses: section.texts("Addresses")?,
        batch_timeout: if batch_timeout == GoDuration::default() { DEFAULT_BATCH_TIMEOUT } else { batch_timeout },
        batch_size: section.section("BatchSize")?.map_or_else(|| Ok(BatchSize::default()), read_batch_size)?,
        organizations: read_organizations(&section)?,
        max_channels: section.number("MaxChannels")?,
        capabilities: read_capabilities(&section, "Capabilities")?,
        policies: read_policies(&section)?,
    };
    section.finish()?;
    Ok(orderer)
}

fn read_batch_size(section: Section<'_>) -> Result<BatchSize, ProfileError> {
    let default = BatchSize::default();
    let size = BatchSize {
        max_message_count: section.size_or("MaxMessageCount", default.max_message_count)?,
        absolute_max_bytes: section.size_or("AbsoluteMaxBytes", default.absolute_max_bytes)?,
        preferred_max_bytes: section.size_or("PreferredMaxBytes", default.preferred_max_bytes)?,
    };
    section.finish()?;
    Ok(size)
}

fn read_raft(section: Section<'_>) -> Result<EtcdRaft, ProfileError> {
    let consenters = section
        .sections("Consenters")?
        .into_iter()
        .map(|consenter| {
            let read = RaftConsenter {
                host: consenter.text("Host")?,
                port: consenter.number("Port")?,
                client_tls_cert: consenter.path("ClientTLSCert")?,
                server_tls_cert: consenter.path("ServerTLSCert")?,
            };
            consenter.finish()?;
            Ok(read)
        })
        .collect::<Result<_, ProfileError>>()?;
    let options = section.section("Options")?.map_or_else(|| Ok(EtcdRaftOptions::default()), read_raft_options)?;
    section.finish()?;
    Ok(EtcdRaft { consenters, options })
}

fn read_raft_options(section: Section<'_>) -> Result<EtcdRaftOptions, ProfileError> {
    let default = EtcdRaftOptions::default();
    let options = EtcdRaftOptions {
        tick_interval: section.text_or("TickInterval", &default.tick_interval)?,
        election_tick: section.number_or("ElectionTick", default.election_tick)?,
        heartbeat_tick: section.number_or("HeartbeatTick", default.heartbeat_tick)?,
        max_inflight_blocks: section.number_or("MaxInflightBlocks", default.max_inflight_blocks)?,
        snapshot_interval_size: section.size_or("SnapshotIntervalSize", default.snapshot_interval_size)?,
    };
    section.finish()?;
    Ok(options)
}

fn read_bft_consenter(section: Section<'_>) -> Result<BftConsenter, ProfileError> {
    let consenter = BftConsenter {
        id: section.number("ID")?,
        host: section.text("Host")?,
        port: section.number("Port")?,
        msp_id: MspId::new(&section.text("MSPID")?),
        identity: section.path("Identity")?,
        client_tls_cert: section.path("ClientTLSCert")?,
        server_tls_cert: section.path("ServerTLSCert")?,
    };
    section.finish()?;
    Ok(consenter)
}

/// Unlike those of Raft, options that a section lacks stay zero, as with Fabric.
fn read_bft_options(section: Section<'_>) -> Result<smartbft::Options, ProfileError> {
    let options = smartbft::Options {
        request_batch_max_count: section.number("RequestBatchMaxCount")?,
        request_batch_max_bytes: section.number("RequestBatchMaxBytes")?,
        request_batch_max_interval: section.text("RequestBatchMaxInterval")?,
        incoming_message_buffer_size: section.number("IncomingMessageBufferSize")?,
        request_pool_size: section.number("RequestPoolSize")?,
        request_forward_timeout: section.text("RequestForwardTimeout")?,
        request_complain_timeout: section.text("RequestComplainTimeout")?,
        request_auto_remove_timeout: section.text("RequestAutoRemoveTimeout")?,
        request_max_bytes: section.number("RequestMaxBytes")?,
        view_change_resend_interval: section.text("ViewChangeResendInterval")?,
        view_change_timeout: section.text("ViewChangeTimeout")?,
        leader_heartbeat_timeout: section.text("LeaderHeartbeatTimeout")?,
        leader_heartbeat_count: section.number("LeaderHeartbeatCount")?,
        collect_timeout: section.text("CollectTimeout")?,
        sync_on_start: section.flag("SyncOnStart")?,
        speed_up_view_change: section.flag("SpeedUpViewChange")?,
        leader_rotation: i32::try_from(section.number::<u32>("LeaderRotation")?)
            .map_err(|_| section.wrong("LeaderRotation", "it is out of range"))?,
        decisions_per_leader: section.number("DecisionsPerLeader")?,
    };
    section.finish()?;
    Ok(options)
}
