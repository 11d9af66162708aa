//! The configtxgen command: genesis blocks from profiles.
//!
//! What question this crate answers: *what does the first configuration of a channel look like?* A [`Profile`] says it in
//! the words of `configtx.yaml`: organizations, policies, capabilities, consensus. [`Profile::channel_group`] is the
//! configuration tree, [`Profile::genesis_block`] the block; [`Profile::anchor_peers_update`] and
//! [`Profile::channel_creation`] are updates for others to sign. [`ConfigTx`] is the file.
//!
//! Invariants: the tree is the one that Fabric's configtxgen makes of the same file, field by field; defaults that Fabric
//! completes are completed; relative paths start at the file's directory; a key that Fabric does not know is an error;
//! what is wrong in a profile that nobody asks for is not.
//!
//! Absent: idemix.

mod check;
mod command;
mod encode;
mod error;
mod flags;
mod inspect;
mod profile;
mod read;
mod section;
#[cfg(test)]
mod tests;
mod update;

pub use command::run;
pub use error::ProfileError;
pub use inspect::InspectError;
pub use profile::{
    AnchorPeer, Application, BatchSize, BftConsenter, ConfigTx, Consensus, EtcdRaft, EtcdRaftOptions, Orderer,
    Organization, Policy, Profile, RaftConsenter,
};
