//! A peer under attack by somebody with valid identities of another organization, while applications use it.

mod evil;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_interop::{CHANNEL, Load, Processes, Site, Work};
use ripstop_peer::client::Invocation;
use ripstop_proto::discovery::discovery_client::DiscoveryClient;
use ripstop_proto::discovery::{self, Query, query};
use ripstop_proto::gateway::gateway_client::GatewayClient;
use ripstop_proto::protos::{ChaincodeCall, ChaincodeInterest};
use ripstop_proto::{Message, gateway};
use ripstop_types::HeaderType;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::evil::{Evil, HOSTILE, Line, bombs, phrases};

/// How long anything may take before the test fails: far above what a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(120);
/// How many questions applications have to get answered during the attack.
const ANSWERS: usize = 30;
/// How much memory the peer may ever have: what it keeps of one organization and its peers has bounds, whose sum is below.
const MOST_MEMORY: u64 = 1_500 << 20;
/// How much it may write to its log.
const MOST_LOG: u64 = 20 << 20;
/// How many times each attack is made.
const ROUNDS: u64 = 12;

#[test]
fn a_peer_under_attack_goes_on_answering_and_stays_within_its_bounds() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_BIN_EXE_ripstop-under-test"));
    let site = Arc::new(Site::make(program, &scratch.path().join("network"), &[]));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there is a runtime").block_on(attack(program, &site));
}

async fn attack(program: &Path, site: &Arc<Site>) {
    let mut processes = Processes::new(program, site);
    let names = [site.orderer_name().to_owned(), site.peer_name(1), site.peer_name(HOSTILE)];
    names.iter().for_each(|name| processes.start_node(name));
    processes.start_contract();
    let load = Load::begin((0..2).map(|_| Application::new(site)));
    assert!(load.reaches(1, LIMIT).await, "the network does not begin: {}", load.last_failure());

    let before = load.done();
    let mut attacks = JoinSet::new();
    attacks.spawn(loud(Arc::clone(site)));
    attacks.spawn(exploding(Arc::clone(site)));
    attacks.spawn(many(Arc::clone(site)));
    attacks.spawn(silent(Arc::clone(site)));
    attacks.spawn(passed_on(Arc::clone(site)));
    attacks.spawn(curious(Arc::clone(site)));
    while let Some(ended) = attacks.join_next().await {
        ended.expect("no attacker panics");
    }
    let target = load.done().max(before + ANSWERS);
    assert!(
        load.reaches(target, LIMIT).await,
        "{} of {target} answers under attack; ended by themselves: {:?}; applications last saw: {}",
        load.done(),
        processes.ended(),
        load.last_failure()
    );
    let after = load.done() + 10;
    assert!(load.reaches(after, LIMIT).await, "after the attack: {}", load.last_failure());
    load.end().await;

    assert!(processes.ended().is_empty(), "{:?} ended by themselves", processes.ended());
    assert_eq!(site.panics(), Vec::<String>::new());
    let memory = most_memory(processes.id(&site.peer_name(1)));
    assert!(memory < MOST_MEMORY, "the peer had {memory} bytes");
    let log = std::fs::metadata(site.log(&site.peer_name(1))).expect("it writes a log").len();
    assert!(log < MOST_LOG, "the peer wrote {log} bytes to its log");
    println!("answers under attack: {}, most memory: {} MiB, log: {log} bytes", after - before, memory >> 20);
}

/// The most memory that a process ever had, in bytes.
fn most_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    let kilobytes = line.trim().trim_end_matches(" kB").trim().parse::<u64>();
    kilobytes.expect("it is a number") << 10
}

/// Says everything that may be said, again and again, and never reads.
async fn loud(site: Arc<Site>) {
    let evil = Evil::new(&site, "loud");
    let mut line = evil.insist(&site).await;
    line.say.send(evil.alive("127.0.0.1:1", 1)).await.ok();
    line.say.send(evil.state_info()).await.ok();
    for number in 0..ROUNDS {
        for phrase in phrases(number) {
            if line.say.send(phrase).await.is_err() {
                line = evil.insist(&site).await;
            }
        }
    }
}

/// Messages that take far more memory than bytes, before and behind the handshake.
async fn exploding(site: Arc<Site>) {
    let evil = Evil::new(&site, "exploding");
    for _ in 0..ROUNDS / 6 {
        for bomb in bombs(15 << 20) {
            let lines = [evil.dial(&site).await, evil.talk(&site).await];
            for Line { say, mut heard } in lines.into_iter().flatten() {
                say.send(bomb.clone()).await.ok();
                drop(say);
                while let Ok(Some(_)) = heard.message().await {}
            }
        }
    }
}

