//! Three real orderers of one channel under load, one of which is killed at any moment, again and again. Whatever an orderer
//! said it took is in the chain afterwards, and all have the same chain.
//!
//! `RIPSTOP_NIGHTLY=1` kills more often; `RIPSTOP_TEST_SEED` repeats the moments. With `RIPSTOP_FABRIC_ORDERER`, the path of
//! Fabric's `orderer`, and `RIPSTOP_FABRIC_ORDERERS`, a number, the first so many orderers are Fabric's. They say that they
//! took what is only in their memory; what they say is not noted then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_interop::{CHANNEL, Load, Processes, Random, Site, Work};
use ripstop_keys::{EnvelopeHeader, sign_envelope};
use ripstop_osnadmin::Participation;
use ripstop_peer::client::{BlockRequest, Orderer, Patience, Seek};
use ripstop_proto::common;
use ripstop_types::{Block, ChannelId, Envelope, HeaderType, Timestamp};

const SEED: u64 = 3;
/// The message after all others.
const LAST: &str = "last";
const KILLS: usize = 6;
const NIGHTLY_KILLS: usize = 150;
const CLIENTS: usize = 8;
/// At most this many messages are taken while one orderer is missing, and while all are there.
const MOST_BETWEEN: usize = 60;
/// At most this long, in milliseconds, is waited beyond that, to kill in the middle of anything.
const MOST_BEYOND: usize = 300;
/// How long anything may take before the test fails: far above what a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn what_was_taken_survives_the_death_of_any_minority() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_BIN_EXE_ripstop-under-test"));
    let directory = scratch.path().join("network");
    let site = Site::make(program, &directory, &["--orderers", "3", "--orgs", "1"]);
    let log = std::fs::read_to_string(site.log("peer0.org1.example.com")).expect("the peer has a log");
    assert!(!log.contains("DUPLICATE_TXID"), "a transaction was handed to several orderers: {log}");
    forget_soon(program, &directory);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there is a runtime").block_on(kill_under_load(program, &site));
}

/// Makes the first block anew with so small an interval of snapshots that an orderer that was missing finds the entries it
/// needs forgotten, and has to fetch blocks.
fn forget_soon(program: &Path, directory: &Path) {
    let path = directory.join("configtx.yaml");
    let text = std::fs::read_to_string(&path).expect("the network has a configuration");
    let changed = text.replace("SnapshotIntervalSize: 16 MB", "SnapshotIntervalSize: 16 KB");
    assert_ne!(text, changed, "the configuration names an interval");
    std::fs::write(path, changed).expect("the configuration can be changed");
    let block = directory.join(format!("{CHANNEL}.block"));
    let made = Command::new(program)
        .args(["configtxgen", "-profile", "MyChannel", "-channelID", CHANNEL, "-outputBlock"])
        .arg(block)
        .env("FABRIC_CFG_PATH", directory)
        .output()
        .expect("ripstop can be started");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Three orderers, of which some may be Fabric's.
struct Orderers<'a> {
    site: &'a Site,
    names: Vec<String>,
    fabrics: Option<(PathBuf, usize)>,
    processes: Processes,
}

impl<'a> Orderers<'a> {
    /// Starts all on a channel with nothing but its first block.
    async fn begin(program: &Path, site: &'a Site) -> Self {
        let fabrics = std::env::var_os("RIPSTOP_FABRIC_ORDERER").map(|fabrics| {
            let count = std::env::var("RIPSTOP_FABRIC_ORDERERS").ok().and_then(|text| text.parse().ok());
            (PathBuf::from(fabrics), count.unwrap_or(1))
        });
        let (names, processes) = (site.orderer_names(), Processes::new(program, site));
        let mut orderers = Self { site, names, fabrics, processes };
        for place in 0..orderers.names.len() {
            let data = site.configuration(&orderers.names[place]).join("data");
            std::fs::remove_dir_all(data).expect("the first orderers left their data");
            orderers.start(place);
        }
        for place in 0..orderers.names.len() {
            let admin = site.orderer_admin_at(place);
            eventually("an orderer listens", async || admin.probe().await).await;
            let joined = Participation::new(admin).ensure_joined(&channel(), &site.genesis_block()).await;
            joined.expect("the channel can be joined");
        }
        orderers
    }

    fn is_fabrics(&self, place: usize) -> bool {
        self.fabrics.as_ref().is_some_and(|(_, count)| place < *count)
    }

    fn start(&mut self, place: usize) {
        match &self.fabrics {
            Some((program, count)) if place < *count => {
                self.processes.start_fabrics_orderer(program, &self.names[place]);
            }
            _ => self.processes.start_node(&self.names[place]),
        }
    }

    /// Who led last, as far as the first orderer's log tells.
    fn last_leader(&self) -> Option<usize> {
        let log = std::fs::read_to_string(self.site.log(&self.names[0])).ok()?;
        let change = log.rsplit("Raft leader changed: ").next()?;
        let number: usize = change.split(" -> ").nth(1)?.split(' ').next()?.parse().ok()?;
        number.checked_sub(1)
    }

