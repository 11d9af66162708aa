//! Profiles of a configtx.yaml with anchors, merge keys and relative paths, down to genesis blocks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use ripstop_channel_config::{ChannelConfig, ConsensusType};
use ripstop_node_config::Environment;
use ripstop_proto::{Message, common, etcdraft, msp, orderer, protos};
use ripstop_testkit::Organization;
use ripstop_types::{Block, ChannelId, Envelope, HeaderType, Timestamp};

use crate::{ConfigTx, Consensus, ProfileError};

const CONFIGTX: &str = r#"
Organizations:
  - &OrdererOrg
    Name: OrdererOrg
    ID: OrdererMSP
    MSPDir: ../crypto/OrdererMSP
    Policies: &OrdererOrgPolicies
      Readers: { Type: Signature, Rule: "OR('OrdererMSP.member')" }
      Writers: { Type: Signature, Rule: "OR('OrdererMSP.member')" }
      Admins:  { Type: Signature, Rule: "OR('OrdererMSP.admin')" }
    OrdererEndpoints: [ orderer.test:7050 ]
  - &Org1
    Name: Org1
    ID: Org1MSP
    mspdir: ../crypto/Org1MSP
    Policies:
      Readers: { Type: Signature, Rule: "OR('Org1MSP.member')" }
      Writers: { Type: Signature, Rule: "OR('Org1MSP.member')" }
      Admins:  { Type: Signature, Rule: "OR('Org1MSP.admin')" }
      Endorsement: { Type: Signature, Rule: "OR('Org1MSP.peer')" }
    AnchorPeers:
      - Host: peer0.org1
        Port: 7051
Capabilities:
  Channel: &ChannelCapabilities
    V3_0: true
Channel:
  Policies: &MetaPolicies
    Readers: { Type: ImplicitMeta, Rule: "ANY Readers" }
    Writers: { Type: ImplicitMeta, Rule: "ANY Writers" }
    Admins:  { Type: ImplicitMeta, Rule: "MAJORITY Admins" }
Application: &ApplicationDefaults
  Organizations:
  ACLs: { qscc/GetChainInfo: /Channel/Application/Admins }
  Policies: { <<: *MetaPolicies }
  Capabilities: { V2_5: true, V9_9: false }
Orderer: &OrdererDefaults
  OrdererType: etcdraft
  BatchSize: { MaxMessageCount: 7, AbsoluteMaxBytes: 98 MB }
  EtcdRaft:
    Consenters:
      - { Host: orderer.test, Port: 7050, ClientTLSCert: ../crypto/tls.pem, ServerTLSCert: ../crypto/tls.pem }
    Options: { ElectionTick: 20 }
  Policies:
    <<: *MetaPolicies
    BlockValidation: { Type: ImplicitMeta, Rule: "ANY Writers" }
  Capabilities: { V2_0: true }
Profiles:
  Raft: &Raft
    Policies: *MetaPolicies
    Capabilities: { <<: *ChannelCapabilities }
    Orderer:
      <<: *OrdererDefaults
      Organizations: [ *OrdererOrg ]
    Application:
      <<: *ApplicationDefaults
      Organizations: [ *Org1 ]
  BFT:
    <<: *Raft
    Orderer:
      <<: *OrdererDefaults
      OrdererType: BFT
      Organizations: [ *OrdererOrg ]
      ConsenterMapping:
        - { ID: 1, Host: a, Port: 1, MSPID: OrdererMSP, Identity: ../crypto/tls.pem, ClientTLSCert: ../crypto/tls.pem, ServerTLSCert: ../crypto/tls.pem }
        - { ID: 2, Host: b, Port: 1, MSPID: OrdererMSP, Identity: ../crypto/tls.pem, ClientTLSCert: ../crypto/tls.pem, ServerTLSCert: ../crypto/tls.pem }
"#;

/// A directory with MSP folders and `config/configtx.yaml`.
fn network(configtx: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for id in ["OrdererMSP", "Org1MSP"] {
        let organization = Organization::new(id);
        write_msp(&directory.path().join("crypto").join(id), &organization.msp_config());
        if id == "OrdererMSP" {
            let certificate = organization.tls("orderer.test", &["orderer.test"]).certificate;
            std::fs::write(directory.path().join("crypto/tls.pem"), certificate).unwrap();
        }
    }
    std::fs::create_dir(directory.path().join("config")).unwrap();
    std::fs::write(directory.path().join("config/configtx.yaml"), configtx).unwrap();
    directory
}

