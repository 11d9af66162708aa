//! Definitions from proposal to use, on a state in memory.

use bytes::Bytes;
use prost::Message;
use ripstop_channel_config::ChannelConfig;
use ripstop_lifecycle::{
    Access, ApproveError, ChaincodeDefinition, ChaincodeParameters, CommitError, InputError, MemoryLifecycleState,
    PackageSource, QueryError, ReadState, Scope, announced, approve, approved_definition, approved_definitions,
    check_input, check_readiness, commit, committed_definition, committed_definitions, default_endorsement_policy,
    definition, keys, org_approvals,
};
use ripstop_msp::Role;
use ripstop_policy::{dsl, envelope::signed_by_any};
use ripstop_proto::common;
use ripstop_proto::protos::{
    CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig, collection_config,
    collection_policy_config,
};
use ripstop_testkit::{Channel, Organization};
use ripstop_types::{ChannelId, MspId};

const PACKAGE: &str = "basic_1.0:9e804f05b06ad4765245df84333b40acfca63ee713031d7bf5919630ccf9c83f";

fn channel() -> ChannelConfig {
    let (orderer, org1, org2) =
        (Organization::new("OrdererMSP"), Organization::new("Org1MSP"), Organization::new("Org2MSP"));
    let config = Channel::new(&orderer, [&org1, &org2]).config();
    let id = ChannelId::new("mychannel").expect("the name is well formed");
    ChannelConfig::new(id, config).expect("the test's channel is well formed")
}

fn org(number: u8) -> MspId {
    MspId::new(&format!("Org{number}MSP"))
}

fn proposed(sequence: i64, version: &str) -> ChaincodeDefinition {
    let parameters = ChaincodeParameters { version: version.to_owned(), ..Default::default() };
    ChaincodeDefinition { sequence, parameters }
}

fn package() -> PackageSource {
    PackageSource::Local(PACKAGE.to_owned())
}

fn value(state: &mut MemoryLifecycleState, scope: &Scope, key: &str) -> String {
    hex::encode(state.get(scope, key).expect("memory can be read").unwrap_or_default())
}

#[test]
fn records_have_fabrics_keys_and_bytes() {
    let (channel, mut state) = (channel(), MemoryLifecycleState::default());
    let mut other = proposed(1, "1.0");
    other.parameters.init_required = true;
    let policy = signed_by_any(Role::Peer, &[org(1), org(2)]);
    let policy = ripstop_proto::protos::ApplicationPolicy {
        r#type: Some(ripstop_proto::protos::application_policy::Type::SignaturePolicy(policy)),
    };
    other.parameters.validation_parameter = policy.encode_to_vec().into();
    for number in [1, 2] {
        approve(&mut state, &channel, &org(number), "other", other.clone(), &PackageSource::Unavailable)
            .expect("the first approval is allowed");
    }
    commit(&mut state, &channel, &org(1), "other", other).expect("all approved");

    // What Fabric 3.1.5 wrote for this very definition.
    for (key, expected) in [
        (
            "namespaces/metadata/other",
            "0a13436861696e636f6465446566696e6974696f6e120853657175656e6365120f456e646f7273656d656e74496e666f\
             120e56616c69646174696f6e496e666f120b436f6c6c656374696f6e73",
        ),
        ("namespaces/fields/other/Sequence", "0801"),
        ("namespaces/fields/other/EndorsementInfo", "120d0a03312e3010011a0465736363"),
        (
            "namespaces/fields/other/ValidationInfo",
            "12360a0476736363122e0a2c120c120a080112020800120208011a0d120b0a074f7267314d535010031a0d120b0a074f7267324d53501003",
        ),
        ("namespaces/fields/other/Collections", "1200"),
    ] {
        assert_eq!(value(&mut state, &Scope::Public, key), expected.replace(' ', ""), "{key}");
    }
    let own = Scope::Org(org(1));
    let metadata = state.hash(&org(1), "namespaces/metadata/other#1").expect("memory can be read");
    assert_eq!(
        hex::encode(metadata.unwrap_or_default()),
        "991432db73fede13edbd2a61b0e0e92bb12f3c484be0b660caf8b0c31ef14706"
    );
    assert_eq!(value(&mut state, &own, "chaincode-sources/fields/other#1/PackageID"), "1a00");
    assert_eq!(keys::private_name("other", 1), "other#1");
}

