//! The `peer` command.
//!
//! What question this crate answers: *what does an operator ask of a peer, and in which words is he answered?* Flags,
//! environment, output and exit codes are those of Fabric's `peer`, because scripts depend on them. The client side of
//! the journey (propose, endorse, assemble, broadcast, wait for the commit) is [`client`], which `ripstop up` uses too.
//!
//! Invariants: what a script reads goes to standard output, everything else to standard error; the exit status is 0 or 1.
//!
//! Absent: `peer channel create` (there is no system channel; channels are made by `osnadmin channel join`).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

pub mod node;

/// The `peer` command line.
#[derive(Debug, clap::Parser)]
#[command(name = "peer", args_override_self = true, disable_help_subcommand = false)]
struct PeerCommand {
    /// Legacy logging level flag
    #[arg(long = "logging-level", global = true, hide = true)]
    logging_level: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Operate a peer node: start.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Print fabric peer version.
    Version,
}

/// Runs `peer` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match PeerCommand::try_parse_from(args) {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let result = match command.command {
        Command::Node(node) => node.run(),
        Command::Version => Ok(ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("Error: {error:#}");
        ExitCode::FAILURE
    })
}
