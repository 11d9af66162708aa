//! `peer lifecycle chaincode`: from a package to a definition that a channel has agreed on.

mod approved;
mod collections;
mod committed;
mod definition;
mod installed;
mod packaging;
mod readiness;

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use ripstop_proto::{Message, protos};

use super::Failure;
use crate::client::{CallError, Invocation, Peer, Submission, SubmitError};
use crate::flags::{OrdererFlags, PeerFlags, WaitLimit};
use crate::session::{Family, Number, Session, Wanted};
use definition::DefinitionFlags;

#[derive(Debug, clap::Args)]
pub(crate) struct LifecycleCommand {
    #[command(subcommand)]
    command: Group,
}

#[derive(Debug, clap::Subcommand)]
enum Group {
    #[command(
        about = "Perform chaincode operations: package|install|queryinstalled|getinstalledpackage|calculatepackageid|approveformyorg|queryapproved|checkcommitreadiness|commit|querycommitted"
    )]
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
    #[command(flatten)]
    Packaging(packaging::PackagingCommand),
    #[command(flatten)]
    Conversation(Conversation),
}

/// The subcommands that talk to peers.
#[derive(Debug, clap::Subcommand)]
enum Conversation {
    #[command(about = "Install a chaincode.", long_about = "Install a chaincode on a peer.")]
    Install {
        #[command(flatten)]
        on: PeerTarget,
        #[arg(value_name = "[packageFile]")]
        arguments: Vec<String>,
    },
    #[command(about = "Query the installed chaincodes on a peer.")]
    Queryinstalled {
        #[command(flatten)]
        on: PeerTarget,
        #[command(flatten)]
        output: OutputFlag,
    },
    #[command(about = "Get an installed chaincode package from a peer.")]
    Getinstalledpackage {
        #[command(flatten)]
        on: PeerTarget,
        /// The identifier of the chaincode install package
        #[arg(long = "package-id", default_value = "")]
        package_id: String,
        #[arg(
            long = "output-directory",
            default_value = "",
            value_parser = ripstop_command_line::value::path,
            help = "The output directory to use when writing a chaincode install package to disk. Default is the current working directory."
        )]
        directory: PathBuf,
        #[arg(value_name = "[outputfile]")]
        _arguments: Vec<String>,
    },
    #[command(
        about = "Approve the chaincode definition for my org.",
        long_about = "Approve the chaincode definition for my organization."
    )]
    Approveformyorg {
        #[command(flatten)]
        definition: DefinitionFlags,
        /// The identifier of the chaincode install package
        #[arg(long = "package-id", default_value = "")]
        package_id: String,
        #[command(flatten)]
        wait: WaitFlags,
    },
    #[command(
        about = "Query org's approved chaincode definitions from its peer.",
        long_about = "Query organization's approved chaincode definitions from its peer."
    )]
    Queryapproved(approved::ApprovedQuery),
    #[command(about = "Check whether a chaincode definition is ready to be committed on a channel.")]
    Checkcommitreadiness {
        #[command(flatten)]
        definition: DefinitionFlags,
        #[command(flatten)]
        output: OutputFlag,
        /// If inspect is enabled, output additional information to identify discrepancies when an organization's approval
        /// is false
        #[arg(long = "inspect")]
        inspect: bool,
    },
    #[command(about = "Commit the chaincode definition on the channel.")]
    Commit {
        #[command(flatten)]
        definition: DefinitionFlags,
        #[command(flatten)]
        wait: WaitFlags,
    },
    #[command(
        about = "Query the committed chaincode definitions by channel on a peer.",
        long_about = "Query the committed chaincode definitions by channel on a peer. Optional: provide a chaincode name to query a specific definition."
    )]
    Querycommitted(committed::CommittedQuery),
}

/// The one peer that a question goes to, where no channel says which.
#[derive(Debug, clap::Args)]
struct PeerTarget {
    #[command(flatten)]
    peers: PeerFlags,
    /// When using a connection profile, the name of the peer to target for this action
    #[arg(long = "targetPeer", default_value = "")]
    target: String,
}

/// Whether to wait until the transaction is committed, and how long.
#[derive(Debug, clap::Args)]
struct WaitFlags {
    /// Whether to wait for the event from each peer's deliver filtered service signifying that the transaction has been
    /// committed successfully
    #[arg(long = "waitForEvent", default_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    #[command(flatten)]
    limit: WaitLimit,
}

/// How a result is printed.
#[derive(Debug, clap::Args)]
struct OutputFlag {
    #[arg(
        short = 'O',
        long = "output",
        default_value = "",
        help = "The output format for query results. Default is human-readable plain-text. json is currently the only supported format."
    )]
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
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Group::Chaincode(Chaincode { orderer, command }) = self.command;
        match command {
            Subcommand::Packaging(packaging) => packaging.run(),
            Subcommand::Conversation(conversation) => conversation.run(&Session::open()?, &orderer).await,
        }
    }
}

