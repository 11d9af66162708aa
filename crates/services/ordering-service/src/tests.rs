//! A node's channels from joining to removal, over crashes, with files in a temporary directory.

mod cluster;
pub(crate) mod founders;

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use ripstop_channel_config::{ChannelConfig, genesis};
use ripstop_crypto::SigningIdentity;
use ripstop_deliver::{BlockForm, Channels, DeliverConfig, DeliverService, ExpirationCheck, TlsBinding};
use ripstop_keys::{EnvelopeHeader, nonce, sign_envelope};
use ripstop_operations::Metrics;
use ripstop_ordering::Message;
use ripstop_proto::common::{self, Status as BroadcastStatus};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::{Message as _, etcdraft, orderer, protos};
use ripstop_raft::{Consenters, NodeId};
use ripstop_runtime::TaskGroup;
use ripstop_testkit::{Channel, Organization, TlsCredentials, value};
use ripstop_transport::{
    ClientRoots, ConcurrencyLimit, Endpoint, KeyPair, Listener, MessageLimits, ServerKeepalive, serve_grpc,
};
use ripstop_types::{Block, BlockNumber, ChannelId, Envelope, HeaderType, SignedData, Timestamp};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::answers::{Answers, Forwarded, Waiting};
use crate::consensus::OrderKind;
use crate::error::OrderError;
use crate::produce::{Producer, raft_consenters};
use crate::{
    AtomicBroadcastService, ClusterConfig, ExpiredClients, JoinBlock, OrderingConfig, OrderingService,
    participation_routes,
};

/// Blocks are cut at this many messages; the batch timeout is too long to matter.
const BATCH: usize = 3;

struct World {
    orderer: Organization,
    org1: Organization,
    stranger: Organization,
    credentials: TlsCredentials,
    genesis: Block,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with_snapshots_every(16 << 20)
    }

    fn with_snapshots_every(bytes: u32) -> Self {
        Self::with_raft_options(|options| options.snapshot_interval_size = bytes)
    }

    fn with_raft_options(change: impl FnOnce(&mut ripstop_proto::etcdraft::Options)) -> Self {
        let [orderer, org1, stranger] = ["OrdererMSP", "Org1MSP", "Org2MSP"].map(Organization::new);
        let mut group = Channel::new(&orderer, [&org1]).group();
        let ordering = group.groups.get_mut("Orderer").unwrap();
        let size =
            orderer::BatchSize { max_message_count: 3, absolute_max_bytes: 1 << 20, preferred_max_bytes: 1 << 18 };
        let mut consensus = orderer::ConsensusType::decode(ordering.values["ConsensusType"].value.clone()).unwrap();
        let mut metadata = ripstop_proto::etcdraft::ConfigMetadata::decode(consensus.metadata).unwrap();
        let credentials = orderer.tls("osn", &["127.0.0.1"]);
        metadata.consenters[0].server_tls_cert = credentials.certificate.clone().into();
        change(metadata.options.as_mut().unwrap());
        consensus.metadata = metadata.encode_to_vec().into();
        ordering.values.extend([
            value("BatchSize", &size),
            value("ConsensusType", &consensus),
            value("BatchTimeout", &orderer::BatchTimeout { timeout: "10h".into() }),
        ]);
        let genesis = genesis::block(&channel_id(), group, nonce(), Timestamp { seconds: 1_700_000_000, nanos: 0 });
        Self { orderer, org1, stranger, credentials, genesis, directory: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> OrderingConfig {
        let path = |name: &str| self.directory.path().join(name);
        OrderingConfig {
            ledger_directory: path("ledgers"),
            wal_directory: path("wal"),
            snapshot_directory: path("snapshots"),
            tick_interval: None,
            expiration: ExpiredClients::Refused,
            server: key_pair(&self.credentials),
            cluster: cluster_config(&self.credentials),
        }
    }

    /// Runs a node until `work` is done, then stops it between two instructions: nothing is closed.
    fn node<T>(&self, work: impl AsyncFnOnce(OrderingService) -> T) -> T {
        self.counted_node(&Metrics::new(), work)
    }

    /// The same with what it counts.
    fn counted_node<T>(&self, metrics: &Metrics, work: impl AsyncFnOnce(OrderingService) -> T) -> T {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let roots = ClientRoots::default();
            let tasks = TaskGroup::root("orderer");
            let signer = self.orderer.orderer("osn");
            let service = OrderingService::open(self.config(), signer, metrics, vec![roots], tasks).await.unwrap();
            work(service).await
        })
    }

    fn joined(&self) {
        self.node(async |service| service.join(self.join_block()).await.map(drop)).unwrap();
    }

    fn join_block(&self) -> JoinBlock {
        JoinBlock::new(self.genesis.clone()).unwrap()
    }
}

