//! Replays everything and prints the table.

use std::process::ExitCode;

use ripstop_conformance::{Report, suites};

/// The options of the usual harness that are followed by a value.
const WITH_VALUE: [&str; 6] = ["--test-threads", "--skip", "--format", "--color", "--logfile", "-Z"];

fn main() -> ExitCode {
    if !is_wanted(std::env::args().skip(1)) {
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new();
    suites::vectors(&mut report);
    suites::golden(&mut report);
    suites::quirks(&mut report);
    suites::forged(&mut report);
    suites::profiles(&mut report);
    suites::config_updates(&mut report);
    suites::json(&mut report);
    suites::snapshots(&mut report);
    suites::discover(&mut report);
    suites::gossip(&mut report);
    suites::chains(&mut report);
    suites::metrics(&mut report);
    println!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Like a test of the usual harness, it runs when no name is given or its own.
fn is_wanted(arguments: impl Iterator<Item = String>) -> bool {
    let mut names = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        if argument == "--list" {
            return false;
        }
        if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
        } else if !argument.starts_with('-') {
            names.push(argument);
        }
    }
    names.is_empty() || names.iter().any(|name| "conformance".contains(name.as_str()))
}
