//! The service over a real ledger, with a view as gossip would make it.
#![allow(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_channel_config::genesis;
use ripstop_crypto::SigningIdentity;
use ripstop_discovery::{CacheSize, Discovery, DiscoveryConfig, DiscoveryService, TlsBinding};
use ripstop_gossip::{
    Alive, AnnouncedChaincode, ChannelMember, Content, KnownPeer, Member, Message, PeerTime, PkiId, SignedMessage,
    StateInfo, Tag, View,
};
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_msp::{LocalMsp, LocalPolicy};
use ripstop_proto::Message as _;
use ripstop_proto::discovery::discovery_server::Discovery as _;
use ripstop_proto::discovery::query::Query as Question;
use ripstop_proto::discovery::query_result::Result as Answer;
use ripstop_proto::discovery::{self, Query, QueryResult};
use ripstop_proto::protos::{ChaincodeCall, ChaincodeInterest};
use ripstop_testkit::{Channel, Organization};
use ripstop_types::{ChannelId, Digest, Timestamp};
use tokio::sync::watch;
use tonic::{Code, Request, Status};

const CHANNEL: &str = "mychannel";

struct Network {
    service: DiscoveryService,
    discovery: Discovery,
    org1: Organization,
    org2: Organization,
    _view: watch::Sender<Arc<View>>,
    _directory: tempfile::TempDir,
}

fn known(peer: &SigningIdentity, endpoint: &str) -> Arc<KnownPeer> {
    let identity = peer.identity();
    let pki_id = PkiId::of(identity);
    let time = PeerTime { incarnation: 1, sequence: 1 };
    let alive = Alive {
        pki_id: pki_id.clone(),
        endpoint: endpoint.to_owned(),
        metadata: Default::default(),
        time,
        identity: Default::default(),
    };
    let member = Member {
        pki_id,
        endpoint: endpoint.to_owned(),
        internal_endpoint: format!("internal-{endpoint}"),
        metadata: Default::default(),
    };
    Arc::new(KnownPeer {
        member,
        identity: identity.raw.clone(),
        organization: identity.msp_id.clone(),
        alive: message(None, Content::Alive(alive)),
    })
}

fn message(channel: Option<ChannelId>, content: Content) -> SignedMessage {
    let tag = if channel.is_some() { Tag::ChannelOrOrganization } else { Tag::Everybody };
    SignedMessage::unsigned(Message { nonce: 0, channel, tag, content })
}

fn channel_member(channel: &ChannelId, peer: &Arc<KnownPeer>, height: u64) -> ChannelMember {
    let chaincodes = vec![AnnouncedChaincode {
        name: "_lifecycle".to_owned(),
        version: "1".to_owned(),
        metadata: Default::default(),
    }];
    let state_info = StateInfo {
        pki_id: peer.member.pki_id.clone(),
        channel_mac: Digest::of(b"channel").to_bytes(),
        time: PeerTime { incarnation: 1, sequence: 1 },
        height,
        left_channel: false,
        chaincodes: chaincodes.clone(),
    };
    ChannelMember {
        peer: Arc::clone(peer),
        state_info: message(Some(channel.clone()), Content::StateInfo(state_info)),
        height,
        chaincodes,
    }
}