fn write_msp(directory: &Path, config: &msp::FabricMspConfig) {
    for (folder, certificates) in [("cacerts", &config.root_certs), ("tlscacerts", &config.tls_root_certs)] {
        std::fs::create_dir_all(directory.join(folder)).unwrap();
        std::fs::write(directory.join(folder).join("ca.pem"), &certificates[0]).unwrap();
    }
    let unit =
        |role: &str| format!("  {role}OUIdentifier: {{ OrganizationalUnitIdentifier: {} }}\n", role.to_lowercase());
    let units: String = ["Client", "Peer", "Admin", "Orderer"].iter().map(|role| unit(role)).collect();
    std::fs::write(directory.join("config.yaml"), format!("NodeOUs:\n  Enable: true\n{units}")).unwrap();
}

fn load(directory: &tempfile::TempDir, variables: &[(&str, &str)]) -> Result<ConfigTx, ProfileError> {
    let environment: Environment = variables.iter().copied().collect();
    ConfigTx::load(Some(&directory.path().join("config")), &environment)
}

fn genesis(config: &ConfigTx, profile: &str) -> Result<ChannelConfig, ProfileError> {
    let time = Timestamp { seconds: 1, nanos: 0 };
    let block = config.profile(profile)?.genesis_block(&ChannelId::new("mychannel").unwrap(), [1; 24], time)?;
    Ok(ChannelConfig::from_block(&block).unwrap())
}

#[test]
fn a_raft_profile_becomes_a_channel() {
    let directory = network(CONFIGTX);
    let channel = genesis(&load(&directory, &[]).unwrap(), "Raft").unwrap();
    let orderer = channel.orderer().unwrap();
    assert_eq!(orderer.consensus_type, ConsensusType::EtcdRaft);
    assert_eq!(orderer.batch_size.max_message_count, 7);
    assert_eq!(orderer.batch_size.absolute_max_bytes, 98 << 20);
    assert_eq!(orderer.batch_size.preferred_max_bytes, 2 << 20);
    assert_eq!(orderer.batch_timeout.as_secs(), 2);
    let raft = orderer.raft().unwrap();
    assert_eq!((raft.options.election_tick, raft.options.heartbeat_tick), (20, 1));
    assert_eq!(raft.consenters[0].address(), "orderer.test:7050");
    assert_eq!(channel.orderer_endpoints()[0].address, "orderer.test:7050");
    let application = channel.application().unwrap();
    assert_eq!(application.organizations["Org1"].msp_id.as_str(), "Org1MSP");
    assert_eq!(application.organizations["Org1"].anchor_peers[0].address(), "peer0.org1:7051");
    assert_eq!(application.acls["qscc/GetChainInfo"], "/Channel/Application/Admins");
    channel.check_level().unwrap();
}

#[test]
fn values_are_encoded_as_go_encodes_them() {
    let directory = network(CONFIGTX);
    let channel = genesis(&load(&directory, &[]).unwrap(), "Raft").unwrap();
    let root = channel.config().channel_group.clone().unwrap();
    assert_eq!(root.values["Capabilities"].value.as_ref(), b"\n\x08\n\x04V3_0\x12\x00");
    assert_eq!(root.groups["Application"].values["Capabilities"].value.as_ref(), b"\n\x08\n\x04V2_5\x12\x00");
    assert_eq!(root.groups["Orderer"].values["BatchTimeout"].value.as_ref(), b"\n\x022s");
    let policies = root.policies.values().map(|policy| &policy.mod_policy);
    assert!(policies.chain(root.values.values().map(|value| &value.mod_policy)).all(|policy| policy == "Admins"));
    let consensus = &root.groups["Orderer"].values["ConsensusType"].value;
    let consensus = orderer::ConsensusType::decode(consensus.clone()).unwrap();
    let metadata = etcdraft::ConfigMetadata::decode(consensus.metadata).unwrap();
    assert_eq!(metadata.options.unwrap().tick_interval, "500ms");
    let anchors = &root.groups["Application"].groups["Org1"].values["AnchorPeers"].value;
    assert_eq!(protos::AnchorPeers::decode(anchors.clone()).unwrap().anchor_peers[0].port, 7051);
}

