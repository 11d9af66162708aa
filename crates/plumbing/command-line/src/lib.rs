//! Command lines as Fabric's tools read them, with their words for what is wrong and for help.
//!
//! What question this crate answers: *what did the operator ask for, and what is said when it makes no sense?* Fabric's
//! commands stand on two libraries, and scripts know the exit statuses and many texts of both: `peer` on Cobra ([`cobra`]),
//! `cryptogen`, `osnadmin`, `discover` and `configtxlator` on Kingpin ([`kingpin`]). A command is declared with clap as
//! everywhere else; what clap answers is put into the other library's words. What all commands say alike is here too.
//!
//! Invariant: whoever closes standard output wants no more, which is no error.
//!
//! Absent: arguments in files (`@file`), shell completion, manual pages.

pub mod cobra;
pub mod kingpin;
mod output;
pub mod value;

pub use output::{architecture, os_text, version};
