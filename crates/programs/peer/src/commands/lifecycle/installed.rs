//! Packages on a peer.

use std::path::Path;

use anyhow::{Context, anyhow};
use ripstop_proto::{Message, lifecycle};
use serde_json::json;

use super::{Output, ask, only_peer};
use crate::client::Invocation;
use crate::commands::{Failure, usage};
use crate::flags::PeerFlags;
use crate::session::Session;
use crate::{package, text};

fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| {
        anyhow!("failed to read chaincode package at '{file}': {}", text::not_opened(file.as_ref(), &error))
    })
}

/// Prints the id that peers will know a package by.
pub(super) fn calculate_package_id(arguments: &[String], output: Output) -> Result<(), Failure> {
    let [file] = arguments else {
        return Err(anyhow!("invalid number of args. expected only the packaged chaincode file").into());
    };
    let bytes = read(file)?;
    let label = package::read_label(&bytes).context("could not parse as a chaincode install package")?;
    let id = package::package_id(&label, &bytes);
    match output {
        Output::Text => say!("{id}"),
        Output::Json => say!("{}", text::indented(&json!({ "package_id": id }))),
    }
    Ok(())
}

/// Installs a package on one peer.
pub(super) async fn install(peers: &PeerFlags, target: Option<&str>, file: Option<&str>) -> Result<(), Failure> {
    let session = Session::open()?;
    let peer = only_peer(&session, peers, "", target, "install")?;
    let Some(file) = file else { return usage("chaincode install package must be provided") };
    let package = read(file)?;
    let arguments = lifecycle::InstallChaincodeArgs { chaincode_install_package: package.into() };
    let call = Invocation::lifecycle("", "InstallChaincode", &arguments);
    let answer = peer.query(&call, &session.signer).await.context("failed to endorse chaincode install")?;
    let response =
        answer.response.clone().context("chaincode install failed: received proposal response with nil response")?;
    if response.status != 200 {
        return Err(anyhow!("chaincode install failed with status: {} - {}", response.status, response.message).into());
    }
    tracing::info!(target: "cli.lifecycle.chaincode", function = "submitInstallProposal", "Installed remotely: {}", text::proposal_response(Some(&answer)));
    let result = lifecycle::InstallChaincodeResult::decode(response.payload)
        .context("failed to unmarshal proposal response's response payload")?;
    tracing::info!(target: "cli.lifecycle.chaincode", function = "submitInstallProposal", "Chaincode code package identifier: {}", result.package_id);
    Ok(())
}

/// Lists the packages on one peer.
pub(super) async fn query(peers: &PeerFlags, target: Option<&str>, output: Output) -> Result<(), Failure> {
    let session = Session::open()?;
    let peer = only_peer(&session, peers, "", target, "queryinstalled")?;
    let call = Invocation::lifecycle("", "QueryInstalledChaincodes", &lifecycle::QueryInstalledChaincodesArgs {});
    let result: lifecycle::QueryInstalledChaincodesResult = ask(&session, &peer, &call, "query failed").await?;
    match output {
        Output::Json => say!("{}", text::indented(&text::installed(&result))),
        Output::Text => {
            say!("Installed chaincodes on peer:");
            for installed in result.installed_chaincodes {
                say!("Package ID: {}, Label: {}", installed.package_id, installed.label);
            }
        }
    }
    Ok(())
}

/// Writes a package that a peer has installed to a file named by its id.
pub(super) async fn download(
    peers: &PeerFlags,
    target: Option<&str>,
    package_id: &str,
    directory: &Path,
) -> Result<(), Failure> {
    let session = Session::open()?;
    let peer = only_peer(&session, peers, "", target, "getinstalledpackage")?;
    if package_id.is_empty() {
        return usage("The required parameter 'package-id' is empty. Rerun the command with --package-id flag");
    }
    let arguments = lifecycle::GetInstalledChaincodePackageArgs { package_id: package_id.to_owned() };
    let call = Invocation::lifecycle("", "GetInstalledChaincodePackage", &arguments);
    let result: lifecycle::GetInstalledChaincodePackageResult = ask(&session, &peer, &call, "proposal failed").await?;
    let file = directory.join(format!("{package_id}.tar.gz"));
    std::fs::write(&file, &result.chaincode_install_package)
        .with_context(|| format!("failed to write chaincode package to {}", file.display()))?;
    Ok(())
}
