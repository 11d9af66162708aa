use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ripstop_gossip::{Content, PkiId, PrivateDigest, PrivateElement, PrivatePayload, View};
use ripstop_gossip_service::{AcknowledgeError, AskError, Gossip};
use ripstop_types::ChannelId;
use tokio::sync::watch;

/// The other peers, as the sharing of private data sees them: gossip, or a network in memory.
///
/// Nothing here says who may have what: callers have asked before. What comes back is unverified.
pub trait Neighbours: Send + Sync + 'static {
    /// Who is there, as it changes.
    fn views(&self) -> watch::Receiver<Arc<View>>;

    /// Gives a peer private data, and waits until it says that it keeps them.
    fn give<'a>(
        &'a self,
        to: &'a PkiId,
        channel: &'a ChannelId,
        payload: PrivatePayload,
        patience: Duration,
    ) -> BoxFuture<'a, Result<(), AcknowledgeError>>;

    /// Asks a peer for private data.
    fn ask<'a>(
        &'a self,
        to: &'a PkiId,
        channel: &'a ChannelId,
        digests: Vec<PrivateDigest>,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Vec<PrivateElement>, AskError>>;
}

impl Neighbours for Gossip {
    fn views(&self) -> watch::Receiver<Arc<View>> {
        Self::views(self)
    }

    fn give<'a>(
        &'a self,
        to: &'a PkiId,
        channel: &'a ChannelId,
        payload: PrivatePayload,
        patience: Duration,
    ) -> BoxFuture<'a, Result<(), AcknowledgeError>> {
        self.send_acknowledged(to, channel, Content::PrivateData(payload), patience).boxed()
    }

    fn ask<'a>(
        &'a self,
        to: &'a PkiId,
        channel: &'a ChannelId,
        digests: Vec<PrivateDigest>,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Vec<PrivateElement>, AskError>> {
        let answer = Self::ask(self, to, channel, Content::PrivateRequest(digests), patience);
        answer
            .map(|answer| match answer? {
                Content::PrivateResponse(elements) => Ok(elements),
                // Whoever answers something else has nothing to give.
                _ => Ok(Vec::new()),
            })
            .boxed()
    }
}
