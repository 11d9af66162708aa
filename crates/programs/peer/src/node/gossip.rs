//! The peer among other peers.

use std::collections::VecDeque;
use std::sync::Arc;

use ripstop_deliver::{BlockOrigin, PulledBlock};
use ripstop_gossip::PkiId;
use ripstop_gossip_service::{Gossip, GossipConfig, GossipParts, GossipService, GossipTls, ReceivedBlock, Spreading};
use ripstop_transport::Keepalive;
use ripstop_types::{Block, ChannelId};
use tokio::sync::{mpsc, watch};

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
    pub(super) channel: ChannelId,
    /// The heights of the channel's ledger.
    pub(super) heights: watch::Receiver<u64>,
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
    pub(super) async fn hand_over(mut self) {
        let mut handed = HandedOver::from(*self.heights.borrow());
        loop {
            tokio::select! {
                biased;
                refused = handed.origin.refused() => self.refused(&mut handed, refused.get()).await,
                received = self.received.recv() => match received {
                    None => return,
                    Some(received) => self.take(&mut handed, received).await,
                },
            }
        }
    }

    async fn take(&self, handed: &mut HandedOver, received: ReceivedBlock) {
        let height = *self.heights.borrow();
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
            self.gossip.refuse_block(&self.channel, number, &from).await;
        }
    }
}

impl HandedOver {
    /// Nothing yet; the next block is this one.
    fn from(next: u64) -> Self {
        Self { origin: BlockOrigin::new("other peers"), senders: VecDeque::new(), next }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ripstop_proto::{Message, common};

    use super::*;

    fn received(number: u64, from: &'static str) -> ReceivedBlock {
        let header = common::BlockHeader { number, ..Default::default() };
        let block = common::Block {
            header: Some(header),
            data: Some(common::BlockData::default()),
            metadata: Some(common::BlockMetadata { metadata: vec![Bytes::new(); 5] }),
        };
        let from = PkiId::claimed(Bytes::from_static(from.as_bytes()));
        ReceivedBlock { number, block: block.encode_to_vec().into(), private_data: Vec::new(), from }
    }

    #[tokio::test]
    async fn what_came_behind_a_refused_block_comes_again() {
        let (door, received_blocks) = mpsc::channel(16);
        let (blocks, mut committer) = mpsc::channel(16);
        let (height, heights) = watch::channel(1);
        let channel = ChannelId::new("mychannel").unwrap();
        let others = OthersBlocks { gossip: Gossip::alone(), channel, heights, received: received_blocks, blocks };
        let handing_over = tokio::spawn(others.hand_over());
        for number in [1, 2, 3] {
            door.send(received(number, "bad")).await.unwrap();
        }
        let [first, second, third] =
            [committer.recv().await.unwrap(), committer.recv().await.unwrap(), committer.recv().await.unwrap()];
        assert_eq!([&first, &second, &third].map(|pulled| pulled.block.number().get()), [1, 2, 3]);
        height.send_replace(2);
        second.refuse();
        assert!(third.is_refused(), "it stood on the refused one");
        // Block 4 was under way; then all of them come again, and one that is no block among them.
        let no_block = ReceivedBlock { block: Bytes::from_static(b"\xff"), ..received(3, "bad") };
        for block in [received(4, "bad"), received(2, "good"), no_block, received(4, "good"), received(3, "good")] {
            door.send(block).await.unwrap();
        }
        drop(door);
        let mut again = Vec::new();
        while let Some(pulled) = committer.recv().await {
            assert!(!pulled.is_refused());
            again.push(pulled.block.number().get());
        }
        assert_eq!(again, [2, 3]);
        handing_over.await.unwrap();
    }
}
