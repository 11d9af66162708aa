//! Answers as they are printed, and a peer on loopback that is asked.

use std::path::Path;
use std::sync::mpsc;

use ripstop_crypto::Certificate;
use ripstop_proto::discovery::discovery_server::{Discovery, DiscoveryServer};
use ripstop_proto::discovery::query_result::Result as Answer;
use ripstop_proto::{Message as _, discovery, gossip, msp, protos};
use ripstop_testkit::{Organization, TlsCredentials};
use ripstop_transport::{ClientAuth, KeyPair, Listener, PeerInfo, ServerOptions, ServerTls, serve_grpc};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::answer;
use crate::client::{Client, Question};
use crate::command::calls;
use crate::settings::{Settings, SignerFiles, TlsFiles};

fn envelope(content: gossip::gossip_message::Content) -> gossip::Envelope {
    let message = gossip::GossipMessage { content: Some(content), ..Default::default() };
    gossip::Envelope { payload: message.encode_to_vec().into(), ..Default::default() }
}

fn peer(endpoint: &str, height: u64, chaincodes: &[&str]) -> discovery::Peer {
    let member = gossip::Member { endpoint: endpoint.to_owned(), ..Default::default() };
    let alive = gossip::AliveMessage { membership: Some(member), ..Default::default() };
    let chaincode = |name: &&str| gossip::Chaincode { name: (*name).to_owned(), ..Default::default() };
    let properties = gossip::Properties {
        ledger_height: height,
        chaincodes: chaincodes.iter().map(chaincode).collect(),
        ..Default::default()
    };
    let state = gossip::StateInfo { properties: Some(properties), ..Default::default() };
    let identity = msp::SerializedIdentity { mspid: "Org1MSP".into(), id_bytes: "<pem>\n".into() };
    discovery::Peer {
        state_info: Some(envelope(gossip::gossip_message::Content::StateInfo(state))),
        membership_info: Some(envelope(gossip::gossip_message::Content::AliveMsg(alive))),
        identity: identity.encode_to_vec().into(),
    }
}

fn members(peers: Vec<discovery::Peer>) -> Answer {
    let peers = discovery::Peers { peers };
    Answer::Members(discovery::PeerMembershipResult { peers_by_org: [("Org1MSP".to_owned(), peers)].into() })
}

#[test]
fn peers_are_shown_with_their_channel_and_without() {
    let answer = members(vec![peer("a:1", 7, &["_lifecycle", "basic"]), peer("b:1", 0, &[])]);
    let shown = r#"[
	{
		"MSPID": "Org1MSP",
		"LedgerHeight": 7,
		"Endpoint": "a:1",
		"Identity": "\u003cpem\u003e\n",
		"Chaincodes": [
			"_lifecycle",
			"basic"
		]
	},
	{
		"MSPID": "Org1MSP",
		"LedgerHeight": 0,
		"Endpoint": "b:1",
		"Identity": "\u003cpem\u003e\n",
		"Chaincodes": null
	}
]"#;
    assert_eq!(answer::peers(&answer, Some("mychannel")).unwrap(), shown);
    let local = members(vec![discovery::Peer { state_info: None, ..peer("a:1", 7, &[]) }]);
    let shown = r#"[
	{
		"MSPID": "Org1MSP",
		"Endpoint": "a:1",
		"Identity": "\u003cpem\u003e\n"
	}
]"#;
    assert_eq!(answer::peers(&local, None).unwrap(), shown);
    assert_eq!(answer::peers(&members(Vec::new()), None).unwrap(), "null");
    let swapped = discovery::Peer { membership_info: peer("", 0, &[]).state_info, ..peer("a:1", 7, &[]) };
    let error = format!("{:#}", answer::peers(&members(vec![swapped]), None).unwrap_err());
    assert_eq!(
        error,
        "failed constructing peer membership out of response: failed validating alive message: message isn't an alive message"
    );
}