#[test]
fn writing_reads_what_is_there_and_changes_only_what_differs() {
    let (channel, mut state) = (channel(), MemoryLifecycleState::default());
    for (sequence, version) in [(1, "1.0"), (2, "2.0")] {
        for number in [1, 2] {
            approve(&mut state, &channel, &org(number), "basic", proposed(sequence, version), &package())
                .expect("the approval is allowed");
        }
        state.take_log();
        commit(&mut state, &channel, &org(1), "basic", proposed(sequence, version)).expect("all approved");
    }
    let log = state.take_log();
    let puts: Vec<_> = log
        .iter()
        .filter_map(|access| match access {
            Access::Put(Scope::Public, key) => Some(key.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(puts, ["namespaces/fields/basic/Sequence", "namespaces/fields/basic/EndorsementInfo"]);
    let reads = log.iter().filter(|access| matches!(access, Access::Read(Scope::Public, _))).count();
    // The current sequence, then the metadata and its four fields.
    assert_eq!(reads, 6);
    let hashes = log.iter().filter(|access| matches!(access, Access::Hash(..))).count();
    assert_eq!(hashes, 8, "metadata and three fields of two organizations");
}

#[test]
fn approvals_follow_the_sequence() {
    let (channel, mut state) = (channel(), MemoryLifecycleState::default());
    let mut ask = |sequence: i64, version: &str, source: &PackageSource| {
        approve(&mut state, &channel, &org(1), "basic", proposed(sequence, version), source)
            .map_err(|error| error.to_string())
    };
    let refused = |outcome: Result<(), String>| outcome.expect_err("it is refused");
    assert_eq!(refused(ask(0, "1.0", &package())), "requested sequence is 0, but first definable sequence number is 1");
    assert_eq!(
        refused(ask(2, "1.0", &package())),
        "requested sequence 2 is larger than the next available sequence number 1"
    );
    assert_eq!(
        refused(ask(-1, "1.0", &package())),
        "currently defined sequence 0 is larger than requested sequence -1"
    );
    assert_eq!(ask(1, "0.9", &package()), Ok(()));
    assert_eq!(ask(1, "1.0", &package()), Ok(()), "what is not committed may be approved otherwise");
    assert_eq!(
        refused(ask(1, "1.0", &package())),
        "attempted to redefine uncommitted sequence (1) for namespace basic with unchanged content"
    );
    assert_eq!(ask(1, "1.0", &PackageSource::Unavailable), Ok(()), "another package is a change");

    commit(&mut state, &channel, &org(1), "basic", proposed(1, "1.0")).expect("this organization approved");
    let mut ask = |sequence: i64, version: &str, source: &PackageSource| {
        approve(&mut state, &channel, &org(1), "basic", proposed(sequence, version), source)
    };
    assert!(matches!(
        ask(1, "1.0", &PackageSource::Unavailable),
        Err(ApproveError::AlreadyApproved { sequence: 1, .. })
    ));
    assert!(ask(1, "1.0", &package()).is_ok(), "a package may follow after the commit");
    assert_eq!(
        ask(1, "1.1", &package()).map_err(|error| error.to_string()),
        Err("attempted to redefine the current committed sequence (1) for namespace basic with different parameters: \
             expected Version '1.0' does not match passed Version '1.1'"
            .to_owned())
    );
    assert!(matches!(ask(0, "1.0", &package()), Err(ApproveError::SequencePassed { current: 1, requested: 0 })));
}

#[test]
fn a_definition_is_committed_where_this_organization_agrees() {
    let (channel, mut state) = (channel(), MemoryLifecycleState::default());
    let refused = commit(&mut state, &channel, &org(1), "basic", proposed(1, "1.0")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "chaincode definition not agreed to by this org (Org1MSP): it approved nothing for sequence 1"
    );
    let mut state = MemoryLifecycleState::default();
    approve(&mut state, &channel, &org(1), "basic", proposed(1, "1.0"), &package()).expect("it is allowed");
    approve(&mut state, &channel, &org(2), "basic", proposed(1, "2.0"), &package()).expect("it is allowed");
    let readiness = check_readiness(&mut state, &channel, "basic", &mut proposed(1, "1.0")).expect("it can be told");
    assert_eq!((readiness.approvals[&org(1)], readiness.approvals[&org(2)]), (true, false));
    assert_eq!(readiness.mismatches[&org(2)], ["EndorsementInfo"]);
    let mut as_org2_wants = MemoryLifecycleState::default();
    approve(&mut as_org2_wants, &channel, &org(1), "basic", proposed(1, "2.0"), &package()).expect("it is allowed");
    let refused = commit(&mut as_org2_wants, &channel, &org(1), "basic", proposed(1, "1.0")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "chaincode definition not agreed to by this org (Org1MSP): what it approved for sequence 1 differs in EndorsementInfo"
    );
    let nothing = check_readiness(&mut state, &channel, "none", &mut proposed(1, "1.0")).expect("it can be told");
    assert_eq!(nothing.mismatches[&org(1)], ["ChaincodeParameters"]);
    assert_eq!(
        check_readiness(&mut state, &channel, "basic", &mut proposed(2, "1.0")).map_err(|error| error.to_string()),
        Err("requested sequence is 2, but new definition must be sequence 1".to_owned())
    );
    let stranger = commit(&mut state, &channel, &MspId::new("Org9MSP"), "basic", proposed(1, "1.0"));
    assert!(matches!(stranger, Err(CommitError::NotMember)));
    commit(&mut state, &channel, &org(1), "basic", proposed(1, "1.0")).expect("this organization approved");

    let found = committed_definition(&mut state, "basic").expect("it is committed");
    assert_eq!((found.sequence, found.parameters.endorsement_plugin.as_str()), (1, "escc"));
    assert_eq!(found.parameters.validation_plugin, "vscc");
    assert_eq!(Some(found.parameters.validation_parameter.clone()), default_endorsement_policy(&channel));
    assert_eq!(definition(&mut state, "basic").expect("it can be read"), Some(found.clone()));
    assert_eq!(definition(&mut state, "none").expect("it can be read"), None);
    assert!(matches!(committed_definition(&mut state, "none"), Err(QueryError::NotDefined(_))));
    assert_eq!(committed_definitions(&mut state).expect("they can be read").len(), 1);
    assert!(org_approvals(&mut state, &channel, "basic", &found).expect("it can be told").approvals[&org(1)]);
}

#[test]
fn approvals_can_be_read_back() {
    let (channel, mut state) = (channel(), MemoryLifecycleState::default());
    approve(&mut state, &channel, &org(1), "basic", proposed(1, "1.0"), &package()).expect("it is allowed");
    let mut approved = |sequence| approved_definition(&mut state, &org(1), "mychannel", "basic", sequence);
    let latest = approved(0).expect("the next sequence is approved");
    assert_eq!((latest.definition.sequence, &latest.source), (1, &package()));
    assert_eq!(
        approved(7).map_err(|error| error.to_string()),
        Err("could not fetch approved chaincode definition (name: 'basic', sequence: '7') on channel 'mychannel'"
            .to_owned())
    );
    approve(&mut state, &channel, &org(1), "other", proposed(1, "1.0"), &PackageSource::Unavailable)
        .expect("it is allowed");
    let all = approved_definitions(&mut state, &org(1)).expect("they can be read");
    let all: Vec<_> = all.into_iter().map(|((name, sequence), found)| (name, sequence, found.source)).collect();
    assert_eq!(all, [("basic".to_owned(), 1, package()), ("other".to_owned(), 1, PackageSource::Unavailable)]);
    assert!(approved_definitions(&mut state, &org(2)).expect("they can be read").is_empty());
}

#[test]
fn a_peer_announces_what_is_committed_approved_and_installed() {
    let (channel, mut state) = (channel(), MemoryLifecycleState::default());
    let announced = |state: &mut MemoryLifecycleState, number: u8, installed: &[&str]| {
        let found = announced(state, &org(number), installed).expect("memory can be read");
        found.into_iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>()
    };
    let itself = ["_lifecycle 1"];
    let agree = |state: &mut MemoryLifecycleState, number: u8, sequence: i64, source: &PackageSource| {
        approve(state, &channel, &org(number), "basic", proposed(sequence, "1.0"), source).expect("it follows");
    };
    agree(&mut state, 1, 1, &package());
    agree(&mut state, 2, 1, &PackageSource::Unavailable);
    assert_eq!(announced(&mut state, 1, &[PACKAGE]), itself);
    commit(&mut state, &channel, &org(1), "basic", proposed(1, "1.0")).expect("all approved");
    assert_eq!(announced(&mut state, 1, &["other:00", PACKAGE]), ["basic 1", "_lifecycle 1"]);
    assert_eq!(announced(&mut state, 1, &[]), itself);
    // Approved without a package, and not approved at all.
    assert_eq!(announced(&mut state, 2, &[PACKAGE]), itself);
    assert_eq!(announced(&mut state, 3, &[PACKAGE]), itself);
    // The version stays, the sequence is another one.
    agree(&mut state, 1, 2, &package());
    agree(&mut state, 2, 2, &package());
    commit(&mut state, &channel, &org(2), "basic", proposed(2, "1.0")).expect("all approved");
    assert_eq!(announced(&mut state, 1, &[PACKAGE]), ["basic 2", "_lifecycle 1"]);
    assert_eq!(announced(&mut state, 2, &[PACKAGE]), ["basic 2", "_lifecycle 1"]);
}

fn collection(name: &str, policy: common::SignaturePolicyEnvelope) -> StaticCollectionConfig {
    let payload = collection_policy_config::Payload::SignaturePolicy(policy);
    StaticCollectionConfig {
        name: name.to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig { payload: Some(payload) }),
        maximum_peer_count: 1,
        ..Default::default()
    }
}

fn collections(all: &[StaticCollectionConfig]) -> CollectionConfigPackage {
    let payload = |config: &StaticCollectionConfig| CollectionConfig {
        payload: Some(collection_config::Payload::StaticCollectionConfig(config.clone())),
    };
    CollectionConfigPackage { config: all.iter().map(payload).collect() }
}

#[test]
fn names_and_versions_are_checked() {
    let (channel, mut state) = (channel(), MemoryLifecycleState::default());
    let mut check = |name: &str, version: &str| {
        check_input(&mut state, &channel, name, version, None).map_err(|error| error.to_string())
    };
    for name in ["basic", "a", "A-b_c-1", "0"] {
        assert_eq!(check(name, "1.0+a_b-c"), Ok(()), "{name}");
    }
    for name in ["", "-a", "a-", "a--b", "a_-b", "a.b", "ä", "a b", "a/b"] {
        let error = check(name, "1.0").expect_err(name);
        assert!(error.starts_with(&format!("invalid chaincode name '{name}'. Names can only")), "{error}");
    }
    assert_eq!(check("qscc", "1.0").expect_err("taken"), "chaincode name 'qscc' is the name of a system chaincode");
    for version in ["", "1/0", "1 0"] {
        let error = check("basic", version).expect_err(version);
        assert!(error.starts_with(&format!("invalid chaincode version '{version}'. Versions can only")), "{error}");
    }
}

#[test]
fn collections_are_checked_against_the_channel_and_the_past() {
    let (channel, mut state) = (channel(), MemoryLifecycleState::default());
    let members = || signed_by_any(Role::Member, &[org(1), org(2)]);
    let policy = |text: &str| dsl::parse(text).expect("the test's policy parses");
    let mut check =
        |all: &[StaticCollectionConfig]| check_input(&mut state, &channel, "basic", "1.0", Some(&collections(all)));
    assert!(check(&[collection("a", members()), collection("-b_1", members())]).is_ok());
    for (bad, expected) in [
        (collection("_a", members()), "invalid collection name '_a'. Names can only consist"),
        (
            StaticCollectionConfig { required_peer_count: 2, ..collection("a", members()) },
            "collection-name: a -- maximum peer count (1) cannot be less than the required peer count (2)",
        ),
        (
            StaticCollectionConfig { required_peer_count: -1, ..collection("a", members()) },
            "collection-name: a -- requiredPeerCount (-1) cannot be less than zero",
        ),
        (
            StaticCollectionConfig { member_orgs_policy: None, ..collection("a", members()) },
            "collection member policy is not set for collection 'a'",
        ),
        (
            collection("a", policy("AND('Org1MSP.member', 'Org2MSP.member')")),
            "collection-name: a -- error in member org policy: signature policy is not an OR concatenation, NOutOf 2",
        ),
        (
            collection("a", policy("OR('Org1MSP.member', 'Org9MSP.member')")),
            "collection-name: a -- collection member 'Org9MSP' is not part of the channel",
        ),
    ] {
        let error = check(&[bad]).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let twice = check(&[collection("a", members()), collection("a", members())]).expect_err("twice the same name");
    assert_eq!(twice.to_string(), "collection-name: a -- found duplicate in collection configuration");
    let empty = CollectionConfigPackage { config: vec![CollectionConfig { payload: None }] };
    let empty = check_input(&mut state, &channel, "basic", "1.0", Some(&empty)).expect_err("an empty entry");
    assert!(matches!(empty, InputError::Collection(_)));

    let mut first = proposed(1, "1.0");
    first.parameters.collections = collections(&[collection("a", members())]);
    approve(&mut state, &channel, &org(1), "basic", first.clone(), &package()).expect("it is allowed");
    commit(&mut state, &channel, &org(1), "basic", first).expect("this organization approved");
    let mut check = |all: &[StaticCollectionConfig]| {
        check_input(&mut state, &channel, "basic", "2.0", Some(&collections(all))).map_err(|error| error.to_string())
    };
    assert_eq!(check(&[collection("b", members()), collection("a", members())]), Ok(()));
    assert_eq!(
        check(&[]),
        Err("the proposed collection config does not contain previously defined collections".to_owned())
    );
    assert_eq!(
        check(&[collection("b", members())]),
        Err("existing collection [a] missing in the proposed collection configuration".to_owned())
    );
    assert_eq!(
        check(&[StaticCollectionConfig { block_to_live: 5, ..collection("a", members()) }]),
        Err("the BlockToLive in an existing collection [a] modified. Existing value [0]".to_owned())
    );
}

#[test]
fn garbage_in_the_state_is_an_error_and_no_panic() {
    use ripstop_lifecycle::WriteState;
    let mut state = MemoryLifecycleState::default();
    let mut put = |key: &str, value: &[u8]| {
        state.put(&Scope::Public, key, Bytes::copy_from_slice(value)).expect("memory can be written");
    };
    put("namespaces/metadata/bytes", b"\xff\xff");
    put("namespaces/fields/number/Sequence", b"\xff\xff");
    put("namespaces/fields/text/Sequence", &[0x1a, 0x01, b'x']);
    put("namespaces/metadata/kind", &[0x0a, 0x01, b'x']);
    assert!(definition(&mut state, "bytes").is_err());
    assert!(ripstop_lifecycle::current_sequence(&mut state, "number").is_err());
    assert!(ripstop_lifecycle::current_sequence(&mut state, "text").is_err());
    assert!(matches!(definition(&mut state, "kind"), Err(QueryError::NotChaincode(kind)) if kind == "x"));
    assert!(committed_definitions(&mut state).is_err());
}
