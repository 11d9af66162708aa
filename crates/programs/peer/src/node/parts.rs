//! What a peer is made of: the ground on which its services stand.

use std::sync::Arc;

use ripstop_ledger::{LedgerOptions, Ledgers, PurgeLog};
use ripstop_node::Node;
use ripstop_node_config::{LedgerConfig, PeerConfig};
use ripstop_runtime::TaskGroup;

use super::identity::Identity;

/// A peer before it does anything. Every service of the peer is made of this, and of services that are there already.
pub(super) struct Peer {
    pub(super) config: PeerConfig,
    pub(super) identity: Identity,
    /// Metrics, health and TLS files.
    pub(super) node: Node,
    pub(super) ledgers: Arc<Ledgers>,
    pub(super) tasks: Tasks,
}

/// What the peer does, by the order in which it ends: questions from outside, then the work on channels, and what operators
/// see at the very last.
pub(super) struct Tasks {
    /// All of them.
    pub(super) root: TaskGroup,
    /// The listeners.
    pub(super) servers: TaskGroup,
    /// What peers say to each other.
    pub(super) gossip: TaskGroup,
    /// What works on a channel, and whatever is asked by it.
    pub(super) channels: TaskGroup,
    /// What operators look at.
    pub(super) operations: TaskGroup,
}

impl Tasks {
    pub(super) fn new() -> Self {
        let root = TaskGroup::root("peer");
        let [servers, gossip, channels, operations] =
            ["servers", "gossip", "channels", "operations"].map(|name| root.child(name));
        Self { root, servers, gossip, channels, operations }
    }
}

/// Opens all ledgers, off the async threads: it may take long. A channel whose ledger does not open is not served; the
/// others are.
pub(super) async fn open_ledgers(config: &LedgerConfig) -> anyhow::Result<Arc<Ledgers>> {
    let directory = config.directory.clone();
    let purge_log = if config.names_purged_keys { PurgeLog::Keys } else { PurgeLog::Counts };
    let snapshots = Some(config.snapshots_directory.clone());
    let options = LedgerOptions { snapshots, purge_log, ..LedgerOptions::default() };
    let open = move || {
        let (ledgers, failures) = Ledgers::open_usable(&directory, options)
            .map_err(|error| anyhow::anyhow!("cannot open the ledgers in {}: {error}", directory.display()))?;
        for (channel, failure) in failures {
            tracing::error!(target: "peer", "Failed to load ledger {channel}; this channel is not served: {failure}");
        }
        anyhow::Ok(Arc::new(ledgers))
    };
    tokio::task::spawn_blocking(open).await?
}
