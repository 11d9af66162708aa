//! The discover command: peers, configuration and endorsers of a channel, as a peer knows them.
//!
//! What question this crate answers: *whom can an application ask?* [`run`] is the command. It signs a query with a user's
//! key, sends it to a peer's discovery service, and prints the answer as JSON, in the form of Fabric's command.
//!
//! Invariants: the JSON has Fabric's names and order; a refusal by the peer is printed in the peer's words, with exit
//! status 1. What an answer says about peers was checked by the peer that answers; signatures in it are not checked again.
//!
//! Absent: the service itself (`discovery`).

pub mod answer;
mod client;
mod command;
mod settings;
#[cfg(test)]
mod tests;

pub use command::run;
