//! Hostile bytes for every parser.
//!
//! What question this crate answers: *can bytes from outside make anything panic, hang, or contradict itself?* Each parser of
//! hostile bytes is a target in `targets`. An ordinary test run gives it what was found before (`found/TARGET/*`), the
//! `Seeds`, and a thousand spoilt copies of each. The nightly run (`.ci/nightly`) lets a coverage-guided fuzzer (`cargo
//! bolero`, libFuzzer) work on each target for a minute; what it finds goes into `found`.
//!
//! Absent: protocols; `testing/interop` sends bad input to a running network.

#![allow(clippy::unwrap_used, reason = "a target that finds something should stop")]

mod discovery;
mod gossip;
mod mutation;
mod seeds;
mod snapshots;
mod targets;

use std::path::Path;

use bytes::Bytes;

use crate::mutation::Mutations;
use crate::seeds::Seeds;

/// How many spoilt copies of each seed an ordinary test run tries, unless [`COPIES_VARIABLE`] says otherwise.
const COPIES: u64 = 1_000;

/// Says how many spoilt copies of each seed are tried, for whoever has time and no fuzzer.
const COPIES_VARIABLE: &str = "RIPSTOP_FUZZ_COPIES";

/// Names a folder into which the seeds are written, for a fuzzer to begin from.
const SEEDS_VARIABLE: &str = "RIPSTOP_FUZZ_SEEDS";

/// Runs a target outside the fuzzer.
#[cfg_attr(fuzzing, expect(dead_code))]
fn run(name: &str, seeds: &[&Bytes], target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found").join(name);
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        target(&std::fs::read(entry.unwrap().path()).unwrap());
    }
    let copies = std::env::var(COPIES_VARIABLE).map_or(COPIES, |copies| copies.parse().unwrap());
    let for_fuzzer = std::env::var_os(SEEDS_VARIABLE).map(|folder| Path::new(&folder).join(name));
    for (number, seed) in seeds.iter().enumerate() {
        if let Some(folder) = &for_fuzzer {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join(number.to_string()), seed).unwrap();
        }
        target(seed);
        let mut mutations = Mutations::from(number as u64);
        for _ in 0..copies {
            target(&mutations.spoil(seed));
        }
    }
}

macro_rules! targets {
    ($($name:ident: $($seed:ident),+;)+) => {$(
        #[test]
        fn $name() {
            #[cfg(fuzzing)]
            bolero::check!().for_each(targets::$name);
            #[cfg(not(fuzzing))]
            run(stringify!($name), &[$(&Seeds::get().$seed),+], targets::$name);
        }
    )+};
}

targets! {
    envelope: envelope;
    block: block;
    block_record: record;
    block_file: record;
    read_write_set: rwset;
    private_read_write_set: private_rwset;
    certificate: certificate;
    identity: identity;
    policy: policy;
    policy_language: policy_text;
    config: tree;
    config_update: config_update;
    transaction: envelope;
    message_as_json: block, tree, config_update, rwset, policy, identity;
    json_as_message: json;
    gossip_message: gossip_request, gossip_update, gossip_blocks, gossip_state_info;
    gossip_handshake: gossip_establish, gossip_state_info;
    gossip_private_data: gossip_private, gossip_private_answer, gossip_blocks;
    discovery_request: discovery_endorsers, discovery_peers;
    snapshot: snapshot_state, snapshot_counts, snapshot_tx_ids, snapshot_collections, snapshot_metadata;
}
