use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message;
use ripstop_gossip::PrivatePayload;
use ripstop_gossip_service::PrivateIncoming;
use ripstop_sharing::FairQueue;
use ripstop_types::BlockNumber;
use tokio::sync::{Notify, mpsc};

use crate::ChannelPrivateData;
use crate::channel::Inner;
use crate::receive::{Incoming, receive};

/// How many sets that other peers sent are kept with one synchronisation.
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

    async fn listen(&self, incoming: mpsc::Receiver<PrivateIncoming>) {
        let (waiting, arrived) = (Mutex::default(), Notify::new());
        tokio::select! {
            () = self.sort(incoming, &waiting, &arrived) => {}
            () = self.keep(&waiting, &arrived) => {}
        }
    }

    /// Takes everything at once, so that nobody's messages keep those of others from coming in.
    async fn sort(&self, mut incoming: mpsc::Receiver<PrivateIncoming>, waiting: &Waiting, arrived: &Notify) {
        while let Some(message) = incoming.recv().await {
            match message {
                PrivateIncoming::Data { from, payload, reply } => {
                    let organization = from.organization.clone();
                    let bytes = size(&payload);
                    let refused = waiting.lock().push(&organization, bytes, (from, payload, reply)).err();
                    match refused {
                        None => arrived.notify_one(),
                        // The sender may be gone.
                        Some((_, _, reply)) => {
                            drop(reply.send(Err(format!("too much private data of {organization} waits"))));
                        }
                    }
                }
                request => Arc::clone(&self.inner).answer(request),
            }
        }
    }

    async fn keep(&self, waiting: &Waiting, arrived: &Notify) {
        loop {
            let batch = waiting.lock().take(PRIVATE_BATCH);
            if batch.is_empty() {
                arrived.notified().await;
            } else {
                receive(&self.inner, batch).await;
            }
        }
    }
}

/// What a message takes of the memory while it waits, in bytes.
fn size(payload: &PrivatePayload) -> usize {
    // Definitions are rarely sent, and small when they are; in memory they are several times as large as on the wire.
    let definitions = payload.collection_configs.as_ref().map_or(0, |package| 8 * package.encoded_len());
    payload.writes.len() + definitions
}

/// Private data that is to be kept.
type Waiting = Mutex<FairQueue<Incoming>>;

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
