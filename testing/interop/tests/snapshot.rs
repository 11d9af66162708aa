//! Snapshots by commands alone: one peer makes one, another joins by it, both go on and make equal ones again.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ripstop_interop::{CHANNEL, Operator, Processes, Site};
use ripstop_types::Digest;

/// How long anything may take before the test fails: far above what a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(90);
/// How long to wait before something is looked at again.
const RETRY: Duration = Duration::from_millis(50);

#[test]
fn a_peer_joins_by_a_snapshot_and_goes_on_like_the_others() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_BIN_EXE_ripstop-under-test"));
    let directory = scratch.path().join("network");
    let site = Site::make(program, &directory, &["--orgs", "3"]);
    let operator = Operator::new(program, &directory);
    let mut processes = Processes::new(program, &site);
    processes.start_node(site.orderer_name());
    (1..=3).for_each(|organisation| processes.start_node(&site.peer_name(organisation)));
    processes.start_contract();
    let channel = Channel { site: &site, operator: &operator };
    for organisation in 1..=3 {
        channel.height_from(organisation, 1);
    }

    // One organization makes a snapshot of what is there.
    let before = channel.create("before");
    let last = channel.height_from(1, 1) - 1;
    assert_eq!(channel.snapshot(1, &["submitrequest"]), "Snapshot request submitted successfully\n");
    let snapshot = channel.made(1, last);

    // Another one has lost its ledger, and joins by it.
    let joining = site.peer_name(3);
    processes.kill(&joining);
    fs::remove_dir_all(data(&site, 3).join("ledgersData")).expect("the ledgers can be removed");
    processes.start_node(&joining);
    until("the peer is in no channel", || {
        let channels = operator.try_peer("org3", &["channel", "list"]);
        let printed = String::from_utf8_lossy(&channels.stdout).into_owned();
        if channels.status.success() && !printed.contains(CHANNEL) { Ok(()) } else { Err(printed) }
    });
    operator.peer("org3", &["channel", "joinbysnapshot", "--snapshotpath", &snapshot.to_string_lossy()]);
    until("the peer has joined", || {
        let status = operator.peer("org3", &["channel", "joinbysnapshotstatus"]);
        let channels = operator.peer("org3", &["channel", "list"]);
        let joined = status == "No joinbysnapshot operation is in progress\n" && channels.contains(CHANNEL);
        if joined { Ok(()) } else { Err(status + &channels) }
    });
    let info = operator.peer("org3", &["channel", "getinfo", "-c", CHANNEL]);
    assert!(info.contains(&format!("\"bootstrappingSnapshotInfo\":{{\"lastBlockInSnapshot\":{last}}}")), "{info}");
    channel.refuse_what_is_not_there(&before, last);

    // Both take what follows, and make a snapshot of the same block to come.
    let block = last + 3;
    let number = block.to_string();
    for organisation in [1, 3] {
        channel.snapshot(organisation, &["submitrequest", "-b", &number]);
        assert_eq!(
            channel.snapshot(organisation, &["listpending"]),
            format!("Successfully got pending snapshot requests: [{number}]\n")
        );
    }
    let other = (block + 100).to_string();
    channel.snapshot(3, &["submitrequest", "-b", &other]);
    assert_eq!(channel.snapshot(3, &["cancelrequest", "-b", &other]), "Snapshot request cancelled successfully\n");
    for turn in 0..5 {
        channel.create(&format!("after-{turn}"));
    }
    let snapshots = [1, 3].map(|organisation| channel.made(organisation, block));
    assert_eq!(contents(&snapshots[0]), contents(&snapshots[1]));
    assert_eq!(channel.snapshot(3, &["listpending"]), "Successfully got pending snapshot requests: []\n");
    assert!(processes.ended().is_empty(), "{:?} ended by themselves", processes.ended());
    assert_eq!(site.panics(), Vec::<String>::new());
}

/// What commands do on the channel.
struct Channel<'a> {
    site: &'a Site,
    operator: &'a Operator,
}

