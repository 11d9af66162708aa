//! Some peers of three organizations with their ledgers, and a network in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message as _;
use ripstop_channel_config::genesis;
use ripstop_committer::Committer;
use ripstop_crypto::SigningIdentity;
use ripstop_deliver::BlockOrigin;
use ripstop_gossip::{
    ChannelMember, Contact, Content, Distrust, KnownPeer, Member, Message, Moment, PeerTime, PkiId, PrivateDigest,
    PrivateElement, PrivatePayload, SignedMessage, Standing, StateInfo, Tag, Trust, View,
};
use ripstop_gossip_service::{AcknowledgeError, AskError, PrivateIncoming, SendError};
use ripstop_ledger::{Ledger, LedgerOptions, Ledgers, SimulationResults, StateView};
use ripstop_lifecycle::collection;
use ripstop_operations::Metrics;
use ripstop_policy::envelope::signed_by_any;
use ripstop_private_data::{
    ChannelPrivateData, Neighbours, PrivateDataConfig, PrivateDataMetrics, PrivateDataService, ShareError,
};
use ripstop_proto::protos::{self, StaticCollectionConfig};
use ripstop_proto::{common, lifecycle};
use ripstop_rwset::{RwSetBuilder, TxPrivateRwSet};
use ripstop_testkit::{Channel, DraftTransaction, Organization, signed_block};
use ripstop_types::{Block, BlockNumber, ChannelId, MspId, Timestamp, TxId};
use tokio::sync::{mpsc, oneshot, watch};

/// The only chaincode, and its collection of Org1 and Org2.
pub(crate) const CHAINCODE: &str = "cc";
pub(crate) const COLLECTION: &str = "coll";

pub(crate) fn channel() -> ChannelId {
    ChannelId::new("mychannel").unwrap()
}

/// How a peer answers questions of others.
#[derive(Clone)]
pub(crate) enum Manner {
    Honest,
    Silent,
    Offline,
    Lying(Arc<dyn Fn(Vec<PrivateDigest>) -> Vec<PrivateElement> + Send + Sync>),
}

struct Line {
    contact: Contact,
    known: Arc<KnownPeer>,
    ledger: Arc<Ledger>,
    door: mpsc::Sender<PrivateIncoming>,
    views: watch::Sender<Arc<View>>,
    manner: Manner,
}

/// All lines of the network, and what went over them: to whom, and the values.
#[derive(Default)]
pub(crate) struct Network {
    lines: Mutex<BTreeMap<PkiId, Line>>,
    delivered: Mutex<Vec<(MspId, Bytes)>>,
    questions: Mutex<usize>,
}

/// A peer's place in the network.
struct Seat {
    network: Arc<Network>,
    me: PkiId,
}

impl Network {
    fn contact(&self, peer: &PkiId) -> Contact {
        self.lines.lock()[peer].contact.clone()
    }

    fn door(&self, to: &PkiId) -> (mpsc::Sender<PrivateIncoming>, Manner) {
        let lines = self.lines.lock();
        (lines[to].door.clone(), lines[to].manner.clone())
    }

    fn note(&self, to: &PkiId, value: Bytes) {
        let organization = self.contact(to).organization;
        self.delivered.lock().push((organization, value));
    }

    /// Tells all peers who is there.
    pub(crate) fn refresh(&self) {
        let lines = self.lines.lock();
        let there = || lines.iter().filter(|(_, line)| !matches!(line.manner, Manner::Offline));
        let member = |line: &Line| ChannelMember {
            peer: Arc::clone(&line.known),
            state_info: line.contact.handshake.clone(),
            height: line.ledger.height(),
            chaincodes: vec![],
        };
        for line in lines.values() {
            let members = there().map(|(id, line)| (id.clone(), member(line))).collect();
            let alive = there().map(|(id, line)| (id.clone(), Arc::clone(&line.known))).collect();
            let channels = BTreeMap::from([(channel(), members)]);
            line.views.send_replace(Arc::new(View { me: Some(Arc::clone(&line.known)), alive, channels }));
        }
    }
}

impl Neighbours for Seat {
    fn views(&self) -> watch::Receiver<Arc<View>> {
        self.network.lines.lock()[&self.me].views.subscribe()
    }

