use ripstop_proto::{orderer, protos};
use ripstop_testkit::{Channel, Organization, organization_group, value};
use ripstop_types::MspId;

use super::*;
use crate::{AnchorPeer, ConsensusState, ConsensusType};

struct Parties {
    orderer: Organization,
    org1: Organization,
    org2: Organization,
}

impl Parties {
    fn new() -> Self {
        Self {
            orderer: Organization::new("OrdererMSP"),
            org1: Organization::new("Org1MSP"),
            org2: Organization::new("Org2MSP"),
        }
    }

    fn channel(&self) -> Channel<'_> {
        Channel::new(&self.orderer, [&self.org1, &self.org2])
    }
}

fn read(group: common::ConfigGroup) -> Result<ChannelConfig, ConfigError> {
    let config = common::Config { sequence: 3, channel_group: Some(group) };
    ChannelConfig::new(ChannelId::new("mychannel").unwrap(), config)
}

fn group_mut<'a>(group: &'a mut common::ConfigGroup, path: &str) -> &'a mut common::ConfigGroup {
    path.split('/').filter(|name| !name.is_empty()).fold(group, |group, name| group.groups.get_mut(name).unwrap())
}

#[test]
fn a_whole_tree_is_read() {
    let parties = Parties::new();
    let config = read(parties.channel().group()).unwrap();
    assert_eq!(config.sequence(), 3);
    assert_eq!(config.hashing_algorithm(), HashingAlgorithm::Sha256);
    assert_eq!(config.msps().iter().count(), 3);
    assert!(config.policies().contains("/Channel/Application/Org1MSP/Endorsement"));
    let orderer = config.orderer().unwrap();
    assert_eq!(orderer.consensus_type, ConsensusType::EtcdRaft);
    assert_eq!(orderer.state, ConsensusState::Normal);
    assert_eq!(orderer.batch_size.max_message_count, 10);
    assert_eq!(orderer.batch_timeout.as_secs(), 1);
    assert_eq!(orderer.raft().unwrap().consenters[0].address(), "orderer.test:7050");
    let application = config.application().unwrap();
    assert!(application.capabilities.purge_private_data());
    let (name, org1) = application.organization_of(&MspId::new("Org1MSP")).unwrap();
    assert_eq!(name, "Org1MSP");
    assert_eq!(org1.anchor_peers, [AnchorPeer { host: "peer0.Org1MSP".into(), port: 7051 }]);
    assert_eq!(config.tls_roots().len(), 3);
    config.check_level().unwrap();
}

#[test]
fn orderers_are_found_by_organisation_or_else_by_the_channel() {
    let parties = Parties::new();
    let tls_root: Bytes = parties.orderer.tls_root().into();
    let mut channel = parties.channel();
    channel.channel_capability = "V2_0";
    let mut group = channel.group();
    let addresses = common::OrdererAddresses { addresses: vec!["old:1".into(), "old:1".into()] };
    group.values.extend([value("OrdererAddresses", &addresses)]);
    let endpoints = read(group.clone()).unwrap().orderer_endpoints();
    let of = |address: &str| OrdererEndpoint { address: address.into(), tls_roots: [tls_root.clone()].into() };
    assert_eq!(endpoints, [of("orderer.test:7050")]);
    group_mut(&mut group, "Orderer/OrdererMSP").values.remove("Endpoints");
    assert_eq!(read(group).unwrap().orderer_endpoints(), [of("old:1")]);
}

