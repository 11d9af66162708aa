//! The osnadmin command: channels of an ordering node.
//!
//! What question this crate answers: *which channels does this ordering node keep, and how does it join or leave one?*
//! [`Participation`] is the client of the channel participation API, which `ripstop up` uses too; [`run`] is the command,
//! with the flags and the output of Fabric's.
//!
//! Invariants: what the node answers is printed as it is, whatever its status; only an answer that does not come is a
//! failure (exit status 1), as with Fabric's command.

mod command;
mod participation;

pub use command::run;
pub use participation::{Answer, ChannelState, Participation, ParticipationError};