/// Two peers of Org1, of which the second has no external endpoint, and one of Org2; and one of Org2 outside of the channel.
fn network(local_policy: LocalPolicy) -> Network {
    let (orderer, org1, org2) =
        (Organization::new("OrdererMSP"), Organization::new("Org1MSP"), Organization::new("Org2MSP"));
    let directory = tempfile::tempdir().unwrap();
    let ledgers = Arc::new(Ledgers::open(directory.path(), LedgerOptions::default()).unwrap());
    let channel = Channel::new(&orderer, [&org1, &org2]);
    let id = ChannelId::new(CHANNEL).unwrap();
    ledgers.create(genesis::block(&id, channel.group(), [7; 24], Timestamp { seconds: 1, nanos: 0 })).unwrap();
    let me = known(&org1.peer("p0"), "p0:7051");
    let others = [known(&org1.peer("p1"), ""), known(&org2.peer("p0"), "q0:7051"), known(&org2.peer("p1"), "q1:7051")];
    let in_channel = [&me, &others[0], &others[1]];
    let members: BTreeMap<_, _> = in_channel
        .iter()
        .enumerate()
        .map(|(index, peer)| (peer.member.pki_id.clone(), channel_member(&id, peer, 5 + index as u64)))
        .collect();
    let view = View {
        me: Some(me),
        alive: others.iter().map(|peer| (peer.member.pki_id.clone(), Arc::clone(peer))).collect(),
        channels: BTreeMap::from([(id, members)]),
    };
    let (sender, view) = watch::channel(Arc::new(view));
    let local_msp = Arc::new(LocalMsp::new(&org1.msp_config()).unwrap());
    let discovery = Discovery::new(ledgers, local_msp, view);
    let cache = Some(CacheSize { max: 10, retention: 0.5 });
    let config = DiscoveryConfig { binding: TlsBinding::NotChecked, local_policy, cache };
    let service = DiscoveryService::new(discovery.clone(), config);
    Network { service, discovery, org1, org2, _view: sender, _directory: directory }
}

fn signed(who: &SigningIdentity, queries: Vec<Query>) -> discovery::SignedRequest {
    let authentication = discovery::AuthInfo {
        client_identity: who.identity().raw.clone(),
        client_tls_cert_hash: Digest::of(b"certificate").to_bytes(),
    };
    let payload = discovery::Request { authentication: Some(authentication), queries }.encode_to_vec();
    let signature = who.sign(&payload).unwrap();
    discovery::SignedRequest { payload: payload.into(), signature }
}

fn query(channel: &str, question: Question) -> Query {
    Query { channel: channel.to_owned(), query: Some(question) }
}

fn peers_of(channel: &str) -> Query {
    query(channel, Question::PeerQuery(discovery::PeerMembershipQuery::default()))
}

fn interest(names: &[&str]) -> ChaincodeInterest {
    let call = |name: &&str| ChaincodeCall { name: (*name).to_owned(), ..Default::default() };
    ChaincodeInterest { chaincodes: names.iter().map(call).collect() }
}

fn endorsers_of(names: &[&str]) -> Query {
    query(CHANNEL, Question::CcQuery(discovery::ChaincodeQuery { interests: vec![interest(names)] }))
}

impl Network {
    async fn ask(&self, request: discovery::SignedRequest) -> Result<Vec<String>, Status> {
        let response = self.service.discover(Request::new(request)).await?;
        Ok(response.into_inner().results.iter().map(shown).collect())
    }

    async fn ask_one(&self, who: &SigningIdentity, query: Query) -> String {
        self.ask(signed(who, vec![query])).await.unwrap().pop().unwrap()
    }
}

fn endpoint(peer: &discovery::Peer) -> String {
    let alive = SignedMessage::parse(peer.membership_info.clone().unwrap()).unwrap();
    assert!(peer.membership_info.as_ref().unwrap().secret_envelope.is_none());
    let Content::Alive(alive) = &alive.message().content else { panic!("no alive message") };
    let height =
        peer.state_info.clone().map(|envelope| match &SignedMessage::parse(envelope).unwrap().message().content {
            Content::StateInfo(state) => format!("@{}", state.height),
            _ => panic!("no state info"),
        });
    alive.endpoint.clone() + &height.unwrap_or_default()
}

fn peers(peers: &discovery::Peers) -> String {
    peers.peers.iter().map(endpoint).collect::<Vec<_>>().join(",")
}

