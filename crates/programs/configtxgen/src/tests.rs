//! Profiles of a configtx.yaml with anchors, merge keys and relative paths, down to genesis blocks.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use ripstop_channel_config::{ChannelConfig, ConsensusType};
use ripstop_node_config::Environment;
use ripstop_proto::{Message, common, etcdraft, msp, orderer, protos};
use ripstop_testkit::Organization;
use ripstop_types::{Block, ChannelId, Timestamp};

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
fn a_written_file_reads_back_the_same() {
    let directory = network(CONFIGTX);
    let config = load(&directory, &[]).unwrap();
    std::fs::write(directory.path().join("config/configtx.yaml"), config.to_yaml().unwrap()).unwrap();
    assert_eq!(load(&directory, &[]).unwrap(), config);
}

#[test]
fn the_environment_overrides_single_values() {
    let directory = network(CONFIGTX);
    let config = load(&directory, &[("CONFIGTX_PROFILES_RAFT_ORDERER_BATCHTIMEOUT", "1m0s")]).unwrap();
    let orderer = config.profiles["Raft"].orderer.as_ref().unwrap();
    assert_eq!(orderer.batch_timeout.to_string(), "1m0s");
    assert!(matches!(&orderer.consensus, Consensus::EtcdRaft(raft) if raft.consenters.len() == 1));
}

#[test]
fn what_no_channel_can_be_made_of_is_refused() {
    let refuse = |from: &str, to: &str, profile: &str| {
        assert!(CONFIGTX.contains(from), "{from}");
        let directory = network(&CONFIGTX.replace(from, to));
        let made = load(&directory, &[]).and_then(|config| genesis(&config, profile));
        made.unwrap_err().to_string()
    };
    for (from, to, message) in [
        (
            "AnchorPeers:",
            "AnchorPeer:",
            "Error unmarshalling config into struct: Organizations[1]: invalid keys: AnchorPeer",
        ),
        (
            "BatchSize: {",
            "BatchSize: { Max: 1,",
            "Error unmarshalling config into struct: Profiles.Raft.Orderer.BatchSize: invalid keys: Max",
        ),
        (
            "98 MB",
            "98 MiB",
            "Error unmarshalling config into struct: Profiles.Raft.Orderer.BatchSize.AbsoluteMaxBytes: '98 MiB' is no size",
        ),
        (
            "OrdererType: etcdraft",
            "OrdererType: kafka",
            "Error unmarshalling config into struct: Profiles.Raft.Orderer.OrdererType: unknown orderer type: kafka",
        ),
        ("BlockValidation:", "Other:", "error adding policies to orderer group: no BlockValidation policy defined"),
        (
            "OR('Org1MSP.admin')",
            "OR('Org1MSP.boss')",
            "error adding policies to application org group 'Org1': invalid signature policy rule 'OR('Org1MSP.boss')'",
        ),
        (
            "OrdererEndpoints: [ orderer.test:7050 ]",
            "OrdererEndpoints:",
            "failed to create orderer org: orderer endpoints for organization OrdererOrg are missing",
        ),
        (
            "ElectionTick: 20",
            "ElectionTick: 1",
            "etcdraft configuration: election tick must be greater than heartbeat tick",
        ),
        ("mspdir: ../crypto/Org1MSP", "mspdir: ../nowhere", "Error loading MSP configuration for org: Org1: "),
        (
            "ClientTLSCert: ../crypto/tls.pem, ServerTLSCert: ../crypto/tls.pem }\n    Options",
            "ClientTLSCert: no.pem, ServerTLSCert: no.pem }\n    Options",
            "cannot load client TLS cert for consenter orderer.test:7050",
        ),
        (
            "Raft: &Raft",
            "Other: &Raft",
            "Could not find profile: Raft. Please make sure that FABRIC_CFG_PATH or -configPath is set",
        ),
    ] {
        let error = refuse(from, to, "Raft");
        assert!(error.starts_with(message), "expected {message}\n     got {error}");
    }
    let error = refuse("V3_0: true", "V2_0: true", "BFT");
    assert!(error.contains("orderer type BFT must be used with V3_0 channel capability"), "{error}");
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
    let block = Block::parse(std::fs::read(block).unwrap().into()).unwrap();
    assert_eq!(ChannelConfig::from_block(&block).unwrap().channel_id().as_str(), "mychannel");
    for wrong in [
        &["-profile", "Raft", "-outputBlock", "x"][..],
        &["-channelID", "c", "-outputBlock", "x"],
        &["-inspectBlock", "x"],
        &["-odd"],
    ] {
        let code = crate::run([&["configtxgen"], wrong].concat().into_iter().map(OsString::from));
        assert_ne!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS), "{wrong:?}");
    }
}
