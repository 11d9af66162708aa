//! The peer among other peers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use ripstop_deliver::{BlockOrigin, PulledBlock};
use ripstop_gossip::PkiId;
use ripstop_gossip_service::{Gossip, GossipConfig, GossipParts, GossipService, GossipTls, ReceivedBlock, Spreading};
use ripstop_ledger::Ledger;
use ripstop_transport::Keepalive;
use ripstop_types::Block;
use tokio::sync::mpsc;

use super::identity;
use super::listeners::message_limits;
use super::parts::Peer;

/// Begins to look for other peers; the service is offered to them.
pub(super) fn start(peer: &Peer) -> anyhow::Result<(Gossip, GossipService)> {
    let (settings, me) = (&peer.config.gossip, &peer.identity);
    let root_files = peer.config.tls.iter().flat_map(|tls| &tls.server.root_cas);
    let configured_roots = root_files.map(|path| identity::read(path)).collect::<anyhow::Result<_>>()?;
    let ping = peer.config.client_keepalive;
    let config = GossipConfig {
        options: settings.options.clone(),
        endpoint: settings.endpoint.clone().unwrap_or_else(|| me.address.clone()),
        external_endpoint: settings.external_endpoint.clone().unwrap_or_default(),
        tls: me.tls.as_ref().map(|tls| GossipTls {
            client: tls.client.clone(),
            server: tls.server.key_pair().clone(),
            configured_roots,
        }),
        messages: message_limits(&peer.config),
        keepalive: Keepalive { interval: ping.interval, timeout: ping.timeout },
        spreading: match peer.config.delivery_client.block_gossip_enabled {
            true => Spreading::Spread,
            false => Spreading::Keep,
        },
    };
    let parts = GossipParts {
        ledgers: Arc::clone(&peer.ledgers),
        local_msp: Arc::clone(&me.local_msp),
        signer: me.signer.clone(),
        metrics: peer.node.metrics.clone(),
        tasks: peer.tasks.gossip.clone(),
    };
    Ok(Gossip::start(config, parts))
}

/// Blocks of other peers on their way to a channel's committer, which takes those of the orderers beside them.
pub(super) struct OthersBlocks {
    pub(super) gossip: Gossip,
    pub(super) ledger: Arc<Ledger>,
    pub(super) received: mpsc::Receiver<ReceivedBlock>,
    pub(super) blocks: mpsc::Sender<PulledBlock>,
}

/// What was handed to the committer.
struct HandedOver {
    /// One for all blocks since the last that was refused: with that one, all behind it count as refused.
    origin: BlockOrigin,
    /// Who had sent what is not committed yet. The machine of gossip says how many those may be.
    senders: VecDeque<(u64, PkiId)>,
    /// The block that is to be next.
    next: u64,
}

impl OthersBlocks {
    /// Hands blocks over, in order, until there are none to come; a refused one is fetched again from somebody else.
    pub(super) async fn hand_over(mut self) -> Result<(), Infallible> {
        let mut handed = HandedOver::from(self.ledger.height());
        loop {
            tokio::select! {
                biased;
                refused = handed.origin.refused() => self.refused(&mut handed, refused.get()).await,
                received = self.received.recv() => match received {
                    None => return Ok(()),
                    Some(received) => self.take(&mut handed, received).await,
                },
            }
        }
    }

    async fn take(&self, handed: &mut HandedOver, received: ReceivedBlock) {
        let height = self.ledger.height();
        handed.next = handed.next.max(height);
        handed.senders.retain(|(number, _)| *number >= height);
        let ReceivedBlock { number, block, private_data, from } = received;
        if number != handed.next {
            // Known from an orderer meanwhile, or behind one that was refused: it comes again.
            return;
        }
        handed.senders.push_back((number, from));
        let block = match Block::parse(block) {
            Ok(block) if block.number().get() == number => block,
            Ok(_) | Err(_) => return self.refused(handed, number).await,
        };
        handed.next += 1;
        let pulled = handed.origin.pulled(block).with_private_data(private_data);
        tokio::select! {
            // When the committer has ended, so do the tasks of the channel.
            _ = self.blocks.send(pulled) => {}
            refused = handed.origin.refused() => self.refused(handed, refused.get()).await,
        }
    }

    async fn refused(&self, handed: &mut HandedOver, number: u64) {
        let sender = handed.senders.iter().find(|(sent, _)| *sent == number).map(|(_, from)| from.clone());
        *handed = HandedOver::from(number);
        if let Some(from) = sender {
            self.gossip.refuse_block(self.ledger.channel_id(), number, &from).await;
        }
    }
}

impl HandedOver {
    /// Nothing yet; the next block is this one.
    fn from(next: u64) -> Self {
        Self { origin: BlockOrigin::new("other peers"), senders: VecDeque::new(), next }
    }
}
