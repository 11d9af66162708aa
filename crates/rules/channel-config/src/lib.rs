//! What are the rules now? The configuration tree of a channel, typed.
//!
//! A configuration block holds a tree of groups, values and policies. [`ChannelConfig`] is that tree read and checked as a
//! whole: organizations and how to tell their members, policies, ordering, capabilities. Everything that judges a
//! transaction or a block takes one; nothing in it changes. Who edits a configuration computes the update that leads to
//! the edited one ([`update::compute`]). A configuration transaction makes the next one: [`update::propose`] where an
//! orderer makes the block, [`update::accept`] where a peer or another orderer receives it; the ledger swaps one
//! `Arc<ChannelConfig>` after the block's commit. [`acl`] says who may use which function of a peer, [`genesis`] makes
//! block 0.
//!
//! Invariants:
//! - A `ChannelConfig` obeys every rule that Fabric 3.1 checks when it takes a configuration; what breaks one is refused
//!   with the path in the tree and the reason.
//! - Orderers and peers must agree on which update is allowed and on its result, field by field; [`update`] follows
//!   Fabric's algorithm also where it is odd, and says so.
//! - The tree as received is kept ([`ChannelConfig::config`]): updates are computed on it, not on the typed form.
//!
//! Absent: the check of consensus metadata against the nodes that run (`ordering` does that), the system channel with its
//! consortiums, channels below capability V2_0, Kafka and solo orderers, idemix.

pub mod acl;
mod application;
mod capabilities;
mod channel;
mod consensus;
mod endpoint;
mod error;
pub mod genesis;
mod group;
mod names;
mod orderer;
mod organization;
mod transition;
pub mod update;

pub use application::{AnchorPeer, ApplicationConfig, ApplicationOrganization};
pub use capabilities::{
    ApplicationCapabilities, ApplicationCapability, ChannelCapabilities, ChannelCapability, OrdererCapabilities,
    OrdererCapability,
};
pub use channel::{ChannelConfig, HashingAlgorithm};
pub use consensus::{ConsensusMetadataError, RaftConsenter, RaftMetadata, RaftOptions};
pub use endpoint::{AddressOverride, OrdererEndpoint};
pub use error::{ConfigError, ConfigFault};
pub use names::{ILLEGAL_CONFIG_NAMES, MAX_CONFIG_NAME_LENGTH, key};
pub use orderer::{BatchSize, ConsensusState, ConsensusType, Consenter, OrdererConfig, OrdererOrganization};
pub use transition::TransitionError;
