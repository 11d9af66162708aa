//! Ends chaincode that no definition needs any longer (Fabric: `lifecycle.ChaincodeCustodian`).

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::host::ChaincodeHost;

/// How long blocks are gathered before it is looked whether they made a chaincode superfluous.
const GATHERING: Duration = Duration::from_millis(500);

/// Watches a running chaincode until its stream ends, and lets it go when no channel's definition runs its package any
/// longer. Chaincode without installed package is its developer's.
pub(crate) async fn watch(host: ChaincodeHost, connection: Arc<Connection>) {
    if host.packages().get(connection.id()).is_none() {
        return;
    }
    loop {
        let mut blocks = next_block(&host);
        let (asked, id) = (host.clone(), connection.id().to_owned());
        match tokio::task::spawn_blocking(move || is_needed(&asked, &id)).await {
            Ok(false) => break,
            Ok(true) => {}
            Err(_) => return,
        }
        tokio::select! {
            _ = blocks.join_next() => {}
            () = connection.ended() => return,
        }
        tokio::time::sleep(GATHERING).await;
    }
    tracing::info!("chaincode {} is no longer referenced by a definition and is stopped", connection.id());
    host.registry().deregister(&connection);
    connection.retire();
}

/// Tasks of which one completes when a channel has another block.
fn next_block(host: &ChaincodeHost) -> JoinSet<()> {
    let ledgers = &host.node().ledgers;
    let channels = ledgers.list().into_iter().filter_map(|channel| ledgers.get(&channel));
    channels
        .map(|ledger| {
            let mut heights = ledger.heights();
            heights.mark_unchanged();
            async move {
                // A ledger that is closed has no more blocks.
                if heights.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
        .collect()
}

/// Whether a definition of any channel runs a package. What cannot be read counts as a yes.
fn is_needed(host: &ChaincodeHost, id: &str) -> bool {
    let node = host.node();
    let channels = node.ledgers.list().into_iter().filter_map(|channel| node.ledgers.get(&channel));
    channels.into_iter().any(|ledger| {
        let found = ripstop_lifecycle::references(ledger.snapshot().as_ref(), node.local_msp.id(), id);
        found.map_or(true, |found| !found.is_empty())
    })
}
