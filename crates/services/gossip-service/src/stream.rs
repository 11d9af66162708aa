//! One authenticated stream to another peer: what waits to be sent on it, and what was said on it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream as Sequence;
use parking_lot::Mutex;
use ripstop_gossip::{Contact, PkiId, SignedMessage};
use ripstop_proto::gossip::Envelope;
use ripstop_transport::Place;
use ripstop_types::{ChannelId, MspId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use crate::metrics::GossipMetrics;

/// No outbox is larger, whatever the configuration says.
const MAX_OUTBOX: usize = 100_000;
/// How many private messages of one peer may be worked on at once. A peer that sends more is told to wait.
const PRIVATE_AT_ONCE: usize = 32;
/// How many requests for blocks of one peer are answered at once. More are dropped: the peer asks again, after a while. One that
/// asks for the next blocks as soon as an answer reaches it may do so before that answer counts as given here.
const SERVED_AT_ONCE: usize = 2;

/// How many peers may have streams. More are refused.
const MAX_PEERS: usize = 20_000;
/// How many of them may be of one organization, which makes as many identities as it likes.
const MAX_PEERS_OF_ONE: usize = 5_000;
/// How many streams a peer may have.
const STREAMS_EACH: usize = 2;

/// A stream. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Stream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    contact: Contact,
    /// The other peer's address, for the log.
    address: String,
    outbox: Outbox,
    /// Whether the peer may read each channel, and under which configuration that was found.
    readers: Mutex<BTreeMap<ChannelId, (u64, bool)>>,
    private: Arc<Semaphore>,
    served: Arc<Semaphore>,
}

/// The sending half of a stream, which is there before it is known who is at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Envelope>,
    closed: CancellationToken,
    /// What the other side is told at the end; nothing when all is well.
    status: Arc<OnceLock<Status>>,
    metrics: GossipMetrics,
}

/// Why a message did not get into an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// The stream is gone.
    Closed,
    /// Too much waits already.
    Overflow,
}

impl Outbox {
    /// An outbox for so many messages, and the messages as they leave, the first one before all others.
    pub(crate) fn new(capacity: usize, first: &SignedMessage, metrics: &GossipMetrics) -> (Self, Leaving) {
        let (queue, waiting) = mpsc::channel(capacity.clamp(1, MAX_OUTBOX));
        let outbox = Self { queue, closed: CancellationToken::new(), status: Arc::default(), metrics: metrics.clone() };
        let leaving = Leaving {
            first: Some(first.envelope().clone()),
            waiting,
            closed: Box::pin(outbox.closed.clone().cancelled_owned()),
            status: Arc::clone(&outbox.status),
            metrics: metrics.clone(),
            has_ended: false,
            _room: None,
        };
        (outbox, leaving)
    }

    /// Hands a message over, or drops it when too much waits.
    pub(crate) fn try_send(&self, message: &SignedMessage) -> Result<(), Undelivered> {
        if self.closed.is_cancelled() {
            return Err(Undelivered::Closed);
        }
        self.queue.try_send(message.envelope().clone()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.metrics.overflows.inc();
                Undelivered::Overflow
            }
            mpsc::error::TrySendError::Closed(_) => Undelivered::Closed,
        })
    }

    /// Hands a message over, waiting for room at most so long.
    pub(crate) async fn send(&self, message: &SignedMessage, patience: Duration) -> Result<(), Undelivered> {
        let sending = self.queue.send_timeout(message.envelope().clone(), patience);
        tokio::select! {
            () = self.closed.cancelled() => Err(Undelivered::Closed),
            sent = sending => sent.map_err(|error| match error {
                mpsc::error::SendTimeoutError::Timeout(_) => Undelivered::Overflow,
                mpsc::error::SendTimeoutError::Closed(_) => Undelivered::Closed,
            }),
        }
    }

    /// Ends the stream.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Ends the stream and tells the other side why.
    pub(crate) fn refuse(&self, status: Status) {
        self.status.set(status).ok();
        self.closed.cancel();
    }

    /// Completes when the stream is to end.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

/// The messages of an outbox as they leave, and at the end what the other side is told.
pub struct Leaving {
    first: Option<Envelope>,
    waiting: mpsc::Receiver<Envelope>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    status: Arc<OnceLock<Status>>,
    metrics: GossipMetrics,
    has_ended: bool,
    /// Counts the stream for as long as there are messages that did not leave.
    _room: Option<Place<SocketAddr>>,
}

impl Leaving {
    /// The same, in a room.
    pub(crate) fn occupying(self, room: Place<SocketAddr>) -> Self {
        Self { _room: Some(room), ..self }
    }

    /// A client cannot tell its server why it hangs up.
    pub(crate) fn without_status(self) -> LeavingMessages {
        LeavingMessages(self)
    }
}

impl Sequence for Leaving {
    type Item = Result<Envelope, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        // As in Fabric, a handshake does not count as a message.
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let next = match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => None,
            Poll::Pending => ready!(self.waiting.poll_recv(cx)),
        };
        if next.is_some() {
            self.metrics.sent.inc();
            return Poll::Ready(next.map(Ok));
        }
        self.has_ended = true;
        Poll::Ready(self.status.get().cloned().map(Err))
    }
}

/// The messages of an outbox as they leave.
pub(crate) struct LeavingMessages(Leaving);

impl Sequence for LeavingMessages {
    type Item = Envelope;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Envelope>> {
        Pin::new(&mut self.0).poll_next(cx).map(|next| next.and_then(Result::ok))
    }
}

