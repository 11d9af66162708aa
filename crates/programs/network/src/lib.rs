//! `ripstop up`: a whole network on one machine from one command.
//!
//! What question this crate answers: *how do I get a network to try things on?* It makes what an operator would make with
//! `cryptogen`, `configtxgen`, `osnadmin` and `peer`, through the same libraries, and starts what he would start: one
//! orderer or several, the peers, and the sample contract as a service, each a process of this very binary with ordinary
//! configuration files. Then it takes the contract through the real lifecycle and submits a transaction.
//!
//! Invariants: a directory without `network.json` is never deleted unless all in it is ours; every step looks first
//! whether it was done before, so that an interrupted start goes on where it stopped; no process outlives this one.
//!
//! Absent: anything that a network in production needs and that is not also in the files it writes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

mod channel;
mod deploy;
mod environment;
mod files;
mod material;
mod member;
mod neighbours;
mod plan;
mod process;
mod progress;
mod restarts;
mod summary;
mod transaction;
mod up;

pub use process::SUPERVISOR_VARIABLE;

/// The most organizations of a network on one machine.
const MAX_ORGANISATIONS: i64 = 20;
/// The most peers of an organization.
const MAX_PEERS: i64 = 10;
/// The most orderers of a network on one machine.
const MAX_ORDERERS: i64 = 9;

#[derive(Debug, clap::Parser)]
#[command(name = "ripstop", disable_help_subcommand = true)]
struct NetworkCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Starts a whole network: certificates, a channel, orderer, peers, a deployed contract and a first transaction
    ///
    /// Ctrl-C stops everything. The next `up` in the same directory goes on with the same ledger, on the same ports.
    Up(UpOptions),
    /// Prints the exports with which `peer` acts as an organization's administrator: eval "$(ripstop env org1)"
    Env(EnvOptions),
}

/// What `ripstop up` takes.
#[derive(Debug, Clone, clap::Args)]
struct UpOptions {
    /// Where the network keeps its files
    #[arg(long = "dir", value_name = "DIR", default_value = DEFAULT_DIRECTORY)]
    directory: PathBuf,
    /// How many organizations have peers [default: 2]
    #[arg(long = "orgs", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_ORGANISATIONS))]
    organisations: Option<u16>,
    /// How many peers each organization has; of several, one that is killed is started again [default: 1]
    #[arg(long = "peers", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_PEERS))]
    peers: Option<u16>,
    /// How many orderers there are; with three or five, one or two of them may be missing at any time [default: 1]
    #[arg(long = "orderers", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_ORDERERS))]
    orderers: Option<u16>,
    /// Use consecutive ports from this one on, instead of any that are free
    #[arg(long = "ports", value_name = "FIRST")]
    first_port: Option<u16>,
    /// Forget the network in the directory, its ledger too, and begin anew
    #[arg(long)]
    fresh: bool,
    /// Do everything, print the result, stop; the exit status tells whether it worked
    #[arg(long)]
    once: bool,
}

/// What `ripstop env` takes.
#[derive(Debug, Clone, clap::Args)]
struct EnvOptions {
    /// The organization: org1, org2, ...
    organisation: String,
    /// Where the network keeps its files
    #[arg(long = "dir", value_name = "DIR", default_value = DEFAULT_DIRECTORY)]
    directory: PathBuf,
    /// Which of the organization's peers to talk to
    #[arg(long = "peer", value_name = "INDEX", default_value_t = 0)]
    peer: usize,
    /// Who to act as: Admin or User1
    #[arg(long = "user", value_name = "NAME", default_value = "Admin")]
    user: String,
}

/// Where a network is when nothing is said.
const DEFAULT_DIRECTORY: &str = "ripstop-network";

/// How big a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Organizations with peers.
    pub(crate) organisations: u16,
    /// Peers of each organization.
    pub(crate) peers: u16,
    /// Orderers.
    pub(crate) orderers: u16,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} each", counted(self.organisations, "organisation"), counted(self.peers, "peer"))?;
        if self.orderers > 1 { write!(f, " and {}", counted(self.orderers, "orderer")) } else { Ok(()) }
    }
}

fn counted(number: u16, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Runs `ripstop up` or `ripstop env` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match NetworkCommand::try_parse_from(args) {
        Ok(NetworkCommand { command: Command::Up(options) }) => up::run(&options),
        Ok(NetworkCommand { command: Command::Env(options) }) => environment::run(&options),
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
    }
}
