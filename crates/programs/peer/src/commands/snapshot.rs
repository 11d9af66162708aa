//! `peer snapshot`: requests for snapshots of a ledger.

use std::path::PathBuf;

use anyhow::anyhow;
use ripstop_command_line::say;
use ripstop_keys::SigningIdentity;

use super::{Failure, usage};
use crate::client::{CallError, Peer};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotCommand {
    #[command(subcommand)]
    command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    #[command(
        about = "Submit a request for a snapshot at the specified block.",
        long_about = "Submit a request for a snapshot at the specified block. When the blockNumber parameter is set to 0 or not provided, it will submit a request for the last committed block."
    )]
    Submitrequest {
        #[command(flatten)]
        at: Place,
        /// The block number for which a snapshot will be generated
        #[arg(short = 'b', long = "blockNumber", value_parser = ripstop_command_line::value::unsigned, default_value = "0")]
        block: u64,
    },
    #[command(about = "Cancel a request for a snapshot at the specified block.")]
    Cancelrequest {
        #[command(flatten)]
        at: Place,
        /// The block number for which a snapshot will be generated
        #[arg(short = 'b', long = "blockNumber", value_parser = ripstop_command_line::value::unsigned, default_value = "0")]
        block: u64,
    },
    #[command(about = "List pending requests for snapshots.")]
    Listpending {
        #[command(flatten)]
        at: Place,
    },
}

/// Which ledger of which peer.
#[derive(Debug, clap::Args)]
struct Place {
    /// The channel on which this command should be executed
    #[arg(short = 'c', long = "channelID", default_value = "")]
    channel: String,
    /// The address of the peer to connect to
    #[arg(long = "peerAddress", default_value = "")]
    peer: String,
    #[arg(
        long = "tlsRootCertFile",
        value_parser = ripstop_command_line::value::path,
        default_value = "",
        help = "The path to the TLS root cert file of the peer to connect to, required if TLS is enabled and ignored if TLS is disabled."
    )]
    tls_root: PathBuf,
}

impl SnapshotCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let session = Session::open()?;
        let (Subcommand::Submitrequest { at, .. }
        | Subcommand::Cancelrequest { at, .. }
        | Subcommand::Listpending { at }) = &self.command;
        if at.channel.is_empty() {
            return usage("the required parameter 'channelID' is empty. Rerun the command with -c flag");
        }
        if matches!(self.command, Subcommand::Cancelrequest { block: 0, .. }) {
            return usage("the required parameter 'blockNumber' is empty or set to 0. Rerun the command with -b flag");
        }
        let peer = session.snapshot_peer(&at.peer, &at.tls_root)?;
        self.command.ask(&peer, &session.signer).await
    }
}

impl Subcommand {
    async fn ask(self, peer: &Peer, signer: &SigningIdentity) -> Result<(), Failure> {
        match self {
            Self::Submitrequest { at, block } => {
                let answer = peer.request_snapshot(&at.channel, block, signer).await;
                answer.map_err(|error| failed("submit the request", error))?;
                say!("Snapshot request submitted successfully");
            }
            Self::Cancelrequest { at, block } => {
                let answer = peer.cancel_snapshot(&at.channel, block, signer).await;
                answer.map_err(|error| failed("cancel the request", error))?;
                say!("Snapshot request cancelled successfully");
            }
            Self::Listpending { at } => {
                let answer = peer.pending_snapshots(&at.channel, signer).await;
                let blocks = answer.map_err(|error| failed("list pending requests", error))?;
                let blocks: Vec<String> = blocks.iter().map(u64::to_string).collect();
                say!("Successfully got pending snapshot requests: [{}]", blocks.join(" "));
            }
        }
        Ok(())
    }
}

fn failed(what: &str, error: CallError) -> anyhow::Error {
    match error {
        CallError::Connect { .. } => anyhow!("failed to retrieve snapshot client: {error}"),
        error => anyhow!("failed to {what}: {error}"),
    }
}
