//! How a peer that was away catches up, and what it costs: `cargo run --release -p ripstop-bench -- catchup`.
//!
//! A network of two organizations with two peers each; one transaction a block. A peer is stopped, the chain grows, and the
//! peer is started again: it pulls from the orderer, or has other peers of its organization send the blocks. Then a peer
//! joins that the network did not have. All the while clients query the peer that catches up.
//!
//! ```text
//! catchup [--blocks N] [--private N] [--dir DIR] [--ports FIRST]
//! ```
//! In a directory that is named the chain stays: the next run goes on from there, which saves most of its time. The
//! transactions have real signatures; they are not executed one by one, but made after one that was, because the chain is
//! what matters here. Those with private data are executed.

mod chain;
mod newcomer;
mod observed;
mod secrets;
mod stage;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use crate::Outcome;
use observed::{Answers, Course, Observer};
pub(crate) use secrets::{NAME as SECRETS, serve as serve_secrets};
use stage::Stage;

/// How long the chain grows unless said otherwise.
const BLOCKS: u64 = 100_000;
/// How many of these blocks hold private data unless said otherwise.
const PRIVATE_BLOCKS: u64 = 2_000;

/// The peer that goes away: the second one of the first organization.
const STRAGGLER: &str = "peer1.org1.example.com";
/// The peer that stays.
const KEEPER: &str = "peer0.org1.example.com";

/// With which variables a peer has other peers of its organization send the blocks.
const BY_GOSSIP: [(&str, &str); 2] =
    [("CORE_PEER_GOSSIP_ORGLEADER", "false"), ("CORE_PEER_GOSSIP_STATE_ENABLED", "true")];
/// With which variables a peer sends blocks to others, while it pulls from the orderers itself.
const SENDS_BLOCKS: [(&str, &str); 1] = [("CORE_PEER_GOSSIP_STATE_ENABLED", "true")];

struct Options {
    blocks: u64,
    private: u64,
    directory: Option<PathBuf>,
    ports: Option<String>,
}

/// Runs all of it and prints what came out.
pub(crate) fn run(arguments: &[OsString]) -> Outcome {
    let options = parse(arguments)?;
    let scratch = tempfile::tempdir()?;
    let directory = options.directory.clone().unwrap_or_else(|| scratch.path().join("network"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stage = Stage::open(&directory, options.ports.as_deref())?;
        let target = prepare(&mut stage, &options).await?;
        Course::print_header();
        keeper_alone(&mut stage, target).await?;
        straggler(&mut stage, target, options.private, "a peer that was away, from the orderer", &[]).await?;
        straggler(&mut stage, target, options.private, "a peer that was away, from another peer", &BY_GOSSIP).await?;
        newcomer::joins(&mut stage, target).await
    })
}

fn parse(arguments: &[OsString]) -> Result<Options, Box<dyn std::error::Error>> {
    let mut options = Options { blocks: BLOCKS, private: PRIVATE_BLOCKS, directory: None, ports: None };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} needs a value", pair[0].to_string_lossy()).into()) };
        let text = value.to_string_lossy().into_owned();
        match name.to_string_lossy().as_ref() {
            "--blocks" => options.blocks = text.parse()?,
            "--private" => options.private = text.parse()?,
            "--dir" => options.directory = Some(PathBuf::from(value)),
            "--ports" => options.ports = Some(text),
            unknown => {
                return Err(format!("{unknown} is not one of --blocks, --private, --dir, --ports").into());
            }
        }
    }
    Ok(options)
}

/// Brings the network to where a peer is away and the chain is long. Gives the height of the chain.
async fn prepare(stage: &mut Stage, options: &Options) -> Result<u64, Box<dyn std::error::Error>> {
    if stage.height_before_absence().is_none() {
        stage.start_all().await?;
        chain::cut_one_transaction_a_block(stage)?;
        secrets::deploy(stage).await?;
        newcomer::is_in_step(stage).await?;
        stage.stop_peer_and_keep(STRAGGLER).await?;
        secrets::tell(stage, options.private).await?;
        stage.stop_all();
    }
    let away = stage.height_before_absence().ok_or("the network is half made; remove its directory")?;
    stage.start(stage.orderer_name(), &[]).await?;
    let target = away + options.blocks;
    chain::grow(stage, target).await?;
    Ok(stage.orderer_height().await?.max(target))
}

/// The peer that the other one will depend on takes the chain, and nobody asks it anything.
async fn keeper_alone(stage: &mut Stage, target: u64) -> Outcome {
    stage.start(stage.orderer_name(), &[]).await?;
    let mut observer = Observer::new(stage, KEEPER, &[stage.orderer_name()]);
    let started = Instant::now();
    stage.start(KEEPER, &SENDS_BLOCKS).await?;
    let course = observer.until(stage, target, started, Answers::nobody_asks()).await?;
    course.print("from the orderer, nobody asks");
    Ok(())
}

/// The peer that was away comes back.
async fn straggler(stage: &mut Stage, target: u64, private: u64, title: &str, variables: &[(&str, &str)]) -> Outcome {
    stage.restore(STRAGGLER)?;
    stage.start_contracts()?;
    stage.start(KEEPER, &SENDS_BLOCKS).await?;
    let mut observer = Observer::new(stage, STRAGGLER, &[stage.orderer_name(), KEEPER]);
    let started = Instant::now();
    stage.start(STRAGGLER, variables).await?;
    let questions = observed::ask(stage, STRAGGLER)?;
    let course = observer.until(stage, target, started, questions).await?;
    course.print(title);
    secrets::print_held(stage, STRAGGLER, private, started).await?;
    stage.stop(STRAGGLER);
    Ok(())
}
