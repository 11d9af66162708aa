//! The `orderer` command.
//!
//! What question this crate answers: *how does an ordering node begin, and how does it end?* [`run`] reads `orderer.yaml`
//! under the environment, opens the node's channels, listens, and stops in order when it is told to. The work itself is in
//! `ordering-service` and `deliver`.
//!
//! Invariants: a node that cannot begin says why and what to do, and ends with status 1; one that is told to stop by SIGTERM
//! or SIGINT ends with status 0. It may be killed at any time without losing what it acknowledged.

mod cluster;
mod identity;
mod listeners;
mod start;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use ripstop_command_line::say;

/// The log of the node as a whole.
const LOG: &str = "orderer.common.server";

/// Hyperledger Fabric orderer node
#[derive(Debug, clap::Parser)]
#[command(name = "orderer", disable_help_subcommand = true)]
struct OrdererCommand {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start the orderer node
    Start,
    /// Show version information
    Version,
}

/// Runs `orderer` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match OrdererCommand::try_parse_from(args) {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match command.command.unwrap_or(Command::Start) {
        Command::Version => {
            say!("{}\n", ripstop_command_line::version("orderer"));
            ExitCode::SUCCESS
        }
        Command::Start => start::start().map_or_else(
            |error| {
                eprintln!("Error: {}", chain_text(&error));
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        ),
    }
}

/// An error with its causes, each once: many name their cause themselves.
fn chain_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("address in use").context("cannot bind: address in use").context("cannot start");
        assert_eq!(chain_text(&error), "cannot start: cannot bind: address in use");
    }
}
