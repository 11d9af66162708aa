//! Chains made on the spot, in both layouts, sound and damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use clap::Parser as _;
use ripstop_block_store::{BlockStore, BlockStoreOptions, encode_block};
use ripstop_rwset::RwSetBuilder;
use ripstop_snapshot::{SnapshotTip, SnapshotWriter, StateRecord};
use ripstop_testkit::{DraftTransaction, Organization};
use ripstop_types::{
    Block, BlockNumber, ChannelId, Digest, Height, MetadataSlot, ValidationCode, ValidationCodes, data_hash,
    put_varuint,
};

use super::*;

/// `ledgersData` of a peer with the channel `mychannel`, and a folder for results.
struct Peer(tempfile::TempDir);

const LAYOUTS: [&str; 2] = ["ledgersData/mychannel/blocks", "ledgersData/chains/chains/mychannel"];

impl Peer {
    fn new(layout: &str, blocks: &[Block]) -> Self {
        let peer = Self(tempfile::tempdir().unwrap());
        let store = BlockStore::open(&peer.path(layout), BlockStoreOptions { max_file_bytes: 10_000 }).unwrap();
        blocks.iter().for_each(|block| store.append(Arc::new(block.clone())).unwrap());
        peer
    }

    /// With blocks that no store takes.
    fn damaged(layout: &str, blocks: &[Block]) -> Self {
        let peer = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(peer.path(layout)).unwrap();
        let mut file = Vec::new();
        for block in blocks {
            let record = encode_block(block);
            put_varuint(&mut file, record.len() as u64);
            file.extend_from_slice(&record);
        }
        std::fs::write(peer.path(layout).join("blockfile_000000"), file).unwrap();
        peer
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Answer {
        let output = self.path("results");
        let all = ["ledgerutil", command].into_iter().chain(arguments.iter().copied()).map(str::to_owned);
        let all = all.chain([self.0.path().display().to_string(), "-o".to_owned(), output.display().to_string()]);
        answer(LedgerutilCommand::try_parse_from(all).unwrap().command)
    }
}

/// A chain of six blocks. Block n, from the second on, has two transactions: both write `key` n, and hashed `secret`; the
/// second is invalid.
fn chain() -> Vec<Block> {
    let organization = Organization::new("Org1MSP");
    let client = organization.client("client");
    let mut previous = Bytes::new();
    (0..6)
        .map(|number| {
            let data = [0, 1].map(|place| {
                let mut set = RwSetBuilder::new();
                set.write("cc", "key", format!("<{number}>").into());
                set.private_write("cc", "coll", "secret", format!("secret {number}").into());
                let mut draft = DraftTransaction::new("mychannel", &client, []);
                draft.tx_id = Some(format!("tx{number}-{place}"));
                draft.results = set.build().0.encode();
                draft.bytes()
            });
            let mut block = Block::new(BlockNumber::new(number), previous.clone(), data.to_vec());
            let codes = ValidationCodes::new(vec![ValidationCode::Valid, ValidationCode::MvccReadConflict]);
            block.metadata.set(MetadataSlot::TransactionsFilter, codes.to_bytes());
            previous = block.header.hash().to_bytes();
            block
        })
        .collect()
}

#[test]
fn a_sound_chain_is_found_sound_in_both_layouts() {
    for layout in LAYOUTS {
        let peer = Peer::new(layout, &chain());
        let answer = peer.run("verify", &[]);
        assert_eq!(answer, Answer::new(0, "\nSuccessfully executed verify tool. No error is found.\n"));
        assert_eq!(peer.text("results/mychannel_verification_result/blocks.json"), "[\n]\n");
        let again = peer.run("verify", &[]);
        let expected = format!(
            "Verify Ledger Error:mychannel_verification_result already exists in {}. Choose a different location or remove the existing results. Aborting verify\n",
            peer.path("results").display()
        );
        assert_eq!(again, Answer::new(1, expected));
    }
}

#[test]
fn blocks_that_are_not_what_their_hashes_say_are_named() {
    let mut blocks = chain();
    blocks[1].data.swap(0, 1);
    blocks[2].header.previous_hash = Bytes::from_static(b"forged");
    let mut glued = blocks[4].data[0].to_vec();
    let trailing = glued.len();
    glued.extend_from_slice(&blocks[4].data[1]);
    blocks[4].data = vec![glued.into()];
    assert_eq!(data_hash(&blocks[4].data).to_bytes(), blocks[4].header.data_hash);
    blocks[5].data.clear();
    let peer = Peer::damaged(LAYOUTS[0], &blocks);
    let answer = peer.run("verify", &[]);
    assert_eq!(answer, Answer::new(1, "\nSuccessfully executed verify tool. Some error(s) are found.\n"));
    let lines = [
        r#"{"blockNum":1,"valid":false,"errors":["DataHash mismatch"]}"#.to_owned(),
        r#"{"blockNum":2,"valid":false,"errors":["PreviousHash mismatch"]}"#.to_owned(),
        r#"{"blockNum":3,"valid":false,"errors":["PreviousHash mismatch"]}"#.to_owned(),
        format!(
            r#"{{"blockNum":4,"valid":false,"errors":["transaction 0 has {trailing} trailing bytes","DataHash mismatch"]}}"#
        ),
        r#"{"blockNum":5,"valid":false,"errors":["empty block","DataHash mismatch"]}"#.to_owned(),
    ];
    let expected = format!("[\n{}\n]\n", lines.join("\n,\n"));
    assert_eq!(peer.text("results/mychannel_verification_result/blocks.json"), expected);
}

#[test]
fn a_chain_with_a_gap_or_a_broken_record_is_an_error() {
    let mut blocks = chain();
    blocks.remove(3);
    let answer = Peer::damaged(LAYOUTS[0], &blocks).run("verify", &[]);
    assert_eq!(answer, Answer::new(1, "Verify Ledger Error:The next block is expected to be 3 but got 4\n"));
    let peer = Peer::new(LAYOUTS[1], &chain());
    let file = peer.path(LAYOUTS[1]).join("blockfile_000000");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[3] = 0xff;
    std::fs::write(&file, bytes).unwrap();
    let answer = peer.run("verify", &[]);
    assert!(answer.text.contains("mychannel: block file 0 is damaged at byte 0"), "{answer:?}");
    // What was not written to its end is not looked at.
    let peer = Peer::new(LAYOUTS[1], &chain());
    let file = (0..).map(|n| peer.path(LAYOUTS[1]).join(format!("blockfile_{n:06}"))).take_while(|f| f.exists()).last();
    let file = std::fs::File::options().write(true).open(file.unwrap()).unwrap();
    file.set_len(file.metadata().unwrap().len() - 5).unwrap();
    assert_eq!(peer.run("verify", &[]).status, 0);
}

#[test]
fn a_folder_without_chains_is_refused() {
    let peer = Peer(tempfile::tempdir().unwrap());
    let path = peer.path("ledgersData/chains").display().to_string();
    let missing = format!("Verify Ledger Error:error opening dir [{path}]: open {path}: no such file or directory\n");
    assert_eq!(peer.run("verify", &[]), Answer::new(1, missing));
    std::fs::create_dir(peer.path("ledgersData")).unwrap();
    let empty = format!("Verify Ledger Error:provided path {} is empty. Aborting verify\n", peer.0.path().display());
    assert_eq!(peer.run("verify", &[]), Answer::new(1, empty));
}

fn identify_in(peer: &Peer, differences: &str) -> Answer {
    let file = peer.path("differences.json");
    std::fs::write(&file, differences).unwrap();
    peer.run("identifytxs", &[file.to_str().unwrap()])
}

fn differences(records: &str) -> String {
    format!(r#"{{"ledgerid":"mychannel","diffRecords":[{records}]}}"#)
}

const BOTH_KEYS: &str = r#"{"namespace":"cc","key":"key","hashed":false,"snapshotrecord1":null,"snapshotrecord2":{"value":"","blockNum":2,"txNum":1}},
    {"namespace":"cc$$hcoll","key":"SECRET","hashed":true,"snapshotrecord1":{"value":"","blockNum":1,"txNum":0},"snapshotrecord2":{"value":"","blockNum":1,"txNum":1}}"#;

#[test]
fn the_transactions_that_wrote_a_key_are_listed_up_to_its_later_version() {
    for layout in LAYOUTS {
        let peer = Peer::new(layout, &chain());
        let secret = Digest::of(b"secret").to_string();
        let answer = identify_in(&peer, &differences(&BOTH_KEYS.replace("SECRET", &secret)));
        let said = "\nSuccessfully ran identify transactions tool. Transactions were checked between blocks 1 and 2.";
        assert_eq!(answer, Answer::new(0, said));
        let entry = |block: u64, place: u64, value: &str| {
            let code = ["VALID", "MVCC_READ_CONFLICT"][place as usize];
            format!(
                r#"{{"txid":"tx{block}-{place}","blockNum":{block},"txNum":{place},"txValidationStatus":"{code}","keyWrite":"{value}"}}"#
            )
        };
        let file = |key: &str, entries: &[String]| {
            format!(
                "{{\n\"namespace\":\"cc\"\n,\n\"key\":\"{key}\"\n,\n\"txs\":[\n{}\n]\n,\n\"blockStoreHeightSufficient\":true\n}}\n",
                entries.join("\n,\n")
            )
        };
        let value = |number| format!("\\u003c{number}\\u003e");
        let clear = [(1, 0), (1, 1), (2, 0), (2, 1)].map(|(block, place)| entry(block, place, &value(block)));
        let hashed = Digest::of(b"secret 1").to_string();
        let hidden = [0, 1].map(|place| entry(1, place, &hashed));
        assert_eq!(peer.text("results/mychannel_identified_transactions/txlist1.json"), file("key", &clear));
        assert_eq!(peer.text("results/mychannel_identified_transactions/txlist2.json"), file(&secret, &hidden));
    }
}

#[test]
fn a_chain_that_is_too_short_is_said_to_be() {
    for (block, place, sufficient) in [(9, 0, false), (5, 1, true), (5, 2, false), (3, 0, true)] {
        let peer = Peer::new(LAYOUTS[0], &chain());
        let record = format!(
            r#"{{"namespace":"cc","key":"other","hashed":false,"snapshotrecord1":null,"snapshotrecord2":{{"value":"","blockNum":{block},"txNum":{place}}}}}"#
        );
        let last = block.min(5);
        assert_eq!(
            identify_in(&peer, &differences(&record)).text.split_once("between").unwrap().1,
            format!(" blocks 1 and {last}.")
        );
        let results = peer.text("results/mychannel_identified_transactions/txlist1.json");
        assert!(
            results.ends_with(&format!("[\n]\n,\n\"blockStoreHeightSufficient\":{sufficient}\n}}\n")),
            "{block} {place}: {results}"
        );
    }
    // Without a version the whole chain is looked through, and never enough.
    let peer = Peer::new(LAYOUTS[0], &chain());
    let answer = identify_in(&peer, &differences(r#"{"namespace":"cc","key":"key"}"#));
    assert!(answer.text.ends_with("between blocks 1 and 5."), "{answer:?}");
    let results = peer.text("results/mychannel_identified_transactions/txlist1.json");
    assert_eq!(results.matches("txid").count(), 10);
    assert!(results.ends_with("false\n}\n"), "{results}");
}

#[test]
fn differences_that_make_no_sense_are_refused() {
    let refusals = [
        ("", "no records were read. JSON record list is either empty or not properly formatted. Aborting identifytxs"),
        (
            r#"{"namespace":"cc"}"#,
            "invalid input json. Each record entry must contain both a \"namespace\" and a \"key\" field. Aborting identifytxs",
        ),
        (
            r#"{"namespace":"cc","key":"k"},{"namespace":"cc","key":"k"}"#,
            "invalid input json. Contains duplicate record for  {\"namespace\":\"cc\",\"key\":\"k\"}. Aborting identifytxs",
        ),
        (r#"{"namespace":"cc","key":"k","hashed":true}"#, "not a valid hashedDataNs [cc]"),
    ];
    for (records, reason) in refusals {
        let peer = Peer::new(LAYOUTS[0], &chain());
        let expected = format!("Ledger Identify Transactions Error: {reason}\n");
        assert_eq!(identify_in(&peer, &differences(records)), Answer::new(1, expected));
    }
    let peer = Peer::new(LAYOUTS[0], &chain());
    let other = differences(r#"{"namespace":"cc","key":"k"}"#).replace("mychannel", "other");
    assert_eq!(
        identify_in(&peer, &other),
        Answer::new(
            1,
            "Ledger Identify Transactions Error: BlockStore for other does not exist. Aborting identifytxs\n"
        )
    );
    let peer = Peer::new(LAYOUTS[0], &chain()[..1]);
    assert_eq!(
        identify_in(&peer, &differences(r#"{"namespace":"cc","key":"k"}"#)),
        Answer::new(
            1,
            "Ledger Identify Transactions Error: First available block was greater than highest record. No transactions were checked."
        )
    );
}

#[test]
fn a_wrong_command_line_is_refused_in_the_words_of_fabrics_tool() {
    for (line, words) in [
        ("ledgerutil", "command not specified"),
        ("ledgerutil nosuch", "expected command but got \"nosuch\""),
        ("ledgerutil verify --all", "unknown long flag '--all'"),
        ("ledgerutil identifytxs", "required argument 'snapshotDiffsPath' not provided"),
        ("ledgerutil verify a b", "unexpected b"),
    ] {
        let error = LedgerutilCommand::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(problem(&error), words, "{line}");
    }
    let defaults = LedgerutilCommand::try_parse_from(["ledgerutil", "verify"]).unwrap();
    let Command::Verify { peer } = defaults.command else { panic!("it is verify") };
    assert_eq!(peer.path, Path::new("/var/hyperledger/production"));
}

/// A snapshot of block 9 with these public keys: key, value, block and place in it of its version; and as many hashes.
fn snapshot(directory: &Path, records: &[(&str, &str, u64, u64)]) {
    let tip = SnapshotTip {
        channel: ChannelId::new("mychannel").unwrap(),
        last_block: BlockNumber::new(9),
        last_block_hash: Bytes::from_static(b"last"),
        previous_block_hash: Bytes::from_static(b"before"),
        last_commit_hash: Bytes::new(),
    };
    let mut writer = SnapshotWriter::create(directory).unwrap();
    for (namespace, hashed) in [("cc", false), ("cc$$hcoll", true)] {
        for (key, value, block, place) in records {
            let record = StateRecord {
                namespace: namespace.to_owned(),
                key: Bytes::copy_from_slice(key.as_bytes()),
                value: Bytes::copy_from_slice(value.as_bytes()),
                metadata: Bytes::new(),
                version: Height::new(BlockNumber::new(*block), *place),
            };
            match hashed {
                false => writer.public(&record).unwrap(),
                true => writer.private_hash(&record).unwrap(),
            }
        }
    }
    writer.finish(&tip).unwrap();
}

struct Snapshots(tempfile::TempDir);

impl Snapshots {
    fn new(first: &[(&str, &str, u64, u64)], second: &[(&str, &str, u64, u64)]) -> Self {
        let snapshots = Self(tempfile::tempdir().unwrap());
        snapshot(&snapshots.0.path().join("a"), first);
        snapshot(&snapshots.0.path().join("b"), second);
        snapshots
    }

    fn compare(&self, first_differences: &str) -> Answer {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let arguments =
            ["-f".to_owned(), first_differences.to_owned(), "-o".to_owned(), path("results"), path("a"), path("b")];
        let all = ["ledgerutil", "compare"].map(str::to_owned).into_iter().chain(arguments);
        answer(LedgerutilCommand::try_parse_from(all).unwrap().command)
    }

    fn results(&self) -> PathBuf {
        self.0.path().join("results/mychannel_9_comparison")
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.results().join(name)).unwrap()
    }
}

#[test]
fn equal_snapshots_are_found_equal_without_results() {
    let records = [("a", "1", 1, 0), ("b", "2", 2, 0)];
    let snapshots = Snapshots::new(&records, &records);
    let same = "\nSuccessfully compared snapshots. Both snapshot public state and private state hashes were the same. No results were generated.\n";
    assert_eq!(snapshots.compare("10"), Answer::new(0, same));
    assert!(!snapshots.results().exists());
}

#[test]
fn differences_are_listed_by_key_and_the_earliest_by_height() {
    let first = [("a", "1", 1, 0), ("b", "<2>", 2, 0), ("c", "3", 3, 0), ("e", "5", 5, 0)];
    let second = [("a", "1", 1, 0), ("b", "two", 4, 1), ("d", "4", 1, 2), ("e", "5", 5, 0), ("f", "6", 1, 0)];
    let snapshots = Snapshots::new(&first, &second);
    let said = format!(
        "\nSuccessfully compared snapshots. Results saved to {}. Total differences found: 8\n",
        snapshots.results().display()
    );
    assert_eq!(snapshots.compare("3"), Answer::new(2, said));
    let public = [
        r#"{"namespace":"cc","key":"b","hashed":false,"snapshotrecord1":{"value":"\u003c2\u003e","blockNum":2,"txNum":0},"snapshotrecord2":{"value":"two","blockNum":4,"txNum":1}}"#,
        r#"{"namespace":"cc","key":"c","hashed":false,"snapshotrecord1":{"value":"3","blockNum":3,"txNum":0},"snapshotrecord2":null}"#,
        r#"{"namespace":"cc","key":"d","hashed":false,"snapshotrecord1":null,"snapshotrecord2":{"value":"4","blockNum":1,"txNum":2}}"#,
        r#"{"namespace":"cc","key":"f","hashed":false,"snapshotrecord1":null,"snapshotrecord2":{"value":"6","blockNum":1,"txNum":0}}"#,
    ];
    let file = |lines: &[&str]| {
        format!("{{\n\"ledgerid\":\"mychannel\",\n\"diffRecords\":[\n{}\n]\n}}\n", lines.join("\n,\n"))
    };
    assert_eq!(snapshots.text("all_pub_diffs_by_key.json"), file(&public));
    let private = snapshots.text("all_pvt_diffs_by_key.json");
    assert!(private.contains(
        r#"{"namespace":"cc$$hcoll","key":"66","hashed":true,"snapshotrecord1":null,"snapshotrecord2":{"value":"36","blockNum":1,"txNum":0}}"#
    ));
    let private: Vec<&str> = private.lines().filter(|line| line.starts_with("{\"")).collect();
    assert_eq!(snapshots.text("first_diffs_by_height.json"), file(&[public[3], private[3], public[2]]));
    let again = snapshots.compare("3");
    assert!(again.text.starts_with("Ledger Compare Error: mychannel_9_comparison already exists in "), "{again:?}");
    std::fs::remove_dir_all(snapshots.results()).unwrap();
    assert_eq!(snapshots.compare("0").status, 2);
    assert!(!snapshots.results().join("first_diffs_by_height.json").exists());
}

#[test]
fn snapshots_of_different_things_are_not_compared() {
    let records = [("a", "1", 1, 0)];
    for (from, to, words) in [
        (
            "\"last_block_number\": 9",
            "\"last_block_number\": 8",
            "Last block numbers do not match.\nSnapshot1 last block number: 9\nSnapshot2 last block number: 8\n",
        ),
        (
            "mychannel",
            "other",
            "Channel names do not match.\nSnapshot1 channel name: mychannel\nSnapshot2 channel name: other\n",
        ),
        (
            "6c617374",
            "6c617375",
            "Last block hashes do not match.\nSnapshot1 last block hash: 6c617374\nSnapshot2 last block hash: 6c617375\n",
        ),
        (
            "SimpleKeyValueDB",
            "CouchDB",
            "State db types do not match.\nSnapshot1 state db type: SimpleKeyValueDB\nSnapshot2 state db type: CouchDB\n",
        ),
    ] {
        let snapshots = Snapshots::new(&records, &records);
        let metadata = snapshots.0.path().join("b/_snapshot_signable_metadata.json");
        let text = std::fs::read_to_string(&metadata).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&metadata, text.replace(from, to)).unwrap();
        let expected = format!("Ledger Compare Error: the supplied snapshots appear to be non-comparable. {words}");
        assert_eq!(snapshots.compare("10"), Answer::new(1, expected));
    }
    let snapshots = Snapshots::new(&records, &[("a", "2", 1, 0)]);
    std::fs::write(snapshots.0.path().join("b/public_state.data"), b"\x01garbage").unwrap();
    let answer = snapshots.compare("10");
    assert!(answer.status == 1 && answer.text.contains("public_state.data is damaged"), "{answer:?}");
}