fn shown(result: &QueryResult) -> String {
    match result.result.as_ref().unwrap() {
        Answer::Error(error) => error.content.clone(),
        Answer::ConfigResult(config) => {
            format!("{:?} {:?}", config.msps.keys().collect::<Vec<_>>(), config.orderers.keys().collect::<Vec<_>>())
        }
        Answer::Members(members) => {
            let of_orgs = members.peers_by_org.iter().map(|(org, of_org)| format!("{org}: {}", peers(of_org)));
            of_orgs.collect::<Vec<_>>().join("; ")
        }
        Answer::CcQueryRes(result) => {
            let descriptor = &result.content[0];
            let groups =
                descriptor.endorsers_by_groups.iter().map(|(group, of_group)| format!("{group}={}", peers(of_group)));
            let layouts = descriptor.layouts.iter().map(|layout| format!("{:?}", layout.quantities_by_group));
            format!("{} {}", groups.collect::<Vec<_>>().join(" "), layouts.collect::<Vec<_>>().join(" "))
        }
    }
}

#[tokio::test]
async fn members_of_a_channel_learn_of_its_peers_its_configuration_and_its_endorsers() {
    let network = network(LocalPolicy::Admins);
    let client = network.org2.client("user");
    let queries = vec![
        peers_of(CHANNEL),
        query(CHANNEL, Question::ConfigQuery(discovery::ConfigQuery {})),
        endorsers_of(&["_lifecycle"]),
        query("", Question::LocalPeers(discovery::LocalPeerQuery {})),
        Query { channel: CHANNEL.to_owned(), query: None },
    ];
    let answers = network.ask(signed(&client, queries)).await.unwrap();
    assert_eq!(
        answers,
        [
            "Org1MSP: p0:7051@5; Org2MSP: q0:7051@7",
            "[\"OrdererMSP\", \"Org1MSP\", \"Org2MSP\"] [\"OrdererMSP\"]",
            "G0=p0:7051@5 G1=q0:7051@7 {\"G0\": 1, \"G1\": 1}",
            "access denied: peers as such are told to administrators of Org1MSP only, unless \
         peer.discovery.orgMembersAllowedAccess lets all of its members ask",
            "unknown or missing request type",
        ]
    );
}

#[tokio::test]
async fn a_channel_that_is_not_there_and_one_for_others_are_refused_alike() {
    let network = network(LocalPolicy::Admins);
    let stranger = Organization::new("Org3MSP").client("user");
    let there = network.ask_one(&stranger, peers_of(CHANNEL)).await;
    let not_there = network.ask_one(&stranger, peers_of("nochannel")).await;
    assert!(
        there.starts_with("access denied: this peer has not joined channel 'mychannel', or the signature"),
        "{there}"
    );
    assert_eq!(there.replace(CHANNEL, "nochannel"), not_there);
    // Somebody else's signature is none, however often it is tried.
    let mut request = signed(&network.org1.client("user"), vec![peers_of(CHANNEL)]);
    request.signature = network.org2.client("user").sign(&request.payload).unwrap();
    for _ in 0..2 {
        assert_eq!(network.ask(request.clone()).await.unwrap(), std::slice::from_ref(&there));
    }
}

#[tokio::test]
async fn peers_as_such_are_for_the_own_organisation() {
    let local = || query("", Question::LocalPeers(discovery::LocalPeerQuery {}));
    let all = "Org1MSP: p0:7051; Org2MSP: q0:7051,q1:7051";
    let network = network(LocalPolicy::Admins);
    assert_eq!(sorted(network.ask_one(&network.org1.admin("admin"), local()).await), sorted(all.to_owned()));
    assert!(network.ask_one(&network.org1.client("user"), local()).await.starts_with("access denied"));
    assert!(network.ask_one(&network.org2.admin("admin"), local()).await.starts_with("access denied"));
    assert_eq!(network.ask_one(&network.org1.admin("admin"), peers_of("")).await, "unknown or missing request type");
    let open = self::network(LocalPolicy::Members);
    assert_eq!(sorted(open.ask_one(&open.org1.client("user"), local()).await), sorted(all.to_owned()));
    assert!(open.ask_one(&open.org2.admin("admin"), local()).await.starts_with("access denied"));
}

