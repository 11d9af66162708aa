//! Summaries of range queries.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use ripstop_proto::kvrwset;
use ripstop_rwset::{KvRead, MerkleSummary, RangeReads, RangeRecorder};
use ripstop_types::{BlockNumber, Digest, Height};

fn read(n: u64) -> KvRead {
    KvRead { key: format!("k{n:02}"), version: Some(Height::new(BlockNumber::new(1), n)) }
}

fn record(mut recorder: RangeRecorder, count: u64) -> RangeReads {
    for n in 0..count {
        recorder.add(read(n));
    }
    recorder.finish()
}

/// The definition, level by level instead of result by result.
fn defined(count: u64, degree: usize) -> RangeReads {
    let reads: Vec<KvRead> = (0..count).map(read).collect();
    if reads.is_empty() {
        return RangeReads::None;
    }
    if reads.len() <= degree {
        return RangeReads::Raw(reads);
    }
    let encode = |reads: &[KvRead]| {
        let kv_reads = reads.iter().map(|read| kvrwset::KvRead {
            key: read.key.clone(),
            version: read.version.map(|v| kvrwset::Version { block_num: v.block.get(), tx_num: v.tx }),
        });
        kvrwset::QueryReads { kv_reads: kv_reads.collect() }.encode_to_vec()
    };
    let mut level = 1;
    let mut nodes: Vec<Digest> = reads.chunks(degree + 1).map(|chunk| Digest::of(&encode(chunk))).collect();
    while nodes.len() > degree {
        nodes = nodes
            .chunks(degree + 1)
            .map(|chunk| match chunk {
                [only] => *only,
                several => Digest::of_parts(several.iter().map(AsRef::as_ref)),
            })
            .collect();
        level += 1;
    }
    RangeReads::Merkle(MerkleSummary {
        max_degree: degree as u32,
        max_level: level,
        max_level_hashes: nodes.into_iter().map(Digest::to_bytes).collect(),
    })
}

proptest! {
    #[test]
    fn the_summary_is_the_tree_of_all_results(count in 0..400u64, degree in 2..7u32) {
        let recorded = record(RangeRecorder::with_degree(degree).unwrap(), count);
        prop_assert_eq!(recorded, defined(count, degree as usize));
    }
}

#[test]
fn fifty_results_stay_and_the_fifty_first_makes_a_summary() {
    assert_eq!(record(RangeRecorder::new(), 0), RangeReads::None);
    assert_eq!(record(RangeRecorder::new(), 50), RangeReads::Raw((0..50).map(read).collect()));
    let hash = hex::decode("c2aa5c0eb1f02c966755ed51b05493d9b1e49a3bc85322164dcfae25febb3019").unwrap();
    let summary = MerkleSummary { max_degree: 50, max_level: 1, max_level_hashes: vec![Bytes::from(hash)] };
    assert_eq!(record(RangeRecorder::new(), 51), RangeReads::Merkle(summary));
}

#[test]
fn a_forged_degree_is_refused() {
    for degree in [0, 1] {
        assert!(RangeRecorder::with_degree(degree).is_err());
    }
}