    fn give<'a>(
        &'a self,
        to: &'a PkiId,
        _: &'a ChannelId,
        payload: PrivatePayload,
        patience: Duration,
    ) -> BoxFuture<'a, Result<(), AcknowledgeError>> {
        async move {
            let (door, manner) = self.network.door(to);
            self.network.note(to, payload.writes.clone());
            match manner {
                Manner::Offline => return Err(SendError::Unknown(to.clone()).into()),
                Manner::Silent => {
                    tokio::time::sleep(patience).await;
                    return Err(AcknowledgeError::Timeout(patience));
                }
                Manner::Honest | Manner::Lying(_) => {}
            }
            let (reply, answer) = oneshot::channel();
            let from = self.network.contact(&self.me);
            door.send(PrivateIncoming::Data { from, payload, reply }).await.unwrap();
            answer.await.unwrap().map_err(AcknowledgeError::Refused)
        }
        .boxed()
    }

    fn ask<'a>(
        &'a self,
        to: &'a PkiId,
        _: &'a ChannelId,
        digests: Vec<PrivateDigest>,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Vec<PrivateElement>, AskError>> {
        async move {
            *self.network.questions.lock() += 1;
            let (door, manner) = self.network.door(to);
            match manner {
                Manner::Offline => return Err(SendError::Unknown(to.clone()).into()),
                Manner::Silent => {
                    tokio::time::sleep(patience).await;
                    return Err(AskError::Timeout(patience));
                }
                Manner::Lying(lie) => return Ok(lie(digests)),
                Manner::Honest => {}
            }
            let (reply, answer) = oneshot::channel();
            let from = self.network.contact(&self.me);
            door.send(PrivateIncoming::Request { from, digests, reply }).await.unwrap();
            let elements = answer.await.map_err(|_| AskError::Timeout(patience))?;
            elements
                .iter()
                .flat_map(|element| &element.payload)
                .for_each(|raw| self.network.note(&self.me, raw.clone()));
            Ok(elements)
        }
        .boxed()
    }
}

/// Signs as a peer, and knows nobody.
struct Signs<'a>(&'a SigningIdentity);

impl Trust for Signs<'_> {
    fn identify(&self, _: Moment, _: &Bytes) -> Result<Standing, Distrust> {
        Err(Distrust("nobody".to_owned()))
    }

    fn verify(&self, _: &Bytes, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn verify_reader(&self, _: &ChannelId, _: &Bytes, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        self.0.sign(message).unwrap()
    }
}

pub(crate) struct Peer {
    pub(crate) signer: SigningIdentity,
    pub(crate) id: PkiId,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sharing: ChannelPrivateData,
    organization: MspId,
    _directory: tempfile::TempDir,
    _ledgers: Ledgers,
}

pub(crate) struct World {
    pub(crate) network: Arc<Network>,
    pub(crate) organizations: [Organization; 3],
    pub(crate) config: PrivateDataConfig,
    orderer: Organization,
    client: SigningIdentity,
    genesis: Block,
    chain: Mutex<Vec<Block>>,
}

/// A transaction that was endorsed.
pub(crate) struct Endorsed {
    pub(crate) tx_id: TxId,
    pub(crate) envelope: Bytes,
    pub(crate) results: SimulationResults,
}

impl World {
    /// Of the chaincode with its collection, and Org1's implicit one.
    pub(crate) fn new(collection: StaticCollectionConfig) -> Self {
        let orderer = Organization::new("OrdererMSP");
        let organizations = ["Org1MSP", "Org2MSP", "Org3MSP"].map(Organization::new);
        let root = Channel::new(&orderer, &organizations).group();
        let genesis = genesis::block(&channel(), root, [7; 24], Timestamp { seconds: 0, nanos: 0 });
        let world = Self {
            network: Arc::default(),
            config: PrivateDataConfig::default(),
            client: organizations[0].client("client"),
            organizations,
            orderer,
            genesis: genesis.clone(),
            chain: Mutex::new(vec![genesis]),
        };
        let (results, _) = definition(&collection).build();
        let [org1, org2, _] = &world.organizations;
        let (one, two) = (org1.peer("definer"), org2.peer("definer"));
        let mut draft = DraftTransaction::new(channel().as_str(), &world.client, [&one, &two]);
        let chaincode =
            protos::ChaincodeId { name: "_lifecycle".into(), version: "syscc".into(), ..Default::default() };
        draft.chaincode = Some(chaincode);
        draft.results = results.encode();
        let envelope = draft.bytes();
        world.order(vec![envelope]);
        world
    }

    /// Puts a block behind the chain.
    pub(crate) fn order(&self, data: Vec<Bytes>) -> u64 {
        let mut chain = self.chain.lock();
        let number = chain.len() as u64;
        let previous = chain.last().unwrap().header.hash().to_bytes();
        chain.push(signed_block(&self.orderer.orderer("orderer"), BlockNumber::new(number), previous, data));
        number
    }

