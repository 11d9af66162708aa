//! What a peer of the golden chain answered to Fabric's discover command.

use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_discover::answer;
use ripstop_discovery::Discovery;
use ripstop_gossip::{
    Alive, AnnouncedChaincode, ChannelMember, Content, KnownPeer, Member, Message, PeerTime, PkiId, SignedMessage,
    StateInfo, Tag, View,
};
use ripstop_ledger::Ledger;
use ripstop_lifecycle::{Committed, announced};
use ripstop_msp::LocalMsp;
use ripstop_proto::discovery::query::Query as Question;
use ripstop_proto::discovery::query_result::Result as Answer;
use ripstop_proto::discovery::{ChaincodeQuery, ConfigQuery, LocalPeerQuery, PeerMembershipQuery, Query};
use ripstop_proto::protos::{ChaincodeCall, ChaincodeInterest};
use ripstop_proto::{Message as _, msp};
use ripstop_types::{Digest, MspId, SerializedIdentity};
use serde_json::Value;
use tokio::sync::watch;

use super::replay::Replay;
use super::snapshots::Snapshots;
use crate::{Fixtures, Report};

const TOPIC: &str = "discover: answers as JSON, lists as sets";

/// A chaincode and its collections.
type Call = (&'static str, &'static [&'static str]);

/// What endorsers were asked for, by file.
const INTERESTS: [(&str, &[Call]); 5] = [
    ("basic", &[("basic", &[])]),
    ("basic+other", &[("basic", &[]), ("other", &[])]),
    ("basic-collAll", &[("basic", &["collAll"])]),
    ("basic-collOrg1", &[("basic", &["collOrg1"])]),
    ("sbe", &[("sbe", &[])]),
];

/// Joins the golden channel, learns of its peers as gossip would, and answers what Fabric's peer was asked.
pub fn discover(report: &mut Report) {
    let (fixtures, snapshots) = (Fixtures::open("discover"), Snapshots::unpack());
    let Some(snapshot) = snapshots.directories().next() else { return };
    let Some(replay) = report.check(TOPIC, "joined", Replay::join(&snapshot)) else { return };
    let ledger = replay.ledger();
    let installed: Vec<String> =
        fixtures.below("packages").map(|(_, id)| String::from_utf8_lossy(id).trim().to_owned()).collect();
    let installed: Vec<&str> = installed.iter().map(String::as_str).collect();
    let org1 = MspId::new("Org1MSP");
    let found = announced(&mut Committed(ledger.snapshot().as_ref()), &org1, &installed);
    let Some(chaincodes) = report.check(TOPIC, "announced chaincodes", found) else { return };
    let peers: Value = json(&fixtures.file("discover-peers.json"));
    announced_as_fabric(report, &peers, &chaincodes);
    let Some(local_msp) = report.check(TOPIC, "local MSP", own_msp(ledger, &org1)) else { return };
    let (_sender, view) = watch::channel(Arc::new(view(&peers, ledger, &chaincodes)));
    let discovery = Discovery::new(Arc::clone(replay.ledgers()), Arc::new(local_msp), view);

    let channel = ledger.channel_id().as_str();
    let mut compare =
        |name: &str, channel: &str, question: Question, print: &dyn Fn(&Answer) -> anyhow::Result<String>| {
            let result = discovery.answer(&Query { channel: channel.to_owned(), query: Some(question) });
            let printed = match &result.result {
                Some(Answer::Error(error)) => Err(anyhow::anyhow!("{}", error.content)),
                Some(answer) => print(answer),
                None => Err(anyhow::anyhow!("no answer")),
            };
            let Some(printed) = report.check(TOPIC, name, printed) else { return };
            let expected = json(&fixtures.file(&format!("discover-{name}.json")));
            let actual = serde_json::from_str(&printed).unwrap_or_default();
            report.compare(TOPIC, name, &unordered(expected), &unordered(actual), "");
        };
    let members = Question::PeerQuery(PeerMembershipQuery::default());
    compare("peers", channel, members, &|answer| answer::peers(answer, Some(channel)));
    compare("local-peers", "", Question::LocalPeers(LocalPeerQuery {}), &|answer| answer::peers(answer, None));
    compare("config", channel, Question::ConfigQuery(ConfigQuery {}), &answer::config);
    for (name, calls) in INTERESTS {
        let question = Question::CcQuery(ChaincodeQuery { interests: vec![interest(calls)] });
        compare(&format!("endorsers-{name}"), channel, question, &answer::endorsers);
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("a fixture is JSON")
}

fn interest(calls: &[(&str, &[&str])]) -> ChaincodeInterest {
    let call = |(name, collections): &(&str, &[&str])| ChaincodeCall {
        name: (*name).to_owned(),
        collection_names: collections.iter().map(|collection| (*collection).to_owned()).collect(),
        ..ChaincodeCall::default()
    };
    ChaincodeInterest { chaincodes: calls.iter().map(call).collect() }
}

/// The peer's organization, as the channel has it.
fn own_msp(ledger: &Ledger, org: &MspId) -> Result<LocalMsp, String> {
    let config = ledger.config();
    let root = config.config().channel_group.as_ref().ok_or("no channel group")?;
    let group = root.groups.get("Application").and_then(|application| application.groups.get(org.as_str()));
    let group = group.ok_or("the organisation is not in the channel")?;
    let value = group.values.get("MSP").ok_or("the organisation has no MSP")?;
    let config = msp::MspConfig::decode(value.value.clone()).map_err(|error| error.to_string())?;
    let config = msp::FabricMspConfig::decode(config.config).map_err(|error| error.to_string())?;
    LocalMsp::new(&config).map_err(|error| error.to_string())
}

/// What Org1's peers said they can run.
fn announced_as_fabric(report: &mut Report, peers: &Value, chaincodes: &[(String, String)]) {
    let names: Vec<&str> = chaincodes.iter().map(|(name, _)| name.as_str()).collect();
    for peer in peers.as_array().into_iter().flatten().filter(|peer| peer["MSPID"] == "Org1MSP") {
        let expected: Vec<&str> =
            peer["Chaincodes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        report.compare("discover: chaincodes that peers announce", "Org1MSP", &expected, &names, "");
    }
}

/// The view in which the peers are that Fabric's peer listed; the first one is this peer.
fn view(peers: &Value, ledger: &Ledger, chaincodes: &[(String, String)]) -> View {
    let channel = ledger.channel_id();
    let mut view = View::default();
    let mut members = BTreeMap::new();
    for listed in peers.as_array().into_iter().flatten() {
        let text = |key: &str| listed[key].as_str().unwrap_or_default().to_owned();
        let identity = SerializedIdentity::new(MspId::new(&text("MSPID")), text("Identity").into());
        let (pki_id, time) = (PkiId::of(&identity), PeerTime { incarnation: 1, sequence: 1 });
        let alive = Alive {
            pki_id: pki_id.clone(),
            endpoint: text("Endpoint"),
            metadata: Default::default(),
            time,
            identity: Default::default(),
        };
        let alive = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Alive(alive) };
        let member = Member {
            pki_id: pki_id.clone(),
            endpoint: text("Endpoint"),
            internal_endpoint: String::new(),
            metadata: Default::default(),
        };
        let peer = Arc::new(KnownPeer {
            member,
            identity: identity.raw.clone(),
            organization: identity.msp_id.clone(),
            alive: SignedMessage::unsigned(alive),
        });
        let height = listed["LedgerHeight"].as_u64().unwrap_or_default();
        let announced = |(name, version): &(String, String)| AnnouncedChaincode {
            name: name.clone(),
            version: version.clone(),
            metadata: Default::default(),
        };
        let chaincodes: Vec<_> = chaincodes.iter().map(announced).collect();
        let state_info = Content::StateInfo(StateInfo {
            pki_id: pki_id.clone(),
            channel_mac: Digest::of(b"channel").to_bytes(),
            time,
            height,
            left_channel: false,
            chaincodes: chaincodes.clone(),
        });
        let state_info =
            Message { nonce: 0, channel: Some(channel.clone()), tag: Tag::ChannelOrOrganization, content: state_info };
        let state_info = SignedMessage::unsigned(state_info);
        members.insert(pki_id.clone(), ChannelMember { peer: Arc::clone(&peer), state_info, height, chaincodes });
        match view.me {
            None => view.me = Some(peer),
            Some(_) => drop(view.alive.insert(pki_id, peer)),
        }
    }
    view.channels.insert(channel.clone(), members);
    view
}

/// The same JSON with its lists in order and groups named after their peers: Fabric's order, and its names for groups, are
/// left to chance.
fn unordered(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(unordered).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(mut fields) => {
            if let Some(Value::Object(groups)) = fields.remove("EndorsersByGroups") {
                let named: BTreeMap<String, Value> =
                    groups.into_iter().map(|(name, peers)| (name, unordered(peers))).collect();
                let layouts = fields.remove("Layouts").unwrap_or_default();
                let layouts = layouts.as_array().into_iter().flatten().map(|layout| {
                    let quantities = layout["quantities_by_group"].as_object().into_iter().flatten();
                    let quantities = quantities.map(|(name, count)| (named[name].to_string(), count.clone()));
                    Value::Object(quantities.collect())
                });
                fields.insert("Layouts".to_owned(), unordered(Value::Array(layouts.collect())));
                fields.insert("EndorsersByGroups".to_owned(), unordered(named.into_values().collect()));
            }
            Value::Object(fields.into_iter().map(|(name, value)| (name, unordered(value))).collect())
        }
        other => other,
    }
}