/// An organization's authority makes identities at will; all of them say that they live at the end of times, where somebody
/// listens and never answers.
async fn many(site: Arc<Site>) {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = nowhere.local_addr().expect("it is bound").to_string();
    let (evil, mut lines) = (Evil::new(&site, "many"), Vec::new());
    let line = evil.insist(&site).await;
    for number in 0..ROUNDS * 20 {
        let made_up = Evil::new(&site, &format!("made-up-{number}"));
        for sequence in [1, u64::MAX] {
            line.say.send(made_up.alive(&address, sequence)).await.ok();
        }
        line.say.send(made_up.state_info()).await.ok();
        if number % 10 == 0 {
            lines.extend(made_up.talk(&site).await);
        }
    }
}

/// Connections on which nothing is said, or not enough.
async fn silent(site: Arc<Site>) {
    let evil = Evil::new(&site, "silent");
    let address = site.peer(1).address();
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it has a port");
    // From another address than those that use the peer: who has all places of his own keeps out nobody else.
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
    let (mut connections, mut lines) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS * 30 {
        let socket = TcpSocket::new_v4().expect("there is room for a socket");
        socket.bind(elsewhere).expect("it is this machine's");
        if let Ok(mut connection) = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await {
            // The first bytes of a TLS handshake, sometimes.
            if number % 2 == 0 {
                connection.write_all(&[0x16, 3, 1, 2, 0]).await.ok();
            }
            connections.push(connection);
        }
        if number % 100 == 0 {
            lines.push(evil.dial(&site).await);
        }
    }
}

/// A handshake that somebody else signed for another connection, and its own for another certificate.
async fn passed_on(site: Arc<Site>) {
    let evil = Evil::new(&site, "passed-on");
    for _ in 0..ROUNDS {
        let Some(mut line) = evil.dial(&site).await else { continue };
        line.say.send(evil.handshake(Bytes::from_static(&[7; 32]))).await.ok();
        let mut messages = 0;
        let refusal = loop {
            match line.heard.message().await {
                Ok(Some(_)) => messages += 1,
                Ok(None) => break String::new(),
                Err(status) => break status.message().to_owned(),
            }
        };
        assert!(messages <= 1 && refusal.contains("in remote hash of TLS cert"), "{messages} messages, then {refusal}");
    }
}

/// Questions that are expensive to answer, many at once.
async fn curious(site: Arc<Site>) {
    let user = site.user(HOSTILE, "User1");
    let calls = (0..64).map(|_| ChaincodeCall { name: "_lifecycle".into(), ..Default::default() }).collect();
    let interests = vec![ChaincodeInterest { chaincodes: calls }; 64];
    let question = query::Query::CcQuery(discovery::ChaincodeQuery { interests });
    let queries = vec![Query { channel: CHANNEL.into(), query: Some(question) }; 4];
    let authentication =
        discovery::AuthInfo { client_identity: user.identity().raw.clone(), client_tls_cert_hash: Bytes::new() };
    let payload = discovery::Request { authentication: Some(authentication), queries }.encode_to_vec();
    let signature = user.sign(&payload).expect("it has a key");
    let request = discovery::SignedRequest { payload: payload.into(), signature };
    let mut asking = JoinSet::new();
    for _ in 0..ROUNDS {
        let (mut client, request) = (DiscoveryClient::new(site.peer(1).channel()), request.clone());
        // Whether it is answered or refused is not what this is about.
        asking.spawn(async move { drop(client.discover(request).await) });
    }
    while asking.join_next().await.is_some() {}
}

/// Asks the contract, as applications do.
struct Application {
    gateway: GatewayClient<Channel>,
    user: SigningIdentity,
}

impl Application {
    fn new(site: &Site) -> Self {
        Self { gateway: GatewayClient::new(site.peer(1).channel()), user: site.user(1, "User1") }
    }
}

impl Work for Application {
    async fn turn(&mut self) -> Result<(), String> {
        let call = Invocation::new(CHANNEL, "asset-transfer", "GetAllAssets", [] as [Bytes; 0]);
        let proposal = call.propose(&self.user, HeaderType::EndorserTransaction).map_err(|error| error.to_string())?;
        let request = gateway::EvaluateRequest {
            channel_id: CHANNEL.to_owned(),
            transaction_id: proposal.tx_id.as_str().to_owned(),
            proposed_transaction: Some(proposal.signed.clone()),
            ..Default::default()
        };
        self.gateway.evaluate(request).await.map(drop).map_err(|status| status.to_string())
    }
}