#[test]
fn a_byzantine_profile_gets_the_block_policy_of_its_consenters() {
    let directory = network(CONFIGTX);
    let channel = genesis(&load(&directory, &[]).unwrap(), "BFT").unwrap();
    let orderer = channel.orderer().unwrap();
    assert_eq!(orderer.consensus_type, ConsensusType::Bft);
    assert_eq!(orderer.consenters.len(), 2);
    let group = &channel.config().channel_group.as_ref().unwrap().groups["Orderer"];
    let policy = group.policies["BlockValidation"].policy.clone().unwrap();
    let policy = common::SignaturePolicyEnvelope::decode(policy.value).unwrap();
    let Some(common::signature_policy::Type::NOutOf(rule)) = policy.rule.unwrap().r#type else { panic!("a threshold") };
    assert_eq!((rule.n, rule.rules.len(), policy.identities.len()), (2, 2, 2));
}

#[test]
fn the_environment_overrides_single_values() {
    let directory = network(CONFIGTX);
    let config = load(&directory, &[("CONFIGTX_PROFILES_RAFT_ORDERER_BATCHTIMEOUT", "1m0s")]).unwrap();
    let orderer = config.profiles["Raft"].orderer.as_ref().unwrap();
    assert_eq!(orderer.batch_timeout.to_string(), "1m0s");
    assert!(matches!(&orderer.consensus, Consensus::EtcdRaft(Some(raft)) if raft.consenters.len() == 1));
    let variables =
        [("CONFIGTX_PROFILES_RAFT_ORDERER_ADDRESSES", "[a:1, b:2]"), ("CONFIGTX_CAPABILITIES_CHANNEL_V3_0", "0")];
    let config = load(&directory, &variables).unwrap();
    assert_eq!(config.profiles["Raft"].orderer.as_ref().unwrap().addresses, ["a:1", "b:2"]);
    assert_eq!(config.capabilities["Channel"], BTreeMap::from([("V3_0".to_owned(), false)]));
}

