//! Many histories; `RIPSTOP_NIGHTLY=1` runs more of them, `RIPSTOP_TEST_SEED` one.

use ripstop_files::every_seed;
use ripstop_sim::live;

/// How many histories.
const FEW: u64 = 50;
/// How many with `RIPSTOP_NIGHTLY=1`.
const MANY: u64 = 10_000;

#[test]
fn networks_keep_their_word_whatever_happens() {
    every_seed(FEW, MANY, |seed| println!("seed {seed}: {:?}", live(seed)));
}

#[test]
fn a_history_replays_from_its_seed() {
    assert_eq!(live(7), live(7));
    assert_ne!(live(7).trace, live(8).trace);
}
