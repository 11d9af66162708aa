//! The life of a stream: handshake, then what the other peer says, until one of both ends it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::handshake::{HandshakeRefusal, Purpose, judge};
use ripstop_gossip::{Contact, Culprit, Endpoint, SignedMessage};
use ripstop_proto::gossip::Envelope;
use ripstop_transport::PeerInfo;
use tokio::sync::{Semaphore, mpsc};
use tonic::Streaming;

use crate::clock::Clock;
use crate::event::{Event, Events};
use crate::metrics::GossipMetrics;
use crate::router::Router;
use crate::stream::{Outbox, Stream, Streams};

const LOG: &str = "gossip.comm";

/// The largest first message of a stream, in bytes: a handshake holds one identity.
pub(crate) const MAX_HANDSHAKE: usize = 64 << 10;

/// No more received messages wait on a stream, whatever the configuration says.
const MAX_INBOX: usize = 1_000;

/// What all conversations share.
pub(crate) struct Conversations {
    pub(crate) streams: Streams,
    pub(crate) router: Router,
    pub(crate) events: Events,
    pub(crate) metrics: GossipMetrics,
    pub(crate) clock: Clock,
    /// How long the other peer may take to say who it is.
    pub(crate) patience: Duration,
    /// How many received messages may wait on a stream.
    pub(crate) inbox: usize,
    pub(crate) security: Security,
}

/// Whether streams are bound to TLS connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    Tls,
    /// Nothing binds a peer to its stream.
    Plain,
}

/// Why a stream did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotEstablished {
    /// Nothing came in time.
    #[error("timed out waiting for connection message from {0}")]
    Silent(String),
    /// The stream broke.
    #[error("the stream ended before the handshake: {0}")]
    Broken(String),
    /// What came is no message.
    #[error(transparent)]
    Malformed(#[from] ripstop_gossip::Malformed),
    /// The other peer is not believed.
    #[error(transparent)]
    Refused(#[from] HandshakeRefusal),
}

impl Conversations {
    /// Waits for the other peer's handshake and judges it.
    pub(crate) async fn establish(
        &self,
        incoming: &mut Streaming<Envelope>,
        peer: &PeerInfo,
    ) -> Result<(Contact, Purpose), NotEstablished> {
        let address = peer.address().to_string();
        let first = match tokio::time::timeout(self.patience, incoming.message()).await {
            Err(_) => return Err(NotEstablished::Silent(address)),
            Ok(Err(status)) => return Err(NotEstablished::Broken(status.message().to_owned())),
            Ok(Ok(None)) => return Err(NotEstablished::Broken("the other side hung up".to_owned())),
            Ok(Ok(Some(envelope))) => SignedMessage::parse(envelope)?,
        };
        let shown = match self.security {
            Security::Tls => Some(peer.certificate_hash().map(|hash| hash.to_bytes()).unwrap_or_default()),
            Security::Plain => None,
        };
        let judged = judge(&self.router.trust, self.clock.now(), &first, shown.as_ref().map(Bytes::as_ref));
        judged.map_err(|refusal| {
            match &refusal {
                HandshakeRefusal::NoTlsCertificate => {
                    tracing::warn!(target: LOG, "{address} didn't send TLS certificate");
                }
                HandshakeRefusal::Identity(reason) => {
                    tracing::warn!(target: LOG, "Identity store rejected {address} : {reason}");
                }
                HandshakeRefusal::Signature => {
                    tracing::error!(target: LOG, "Failed verifying signature from {address} : {refusal}");
                }
                _ => {}
            }
            refusal.into()
        })
    }

    /// Takes a stream up and tells the loop who is there; `false` when there are too many.
    pub(crate) async fn begin(&self, stream: &Stream, dialled: Option<Endpoint>) -> bool {
        let admitted = self.streams.admit(stream);
        if admitted {
            self.events.push(Event::Connected { contact: stream.contact().clone(), dialled }).await;
        }
        admitted
    }

    /// Talks on a stream that was taken up until it ends.
    pub(crate) async fn talk(self: Arc<Self>, incoming: Streaming<Envelope>, stream: Stream) {
        tokio::select! {
            () = self.listen(incoming, &stream) => {}
            () = stream.outbox().closed() => {}
        }
        if self.streams.forget(&stream) {
            tracing::debug!(target: LOG, "Client {} disconnected", stream.address());
            self.events.push(Event::Ended(stream.contact().pki_id.clone())).await;
        }
    }

    /// Reads until the stream ends. What is for the machine waits for its turn; answers and private messages do not wait
    /// behind it.
    async fn listen(&self, mut incoming: Streaming<Envelope>, stream: &Stream) {
        let share = &*self.events.share_of(&stream.contact().organization);
        let (inbox, mut waiting) = mpsc::channel(self.inbox.clamp(1, MAX_INBOX));
        let reading = async move {
            let mut dropped = 0_u64;
            loop {
                let message = match incoming.message().await {
                    Ok(Some(envelope)) => SignedMessage::parse(envelope),
                    Ok(None) => return,
                    Err(status) => {
                        tracing::debug!(target: LOG, "Got error, aborting: {}", status.message());
                        return;
                    }
                };
                self.metrics.received.inc();
                let message = match message {
                    Ok(message) => message,
                    // Whoever passes it on is not to blame, and others wait for what else comes from there.
                    Err(error) if error.culprit == Culprit::Author => {
                        dropped += 1;
                        // However many there are, few of them are in the log.
                        if dropped.is_power_of_two() {
                            tracing::warn!(target: LOG, "Dropped {dropped} messages that came from {}: {error}", stream.address());
                        }
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(target: LOG, "Got error from {}, aborting: {error}", stream.address());
                        return;
                    }
                };
                if let Some(message) = self.router.route(stream, message)
                    && let Some(weight) = share.weigh(&message).await
                    && inbox.send((message, weight)).await.is_err()
                {
                    return;
                }
            }
        };
        let turns = Arc::new(Semaphore::new(1));
        let passing_on = async {
            while let Some(message) = waiting.recv().await {
                self.events.received((&stream.contact().pki_id, share), message, &turns).await;
            }
        };
        tokio::join!(reading, passing_on);
    }

    /// Ends a stream that did not come up.
    pub(crate) fn turn_away(&self, outbox: &Outbox, address: &str, why: &NotEstablished) {
        tracing::warn!(target: LOG, "Authentication failed: {why} ({address})");
        outbox.refuse(tonic::Status::unknown(why.to_string()));
    }

    /// Runs a task until it ends or gossip does.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.router.tasks.spawn_droppable(name, task);
    }
}