#[test]
fn what_no_channel_can_be_made_of_is_refused() {
    let refuse = |from: &str, to: &str, profile: &str| {
        assert!(CONFIGTX.contains(from), "{from}");
        let directory = network(&CONFIGTX.replace(from, to));
        let made = load(&directory, &[]).and_then(|config| {
            config.profile(profile)?.check()?;
            genesis(&config, profile)
        });
        made.unwrap_err().to_string()
    };
    const STRUCT: &str = "Error loading config from config cache: Error unmarshalling config into struct: decoding failed due to the following error(s): ";
    const GROUP: &str = "could not create bootstrapper: could not create channel group: ";
    for (from, to, context, message) in [
        ("AnchorPeers:", "AnchorPeer:", STRUCT, "'Organizations[1]' has invalid keys: AnchorPeer"),
        ("BatchSize: {", "BatchSize: { Max: 1,", STRUCT, "'Profiles[Raft].Orderer.BatchSize' has invalid keys: Max"),
        (
            "98 MB",
            "98 MiB",
            STRUCT,
            "'Profiles[Raft].Orderer.BatchSize.AbsoluteMaxBytes' cannot parse value as a size such as 10 MB: '98 MiB'",
        ),
        (
            "Capabilities: { V2_0: true",
            "Capabilities: { V2_0: ja",
            STRUCT,
            "'Profiles[Raft].Orderer.Capabilities.V2_0' cannot",
        ),
        ("OrdererType: etcdraft", "OrdererType: kafka", "", "unknown orderer type: kafka"),
        ("ElectionTick: 20", "ElectionTick: 1", "", "election tick must be greater than heartbeat tick"),
        ("Consenters:\n      - {", "Consenters: [] # {", "", "etcdraft configuration did not specify any consenter"),
        (
            "Host: orderer.test, Port: 7050",
            "Host: orderer.test",
            "",
            "consenter info in etcdraft configuration did not specify port",
        ),
        (
            "BlockValidation:",
            "Other:",
            GROUP,
            "could not create orderer group: error adding policies to orderer group: no BlockValidation policy defined",
        ),
        (
            "Readers: { Type: ImplicitMeta",
            "Readers: { Type: Meta",
            GROUP,
            "error adding policies to channel group: unknown policy type: Meta",
        ),
        (
            "OR('Org1MSP.admin')",
            "OR('Org1MSP.boss')",
            GROUP,
            "could not create application group: failed to create application org: error adding policies to application org group Org1: invalid signature policy rule 'OR('Org1MSP.boss')'",
        ),
        (
            "OrdererEndpoints: [ orderer.test:7050 ]",
            "OrdererEndpoints:",
            GROUP,
            "could not create orderer group: failed to create orderer org: orderer endpoints for organization OrdererOrg are missing",
        ),
        (
            "mspdir: ../crypto/Org1MSP",
            "mspdir: ../nowhere",
            GROUP,
            "could not create application group: failed to create application org: 1 - Error loading MSP configuration for org Org1: ",
        ),
        (
            "ID: Org1MSP",
            "ID: Org1MSP\n    MSPType: idemix",
            GROUP,
            "could not create application group: failed to create application org: 1 - Error loading MSP configuration for org Org1: unknown MSP type 'idemix'",
        ),
        (
            "ClientTLSCert: ../crypto/tls.pem, ServerTLSCert: ../crypto/tls.pem }\n    Options",
            "ClientTLSCert: /no.pem, ServerTLSCert: no.pem }\n    Options",
            GROUP,
            "could not create orderer group: cannot marshal metadata for orderer type etcdraft: cannot load client cert for consenter orderer.test:7050: open /no.pem: no such file or directory",
        ),
        (
            "ID: Org1MSP",
            "ID: Org1MSP\n    SkipAsForeign: true",
            "could not create bootstrapper: ",
            "all org definitions must be local during bootstrapping: organization 'Org1' is marked to be skipped as foreign",
        ),
        (
            "Raft: &Raft",
            "Other: &Raft",
            "",
            "Could not find profile: Raft. Please make sure that FABRIC_CFG_PATH or -configPath is set",
        ),
    ] {
        let error = refuse(from, to, "Raft");
        let expected = format!("{context}{message}");
        assert!(error.starts_with(&expected), "expected {expected}\n     got {error}");
    }
    let error = refuse("V3_0: true", "V2_0: true", "BFT");
    assert!(error.contains("orderer type BFT must be used with V3_0 channel capability"), "{error}");
}

#[test]
fn what_is_wrong_in_another_profile_is_of_no_matter() {
    let other = "Profiles:\n  Old: { Orderer: { OrdererType: kafka, Kafka: { Brokers: [ k:1 ] } } }\n  Empty:\n";
    let directory = network(&CONFIGTX.replace("Profiles:\n", other));
    let config = load(&directory, &[]).unwrap();
    assert_eq!(config.profile("Old").unwrap().check().unwrap_err().to_string(), "unknown orderer type: kafka");
    genesis(&config, "Raft").unwrap();
}

#[test]
fn a_system_channel_becomes_a_tree_with_its_consortiums() {
    let consortiums = "Raft: &Raft\n    Consortiums: { Some: { Organizations: [ *Org1 ] }, None: { Organizations: } }";
    let directory = network(&CONFIGTX.replace("Raft: &Raft", consortiums));
    let group = load(&directory, &[]).unwrap().profile("Raft").unwrap().channel_group().unwrap();
    let group = &group.groups["Consortiums"];
    assert_eq!(group.mod_policy, "/Channel/Orderer/Admins");
    assert_eq!(group.policies.keys().collect::<Vec<_>>(), ["Admins"]);
    assert!(group.groups["None"].groups.is_empty());
    assert!(group.groups["Some"].values.contains_key("ChannelCreationPolicy"));
    assert!(group.groups["Some"].groups["Org1"].values.contains_key("MSP"));
}