fn key_pair(credentials: &TlsCredentials) -> KeyPair {
    KeyPair::from_pem(credentials.certificate.as_bytes(), credentials.key.as_bytes()).unwrap()
}

fn cluster_config(credentials: &TlsCredentials) -> ClusterConfig {
    ClusterConfig {
        key_pair: key_pair(credentials),
        roots: ClientRoots::default(),
        dial_timeout: Duration::from_secs(60),
        rpc_timeout: Duration::from_secs(60),
        send_buffer: 100,
        pull_timeout: Duration::from_secs(60),
        retry_pause: Duration::from_millis(100),
        time_shift: Duration::ZERO,
        messages: MessageLimits::default(),
    }
}

pub(crate) fn channel_id() -> ChannelId {
    ChannelId::new("mychannel").unwrap()
}

fn message(signer: &SigningIdentity, kind: HeaderType, data: impl Into<Bytes>) -> common::Envelope {
    let channel_id = channel_id();
    let header = EnvelopeHeader {
        kind,
        channel_id: Some(&channel_id),
        tx_id: None,
        extension: Bytes::new(),
        tls_cert_hash: Bytes::new(),
        timestamp: Timestamp { seconds: 1_700_000_000, nanos: 0 },
    };
    sign_envelope(signer, &header, data.into()).unwrap()
}

pub(crate) fn normal(signer: &SigningIdentity, text: &str) -> common::Envelope {
    message(signer, HeaderType::EndorserTransaction, text.to_owned())
}

async fn send(service: &OrderingService, envelope: common::Envelope) -> (BroadcastStatus, String) {
    let response = service.process(envelope, "client").await.response().await;
    (response.status(), response.info)
}

async fn send_all(service: &OrderingService, signer: &SigningIdentity, texts: &[&str]) {
    for text in texts {
        assert_eq!(send(service, normal(signer, text)).await, (BroadcastStatus::Success, String::new()), "{text}");
    }
}

async fn block(service: &OrderingService, number: u64) -> Block {
    let source = service.source("mychannel").unwrap();
    source.heights().wait_for(|height| *height > number).await.unwrap();
    Block::clone(&*source.block(BlockNumber::new(number)).unwrap())
}

pub(crate) fn texts(block: &Block) -> Vec<String> {
    let text = |raw: &Bytes| String::from_utf8(Envelope::parse(raw.clone()).unwrap().data.to_vec()).unwrap();
    block.data.iter().map(text).collect()
}

/// The orderers' signatures over a block, as policies judge them.
fn signatures(block: &Block) -> Vec<SignedData> {
    let (value, signatures) = block.metadata.signatures().unwrap();
    let signed = |header: &Bytes| [value.as_ref(), header, &block.header.to_der()].concat().into();
    let creator = |header: &Bytes| common::SignatureHeader::decode(header.clone()).unwrap().creator;
    let data = |s: ripstop_types::BlockSignature| SignedData {
        identity: creator(&s.signature_header),
        message: signed(&s.signature_header),
        signature: s.signature,
    };
    signatures.into_iter().map(data).collect()
}