    /// A peer of an organization, with the chain as it is.
    pub(crate) async fn peer(&self, organization: usize, name: &str) -> Peer {
        let organization = &self.organizations[organization];
        let signer = organization.peer(name);
        let raw = signer.identity().raw.clone();
        let id = PkiId::of(signer.identity());
        let directory = tempfile::tempdir().unwrap();
        let ledgers = Ledgers::open(directory.path(), LedgerOptions::default()).unwrap();
        let ledger = ledgers.create(self.genesis.clone()).unwrap();
        let (door, incoming) = mpsc::channel(64);
        let content = StateInfo {
            pki_id: id.clone(),
            channel_mac: Bytes::new(),
            time: PeerTime::default(),
            height: 1,
            left_channel: false,
            chaincodes: vec![],
        };
        let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::StateInfo(content) };
        let handshake = SignedMessage::signed(message, &Signs(&signer));
        let member = Member {
            pki_id: id.clone(),
            endpoint: format!("{name}:7051"),
            internal_endpoint: String::new(),
            metadata: Bytes::new(),
        };
        let msp_id = organization.msp_id().clone();
        let known = KnownPeer { member, identity: raw.clone(), organization: msp_id.clone(), alive: handshake.clone() };
        let line = Line {
            contact: Contact { pki_id: id.clone(), identity: raw, organization: msp_id.clone(), handshake },
            known: Arc::new(known),
            ledger: Arc::clone(&ledger),
            door,
            views: watch::Sender::new(Arc::default()),
            manner: Manner::Honest,
        };
        self.network.lines.lock().insert(id.clone(), line);
        self.network.refresh();
        let seat = Arc::new(Seat { network: Arc::clone(&self.network), me: id.clone() });
        let metrics = PrivateDataMetrics::new(&Metrics::new());
        let service = PrivateDataService::new(seat, msp_id.clone(), self.config.clone(), metrics);
        let sharing = service.channel(&ledger);
        tokio::spawn(sharing.clone().run(incoming));
        let peer = Peer { signer, id, ledger, sharing, organization: msp_id, _directory: directory, _ledgers: ledgers };
        self.commit(&peer).await;
        peer
    }

    /// Lets a peer commit all blocks that it lacks.
    pub(crate) async fn commit(&self, peer: &Peer) {
        self.commit_with(peer, vec![]).await;
    }

    /// Lets a peer commit all blocks that it lacks, where these private data came along with each.
    pub(crate) async fn commit_with(&self, peer: &Peer, private_data: Vec<Bytes>) {
        let blocks = self.chain.lock()[peer.ledger.height() as usize..].to_vec();
        let committer = Committer::new(Arc::clone(&peer.ledger))
            .of_organization(peer.organization.clone())
            .sharing(peer.sharing.clone());
        let (sender, received) = mpsc::channel(blocks.len().max(1));
        let origin = BlockOrigin::new("orderer:7050");
        for block in blocks {
            sender.send(origin.pulled(block).with_private_data(private_data.clone())).await.unwrap();
        }
        drop(sender);
        committer.run(received).await.unwrap();
        assert!(!origin.is_refused());
        self.network.refresh();
    }

    /// What a peer would endorse: a private value.
    pub(crate) fn draft(&self, peer: &Peer, name: &str, key: &str) -> Endorsed {
        let mut builder = RwSetBuilder::new();
        builder.private_write(CHAINCODE, name, key, format!("secret {key}").into());
        let (public, private) = builder.build();
        let mut draft = DraftTransaction::new(channel().as_str(), &self.client, [&peer.signer]);
        draft.nonce = Bytes::from(format!("{key} {name}"));
        draft.chaincode =
            Some(protos::ChaincodeId { name: CHAINCODE.into(), version: "1.0".into(), ..Default::default() });
        draft.results = public.encode();
        let (state, config) = (peer.ledger.snapshot(), peer.ledger.config());
        let collection = collection(&*state, &config, CHAINCODE, name).unwrap().unwrap();
        Endorsed {
            tx_id: TxId::compute(&draft.nonce, &self.client.identity().raw),
            envelope: draft.bytes(),
            results: SimulationResults {
                public_bytes: public.encode(),
                public,
                private,
                written_collections: vec![(CHAINCODE.to_owned(), collection)],
                private_reads: Default::default(),
                written_keys: vec![],
                height: state.height(),
            },
        }
    }

    /// Lets a peer endorse a private value, and share it.
    pub(crate) async fn endorse(&self, peer: &Peer, name: &str, key: &str) -> Result<Endorsed, ShareError> {
        let endorsed = self.draft(peer, name, key);
        peer.sharing.share(&endorsed.tx_id, &endorsed.results).await?;
        Ok(endorsed)
    }

    pub(crate) fn behave(&self, peer: &Peer, manner: Manner) {
        self.network.lines.lock().get_mut(&peer.id).unwrap().manner = manner;
        self.network.refresh();
    }

    /// How many questions were asked since the last time.
    pub(crate) fn questions(&self) -> usize {
        std::mem::take(&mut self.network.questions.lock())
    }

    /// Whether a value went to a peer of an organization.
    pub(crate) fn was_told(&self, organization: usize, key: &str) -> bool {
        let organization = self.organizations[organization].msp_id();
        let value = format!("secret {key}");
        let holds = |raw: &Bytes| raw.windows(value.len()).any(|part| part == value.as_bytes());
        self.network.delivered.lock().iter().any(|(to, raw)| to == organization && holds(raw))
    }

    /// Puts a message into a peer's door as another peer.
    pub(crate) async fn knock<T>(
        &self,
        from: &Peer,
        to: &Peer,
        message: impl FnOnce(Contact, oneshot::Sender<T>) -> PrivateIncoming,
    ) -> T {
        let (reply, answer) = oneshot::channel();
        let (door, _) = self.network.door(&to.id);
        door.send(message(self.network.contact(&from.id), reply)).await.unwrap();
        answer.await.unwrap()
    }
}

