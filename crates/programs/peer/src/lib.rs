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
//! Absent: `peer completion`, and `peer channel create` without a transaction (there is no system channel; channels begin
//! with `osnadmin channel join`).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use ripstop_command_line::cobra::{self, CommandLine};

pub mod client;
mod commands;
mod flags;
pub mod node;
pub mod package;
mod session;
mod text;

use commands::{Failure, block_on};
use node::NodeCommand;

#[derive(Debug, clap::Parser)]
#[command(name = "peer", args_override_self = true, disable_help_subcommand = true)]
struct PeerCommand {
    #[arg(long = "logging-level", global = true, hide = true, default_value = "", help = "Legacy logging level flag")]
    logging_level: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(
        subcommand,
        about = "Operate a peer node: start|reset|rollback|pause|resume|rebuild-dbs|unjoin|upgrade-dbs."
    )]
    Node(NodeCommand),
    #[command(about = "Query or invoke a chaincode: invoke|query.")]
    Chaincode(commands::chaincode::ChaincodeCommand),
    #[command(
        about = "Operate a channel: create|fetch|join|joinbysnapshot|joinbysnapshotstatus|list|update|signconfigtx|getinfo."
    )]
    Channel(commands::channel::ChannelCommand),
    #[command(about = "Perform _lifecycle operations")]
    Lifecycle(commands::lifecycle::LifecycleCommand),
    #[command(about = "Manage snapshot requests: submitrequest|cancelrequest|listpending")]
    Snapshot(commands::snapshot::SnapshotCommand),
    #[command(about = "Print fabric peer version.", long_about = "Print current version of the fabric peer server.")]
    Version {
        #[arg(hide = true)]
        arguments: Vec<String>,
    },
    #[command(about = "Help about any command")]
    Help {
        #[arg(value_name = "[command]")]
        command: Vec<OsString>,
    },
}

/// Runs `peer` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let grammar = cobra::grammar(PeerCommand::command());
    let line = CommandLine::read(&grammar, args);
    let matches = grammar.clone().try_get_matches_from(line.arguments());
    let PeerCommand { logging_level, command } =
        match matches.and_then(|matches| PeerCommand::from_arg_matches(&matches)) {
            Ok(command) => command,
            Err(error) => return refuse(&line, &error),
        };
    // The peer itself keeps the control over its log.
    if !matches!(command, Command::Node(NodeCommand::Start(_))) {
        start_logging(&logging_level);
    }
    let result = match command {
        Command::Node(NodeCommand::Start(start)) if !start.words.is_empty() => {
            commands::usage("trailing args detected")
        }
        Command::Node(NodeCommand::Start(start)) => start.run().map_err(Failure::Work),
        Command::Node(NodeCommand::Administration(administration)) => administration.run(),
        Command::Chaincode(chaincode) => block_on(chaincode.run()),
        Command::Channel(channel) => block_on(channel.run()),
        Command::Lifecycle(lifecycle) => block_on(lifecycle.run()),
        Command::Snapshot(snapshot) => block_on(snapshot.run()),
        Command::Version { arguments } => commands::version::print(&arguments),
        Command::Help { command } => return help(&grammar, command),
    };
    match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Work(error)) => eprintln!("Error: {error:#}"),
        Err(Failure::Usage(problem)) => eprintln!("Error: {problem}\n{}", line.usage()),
        // Fabric's commands log this one.
        Err(Failure::Setup(problem)) => tracing::error!(target: "main", function = "InitCmd", "{problem}"),
    }
    ExitCode::FAILURE
}

fn start_logging(legacy_level: &str) {
    let variable = |name| std::env::var(name).ok();
    let (spec, format) = (variable("FABRIC_LOGGING_SPEC"), variable("FABRIC_LOGGING_FORMAT"));
    if let Err(error) = ripstop_operations::start_logging(spec.as_deref(), format.as_deref()) {
        eprintln!("Error: {error}");
    }
    if !legacy_level.is_empty() || variable("CORE_LOGGING_LEVEL").is_some_and(|level| !level.is_empty()) {
        tracing::warn!(target: "main", function = "InitCmd", "CORE_LOGGING_LEVEL is no longer supported, please use the FABRIC_LOGGING_SPEC environment variable");
    }
}

/// Says what is wrong with a command line: `Error: unknown flag: --x` and the usage, status 1. A command that lacks its
/// subcommand explains itself and succeeds.
fn refuse(line: &CommandLine<'_>, error: &clap::Error) -> ExitCode {
    match line.problem(error) {
        None => {
            print!("{}", line.help());
            ExitCode::SUCCESS
        }
        Some(problem) => {
            eprintln!("Error: {problem}\n{}", line.advice(error));
            ExitCode::FAILURE
        }
    }
}

