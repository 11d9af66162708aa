//! Command lines as Fabric's tools read them, with their words for what is wrong and for help.
//!
//! What question this crate answers: *what did the operator ask for, and what is said when it makes no sense?* `cryptogen`,
//! `osnadmin`, `discover` and `configtxlator` of Fabric share one library for this (Kingpin); scripts know its exit statuses
//! and some know its texts. A command is declared with clap as everywhere else; [`parse`] reads it and puts what clap
//! answers into Kingpin's words.
//!
//! Invariants: help goes to standard error with exit status 0, a fault with 1; only `--help` asks for help, `-h` is a flag
//! like any other.
//!
//! Absent: arguments in files (`@file`), shell completion, manual pages; `peer` and `orderer` have a library of their own.

mod help;
mod kingpin;

use std::io::{self, Write as _};

pub use kingpin::{Stop, parse, parse_requiring};

/// Prints a line to standard output. Whoever closed it wants no more, which is no error.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// What the operating system says, in the form that Go prints: `no such file or directory`.
pub fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_says_reads_as_in_go() {
        assert_eq!(os_text(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(os_text(&io::Error::other("Odd")), "odd");
    }
}