#[test]
fn what_is_stored_is_counted_under_fabrics_names() {
    let world = World::new();
    world.joined();
    let (alice, metrics) = (world.org1.client("alice"), Metrics::new());
    world.counted_node(&metrics, async |service| send_all(&service, &alice, &["a", "b", "c", "d"]).await);
    let text = metrics.text();
    for line in [
        "ledger_blockchain_height{channel=\"mychannel\"} 2",
        "ledger_blockstorage_commit_time_count{channel=\"mychannel\"} 1",
        "blockcutter_block_fill_duration_count{channel=\"mychannel\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn blocks_are_cut_signed_and_chained() {
    let world = World::new();
    world.joined();
    let alice = world.org1.client("alice");
    world.node(async |service| {
        send_all(&service, &alice, &["a", "b", "c", "d", "e", "f"]).await;
        let (first, second) = (block(&service, 1).await, block(&service, 2).await);
        assert_eq!(
            (texts(&first), texts(&second)),
            (vec!["a".into(), "b".into(), "c".into()], vec!["d".into(), "e".into(), "f".into()])
        );
        assert_eq!(first.header.previous_hash, world.genesis.header.hash().to_bytes());
        assert_eq!(second.header.previous_hash, first.header.hash().to_bytes());
        assert_eq!(second.metadata.last_config().unwrap(), BlockNumber::GENESIS);
        second.check_well_formed().unwrap();
        let config = service.configuration(&channel_id()).unwrap();
        config.policies().evaluate("/Channel/Orderer/BlockValidation", &signatures(&second), config.msps()).unwrap();
        let recorded = ripstop_ordering::consenter_metadata(&second).unwrap();
        let recorded = ripstop_proto::etcdraft::BlockMetadata::decode(recorded).unwrap();
        // Before: the founding member, the beginnings of two terms (joining and this start), the first block.
        assert_eq!((recorded.consenter_ids, recorded.next_consenter_id, recorded.raft_index), (vec![1], 2, 5));
    });
}

#[test]
fn what_was_acknowledged_survives_a_crash_in_order_and_once() {
    let world = World::new();
    world.joined();
    let alice = world.org1.client("alice");
    world.node(async |service| send_all(&service, &alice, &["a", "b", "c", "d", "e"]).await);
    world.node(async |service| assert_eq!(block(&service, 1).await.data.len(), BATCH));
    world.node(async |service| {
        send_all(&service, &alice, &["f", "g"]).await;
        assert_eq!(texts(&block(&service, 2).await), ["d", "e", "f"]);
    });
    world.node(async |service| {
        send_all(&service, &alice, &["h", "i"]).await;
        assert_eq!(texts(&block(&service, 3).await), ["g", "h", "i"]);
        assert_eq!(service.info(&channel_id()).unwrap().height, 4);
    });
}

#[test]
fn a_lost_block_file_tail_is_written_again_from_the_log() {
    let world = World::new();
    world.joined();
    let alice = world.org1.client("alice");
    world.node(async |service| send_all(&service, &alice, &["a", "b", "c", "d", "e", "f"]).await);
    let header = world.node(async |service| block(&service, 2).await.header);
    let chain = world.directory.path().join("ledgers/chains/mychannel");
    let file = chain.join("blockfile_000000");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 10).unwrap();
    // Otherwise it would be an error: they say that the block was written safely.
    std::fs::remove_file(chain.join("locations")).unwrap();
    world.node(async |service| {
        let again = block(&service, 2).await;
        assert_eq!(again.header, header);
        let config = service.configuration(&channel_id()).unwrap();
        config.policies().evaluate("/Channel/Orderer/BlockValidation", &signatures(&again), config.msps()).unwrap();
    });
}

#[test]
fn a_compacted_log_goes_on_where_it_was() {
    let world = World::with_snapshots_every(1);
    world.joined();
    let alice = world.org1.client("alice");
    world.node(async |service| send_all(&service, &alice, &["a", "b", "c", "d"]).await);
    assert!(!is_empty(&world.directory.path().join("snapshots/mychannel")));
    world.node(async |service| {
        send_all(&service, &alice, &["e", "f", "g"]).await;
        assert_eq!(texts(&block(&service, 2).await), ["d", "e", "f"]);
    });
    world.node(async |service| {
        send_all(&service, &alice, &["h", "i"]).await;
        assert_eq!(texts(&block(&service, 3).await), ["g", "h", "i"]);
    });
}

