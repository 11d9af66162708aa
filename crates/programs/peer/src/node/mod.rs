//! `peer node`: the peer itself, and what is done to it while it is offline ([`administration`]).
//!
//! What question this module answers: *which parts does a peer consist of, and in which order do they begin and end?*
//! [`start`] is the life of the process from top to bottom; the files beside it hold what it wires together: its own
//! identity and TLS files ([`identity`]), its channels ([`channels`]), how it hosts chaincode ([`chaincode`]), and its
//! listeners ([`listeners`]).

mod administration;
mod chaincode;
mod channels;
mod identity;
mod listeners;
mod start;

use ripstop_node_config::{Environment, PeerConfig};

pub use administration::AdministrationCommand;

/// The subcommands of `peer node`.
#[derive(Debug, clap::Subcommand)]
pub enum NodeCommand {
    /// Runs the peer.
    #[command(about = "Starts the node.", long_about = "Starts a node that interacts with the network.")]
    Start(StartArgs),
    /// Those for a peer that does not run.
    #[command(flatten)]
    Administration(AdministrationCommand),
}

/// What `peer node start` takes.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Whether chaincode that the peer has not started may register.
    #[arg(long = "peer-chaincodedev", help = "start peer in chaincode development mode")]
    pub chaincode_development: bool,
    /// Words, of which it takes none.
    #[arg(hide = true)]
    pub(crate) words: Vec<String>,
}

impl StartArgs {
    /// Runs the node until it is told to stop.
    ///
    /// # Errors
    /// The peer cannot start; the message says which setting, file or address is at fault.
    pub fn run(self) -> anyhow::Result<()> {
        let environment = Environment::of_process();
        let logging = ripstop_operations::start_logging(
            environment.get("FABRIC_LOGGING_SPEC"),
            environment.get("FABRIC_LOGGING_FORMAT"),
        )?;
        let mut config = PeerConfig::load(&environment)?.announce();
        config.chaincode.development_mode |= self.chaincode_development;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("peer").build()?;
        runtime.block_on(start::run(config, logging))?;
        // Whatever still hangs on a connection must not keep the process.
        runtime.shutdown_background();
        Ok(())
    }
}
