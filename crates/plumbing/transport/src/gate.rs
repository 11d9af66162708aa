use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::Status;
use tonic::client::GrpcService;
use tonic::transport::Channel;

use crate::frames::Position;
use crate::message_limits::Limited;

/// Messages up to this size, in bytes, are let in without waiting for a share.
const SMALL: usize = 1 << 20;
/// Shares are counted in pieces of so many bytes.
const PIECE: usize = 1 << 10;

/// What a service lets in of the messages that the other side sends on one stream. The service finds it among the extensions
/// of the request ([`ReceiveGate::of`]), or made it for a channel ([`ReceiveGate::around`]). Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct ReceiveGate(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    first: AtomicUsize,
    share: OnceLock<ReceiveShare>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { first: AtomicUsize::new(usize::MAX), share: OnceLock::new() }
    }
}

/// How many bytes of large messages may be on their way at once, over all streams that share it. Further ones wait in the other
/// side's hands. Clones are the same share.
#[derive(Debug, Clone)]
pub struct ReceiveShare {
    pieces: Arc<Semaphore>,
    all: usize,
}

impl ReceiveGate {
    /// That of a request which came through [`crate::serve_grpc`].
    pub fn of<T>(request: &tonic::Request<T>) -> Option<&Self> {
        request.extensions().get()
    }

    /// Puts this gate before the answers of a channel.
    pub fn around(
        &self,
        channel: Channel,
    ) -> impl GrpcService<
        tonic::body::Body,
        ResponseBody = tonic::body::Body,
        Error = tonic::transport::Error,
        Future: Send,
    > + Clone
    + Send
    + use<> {
        let gate = self.clone();
        tower::util::MapResponse::new(channel, move |response: http::Response<tonic::body::Body>| {
            response.map(|body| tonic::body::Body::new(Limited::gated(body, usize::MAX, gate)))
        })
    }

    /// The first message of a stream may have so many bytes at most. To be said before anything of it is read.
    pub fn limit_first(&self, bytes: usize) {
        self.0.first.store(bytes, Ordering::Relaxed);
    }

    /// Large messages that begin from now on have to find room in this share. The first share that is named counts.
    pub fn share(&self, share: ReceiveShare) {
        self.0.share.set(share).ok();
    }

    pub(crate) fn most_of_first(&self) -> usize {
        self.0.first.load(Ordering::Relaxed)
    }
}

impl ReceiveShare {
    /// Of so many bytes. A message that is larger waits until no other one is on its way.
    pub fn new(bytes: usize) -> Self {
        let all = (bytes / PIECE).clamp(1, u32::MAX as usize);
        Self { pieces: Arc::new(Semaphore::new(all)), all }
    }

    async fn take(self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = bytes.div_ceil(PIECE).min(self.all);
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        // It is never closed.
        self.pieces.acquire_many_owned(pieces).await.ok()
    }
}

/// How long a large message may take from its first byte to its last one. Who takes longer loses the stream, and the room.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the rest of a large message waits for.
#[derive(Default)]
pub(crate) struct Waiting {
    until: Option<Pin<Box<Sleep>>>,
    wanted: Option<Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>>,
    held: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Waiting {
    /// A piece of the body came. `begun` is the length of the last message that began in it.
    pub(crate) fn note(&mut self, gate: &ReceiveGate, begun: Option<usize>, now: Position) {
        if now == Position::Between || begun.is_some() {
            (self.held, self.until) = (None, None);
        }
        let large = begun.filter(|length| *length > SMALL && now == Position::Within);
        if let (Some(length), Some(share)) = (large, gate.0.share.get()) {
            self.wanted = Some(Box::pin(share.clone().take(length)));
            self.until = Some(Box::pin(tokio::time::sleep(PATIENCE)));
        }
    }

    /// Completes when the next piece may come.
    ///
    /// # Errors
    /// The message is not complete, and took too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            *self = Self::default();
            return Poll::Ready(Err(Status::deadline_exceeded("a large message took too long to arrive")));
        }
        if let Some(wanted) = &mut self.wanted {
            self.held = std::task::ready!(wanted.as_mut().poll(cx));
            self.wanted = None;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Position::{Between, Within};

    async fn poll(waiting: &mut Waiting) -> Result<(), Status> {
        std::future::poll_fn(|cx| waiting.poll(cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_finish_a_large_message_loses_its_stream_and_the_room_it_has() {
        let (gate, share) = (ReceiveGate::default(), ReceiveShare::new(3 << 20));
        gate.share(share.clone());
        let [mut slow, mut next] = [Waiting::default(), Waiting::default()];
        slow.note(&gate, Some(2 << 20), Within);
        poll(&mut slow).await.unwrap();
        next.note(&gate, Some(2 << 20), Within);
        tokio::select! {
            biased;
            _ = poll(&mut next) => panic!("there is no room for it"),
            () = tokio::time::sleep(PATIENCE / 2) => {}
        }
        tokio::time::sleep(PATIENCE / 2).await;
        assert!(poll(&mut slow).await.is_err());
        // It began before the room was free, and its time is over too; small ones, and what is complete, wait for nothing.
        assert!(poll(&mut next).await.is_err());
        assert_eq!(share.pieces.available_permits(), 3 << 10);
        for (begun, place) in [(Some(SMALL), Within), (Some(5 << 20), Between), (None, Within)] {
            next.note(&gate, begun, place);
            poll(&mut next).await.unwrap();
            assert_eq!(share.pieces.available_permits(), 3 << 10);
        }
        next.note(&gate, Some(50 << 20), Within);
        poll(&mut next).await.unwrap();
        assert_eq!(share.pieces.available_permits(), 0);
        next.note(&gate, None, Between);
        assert_eq!(share.pieces.available_permits(), 3 << 10);
    }
}
