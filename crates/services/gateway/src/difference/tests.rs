//! The cases of Fabric's `internal/pkg/gateway/diff_test.go`.

use prost::Message;

use ripstop_rwset::{CollectionHashedRwSet, KvRead, KvWrite, MetadataEntry, MetadataWrite, NsRwSet};
use ripstop_types::{BlockNumber, Height, MspId};

use super::*;
use crate::endorser::Location;

/// One line a thing: `read ns key block`, `write ns key value`, `meta ns key name value`, `private ns collection hash`.
fn results(text: &str) -> Bytes {
    let namespace = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut set = NsRwSet { namespace: words[1].to_owned(), ..Default::default() };
        let (key, last) = (words[2].to_owned(), words[words.len() - 1]);
        match words[0] {
            "read" => {
                let block = BlockNumber::new(last.parse().unwrap());
                set.reads.push(KvRead { key, version: Some(Height { block, tx: 0 }) });
            }
            "write" => set.writes.push(KvWrite { key, is_delete: false, value: last.to_owned().into() }),
            "meta" => {
                let value = if words[3] == KEY_POLICY { signed_by(last) } else { last.to_owned().into() };
                set.metadata_writes
                    .push(MetadataWrite { key, entries: vec![MetadataEntry { name: words[3].to_owned(), value }] });
            }
            _ => set.collections.push(CollectionHashedRwSet {
                collection: key,
                private_rwset_hash: last.to_owned().into(),
                ..Default::default()
            }),
        }
        set
    };
    TxRwSet { namespaces: text.lines().map(str::trim).filter(|line| !line.is_empty()).map(namespace).collect() }
        .encode()
}

fn signed_by(org: &str) -> Bytes {
    ripstop_policy::dsl::parse(&format!("OR('{org}.peer')")).unwrap().encode_to_vec().into()
}

fn payload(action: protos::ChaincodeAction) -> Bytes {
    let extension = action.encode_to_vec().into();
    protos::ProposalResponsePayload { extension, ..Default::default() }.encode_to_vec().into()
}

fn with_results(text: &str) -> Bytes {
    payload(protos::ChaincodeAction { results: results(text), ..Default::default() })
}

fn mismatch(first: &Bytes, other: &Bytes, heights: (u64, u64)) -> Mismatch {
    let endorser = |address: &str, height| Endorser {
        org: MspId::new("Org1MSP"),
        address: address.to_owned(),
        name: address.to_owned(),
        identity: Bytes::new(),
        height,
        location: Location::Remote,
    };
    Mismatch::between((&endorser("peer0", heights.0), first), (&endorser("peer1", heights.1), other))
}

/// Each difference in one line, its values separated by ` | `.
fn lines(first: &Bytes, other: &Bytes) -> Vec<String> {
    let differences = mismatch(first, other, (1, 1)).differences.unwrap();
    let line =
        |difference: &Difference| difference.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" | ");
    differences.iter().map(line).collect()
}

#[test]
fn differences_of_reads_and_writes_are_told_as_in_fabric() {
    for (first, other, expected) in [
        (
            "read ns1 key1 4\nread ns1 key2 4",
            "read ns1 key1 4\nread ns1 key2 5",
            &["read value mismatch | ns1 | key2 | 4 | 5"][..],
        ),
        ("read ns1 key1 4\nread ns1 key2 4", "read ns1 key1 4", &["missing read | ns1 | key2 | 4 | 0"]),
        (
            "read ns1 key1 4",
            "read ns1 key1 4\nread ns1 key3 3\nread ns2 key3b 5",
            &["extraneous read | ns1 | key3 | 0 | 3", "extraneous read | ns2 | key3b | 0 | 5"],
        ),
        (
            "write ns1 key1 v1\nwrite ns1 key2 v2\nwrite ns1 key3 v3",
            "write ns1 key1 v1\nwrite ns1 key2 v3\nwrite ns1 key4 v4",
            &[
                "write value mismatch | ns1 | key2 | v2 | v3",
                "missing write | ns1 | key3 | v3 | ",
                "extraneous write | ns1 | key4 |  | v4",
            ],
        ),
        (
            "meta ns1 key1 m1 v1\nmeta ns2 key2 m2 mv1",
            "meta ns1 key1 m1 v2\nmeta ns3 key2 m2 mv1",
            &[
                "write metadata mismatch | ns1 | key1 | m1 | v1 | v2",
                "missing metadata write | ns2 | key2 | m2 | mv1 | ",
                "extraneous metadata write | ns3 | key2 | m2 |  | mv1",
            ],
        ),
        ("private ns1 c1 ab", "private ns1 c1 cd", &["private collection hash mismatch | ns1 | c1 | 6162 | 6364"]),
    ] {
        assert_eq!(lines(&with_results(first), &with_results(other)), expected, "{first} / {other}");
    }
}

#[test]
fn policies_of_keys_are_told_in_the_policy_language() {
    let of = |org: &str| with_results(&format!("meta ns1 key1 {KEY_POLICY} {org}"));
    let lines = lines(&of("A"), &of("B"));
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.starts_with("write metadata mismatch (SBE policy) | ns1 | key1 | VALIDATION_PARAMETER | "), "{line}");
    assert!(line.ends_with(" | OutOf(1, A.PEER) | OutOf(1, B.PEER)"), "{line}");
}

#[test]
fn differences_of_the_result_are_told_without_the_result() {
    let of = |status, payload: &'static str| {
        let response = protos::Response { status, message: "m".to_owned(), payload: payload.into() };
        super::tests::payload(protos::ChaincodeAction { response: Some(response), ..Default::default() })
    };
    let expected = "chaincode response mismatch | status: 200, message: m, payload: 6 bytes | status: 201, message: m, payload: 3 bytes";
    assert_eq!(lines(&of(200, "secret"), &of(201, "abc")), [expected]);
}

#[test]
fn differences_of_events_are_told() {
    let of = |value: &'static str| {
        let event = protos::ChaincodeEvent {
            chaincode_id: "cc".to_owned(),
            event_name: "sold".to_owned(),
            payload: value.into(),
            ..Default::default()
        };
        payload(protos::ChaincodeAction { events: event.encode_to_vec().into(), ..Default::default() })
    };
    let expected =
        "chaincode event mismatch | chaincodeId: cc, name: sold, value: 1 | chaincodeId: cc, name: sold, value: 2";
    assert_eq!(lines(&of("1"), &of("2")), [expected]);
}

#[test]
fn the_application_learns_which_parts_differ_and_who_is_behind() {
    let (first, other) = (with_results("read ns k 1"), with_results("read ns k 2"));
    let text = mismatch(&first, &other, (7, 7)).explanation();
    assert!(
        text.starts_with(
            "ProposalResponsePayloads do not match: it differs from the first endorser's in what was read and written; "
        ),
        "{text}"
    );
    let text = mismatch(&first, &other, (7, 9)).explanation();
    assert!(text.ends_with("; peer1 has 9 blocks and is ahead of peer0, which has 7"), "{text}");
    let text = mismatch(&Bytes::from_static(b"\xff"), &other, (7, 7)).explanation();
    assert!(text.ends_with(": one of them is no response of a chaincode"), "{text}");
}

#[test]
fn bytes_that_hold_no_reads_and_writes_give_no_differences() {
    let broken = payload(protos::ChaincodeAction { results: Bytes::from_static(b"\xff"), ..Default::default() });
    let mismatch = mismatch(&broken, &with_results("read ns k 2"), (1, 1));
    assert_eq!(mismatch.differences, None);
    assert!(mismatch.explanation().contains("what was read and written"));
}
