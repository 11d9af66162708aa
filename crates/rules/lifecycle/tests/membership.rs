//! Who belongs to a collection.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use prost::Message;
use ripstop_lifecycle::{
    CollectionMembers, CollectionRights, CommittedCollections, Eligibility, PastEligibility, eligibility,
    implicit_collection, implicit_collection_config, keys, opened_collections,
};
use ripstop_policy::dsl;
use ripstop_proto::{common, lifecycle, protos};
use ripstop_rwset::{MemoryState, StateError, StateIter, StateValue, StateView};
use ripstop_testkit::{Organization, msp_set, signed_data};
use ripstop_types::{BlockNumber, Height, MspId, TxId};

use protos::{CollectionPolicyConfig, StaticCollectionConfig, collection_config, collection_policy_config};

fn org(number: u8) -> MspId {
    MspId::new(&format!("Org{number}MSP"))
}

fn of_members(policy: common::SignaturePolicyEnvelope) -> StaticCollectionConfig {
    let payload = Some(collection_policy_config::Payload::SignaturePolicy(policy));
    StaticCollectionConfig {
        name: "coll".to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig { payload }),
        ..Default::default()
    }
}

fn collection(policy: &str) -> StaticCollectionConfig {
    of_members(dsl::parse(policy).expect("the test's policy parses"))
}

fn package(collections: &[StaticCollectionConfig]) -> protos::CollectionConfigPackage {
    let payload = |config: &StaticCollectionConfig| protos::CollectionConfig {
        payload: Some(collection_config::Payload::StaticCollectionConfig(config.clone())),
    };
    protos::CollectionConfigPackage { config: collections.iter().map(payload).collect() }
}

