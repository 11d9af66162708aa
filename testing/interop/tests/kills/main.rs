//! A real peer killed at any moment, under load, again and again. Each time its ledger is compared, as it lies on disk,
//! with one that came to the same height without accidents: blocks, commit hash, state, history, index and private data.
//!
//! `RIPSTOP_NIGHTLY=1` kills more often; the moments come from a seed that is printed, and `RIPSTOP_TEST_SEED` repeats them.

mod reference;
mod work;

use std::path::Path;
use std::time::Duration;

use ripstop_interop::{History, Load, Processes, Random, SharedHistory, Site};
use ripstop_types::ValidationCode;

use crate::reference::{Reference, Remains};
use crate::work::workers;

const SEED: u64 = 1;
/// How often the peer is killed.
const KILLS: usize = 20;
const NIGHTLY_KILLS: usize = 500;
/// At most this many transactions are reported between a restart and the next kill.
const MOST_BETWEEN: usize = 10;
/// At most this long, in milliseconds, is waited beyond that, to kill in the middle of anything.
const MOST_BEYOND: usize = 120;
/// One in how many times the peer is killed while it starts, before it does anything for anybody.
const EARLY: usize = 4;
/// How long anything may take before the test fails: far above what a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(90);
/// The organization whose peer is killed.
const VICTIM: usize = 1;

#[test]
fn a_killed_peer_has_the_ledger_of_one_that_never_was() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_BIN_EXE_ripstop-under-test"));
    let directory = scratch.path().join("network");
    let site = Site::make(program, &directory, &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there is a runtime").block_on(kill_and_compare(program, &site));
}

async fn kill_and_compare(program: &Path, site: &Site) {
    let kills = if std::env::var_os("RIPSTOP_NIGHTLY").is_some() { NIGHTLY_KILLS } else { KILLS };
    let mut random = Random::from_environment(SEED);
    let mut processes = Processes::new(program, site);
    let victim = site.peer_name(VICTIM);
    for node in [site.orderer_name(), &victim, &site.peer_name(2)] {
        processes.start_node(node);
    }
    processes.start_contract();
    let history = SharedHistory::default();
    let load = Load::begin(workers(site, &history, &mut random));
    let mut reference = Reference::begin(site, VICTIM);
    for round in 1..=kills {
        if random.below(EARLY) > 0 {
            let target = load.done() + 1 + random.below(MOST_BETWEEN);
            assert!(
                load.reaches(target, LIMIT).await,
                "kill {round}: only {} of {target} transactions; ended by themselves: {:?}; clients last saw: {}",
                load.done(),
                processes.ended(),
                load.last_failure()
            );
        }
        // Not an event that is waited for, but any moment.
        tokio::time::sleep(Duration::from_millis(random.below(MOST_BEYOND) as u64)).await;
        processes.kill(&victim);
        let told = told(&history);
        let remains = Remains::of(&site.ledgers(VICTIM));
        // While the peer comes back and goes on, what it left is looked at.
        processes.start_node(&victim);
        let height = reference.compare(remains, &told, &format!("kill {round}")).await;
        if round % 10 == 0 || round == kills {
            println!("{round} kills; {} transactions reported, height {height}", told.len());
        }
    }
    let target = load.done() + MOST_BETWEEN;
    assert!(load.reaches(target, LIMIT).await, "after the last restart: {}", load.last_failure());
    load.end().await;
    assert!(processes.ended().is_empty(), "{:?} ended by themselves", processes.ended());
    processes.kill(&victim);
    reference.compare(Remains::of(&site.ledgers(VICTIM)), &told(&history), "the end").await;
    let codes = told(&history).into_iter().map(|(_, code, _)| code);
    let valid = codes.filter(|code| *code == ValidationCode::Valid).count();
    assert!(valid * 2 > load_size(&history), "most transactions are good ones");
    assert_eq!(site.panics(), Vec::<String>::new());
}

/// What the victim reported so far: it is the witness of all clients.
fn told(history: &SharedHistory) -> Vec<reference::Report> {
    history.lock().expect("no client panics").reported.clone()
}

fn load_size(history: &SharedHistory) -> usize {
    let History { ordered, .. } = &*history.lock().expect("no client panics");
    ordered.len()
}
