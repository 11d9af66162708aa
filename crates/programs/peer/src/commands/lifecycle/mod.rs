//! `peer lifecycle chaincode`: from a package to a definition that a channel has agreed on.

mod approved;
mod collections;
mod committed;
mod definition;
mod installed;
mod readiness;

use anyhow::{Context, anyhow};
use ripstop_proto::{Message, protos};

use super::{Failure, block_on};
use crate::client::{Invocation, Peer, Submission};
use crate::flags::{OrdererFlags, PeerFlags, TargetPeerFlag, WaitFlags, Waiting};
use crate::package;
use crate::session::{Session, Targets};
use definition::DefinitionFlags;

/// Perform _lifecycle operations
#[derive(Debug, clap::Args)]
pub(crate) struct LifecycleCommand {
    #[command(subcommand)]
    command: Group,
}

#[derive(Debug, clap::Subcommand)]
enum Group {
    /// Perform chaincode operations: package|install|queryinstalled|getinstalledpackage|calculatepackageid|approveformyorg|queryapproved|checkcommitreadiness|commit|querycommitted
    Chaincode(Chaincode),
}

#[derive(Debug, clap::Args)]
struct Chaincode {
    #[command(flatten)]
    orderer: OrdererFlags,
    #[command(subcommand)]
    command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Package a chaincode and write the package to a file.
    Package(PackageFlags),
    /// Calculate the package ID for a packaged chaincode.
    Calculatepackageid {
        #[command(flatten)]
        _peers: PeerFlags,
        #[command(flatten)]
        output: OutputFlag,
        /// The package
        #[arg(value_name = "packageFile")]
        arguments: Vec<String>,
    },
    /// Install a chaincode on a peer.
    Install {
        #[command(flatten)]
        peers: PeerFlags,
        #[command(flatten)]
        target: TargetPeerFlag,
        /// The package
        #[arg(value_name = "packageFile")]
        arguments: Vec<String>,
    },
    /// Query the installed chaincodes on a peer.
    Queryinstalled {
        #[command(flatten)]
        peers: PeerFlags,
        #[command(flatten)]
        target: TargetPeerFlag,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Get an installed chaincode package from a peer.
    Getinstalledpackage {
        #[command(flatten)]
        peers: PeerFlags,
        #[command(flatten)]
        target: TargetPeerFlag,
        /// The identifier of the chaincode install package
        #[arg(long = "package-id", default_value = "")]
        package_id: String,
        /// The output directory to use when writing a chaincode install package to disk. Default is the current working directory.
        #[arg(long = "output-directory", default_value = "", value_parser = crate::flags::path)]
        directory: std::path::PathBuf,
    },
    /// Approve the chaincode definition for my organization.
    Approveformyorg {
        #[command(flatten)]
        definition: DefinitionFlags,
        /// The identifier of the chaincode install package
        #[arg(long = "package-id")]
        package_id: Option<String>,
        #[command(flatten)]
        peers: PeerFlags,
        #[command(flatten)]
        wait: WaitFlags,
    },
    /// Query an organization's approved chaincode definition from its peer.
    Queryapproved {
        /// The channel on which this command should be executed
        #[arg(short = 'C', long = "channelID", default_value = "")]
        channel: String,
        /// Name of the chaincode
        #[arg(short = 'n', long = "name", default_value = "")]
        name: String,
        /// The sequence number of the chaincode definition for the channel
        #[arg(long = "sequence", default_value = "0", value_parser = crate::flags::integer)]
        sequence: i64,
        #[command(flatten)]
        peers: PeerFlags,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Check whether a chaincode definition is ready to be committed on a channel.
    Checkcommitreadiness {
        #[command(flatten)]
        definition: DefinitionFlags,
        #[command(flatten)]
        peers: PeerFlags,
        #[command(flatten)]
        output: OutputFlag,
        /// If inspect is enabled, output additional information to identify discrepancies when an organization's approval is false
        #[arg(long = "inspect")]
        inspect: bool,
    },
    /// Commit the chaincode definition on the channel.
    Commit {
        #[command(flatten)]
        definition: DefinitionFlags,
        #[command(flatten)]
        peers: PeerFlags,
        #[command(flatten)]
        wait: WaitFlags,
    },
    /// Query the committed chaincode definitions by channel on a peer. Optional: provide a chaincode name to query a specific definition.
    Querycommitted {
        /// The channel on which this command should be executed
        #[arg(short = 'C', long = "channelID", default_value = "")]
        channel: String,
        /// Name of the chaincode
        #[arg(short = 'n', long = "name", default_value = "")]
        name: String,
        #[command(flatten)]
        peers: PeerFlags,
        #[command(flatten)]
        output: OutputFlag,
    },
}

/// What to pack.
#[derive(Debug, clap::Args)]
struct PackageFlags {
    /// The package label contains a human-readable description of the package
    #[arg(long = "label", default_value = "")]
    label: String,
    /// Language the chaincode is written in: golang, node, java; ccaas for a directory with a connection.json
    #[arg(short = 'l', long = "lang", default_value = "golang")]
    language: String,
    /// Path to the chaincode
    #[arg(short = 'p', long = "path", default_value = "")]
    path: String,
    #[command(flatten)]
    _peers: PeerFlags,
    /// The package to write
    #[arg(value_name = "outputfile")]
    arguments: Vec<String>,
}

/// How a result is printed.
#[derive(Debug, clap::Args)]
struct OutputFlag {
    /// The output format for query results. Default is human-readable plain-text. json is currently the only supported format.
    #[arg(short = 'O', long = "output", default_value = "")]
    format: String,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Text,
    Json,
}

impl OutputFlag {
    fn choice(&self) -> Output {
        if self.format.eq_ignore_ascii_case("json") { Output::Json } else { Output::Text }
    }
}

impl LifecycleCommand {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Group::Chaincode(Chaincode { orderer, command }) = self.command;
        match command {
            Subcommand::Package(flags) => pack(&flags),
            Subcommand::Calculatepackageid { output, arguments, .. } => {
                installed::calculate_package_id(&arguments, output.choice())
            }
            Subcommand::Install { peers, target, arguments } => {
                block_on(installed::install(&peers, target.target.as_deref(), arguments.first().map(String::as_str)))
            }
            Subcommand::Queryinstalled { peers, target, output } => {
                block_on(installed::query(&peers, target.target.as_deref(), output.choice()))
            }
            Subcommand::Getinstalledpackage { peers, target, package_id, directory } => {
                block_on(installed::download(&peers, target.target.as_deref(), &package_id, &directory))
            }
            Subcommand::Approveformyorg { definition, package_id, peers, wait } => {
                let call = definition.approval(package_id.as_deref())?;
                block_on(transact(&orderer, &peers, &wait, "approveformyorg", call))
            }
            Subcommand::Queryapproved { channel, name, sequence, peers, output } => {
                block_on(approved::query(&peers, &channel, &name, sequence, output.choice()))
            }
            Subcommand::Checkcommitreadiness { definition, peers, output, inspect } => {
                let detail = if inspect { readiness::Detail::Mismatches } else { readiness::Detail::Approvals };
                block_on(readiness::check(&definition, &peers, output.choice(), detail))
            }
            Subcommand::Commit { definition, peers, wait } => {
                let call = definition.commit()?;
                block_on(transact(&orderer, &peers, &wait, "commit", call))
            }
            Subcommand::Querycommitted { channel, name, peers, output } => {
                block_on(committed::query(&peers, &channel, &name, output.choice()))
            }
        }
    }
}

fn pack(flags: &PackageFlags) -> Result<(), Failure> {
    let [file] = flags.arguments.as_slice() else {
        return Err(anyhow!("invalid number of args. expected only the output file").into());
    };
    if flags.path.is_empty() {
        return Err(anyhow!("chaincode path must be specified").into());
    }
    if flags.language.is_empty() {
        return Err(anyhow!("chaincode language must be specified").into());
    }
    if flags.label.is_empty() {
        return Err(anyhow!("package label must be specified").into());
    }
    package::check_label(&flags.label)?;
    let package = package::pack_directory(&flags.label, &flags.language, &flags.path)?;
    std::fs::write(file, package).with_context(|| format!("error writing chaincode package to {file}"))?;
    Ok(())
}

/// Has a change of `_lifecycle` endorsed, ordered and, unless told otherwise, committed.
async fn transact(
    orderer: &OrdererFlags,
    peers: &PeerFlags,
    wait: &WaitFlags,
    command: &str,
    call: Invocation,
) -> Result<(), Failure> {
    let session = Session::open()?;
    let peers = session.peers(peers, &call.channel, None, command, Targets::Several)?;
    let first_peer = peers.first().context("no endorser clients retrieved")?;
    let orderers = session.orderers(orderer, &call.channel, first_peer).await?;
    let witnesses = match wait.waits_or(Waiting::ForCommit) {
        Waiting::ForCommit => peers.as_slice(),
        Waiting::No => &[],
    };
    let (signer, limit) = (&session.signer, wait.timeout);
    Submission { endorsers: &peers, witnesses, orderers: &orderers, signer, limit }.submit(&call).await?;
    Ok(())
}

/// The single peer that a query goes to.
fn only_peer(
    session: &Session,
    flags: &PeerFlags,
    channel: &str,
    target: Option<&str>,
    command: &str,
) -> anyhow::Result<Peer> {
    let peers = session
        .peers(flags, channel, target, command, Targets::One)
        .with_context(|| format!("failed to retrieve endorser client for {command}"))?;
    peers.into_iter().next().context("no endorser clients retrieved")
}

/// Asks `_lifecycle` on one peer and decodes its answer. `refused` begins the message when the peer refuses.
async fn ask<R: Message + Default>(
    session: &Session,
    peer: &Peer,
    call: &Invocation,
    refused: &str,
) -> anyhow::Result<R> {
    let answer = peer.query(call, &session.signer).await.context("failed to endorse proposal")?;
    let response: protos::Response = answer.response.context("received proposal response with nil response")?;
    if response.status != 200 {
        return Err(anyhow!("{refused} with status: {} - {}", response.status, response.message));
    }
    R::decode(response.payload).context("failed to unmarshal proposal response's response payload")
}