#[test]
fn a_configuration_is_shown_without_what_is_empty() {
    let unit = msp::FabricOuIdentifier { certificate: "ca".into(), organizational_unit_identifier: "peer".into() };
    let units = msp::FabricNodeOUs { enable: true, peer_ou_identifier: Some(unit), ..Default::default() };
    let org1 = msp::FabricMspConfig {
        name: "Org1MSP".into(),
        root_certs: vec!["root".into()],
        fabric_node_ous: Some(units),
        ..Default::default()
    };
    let endpoint = discovery::Endpoint { host: "o.test".into(), port: 7050 };
    let answer = Answer::ConfigResult(discovery::ConfigResult {
        msps: [("Org1MSP".to_owned(), org1)].into(),
        orderers: [("OrdererMSP".to_owned(), discovery::Endpoints { endpoint: vec![endpoint] })].into(),
    });
    let shown = r#"{
	"msps": {
		"Org1MSP": {
			"name": "Org1MSP",
			"root_certs": [
				"cm9vdA=="
			],
			"fabric_node_ous": {
				"enable": true,
				"peer_ou_identifier": {
					"certificate": "Y2E=",
					"organizational_unit_identifier": "peer"
				}
			}
		}
	},
	"orderers": {
		"OrdererMSP": {
			"endpoint": [
				{
					"host": "o.test",
					"port": 7050
				}
			]
		}
	}
}"#;
    assert_eq!(answer::config(&answer).unwrap(), shown);
    assert_eq!(answer::config(&Answer::ConfigResult(discovery::ConfigResult::default())).unwrap(), "{}");
}

#[test]
fn endorsers_are_shown_by_groups_with_their_layouts() {
    let group = discovery::Peers { peers: vec![peer("a:1", 7, &["basic"])] };
    let descriptor = discovery::EndorsementDescriptor {
        chaincode: "basic".into(),
        endorsers_by_groups: [("G0".to_owned(), group)].into(),
        layouts: vec![discovery::Layout { quantities_by_group: [("G0".to_owned(), 1)].into() }],
    };
    let answer = Answer::CcQueryRes(discovery::ChaincodeQueryResult { content: vec![descriptor] });
    let shown = r#"[
	{
		"Chaincode": "basic",
		"EndorsersByGroups": {
			"G0": [
				{
					"MSPID": "Org1MSP",
					"LedgerHeight": 7,
					"Endpoint": "a:1",
					"Identity": "\u003cpem\u003e\n"
				}
			]
		},
		"Layouts": [
			{
				"quantities_by_group": {
					"G0": 1
				}
			}
		]
	}
]"#;
    assert_eq!(answer::endorsers(&answer).unwrap(), shown);
}

#[test]
fn calls_name_only_chaincodes_that_are_asked_about() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let private = [("a".to_owned(), names(&["c1", "c2"]))];
    let made = calls(&names(&["a", "b"]), &private, &names(&["b"])).unwrap();
    assert_eq!((made[0].collection_names.len(), made[0].no_private_reads), (2, false));
    assert_eq!((made[1].collection_names.len(), made[1].no_private_reads), (0, true));
    for (chaincodes, collections, no_private_reads, fault) in [
        (&[][..], &[][..], &[][..], "invocation chain should not be empty"),
        (&["b"], &private, &[], "a collection specified chaincode a but it wasn't specified with a chaincode flag"),
        (&["b"], &[], &["c"], "chaincode c is specified as not containing private data reads"),
    ] {
        let error = calls(&names(chaincodes), collections, &names(no_private_reads)).unwrap_err().to_string();
        assert!(error.contains(fault), "{error}");
    }
}

/// Answers what is signed by who asks, over a connection of who asks.
struct Careful;