impl Stream {
    pub(crate) fn new(contact: Contact, address: String, outbox: Outbox) -> Self {
        Self(Arc::new(Inner {
            contact,
            address,
            outbox,
            readers: Mutex::default(),
            private: Arc::new(Semaphore::new(PRIVATE_AT_ONCE)),
            served: Arc::new(Semaphore::new(SERVED_AT_ONCE)),
        }))
    }

    pub(crate) fn contact(&self) -> &Contact {
        &self.0.contact
    }

    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    /// Whether both are the same stream.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether the peer may read a channel, as it was found under this sequence number of its configuration, or as it is
    /// found now. There are not more channels here than this peer has.
    pub(crate) fn may_read(&self, channel: &ChannelId, sequence: u64, judge: impl FnOnce() -> bool) -> bool {
        if let Some((judged_at, may)) = self.0.readers.lock().get(channel)
            && *judged_at == sequence
        {
            return *may;
        }
        let may = judge();
        self.0.readers.lock().insert(channel.clone(), (sequence, may));
        may
    }

    /// Room for one more private message, until it is dropped.
    pub(crate) fn room_for_private(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.private).try_acquire_owned().ok()
    }

    /// Room for one more request for blocks, until it is dropped.
    pub(crate) fn room_for_blocks(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.served).try_acquire_owned().ok()
    }
}

/// All streams.
///
/// Each peer has one, and for a while a second one: when two peers dial each other at once, or one of them does not know yet
/// that a stream is there, a peer of Fabric closes the one that it does not want, and it is not known which. The newer one is
/// used; when it ends, the older one is. What comes in on either is heard.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    streams: BTreeMap<PkiId, Vec<Stream>>,
    /// How many peers of each organization have any.
    peers: BTreeMap<MspId, usize>,
}

impl Streams {
    /// Takes a stream up; one too many of the same peer ends. `false`: it is closed, because too many peers have streams.
    pub(crate) fn admit(&self, stream: &Stream) -> bool {
        let Open { streams, peers } = &mut *self.0.lock();
        let Contact { pki_id, organization, .. } = stream.contact();
        if !streams.contains_key(pki_id) {
            let of_organization = peers.entry(organization.clone()).or_default();
            if streams.len() >= MAX_PEERS || *of_organization >= MAX_PEERS_OF_ONE {
                stream.outbox().close();
                return false;
            }
            *of_organization += 1;
        }
        let own = streams.entry(pki_id.clone()).or_default();
        own.push(stream.clone());
        if own.len() > STREAMS_EACH {
            own.remove(0).outbox().close();
        }
        true
    }

    /// The stream to a peer.
    pub(crate) fn get(&self, peer: &PkiId) -> Option<Stream> {
        self.0.lock().streams.get(peer)?.last().cloned()
    }

    /// Closes the streams of a peer.
    pub(crate) fn close(&self, peer: &PkiId) {
        if let Some(streams) = self.0.lock().streams.get(peer) {
            streams.iter().for_each(|stream| stream.outbox().close());
        }
    }

    /// Forgets a stream that ended. `true` when its peer has none now.
    pub(crate) fn forget(&self, ended: &Stream) -> bool {
        ended.outbox().close();
        let Open { streams, peers } = &mut *self.0.lock();
        let Contact { pki_id, organization, .. } = ended.contact();
        let Some(own) = streams.get_mut(pki_id) else { return false };
        own.retain(|stream| !stream.is(ended));
        if !own.is_empty() {
            return false;
        }
        streams.remove(pki_id);
        if let Some(of_organization) = peers.get_mut(organization) {
            *of_organization = of_organization.saturating_sub(1);
            if *of_organization == 0 {
                peers.remove(organization);
            }
        }
        true
    }

    /// Closes all.
    pub(crate) fn close_all(&self) {
        self.0.lock().streams.values().flatten().for_each(|stream| stream.outbox().close());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ripstop_gossip::{Content, Message, Tag};
    use ripstop_operations::Metrics;

    use super::*;

    #[test]
    fn an_organisation_of_many_identities_keeps_no_other_out() {
        let metrics = GossipMetrics::new(&Metrics::new());
        let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Empty };
        let hello = SignedMessage::unsigned(message);
        let stream = |organization: &str, number: usize| {
            let contact = Contact {
                pki_id: PkiId::claimed(Bytes::from(format!("{organization}{number}"))),
                identity: Bytes::new(),
                organization: MspId::new(organization),
                handshake: hello.clone(),
            };
            Stream::new(contact, String::new(), Outbox::new(1, &hello, &metrics).0)
        };
        let streams = Streams::default();
        let many: Vec<_> = (0..MAX_PEERS_OF_ONE).map(|number| stream("Many", number)).collect();
        assert!(many.iter().all(|stream| streams.admit(stream)));
        let refused = stream("Many", MAX_PEERS_OF_ONE);
        assert!(!streams.admit(&refused) && refused.outbox().closed.is_cancelled());
        assert!(!streams.forget(&refused), "it was not there");
        // A second stream of a known peer, and a peer of another organization, find room.
        let second = stream("Many", 0);
        assert!(streams.admit(&second) && streams.admit(&stream("Few", 0)));
        assert!(!streams.forget(&second) && streams.forget(&many[0]));
        assert!(streams.admit(&stream("Many", MAX_PEERS_OF_ONE)));
    }
}
