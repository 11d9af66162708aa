//! The configtxlator command: messages as JSON and back, and updates of configurations.
//!
//! What question this crate answers: *what does this file say, and how does one configuration become another?* Operators
//! fetch a configuration, decode it, edit the JSON, encode it, compute the update between the two, and sign that. [`run`] is
//! the command, with files or as a server with Fabric's REST interface.
//!
//! Invariants: JSON and bytes are those of Fabric's command (`ripstop-proto-json`); flags, exit status and the beginning of
//! errors too. A command that fails leaves what was in its output file.
//!
//! Absent: TLS and authentication of the server, as in Fabric; it is a tool for one's own machine.

mod command;
mod cors;
mod rest;
#[cfg(test)]
mod tests;
mod translate;

pub use command::run;
