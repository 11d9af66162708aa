//! What orderers take and refuse, with the statuses and words of Fabric.

use bytes::Bytes;
use ripstop_channel_config::ChannelConfig;
use ripstop_crypto::SigningIdentity;
use ripstop_keys::{EnvelopeHeader, sign_envelope};
use ripstop_msp::Claim;
use ripstop_policy::Reader;
use ripstop_proto::common::Status;
use ripstop_proto::{Message as _, common, orderer, protos};
use ripstop_testkit::{Channel, Organization, value};
use ripstop_types::{ChannelId, Envelope, HeaderType, Timestamp};

use super::*;

/// 2030, when lasting certificates are valid and expired ones are not.
const NOW: i64 = 1_900_000_000;
const AT_NOW: ExpirationRule = ExpirationRule::At(NOW);

fn channel_id() -> ChannelId {
    ChannelId::new("mychannel").unwrap()
}

struct World {
    orderer: Organization,
    org1: Organization,
    org2: Organization,
}

impl World {
    fn new() -> Self {
        let [orderer, org1, org2] = ["OrdererMSP", "Org1MSP", "Org2MSP"].map(Organization::new);
        Self { orderer, org1, org2 }
    }

    fn group(&self) -> common::ConfigGroup {
        Channel::new(&self.orderer, [&self.org1]).group()
    }

    fn config(&self, change: impl FnOnce(&mut common::ConfigGroup)) -> ChannelConfig {
        let mut group = self.group();
        change(group.groups.get_mut("Orderer").unwrap());
        ChannelConfig::new(channel_id(), common::Config { sequence: 0, channel_group: Some(group) }).unwrap()
    }
}

fn signed(signer: &SigningIdentity, kind: HeaderType, data: impl Into<Bytes>) -> Envelope {
    let channel_id = channel_id();
    let header = EnvelopeHeader {
        kind,
        channel_id: Some(&channel_id),
        tx_id: None,
        extension: Bytes::new(),
        tls_cert_hash: Bytes::new(),
        timestamp: Timestamp { seconds: NOW, nanos: 0 },
    };
    Envelope::from_proto(sign_envelope(signer, &header, data.into()).unwrap()).unwrap()
}

fn message(signer: &SigningIdentity) -> Envelope {
    signed(signer, HeaderType::EndorserTransaction, "data")
}

fn refusal(config: &ChannelConfig, message: &Envelope) -> (Status, String) {
    let refusal = check_normal(config, message, AT_NOW).unwrap_err();
    (refusal.status(), refusal.to_string())
}

#[test]
fn members_write_and_strangers_do_not() {
    let world = World::new();
    let config = world.config(|_| {});
    assert!(check_normal(&config, &message(&world.org1.client("alice")), AT_NOW).is_ok());
    assert!(check_normal(&config, &message(&world.orderer.orderer("osn")), AT_NOW).is_ok());

    let words = "implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied: permission denied";
    let mallory = message(&world.org2.client("mallory"));
    let who = format!(
        "signature 0 claims to be by {}, who is nobody known: MSP Org2MSP is not defined on channel",
        Claim::of(&mallory.signature_header.creator)
    );
    let refused = check_normal(&config, &mallory, AT_NOW).unwrap_err();
    assert_eq!((refused.status(), refused.to_string()), (Status::Forbidden, format!("{words}: {who}")));
    // The log tells also which policies are not satisfied.
    let log = refused.text(Reader::Member);
    let policies = "/Channel/Writers needs ANY Writers; /Channel/Application/Writers needs ANY Writers; ";
    assert!(log.starts_with(&format!("{words}: {policies}")) && log.ends_with(&who), "{log}");

    let mut forged = message(&world.org1.client("alice"));
    forged.payload = signed(&world.org1.client("alice"), HeaderType::Message, "other").payload;
    assert_eq!(refusal(&config, &forged).0, Status::Forbidden);
    forged.signature = Bytes::new();
    assert_eq!(refusal(&config, &forged).0, Status::Forbidden);
}

