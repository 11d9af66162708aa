//! Processes of a real network killed at any moment, under load: nothing that was acknowledged is lost, and in the end
//! all have the same chain. The moments come from a seed that is printed; `RIPSTOP_TEST_SEED` repeats them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_interop::{CHANNEL, Client, History, Load, Processes, Random, SharedHistory, Site, Work};
use ripstop_peer::client::{BlockRequest, Invocation, Orderer, Patience, Peer, Seek};
use ripstop_proto::{Message, protos};
use ripstop_transport::Endpoint;
use ripstop_types::{Block, ChannelId, ValidationCode};

const SEED: u64 = 1;
/// How often processes are killed.
const ROUNDS: usize = 6;
/// How many clients submit transactions, each one after the other.
const CLIENTS: usize = 4;
/// At most this many transactions are acknowledged between a restart and the next kill.
const MOST_BETWEEN: usize = 12;
/// At most this long, in milliseconds, is waited beyond that, to kill in the middle of anything.
const MOST_BEYOND: usize = 40;
/// How long anything may take before the test fails: far above what a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(90);
/// How long to wait before something is tried again.
const RETRY: Duration = Duration::from_millis(20);

#[test]
fn nothing_acknowledged_is_lost_when_processes_are_killed() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_BIN_EXE_ripstop-under-test"));
    let directory = scratch.path().join("network");
    let site = Site::make(program, &directory, &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there is a runtime").block_on(kill_and_count(program, &site));
}

async fn kill_and_count(program: &Path, site: &Site) {
    let mut random = Random::from_environment(SEED);
    let mut processes = Processes::new(program, site);
    let nodes = [site.orderer_name().to_owned(), site.peer_name(1), site.peer_name(2)];
    nodes.iter().for_each(|node| processes.start_node(node));
    processes.start_contract();
    let history = SharedHistory::default();
    let load = Load::begin(creators(site, &history));
    for round in 0..ROUNDS {
        let target = load.done() + 1 + random.below(MOST_BETWEEN);
        assert!(
            load.reaches(target, LIMIT).await,
            "round {round}: only {} of {target} transactions; ended by themselves: {:?}; clients last saw: {}",
            load.done(),
            processes.ended(),
            load.last_failure()
        );
        // Not an event that is waited for, but any moment.
        tokio::time::sleep(Duration::from_millis(random.below(MOST_BEYOND) as u64)).await;
        // Every set of the three but the empty one.
        let victims = 1 + random.below(7);
        let victims: Vec<_> = nodes.iter().enumerate().filter(|(index, _)| victims >> index & 1 == 1).collect();
        println!("round {round}: at {} acknowledged, killing {victims:?}", load.done());
        victims.iter().for_each(|(_, node)| processes.kill(node));
        victims.iter().for_each(|(_, node)| processes.start_node(node));
    }
    // After the last restart, too, work goes on.
    let target = load.done() + MOST_BETWEEN;
    assert!(load.reaches(target, LIMIT).await, "after the last restart: {}", load.last_failure());
    load.end().await;
    let history = std::mem::take(&mut *history.lock().expect("no client panics"));
    assert!(processes.ended().is_empty(), "{:?} ended by themselves", processes.ended());
    same_chains(site).await;
    nothing_lost(site, &history).await;
    assert_eq!(site.panics(), Vec::<String>::new());
}

/// Creates assets, endorsed by both organizations.
struct Creator {
    client: Client,
    number: usize,
    turn: usize,
}

impl Work for Creator {
    async fn turn(&mut self) -> Result<(), String> {
        let asset = format!("asset-{}-{}", self.number, self.turn);
        self.turn += 1;
        let args = [&asset, "blue", "5", "Tomoko", "300"].map(|arg| Bytes::copy_from_slice(arg.as_bytes()));
        let call = Invocation::new(CHANNEL, "asset-transfer", "CreateAsset", args);
        self.client.submit(&call, &asset).await.map(drop)
    }
}

fn creators(site: &Site, history: &SharedHistory) -> impl Iterator<Item = Creator> {
    let peers = [1, 2].map(|organisation| Peer::new(&site.peer(organisation), None));
    (0..CLIENTS).map(move |number| Creator {
        client: Client {
            endorsers: peers.to_vec(),
            orderer: Orderer::new(&site.orderer(), None),
            witness: peers[number % 2].clone(),
            user: site.user(1, "User1"),
            history: Arc::clone(history),
        },
        number,
        turn: 0,
    })
}

fn channel() -> ChannelId {
    ChannelId::new(CHANNEL).expect("it is a channel")
}

/// Tries until it works.
async fn eventually<T, F: Future<Output = Result<T, String>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(why) => assert!(tokio::time::Instant::now() < deadline, "{what}: {why}"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// All nodes have the same last block, and with it the same chain; the peers have come to the same state.
async fn same_chains(site: &Site) {
    let user = site.user(1, "User1");
    let channel = channel();
    let asked = |seek| BlockRequest { channel: &channel, seek, patience: Patience::Strict };
    let orderer = Orderer::new(&site.orderer(), None);
    let newest = eventually("the orderer's newest block", || async {
        orderer.block(asked(Seek::Newest), &user).await.map_err(|error| error.to_string())
    })
    .await;
    let mut states = Vec::new();
    for organisation in 1..=site.organisations() {
        let endpoint: Endpoint = site.peer(organisation);
        let peer = Peer::new(&endpoint, None);
        // Waits on the peer's side until the block is there.
        let block: Block = tokio::time::timeout(LIMIT, peer.block(asked(Seek::Number(newest.number().get())), &user))
            .await
            .expect("the peer catches up")
            .expect("the peer answers");
        assert_eq!(block.header.hash(), newest.header.hash(), "{} and the orderer", site.peer_name(organisation));
        states.push(block.metadata.commit_hash().expect("a peer's block has a commit hash"));
    }
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "the peers' commit hashes differ");
}

/// Every transaction that somebody was told of is on both peers.
async fn nothing_lost(site: &Site, history: &History) {
    let user = site.user(1, "User1");
    println!("{} ordered, {} reported as committed", history.ordered.len(), history.reported.len());
    for organisation in 1..=site.organisations() {
        let peer = Peer::new(&site.peer(organisation), None);
        let ask = async |chaincode: &str, function: &str, args: Vec<&str>| {
            let args = args.into_iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes()));
            let answer = peer.query(&Invocation::new(CHANNEL, chaincode, function, args), &user).await;
            answer.expect("the peer answers").response.unwrap_or_default()
        };
        for tx_id in &history.ordered {
            let answer = ask("qscc", "GetTransactionByID", vec![CHANNEL, tx_id.as_str()]).await;
            assert_eq!(answer.status, 200, "{tx_id}, which was ordered, is lost: {}", answer.message);
            let found = protos::ProcessedTransaction::decode(answer.payload).expect("the answer decodes");
            assert_eq!(found.validation_code, ValidationCode::Valid as i32, "{tx_id}");
        }
        for (tx_id, code, asset) in &history.reported {
            assert!(history.ordered.contains(tx_id) && *code == ValidationCode::Valid);
            let answer = ask("asset-transfer", "ReadAsset", vec![asset]).await;
            assert_eq!(answer.status, 200, "{asset}, which {tx_id} created, is lost: {}", answer.message);
        }
    }
}