/// Peers come in the order of their ids, which are new in each run.
fn sorted(text: String) -> Vec<String> {
    let mut parts: Vec<_> = text.split([',', ' ']).map(str::to_owned).collect();
    parts.sort();
    parts
}

#[tokio::test]
async fn what_cannot_be_planned_is_said_with_its_cause() {
    let network = network(LocalPolicy::Admins);
    let client = network.org1.client("user");
    assert_eq!(
        network.ask_one(&client, endorsers_of(&["mycc"])).await,
        "failed constructing descriptor for chaincodes:{name:\"mycc\"}: No metadata was found for chaincode mycc in channel \
         mychannel: it is not defined there"
    );
    assert_eq!(
        network.ask_one(&client, endorsers_of(&[])).await,
        "chaincode interest must contain at least one chaincode"
    );
    assert_eq!(network.ask_one(&client, endorsers_of(&["a", ""])).await, "chaincode name in interest cannot be empty");
    let none = query(CHANNEL, Question::CcQuery(discovery::ChaincodeQuery::default()));
    assert_eq!(network.ask_one(&client, none).await, "chaincode query must have at least one chaincode interest");
    let filter = Some(interest(&["mycc"]));
    let filtered = query(CHANNEL, Question::PeerQuery(discovery::PeerMembershipQuery { filter }));
    assert_eq!(
        network.ask_one(&client, filtered).await,
        "No metadata was found for chaincode mycc in channel mychannel: it is not defined there"
    );
}

#[tokio::test]
async fn requests_of_the_wrong_form_are_refused() {
    let network = network(LocalPolicy::Admins);
    let refused = async |request: discovery::SignedRequest| {
        let status = network.ask(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unknown);
        status.message().to_owned()
    };
    let unsigned = |request: discovery::Request| discovery::SignedRequest {
        payload: request.encode_to_vec().into(),
        signature: Default::default(),
    };
    let nonsense = discovery::SignedRequest { payload: vec![0xff].into(), signature: Default::default() };
    assert!(refused(nonsense).await.starts_with("failed parsing request: "));
    assert_eq!(
        refused(unsigned(discovery::Request::default())).await,
        "access denied, no authentication info in request"
    );
    let nobody = discovery::Request { authentication: Some(Default::default()), queries: vec![] };
    assert_eq!(refused(unsigned(nobody)).await, "access denied, client identity wasn't supplied");
    let client = network.org1.client("user");
    let many = refused(signed(&client, vec![peers_of(CHANNEL); 65])).await;
    assert!(many.starts_with("the request holds 65 queries, and no more than 64"), "{many}");
}

#[tokio::test]
async fn with_tls_a_request_names_the_certificate_of_the_connection() {
    let network = network(LocalPolicy::Admins);
    let config = DiscoveryConfig { binding: TlsBinding::Required, local_policy: LocalPolicy::Admins, cache: None };
    let service = DiscoveryService::new(network.discovery.clone(), config);
    let request = signed(&network.org1.client("user"), vec![peers_of(CHANNEL)]);
    let status = service.discover(Request::new(request)).await.unwrap_err();
    assert_eq!(status.message(), "client didn't send a TLS certificate");
}

#[test]
fn the_gateway_may_ask_peers_of_its_organisation_that_have_no_external_endpoint() {
    let network = network(LocalPolicy::Admins);
    let channel = ChannelId::new(CHANNEL).unwrap();
    let descriptor = network.discovery.endorsement_plan(&channel, &interest(&["_lifecycle"])).unwrap();
    let endpoints: Vec<Vec<&str>> = descriptor
        .groups
        .values()
        .map(|candidates| candidates.iter().map(|candidate| candidate.endpoint.as_str()).collect())
        .collect();
    assert_eq!(endpoints, [vec!["internal-", "p0:7051"], vec!["q0:7051"]]);
}