#[test]
fn a_lone_consenter_without_its_log_goes_on_after_its_blocks() {
    for snapshots_every in [16 << 20, 1] {
        let world = World::with_snapshots_every(snapshots_every);
        world.joined();
        let alice = world.org1.client("alice");
        world.node(async |service| send_all(&service, &alice, &["a", "b", "c"]).await);
        std::fs::remove_dir_all(world.directory.path().join("wal")).unwrap();
        world.node(async |service| send_all(&service, &alice, &["d", "e", "f"]).await);
        world.node(async |service| assert_eq!(texts(&block(&service, 2).await), ["d", "e", "f"]));
    }
}

fn anchor_update(org1: &Organization) -> common::Envelope {
    let admin = org1.admin("root");
    let anchors = protos::AnchorPeers { anchor_peers: vec![protos::AnchorPeer { host: "p".into(), port: 1 }] };
    let content =
        common::ConfigValue { version: 1, value: anchors.encode_to_vec().into(), mod_policy: "Admins".into() };
    let group = |group: common::ConfigGroup| common::ConfigGroup {
        groups: [(
            "Application".into(),
            common::ConfigGroup { groups: [("Org1MSP".into(), group)].into(), ..Default::default() },
        )]
        .into(),
        ..Default::default()
    };
    let update = common::ConfigUpdate {
        channel_id: "mychannel".into(),
        read_set: Some(group(common::ConfigGroup::default())),
        write_set: Some(group(common::ConfigGroup {
            values: [("AnchorPeers".into(), content)].into(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let config_update = Bytes::from(update.encode_to_vec());
    let signature_header = ripstop_keys::signature_header(&admin);
    let signature = admin.sign(&[signature_header.as_ref(), &config_update].concat()).unwrap();
    let signatures = vec![common::ConfigSignature { signature_header, signature }];
    message(
        &admin,
        HeaderType::ConfigUpdate,
        common::ConfigUpdateEnvelope { config_update, signatures }.encode_to_vec(),
    )
}

#[test]
fn an_update_is_a_block_of_its_own_and_takes_effect() {
    let world = World::new();
    world.joined();
    let alice = world.org1.client("alice");
    let update = anchor_update(&world.org1);
    world.node(async |service| {
        send_all(&service, &alice, &["a"]).await;
        assert_eq!(send(&service, update.clone()).await.0, BroadcastStatus::Success);
        assert_eq!(texts(&block(&service, 1).await), ["a"], "what waited goes before");
        let config_block = block(&service, 2).await;
        assert_eq!(config_block.metadata.last_config().unwrap(), BlockNumber::new(2));
        assert_eq!(service.configuration(&channel_id()).unwrap().sequence(), 1);
        assert_eq!(service.fetch_block(&channel_id(), "config").unwrap().number(), BlockNumber::new(2));
        let (status, text) = send(&service, update).await;
        assert_eq!(status, BroadcastStatus::BadRequest);
        assert!(text.starts_with("error applying config update to existing channel 'mychannel': "), "{text}");
    });
    world.node(async |service| {
        assert_eq!(service.configuration(&channel_id()).unwrap().sequence(), 1);
        send_all(&service, &alice, &["b", "c", "d"]).await;
        assert_eq!(block(&service, 3).await.metadata.last_config().unwrap(), BlockNumber::new(2));
    });
}

#[test]
fn a_configuration_that_another_orderer_made_may_not_change_the_consenters() {
    let world = World::new();
    let config = ChannelConfig::from_block(&world.genesis).unwrap();
    let listed = raft_consenters(&config).unwrap();
    let other = |name: &'static str| etcdraft::Consenter { client_tls_cert: name.into(), ..listed[0].clone() };
    let [alone, one_more, others] =
        [vec![listed[0].clone()], vec![listed[0].clone(), other("x")], vec![other("x"), other("y")]]
            .map(Consenters::initial);
    let signer = world.orderer.orderer("osn");
    let active = alone.ids();
    let producer = |consenters| Producer {
        signer: &signer,
        expired: ExpiredClients::Refused,
        consenters,
        active: &active,
        now: 1_700_000_000,
    };
    let update = Envelope::from_proto(anchor_update(&world.org1)).unwrap();
    let message = producer(&alone).produce(&config, &update).unwrap();
    let content = common::ConfigEnvelope::decode(message.envelope.data.clone()).unwrap();
    let check = |consenters| producer(consenters).check_foreign(&config, &content).map_err(|error| error.to_string());
    assert_eq!(check(&alone), Ok(()));
    assert!(check(&one_more).unwrap_err().contains("this orderer cannot add or remove consenters yet"));
    assert!(check(&others).unwrap_err().contains("update of more than one consenter at a time"));
}

#[test]
fn refusals_have_fabrics_status() {
    let world = World::new();
    world.joined();
    let (alice, mallory) = (world.org1.client("alice"), world.stranger.client("mallory"));
    world.node(async |service| {
        let mut elsewhere = normal(&alice, "a");
        elsewhere.payload =
            Bytes::from(String::from_utf8_lossy(&elsewhere.payload).replace("mychannel", "otherchan").into_bytes());
        let cases = [
            (common::Envelope::default(), BroadcastStatus::BadRequest, "could not determine channel ID: header not set"),
            (
                common::Envelope { payload: vec![0xff; 9].into(), ..Default::default() },
                BroadcastStatus::BadRequest,
                "could not determine channel ID: error unmarshalling Payload: ",
            ),
            (
                message(&alice, HeaderType::Config, ""),
                BroadcastStatus::BadRequest,
                "message is of type that cannot be processed directly",
            ),
            (
                message(&alice, HeaderType::ConfigUpdate, "x"),
                BroadcastStatus::BadRequest,
                "error applying config update to existing channel 'mychannel': error converting envelope to config update: error unmarshalling message for type CONFIG_UPDATE: ",
            ),
            (
                normal(&mallory, "a"),
                BroadcastStatus::Forbidden,
                "implicit policy evaluation failed - 0 sub-policies were satisfied",
            ),
            (
                normal(&world.org1.expired_client("late"), "a"),
                BroadcastStatus::BadRequest,
                "broadcast client identity expired",
            ),
            (normal(&alice, &"x".repeat(1 << 20)), BroadcastStatus::BadRequest, "message payload is"),
        ];
        for (envelope, status, words) in cases {
            let answer = send(&service, envelope).await;
            assert_eq!(answer.0, status, "{words}");
            assert!(answer.1.starts_with(words), "{} / {words}", answer.1);
        }
        assert_eq!(service.info(&channel_id()).unwrap().height, 1);
    });
}

#[test]
fn a_broadcast_stream_answers_in_order_and_ends_after_a_refusal() {
    let world = World::new();
    world.joined();
    let (alice, mallory) = (world.org1.client("alice"), world.stranger.client("mallory"));
    world.node(async |service| {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(&listener.address().to_string()).unwrap();
        let config = DeliverConfig {
            time_window: Duration::from_secs(u64::from(u32::MAX)),
            binding: TlsBinding::NotChecked,
            expiration: ExpirationCheck::On,
            limit: ConcurrencyLimit::new("/orderer.AtomicBroadcast", 0),
        };
        let deliver = DeliverService::new(std::sync::Arc::new(service.clone()), config, &Metrics::new());
        let routes = tonic::service::Routes::new(AtomicBroadcastService::new(service, deliver).into_server());
        tokio::spawn(serve_grpc(listener, None, ServerKeepalive::default(), routes, std::future::pending()));
        let mut client = AtomicBroadcastClient::new(endpoint.channel());

        let messages = ["a", "b"].map(|text| normal(&alice, text)).into_iter();
        let messages = messages.chain([normal(&mallory, "no"), normal(&alice, "c")]).collect::<Vec<_>>();
        let mut answers = client.broadcast(tokio_stream::iter(messages)).await.unwrap().into_inner();
        let mut statuses = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            statuses.push(answer.status());
        }
        assert_eq!(statuses, [BroadcastStatus::Success, BroadcastStatus::Success, BroadcastStatus::Forbidden]);

        let mut answers = client.broadcast(tokio_stream::iter([normal(&alice, "c")])).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().status(), BroadcastStatus::Success);
        let position = |number| orderer::SeekPosition {
            r#type: Some(orderer::seek_position::Type::Specified(orderer::SeekSpecified { number })),
        };
        let seek = orderer::SeekInfo { start: Some(position(1)), stop: Some(position(1)), ..Default::default() };
        let request = message(&alice, HeaderType::DeliverSeekInfo, seek.encode_to_vec());
        let mut answers = client.deliver(tokio_stream::iter([request])).await.unwrap().into_inner();
        let Some(orderer::deliver_response::Type::Block(block)) = answers.message().await.unwrap().unwrap().r#type
        else {
            panic!("no block was delivered");
        };
        assert_eq!(texts(&Block::from_proto(block).unwrap()), ["a", "b", "c"]);
    });
}

#[test]
fn readers_of_the_channel_may_read_its_blocks() {
    let world = World::new();
    world.joined();
    world.node(async |service| {
        let source = service.source("mychannel").unwrap();
        let request = |signer: &SigningIdentity| ripstop_testkit::signed_data(signer, b"seek");
        assert!(source.authorize(BlockForm::Full, &request(&world.org1.peer("p"))).is_ok());
        assert!(source.authorize(BlockForm::Full, &request(&world.stranger.peer("p"))).is_err());
        assert!(service.source("otherchannel").is_none());
    });
}

async fn call(service: &OrderingService, request: Request<Body>) -> (StatusCode, String) {
    let response = participation_routes(service.clone(), 1 << 20).oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post(key: &str, content: &[u8]) -> Request<Body> {
    let mut body = format!("--frontier\r\nContent-Disposition: form-data; name=\"{key}\"; filename=\"config.block\"\r\nContent-Type: application/octet-stream\r\n\r\n").into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--frontier--\r\n");
    Request::post("/participation/v1/channels")
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=frontier")
        .body(Body::from(body))
        .unwrap()
}

#[test]
fn the_participation_api_speaks_as_fabrics() {
    let world = World::new();
    let genesis = world.genesis.to_proto().encode_to_vec();
    world.node(async |service| {
        let all = "/participation/v1/channels";
        assert_eq!(call(&service, get(all)).await, (StatusCode::OK, "{\"systemChannel\":null,\"channels\":null}\n".into()));
        let joined = "{\"name\":\"mychannel\",\"url\":\"/participation/v1/channels/mychannel\",\"consensusRelation\":\"consenter\",\"status\":\"active\",\"height\":1}\n";
        assert_eq!(call(&service, post("config-block", &genesis)).await, (StatusCode::CREATED, joined.into()));
        assert_eq!(call(&service, get("/participation/v1/channels/mychannel")).await, (StatusCode::OK, joined.into()));
        let list = "{\"systemChannel\":null,\"channels\":[{\"name\":\"mychannel\",\"url\":\"/participation/v1/channels/mychannel\"}]}\n";
        assert_eq!(call(&service, get(all)).await, (StatusCode::OK, list.into()));
        let error = |text: &str| format!("{{\"error\":\"{text}\"}}\n");
        let again = call(&service, post("config-block", &genesis)).await;
        assert_eq!(again, (StatusCode::METHOD_NOT_ALLOWED, error("cannot join: channel already exists")));
        let missing = call(&service, get("/participation/v1/channels/other")).await;
        assert_eq!(missing, (StatusCode::NOT_FOUND, error("channel does not exist")));
        assert_eq!(call(&service, get("/participation/v1/channels/Bad")).await.0, StatusCode::BAD_REQUEST);
        let key = call(&service, post("other", &genesis)).await;
        assert_eq!(key, (StatusCode::BAD_REQUEST, error("form does not contains part key: config-block")));
        let kind = Request::post(all).header(header::CONTENT_TYPE, "text/plain").body(Body::empty()).unwrap();
        assert_eq!(call(&service, kind).await, (StatusCode::BAD_REQUEST, error("unsupported Content-Type: [text/plain]")));
        let accept = Request::get(all).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap();
        assert_eq!(call(&service, accept).await.0, StatusCode::NOT_ACCEPTABLE);
        let large = vec![0; 2 << 20];
        let large = call(&service, post("config-block", &large)).await;
        let text = error("cannot read form from request body: http: request body too large");
        assert_eq!(large, (StatusCode::BAD_REQUEST, text));
        let garbage = call(&service, post("config-block", b"\xff\xff")).await.1;
        assert!(garbage.contains("cannot unmarshal file part config-block into a block: proto: cannot parse"), "{garbage}");
        let block = call(&service, get("/participation/v1/channels/mychannel/blocks/newest")).await;
        assert_eq!(block.0, StatusCode::OK);
        let elsewhere = call(&service, get("/participation/v2")).await;
        assert_eq!(elsewhere, (StatusCode::NOT_FOUND, "404 page not found\n".into()));
        assert_eq!(call(&service, get("/participation/v1/channels/mychannel/blocks/7")).await.0, StatusCode::NOT_FOUND);
        assert_eq!(call(&service, get("/participation/v1/channels/mychannel/blocks/x")).await.0, StatusCode::BAD_REQUEST);
        let delete = |path: &str| Request::delete(path).body(Body::empty()).unwrap();
        let removed = call(&service, delete("/participation/v1/channels/mychannel")).await;
        assert_eq!(removed, (StatusCode::NO_CONTENT, String::new()));
        let removed = call(&service, delete("/participation/v1/channels/mychannel")).await;
        assert_eq!(removed, (StatusCode::NOT_FOUND, error("cannot remove: channel does not exist")));
        assert!(is_empty(&world.directory.path().join("ledgers/chains")) && is_empty(&world.directory.path().join("wal")));
        assert_eq!(call(&service, post("config-block", &genesis)).await.0, StatusCode::CREATED);
    });
}

#[test]
fn a_configuration_is_updated_over_http_in_a_channel_that_is_served() {
    let world = World::new();
    let update = anchor_update(&world.org1).encode_to_vec();
    world.node(async |service| {
        let put = async || {
            let mut request = post("config-update-envelope", &update);
            *request.method_mut() = axum::http::Method::PUT;
            call(&service, request).await
        };
        let nowhere = "{\"error\":\"cannot update: channel does not exist\"}\n";
        assert_eq!(put().await, (StatusCode::METHOD_NOT_ALLOWED, nowhere.into()));
        service.join(world.join_block()).await.unwrap();
        let (status, text) = put().await;
        assert_eq!(status, StatusCode::CREATED, "{text}");
        assert!(text.starts_with("{\"name\":\"mychannel\","), "{text}");
        let (status, text) = put().await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.starts_with("{\"error\":\"cannot update: failed update config of channel mychannel: "), "{text}");
    });
}

#[test]
fn answers_are_named_as_their_requests() {
    let world = World::new();
    world.node(async |service| {
        let answer = async |request: Request<Body>| {
            let response = participation_routes(service.clone(), 1 << 20).oneshot(request).await.unwrap();
            response.headers()["x-request-id"].to_str().unwrap().to_owned()
        };
        let named = Request::get("/participation/v1/channels").header("X-Request-Id", "mine").body(Body::empty());
        assert_eq!(answer(named.unwrap()).await, "mine");
        let id = answer(get("/participation/v1/channels")).await;
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4');
    });
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn a_block_that_cannot_be_joined_is_refused_and_leaves_nothing() {
    let world = World::new();
    let join = async |service: &OrderingService, block: &Block| {
        call(service, post("config-block", &block.to_proto().encode_to_vec())).await
    };
    world.node(async |service| {
        let mut forged = world.genesis.clone();
        forged.header.data_hash = Bytes::from_static(&[0; 32]);
        let mut bare = world.genesis.clone();
        bare.metadata = ripstop_types::BlockMetadata::new(Vec::new());
        let mut later = world.genesis.clone();
        later.header.number = BlockNumber::new(7);
        let normal = Block::new(
            BlockNumber::GENESIS,
            Bytes::new(),
            vec![normal(&world.org1.client("a"), "x").encode_to_vec().into()],
        );
        let hasty = World::with_raft_options(|options| options.election_tick = options.heartbeat_tick);
        for (block, words) in [
            (
                &hasty.genesis,
                "cannot join: failed to determine cluster membership from join-block: failed to validate config metadata of ordering config: ElectionTick (1) must be greater than HeartbeatTick (1)",
            ),
            (&forged, "invalid join block: invalid block: Header.DataHash is different from Hash(block.Data)"),
            (&bare, "invalid join block: invalid block: does not have metadata"),
            (&normal, "invalid join block: block is not a config block"),
            (&later, "cannot join: this orderer can join a channel only with its genesis block yet"),
        ] {
            let (status, text) = join(&service, block).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(service.list(), []);
        assert!(is_empty(&world.directory.path().join("ledgers/chains")));
    });
    let other = World::new();
    world.node(async |service| {
        let (status, text) = join(&service, &other.genesis).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains("none of the channel's consenters"), "{text}");
    });
}

#[test]
fn a_channel_is_not_removed_while_it_is_joined() {
    let world = World::new();
    // One thread, so that it is known what comes first.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks = TaskGroup::root("orderer");
        let signer = world.orderer.orderer("osn");
        let service = OrderingService::open(world.config(), signer, &Metrics::new(), Vec::new(), tasks).await.unwrap();
        let id = channel_id();
        let (joined, removed) = tokio::join!(service.join(world.join_block()), service.remove(&id));
        joined.unwrap();
        assert!(removed.unwrap_err().to_string().contains("being joined right now"));
        assert_eq!(service.info(&id).unwrap().status, crate::Status::Active);
        service.remove(&id).await.unwrap();
        assert_eq!(service.list(), []);
    });
}

#[test]
fn all_clients_that_wait_are_counted() {
    let envelope = normal(&Organization::new("Org1MSP").client("alice"), "a");
    let message = Message::parse(envelope).unwrap();
    let mut answers = Answers::default();
    let mut told = Vec::new();
    for until in [1, 2, 3] {
        let (answer, receiver) = tokio::sync::oneshot::channel();
        told.push(receiver);
        let forwarded = Some(Forwarded { to: NodeId::new(2).unwrap(), until });
        let (message, kind) = (message.clone(), OrderKind::Normal);
        answers.add(message.raw.clone(), Waiting { message, kind, validated_at: 0, answer, forwarded });
    }
    assert_eq!(answers.len(), 3);
    let late = |waiting: &Waiting| waiting.forwarded.filter(|forwarded| forwarded.until < 2);
    assert_eq!(answers.refuse_if(|waiting| late(waiting).map(|forwarded| OrderError::NotOrdered(forwarded.to))), 1);
    assert_eq!(answers.len(), 2);
    answers.ordered(&[message.raw]);
    assert_eq!(answers.len(), 0);
    let told: Vec<_> = told.into_iter().map(|mut receiver| receiver.try_recv().unwrap().is_ok()).collect();
    assert_eq!(told, [false, true, true]);
}

#[test]
fn two_nodes_cannot_share_ledgers() {
    let world = World::new();
    world.node(async |_first| {
        let roots = ClientRoots::default();
        let (signer, tasks) = (world.orderer.orderer("osn"), TaskGroup::root("second"));
        let second = OrderingService::open(world.config(), signer, &Metrics::new(), vec![roots], tasks).await;
        assert!(second.err().unwrap().to_string().starts_with("another orderer process uses the ledger directory"));
    });
}

#[test]
fn an_orderer_whose_blocks_nobody_would_accept_does_not_join() {
    let world = World::new();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let roots = ClientRoots::default();
        let (signer, tasks) = (world.stranger.orderer("osn"), TaskGroup::root("orderer"));
        let service = OrderingService::open(world.config(), signer, &Metrics::new(), vec![roots], tasks).await.unwrap();
        let refusal = service.join(world.join_block()).await.unwrap_err().to_string();
        assert!(refusal.contains("nobody would accept blocks signed by this orderer"), "{refusal}");
        assert!(refusal.contains("Org2MSP"), "{refusal}");
    });
}

#[test]
fn a_damaged_channel_is_shown_as_failed_and_does_not_stop_the_node() {
    let world = World::new();
    world.joined();
    let alice = world.org1.client("alice");
    world.node(async |service| send_all(&service, &alice, &["a", "b", "c", "d"]).await);
    let log = world.directory.path().join("wal/mychannel/0000000000000001.log");
    let mut content = std::fs::read(&log).unwrap();
    content[20] ^= 1;
    std::fs::write(&log, content).unwrap();
    world.node(async |service| {
        let (status, body) = call(&service, get("/participation/v1/channels/mychannel")).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("\"status\":\"failed\""), "{body}");
        assert_eq!(send(&service, normal(&alice, "e")).await.0, BroadcastStatus::BadRequest);
    });
}
