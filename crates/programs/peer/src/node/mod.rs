//! `peer node`: the peer itself, and what is done to it while it is offline ([`administration`]).
//!
//! What question this module answers: *which parts does a peer consist of, and in which order do they begin and end?*
//! [`start`] is the life of the process from top to bottom. The files beside it hold what it wires together, and are made
//! of the same parts ([`parts`]): who the peer is ([`identity`]), its channels ([`channels`]) with the orderers that they
//! get their blocks from ([`orderers`]), how it hosts chaincode ([`chaincode`]), and what it answers ([`services`], with
//! [`deliver`] for blocks) on its sockets ([`listeners`]).
//!
//! A service that works for all channels is made in `start`; what it does for one channel begins in
//! `PeerChannels::start`, and ends with the channel's tasks. What it answers is added to `services::routes`.

mod administration;
mod catch_up;
mod chaincode;
mod channels;
mod deliver;
mod gossip;
mod identity;
mod listeners;
mod orderers;
mod parts;
mod private_data;
mod services;
mod start;

use std::fmt::Display;

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

/// Puts the name of a setting or thing before an error.
fn at<E: Display>(what: impl Display) -> impl FnOnce(E) -> anyhow::Error {
    move |error| anyhow::anyhow!("{what}: {error}")
}
