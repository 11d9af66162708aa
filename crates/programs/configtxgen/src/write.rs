//! From profiles to `configtx.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use ripstop_node_config::{InvalidYaml, Value};
use ripstop_proto::orderer::smartbft;

use crate::{
    Application, BftConsenter, ConfigTx, Consensus, EtcdRaft, Orderer, Organization, Policy, Profile, RaftConsenter,
};

impl ConfigTx {
    /// The file as YAML, each profile written out. Reading it gives the same values.
    pub fn to_yaml(&self) -> Result<String, InvalidYaml> {
        let profiles = self.profiles.iter().map(|(name, profile)| (name.clone(), profile_value(profile))).collect();
        map([("Organizations", organizations(&self.organizations)), ("Profiles", profiles)]).to_yaml()
    }
}

/// A map without the entries that say nothing.
fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        Value::Text(text) => !text.is_empty(),
        _ => true,
    };
    entries.into_iter().filter(|(_, value)| says_something(value)).collect()
}

fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

fn texts(texts: &[String]) -> Value {
    texts.iter().map(|text| Value::from(text.as_str())).collect()
}

fn large(number: u64) -> Value {
    i64::try_from(number).map_or_else(|_| number.to_string().into(), Value::Integer)
}

fn capabilities(capabilities: &BTreeMap<String, bool>) -> Value {
    capabilities.iter().map(|(name, required)| (name.clone(), Value::Bool(*required))).collect()
}

fn policies(policies: &BTreeMap<String, Policy>) -> Value {
    let value = |policy: &Policy| {
        let (kind, rule) = match policy {
            Policy::ImplicitMeta(rule) => ("ImplicitMeta", rule),
            Policy::Signature(rule) => ("Signature", rule),
        };
        map([("Type", kind.into()), ("Rule", rule.as_str().into())])
    };
    policies.iter().map(|(name, policy)| (name.clone(), value(policy))).collect()
}

fn profile_value(profile: &Profile) -> Value {
    map([
        ("Consortium", profile.consortium.as_str().into()),
        ("Capabilities", capabilities(&profile.capabilities)),
        ("Policies", policies(&profile.policies)),
        ("Orderer", profile.orderer.as_ref().map_or(Value::Null, orderer)),
        ("Application", profile.application.as_ref().map_or(Value::Null, application)),
    ])
}

fn organizations(organizations: &[Organization]) -> Value {
    organizations.iter().map(organization).collect()
}

fn organization(organization: &Organization) -> Value {
    let anchor_peers = organization
        .anchor_peers
        .iter()
        .map(|peer| map([("Host", peer.host.as_str().into()), ("Port", u32::from(peer.port).into())]))
        .collect();
    map([
        ("Name", organization.name.as_str().into()),
        ("ID", organization.msp_id.as_str().into()),
        ("MSPDir", path(&organization.msp_directory)),
        ("SkipAsForeign", if organization.skip_as_foreign { true.into() } else { Value::Null }),
        ("Policies", policies(&organization.policies)),
        ("OrdererEndpoints", texts(&organization.orderer_endpoints)),
        ("AnchorPeers", anchor_peers),
    ])
}

fn application(application: &Application) -> Value {
    map([
        ("ACLs", application.acls.iter().map(|(name, policy)| (name.clone(), policy.as_str().into())).collect()),
        ("Capabilities", capabilities(&application.capabilities)),
        ("Policies", policies(&application.policies)),
        ("Organizations", organizations(&application.organizations)),
    ])
}

