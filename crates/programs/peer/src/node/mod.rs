//! `peer node`: the peer itself.

use std::process::ExitCode;

/// The subcommands of `peer node`.
#[derive(Debug, clap::Subcommand)]
pub enum NodeCommand {
    /// Starts a node that interacts with the network.
    Start(StartArgs),
}

/// What `peer node start` takes.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Start peer in chaincode development mode
    #[arg(long = "peer-chaincodedev")]
    pub chaincode_development: bool,
}

impl NodeCommand {
    /// Runs the node until it is told to stop.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Start(_) => anyhow::bail!("this build holds no peer yet"),
        }
    }
}
