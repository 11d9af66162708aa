//! The table of verdicts, one spoilt transaction a line.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use proptest::prelude::*;
use ripstop_channel_config::ChannelConfig;
use ripstop_crypto::SigningIdentity;
use ripstop_proto::{Message, common, lifecycle, protos};
use ripstop_rwset::{
    CollectionHashedRwSet, HashedWrite, KvRead, KvWrite, MemoryState, MetadataEntry, MetadataWrite, NsRwSet,
    RangeQuery, RangeReads, TxRwSet, encode_metadata,
};
use ripstop_testkit::{Channel, DraftTransaction, Organization, signed_block};
use ripstop_types::{Block, BlockNumber, ChannelId, HeaderType, Height, SerializedIdentity, TxId};
use ripstop_validation::{Undecided, ValidatedBlock, VerifiedBlock};

const CHANNEL: &str = "mychannel";

/// A channel of two organizations with chaincode `basic`, endorsed by a majority.
struct Scene {
    orderer: SigningIdentity,
    client: SigningIdentity,
    expired: SigningIdentity,
    stranger: SigningIdentity,
    peers: Vec<SigningIdentity>,
    config: ChannelConfig,
    state: MemoryState,
}

fn height(block: u64, tx: u64) -> Height {
    Height::new(BlockNumber::new(block), tx)
}

impl Scene {
    fn new() -> Self {
        Self::with_capability("V2_5")
    }

    /// The channel's applications have this capability.
    fn with_capability(application_capability: &'static str) -> Self {
        let orderer_org = Organization::new("OrdererMSP");
        let orgs = [Organization::new("Org1MSP"), Organization::new("Org2MSP")];
        let config = Channel { application_capability, ..Channel::new(&orderer_org, &orgs) }.config();
        let mut scene = Self {
            orderer: orderer_org.orderer("orderer"),
            client: orgs[0].client("client"),
            expired: orgs[0].expired_client("late"),
            stranger: Organization::new("Org1MSP").client("stranger"),
            peers: orgs.iter().map(|org| org.peer("peer0")).collect(),
            config: ChannelConfig::new(ChannelId::new(CHANNEL).unwrap(), config).unwrap(),
            state: MemoryState::new(),
        };
        scene.define("basic", "vscc", &reference("/Channel/Application/Endorsement"));
        scene.define("strange", "plugin", &reference("/Channel/Application/Endorsement"));
        scene.define("nopolicy", "vscc", &[]);
        scene.define("lost", "vscc", &reference("/Channel/Application/Nowhere"));
        scene.state.put("_lifecycle", "namespaces/metadata/garbage", Bytes::from_static(b"\xff"), height(1, 0));
        scene.state.put("basic", "key", Bytes::from_static(b"value"), height(1, 0));
        scene
    }

    fn define(&mut self, name: &str, plugin: &str, policy: &[u8]) {
        use lifecycle::state_data::Type;
        let validation = lifecycle::ChaincodeValidationInfo {
            validation_plugin: plugin.to_owned(),
            validation_parameter: policy.to_vec().into(),
        };
        let fields = [
            ("Sequence", Type::Int64(1)),
            ("EndorsementInfo", Type::Bytes(Bytes::new())),
            ("ValidationInfo", Type::Bytes(validation.encode_to_vec().into())),
            ("Collections", Type::Bytes(Bytes::new())),
        ];
        let metadata = lifecycle::StateMetadata {
            datatype: "ChaincodeDefinition".to_owned(),
            fields: fields.iter().map(|(field, _)| (*field).to_owned()).collect(),
        };
        let key = format!("namespaces/metadata/{name}");
        self.state.put("_lifecycle", &key, metadata.encode_to_vec(), height(1, 0));
        for (field, value) in fields {
            let value = lifecycle::StateData { r#type: Some(value) };
            let key = format!("namespaces/fields/{name}/{field}");
            self.state.put("_lifecycle", &key, value.encode_to_vec(), height(1, 0));
        }
    }

    fn draft(&self) -> DraftTransaction<'_> {
        DraftTransaction::new(CHANNEL, &self.client, &self.peers)
    }

    fn validate(&self, transactions: Vec<Bytes>) -> Result<ValidatedBlock, Undecided> {
        let number = BlockNumber::new(5);
        let block = signed_block(&self.orderer, number, Bytes::from_static(b"before"), transactions);
        let verified = VerifiedBlock::verify(block, &self.config, number, b"before").unwrap();
        verified.prepare_with(&self.config, |count, one| (0..count).rev().for_each(one));
        Ok(verified.check(&self.config, &self.state)?.validate(&self.state, b"hash").unwrap())
    }