    /// The whole chain of one orderer, once it holds the last message.
    async fn chain(&self, place: usize, user: &SigningIdentity) -> Vec<Block> {
        let orderer = Orderer::new(&self.site.orderer_at(place), None);
        let mut chain: Vec<Block> = Vec::new();
        let begun = Instant::now();
        while !chain.last().is_some_and(|block| contents(block).any(|content| content == LAST)) {
            assert!(begun.elapsed() < LIMIT, "{} stays behind at block {}", self.names[place], chain.len());
            let seek = Seek::Number(chain.len() as u64);
            let asked = BlockRequest { channel: &channel(), seek, patience: Patience::BestEffort };
            match tokio::time::timeout(Duration::from_secs(5), orderer.block(asked, user)).await {
                Ok(Ok(block)) => chain.push(block),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        chain
    }
}

async fn kill_under_load(program: &Path, site: &Site) {
    let kills = if std::env::var_os("RIPSTOP_NIGHTLY").is_some() { NIGHTLY_KILLS } else { KILLS };
    let mut random = Random::from_environment(SEED);
    let mut orderers = Orderers::begin(program, site).await;
    let taken = Arc::new(Mutex::new(BTreeSet::new()));
    let user = site.user(1, "User1");
    let clients = (0..CLIENTS).map(|number| {
        let place = |place| (Orderer::new(&site.orderer_at(place), None), !orderers.is_fabrics(place));
        Sender {
            name: format!("{number}"),
            turn: 0,
            orderers: (0..orderers.names.len()).map(place).collect(),
            user: user.clone(),
            random: Random::new(random.next()),
            taken: Arc::clone(&taken),
        }
    });
    let load = Load::begin(clients.collect::<Vec<_>>());
    for round in 1..=kills {
        let victim = match random.below(2) {
            0 => orderers.last_leader().unwrap_or_default(),
            _ => random.below(orderers.names.len()),
        };
        more(&load, random.below(MOST_BETWEEN), &format!("before kill {round}")).await;
        // Not an event that is waited for, but any moment.
        tokio::time::sleep(Duration::from_millis(random.below(MOST_BEYOND) as u64)).await;
        let name = orderers.names[victim].clone();
        orderers.processes.kill(&name);
        more(&load, 1 + random.below(MOST_BETWEEN), &format!("after kill {round}, of {name}")).await;
        orderers.start(victim);
    }
    more(&load, MOST_BETWEEN, "after the last restart").await;
    load.end().await;
    let end = Orderer::new(&site.orderer_at(orderers.names.len() - 1), None);
    eventually("the last message", async || end.broadcast(message(&user, LAST)).await).await;
    assert_eq!(orderers.processes.ended(), Vec::<String>::new(), "these ended by themselves");
    let taken = taken.lock().expect("no client panics").clone();
    compare(&orderers, &user, &taken).await;
    assert_eq!(site.panics(), Vec::<String>::new());
}

/// Waits until so many more messages are taken.
async fn more(load: &Load, count: usize, when: &str) {
    let target = load.done() + count;
    assert!(load.reaches(target, LIMIT).await, "{when}: {} of {target}; last: {}", load.done(), load.last_failure());
}

/// All chains are the same and hold whatever was taken.
async fn compare(orderers: &Orderers<'_>, user: &SigningIdentity, taken: &BTreeSet<String>) {
    let mut chains = Vec::new();
    for place in 0..orderers.names.len() {
        chains.push(orderers.chain(place, user).await);
    }
    for (chain, name) in chains.iter().zip(&orderers.names) {
        assert_eq!(chain.len(), chains[0].len(), "{name}");
        for (block, expected) in chain.iter().zip(&chains[0]) {
            assert_eq!((&block.header, &block.data), (&expected.header, &expected.data), "{name}");
            let recorded = |block: &Block| block.metadata.signatures().expect("the orderer signed").0;
            assert_eq!(recorded(block), recorded(expected), "{name}, block {}", block.number());
        }
    }
    // Whoever has more blocks has these and others.
    let ordered: BTreeSet<String> =
        chains.iter().flatten().flat_map(|block| contents(block).collect::<Vec<_>>()).collect();
    let lost: Vec<_> = taken.difference(&ordered).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    println!("{} messages taken, {} blocks", taken.len(), chains[0].len());
}

fn contents(block: &Block) -> impl Iterator<Item = String> {
    let content = |raw: &Bytes| String::from_utf8(Envelope::parse(raw.clone()).ok()?.data.to_vec()).ok();
    block.data.iter().filter_map(content)
}

/// Sends messages to orderers at random and notes what was taken.
struct Sender {
    name: String,
    turn: usize,
    /// Each with whether its word counts.
    orderers: Vec<(Orderer, bool)>,
    user: SigningIdentity,
    random: Random,
    taken: Arc<Mutex<BTreeSet<String>>>,
}

impl Work for Sender {
    async fn turn(&mut self) -> Result<(), String> {
        self.turn += 1;
        let content = format!("{:08}-{}", self.turn, self.name);
        let envelope = message(&self.user, &content);
        let (orderer, counts) = &self.orderers[self.random.below(self.orderers.len())];
        let sent = tokio::time::timeout(LIMIT, orderer.broadcast(envelope)).await;
        sent.map_err(|_| "an orderer does not answer".to_owned())?.map_err(|error| error.to_string())?;
        if *counts {
            self.taken.lock().expect("no client panics").insert(content);
        }
        Ok(())
    }
}

fn message(user: &SigningIdentity, content: &str) -> common::Envelope {
    let header = EnvelopeHeader {
        kind: HeaderType::EndorserTransaction,
        channel_id: Some(&channel()),
        tx_id: None,
        extension: Bytes::new(),
        tls_cert_hash: Bytes::new(),
        timestamp: Timestamp { seconds: 1_700_000_000, nanos: 0 },
    };
    sign_envelope(user, &header, content.to_owned().into()).expect("the user can sign")
}

async fn eventually<E: std::fmt::Display>(what: &str, mut attempt: impl AsyncFnMut() -> Result<(), E>) {
    let begun = Instant::now();
    while let Err(error) = attempt().await {
        assert!(begun.elapsed() < LIMIT, "{what}: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn channel() -> ChannelId {
    ChannelId::new(CHANNEL).expect("it is a channel")
}
