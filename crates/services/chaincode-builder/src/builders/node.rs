//! Chaincode for Node: `npm install`, then `npm start` (Fabric: `core/chaincode/platforms/node` and `fabric-nodeenv`).

use std::path::PathBuf;

use super::blocking;
use super::built_in::{Launch, Start, ToolCall, Tools};
use super::workshop::Workshop;
use crate::error::{BuildError, MissingTool};
use crate::tree;

/// What `npm` belongs to.
const TOOLCHAIN: &str = "Node.js with npm (https://nodejs.org)";
/// The variables of the peer that `npm` sees.
const VARIABLES: [&str; 7] = [
    "npm_config_cache",
    "npm_config_registry",
    "npm_config_userconfig",
    "NPM_CONFIG_CACHE",
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_USERCONFIG",
    "NODE_EXTRA_CA_CERTS",
];
/// Files that say exactly which dependencies are meant.
const LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];

pub(super) async fn build(shop: &Workshop, tools: &Tools<'_>) -> Result<(), BuildError> {
    let npm = tools.find("npm", TOOLCHAIN)?;
    let source = shop.source.join("src");
    if !source.join("package.json").is_file() {
        return Err(tools.wrong("no package.json found at the root of the chaincode package"));
    }
    let install = if LOCKS.iter().any(|lock| source.join(lock).is_file()) { "ci" } else { "install" };
    copy(source, shop.output.clone()).await?;
    let args = [install, "--omit=dev", "--no-audit", "--no-fund"].map(Into::into).into();
    tools.run(ToolCall { program: npm, args, directory: shop.output.clone(), listed: &VARIABLES, variables: &[] }).await
}

/// `npm` runs a project's script in the project's directory. So each start gets a copy: what the chaincode writes there does
/// not change what later starts run.
pub(super) async fn command(launch: &Launch<'_>, tools: &Tools<'_>) -> Result<Start, BuildError> {
    let program = tools.find("npm", TOOLCHAIN).map_err(|missing: MissingTool| BuildError::from(missing))?;
    let (output, directory) = (launch.output.to_owned(), launch.place.join("code"));
    copy(output, directory.clone()).await?;
    let mut variables = vec![("npm_config_update_notifier".to_owned(), "false".to_owned())];
    // In a container Node would see the limit by itself.
    variables.extend(
        launch
            .memory
            .map(|bytes| ("NODE_OPTIONS".to_owned(), format!("--max-old-space-size={}", bytes / 2 / (1024 * 1024)))),
    );
    Ok(Start {
        program,
        args: ["start", "--", "--peer.address", launch.address].map(Into::into).into(),
        directory,
        variables,
    })
}

async fn copy(from: PathBuf, to: PathBuf) -> Result<(), BuildError> {
    blocking(move || {
        tree::copy(&from, &to).map_err(|source| BuildError::Io { action: "copying the code to", path: to, source })
    })
    .await
}