impl Peer {
    /// A private value, as it is known here.
    pub(crate) fn value(&self, name: &str, key: &str) -> Option<Bytes> {
        self.ledger.snapshot().private(CHAINCODE, name, key).unwrap().map(|found| found.value)
    }

    pub(crate) fn has(&self, name: &str, key: &str) -> bool {
        self.value(name, key).is_some_and(|value| value == format!("secret {key}"))
    }

    pub(crate) fn transient(&self, tx_id: &TxId) -> Vec<TxPrivateRwSet> {
        self.ledger.transient().get(tx_id).unwrap().into_iter().map(|set| set.writes).collect()
    }
}

/// A collection of Org1 and Org2.
pub(crate) fn shared(required: i32, maximum: i32) -> StaticCollectionConfig {
    StaticCollectionConfig {
        name: COLLECTION.to_owned(),
        member_orgs_policy: Some(members_policy(&["Org1MSP", "Org2MSP"])),
        required_peer_count: required,
        maximum_peer_count: maximum,
        ..Default::default()
    }
}

/// Members of these organizations.
pub(crate) fn members_policy(organizations: &[&str]) -> protos::CollectionPolicyConfig {
    let members: Vec<MspId> = organizations.iter().copied().map(MspId::new).collect();
    let policy = signed_by_any(ripstop_msp::Role::Member, &members);
    protos::CollectionPolicyConfig { payload: Some(protos::collection_policy_config::Payload::SignaturePolicy(policy)) }
}

/// One collection, as definitions travel.
pub(crate) fn package(collection: &StaticCollectionConfig) -> protos::CollectionConfigPackage {
    let payload = protos::collection_config::Payload::StaticCollectionConfig(collection.clone());
    protos::CollectionConfigPackage { config: vec![protos::CollectionConfig { payload: Some(payload) }] }
}

/// The writes of `_lifecycle` that define the chaincode. Any member may endorse it.
fn definition(collection: &StaticCollectionConfig) -> RwSetBuilder {
    use lifecycle::state_data::Type;
    let package = package(collection);
    let anybody = signed_by_any(ripstop_msp::Role::Member, &["Org1MSP", "Org2MSP", "Org3MSP"].map(MspId::new));
    let policy = protos::ApplicationPolicy {
        r#type: Some(protos::application_policy::Type::SignaturePolicy(common::SignaturePolicyEnvelope { ..anybody })),
    };
    let endorsement = lifecycle::ChaincodeEndorsementInfo {
        version: "1.0".into(),
        endorsement_plugin: "escc".into(),
        ..Default::default()
    };
    let validation = lifecycle::ChaincodeValidationInfo {
        validation_plugin: "vscc".into(),
        validation_parameter: policy.encode_to_vec().into(),
    };
    let fields = [
        ("Sequence", Type::Int64(1)),
        ("EndorsementInfo", Type::Bytes(endorsement.encode_to_vec().into())),
        ("ValidationInfo", Type::Bytes(validation.encode_to_vec().into())),
        ("Collections", Type::Bytes(package.encode_to_vec().into())),
    ];
    let names = fields.iter().map(|(name, _)| (*name).to_owned()).collect();
    let metadata = lifecycle::StateMetadata { datatype: "ChaincodeDefinition".into(), fields: names };
    let mut set = RwSetBuilder::new();
    set.write("_lifecycle", &format!("namespaces/metadata/{CHAINCODE}"), metadata.encode_to_vec().into());
    for (name, value) in fields {
        let value = lifecycle::StateData { r#type: Some(value) }.encode_to_vec();
        set.write("_lifecycle", &format!("namespaces/fields/{CHAINCODE}/{name}"), value.into());
    }
    set
}