#[test]
fn filters_stand_in_fabrics_order() {
    let world = World::new();
    let small = orderer::BatchSize { max_message_count: 1, absolute_max_bytes: 20, preferred_max_bytes: 20 };
    let config = world.config(|group| group.values.extend([value("BatchSize", &small)]));
    let late_stranger = message(&world.org2.expired_client("late"));

    let mut empty = late_stranger.clone();
    empty.payload = Bytes::new();
    assert_eq!(refusal(&config, &empty), (Status::BadRequest, "Message was empty".into()));
    let size = late_stranger.size();
    let too_large = format!("message payload is {size} bytes and exceeds maximum allowed 20 bytes");
    assert_eq!(refusal(&config, &late_stranger), (Status::BadRequest, too_large));

    let config = world.config(|_| {});
    let (status, text) = refusal(&config, &late_stranger);
    assert_eq!(status, Status::BadRequest);
    assert_eq!(
        text,
        "broadcast client identity expired: the certificate of 'CN=late.Org2MSP,OU=client,C=US' of Org2MSP was valid until \
         2024-01-02T00:00:00Z; enroll again"
    );
    let late = message(&world.org1.expired_client("late"));
    assert!(refusal(&config, &late).1.starts_with("broadcast client identity expired"));
    assert!(check_normal(&config, &late, ExpirationRule::Off).is_ok());
}

#[test]
fn only_orderers_write_during_maintenance() {
    let world = World::new();
    let config = world.config(|group| {
        let consensus = group.values.get_mut("ConsensusType").unwrap();
        let mut message = orderer::ConsensusType::decode(consensus.value.clone()).unwrap();
        message.state = 1;
        consensus.value = message.encode_to_vec().into();
    });
    let normal = message(&world.orderer.orderer("osn"));
    assert_eq!(
        refusal(&config, &normal),
        (Status::ServiceUnavailable, "normal transactions are rejected: maintenance mode".into())
    );
    assert!(check(&config, &normal, AT_NOW).is_ok());
    let from_application = check(&config, &message(&world.org1.client("alice")), AT_NOW).unwrap_err();
    assert_eq!(from_application.status(), Status::Forbidden);
}

#[test]
fn messages_go_by_their_type() {
    let signer = World::new().org1.client("alice");
    let kind = |kind| classify(&signed(&signer, kind, "")).map_err(|error| error.to_string());
    assert_eq!(kind(HeaderType::EndorserTransaction), Ok(MessageKind::Normal));
    assert_eq!(kind(HeaderType::Unknown(77)), Ok(MessageKind::Normal));
    assert_eq!(kind(HeaderType::ConfigUpdate), Ok(MessageKind::ConfigUpdate));
    assert_eq!(kind(HeaderType::Config), Err("message is of type that cannot be processed directly".into()));
    assert_eq!(kind(HeaderType::OrdererTransaction), Err("message is of type that is no longer supported".into()));
}

/// An update that replaces a value of a group below the root, signed by its author alone.
fn update(author: &SigningIdentity, path: &[&str], key: &str, version: u64, content: Bytes) -> Envelope {
    let mut read = common::ConfigGroup::default();
    let changed = common::ConfigValue { version: version + 1, value: content, mod_policy: "Admins".into() };
    let mut write = common::ConfigGroup { values: [(key.to_owned(), changed)].into(), ..Default::default() };
    for name in path.iter().rev() {
        read = common::ConfigGroup { groups: [((*name).to_owned(), read)].into(), ..Default::default() };
        write = common::ConfigGroup { groups: [((*name).to_owned(), write)].into(), ..Default::default() };
    }
    let update = common::ConfigUpdate {
        channel_id: "mychannel".into(),
        read_set: Some(read),
        write_set: Some(write),
        ..Default::default()
    };
    let config_update = Bytes::from(update.encode_to_vec());
    let signature_header = ripstop_keys::signature_header(author);
    let signature = author.sign(&[signature_header.as_ref(), &config_update].concat()).unwrap();
    let signatures = vec![common::ConfigSignature { signature_header, signature }];
    let envelope = common::ConfigUpdateEnvelope { config_update, signatures };
    signed(author, HeaderType::ConfigUpdate, envelope.encode_to_vec())
}

#[test]
fn an_update_becomes_the_next_configuration() {
    let world = World::new();
    let config = world.config(|_| {});
    let anchors = protos::AnchorPeers { anchor_peers: vec![protos::AnchorPeer { host: "p".into(), port: 1 }] };
    let path = ["Application", "Org1MSP"];
    let by_admin = update(&world.org1.admin("root"), &path, "AnchorPeers", 0, anchors.encode_to_vec().into());
    let proposed = propose_config(&config, &by_admin, AT_NOW, NOW, |_| Ok(())).unwrap();
    assert_eq!(proposed.next.sequence(), 1);
    let content = common::ConfigEnvelope::decode(proposed.data()).unwrap();
    assert_eq!(content.last_update, Some(by_admin.to_proto()));
    assert_eq!(ripstop_channel_config::update::accept(&config, &content).unwrap().sequence(), 1);

    let by_client = update(&world.org1.client("alice"), &path, "AnchorPeers", 0, anchors.encode_to_vec().into());
    let refused = propose_config(&config, &by_client, AT_NOW, NOW, |_| Ok(())).unwrap_err();
    let words = "error applying config update to existing channel 'mychannel': error authorizing update: ";
    assert_eq!(refused.status(), Status::BadRequest);
    assert!(refused.to_string().starts_with(words), "{refused}");

    let by_stranger = update(&world.org2.admin("root"), &path, "AnchorPeers", 0, anchors.encode_to_vec().into());
    let refused = propose_config(&config, &by_stranger, AT_NOW, NOW, |_| Ok(())).unwrap_err();
    assert_eq!(refused.status(), Status::Forbidden);
    assert!(refused.to_string().starts_with("config update for existing channel did not pass initial checks: "));
}

