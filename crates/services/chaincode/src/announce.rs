//! What other peers are told of the chaincodes that run here (Fabric: `lifecycle.MetadataManager`).

use std::sync::Arc;
use std::time::Duration;

use ripstop_gossip::AnnouncedChaincode;
use ripstop_ledger::Ledger;
use ripstop_lifecycle::{Committed, announced};
use ripstop_types::MspId;
use tokio::sync::watch;

use crate::InstalledPackage;

/// How long to rest after a look before what the next blocks changed is looked at. Whoever saw a definition committed may ask
/// this peer for it at once, so the first block after a rest is looked at without waiting.
const REST: Duration = Duration::from_millis(50);

/// Keeps up to date what a peer of `organization` announces of a channel's chaincodes, until nobody listens any longer. It
/// changes with the channel's blocks and with the packages that are installed. While the state cannot be read, what was said
/// last stands.
pub async fn keep_announced(
    ledger: Arc<Ledger>,
    organization: MspId,
    mut installed: watch::Receiver<Arc<[InstalledPackage]>>,
    told: watch::Sender<Vec<AnnouncedChaincode>>,
) {
    let mut heights = ledger.heights();
    loop {
        heights.mark_unchanged();
        let packages = Arc::clone(&installed.borrow_and_update());
        let (asked, own) = (Arc::clone(&ledger), organization.clone());
        match tokio::task::spawn_blocking(move || look(&asked, &own, &packages)).await {
            Ok(Some(found)) => drop(told.send_if_modified(|told| {
                let differs = *told != found;
                *told = found;
                differs
            })),
            Ok(None) => {}
            Err(_) => return,
        }
        tokio::time::sleep(REST).await;
        tokio::select! {
            changed = heights.changed() => if changed.is_err() { return },
            changed = installed.changed() => if changed.is_err() { return },
            () = told.closed() => return,
        }
    }
}

fn look(ledger: &Ledger, organization: &MspId, packages: &[InstalledPackage]) -> Option<Vec<AnnouncedChaincode>> {
    let installed: Vec<&str> = packages.iter().map(|package| package.id.as_str()).collect();
    match announced(&mut Committed(ledger.snapshot().as_ref()), organization, &installed) {
        Ok(found) => {
            let of_gossip = |(name, version)| AnnouncedChaincode { name, version, metadata: Default::default() };
            Some(found.into_iter().map(of_gossip).collect())
        }
        Err(error) => {
            let channel = ledger.channel_id();
            tracing::warn!(target: "lifecycle", "the chaincodes of channel '{channel}' that others may ask this peer for are not known: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use ripstop_channel_config::genesis;
    use ripstop_ledger::{LedgerOptions, Ledgers};
    use ripstop_testkit::{Channel, Organization};
    use ripstop_types::{ChannelId, Timestamp};

    use super::*;

    #[tokio::test]
    async fn a_peer_announces_at_least_that_it_keeps_definitions() {
        let (orderer, org1) = (Organization::new("OrdererMSP"), Organization::new("Org1MSP"));
        let directory = tempfile::tempdir().unwrap();
        let ledgers = Ledgers::open(directory.path(), LedgerOptions::default()).unwrap();
        let group = Channel::new(&orderer, [&org1]).group();
        let id = ChannelId::new("mychannel").unwrap();
        let ledger = ledgers.create(genesis::block(&id, group, [7; 24], Timestamp { seconds: 1, nanos: 0 })).unwrap();
        let (_packages, installed) = watch::channel([].into());
        let (told, mut heard) = watch::channel(Vec::new());
        let keeping = tokio::spawn(keep_announced(ledger, org1.msp_id().clone(), installed, told));
        let heard_first = heard.wait_for(|chaincodes| !chaincodes.is_empty()).await.unwrap().clone();
        let names: Vec<_> = heard_first.iter().map(|one| format!("{} {}", one.name, one.version)).collect();
        assert_eq!(names, ["_lifecycle 1"]);
        drop(heard);
        keeping.await.unwrap();
    }
}