fn orderer(orderer: &Orderer) -> Value {
    let (kind, raft, consenters, options) = match &orderer.consensus {
        Consensus::Solo => ("solo", Value::Null, Value::Null, Value::Null),
        Consensus::EtcdRaft(raft) => ("etcdraft", raft_value(raft), Value::Null, Value::Null),
        Consensus::Bft { consenters, options } => {
            ("BFT", Value::Null, consenters.iter().map(bft_consenter).collect(), bft_options(options))
        }
    };
    let batch_size = map([
        ("MaxMessageCount", orderer.batch_size.max_message_count.into()),
        ("AbsoluteMaxBytes", orderer.batch_size.absolute_max_bytes.into()),
        ("PreferredMaxBytes", orderer.batch_size.preferred_max_bytes.into()),
    ]);
    map([
        ("OrdererType", kind.into()),
        ("Addresses", texts(&orderer.addresses)),
        ("BatchTimeout", orderer.batch_timeout.to_string().into()),
        ("BatchSize", batch_size),
        ("MaxChannels", if orderer.max_channels == 0 { Value::Null } else { large(orderer.max_channels) }),
        ("EtcdRaft", raft),
        ("ConsenterMapping", consenters),
        ("SmartBFT", options),
        ("Capabilities", capabilities(&orderer.capabilities)),
        ("Policies", policies(&orderer.policies)),
        ("Organizations", organizations(&orderer.organizations)),
    ])
}

fn raft_value(raft: &EtcdRaft) -> Value {
    let options = map([
        ("TickInterval", raft.options.tick_interval.as_str().into()),
        ("ElectionTick", raft.options.election_tick.into()),
        ("HeartbeatTick", raft.options.heartbeat_tick.into()),
        ("MaxInflightBlocks", raft.options.max_inflight_blocks.into()),
        ("SnapshotIntervalSize", raft.options.snapshot_interval_size.into()),
    ]);
    map([("Consenters", raft.consenters.iter().map(raft_consenter).collect()), ("Options", options)])
}

fn raft_consenter(consenter: &RaftConsenter) -> Value {
    map([
        ("Host", consenter.host.as_str().into()),
        ("Port", consenter.port.into()),
        ("ClientTLSCert", path(&consenter.client_tls_cert)),
        ("ServerTLSCert", path(&consenter.server_tls_cert)),
    ])
}

fn bft_consenter(consenter: &BftConsenter) -> Value {
    map([
        ("ID", consenter.id.into()),
        ("Host", consenter.host.as_str().into()),
        ("Port", consenter.port.into()),
        ("MSPID", consenter.msp_id.as_str().into()),
        ("Identity", path(&consenter.identity)),
        ("ClientTLSCert", path(&consenter.client_tls_cert)),
        ("ServerTLSCert", path(&consenter.server_tls_cert)),
    ])
}

fn bft_options(options: &smartbft::Options) -> Value {
    map([
        ("RequestBatchMaxCount", large(options.request_batch_max_count)),
        ("RequestBatchMaxBytes", large(options.request_batch_max_bytes)),
        ("RequestBatchMaxInterval", options.request_batch_max_interval.as_str().into()),
        ("IncomingMessageBufferSize", large(options.incoming_message_buffer_size)),
        ("RequestPoolSize", large(options.request_pool_size)),
        ("RequestForwardTimeout", options.request_forward_timeout.as_str().into()),
        ("RequestComplainTimeout", options.request_complain_timeout.as_str().into()),
        ("RequestAutoRemoveTimeout", options.request_auto_remove_timeout.as_str().into()),
        ("RequestMaxBytes", large(options.request_max_bytes)),
        ("ViewChangeResendInterval", options.view_change_resend_interval.as_str().into()),
        ("ViewChangeTimeout", options.view_change_timeout.as_str().into()),
        ("LeaderHeartbeatTimeout", options.leader_heartbeat_timeout.as_str().into()),
        ("LeaderHeartbeatCount", large(options.leader_heartbeat_count)),
        ("CollectTimeout", options.collect_timeout.as_str().into()),
        ("SyncOnStart", options.sync_on_start.into()),
        ("SpeedUpViewChange", options.speed_up_view_change.into()),
        ("LeaderRotation", Value::Integer(options.leader_rotation.into())),
        ("DecisionsPerLeader", large(options.decisions_per_leader)),
    ])
}
