//! The orderers that the channels get their blocks from.

use std::sync::Arc;
use std::time::Duration;

use ripstop_channel_config::{AddressOverride, OrdererEndpoint};
use ripstop_deliver::{PullConfig, PullTarget};
use ripstop_ledger::Ledger;
use ripstop_node_config::PeerConfig;
use ripstop_transport::Keepalive;
use ripstop_types::{BlockNumber, ChannelId};

use super::identity;
use super::listeners::message_limits;
use super::parts::Peer;

/// The addresses to use instead of those that channels name (`peer.deliveryclient.addressOverrides`).
pub(super) fn overrides(config: &PeerConfig) -> anyhow::Result<Vec<AddressOverride>> {
    let read = |replaced: &ripstop_node_config::AddressOverride| {
        let tls_roots = replaced.ca_certs_file.iter().map(|path| identity::read(path)).collect::<Result<_, _>>()?;
        Ok(AddressOverride { from: replaced.from.clone(), to: replaced.to.clone(), tls_roots })
    };
    config.delivery_client.address_overrides.iter().map(read).collect()
}

/// How blocks are asked for.
pub(super) fn pull_config(peer: &Peer) -> PullConfig {
    let client = &peer.config.delivery_client;
    PullConfig {
        signer: peer.identity.signer.clone(),
        tls: peer.identity.client_tls().cloned(),
        connect_timeout: client.connection_timeout,
        keepalive: Keepalive { interval: client.keepalive.interval, timeout: client.keepalive.timeout },
        messages: message_limits(&peer.config).or_default(),
        max_pause: client.reconnect_backoff_threshold,
        silence: None,
        time_shift: Duration::ZERO,
    }
}

/// A ledger that wants blocks.
pub(super) struct LedgerTarget {
    pub(super) ledger: Arc<Ledger>,
    pub(super) overrides: Vec<AddressOverride>,
}

impl PullTarget for LedgerTarget {
    fn channel(&self) -> &ChannelId {
        self.ledger.channel_id()
    }

    fn next_block(&self) -> BlockNumber {
        BlockNumber::new(self.ledger.height())
    }

    fn orderers(&self) -> Vec<OrdererEndpoint> {
        let named = self.ledger.config().orderer_endpoints();
        named.iter().map(|endpoint| endpoint.overridden(&self.overrides)).collect()
    }
}