impl Channel<'_> {
    /// The height of a peer, as soon as it has so many blocks.
    fn height_from(&self, organisation: usize, least: u64) -> u64 {
        until("the peer answers", || {
            let info = self.operator.try_peer(&format!("org{organisation}"), &["channel", "getinfo", "-c", CHANNEL]);
            let printed = String::from_utf8_lossy(&info.stdout).into_owned();
            let height = printed.split("\"height\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
            height.filter(|height| *height >= least).ok_or(printed + &String::from_utf8_lossy(&info.stderr))
        })
    }

    /// Creates an asset, endorsed by two of three organizations, and waits until it is committed; gives the transaction.
    fn create(&self, asset: &str) -> String {
        let call = format!(r#"{{"Args":["CreateAsset","{asset}","blue","5","Tomoko","300"]}}"#);
        let orderer = self.operator.orderer_flags();
        let mut invoke = vec!["chaincode", "invoke", "-C", CHANNEL, "-n", "asset-transfer", "-c", &call];
        invoke.push("--waitForEvent");
        invoke.extend(orderer.iter().map(String::as_str));
        let environments = ["org1", "org2"].map(|organisation| self.operator.environment(organisation));
        for environment in &environments {
            invoke.extend(["--peerAddresses", environment["CORE_PEER_ADDRESS"].as_str()]);
            invoke.extend(["--tlsRootCertFiles", environment["CORE_PEER_TLS_ROOTCERT_FILE"].as_str()]);
        }
        until("the asset is created", || {
            let invoked = self.operator.try_peer("org1", &invoke);
            let log = String::from_utf8_lossy(&invoked.stderr).into_owned();
            let tx_id = log.split("txid [").nth(1).and_then(|rest| Some(rest.split_once(']')?.0.to_owned()));
            tx_id.filter(|_| invoked.status.success()).ok_or(log)
        })
    }

    /// Runs `peer snapshot`.
    fn snapshot(&self, organisation: usize, arguments: &[&str]) -> String {
        let name = format!("org{organisation}");
        let root = self.operator.environment(&name)["CORE_PEER_TLS_ROOTCERT_FILE"].clone();
        let mut command = vec!["snapshot"];
        command.extend(arguments);
        command.extend(["-c", CHANNEL, "--tlsRootCertFile", &root]);
        self.operator.peer(&name, &command)
    }

    /// The directory of a snapshot, as soon as it is there.
    fn made(&self, organisation: usize, block: u64) -> PathBuf {
        let directory = data(self.site, organisation).join("snapshots/completed").join(CHANNEL).join(block.to_string());
        until("the snapshot is there", || if directory.exists() { Ok(()) } else { Err(directory.display()) });
        directory
    }

    /// What stands before the snapshot is known to the third organization's peer, but not there.
    fn refuse_what_is_not_there(&self, tx_id: &str, last: u64) {
        let call = format!(r#"{{"Args":["GetTransactionByID","{CHANNEL}","{tx_id}"]}}"#);
        let asked = self.operator.try_peer("org3", &["chaincode", "query", "-C", CHANNEL, "-n", "qscc", "-c", &call]);
        let expected = format!(
            "Failed to get transaction with id {tx_id}, error details for the TXID [{tx_id}] not available. Ledger \
             bootstrapped from a snapshot. First available block = [{}]",
            last + 1
        );
        let said = String::from_utf8_lossy(&asked.stderr);
        assert!(!asked.status.success() && said.contains(&expected), "{said}");
        let fetched = self.operator.try_peer("org3", &["channel", "fetch", "0", "/dev/null", "-c", CHANNEL]);
        let said = String::from_utf8_lossy(&fetched.stderr);
        assert!(!fetched.status.success() && said.contains("can't read the block: &{NOT_FOUND}"), "{said}");
    }
}

/// Where the first peer of an organization keeps what it knows.
fn data(site: &Site, organisation: usize) -> PathBuf {
    site.configuration(&site.peer_name(organisation)).join("data")
}

/// The names and hashes of all files of a directory.
fn contents(directory: &Path) -> String {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).expect("it is a directory").flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().fold(String::new(), |mut text, file| {
        let hash = Digest::of(&fs::read(file).expect("a file of a snapshot can be read"));
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        writeln!(text, "{name} {hash}").expect("memory takes every byte");
        text
    })
}

/// Looks until something is so.
fn until<T, W: std::fmt::Display>(what: &str, mut look: impl FnMut() -> Result<T, W>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < deadline, "{what}: {why}"),
        }
        std::thread::sleep(RETRY);
    }
}