    /// The codes of a block of these transactions, and the reasons.
    fn verdicts(&self, transactions: Vec<Bytes>) -> String {
        let validated = self.validate(transactions).unwrap();
        let codes: Vec<&str> = validated.codes().as_slice().iter().map(|code| code.name()).collect();
        let reasons: Vec<String> = validated.refusals().map(|(_, _, refusal)| refusal.to_string()).collect();
        format!("{} | {}", codes.join(" "), reasons.join(" | "))
    }
}

fn reference(path: &str) -> Vec<u8> {
    use protos::application_policy::Type;
    protos::ApplicationPolicy { r#type: Some(Type::ChannelConfigPolicyReference(path.to_owned())) }.encode_to_vec()
}

fn write(key: &str, value: &'static str) -> KvWrite {
    KvWrite { key: key.to_owned(), is_delete: value.is_empty(), value: value.into() }
}

fn writes(namespace: &str, writes: Vec<KvWrite>) -> NsRwSet {
    NsRwSet { namespace: namespace.to_owned(), writes, ..NsRwSet::default() }
}

fn set(namespaces: Vec<NsRwSet>) -> Bytes {
    TxRwSet { namespaces }.encode()
}

fn chaincode(name: &str, version: &str) -> Option<protos::ChaincodeId> {
    Some(protos::ChaincodeId { name: name.to_owned(), version: version.to_owned(), path: String::new() })
}

fn event(chaincode: &str) -> Bytes {
    protos::ChaincodeEvent { chaincode_id: chaincode.to_owned(), ..Default::default() }.encode_to_vec().into()
}

type Spoil = fn(&mut DraftTransaction<'_>);

const GARBAGE: Bytes = Bytes::from_static(b"\xff\xff\xff");

/// What is done to a valid transaction, and how the verdict and its reason begin.
const TABLE: &[(&str, Spoil, &str)] = &[
    ("nothing", |_| {}, "VALID |"),
    ("writes", |t| t.results = set(vec![writes("basic", vec![write("key", "new")])]), "VALID |"),
    ("a message", |t| t.kind = HeaderType::Message, "BAD_COMMON_HEADER | invalid header type"),
    ("an unknown type", |t| t.kind = HeaderType::Unknown(99), "BAD_COMMON_HEADER | invalid header type"),
    ("an epoch", |t| t.epoch = 1, "BAD_COMMON_HEADER | invalid Epoch"),
    ("no nonce", |t| t.nonce = Bytes::new(), "BAD_COMMON_HEADER | invalid nonce"),
    ("no creator", |t| t.creator_in_header = Some(Bytes::new()), "BAD_COMMON_HEADER | invalid creator"),
    (
        "another channel",
        |t| t.channel = "other".into(),
        "BAD_CREATOR_SIGNATURE | the transaction names channel 'other'",
    ),
    ("no channel", |t| t.channel = String::new(), "BAD_CREATOR_SIGNATURE | the transaction names channel ''"),
    ("a garbage creator", |t| t.creator_in_header = Some(GARBAGE), "BAD_CREATOR_SIGNATURE | the creator's"),
    ("a wrong signature", |t| t.signature = Some(GARBAGE), "BAD_CREATOR_SIGNATURE | the creator's"),
    ("a wrong id", |t| t.tx_id = Some("id".into()), "BAD_PROPOSAL_TXID | invalid txid. got [id], expected ["),
    ("garbage data", |t| t.data = Some(GARBAGE), "INVALID_ENDORSER_TRANSACTION | the payload's data"),
    ("no data", |t| t.data = Some(Bytes::new()), "INVALID_ENDORSER_TRANSACTION | a transaction has exactly one action"),
    ("no action", |t| t.actions = 0, "INVALID_ENDORSER_TRANSACTION | a transaction has exactly one action"),
    ("two actions", |t| t.actions = 2, "INVALID_ENDORSER_TRANSACTION | a transaction has exactly one action"),
    (
        "an empty action",
        |t| t.action_payload = Some(Bytes::new()),
        "INVALID_ENDORSER_TRANSACTION | the action's payload",
    ),
    ("a garbage action", |t| t.action_payload = Some(GARBAGE), "INVALID_ENDORSER_TRANSACTION | the action's payload"),
    (
        "no proposal",
        |t| t.proposal_payload = Bytes::new(),
        "INVALID_ENDORSER_TRANSACTION | the action holds no proposal",
    ),
    (
        "another proposal",
        |t| t.proposal_hash = Some(GARBAGE),
        "INVALID_ENDORSER_TRANSACTION | proposal hash does not match",
    ),
    ("a garbage response", |t| t.response_payload = Some(GARBAGE), "INVALID_ENDORSER_TRANSACTION | the endorsed"),
    ("a config update", |t| t.kind = HeaderType::ConfigUpdate, "UNSUPPORTED_TX_PAYLOAD | no peer executes"),
    (
        "a configuration without data",
        |t| (t.kind, t.data) = (HeaderType::Config, Some(Bytes::new())),
        "INVALID_CONFIG_TRANSACTION | the configuration transaction has no data",
    ),
    ("a garbage extension", |t| t.header_extension = Some(GARBAGE), "BAD_HEADER_EXTENSION | the header extension"),
    ("no endorsed action", |t| t.action = Some(Bytes::new()), "BAD_RESPONSE_PAYLOAD | response payload is missing"),
    ("a garbage endorsed action", |t| t.action = Some(GARBAGE), "BAD_RESPONSE_PAYLOAD | the endorsed action"),
    ("garbage results", |t| t.results = GARBAGE, "BAD_RWSET | txRWSet.FromProtoBytes failed"),
    ("no chaincode", |t| t.chaincode = None, "INVALID_OTHER_REASON | nil ChaincodeId in header extension"),
    ("an empty chaincode", |t| t.chaincode = chaincode("", "1"), "INVALID_CHAINCODE | invalid chaincode ID"),
    ("no version", |t| t.chaincode = chaincode("basic", ""), "INVALID_CHAINCODE | invalid chaincode version"),
    (
        "two chaincodes",
        |t| {
            let extension = protos::ChaincodeHeaderExtension { chaincode_id: chaincode("other", "1") };
            t.header_extension = Some(extension.encode_to_vec().into());
        },
        "INVALID_CHAINCODE | inconsistent ccid info (other/basic)",
    ),
    ("its own event", |t| t.events = event("basic"), "VALID |"),
    ("another's event", |t| t.events = event("other"), "INVALID_OTHER_REASON | chaincode event"),
    ("a garbage event", |t| t.events = GARBAGE, "INVALID_OTHER_REASON | invalid chaincode event"),
    (
        "a namespace twice",
        |t| t.results = set(vec![writes("basic", vec![]), writes("basic", vec![])]),
        "ILLEGAL_WRITESET | duplicate namespace 'basic'",
    ),
    ("an unknown chaincode", |t| t.chaincode = chaincode("nobody", "1"), "INVALID_CHAINCODE | chaincode nobody: "),
    ("a definition of garbage", |t| t.chaincode = chaincode("garbage", "1"), "INVALID_CHAINCODE | chaincode garbage: "),
    ("a definition without policy", |t| t.chaincode = chaincode("nopolicy", "1"), "INVALID_CHAINCODE | chaincode nopo"),
    (
        "a policy that is not there",
        |t| t.chaincode = chaincode("lost", "1"),
        "ENDORSEMENT_POLICY_FAILURE | validation of endorsement policy for chaincode lost failed: could not create",
    ),
    (
        "a write to the configuration",
        |t| t.results = set(vec![writes("", vec![write("CHANNEL_CONFIG_ENV_BYTES", "x")])]),
        "INVALID_CHAINCODE | chaincode : chaincode  not found",
    ),
    (
        "reads of an unknown chaincode",
        |t| {
            let reads = vec![KvRead { key: "key".into(), version: None }];
            t.results = set(vec![NsRwSet { namespace: "nobody".into(), reads, ..NsRwSet::default() }]);
        },
        "VALID |",
    ),
    (
        "one endorser",
        |t| t.endorsers.truncate(1),
        "ENDORSEMENT_POLICY_FAILURE | validation of endorsement policy for chaincode basic failed: implicit policy evaluation \
         failed - 1 sub-policies were satisfied, but this policy requires 2 of the 'Endorsement' sub-policies to be satisfied: \
         /Channel/Application/Endorsement needs MAJORITY Endorsement; /Channel/Application/Org1MSP/Endorsement is satisfied; \
         /Channel/Application/Org2MSP/Endorsement needs OutOf(1, Org2MSP.PEER); signed by 'CN=",
    ),
    ("no endorser", |t| t.endorsers.clear(), "ENDORSEMENT_POLICY_FAILURE | validation of endorsement policy"),
    ("one endorser twice", |t| t.endorsers[1] = t.endorsers[0], "ENDORSEMENT_POLICY_FAILURE | validation of endo"),
    (
        "an old read",
        |t| t.results = set(vec![old_read()]),
        "MVCC_READ_CONFLICT | key key (ns 'basic') was read at version 0:0, but its committed version is 1:0",
    ),
    (
        "private writes to a collection that nobody defined",
        |t| {
            let write = HashedWrite { key_hash: "k".into(), is_delete: false, value_hash: "v".into(), is_purge: false };
            let (collection, writes) = ("nowhere".to_owned(), vec![write]);
            let collections = vec![CollectionHashedRwSet { collection, writes, ..CollectionHashedRwSet::default() }];
            t.results = set(vec![NsRwSet { namespace: "basic".into(), collections, ..NsRwSet::default() }]);
        },
        "ENDORSEMENT_POLICY_FAILURE | validation of endorsement policy for collection nowhere chaincode basic failed",
    ),
    (
        "a range that has grown",
        |t| {
            let range =
                RangeQuery { start_key: "a".into(), end_key: "z".into(), exhausted: true, reads: RangeReads::None };
            let range_queries = vec![range];
            t.results = set(vec![NsRwSet { namespace: "basic".into(), range_queries, ..NsRwSet::default() }]);
        },
        "PHANTOM_READ_CONFLICT | ",
    ),
];

#[test]
fn each_flaw_has_its_verdict_and_reason() {
    let scene = Scene::new();
    for (name, spoil, expected) in TABLE {
        let mut draft = scene.draft();
        spoil(&mut draft);
        let verdict = scene.verdicts(vec![draft.bytes()]);
        assert!(verdict.starts_with(expected), "{name}: expected {expected}, got {verdict}");
    }
}

#[test]
fn nothing_endorsed_is_valid_before_the_application_capability_is_v2_0() {
    let scene = Scene::with_capability("V1_3");
    let verdict = scene.verdicts(vec![scene.draft().bytes()]);
    assert!(
        verdict.starts_with("INVALID_OTHER_REASON | the channel's application capability is below V2_0"),
        "{verdict}"
    );
    let scene = Scene::with_capability("V2_0");
    assert_eq!(scene.verdicts(vec![scene.draft().bytes()]), "VALID | ");
}

/// One flaw of each step, in the order of the steps, with its code and the part of the transaction that it spoils.
const STEPS: &[(&str, Spoil, &str)] = &[
    ("header", |t| t.epoch = 1, "BAD_COMMON_HEADER"),
    ("signature", |t| t.signature = Some(GARBAGE), "BAD_CREATOR_SIGNATURE"),
    ("id", |t| t.tx_id = Some("id".into()), "BAD_PROPOSAL_TXID"),
    ("proposal hash", |t| t.proposal_hash = Some(GARBAGE), "INVALID_ENDORSER_TRANSACTION"),
    ("nonce", |t| t.nonce = SEEN, "DUPLICATE_TXID"),
    ("extension", |t| t.header_extension = Some(GARBAGE), "BAD_HEADER_EXTENSION"),
    ("results", |t| t.results = GARBAGE, "BAD_RWSET"),
    ("chaincode", |t| t.chaincode = chaincode("basic", ""), "INVALID_CHAINCODE"),
    ("events", |t| t.events = event("other"), "INVALID_OTHER_REASON"),
    ("results", |t| t.results = set(vec![writes("basic", vec![]), writes("basic", vec![])]), "ILLEGAL_WRITESET"),
    ("results", |t| t.results = set(vec![old_read(), writes("nobody", vec![write("key", "x")])]), "INVALID_CHAINCODE"),
    ("endorsers", |t| t.endorsers.clear(), "ENDORSEMENT_POLICY_FAILURE"),
    ("results", |t| t.results = set(vec![old_read()]), "MVCC_READ_CONFLICT"),
];

/// The nonce of a transaction that stands in the ledger.
const SEEN: Bytes = Bytes::from_static(b"seen");

fn old_read() -> NsRwSet {
    let reads = vec![KvRead { key: "key".into(), version: Some(height(0, 0)) }];
    NsRwSet { namespace: "basic".into(), reads, ..NsRwSet::default() }
}

#[test]
fn of_two_flaws_the_earlier_step_counts() {
    let mut scene = Scene::new();
    scene.state.add_transaction(TxId::compute(&SEEN, &scene.client.identity().raw));
    // Policies are asked for the invoked chaincode first, then for the other written ones.
    let unordered = ["INVALID_CHAINCODE", "ENDORSEMENT_POLICY_FAILURE"];
    for (index, (first, spoil_first, code)) in STEPS.iter().enumerate() {
        for (second, spoil_second, later) in &STEPS[index + 1..] {
            if first == second || (unordered.contains(code) && unordered.contains(later)) {
                continue;
            }
            let mut draft = scene.draft();
            spoil_second(&mut draft);
            spoil_first(&mut draft);
            let verdict = scene.verdicts(vec![draft.bytes()]);
            assert!(verdict.starts_with(&format!("{code} ")), "{code} before {later}: {verdict}");
        }
    }
}

/// Envelopes that no draft makes.
#[test]
fn envelopes_that_do_not_parse_have_their_verdicts() {
    let scene = Scene::new();
    let envelope = |payload: Vec<u8>| {
        let envelope = common::Envelope { payload: payload.into(), signature: Bytes::from_static(b"signature") };
        Bytes::from(envelope.encode_to_vec())
    };
    let headed =
        |header: common::Header| envelope(common::Payload { header: Some(header), data: GARBAGE }.encode_to_vec());
    let no_header = common::Payload { header: None, data: GARBAGE }.encode_to_vec();
    let whole = common::ChannelHeader { r#type: 3, channel_id: CHANNEL.into(), ..Default::default() }.encode_to_vec();
    let table = [
        (envelope(GARBAGE.to_vec()), "BAD_PAYLOAD | "),
        (envelope(no_header), "BAD_COMMON_HEADER | "),
        (headed(common::Header { channel_header: GARBAGE, signature_header: Bytes::new() }), "BAD_COMMON_HEADER | "),
        (headed(common::Header { channel_header: whole.into(), signature_header: GARBAGE }), "BAD_COMMON_HEADER | "),
    ];
    for (raw, expected) in table {
        let verdict = scene.verdicts(vec![raw]);
        assert!(verdict.starts_with(expected), "{expected}: {verdict}");
    }
}

/// The bytes of an action of chaincode `basic`, followed by more.
fn action_followed_by(more: &'static [u8]) -> Option<Bytes> {
    let action = protos::ChaincodeAction { chaincode_id: chaincode("basic", "1.0"), ..Default::default() };
    Some([action.encode_to_vec().as_slice(), more].concat().into())
}

#[test]
fn bytes_are_read_as_go_reads_them() {
    let scene = Scene::new();
    let rows: [(&str, Spoil, &'static [u8]); 7] = [
        ("an unknown field of the envelope", |_| {}, &[0x1a, 0x00]),
        ("the envelope's payload as a number", |_| {}, &[0x08, 0x01]),
        (
            "the chaincode of the extension as a number",
            |t| {
                let extension = protos::ChaincodeHeaderExtension { chaincode_id: t.chaincode.clone() };
                t.header_extension = Some([extension.encode_to_vec().as_slice(), &[0x10, 0x01]].concat().into());
            },
            &[],
        ),
        ("results that follow as a number", |t| t.action = action_followed_by(&[0x08, 0x01]), &[]),
        ("an event of no bytes", |t| t.action = action_followed_by(&[0x12, 0x00]), &[]),
        (
            "a set whose model is no number",
            |t| t.results = [set(vec![writes("basic", vec![])]).as_ref(), &[0x0d, 1, 2, 3, 4]].concat().into(),
            &[],
        ),
        ("a set with an unknown group", |t| t.results = Bytes::from_static(&[0xa3, 0x06, 0xa4, 0x06]), &[]),
    ];
    for (name, spoil, behind_envelope) in rows {
        let mut draft = scene.draft();
        spoil(&mut draft);
        let raw = Bytes::from([draft.bytes().as_ref(), behind_envelope].concat());
        assert_eq!(scene.verdicts(vec![raw]), "VALID | ", "{name}");
    }
}

#[test]
fn an_expired_creator_is_valid_and_a_stranger_is_not() {
    let scene = Scene::new();
    let by = |creator| DraftTransaction { creator, ..scene.draft() }.bytes();
    assert_eq!(scene.verdicts(vec![by(&scene.expired)]), "VALID | ");
    assert!(scene.verdicts(vec![by(&scene.stranger)]).starts_with("BAD_CREATOR_SIGNATURE"));
}

#[test]
fn an_id_counts_once_for_the_first_valid_transaction() {
    let mut scene = Scene::new();
    let valid = scene.draft().bytes();
    let unendorsed = DraftTransaction { endorsers: vec![], ..scene.draft() }.bytes();
    let conflict = |draft: DraftTransaction<'_>| {
        let reads = vec![KvRead { key: "key".into(), version: None }];
        let results = set(vec![NsRwSet { namespace: "basic".into(), reads, ..NsRwSet::default() }]);
        DraftTransaction { results, ..draft }.bytes()
    };
    let in_conflict = conflict(scene.draft());
    let codes = |scene: &Scene, block: Vec<&Bytes>| {
        let verdict = scene.verdicts(block.into_iter().cloned().collect());
        verdict.split(" | ").next().unwrap_or_default().to_owned()
    };
    assert_eq!(codes(&scene, vec![&valid, &valid]), "VALID DUPLICATE_TXID");
    assert_eq!(codes(&scene, vec![&unendorsed, &valid]), "ENDORSEMENT_POLICY_FAILURE VALID");
    assert_eq!(codes(&scene, vec![&in_conflict, &valid]), "MVCC_READ_CONFLICT DUPLICATE_TXID");
    let id = TxId::compute(&scene.draft().nonce, &scene.client.identity().raw);
    scene.state.add_transaction(id);
    assert_eq!(codes(&scene, vec![&valid]), "DUPLICATE_TXID");
    assert_eq!(codes(&scene, vec![&unendorsed]), "DUPLICATE_TXID");
}

fn policy_of(peers: &[&SigningIdentity]) -> Bytes {
    use common::signature_policy::{NOutOf, Type};
    let principal = |peer: &&SigningIdentity| {
        let identity = SerializedIdentity::parse(peer.identity().raw.clone()).unwrap();
        let role = common::MspRole { msp_identifier: identity.msp_id.to_string(), role: 0 };
        common::MspPrincipal { principal_classification: 0, principal: role.encode_to_vec().into() }
    };
    let rules = (0..peers.len()).map(|index| common::SignaturePolicy { r#type: Some(Type::SignedBy(index as i32)) });
    let rule = NOutOf { n: peers.len() as i32, rules: rules.collect() };
    let policy = common::SignaturePolicyEnvelope {
        version: 0,
        rule: Some(common::SignaturePolicy { r#type: Some(Type::NOutOf(rule)) }),
        identities: peers.iter().map(principal).collect(),
    };
    policy.encode_to_vec().into()
}

#[test]
fn a_keys_own_policy_replaces_the_chaincodes() {
    let mut scene = Scene::new();
    let own = vec![MetadataEntry { name: "VALIDATION_PARAMETER".into(), value: policy_of(&[&scene.peers[0]]) }];
    scene.state.put_metadata("basic", "key", encode_metadata(&own));
    let nonce = |nonce: &'static str| Bytes::from_static(nonce.as_bytes());
    let one = |peer: usize, keys: &[&str], id: &'static str| {
        let results = set(vec![writes("basic", keys.iter().map(|key| write(key, "new")).collect())]);
        let endorsers = vec![&scene.peers[peer]];
        DraftTransaction { results, endorsers, nonce: nonce(id), ..scene.draft() }.bytes()
    };
    assert_eq!(scene.verdicts(vec![one(0, &["key"], "1")]), "VALID | ");
    let verdict = scene.verdicts(vec![one(1, &["key"], "1")]);
    assert!(
        verdict.starts_with("ENDORSEMENT_POLICY_FAILURE | validation of key key (ns 'basic') failed: "),
        "{verdict}"
    );
    let verdict = scene.verdicts(vec![one(0, &["key", "other"], "1")]);
    assert!(verdict.starts_with("ENDORSEMENT_POLICY_FAILURE | validation of endorsement policy for chaincode basic"));

    // Whoever changes the policy of a key bars the later writers of the block, unless it is refused itself.
    let change = |endorsers: Vec<&'static str>, id: &'static str| {
        let metadata_writes = vec![MetadataWrite { key: "key".into(), entries: own.clone() }];
        let results = set(vec![NsRwSet { namespace: "basic".into(), metadata_writes, ..NsRwSet::default() }]);
        let endorsers = endorsers.iter().map(|peer| &scene.peers[usize::from(*peer == "second")]).collect();
        DraftTransaction { results, endorsers, nonce: nonce(id), ..scene.draft() }.bytes()
    };
    let verdict = scene.verdicts(vec![change(vec!["first"], "1"), one(0, &["key"], "2")]);
    assert_eq!(
        verdict,
        "VALID ENDORSEMENT_POLICY_FAILURE | validation parameters for key key (ns 'basic') have been changed by transaction 0 of this block"
    );
    let verdict = scene.verdicts(vec![change(vec!["second"], "1"), one(0, &["key"], "2")]);
    assert!(verdict.starts_with("ENDORSEMENT_POLICY_FAILURE VALID | "), "{verdict}");
    // A repeated id makes the change void, but it bars the writer all the same, as in Fabric.
    let both = DraftTransaction { nonce: nonce("1"), ..scene.draft() }.bytes();
    let verdict = scene.verdicts(vec![both, change(vec!["first"], "1"), one(0, &["key"], "2")]);
    assert!(verdict.starts_with("VALID DUPLICATE_TXID ENDORSEMENT_POLICY_FAILURE | "), "{verdict}");
}

#[test]
fn what_cannot_be_decided_is_an_error() {
    let scene = Scene::new();
    let plugin = DraftTransaction { chaincode: chaincode("strange", "1"), ..scene.draft() }.bytes();
    let error = scene.validate(vec![plugin]).unwrap_err().to_string();
    assert!(error.contains("chaincode strange is to be validated by plugin 'plugin'"), "{error}");
    let config =
        |data: &Bytes| DraftTransaction { kind: HeaderType::Config, data: Some(data.clone()), ..scene.draft() }.bytes();
    let error = scene.validate(vec![config(&GARBAGE), scene.draft().bytes()]).unwrap_err().to_string();
    assert!(error.contains("a configuration transaction among others"), "{error}");
    let error = scene.validate(vec![config(&GARBAGE)]).unwrap_err().to_string();
    assert!(error.contains("error unmarshalling config of block [5]"), "{error}");
    let envelope = common::ConfigEnvelope { config: Some(common::Config::default()), last_update: None };
    let error = scene.validate(vec![config(&envelope.encode_to_vec().into())]).unwrap_err().to_string();
    assert!(error.contains("error validating config of block [5]"), "{error}");
}

#[test]
fn a_replayed_block_changes_what_the_validated_one_changed() {
    let scene = Scene::new();
    let results = set(vec![writes("basic", vec![write("key", ""), write("other", "new")])]);
    let valid = DraftTransaction { results, ..scene.draft() }.bytes();
    let invalid = DraftTransaction { endorsers: vec![], nonce: "2".into(), ..scene.draft() }.bytes();
    let validated = scene.validate(vec![valid, invalid]).unwrap();
    let stored: Block = validated.block().clone();
    let replayed = ValidatedBlock::replay(stored, &scene.state).unwrap();
    assert_eq!(replayed.updates(), validated.updates());
    assert_eq!(replayed.codes(), validated.codes());
    assert_eq!(replayed.commit_hash(), validated.commit_hash());
    assert_eq!(replayed.block(), validated.block());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_validation_panic(part in 0usize..6, raw: Vec<u8>, at: proptest::sample::Index, flip: u8) {
        thread_local! { static SCENE: Scene = Scene::new(); }
        SCENE.with(|scene| {
            let mut draft = scene.draft();
            draft.results = set(vec![writes("basic", vec![write("key", "new")])]);
            // Raw bytes in one place, or one byte of a valid part changed.
            let mut spoilt = raw;
            if flip != 0 {
                spoilt = draft.results.to_vec();
                let index = at.index(spoilt.len());
                spoilt[index] ^= flip;
            }
            let spoilt = Bytes::from(spoilt);
            match part {
                0 => draft.data = Some(spoilt),
                1 => draft.action_payload = Some(spoilt),
                2 => draft.response_payload = Some(spoilt),
                3 => draft.action = Some(spoilt),
                4 => draft.results = spoilt,
                _ => draft.header_extension = Some(spoilt),
            }
            let verdict = scene.verdicts(vec![draft.bytes(), scene.draft().bytes()]);
            assert!(verdict.contains(' '), "{verdict}");
        });
    }
}