#[tonic::async_trait]
impl Discovery for Careful {
    async fn discover(
        &self,
        request: Request<discovery::SignedRequest>,
    ) -> Result<Response<discovery::Response>, Status> {
        let connection = PeerInfo::of(&request).and_then(|peer| peer.certificate_hash());
        let signed = request.into_inner();
        let asked = discovery::Request::decode(signed.payload.clone()).map_err(|e| Status::internal(e.to_string()))?;
        let who = asked.authentication.unwrap_or_default();
        let identity = msp::SerializedIdentity::decode(who.client_identity).unwrap_or_default();
        let certificate = Certificate::from_pem(&identity.id_bytes).map_err(|e| Status::internal(e.to_string()))?;
        let honest = certificate.public_key().verify(&signed.payload, &signed.signature).is_ok()
            && connection.is_some_and(|hash| hash.to_bytes() == who.client_tls_cert_hash)
            && identity.mspid == "Org1MSP";
        let answer = match asked.queries[0].query {
            _ if !honest => Answer::Error(discovery::Error { content: "access denied".into() }),
            Some(discovery::query::Query::LocalPeers(_)) => members(vec![peer("a:1", 7, &[])]),
            _ => return Err(Status::unimplemented("unknown service discovery.Discovery")),
        };
        let result = discovery::QueryResult { result: Some(answer) };
        Ok(Response::new(discovery::Response { results: vec![result] }))
    }
}

/// A peer that answers until the test ends.
fn serve(pair: &TlsCredentials) -> String {
    let pair = KeyPair::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes()).unwrap();
    let tls = ServerTls::new(pair, ClientAuth::Requested).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = Listener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.address().to_string()).unwrap();
            let routes = Routes::new(DiscoveryServer::new(Careful));
            serve_grpc(listener, Some(tls), ServerOptions::default(), routes, std::future::pending()).await
        })
    });
    told.recv().unwrap()
}

fn settings(directory: &Path, organization: &Organization) -> Settings {
    let user = organization.tls("user", &[]);
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let tls = TlsFiles { peer_ca: write("ca.pem", &organization.tls_root()), ..TlsFiles::default() };
    let signer = SignerFiles {
        msp_id: "Org1MSP".into(),
        certificate: write("user.pem", &user.certificate),
        key: write("user.key", &user.key),
    };
    Settings::new(tls, signer)
}

#[test]
fn a_peer_answers_what_is_signed_by_who_asks() {
    let organization = Organization::new("Org1MSP");
    let address = serve(&organization.tls("peer", &["127.0.0.1"]));
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), &organization);
    let ask = |settings: &Settings, question: &Question<'_>| Client::new(&address, settings).unwrap().ask(question);
    let answer = ask(&settings, &Question::LocalPeers).unwrap();
    assert!(answer::peers(&answer, None).unwrap().contains("\"Endpoint\": \"a:1\""));

    let mut stranger = settings.clone();
    stranger.signer.msp_id = "Org2MSP".into();
    assert_eq!(ask(&stranger, &Question::LocalPeers).unwrap_err().to_string(), "access denied");
    let calls = vec![protos::ChaincodeCall::default()];
    let refused = ask(&stranger, &Question::Endorsers { channel: "c", calls }).unwrap_err().to_string();
    assert_eq!(refused, "server returned: access denied");
    let missing = ask(&settings, &Question::Config { channel: "c" }).unwrap_err().to_string();
    assert!(missing.ends_with(&format!("the peer at {address} offers no discovery service")), "{missing}");
}

#[test]
fn saved_settings_read_back_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let organization = Organization::new("Org1MSP");
    let settings = settings(directory.path(), &organization);
    let file = directory.path().join("discover.yaml");
    let file = file.to_str().unwrap();
    settings.save(file).unwrap();
    let read = Settings::load(file).unwrap();
    assert_eq!((&read.signer, &read.tls.peer_ca), (&settings.signer, &settings.tls.peer_ca));
    let fabrics = "version: 0\ntlsconfig:\n    certpath: \"\"\n    timeout: 5s\nsignerconfig:\n    mspid: M\n    identitypath: /c\n    keypath: /k\n";
    std::fs::write(file, fabrics).unwrap();
    assert_eq!(Settings::load(file).unwrap().signer.key, "/k");
    let nobody = Settings::default().save(file).unwrap_err();
    assert_eq!(format!("{nobody:#}"), "config isn't valid: MSPID is mandatory and cannot be empty");
}
