//! Blocks for peers that lag behind.

use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::{Content, Message, SignedMessage, StatePayload, Tag};
use ripstop_types::ChannelId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::PrivateIncoming;
use crate::channel::read_block;
use crate::router::Inside;
use crate::stream::Stream;

/// How long it may take to find out which private data may go with a block. Without an answer none do.
const PRIVATE_PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer may wait for room in the stream.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request for blocks that is being answered.
pub(crate) struct Serving {
    pub(crate) channel: ChannelId,
    pub(crate) inside: Inside,
    pub(crate) stream: Stream,
    pub(crate) nonce: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// How large the answer may be, in bytes.
    pub(crate) limit: usize,
    /// The peer's room for such a request.
    pub(crate) _room: OwnedSemaphorePermit,
}

impl Serving {
    /// Sends the blocks, in one message; fewer where all are too much for it. The other peer asks for the rest again.
    pub(crate) async fn serve(self) {
        let (mut payloads, mut size) = (Vec::new(), 0);
        for number in self.start..=self.end {
            let block = match read_block(&self.inside.ledger, number).await {
                Ok(block) => block,
                Err(why) => {
                    tracing::warn!(target: "gossip.state", "Could not read block number {number} from ledger {}, because {why}", self.channel);
                    break;
                }
            };
            let private_data = self.private_data(number).await;
            size += block.len() + private_data.iter().map(Bytes::len).sum::<usize>();
            if size > self.limit && !payloads.is_empty() {
                break;
            }
            payloads.push(StatePayload { number, block, private_data });
        }
        let content = Content::StateResponse(payloads);
        let channel = Some(self.channel.clone());
        let message = Message { nonce: self.nonce, channel, tag: Tag::ChannelOrOrganization, content };
        if self.stream.outbox().send(&SignedMessage::unsigned(message), PATIENCE).await.is_err() {
            tracing::debug!(target: "gossip.state", "{:?} does not take the blocks [{}...{}] that it asked for", self.stream.contact(), self.start, self.end);
        }
    }

    async fn private_data(&self, block: u64) -> Vec<Bytes> {
        let (reply, replied) = oneshot::channel();
        let from = self.stream.contact().clone();
        match self.inside.private.try_send(PrivateIncoming::ForBlock { from, block, reply }) {
            Ok(()) => {
                tokio::time::timeout(PRIVATE_PATIENCE, replied).await.ok().and_then(Result::ok).unwrap_or_default()
            }
            Err(_) => Vec::new(),
        }
    }
}
