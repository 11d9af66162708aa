//! The `ledgerutil` command: troubleshooting of a peer's ledgers, without the peer.
//!
//! What question this crate answers: *do two peers have the same ledger, and if not, since when?* `compare` finds what is
//! different in two snapshots, `identifytxs` the transactions that wrote it, `verify` blocks that are not what their hashes
//! say. Arguments, texts, result files and exit status are those of Fabric's tool.
//!
//! Invariants: nothing is changed but the result directory, which must not exist before; block files are read as they are,
//! in this project's layout and in Fabric's ([`chains`]).
//!
//! Absent: signatures and policies. That is for a peer.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::{ContextKind, ErrorKind};

mod chains;
mod compare;
mod identify;
mod report;
#[cfg(test)]
mod tests;
mod verify;

/// Ledger Utility Tool
#[derive(Debug, clap::Parser)]
#[command(name = "ledgerutil")]
struct LedgerutilCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Compare channel snapshots from two different peers.
    Compare {
        /// First ledger snapshot directory.
        #[arg(value_name = "snapshotPath1")]
        first: PathBuf,
        /// Second ledger snapshot directory.
        #[arg(value_name = "snapshotPath2")]
        second: PathBuf,
        #[command(flatten)]
        output: Output,
        /// Maximum number of differences to record in first_diffs_by_height.json. Requesting a report with many differences
        /// may result in a large amount of memory usage. If set to 0, will not produce first_diffs_by_height.json.
        #[arg(short = 'f', long = "firstDiffs", default_value = "10")]
        first_differences: usize,
    },
    /// Identify potentially divergent transactions.
    Identifytxs {
        /// Path to json file containing list of target records to search for in transactions. This is typically output from
        /// ledgerutil compare.
        #[arg(value_name = "snapshotDiffsPath")]
        differences: PathBuf,
        #[command(flatten)]
        peer: PeerFiles,
    },
    /// Verify the integrity of a ledger
    Verify {
        #[command(flatten)]
        peer: PeerFiles,
    },
}

#[derive(Debug, clap::Args)]
struct PeerFiles {
    /// Path to file system of target peer, used to access block store. IMPORTANT: If the configuration for target peer's file
    /// system path was changed, the new path MUST be provided.
    #[arg(value_name = "blockStorePath", default_value = "/var/hyperledger/production")]
    path: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Output {
    /// Location for the json results output directory. Default is the current directory.
    #[arg(short = 'o', long = "outputDir")]
    directory: Option<PathBuf>,
}

impl Output {
    fn directory(self) -> anyhow::Result<PathBuf> {
        match self.directory.filter(|directory| !directory.as_os_str().is_empty()) {
            Some(directory) => Ok(directory),
            None => Ok(std::env::current_dir()?),
        }
    }
}

/// What the command says on standard output, errors included, and the exit status.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    text: String,
    status: u8,
}

impl Answer {
    fn new(status: u8, text: impl Into<String>) -> Self {
        Self { text: text.into(), status }
    }
}

/// Runs `ledgerutil` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match LedgerutilCommand::try_parse_from(args) {
        Ok(command) => command.command,
        Err(error) if !error.use_stderr() => {
            print(&error.to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("ledgerutil: error: parsing arguments: {}. Try --help", problem(&error));
            return ExitCode::FAILURE;
        }
    };
    let answer = answer(command);
    print(&answer.text);
    ExitCode::from(answer.status)
}

fn answer(command: Command) -> Answer {
    match command {
        Command::Compare { first, second, output, first_differences } => {
            match compare(&first, &second, output, first_differences) {
                Ok(compare::Comparison::Same) => Answer::new(
                    0,
                    "\nSuccessfully compared snapshots. Both snapshot public state and private state hashes were the same. No results were generated.\n",
                ),
                Ok(compare::Comparison::Different { results, count }) => Answer::new(
                    2,
                    format!(
                        "\nSuccessfully compared snapshots. Results saved to {}. Total differences found: {count}\n",
                        results.display()
                    ),
                ),
                Err(error) => Answer::new(1, format!("Ledger Compare Error: {error:#}\n")),
            }
        }
        Command::Identifytxs { differences, peer } => match identify(&differences, peer) {
            Ok(searched) if searched.first > searched.last => Answer::new(
                1,
                "Ledger Identify Transactions Error: First available block was greater than highest record. No transactions were checked.",
            ),
            Ok(identify::Searched { first, last }) => Answer::new(
                0,
                format!(
                    "\nSuccessfully ran identify transactions tool. Transactions were checked between blocks {first} and {last}."
                ),
            ),
            Err(error) => Answer::new(1, format!("Ledger Identify Transactions Error: {error:#}\n")),
        },
        Command::Verify { peer } => match verify(peer) {
            Ok(verify::Verdict::Sound) => Answer::new(0, "\nSuccessfully executed verify tool. No error is found.\n"),
            Ok(verify::Verdict::Unsound) => {
                Answer::new(1, "\nSuccessfully executed verify tool. Some error(s) are found.\n")
            }
            Err(error) => Answer::new(1, format!("Verify Ledger Error:{error:#}\n")),
        },
    }
}

fn compare(
    first: &Path,
    second: &Path,
    output: Output,
    first_differences: usize,
) -> anyhow::Result<compare::Comparison> {
    compare::run(first, second, &output.directory()?, first_differences)
}

fn identify(differences: &Path, peer: PeerFiles) -> anyhow::Result<identify::Searched> {
    identify::run(differences, &peer.path, &peer.output.directory()?)
}

fn verify(peer: PeerFiles) -> anyhow::Result<verify::Verdict> {
    verify::run(&peer.path, &peer.output.directory()?)
}

/// Prints on standard output. Whoever reads may have gone, which is no reason to fail.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// What is wrong with a command line, in the words of the library that Fabric's tool uses.
fn problem(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let argument = context(ContextKind::InvalidArg);
    let flag = argument.split([' ', '=', '[']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown long flag '{flag}'"),
        ErrorKind::UnknownArgument if flag.starts_with('-') => format!("unknown short flag '{flag}'"),
        ErrorKind::UnknownArgument => format!("unexpected {flag}"),
        ErrorKind::InvalidSubcommand => {
            format!("expected command but got \"{}\"", context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "command not specified".to_owned()
        }
        ErrorKind::MissingRequiredArgument => {
            let name = argument.split(", ").next().unwrap_or_default();
            format!("required argument '{}' not provided", name.trim_matches(['<', '>']))
        }
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}
