//! What an operator does to a peer that is offline, with `peer node`: whatever it was, the peer comes to the same chain and
//! state again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ripstop_interop::{CHANNEL, Processes, Site};
use ripstop_types::{Block, BlockNumber};

/// How long a peer may take to start and catch up before the test fails: far above what a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(90);
/// How long to wait before something is tried again.
const RETRY: Duration = Duration::from_millis(20);

const IN_USE: &str = "as another peer node command is executing, wait for that command to complete its execution or terminate it before retrying";
const UNKNOWN: &str = "Invalid chain ID";

#[test]
fn a_peer_comes_to_the_same_ledger_whatever_was_done_to_it_offline() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_BIN_EXE_ripstop-under-test"));
    let directory = scratch.path().join("network");
    let site = Site::make(program, &directory, &[]);
    let operator = Beside {
        commands: ripstop_interop::Operator::new(program, &directory),
        newest: scratch.path().join("newest.block"),
    };
    let mut processes = Processes::new(program, &site);
    let (orderer, peer) = (site.orderer_name(), site.peer_name(1));
    processes.start_node(orderer);
    processes.start_node(&peer);
    let before = operator.seen_from(BlockNumber::GENESIS);
    assert!(before.number.get() >= 3, "{before:?}");
    for command in [&["pause", "-c", CHANNEL][..], &["rollback", "-c", CHANNEL], &["reset"], &["rebuild-dbs"]] {
        operator.node_refuses(command, IN_USE);
    }

    // Rolled back: no endorsement before it has come as far again, which takes an orderer.
    processes.kill(orderer);
    processes.kill(&peer);
    let too_high = format!("should be less than the biggest block number [{}]", before.number);
    operator.node_refuses(&["rollback", "-c", CHANNEL, "-b", "1000"], &too_high);
    operator.node_refuses(&["rollback", "-c", "nosuch", "-b", "1"], "ledgerID [nosuch] does not exist");
    operator.node(&["rollback", "-c", CHANNEL, "-b", "1"]);
    processes.start_node(&peer);
    operator.eventually_refused(
        &["channel", "getinfo", "-c", CHANNEL],
        "endorse requests are blocked while ledgers are being rebuilt",
    );
    processes.start_node(orderer);
    assert_eq!(operator.seen_from(before.number), before);

    for command in ["reset", "rebuild-dbs"] {
        processes.kill(&peer);
        operator.node(&[command]);
        processes.start_node(&peer);
        assert_eq!(operator.seen_from(before.number), before, "after {command}");
    }

    processes.kill(&peer);
    operator.node_refuses(&["pause"], "Must supply channel ID");
    operator.node(&["pause", "-c", CHANNEL]);
    processes.start_node(&peer);
    operator.eventually_refused(&["channel", "getinfo", "-c", CHANNEL], UNKNOWN);
    let genesis = scratch.path().join("genesis.block");
    std::fs::write(&genesis, site.genesis_block()).expect("the folder can be written");
    let join = ["channel", "join", "-b", genesis.to_str().expect("the folder's name is text")];
    operator.eventually_refused(&join, "ledger [mychannel] already exists with state [INACTIVE]");
    processes.kill(&peer);
    operator.node(&["resume", "-c", CHANNEL]);
    processes.start_node(&peer);
    assert_eq!(operator.seen_from(before.number), before, "after pause and resume");

    processes.kill(&peer);
    operator.node(&["unjoin", "-c", CHANNEL]);
    operator.node_refuses(
        &["unjoin", "-c", CHANNEL],
        "unjoin channel [mychannel]: cannot update ledger status, ledger [mychannel] does not exist",
    );
    processes.start_node(&peer);
    operator.eventually_refused(&["channel", "getinfo", "-c", CHANNEL], UNKNOWN);
    operator.peer(&join).expect("the peer joins again");
    // The private data is gone with the channel, its hashes are not.
    let after = operator.newest_from(before.number);
    assert_eq!((after.0, after.1, after.2), (before.number, before.hash, before.commit_hash), "after joining again");
    assert_eq!(site.panics(), Vec::<String>::new());
}

/// What a peer shows of its ledger.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    number: BlockNumber,
    hash: String,
    commit_hash: String,
    /// What its organization approved, which is private data.
    approved: String,
}

/// Who runs commands beside the peer.
struct Beside {
    commands: ripstop_interop::Operator,
    /// A file to fetch blocks into.
    newest: PathBuf,
}

impl Beside {
    /// Runs a command of `peer`; the error is what it says.
    fn peer(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.commands.try_peer("org1", arguments);
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn node(&self, arguments: &[&str]) {
        let done = self.peer(&[&["node"], arguments].concat());
        done.unwrap_or_else(|error| panic!("peer node {arguments:?}: {error}"));
    }

    fn node_refuses(&self, arguments: &[&str], words: &str) {
        let refusal = self.peer(&[&["node"], arguments].concat()).expect_err("it is refused");
        assert!(refusal.contains(words), "peer node {arguments:?}: {refusal}");
    }

    fn eventually_refused(&self, arguments: &[&str], words: &str) {
        eventually(&format!("peer {arguments:?} is refused"), || match self.peer(arguments) {
            Err(refusal) if refusal.contains(words) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Number, hash and commit hash of the newest block, as soon as it has at least this number.
    fn newest_from(&self, number: BlockNumber) -> (BlockNumber, String, String) {
        let file = self.newest.to_str().expect("the file's name is text");
        eventually("the newest block", || {
            self.peer(&["channel", "fetch", "newest", file, "-c", CHANNEL])?;
            let raw = std::fs::read(file).map_err(|error| error.to_string())?;
            let block = Block::parse(raw.into()).map_err(|error| error.to_string())?;
            if block.number() < number {
                return Err(format!("the newest block is {}", block.number()));
            }
            let commit_hash = block.metadata.commit_hash().map_err(|error| error.to_string())?;
            Ok((block.number(), block.header.hash().to_string(), format!("{commit_hash:?}")))
        })
    }

    fn seen_from(&self, number: BlockNumber) -> Seen {
        let (number, hash, commit_hash) = self.newest_from(number);
        let ask = ["lifecycle", "chaincode", "queryapproved", "-C", CHANNEL, "-n", "asset-transfer"];
        let approved = self.peer(&ask).unwrap_or_else(|error| panic!("peer {ask:?}: {error}"));
        Seen { number, hash, commit_hash, approved }
    }
}

/// Tries until it works.
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(why) => assert!(Instant::now() < deadline, "{what}: {why}"),
        }
        std::thread::sleep(RETRY);
    }
}
