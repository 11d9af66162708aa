//! The `peer` command.
//!
//! What question this crate answers: *what does an operator ask of a peer, and in which words is he answered?* Flags,
//! environment, output and exit status are those of Fabric's `peer`, because scripts depend on them. The client's side of
//! the journey (propose, endorse, assemble, broadcast, wait for the commit) is [`client`], which `ripstop up` uses too.
//! The peer itself, which all this talks to, is wired together in [`node`].
//!
//! Invariants: what a script reads goes to standard output, everything else to standard error; the exit status is 0 or 1;
//! the same input gives the same package bytes everywhere.
//!
//! Absent: `peer channel create` (there is no system channel; channels begin with `osnadmin channel join`).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

#[macro_use]
mod say;
pub mod client;
mod commands;
mod flags;
pub mod node;
pub mod package;
mod session;
mod text;

use commands::Failure;
use node::NodeCommand;

/// Operates a peer and is its client.
#[derive(Debug, clap::Parser)]
#[command(name = "peer", args_override_self = true, disable_help_subcommand = true)]
struct PeerCommand {
    /// Legacy logging level flag
    #[arg(long = "logging-level", global = true, hide = true)]
    _logging_level: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Operate a peer node: start|reset|rollback|pause|resume|rebuild-dbs|unjoin.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Query or invoke a chaincode: invoke|query.
    Chaincode(commands::chaincode::ChaincodeCommand),
    /// Operate a channel: fetch|join|joinbysnapshot|joinbysnapshotstatus|list|getinfo.
    Channel(commands::channel::ChannelCommand),
    /// Perform _lifecycle operations
    Lifecycle(commands::lifecycle::LifecycleCommand),
    /// Manage snapshot requests: submitrequest|cancelrequest|listpending
    Snapshot(commands::snapshot::SnapshotCommand),
    /// Print fabric peer version.
    Version,
}

/// Runs `peer` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut grammar = PeerCommand::command();
    let (command, path) = match grammar.try_get_matches_from_mut(args) {
        Ok(matches) => {
            let mut path = Vec::new();
            let mut at = &matches;
            while let Some((name, below)) = at.subcommand() {
                path.push(name.to_owned());
                at = below;
            }
            match PeerCommand::from_arg_matches(&matches) {
                Ok(command) => (command.command, path),
                Err(error) => return refuse(&error),
            }
        }
        Err(error) => return refuse(&error),
    };
    // The peer itself keeps the control over its log.
    if !matches!(command, Command::Node(NodeCommand::Start(_))) {
        start_logging();
    }
    let result = match command {
        Command::Node(NodeCommand::Start(start)) => start.run().map_err(Failure::Work),
        Command::Node(NodeCommand::Administration(administration)) => administration.run(),
        Command::Chaincode(chaincode) => chaincode.run(),
        Command::Channel(channel) => channel.run(),
        Command::Lifecycle(lifecycle) => lifecycle.run(),
        Command::Snapshot(snapshot) => snapshot.run(),
        Command::Version => {
            commands::version::print();
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Work(error)) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
        Err(Failure::Usage(problem)) => {
            let mut command = grammar;
            for name in &path {
                command = command.find_subcommand(name).cloned().unwrap_or(command);
            }
            eprintln!("Error: {problem}\n{}", command.render_help());
            ExitCode::FAILURE
        }
    }
}

fn start_logging() {
    let variable = |name| std::env::var(name).ok();
    let (spec, format) = (variable("FABRIC_LOGGING_SPEC"), variable("FABRIC_LOGGING_FORMAT"));
    if let Err(error) = ripstop_operations::start_logging(spec.as_deref(), format.as_deref()) {
        eprintln!("Error: {error}");
    }
}

/// Says what is wrong with a command line, as Fabric's commands do: `Error: unknown flag: --x` and the usage, status 1.
/// A command that lacks its subcommand explains itself and succeeds.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            print!("{error}");
            ExitCode::SUCCESS
        }
        _ => {
            let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
            eprintln!("Error: {}\n{usage}", problem(error));
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with a command line, in the words of the library that Fabric's commands use.
fn problem(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (argument, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
    let flag = argument.split([' ', '=', '[']).next().unwrap_or_default();
    let reason = std::error::Error::source(error).map(ToString::to_string);
    match error.kind() {
        ErrorKind::UnknownArgument => match flag.strip_prefix('-') {
            Some(long) if long.starts_with('-') => format!("unknown flag: {flag}"),
            Some(letters) => {
                format!("unknown shorthand flag: '{}' in {flag}", letters.chars().next().unwrap_or_default())
            }
            None => format!("unknown command \"{flag}\""),
        },
        ErrorKind::InvalidSubcommand => {
            format!("unknown command \"{}\" for \"peer\"", context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: {flag}"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let reason = reason.unwrap_or_else(|| "invalid value".to_owned());
            format!("invalid argument \"{value}\" for \"{flag}\" flag: {reason}")
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_is_refused_in_the_words_of_fabrics_command() {
        for (line, words) in [
            ("peer channel list --foo", "unknown flag: --foo"),
            ("peer channel list -c", "unknown shorthand flag: 'c' in -c"),
            ("peer nosuch", "unknown command \"nosuch\" for \"peer\""),
            ("peer channel getinfo -c", "flag needs an argument: --channelID"),
            ("peer lifecycle chaincode approveformyorg --package-id", "flag needs an argument: --package-id"),
            (
                "peer node rollback -c mychannel -b -1",
                "invalid argument \"-1\" for \"--blockNumber\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
            (
                "peer lifecycle chaincode commit --sequence x",
                "invalid argument \"x\" for \"--sequence\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "peer snapshot submitrequest -c ch -b x",
                "invalid argument \"x\" for \"--blockNumber\" flag: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
        ] {
            let error = PeerCommand::command().try_get_matches_from(line.split(' ')).unwrap_err();
            assert_eq!(problem(&error), words, "{line}");
        }
    }

    #[test]
    fn paths_and_package_ids_may_be_empty() {
        let line = ["peer", "lifecycle", "chaincode", "approveformyorg", "--cafile", "", "--package-id", ""];
        PeerCommand::command().try_get_matches_from(line).unwrap();
        let line = ["peer", "lifecycle", "chaincode", "getinstalledpackage", "--package-id", "a:b"];
        PeerCommand::command().try_get_matches_from(line).unwrap();
    }
}
