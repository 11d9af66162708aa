//! `peer snapshot`: requests for snapshots of a ledger.

use std::path::PathBuf;

use anyhow::anyhow;

use super::{Failure, block_on, usage};
use crate::client::{CallError, Peer};
use crate::session::Session;

/// Manage snapshot requests: submitrequest|cancelrequest|listpending
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotCommand {
    #[command(subcommand)]
    command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Submit a request for a snapshot at the specified block.
    Submitrequest {
        #[command(flatten)]
        at: Place,
        /// The block number for which a snapshot will be generated
        #[arg(short = 'b', long = "blockNumber", value_parser = crate::flags::unsigned, default_value = "0")]
        block: u64,
    },
    /// Cancel a request for a snapshot at the specified block.
    Cancelrequest {
        #[command(flatten)]
        at: Place,
        /// The block number for which a snapshot will be generated
        #[arg(short = 'b', long = "blockNumber", value_parser = crate::flags::unsigned, default_value = "0")]
        block: u64,
    },
    /// List pending requests for snapshots.
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
    /// The path to the TLS root cert file of the peer to connect to, required if TLS is enabled and ignored if TLS is disabled.
    #[arg(long = "tlsRootCertFile", value_parser = crate::flags::path)]
    tls_root: Option<PathBuf>,
}

impl SnapshotCommand {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (Subcommand::Submitrequest { at, .. }
        | Subcommand::Cancelrequest { at, .. }
        | Subcommand::Listpending { at }) = &self.command;
        if at.channel.is_empty() {
            return usage("the required parameter 'channelID' is empty. Rerun the command with -c flag");
        }
        if matches!(self.command, Subcommand::Cancelrequest { block: 0, .. }) {
            return usage("the required parameter 'blockNumber' is empty or set to 0. Rerun the command with -b flag");
        }
        block_on(self.command.ask())
    }
}

impl Subcommand {
    async fn ask(self) -> Result<(), Failure> {
        match self {
            Self::Submitrequest { at, block } => {
                let (session, peer) = at.open()?;
                let answer = peer.request_snapshot(&at.channel, block, &session.signer).await;
                answer.map_err(|error| failed("submit the request", error))?;
                say!("Snapshot request submitted successfully");
            }
            Self::Cancelrequest { at, block } => {
                let (session, peer) = at.open()?;
                let answer = peer.cancel_snapshot(&at.channel, block, &session.signer).await;
                answer.map_err(|error| failed("cancel the request", error))?;
                say!("Snapshot request cancelled successfully");
            }
            Self::Listpending { at } => {
                let (session, peer) = at.open()?;
                let answer = peer.pending_snapshots(&at.channel, &session.signer).await;
                let blocks = answer.map_err(|error| failed("list pending requests", error))?;
                let blocks: Vec<String> = blocks.iter().map(u64::to_string).collect();
                say!("Successfully got pending snapshot requests: [{}]", blocks.join(" "));
            }
        }
        Ok(())
    }
}

impl Place {
    fn open(&self) -> anyhow::Result<(Session, Peer)> {
        let session = Session::open()?;
        let peer = session.snapshot_peer(&self.peer, self.tls_root.as_deref())?;
        Ok((session, peer))
    }
}

fn failed(what: &str, error: CallError) -> anyhow::Error {
    match error {
        CallError::Connect { .. } => anyhow!("failed to retrieve snapshot client: {error}"),
        error => anyhow!("failed to {what}: {error}"),
    }
}
