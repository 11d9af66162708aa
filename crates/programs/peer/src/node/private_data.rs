//! The sharing of private data with other peers.

use std::sync::Arc;

use ripstop_gossip_service::Gossip;
use ripstop_node_config::PrivateDataConfig as Settings;
use ripstop_private_data::{PrivateDataConfig, PrivateDataMetrics, PrivateDataService, PullAtCommit, Reconciliation};
use ripstop_sharing::PeerCounts;

use super::parts::Peer;

/// That of this peer among the peers that gossip knows.
pub(super) fn service(peer: &Peer, gossip: &Gossip) -> PrivateDataService {
    PrivateDataService::new(
        Arc::new(gossip.clone()),
        peer.identity.signer.identity().msp_id.clone(),
        config(&peer.config.private_data),
        PrivateDataMetrics::new(&peer.node.metrics),
    )
}

fn config(settings: &Settings) -> PrivateDataConfig {
    PrivateDataConfig {
        push_patience: settings.push_ack_timeout,
        pull_patience: settings.pull_retry_threshold,
        pull_margin: settings.btl_pull_margin,
        pull_at_commit: match settings.skip_pulling_invalid_transactions {
            true => PullAtCommit::OfValidTransactions,
            false => PullAtCommit::Everything,
        },
        transient_retention: settings.transient_store_max_block_retention,
        implicit: PeerCounts {
            required: settings.implicit_required_peer_count,
            maximum: settings.implicit_maximum_peer_count,
        },
        reconciliation: settings.reconciliation_enabled.then_some(Reconciliation {
            rest: settings.reconcile_sleep_interval,
            blocks: settings.reconcile_batch_size,
            retry: settings.deprioritized_interval,
        }),
    }
}