#[test]
fn acls_are_absolute_and_empty_ones_fall_away() {
    let parties = Parties::new();
    let mut group = parties.channel().group();
    let acl = |name: &str, policy: &str| (name.to_owned(), protos::ApiResource { policy_ref: policy.into() });
    let acls =
        protos::AcLs { acls: [acl("a/b", "Org1MSP/Admins"), acl("c/d", "/Channel/Readers"), acl("e/f", "")].into() };
    group_mut(&mut group, "Application").values.extend([value("ACLs", &acls)]);
    let config = read(group).unwrap();
    let expected = [("a/b", "/Channel/Application/Org1MSP/Admins"), ("c/d", "/Channel/Readers")];
    let acls = &config.application().unwrap().acls;
    assert_eq!(acls.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn what_breaks_a_rule_is_refused_with_path_and_reason() {
    type Edit<'a> = &'a dyn Fn(&mut common::ConfigGroup);
    let parties = Parties::new();
    let other_org1 = Organization::new("Org1MSP");
    let nameless = Organization::new("");
    let batch_size = |count, absolute, preferred| orderer::BatchSize {
        max_message_count: count,
        absolute_max_bytes: absolute,
        preferred_max_bytes: preferred,
    };
    let capability = |name: &str| {
        let capabilities = [(name.to_owned(), common::Capability {})].into();
        value("Capabilities", &common::Capabilities { capabilities })
    };
    let timeout = |text: &str| value("BatchTimeout", &orderer::BatchTimeout { timeout: text.into() });
    let in_orderer = |entry: (String, common::ConfigValue)| {
        move |g: &mut common::ConfigGroup| group_mut(g, "Orderer").values.extend([entry.clone()])
    };
    let cases: &[(Edit<'_>, &str)] = &[
        (
            &|g| g.values.extend([value("Odd", &timeout("1s").1)]),
            "/Channel: failed to deserialize values: Unexpected key Odd",
        ),
        (
            &|g| {
                group_mut(g, "Application/Org1MSP")
                    .values
                    .extend([value("Endpoints", &common::OrdererAddresses::default())])
            },
            "/Channel/Application/Org1MSP: failed to deserialize values: Unexpected key Endpoints",
        ),
        (&|g| drop(g.groups.insert("Odd".into(), Default::default())), "/Channel/Odd: Disallowed channel group"),
        (
            &|g| drop(g.groups.insert("Consortiums".into(), Default::default())),
            "/Channel/Consortiums: the group belongs to the system",
        ),
        (
            &|g| drop(group_mut(g, "Orderer/OrdererMSP").groups.insert("Sub".into(), Default::default())),
            "/Channel/Orderer/OrdererMSP: organizations do not support sub-groups",
        ),
        (
            &|g| drop(g.groups.insert("a_b".into(), Default::default())),
            "/Channel: config ID 'a_b' contains illegal characters",
        ),
        (&|g| drop(g.values.remove("HashingAlgorithm")), "/Channel/HashingAlgorithm: Unknown hashing algorithm type: "),
        (
            &|g| drop(g.values.remove("BlockDataHashingStructure")),
            "/Channel/BlockDataHashingStructure: BlockDataHashStructure width only supported at MaxUint32",
        ),
        (
            &|g| {
                g.values
                    .extend([value("OrdererAddresses", &common::OrdererAddresses { addresses: vec!["a:1".into()] })])
            },
            "/Channel/OrdererAddresses: global OrdererAddresses are not allowed with V3_0 capability",
        ),
        (
            &|g| drop(group_mut(g, "Orderer/OrdererMSP").values.remove("Endpoints")),
            "/Channel/Orderer: some orderer organizations endpoints are empty: [OrdererMSP]",
        ),
        (
            &|g| g.values.extend([capability("V9_9")]),
            "/Channel/Capabilities: Channel capability V9_9 is required but not supported",
        ),
        (&|g| g.values.extend([capability("V1_1")]), "/Channel/OrdererAddresses: Must set some OrdererAddresses"),
        (&|g| g.values.extend([capability("V1_4_2")]), "/Channel/Capabilities: channel capabilities below V2_0"),
        (
            &in_orderer(capability("V3_0")),
            "/Channel/Orderer/Capabilities: Orderer capability V3_0 is required but not supported",
        ),
        (
            &|g| drop(group_mut(g, "Orderer").values.remove("Capabilities")),
            "/Channel: cannot enable channel capabilities without orderer support first",
        ),
        (
            &in_orderer(value("BatchSize", &batch_size(0, 1, 1))),
            "/Channel/Orderer/BatchSize: Attempted to set the batch size max message count to",
        ),
        (
            &in_orderer(value("BatchSize", &batch_size(1, 0, 1))),
            "/Channel/Orderer/BatchSize: Attempted to set the batch size absolute max bytes to",
        ),
        (
            &in_orderer(value("BatchSize", &batch_size(1, 1, 0))),
            "/Channel/Orderer/BatchSize: Attempted to set the batch size preferred max bytes to",
        ),
        (
            &in_orderer(value("BatchSize", &batch_size(1, 1, 2))),
            "/Channel/Orderer/BatchSize: Attempted to set the batch size preferred max bytes (2) greater than the absolute max bytes (1).",
        ),
        (
            &in_orderer(timeout("soon")),
            "/Channel/Orderer/BatchTimeout: Attempted to set the batch timeout to a invalid value: time: invalid duration \"soon\"",
        ),
        (
            &in_orderer(timeout("-1s")),
            "/Channel/Orderer/BatchTimeout: Attempted to set the batch timeout to a non-positive value: -1s",
        ),
        (
            &|g| drop(group_mut(g, "Application").groups.insert("Twin".into(), organization_group(&other_org1))),
            "/Channel/Application/Twin/MSP: Attempted to define two different versions of MSP: Org1MSP",
        ),
        (
            &|g| drop(group_mut(g, "Application").groups.insert("Nobody".into(), organization_group(&nameless))),
            "/Channel/Application/Nobody/MSP: MSP for org Nobody has empty MSP ID",
        ),
        (
            &|g| drop(group_mut(g, "Application/Org1MSP").values.remove("MSP")),
            "/Channel/Application/Org1MSP/MSP: setting up the MSP manager failed: ",
        ),
        (
            &|g| group_mut(g, "Application").policies.get_mut("Readers").unwrap().policy = None,
            "/Channel: policy Readers at path Channel/Application was nil",
        ),
    ];
    for (edit, message) in cases {
        let mut group = parties.channel().group();
        edit(&mut group);
        let error = read(group).unwrap_err().to_string();
        assert!(error.starts_with(message), "expected {message}\n     got {error}");
    }
}

#[test]
fn one_organisation_may_be_in_both_groups() {
    let parties = Parties::new();
    let mut group = parties.channel().group();
    group_mut(&mut group, "Application").groups.insert("Same".into(), organization_group(&parties.orderer));
    assert_eq!(read(group).unwrap().msps().iter().count(), 3);
}

#[test]
fn some_valid_configurations_may_not_follow() {
    let parties = Parties::new();
    let current = read(parties.channel().group()).unwrap();
    let follow = |edit: &dyn Fn(&mut common::ConfigGroup)| {
        let mut group = parties.channel().group();
        edit(&mut group);
        current.check_successor(&read(group).unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(follow(&|_| {}), Ok(()));
    assert_eq!(
        follow(&|g| drop(g.groups.remove("Application"))).unwrap_err(),
        "current config has application section, but new config does not"
    );
    let renamed = |g: &mut common::ConfigGroup| {
        group_mut(g, "Application").groups.insert("Org1MSP".into(), organization_group(&parties.org2));
    };
    assert_eq!(
        follow(&renamed).unwrap_err(),
        "application org Org1MSP attempted to change MSP ID from Org1MSP to Org2MSP"
    );
    let mut old = parties.channel();
    old.channel_capability = "V2_0";
    let mut without_endpoints = old.group();
    group_mut(&mut without_endpoints, "Orderer/OrdererMSP").values.remove("Endpoints");
    assert!(read(without_endpoints).unwrap().check_successor(&current).is_ok());
}

#[test]
fn only_configuration_blocks_hold_a_configuration() {
    let parties = Parties::new();
    let channel_id = ChannelId::new("mychannel").unwrap();
    let time = ripstop_types::Timestamp { seconds: 1, nanos: 0 };
    let block = crate::genesis::block(&channel_id, parties.channel().group(), [1; 24], time);
    assert_eq!(ChannelConfig::from_block(&block).unwrap().channel_id(), &channel_id);
    let other = Block::new(ripstop_types::BlockNumber::new(5), Bytes::new(), vec![Bytes::from_static(b"x")]);
    assert_eq!(
        ChannelConfig::from_block(&other).unwrap_err().to_string(),
        "block 5: the block is no configuration block: its only transaction is no configuration"
    );
}