fn update_in(envelope: common::Envelope) -> common::ConfigUpdate {
    assert!(envelope.signature.is_empty());
    let envelope = Envelope::parse(envelope.encode_to_vec().into()).unwrap();
    assert_eq!(envelope.channel_header.kind, HeaderType::ConfigUpdate);
    assert_eq!(envelope.channel_header.channel_id, "mychannel");
    let content = common::ConfigUpdateEnvelope::decode(envelope.data).unwrap();
    common::ConfigUpdate::decode(content.config_update).unwrap()
}

#[test]
fn an_update_names_anchor_peers_in_a_channel_that_has_none() {
    let directory = network(CONFIGTX);
    let config = load(&directory, &[]).unwrap();
    let profile = config.profile("Raft").unwrap();
    let channel = ChannelId::new("mychannel").unwrap();
    let time = Timestamp { seconds: 1, nanos: 0 };
    let update = update_in(profile.anchor_peers_update(&channel, "Org1", time).unwrap());
    assert_eq!(update.channel_id, "mychannel");
    let written = &update.write_set.unwrap().groups["Application"].groups["Org1"];
    assert_eq!(written.version, 1);
    assert!(written.values.contains_key("AnchorPeers"));
    for (organization, message) in [
        ("", "must specify an organization to update the anchor peer for"),
        ("Org9", "org with name 'Org9' does not exist in config"),
    ] {
        assert_eq!(profile.anchor_peers_update(&channel, organization, time).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_channel_is_asked_for_with_its_consortium() {
    let system = "Raft: &Raft\n    Consortium: Some\n    Consortiums: { Some: { Organizations: [ *Org1 ] } }";
    let directory = network(&CONFIGTX.replace("Raft: &Raft", system));
    let config = load(&directory, &[]).unwrap();
    let profile = config.profile("Raft").unwrap();
    let channel = ChannelId::new("mychannel").unwrap();
    let time = Timestamp { seconds: 1, nanos: 0 };
    for base in [None, Some(profile)] {
        let update = update_in(profile.channel_creation(&channel, base, time).unwrap());
        let (read, write) = (update.read_set.unwrap(), update.write_set.unwrap());
        assert!(read.values["Consortium"].value.is_empty());
        assert_eq!(write.values["Consortium"].value.as_ref(), b"\n\x04Some");
        assert!(write.groups["Application"].policies.contains_key("Admins"));
    }
    let directory = network(CONFIGTX);
    let config = load(&directory, &[]).unwrap();
    let refused = config.profile("Raft").unwrap().channel_creation(&channel, None, time).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "config update generation failure: cannot define a new channel with no Consortium value"
    );
}

#[test]
fn the_command_takes_flags_with_one_dash_and_writes_the_block() {
    let directory = network(CONFIGTX);
    let path = |name: &str| directory.path().join(name).into_os_string();
    let block = directory.path().join("out/deep/genesis.block");
    let arguments = ["configtxgen", "-profile", "Raft", "-channelID=mychannel", "-outputBlock"].map(OsString::from);
    let arguments = arguments.into_iter().chain([block.clone().into(), "--configPath".into(), path("config")]);
    let code = crate::run(arguments);
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    let raw = std::fs::read(&block).unwrap();
    assert_eq!(
        ChannelConfig::from_block(&Block::parse(raw.into()).unwrap()).unwrap().channel_id().as_str(),
        "mychannel"
    );
    let status = |code: ExitCode| format!("{code:?}");
    for (flag, what) in [("-inspectBlock", block.to_str().unwrap()), ("-printOrg", "Org1")] {
        let arguments = ["configtxgen", flag, what, "-configPath"].map(OsString::from);
        assert_eq!(status(crate::run(arguments.into_iter().chain([path("config")]))), status(ExitCode::SUCCESS));
    }
    for (wrong, code) in [
        (&["-profile", "Raft", "-outputBlock", "x"][..], 1),
        (&["-channelID", "c", "-outputBlock", "x"], 1),
        (&["-channelID", "c", "-outputBlock", "x", "-profile", "p", "-configPath", "/nowhere"], 2),
        (&["-inspectBlock", "x"], 1),
        (&["-odd"], 2),
    ] {
        let ended = crate::run([&["configtxgen"], wrong].concat().into_iter().map(OsString::from));
        assert_eq!(status(ended), status(ExitCode::from(code)), "{wrong:?}");
    }
}
