//! One authenticated stream to another peer: what waits to be sent on it, and what was said on it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream as Sequence;
use parking_lot::Mutex;
use ripstop_gossip::{Contact, PkiId, SignedMessage};
use ripstop_proto::gossip::Envelope;
use ripstop_types::ChannelId;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use crate::metrics::GossipMetrics;

/// How many private messages of one peer may be worked on at once. A peer that sends more is told to wait.
const PRIVATE_AT_ONCE: usize = 32;
/// How many requests for blocks of one peer are answered at once. More are dropped: the peer asks again.
const SERVED_AT_ONCE: usize = 1;

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

/// No outbox is larger, whatever the configuration says.
const MAX_OUTBOX: usize = 100_000;

/// The messages of an outbox as they leave, and at the end what the other side is told.
pub struct Leaving {
    first: Option<Envelope>,
    waiting: mpsc::Receiver<Envelope>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    status: Arc<OnceLock<Status>>,
    metrics: GossipMetrics,
    has_ended: bool,
}

impl Leaving {
    /// A client cannot tell its server why it hangs up.
    pub(crate) const fn without_status(self) -> LeavingMessages {
        LeavingMessages(self)
    }
}

impl Sequence for Leaving {
    type Item = Result<Envelope, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = match self.first.take() {
            Some(first) => Some(first),
            None if self.closed.as_mut().poll(cx).is_ready() => None,
            None => ready!(self.waiting.poll_recv(cx)),
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

    /// Room for one more private message.
    pub(crate) fn private(&self) -> &Arc<Semaphore> {
        &self.0.private
    }

    /// Room for one more request for blocks.
    pub(crate) fn served(&self) -> &Arc<Semaphore> {
        &self.0.served
    }
}

/// All streams: one for each peer.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<BTreeMap<PkiId, Stream>>);

/// Who opened a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opener {
    /// The other peer.
    They,
    /// This one.
    We,
}

/// How many streams there may be. More that others open are refused.
const MAX_STREAMS: usize = 20_000;

impl Streams {
    /// Takes a stream up. One that the other peer opened replaces the one before; one that this peer opened gives way to
    /// one that came up meanwhile, as on Fabric's peers. `false`: it is closed.
    pub(crate) fn admit(&self, stream: &Stream, opener: Opener) -> bool {
        let mut streams = self.0.lock();
        let id = &stream.contact().pki_id;
        let admitted = match (streams.get(id), opener) {
            (Some(_), Opener::We) => false,
            (Some(before), Opener::They) => {
                before.outbox().close();
                true
            }
            (None, _) => streams.len() < MAX_STREAMS,
        };
        if admitted {
            streams.insert(id.clone(), stream.clone());
        } else {
            stream.outbox().close();
        }
        admitted
    }

    pub(crate) fn get(&self, peer: &PkiId) -> Option<Stream> {
        self.0.lock().get(peer).cloned()
    }

    /// Closes the stream of a peer.
    pub(crate) fn close(&self, peer: &PkiId) {
        if let Some(stream) = self.0.lock().get(peer) {
            stream.outbox().close();
        }
    }

    /// Forgets a stream that ended. `true` when its peer has none now.
    pub(crate) fn forget(&self, ended: &Stream) -> bool {
        let mut streams = self.0.lock();
        let id = &ended.contact().pki_id;
        ended.outbox().close();
        let is_last = streams.get(id).is_some_and(|stream| stream.is(ended));
        if is_last {
            streams.remove(id);
        }
        is_last
    }

    /// Closes all.
    pub(crate) fn close_all(&self) {
        self.0.lock().values().for_each(|stream| stream.outbox().close());
    }
}
