//! A peer that the network did not have: made and joined with the commands that operators use.

use std::fs;
use std::net::TcpListener;
use std::time::Instant;

use ripstop_interop::CHANNEL;

use super::observed::{self, Observer};
use super::secrets;
use super::stage::Stage;
use super::{KEEPER, SENDS_BLOCKS};
use crate::Outcome;

/// The peers that are added, in order.
const NEWCOMERS: [&str; 2] = ["peer2.org1.example.com", "peer3.org1.example.com"];
/// The label of the sample contract's package, with which `ripstop up` made it.
const LABEL: &str = "asset-transfer_1.0";

/// Adds a peer while the chain is short, and prints how long it takes until it has all blocks.
pub(crate) async fn is_in_step(stage: &mut Stage) -> Outcome {
    let [name, _] = NEWCOMERS;
    let height = stage.orderer_height().await?;
    let began = Instant::now();
    make(stage, name)?;
    let made = began.elapsed();
    stage.start(name, &[]).await?;
    let started = began.elapsed();
    join(stage, name)?;
    let joined = began.elapsed();
    stage.reaches(name, height).await?;
    println!(
        "a new peer, {height} blocks: certificates and files after {:.2} s, listens after {:.2} s, joined after {:.2} s, in step after {:.2} s",
        made.as_secs_f64(),
        started.as_secs_f64(),
        joined.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    stage.stop(name);
    Ok(())
}

/// Adds a peer when the chain is long.
pub(crate) async fn joins(stage: &mut Stage, target: u64) -> Outcome {
    let [_, name] = NEWCOMERS;
    stage.start(stage.orderer_name(), &[]).await?;
    stage.start_contracts()?;
    stage.start(KEEPER, &SENDS_BLOCKS).await?;
    if !stage.site.configuration(name).exists() {
        make(stage, name)?;
    }
    let data = stage.data(name);
    if data.exists() {
        fs::remove_dir_all(data)?;
    }
    let mut observer = Observer::new(stage, name, &[stage.orderer_name(), KEEPER]);
    stage.start(name, &[]).await?;
    let package = stage.directory.join("asset-transfer.tar.gz");
    let address = stage.site.contract_address();
    let service =
        ripstop_peer::package::ServiceAddress { address, dial_timeout: "10s".to_owned(), tls_required: false };
    fs::write(&package, ripstop_peer::package::pack_service(LABEL, &service)?)?;
    secrets::install(stage, name, &package.to_string_lossy())?;
    let started = Instant::now();
    join(stage, name)?;
    let questions = observed::ask(stage, name)?;
    observer.until(stage, target, started, questions).await?.print("a new peer, from block 0");
    stage.stop(name);
    Ok(())
}

/// Certificates by `cryptogen extend`, and a `core.yaml` like that of a peer beside it.
fn make(stage: &Stage, name: &str) -> Outcome {
    let config = stage.directory.join("crypto-config.yaml");
    let text = fs::read_to_string(&config)?;
    let more = stage.directory.join("crypto-config-extended.yaml");
    fs::write(&more, text.replace("Count: 2", "Count: 4"))?;
    let crypto = stage.directory.join("crypto");
    let (more, crypto) = (more.to_string_lossy(), crypto.to_string_lossy());
    stage.command(&["cryptogen", "extend", "--config", &more, "--input", &crypto], &[])?;
    let like = fs::read_to_string(stage.site.configuration(KEEPER).join("core.yaml"))?;
    let mut yaml = like.replace(KEEPER, name);
    for port in ports_of(&like) {
        yaml = yaml.replace(&format!(":{port}"), &format!(":{}", free_port()?));
    }
    let anchor = stage.endpoint(KEEPER)?.address().to_owned();
    let bootstrap =
        yaml.lines().find(|line| line.contains("bootstrap:")).ok_or("core.yaml names no bootstrap peers")?;
    let (before, after) = bootstrap.split_once('[').ok_or("the bootstrap peers are a list")?;
    let (_, after) = after.split_once(']').ok_or("the bootstrap peers are a list")?;
    let yaml = yaml.replace(bootstrap, &format!("{before}['{anchor}']{after}"));
    let directory = stage.site.configuration(name);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("core.yaml"), yaml)?;
    Ok(())
}

/// The ports on which a peer with this configuration listens.
fn ports_of(yaml: &str) -> Vec<u16> {
    let mut ports = Vec::new();
    for line in yaml.lines().filter(|line| line.contains("istenAddress:")) {
        let digits: String =
            line.chars().rev().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        ports.extend(digits.chars().rev().collect::<String>().parse::<u16>());
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Joins the channel with its first block, as the organization's administrator.
fn join(stage: &Stage, name: &str) -> Outcome {
    let environment = stage.operator.environment("org1");
    let mut variables: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let address = stage.endpoint(name)?.address().to_owned();
    variables.push(("CORE_PEER_ADDRESS", &address));
    let block = stage.directory.join(format!("{CHANNEL}.block"));
    stage.command(&["peer", "channel", "join", "-b", &block.to_string_lossy()], &variables).map(|_| ())
}
