use ripstop_msp::Role;
use ripstop_policy::{envelope, implicit_meta};
use ripstop_proto::{Message, common, etcdraft, msp, orderer, protos};
use ripstop_types::MspId;

use crate::Organization;

/// A channel in memory: one ordering organization with one Raft consenter, and organizations with peers. The groups of
/// organizations are named as their MSPs. Policies are those of Fabric's samples: any reader or writer, a majority of
/// administrators, a majority of peers to endorse.
#[derive(Debug, Clone)]
pub struct Channel<'a> {
    /// The organization that orders.
    pub orderer: &'a Organization,
    /// The organizations with peers.
    pub peers: Vec<&'a Organization>,
    /// The capability of the channel as a whole.
    pub channel_capability: &'static str,
    /// The capability of ordering.
    pub orderer_capability: &'static str,
    /// The capability of the application.
    pub application_capability: &'static str,
    /// Addresses of orderers.
    pub orderer_endpoints: Vec<String>,
}

impl<'a> Channel<'a> {
    /// A channel at the newest capabilities.
    pub fn new(orderer: &'a Organization, peers: impl IntoIterator<Item = &'a Organization>) -> Self {
        Self {
            orderer,
            peers: peers.into_iter().collect(),
            channel_capability: "V3_0",
            orderer_capability: "V2_0",
            application_capability: "V2_5",
            orderer_endpoints: vec!["orderer.test:7050".into()],
        }
    }

    /// Its first configuration.
    pub fn config(&self) -> common::Config {
        common::Config { sequence: 0, channel_group: Some(self.group()) }
    }

    /// The tree of its first configuration.
    pub fn group(&self) -> common::ConfigGroup {
        let mut root = group_of_groups(&[]);
        root.values = [
            value("HashingAlgorithm", &common::HashingAlgorithm { name: "SHA256".into() }),
            value("BlockDataHashingStructure", &common::BlockDataHashingStructure { width: u32::MAX }),
            capability(self.channel_capability),
        ]
        .into();
        root.groups.insert("Orderer".into(), self.orderer_group());
        root.groups.insert("Application".into(), self.application_group());
        root
    }

    fn orderer_group(&self) -> common::ConfigGroup {
        let mut group = group_of_groups(&[("BlockValidation", "ANY Writers")]);
        let tls = bytes::Bytes::from(self.orderer.tls("orderer.test", &["orderer.test"]).certificate);
        let metadata = etcdraft::ConfigMetadata {
            consenters: vec![etcdraft::Consenter {
                host: "orderer.test".into(),
                port: 7050,
                client_tls_cert: tls.clone(),
                server_tls_cert: tls,
            }],
            options: Some(etcdraft::Options {
                tick_interval: "500ms".into(),
                election_tick: 10,
                heartbeat_tick: 1,
                max_inflight_blocks: 5,
                snapshot_interval_size: 16 << 20,
            }),
        };
        let consensus =
            orderer::ConsensusType { r#type: "etcdraft".into(), metadata: metadata.encode_to_vec().into(), state: 0 };
        let batch_size =
            orderer::BatchSize { max_message_count: 10, absolute_max_bytes: 10 << 20, preferred_max_bytes: 512 << 10 };
        group.values = [
            value("ConsensusType", &consensus),
            value("BatchSize", &batch_size),
            value("BatchTimeout", &orderer::BatchTimeout { timeout: "1s".into() }),
            value("ChannelRestrictions", &orderer::ChannelRestrictions { max_count: 0 }),
            capability(self.orderer_capability),
        ]
        .into();
        let mut organization = organization_group(self.orderer);
        let endpoints = common::OrdererAddresses { addresses: self.orderer_endpoints.clone() };
        organization.values.extend([value("Endpoints", &endpoints)]);
        group.groups.insert(self.orderer.msp_id().as_str().into(), organization);
        group
    }

    fn application_group(&self) -> common::ConfigGroup {
        let mut group = group_of_groups(&[
            ("Endorsement", "MAJORITY Endorsement"),
            ("LifecycleEndorsement", "MAJORITY Endorsement"),
        ]);
        group.values = [capability(self.application_capability)].into();
        for organization in &self.peers {
            let mut child = organization_group(organization);
            let host = format!("peer0.{}", organization.msp_id());
            let anchor_peers = protos::AnchorPeers { anchor_peers: vec![protos::AnchorPeer { host, port: 7051 }] };
            child.values.extend([value("AnchorPeers", &anchor_peers)]);
            group.groups.insert(organization.msp_id().as_str().into(), child);
        }
        group
    }
}

/// The group of an organization, with its MSP and policies.
pub fn organization_group(organization: &Organization) -> common::ConfigGroup {
    let id = organization.msp_id();
    let config = msp::MspConfig { r#type: 0, config: organization.msp_config().encode_to_vec().into() };
    common::ConfigGroup {
        mod_policy: "Admins".into(),
        values: [value("MSP", &config)].into(),
        policies: [
            role_policy("Readers", Role::Member, id),
            role_policy("Writers", Role::Member, id),
            role_policy("Admins", Role::Admin, id),
            role_policy("Endorsement", Role::Peer, id),
        ]
        .into(),
        ..Default::default()
    }
}

/// A value as a group holds it, changed by the administrators.
pub fn value(name: &str, message: &impl Message) -> (String, common::ConfigValue) {
    let value = message.encode_to_vec().into();
    (name.to_owned(), common::ConfigValue { version: 0, value, mod_policy: "Admins".into() })
}

/// A policy over the policies of child groups, as a group holds it.
pub fn meta_policy(name: &str, rule: &str) -> (String, common::ConfigPolicy) {
    let rule = implicit_meta::parse(rule).expect("the test's rule parses");
    config_policy(name, common::policy::PolicyType::ImplicitMeta, &rule)
}

fn role_policy(name: &str, role: Role, msp_id: &MspId) -> (String, common::ConfigPolicy) {
    let rule = envelope::signed_by_any(role, std::slice::from_ref(msp_id));
    config_policy(name, common::policy::PolicyType::Signature, &rule)
}

fn config_policy(name: &str, kind: common::policy::PolicyType, rule: &impl Message) -> (String, common::ConfigPolicy) {
    let policy = common::Policy { r#type: kind.into(), value: rule.encode_to_vec().into() };
    (name.to_owned(), common::ConfigPolicy { version: 0, policy: Some(policy), mod_policy: "Admins".into() })
}

fn group_of_groups(more_policies: &[(&str, &str)]) -> common::ConfigGroup {
    let usual = [("Readers", "ANY Readers"), ("Writers", "ANY Writers"), ("Admins", "MAJORITY Admins")];
    let policies = usual.iter().chain(more_policies).map(|(name, rule)| meta_policy(name, rule)).collect();
    common::ConfigGroup { mod_policy: "Admins".into(), policies, ..Default::default() }
}

fn capability(name: &str) -> (String, common::ConfigValue) {
    let capabilities = [(name.to_owned(), common::Capability {})].into();
    value("Capabilities", &common::Capabilities { capabilities })
}
