use std::fmt;

use ripstop_types::ChannelId;
use serde::Serialize;

/// The path of the list of channels.
pub(crate) const CHANNELS_PATH: &str = "/participation/v1/channels";

/// What a node does in a channel, as the participation API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelInfo {
    /// The channel.
    pub name: String,
    /// The path under which it is shown.
    pub url: String,
    /// The node's part in consensus.
    pub consensus_relation: ConsensusRelation,
    /// How it does.
    pub status: Status,
    /// The number of blocks stored.
    pub height: u64,
}

impl ChannelInfo {
    pub(crate) fn new(id: &ChannelId, consensus_relation: ConsensusRelation, status: Status, height: u64) -> Self {
        Self { name: id.as_str().to_owned(), url: format!("{CHANNELS_PATH}/{id}"), consensus_relation, status, height }
    }
}

/// A node's part in a channel's consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsensusRelation {
    /// It is one of the consenters.
    Consenter,
}

/// How a channel does on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It takes part.
    Active,
    /// It stores no blocks, or is about to.
    Inactive,
    /// It failed; the log says why.
    Failed,
}

impl fmt::Display for ConsensusRelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("consenter")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
        })
    }
}
