//! Replays everything and prints the table.

use std::process::ExitCode;

use ripstop_conformance::{Report, suites};

fn main() -> ExitCode {
    // Like a test of the usual harness, it runs when no name is given or its own.
    let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    let listing = std::env::args().any(|argument| argument == "--list");
    if listing || (names.peek().is_some() && !names.any(|name| "conformance".contains(&name))) {
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new();
    suites::vectors(&mut report);
    suites::golden(&mut report);
    suites::quirks(&mut report);
    suites::forged(&mut report);
    suites::profiles(&mut report);
    suites::config_updates(&mut report);
    println!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
