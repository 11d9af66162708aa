use std::sync::Arc;

use ripstop_gossip_service::PrivateIncoming;
use ripstop_types::BlockNumber;
use tokio::sync::mpsc;

use crate::ChannelPrivateData;
use crate::channel::Inner;
use crate::receive::{Received, receive};

/// How many messages are taken at once, and kept with one synchronisation.
pub const PRIVATE_BATCH: usize = 64;

impl ChannelPrivateData {
    /// Keeps what other peers send, answers them, and looks for what is missed, until nothing comes in any more. Dropping it
    /// loses nothing that was acknowledged.
    pub async fn run(self, incoming: mpsc::Receiver<PrivateIncoming>) {
        let reconciling = async {
            match self.config().reconciliation {
                Some(settings) => self.reconcile_forever(settings).await,
                None => {
                    tracing::debug!(target: "gossip.privdata", channel = self.inner.channel(), "Private data reconciliation has been disabled");
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            () = self.listen(incoming) => {}
            () = reconciling => {}
        }
    }

    async fn listen(&self, mut incoming: mpsc::Receiver<PrivateIncoming>) {
        let mut batch = Vec::with_capacity(PRIVATE_BATCH);
        while incoming.recv_many(&mut batch, PRIVATE_BATCH).await > 0 {
            let mut data: Vec<Received> = Vec::new();
            for message in batch.drain(..) {
                match message {
                    PrivateIncoming::Data { from, payload, reply } => data.push((from, payload, reply)),
                    request => Arc::clone(&self.inner).answer(request),
                }
            }
            receive(&self.inner, data).await;
        }
    }
}

impl Inner {
    /// Answers a request in its own task. When too many of the same organization wait it is dropped: nothing is answered.
    fn answer(self: Arc<Self>, request: PrivateIncoming) {
        let from = match &request {
            PrivateIncoming::Data { from, .. }
            | PrivateIncoming::Request { from, .. }
            | PrivateIncoming::ForBlock { from, .. } => from,
        };
        let Some(admitted) = self.serving.admit(&from.organization) else {
            tracing::debug!(target: "gossip.privdata", channel = self.channel(), "too many requests of {} wait: {request:?} is not answered", from.organization);
            return;
        };
        tokio::spawn(async move {
            let turn = admitted.turn().await;
            let answered = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                self.answer_now(request);
            });
            if let Err(error) = answered.await {
                tracing::error!(target: "gossip.privdata", "answering a request for private data panicked: {error}");
            }
        });
    }

    fn answer_now(&self, request: PrivateIncoming) {
        // Whoever asked may be gone.
        let sent = match request {
            PrivateIncoming::Data { .. } => Ok(()),
            PrivateIncoming::Request { from, digests, reply } => {
                self.serve(&from, digests).map(|elements| drop(reply.send(elements)))
            }
            PrivateIncoming::ForBlock { from, block, reply } => {
                self.along(&from, BlockNumber::new(block)).map(|payloads| drop(reply.send(payloads)))
            }
        };
        if let Err(error) = sent {
            tracing::error!(target: "gossip.privdata", channel = self.channel(), "could not obtain private collection rwset: {error}");
        }
    }
}