impl Conversation {
    async fn run(self, session: &Session, orderer: &OrdererFlags) -> Result<(), Failure> {
        match self {
            Self::Install { on, arguments } => {
                installed::install(&on.ask(session, "install")?, arguments.first().map(String::as_str)).await
            }
            Self::Queryinstalled { on, output } => {
                installed::query(&on.ask(session, "queryinstalled")?, output.choice()).await
            }
            Self::Getinstalledpackage { on, package_id, directory, .. } => {
                installed::download(&on.ask(session, "getinstalledpackage")?, &package_id, &directory).await
            }
            Self::Approveformyorg { definition, package_id, wait } => {
                let call = definition.approval(&package_id)?;
                transact(session, orderer, &definition.peers, &wait, "approveformyorg", call).await
            }
            Self::Queryapproved(query) => query.run(session).await,
            Self::Checkcommitreadiness { definition, output, inspect } => {
                let detail = if inspect { readiness::Detail::Mismatches } else { readiness::Detail::Approvals };
                readiness::check(session, &definition, output.choice(), detail).await
            }
            Self::Commit { definition, wait } => {
                let call = definition.commit()?;
                transact(session, orderer, &definition.peers, &wait, "commit", call).await
            }
            Self::Querycommitted(query) => query.run(session).await,
        }
    }
}

fn wanted<'a>(command: &'a str, channel: &'a str, number: Number) -> Wanted<'a> {
    Wanted { family: Family::Lifecycle, command, channel, target: "", number }
}

/// Has a change of `_lifecycle` endorsed, ordered and, unless told otherwise, committed.
async fn transact(
    session: &Session,
    orderer: &OrdererFlags,
    peers: &PeerFlags,
    wait: &WaitFlags,
    command: &str,
    call: Invocation,
) -> Result<(), Failure> {
    let channel = call.channel.clone();
    let wanted = wanted(command, &channel, Number::Several);
    let peers = session.peers(peers, wanted).map_err(with_usage)?;
    let first_peer = peers.first().context("no endorser clients retrieved")?;
    let orderers = session.orderers(orderer, wanted, first_peer).await.map_err(with_usage)?;
    let witnesses = if wait.wait { peers.as_slice() } else { &[] };
    let (signer, limit) = (&session.signer, wait.limit.timeout);
    let submission = Submission { endorsers: &peers, witnesses, orderers: &orderers, signer, limit };
    submission.submit(&call).await.map_err(|error| match error {
        SubmitError::Endorse(error @ CallError::Connect { .. }) => {
            with_usage(wanted.unreachable_or(error, anyhow::Error::from))
        }
        error @ SubmitError::Broadcast(CallError::Connect { .. }) => Failure::Usage(error.to_string()),
        // The text tells of the causes already.
        error => anyhow!("{error}").into(),
    })?;
    Ok(())
}

/// Fabric connects before these commands look at their parameters, and shows the usage where that fails.
fn with_usage(error: anyhow::Error) -> Failure {
    Failure::Usage(format!("{error:#}"))
}

/// A peer that answers the questions of one command.
struct Respondent<'a> {
    session: &'a Session,
    wanted: Wanted<'a>,
    peer: Peer,
}

impl PeerTarget {
    fn ask<'a>(&'a self, session: &'a Session, command: &'a str) -> Result<Respondent<'a>, Failure> {
        let wanted = Wanted { target: &self.target, ..wanted(command, "", Number::One) };
        Respondent::new(session, &self.peers, wanted)
    }
}

impl<'a> Respondent<'a> {
    fn new(session: &'a Session, flags: &PeerFlags, wanted: Wanted<'a>) -> Result<Self, Failure> {
        let peers = session.peers(flags, wanted).map_err(with_usage)?;
        let peer = peers.into_iter().next().context("no endorser clients retrieved")?;
        Ok(Self { session, wanted, peer })
    }

    /// Has a call endorsed. `failed` begins the message when the peer does not answer.
    async fn endorse(&self, call: &Invocation, failed: &str) -> Result<protos::ProposalResponse, Failure> {
        let answer = self.peer.query(call, &self.session.signer).await;
        answer.map_err(|error| match error {
            CallError::Connect { .. } => with_usage(self.wanted.unreachable_or(error, anyhow::Error::from)),
            error => anyhow!("{failed}: {error}").into(),
        })
    }

    /// Asks `_lifecycle` and decodes its answer. `refused` begins the message when the peer refuses.
    async fn ask<R: Message + Default>(&self, call: &Invocation, refused: &str) -> Result<R, Failure> {
        let answer = self.endorse(call, "failed to endorse proposal").await?;
        let response = answer.response.context("received proposal response with nil response")?;
        if response.status != 200 {
            return Err(anyhow!("{refused} with status: {} - {}", response.status, response.message).into());
        }
        Ok(R::decode(response.payload).context("failed to unmarshal proposal response's response payload")?)
    }
}