#[test]
fn a_configuration_that_another_orderer_made_is_held_to_the_same_rules() {
    let world = World::new();
    let config = world.config(|_| {});
    let check = |change: fn(&mut orderer::ConsensusType), consenters: Result<(), String>| {
        let update = consensus_update(&world, &config, change).to_proto();
        let next = ripstop_channel_config::update::extract(&update)
            .and_then(|update| ripstop_channel_config::update::propose(&config, &update))
            .unwrap();
        let content = common::ConfigEnvelope { config: Some(next.config().clone()), last_update: Some(update) };
        check_foreign_config(&config, &content, NOW, |_| consenters).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(check(|consensus| consensus.state = 1, Ok(())), Ok(()));
    let outside = check(|consensus| consensus.r#type = "BFT".into(), Ok(())).unwrap_err();
    assert!(outside.contains("current config ConsensusType.State is not in maintenance mode"), "{outside}");
    let unknown = check(|consensus| consensus.r#type = "solo".into(), Ok(())).unwrap_err();
    assert!(unknown.contains("illegal consensus type detected"), "{unknown}");
    let refused = check(|consensus| consensus.state = 1, Err("too few are alive".into())).unwrap_err();
    assert!(refused.ends_with("too few are alive"), "{refused}");
    let empty = common::ConfigEnvelope::default();
    assert!(check_foreign_config(&config, &empty, NOW, |_| Ok(())).is_err());
}

fn consensus_update(
    world: &World,
    config: &ChannelConfig,
    change: impl FnOnce(&mut orderer::ConsensusType),
) -> Envelope {
    let group = &config.config().channel_group.as_ref().unwrap().groups["Orderer"];
    let mut consensus = orderer::ConsensusType::decode(group.values["ConsensusType"].value.clone()).unwrap();
    change(&mut consensus);
    update(&world.orderer.admin("root"), &["Orderer"], "ConsensusType", 0, consensus.encode_to_vec().into())
}

#[test]
fn the_consensus_changes_in_maintenance_only() {
    let world = World::new();
    let config = world.config(|_| {});
    let propose = |update: &Envelope| propose_config(&config, update, AT_NOW, NOW, |_| Ok(())).map(drop);
    assert!(propose(&consensus_update(&world, &config, |consensus| consensus.state = 1)).is_ok());
    let refused = propose(&consensus_update(&world, &config, |consensus| consensus.r#type = "BFT".into())).unwrap_err();
    let words = "config update for existing channel did not pass maintenance checks: config transaction inspection failed: attempted to change consensus type from etcdraft to BFT, but current config ConsensusType.State is not in maintenance mode";
    assert_eq!(refused.to_string(), words);
    let refused =
        propose(&consensus_update(&world, &config, |consensus| consensus.r#type = "solo".into())).unwrap_err();
    assert!(refused.to_string().contains("illegal consensus type detected"), "{refused}");
    let refused =
        propose(&consensus_update(&world, &config, |consensus| consensus.metadata = Bytes::new())).unwrap_err();
    assert!(refused.to_string().contains("invalid new config metadata"), "{refused}");
}

#[test]
fn consenters_must_be_certified_by_an_ordering_organisation() {
    let world = World::new();
    let config = world.config(|_| {});
    let foreign = Bytes::from(world.org1.tls("osn2", &["osn2"]).certificate);
    let update = consensus_update(&world, &config, |consensus| {
        let mut metadata = ripstop_proto::etcdraft::ConfigMetadata::decode(consensus.metadata.clone()).unwrap();
        metadata.consenters.push(ripstop_proto::etcdraft::Consenter {
            host: "osn2".into(),
            port: 7050,
            client_tls_cert: foreign.clone(),
            server_tls_cert: foreign,
        });
        consensus.metadata = metadata.encode_to_vec().into();
    });
    let refused = propose_config(&config, &update, AT_NOW, NOW, |_| Ok(())).unwrap_err().to_string();
    assert!(refused.contains("consenter osn2:7050 has invalid certificate: verifying tls client cert"), "{refused}");
}
