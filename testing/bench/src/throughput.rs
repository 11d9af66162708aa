//! How many transactions a second a network takes from one client: endorsed by both organizations, ordered, committed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use ripstop_keys::{LocalIdentity, SigningIdentity};
use ripstop_peer::client::{Invocation, Orderer, Peer, Submission};
use ripstop_transport::{ClientTls, Endpoint};
use ripstop_types::MspId;

use crate::Outcome;

/// How many transactions are submitted.
const TRANSACTIONS: usize = 2000;
/// How many of them are under way at once.
const CONCURRENCY: usize = 64;
/// How long the last commit may take.
const COMMIT_LIMIT: Duration = Duration::from_secs(60);

/// Submits to the network in a directory and prints the rate.
pub(crate) fn measure(directory: &Path) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (org1, org2) = (variables(directory, "org1")?, variables(directory, "org2")?);
    runtime.block_on(async {
        let peers = [peer(&org1)?, peer(&org2)?];
        let orderers = [Orderer::new(&endpoint(&org1, "ORDERER_ADDRESS", "ORDERER_CA")?, None)];
        let signer = signer(&org1)?;
        let submission = |witnesses| Submission {
            endorsers: &peers,
            witnesses,
            orderers: &orderers,
            signer: &signer,
            limit: COMMIT_LIMIT,
        };
        let started = Instant::now();
        let unwatched = submission(&[]);
        futures_util::stream::iter(0..TRANSACTIONS)
            .map(|number| async move { unwatched.submit(&create(number)).await })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|_| std::future::ready(Ok(())))
            .await?;
        let accepted = started.elapsed();
        // Whatever the orderer took before is committed when this one is.
        submission(&peers).submit(&create(TRANSACTIONS)).await?;
        let committed = started.elapsed();
        println!(
            "{:<44} {:>9} {:>9}",
            format!("{TRANSACTIONS} transactions, {CONCURRENCY} at once"),
            "seconds",
            "tx/s"
        );
        for (what, time) in
            [("  endorsed and taken by the orderer", accepted), ("  committed on every peer", committed)]
        {
            println!("{what:<44} {:>9.2} {:>9.0}", time.as_secs_f64(), TRANSACTIONS as f64 / time.as_secs_f64());
        }
        Ok(())
    })
}

fn create(number: usize) -> Invocation {
    let arguments = [format!("bench{number}"), "blue".into(), "5".into(), "Tomoko".into(), "300".into()];
    Invocation::new("mychannel", "asset-transfer", "CreateAsset", arguments.map(Into::into))
}

type Variables = BTreeMap<String, String>;

fn variables(directory: &Path, organisation: &str) -> Result<Variables, Box<dyn std::error::Error>> {
    let output = Command::new(std::env::current_exe()?).args(["env", organisation, "--dir"]).arg(directory).output()?;
    let text = String::from_utf8(output.stdout)?;
    let exports = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    Ok(exports.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect())
}

fn peer(variables: &Variables) -> Result<Peer, Box<dyn std::error::Error>> {
    Ok(Peer::new(&endpoint(variables, "CORE_PEER_ADDRESS", "CORE_PEER_TLS_ROOTCERT_FILE")?, None))
}

fn endpoint(variables: &Variables, address: &str, root: &str) -> Result<Endpoint, Box<dyn std::error::Error>> {
    let root = std::fs::read(&variables[root])?;
    Ok(Endpoint::new(&variables[address])?.tls(ClientTls::new([root.as_slice()], None)?))
}

fn signer(variables: &Variables) -> Result<SigningIdentity, Box<dyn std::error::Error>> {
    let directory = Path::new(&variables["CORE_PEER_MSPCONFIGPATH"]);
    Ok(LocalIdentity::load(directory, &MspId::new(&variables["CORE_PEER_LOCALMSPID"]))?.signer)
}
