//! A channel of three organizations: the gateway's peer, and others that are real servers on the loopback interface and answer
//! as told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;
use ripstop_channel_config::genesis;
use ripstop_discovery::Discovery;
use ripstop_gateway::{Gateway, GatewayConfig, LocalPeer, PeerDirectory};
use ripstop_gossip::{
    Alive, AnnouncedChaincode, ChannelMember, Content, KnownPeer, Member, PeerTime, PkiId, SignedMessage, Tag, View,
};
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_proto::gateway::gateway_server::Gateway as _;
use ripstop_proto::protos::endorser_server::{Endorser, EndorserServer};
use ripstop_proto::{common, gateway, protos};
use ripstop_testkit::{Channel, Organization};
use ripstop_transport::{ConcurrencyLimit, Keepalive, Listener, ServerOptions, serve_grpc};
use ripstop_types::{ChannelId, SerializedIdentity, Timestamp};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

pub(crate) const CHANNEL: &str = "mychannel";
/// How long an endorser may take. Tests pause the clock: it passes at once when nothing else happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a peer does when it is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Behaviour {
    /// It endorses this result.
    Endorse(&'static str),
    /// The same, and says what the call touched.
    EndorseTouching(&'static str, protos::ChaincodeInterest),
    /// Its chaincode refuses.
    Chaincode(i32, &'static str),
    /// It refuses itself.
    Peer(&'static str),
    /// Its service fails.
    Fail(&'static str),
    /// It never answers.
    Silent,
}

/// A peer that answers as told.
#[derive(Clone)]
struct Told {
    name: &'static str,
    script: SharedScript,
}

/// What each peer does, and who was asked so far.
#[derive(Default)]
struct Script {
    behaviours: HashMap<&'static str, Behaviour>,
    asked: Vec<&'static str>,
}

type SharedScript = Arc<Mutex<Script>>;

#[tonic::async_trait]
impl Endorser for Told {
    async fn process_proposal(
        &self,
        _: Request<protos::SignedProposal>,
    ) -> Result<Response<protos::ProposalResponse>, Status> {
        let behaviour = {
            let mut script = self.script.lock();
            script.asked.push(self.name);
            script.behaviours.get(self.name).cloned().unwrap_or(Behaviour::Endorse("result"))
        };
        let interest = match &behaviour {
            Behaviour::EndorseTouching(_, interest) => Some(interest.clone()),
            _ => None,
        };
        let (status, message, result) = match behaviour {
            Behaviour::Endorse(result) | Behaviour::EndorseTouching(result, _) => (200, "", Some(result)),
            Behaviour::Chaincode(status, message) => (status, message, Some("")),
            Behaviour::Peer(message) => (500, message, None),
            Behaviour::Fail(message) => return Err(Status::aborted(message)),
            Behaviour::Silent => std::future::pending().await,
        };
        let response = protos::Response { status, message: message.to_owned(), payload: "beside".into() };
        let payload = result.map(|result| {
            let endorsed = protos::Response { payload: result.into(), ..response.clone() };
            let action = protos::ChaincodeAction { response: Some(endorsed), ..Default::default() }.encode_to_vec();
            let payload = protos::ProposalResponsePayload { extension: action.into(), ..Default::default() };
            payload.encode_to_vec().into()
        });
        Ok(Response::new(protos::ProposalResponse {
            response: Some(response),
            payload: payload.unwrap_or_default(),
            endorsement: Some(protos::Endorsement { endorser: self.name.into(), signature: "s".into() }),
            interest,
            ..Default::default()
        }))
    }
}

/// A peer of the channel: name, organization, height.
pub(crate) type Described = (&'static str, &'static str, u64);

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    script: SharedScript,
    views: watch::Sender<Arc<View>>,
    organizations: BTreeMap<&'static str, Organization>,
    /// The names of peers, by address.
    names: HashMap<String, &'static str>,
    _directory: tempfile::TempDir,
}

impl World {
    /// A channel whose peers all have the chaincodes `basic`, which the ledger does not know, and `_lifecycle`, which a majority
    /// of the organizations endorses. The first one is the gateway's own. Nobody orders.
    pub(crate) async fn new(peers: &[Described]) -> Self {
        Self::ordered(peers, vec!["127.0.0.1:1".to_owned()], "etcdraft").await
    }

    /// The same with orderers at these addresses, which agree in this way.
    pub(crate) async fn ordered(peers: &[Described], orderers: Vec<String>, consensus: &str) -> Self {
        let organizations: BTreeMap<_, _> =
            ["Org1MSP", "Org2MSP", "Org3MSP"].map(|name| (name, Organization::new(name))).into();
        let orderer = Organization::new("OrdererMSP");
        let directory = tempfile::tempdir().unwrap();
        let ledgers = Arc::new(Ledgers::open(directory.path(), LedgerOptions::default()).unwrap());
        let mut channel = Channel::new(&orderer, organizations.values());
        channel.orderer_endpoints = orderers;
        let mut group = channel.group();
        let ordering = &mut group.groups.get_mut("Orderer").unwrap().values;
        let agreed = ripstop_proto::orderer::ConsensusType { r#type: consensus.to_owned(), ..Default::default() };
        if consensus != "etcdraft" {
            ordering.extend([ripstop_testkit::value("ConsensusType", &agreed)]);
        }
        let id = ChannelId::new(CHANNEL).unwrap();
        ledgers.create(genesis::block(&id, group, [7; 24], Timestamp { seconds: 1, nanos: 0 })).unwrap();

        let script = SharedScript::default();
        let (mut view, mut members, mut names) = (View::default(), BTreeMap::new(), HashMap::new());
        for (index, &(name, org, height)) in peers.iter().enumerate() {
            let told = Told { name, script: Arc::clone(&script) };
            let address = if index == 0 { "localhost:7051".to_owned() } else { serve(told).await };
            names.insert(address.clone(), name);
            let identity = organizations[org].peer(name).identity().clone();
            let member = member(&address, org, height, &identity);
            if index == 0 {
                view.me = Some(Arc::clone(&member.peer));
            }
            members.insert(member.peer.member.pki_id.clone(), member);
        }
        view.alive = members.iter().map(|(id, member)| (id.clone(), Arc::clone(&member.peer))).collect();
        view.channels.insert(id, members);
        let (views, receiver) = watch::channel(Arc::new(view));

        let local = Told { name: peers[0].0, script: Arc::clone(&script) };
        let local_msp = Arc::new(LocalMsp::new(&organizations["Org1MSP"].msp_config()).unwrap());
        let local = LocalPeer::new(local_msp.id().clone(), "localhost:7051".to_owned(), EndorserServer::new(local));
        let directory_of_peers = PeerDirectory::new(local, None, PATIENCE, Keepalive::default(), Vec::new());
        let config = GatewayConfig {
            endorsement_timeout: PATIENCE,
            broadcast_timeout: PATIENCE,
            limit: ConcurrencyLimit::new("/gateway.Gateway", 10),
        };
        let discovery = Discovery::new(Arc::clone(&ledgers), Arc::clone(&local_msp), receiver.clone());
        let gateway = Gateway::new(ledgers, local_msp, discovery, receiver, directory_of_peers, config);
        Self { gateway, script, views, organizations, names, _directory: directory }
    }

    pub(crate) fn tell(&self, peer: &'static str, behaviour: Behaviour) {
        self.script.lock().behaviours.insert(peer, behaviour);
    }

    /// Who was asked, in order.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        self.script.lock().asked.clone()
    }

    /// Lets a peer vanish from the view.
    pub(crate) fn forget(&self, name: &str) {
        let address = self.names.iter().find(|(_, known)| **known == name).unwrap().0.clone();
        self.views.send_modify(|view| {
            let view = Arc::make_mut(view);
            view.alive.retain(|_, peer| peer.member.endpoint != address);
            for members in view.channels.values_mut() {
                members.retain(|_, member| member.peer.member.endpoint != address);
            }
        });
    }

    /// A proposal that nobody signed.
    pub(crate) fn proposal(&self, chaincode: &str, audience: Audience) -> protos::SignedProposal {
        proposal(chaincode, audience, bytes::Bytes::new())
    }

    /// A proposal of a client of an organization.
    pub(crate) fn signed(&self, chaincode: &str, org: &str) -> protos::SignedProposal {
        let client = self.organizations[org].client("user");
        let mut signed = proposal(chaincode, Audience::Anyone, client.identity().raw.clone());
        signed.signature = client.sign(&signed.proposal_bytes).unwrap();
        signed
    }

    pub(crate) async fn evaluate(
        &self,
        signed: protos::SignedProposal,
        orgs: &[&str],
    ) -> Result<protos::Response, Refusal> {
        let request = gateway::EvaluateRequest {
            proposed_transaction: Some(signed),
            target_organizations: orgs.iter().map(|org| (*org).to_owned()).collect(),
            ..Default::default()
        };
        let answer = self.gateway.evaluate(Request::new(request)).await.map_err(|status| self.refusal(&status))?;
        Ok(answer.into_inner().result.unwrap())
    }

    /// Who signed the prepared transaction, sorted.
    pub(crate) async fn endorse(&self, signed: protos::SignedProposal, orgs: &[&str]) -> Result<Vec<String>, Refusal> {
        let request = gateway::EndorseRequest {
            proposed_transaction: Some(signed),
            endorsing_organizations: orgs.iter().map(|org| (*org).to_owned()).collect(),
            ..Default::default()
        };
        let answer = self.gateway.endorse(Request::new(request)).await.map_err(|status| self.refusal(&status))?;
        let envelope = answer.into_inner().prepared_transaction.unwrap();
        let payload = common::Payload::decode(envelope.payload).unwrap();
        let transaction = protos::Transaction::decode(payload.data).unwrap();
        let payload = protos::ChaincodeActionPayload::decode(transaction.actions[0].payload.clone()).unwrap();
        let endorsements = payload.action.unwrap().endorsements;
        let mut names: Vec<_> =
            endorsements.into_iter().map(|by| String::from_utf8(by.endorser.to_vec()).unwrap()).collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) async fn submit(&self) -> Result<(), Refusal> {
        let envelope = common::Envelope { payload: "transaction".into(), signature: "signature".into() };
        let request = gateway::SubmitRequest {
            channel_id: CHANNEL.to_owned(),
            prepared_transaction: Some(envelope),
            ..Default::default()
        };
        self.gateway.submit(Request::new(request)).await.map(drop).map_err(|status| self.refusal(&status))
    }

    /// The name of a peer; orderers have none.
    fn name(&self, address: &str) -> &'static str {
        self.names.get(address).copied().unwrap_or("orderer")
    }

    fn refusal(&self, status: &Status) -> Refusal {
        let details = RpcStatus::decode(status.details()).unwrap().details;
        let details = details.into_iter().map(|detail| gateway::ErrorDetail::decode(detail.value.as_slice()).unwrap());
        Refusal {
            code: status.code(),
            message: status.message().to_owned(),
            details: details.map(|detail| (self.name(&detail.address), detail.msp_id, detail.message)).collect(),
        }
    }
}

/// What an application learns of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Peer, organization, words.
    pub(crate) details: Vec<(&'static str, String, String)>,
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// Whether a proposal carries transient data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Anyone,
    Trusted,
}

fn proposal(chaincode: &str, audience: Audience, creator: bytes::Bytes) -> protos::SignedProposal {
    let header = common::Header {
        channel_header: common::ChannelHeader { channel_id: CHANNEL.to_owned(), ..Default::default() }
            .encode_to_vec()
            .into(),
        signature_header: common::SignatureHeader { creator, nonce: "nonce".into() }.encode_to_vec().into(),
    };
    let chaincode_id = Some(protos::ChaincodeId { name: chaincode.to_owned(), ..Default::default() });
    let spec = protos::ChaincodeSpec { chaincode_id, ..Default::default() };
    let input = protos::ChaincodeInvocationSpec { chaincode_spec: Some(spec) }.encode_to_vec().into();
    let transient_map = match audience {
        Audience::Anyone => BTreeMap::new(),
        Audience::Trusted => [("price".to_owned(), "7".into())].into(),
    };
    let payload = protos::ChaincodeProposalPayload { input, transient_map };
    let proposal = protos::Proposal {
        header: header.encode_to_vec().into(),
        payload: payload.encode_to_vec().into(),
        ..Default::default()
    };
    protos::SignedProposal { proposal_bytes: proposal.encode_to_vec().into(), signature: bytes::Bytes::new() }
}

async fn serve(told: Told) -> String {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    let routes = Routes::new(EndorserServer::new(told));
    tokio::spawn(serve_grpc(listener, None, ServerOptions::default(), routes, std::future::pending()));
    address
}

pub(crate) fn member(address: &str, org: &str, height: u64, identity: &SerializedIdentity) -> ChannelMember {
    let pki_id = PkiId::of(identity);
    let alive = SignedMessage::unsigned(ripstop_gossip::Message {
        nonce: 0,
        channel: None,
        tag: Tag::Everybody,
        content: Content::Alive(Alive {
            pki_id: pki_id.clone(),
            endpoint: address.to_owned(),
            metadata: bytes::Bytes::new(),
            time: PeerTime::default(),
            identity: bytes::Bytes::new(),
        }),
    });
    let peer = KnownPeer {
        member: Member {
            pki_id,
            endpoint: address.to_owned(),
            internal_endpoint: String::new(),
            metadata: bytes::Bytes::new(),
        },
        identity: identity.raw.clone(),
        organization: ripstop_types::MspId::new(org),
        alive: alive.clone(),
    };
    let chaincodes = ["_lifecycle", "basic"].map(|name| AnnouncedChaincode {
        name: name.to_owned(),
        version: "1".to_owned(),
        metadata: bytes::Bytes::new(),
    });
    ChannelMember { peer: Arc::new(peer), state_info: alive, height, chaincodes: chaincodes.into() }
}
