//! A contract that keeps private data of the first organization, and transactions that tell it some.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use ripstop_contract::{Context, Contract, Error, Result as ContractResult};
use ripstop_interop::CHANNEL;
use ripstop_peer::client::{Invocation, Submission};
use ripstop_peer::package::{ServiceAddress, pack_service, package_id};
use serde_json::{Value, json};

use super::stage::Stage;
use super::{KEEPER, STRAGGLER};
use crate::Outcome;

/// The contract's name, and the argument with which this program serves it.
pub(crate) const NAME: &str = "secrets";
/// The collection that each organization has of itself.
const COLLECTION: &str = "_implicit_org_Org1MSP";
/// The file that says where the contract listens, and what its package is called.
const DEPLOYED: &str = "secrets.json";
/// How many transactions are under way at once.
const CONCURRENCY: usize = 16;
/// How long the last commit may take.
const COMMIT_LIMIT: Duration = Duration::from_secs(60);
/// How long reconciliation may take: Fabric's peers look once a minute.
const HELD_LIMIT: Duration = Duration::from_secs(180);

/// Keeps what it is told in the first organization's own collection.
fn contract() -> Contract {
    Contract::new(NAME).function("Keep", keep).function("Count", count)
}

fn keep(ctx: &Context, name: String) -> ContractResult<()> {
    let secret = ctx.transient("secret").cloned().ok_or_else(|| Error::new("nothing secret was said"))?;
    ctx.put_private(COLLECTION, &name, secret)
}

/// How many secrets this peer holds.
fn count(ctx: &Context) -> ContractResult<String> {
    let held = ctx.range_private(COLLECTION, "", "")?.try_fold(0_u64, |count, found| found.map(|_| count + 1))?;
    Ok(held.to_string())
}

/// The address and the package id of the contract; `None` before it is deployed.
pub(crate) fn deployed(stage: &Stage) -> Result<Option<(String, String)>, Box<dyn std::error::Error>> {
    let file = stage.directory.join(DEPLOYED);
    if !file.exists() {
        return Ok(None);
    }
    let told: Value = serde_json::from_slice(&fs::read(file)?)?;
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    Ok(Some((text("address"), text("package_id"))))
}

/// Takes the contract through its lifecycle. A peer of either organization suffices to endorse.
pub(crate) async fn deploy(stage: &mut Stage) -> Outcome {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let service = ServiceAddress { address: free.clone(), dial_timeout: "10s".to_owned(), tls_required: false };
    let package = pack_service(NAME, &service)?;
    let id = package_id(NAME, &package);
    let file = stage.directory.join("secrets.tar.gz");
    fs::write(&file, package)?;
    for peer in [KEEPER, STRAGGLER] {
        install(stage, peer, &file.to_string_lossy())?;
    }
    let orderer = stage.operator.orderer_flags();
    let orderer: Vec<&str> = orderer.iter().map(String::as_str).collect();
    let definition = ["--channelID", CHANNEL, "--name", NAME, "--version", "1.0", "--sequence", "1"];
    let policy = ["--signature-policy", "OR('Org1MSP.peer','Org2MSP.peer')"];
    for (organisation, package) in [("org1", vec!["--package-id", &id]), ("org2", vec![])] {
        let approve = ["lifecycle", "chaincode", "approveformyorg"];
        stage.operator.peer(organisation, &[&approve, &definition[..], &policy, &package, &orderer].concat());
    }
    let peers = ["org1", "org2"].map(|organisation| stage.operator.environment(organisation));
    let addresses: Vec<&str> = peers
        .iter()
        .flat_map(|peer| {
            let (address, root) = (&peer["CORE_PEER_ADDRESS"], &peer["CORE_PEER_TLS_ROOTCERT_FILE"]);
            ["--peerAddresses", address, "--tlsRootCertFiles", root]
        })
        .collect();
    let commit = ["lifecycle", "chaincode", "commit"];
    stage.operator.peer("org1", &[&commit, &definition[..], &policy, &addresses, &orderer].concat());
    fs::write(stage.directory.join(DEPLOYED), json!({ "address": free, "package_id": id }).to_string())?;
    stage.start_contracts()
}

/// Installs a package on a peer of the first organization.
pub(crate) fn install(stage: &Stage, peer: &str, package: &str) -> Outcome {
    let environment = stage.operator.environment("org1");
    let mut variables: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let address = stage.endpoint(peer)?.address().to_owned();
    variables.push(("CORE_PEER_ADDRESS", &address));
    stage.command(&["peer", "lifecycle", "chaincode", "install", package], &variables).map(|_| ())
}

/// Tells so many secrets, each in a transaction of its own, and waits until they are committed.
pub(crate) async fn tell(stage: &Stage, count: u64) -> Outcome {
    let (peers, orderers, signer) = ([stage.peer(KEEPER)?], [stage.orderer()], stage.user());
    let submission = |witnesses| Submission {
        endorsers: &peers,
        witnesses,
        orderers: &orderers,
        signer: &signer,
        limit: COMMIT_LIMIT,
    };
    let unwatched = submission(&[]);
    let Some(last) = count.checked_sub(1) else { return Ok(()) };
    let started = Instant::now();
    futures_util::stream::iter(0..last)
        .map(|number| async move { unwatched.submit(&secret(number)).await })
        .buffer_unordered(CONCURRENCY)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await?;
    submission(&peers).submit(&secret(last)).await?;
    println!("{count} blocks with private data in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn secret(number: u64) -> Invocation {
    let mut call = Invocation::new(CHANNEL, NAME, "Keep", [format!("secret{number}").into()]);
    call.transient.insert("secret".to_owned(), format!("whispered for the {number}th time").into());
    call
}

/// Waits until a peer holds all secrets, and prints how long after its start it does, and what it asked others for.
pub(crate) async fn print_held(stage: &Stage, name: &str, told: u64, started: Instant) -> Outcome {
    let (peer, user) = (stage.peer(name)?, stage.user());
    let mut first = None;
    loop {
        let answer = peer.query(&Invocation::new(CHANNEL, NAME, "Count", []), &user).await?;
        let answer = answer.response.unwrap_or_default();
        let held: u64 = match answer.status {
            200 => String::from_utf8_lossy(&answer.payload).trim_matches('"').parse()?,
            _ => return Err(answer.message.into()),
        };
        let first = *first.get_or_insert(held);
        if held >= told {
            let seconds = started.elapsed().as_secs_f64();
            println!("  holds {first} of {told} private values when in step, and all {seconds:.1} s after its start");
            return Ok(());
        }
        if started.elapsed() > HELD_LIMIT * 4 {
            return Err(format!("{name} holds {held} of {told} private values").into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Serves the contract as the environment says.
pub(crate) fn serve() -> std::process::ExitCode {
    ripstop_contract::run(contract())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_secret_is_kept_in_the_organisations_own_collection() {
        let call = secret(7);
        assert_eq!(call.args, [Bytes::from_static(b"Keep"), Bytes::from_static(b"secret7")]);
        assert!(call.transient.contains_key("secret"));
    }
}
