//! Packages on a peer.

use std::path::Path;

use anyhow::{Context, anyhow};
use ripstop_command_line::say;
use ripstop_proto::{Message, lifecycle};

use super::{Output, Respondent, packaging};
use crate::client::Invocation;
use crate::commands::Failure;
use crate::text;

/// Installs a package on one peer.
pub(super) async fn install(peer: &Respondent<'_>, file: Option<&str>) -> Result<(), Failure> {
    let package = packaging::read(file.unwrap_or_default())?;
    let arguments = lifecycle::InstallChaincodeArgs { chaincode_install_package: package.into() };
    let call = Invocation::lifecycle("", "InstallChaincode", &arguments);
    let answer = peer.endorse(&call, "failed to endorse chaincode install").await?;
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
pub(super) async fn query(peer: &Respondent<'_>, output: Output) -> Result<(), Failure> {
    let call = Invocation::lifecycle("", "QueryInstalledChaincodes", &lifecycle::QueryInstalledChaincodesArgs {});
    let result: lifecycle::QueryInstalledChaincodesResult = peer.ask(&call, "query failed").await?;
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
pub(super) async fn download(peer: &Respondent<'_>, package_id: &str, directory: &Path) -> Result<(), Failure> {
    if package_id.is_empty() {
        let problem = "The required parameter 'package-id' is empty. Rerun the command with --package-id flag";
        return Err(anyhow!(problem).into());
    }
    let arguments = lifecycle::GetInstalledChaincodePackageArgs { package_id: package_id.to_owned() };
    let call = Invocation::lifecycle("", "GetInstalledChaincodePackage", &arguments);
    let result: lifecycle::GetInstalledChaincodePackageResult = peer.ask(&call, "proposal failed").await?;
    let file = directory.join(format!("{package_id}.tar.gz"));
    std::fs::write(&file, &result.chaincode_install_package).map_err(|error| {
        let reason = text::not_opened(&file, &error);
        anyhow!("failed to write chaincode package to {}: {reason}", file.display())
    })?;
    Ok(())
}
