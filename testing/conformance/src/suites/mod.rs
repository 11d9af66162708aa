//! The parts of the replay.

mod chains;
mod config_updates;
mod definitions;
mod discover;
mod execution;
mod forged;
mod golden;
mod gossip;
mod json;
mod metrics;
mod private;
mod profiles;
mod proposals;
mod quirks;
mod refusals;
mod replay;
mod snapshots;
mod vectors;

pub use chains::{CHAINS_VARIABLE, chains};
pub use config_updates::config_updates;
pub use discover::discover;
pub use forged::forged;
pub use golden::golden;
pub use gossip::gossip;
pub use json::json;
pub use metrics::metrics;
pub use profiles::profiles;
pub use quirks::quirks;
pub use snapshots::snapshots;
pub use vectors::vectors;