/// `peer help channel list` is `peer channel list --help`.
fn help(grammar: &clap::Command, command: Vec<OsString>) -> ExitCode {
    print!("{}", CommandLine::read(grammar, [OsString::new()].into_iter().chain(command)).help());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command line is refused with, or nothing where help is called for.
    fn refusal(line: &str) -> Option<String> {
        let grammar = cobra::grammar(PeerCommand::command());
        let line = CommandLine::read(&grammar, line.split(' ').map(OsString::from));
        let matches = grammar.clone().try_get_matches_from(line.arguments());
        let error = matches.and_then(|matches| PeerCommand::from_arg_matches(&matches)).unwrap_err();
        line.problem(&error)
    }

    fn accepted(line: &[&str]) -> PeerCommand {
        let grammar = cobra::grammar(PeerCommand::command());
        let line = CommandLine::read(&grammar, line.iter().map(OsString::from));
        let matches = grammar.clone().try_get_matches_from(line.arguments()).unwrap();
        PeerCommand::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn a_wrong_command_line_is_refused_in_the_librarys_words() {
        for (line, words) in [
            ("peer channel list --foo", "unknown flag: --foo"),
            ("peer channel list -c", "unknown shorthand flag: 'c' in -c"),
            ("peer nosuch", "unknown command \"nosuch\" for \"peer\""),
            ("peer channel getinfo -c", "flag needs an argument: 'c' in -c"),
            ("peer channel getinfo --channelID", "flag needs an argument: --channelID"),
            ("peer lifecycle chaincode approveformyorg --package-id", "flag needs an argument: --package-id"),
            (
                "peer node rollback -c mychannel -b -1",
                "invalid argument \"-1\" for \"-b, --blockNumber\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
            (
                "peer lifecycle chaincode commit --sequence x",
                "invalid argument \"x\" for \"--sequence\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "peer lifecycle chaincode commit --sequence 9223372036854775808",
                "invalid argument \"9223372036854775808\" for \"--sequence\" flag: strconv.ParseInt: parsing \"9223372036854775808\": value out of range",
            ),
            (
                "peer channel list --tls=maybe",
                "invalid argument \"maybe\" for \"--tls\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "peer channel list --connTimeout soon",
                "invalid argument \"soon\" for \"--connTimeout\" flag: time: invalid duration \"soon\"",
            ),
        ] {
            assert_eq!(refusal(line).as_deref(), Some(words), "{line}");
        }
        for line in
            ["peer", "peer channel", "peer channel nosuch", "peer lifecycle chaincode", "peer node start --help"]
        {
            assert_eq!(refusal(line), None, "{line}");
        }
    }

    #[test]
    fn flags_may_stand_before_the_command_and_values_may_be_empty_or_look_like_flags() {
        for line in [
            &["peer", "lifecycle", "chaincode", "approveformyorg", "--cafile", "", "--package-id", ""] as &[&str],
            &["peer", "-o", "localhost:1", "channel", "fetch", "newest", "-c", "ch"],
            &["peer", "chaincode", "-C", "ch", "query", "-n", "cc", "-c", "-x", "and", "more", "--tls=true"],
            &["peer", "channel", "list", "--connTimeout=5s", "-o", "a", "-o", "b"],
        ] {
            accepted(line);
        }
    }

    #[test]
    fn usage_lists_own_and_inherited_flags_by_name_with_kinds_and_defaults() {
        let grammar = cobra::grammar(PeerCommand::command());
        let usage = |line: &str| CommandLine::read(&grammar, line.split(' ').map(OsString::from)).usage();
        assert_eq!(
            usage("peer node rollback"),
            "Usage:\n  peer node rollback [flags]\n\nFlags:\n  -b, --blockNumber uint   Block number to which the channel \
             needs to be rolled back to.\n  -c, --channelID string   Channel to rollback.\n  -h, --help               help \
             for rollback\n"
        );
        let invoke = usage("peer chaincode invoke");
        for line in [
            "      --peerAddresses stringArray      The addresses of the peers to connect to\n",
            "  -c, --ctor string                    Constructor message for the chaincode in JSON format (default \"{}\")\n",
            "\n\nGlobal Flags:\n      --cafile string                       Path to file",
            "      --connTimeout duration                Timeout for client to connect (default 3s)\n",
        ] {
            assert!(invoke.contains(line), "{line}{invoke}");
        }
        let fetch = usage("peer channel fetch");
        assert!(
            fetch.starts_with("Usage:\n  peer channel fetch <newest|oldest|config|(number)> [outputfile] [flags]\n")
        );
        let group = usage("peer lifecycle");
        assert!(
            group.contains("\n\nAvailable Commands:\n  chaincode   Perform chaincode operations: package|"),
            "{group}"
        );
        let end = "\n\nUse \"peer lifecycle [command] --help\" for more information about a command.\n";
        assert!(group.ends_with(end), "{group}");
    }
}