/// A state in which the chaincode `cc` has these collections.
fn state(collections: &[StaticCollectionConfig]) -> MemoryState {
    use lifecycle::state_data::Type;
    let fields = [
        ("Sequence", Type::Int64(1)),
        ("EndorsementInfo", Type::Bytes(Bytes::new())),
        ("ValidationInfo", Type::Bytes(Bytes::new())),
        ("Collections", Type::Bytes(package(collections).encode_to_vec().into())),
    ];
    let names = fields.iter().map(|(name, _)| (*name).to_owned()).collect();
    let metadata = lifecycle::StateMetadata { datatype: "ChaincodeDefinition".into(), fields: names };
    let (mut state, version) = (MemoryState::new(), Height::new(BlockNumber::new(1), 0));
    state.put("_lifecycle", "namespaces/metadata/cc", metadata.encode_to_vec(), version);
    for (name, value) in fields {
        let value = lifecycle::StateData { r#type: Some(value) }.encode_to_vec();
        state.put("_lifecycle", &format!("namespaces/fields/cc/{name}"), value, version);
    }
    state
}

#[test]
fn the_organizations_of_all_principals_belong_however_they_are_combined() {
    let (org1, org2) = (Organization::new("Org1MSP"), Organization::new("Org2MSP"));
    let msps = msp_set([&org1, &org2]);
    let check = |config: &StaticCollectionConfig, expected: &[u8]| {
        let members = CollectionMembers::of(config, &msps).expect("the policy makes sense");
        let found: Vec<u8> = [1, 2, 3].into_iter().filter(|number| members.include(&org(*number), &msps)).collect();
        assert_eq!(found, expected, "{config:?}");
    };
    check(&collection("OR('Org1MSP.member', 'Org2MSP.peer')"), &[1, 2]);
    check(&collection("AND('Org1MSP.admin', 'Org3MSP.client')"), &[1, 3]);
    check(&implicit_collection_config(&org(2)), &[2]);

    let principal = |classification: i32, principal: Vec<u8>| common::MspPrincipal {
        principal_classification: classification,
        principal: principal.into(),
    };
    let policy = |principals: Vec<common::MspPrincipal>| {
        let mut policy = dsl::parse("OR('Org9MSP.member')").expect("the test's policy parses");
        policy.identities = principals;
        of_members(policy)
    };
    let unit = common::OrganizationUnit { msp_identifier: "Org2MSP".to_owned(), ..Default::default() };
    check(&policy(vec![principal(1, unit.encode_to_vec())]), &[2]);
    let peer = org1.peer("peer0").identity().raw.to_vec();
    check(&policy(vec![principal(2, peer)]), &[1]);
    check(&policy(vec![principal(2, b"nobody".to_vec()), principal(0, b"\xff".to_vec())]), &[]);

    // A policy that demands nothing lets everybody in, as Fabric does by evaluating it.
    let mut nothing = dsl::parse("OutOf(1, 'Org1MSP.member')").expect("the test's policy parses");
    nothing.rule =
        Some(common::SignaturePolicy { r#type: Some(common::signature_policy::Type::NOutOf(Default::default())) });
    check(&of_members(nothing), &[1, 2, 3]);
}

#[test]
fn a_collection_without_a_policy_has_no_members_and_says_why() {
    let msps = msp_set([]);
    let refused = |config| CollectionMembers::of(&config, &msps).expect_err("no members").to_string();
    assert_eq!(refused(StaticCollectionConfig::default()), "Collection config policy is nil");
    let empty = StaticCollectionConfig { member_orgs_policy: Some(Default::default()), ..Default::default() };
    assert_eq!(refused(empty), "Collection config access policy is nil");
    let no_rule = of_members(Default::default());
    assert_eq!(
        refused(no_rule),
        "failed constructing policy object out of collection policy config: Empty policy element"
    );
}

#[test]
fn only_members_use_what_is_for_members_only() {
    let (org1, org2) = (Organization::new("Org1MSP"), Organization::new("Org2MSP"));
    let msps = msp_set([&org1, &org2]);
    let (member, stranger) = (signed_data(&org1.client("a"), b"x"), signed_data(&org2.client("b"), b"x"));
    let mut forged = member.clone();
    forged.message = Bytes::from_static(b"y");
    for (member_only_read, member_only_write) in [(false, false), (false, true), (true, false), (true, true)] {
        let open = collection("OR('Org1MSP.member')");
        let config = StaticCollectionConfig { member_only_read, member_only_write, ..open };
        let rights = |signed| CollectionRights::of(&config, signed, &msps).expect("the policy makes sense");
        assert_eq!(rights(&member), CollectionRights { read: true, write: true });
        let others = CollectionRights { read: !member_only_read, write: !member_only_write };
        assert_eq!(rights(&stranger), others);
        assert_eq!(rights(&forged), others);
    }
}

#[test]
fn an_organization_keeps_what_the_configuration_gives_it() {
    let msps = msp_set([]);
    let before = state(&[collection("OR('Org1MSP.member')")]);
    let mut collections = CommittedCollections::of(&before);
    let mut check = |chaincode: &str, collection: &str| {
        [1, 2].map(|number| {
            eligibility(&mut collections, &msps, &org(number), chaincode, collection).expect("memory can be read")
        })
    };
    use Eligibility::{Eligible, Ineligible};
    assert_eq!(check("cc", "coll"), [Some(Eligible), Some(Ineligible)]);
    assert_eq!(check("cc", &implicit_collection(&org(2))), [Some(Ineligible), Some(Eligible)]);
    assert_eq!(check("_lifecycle", &implicit_collection(&org(1))), [Some(Eligible), Some(Ineligible)]);
    assert_eq!(check("cc", "none"), [None, None]);
    assert_eq!(check("none", &implicit_collection(&org(1))), [None, None]);
}

/// Counts the keys that are read.
struct Counted(MemoryState, AtomicUsize);

impl StateView for Counted {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(namespace, key)
    }

    fn range(&self, namespace: &str, start: &str, end: &str) -> Result<StateIter<'_>, StateError> {
        self.0.range(namespace, start, end)
    }

    fn hashed(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Result<Option<StateValue>, StateError> {
        self.0.hashed(namespace, collection, key_hash)
    }

    fn private(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        self.0.private(namespace, collection, key)
    }

    fn private_range(&self, ns: &str, collection: &str, start: &str, end: &str) -> Result<StateIter<'_>, StateError> {
        self.0.private_range(ns, collection, start, end)
    }

    fn has_transaction(&self, tx_id: &TxId) -> Result<bool, StateError> {
        self.0.has_transaction(tx_id)
    }
}

#[test]
fn a_definition_is_read_once_for_all_of_its_collections() {
    let before = Counted(state(&[collection("OR('Org1MSP.member')")]), AtomicUsize::new(0));
    let mut collections = CommittedCollections::of(&before);
    assert!(collections.find("cc", "coll").expect("memory can be read").is_some());
    assert!(collections.find("none", "coll").expect("memory can be read").is_none());
    let once = before.1.load(Ordering::Relaxed);
    for number in 0..1000 {
        assert!(collections.find("cc", &format!("forged{number}")).expect("memory can be read").is_none());
        assert!(collections.find("none", &format!("forged{number}")).expect("memory can be read").is_none());
    }
    assert_eq!(before.1.load(Ordering::Relaxed), once);
}

#[test]
fn a_new_definition_may_open_collections() {
    let msps = msp_set([]);
    let named = |name: &str, policy: &str| StaticCollectionConfig { name: name.to_owned(), ..collection(policy) };
    let before = state(&[
        named("opened", "OR('Org1MSP.member')"),
        named("open", "OR('Org2MSP.member')"),
        named("closed", "OR('Org2MSP.member')"),
    ]);
    let after = state(&[
        named("opened", "OR('Org1MSP.member', 'Org2MSP.member')"),
        named("open", "OR('Org1MSP.member', 'Org2MSP.member')"),
        named("closed", "OR('Org1MSP.member')"),
        named("new", "OR('Org2MSP.member')"),
    ]);
    let opened = |number: u8, before: &MemoryState| {
        opened_collections(before, &after, &msps, &org(number), "cc").expect("memory can be read")
    };
    assert_eq!(opened(2, &before), ["opened"]);
    assert_eq!(opened(1, &before), ["open", "closed"]);
    assert_eq!(opened(2, &MemoryState::new()), [""; 0]);
}

#[test]
fn an_organization_keeps_of_the_past_what_a_definition_since_gives_it() {
    use Eligibility::{Eligible, Ineligible};
    let msps = msp_set([]);
    let only = |policy: &str| package(&[collection(policy)]);
    let definitions = [
        (8, only("OR('Org2MSP.member')")),
        (6, package(&[])),
        (4, only("OR('Org1MSP.member')")),
        (2, only("OR('Org3MSP.member')")),
    ]
    .map(|(block, package)| (BlockNumber::new(block), package));
    let check = |number: u8, collection: &str, expected: [Option<Eligibility>; 5]| {
        let past = PastEligibility::of(&definitions, &msps, &org(number), collection);
        assert_eq!([2, 3, 5, 7, 9].map(|block| past.of_block(BlockNumber::new(block))), expected, "Org{number}MSP");
    };
    // The definition without the collection changes nothing; what was opened later counts for all that was before.
    check(1, "coll", [None, Some(Eligible), Some(Eligible), Some(Eligible), Some(Ineligible)]);
    check(2, "coll", [None, Some(Eligible), Some(Eligible), Some(Eligible), Some(Eligible)]);
    check(3, "coll", [None, Some(Eligible), Some(Ineligible), Some(Ineligible), Some(Ineligible)]);
    check(1, "none", [None; 5]);
    check(1, &implicit_collection(&org(1)), [Some(Eligible); 5]);
    check(1, &implicit_collection(&org(2)), [Some(Ineligible); 5]);
}

#[test]
fn a_definition_changes_with_its_sequence() {
    assert_eq!(keys::defined_chaincode("namespaces/fields/cc/Sequence"), Some("cc"));
    for other in ["namespaces/metadata/cc", "namespaces/fields/cc/Collections", "namespaces/fields//Sequence", "a/b"] {
        assert_eq!(keys::defined_chaincode(other), None, "{other}");
    }
}
