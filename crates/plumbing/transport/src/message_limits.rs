use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use crate::frames::MessageScanner;
use crate::gate::{ReceiveGate, Waiting};

/// How large gRPC messages may be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimits {
    /// Of those that are taken.
    pub receive: usize,
    /// Of those that are sent.
    pub send: usize,
}

impl Default for MessageLimits {
    /// [`crate::MAX_MESSAGE_SIZE`] in both directions.
    fn default() -> Self {
        Self { receive: crate::MAX_MESSAGE_SIZE, send: crate::MAX_MESSAGE_SIZE }
    }
}

impl MessageLimits {
    /// These or the default, whichever lets more through: for a client whose servers send what Fabric's clients take,
    /// which know no other limit than the default.
    pub fn or_default(self) -> Self {
        let default = Self::default();
        Self { receive: self.receive.max(default.receive), send: self.send.max(default.send) }
    }
}

/// A body that ends with Go's refusal where a message in it is too large.
pub(crate) struct Limited<B> {
    body: B,
    scanner: MessageScanner,
    limit: usize,
    direction: Direction,
    ended: bool,
    has_begun: bool,
    /// What the service lets in, and what has to be waited for before the rest of a large message.
    gate: Option<ReceiveGate>,
    waiting: Waiting,
}

/// Whose messages a body holds.
#[derive(Clone, Copy)]
enum Direction {
    Received,
    Sent,
}

impl<B> Limited<B> {
    /// A request's body.
    pub(crate) fn received(body: B, limit: usize) -> Self {
        let (scanner, waiting) = (MessageScanner::new(), Waiting::default());
        let direction = Direction::Received;
        Self { body, scanner, limit, direction, ended: false, has_begun: false, gate: None, waiting }
    }

    /// A body of which a gate lets in what it likes.
    pub(crate) fn gated(body: B, limit: usize, gate: ReceiveGate) -> Self {
        Self { gate: Some(gate), ..Self::received(body, limit) }
    }

    /// A response's body.
    pub(crate) fn sent(body: B, limit: usize) -> Self {
        Self { direction: Direction::Sent, ..Self::received(body, limit) }
    }

    /// The refusal of a piece of the body, in Go's words.
    fn refusal(&mut self, piece: &[u8]) -> Option<Status> {
        let mut limit = match &self.gate {
            Some(gate) if !self.has_begun => gate.most_of_first().min(self.limit),
            _ => self.limit,
        };
        let (mut too_large, mut last) = (None, None);
        self.scanner.scan(piece, |length| {
            last = Some(length);
            if length > limit {
                too_large.get_or_insert((length, limit));
            }
            limit = self.limit;
        });
        self.has_begun |= last.is_some();
        if let Some(gate) = &self.gate {
            self.waiting.note(gate, last, self.scanner.position());
        }
        let verb = match self.direction {
            Direction::Received => "received message",
            Direction::Sent => "trying to send message",
        };
        too_large.map(|(length, limit)| {
            Status::resource_exhausted(format!("grpc: {verb} larger than max ({length} vs. {limit})"))
        })
    }
}

impl<B> Body for Limited<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Err(refusal) = ready!(self.waiting.poll(cx)) {
            self.ended = true;
            return Poll::Ready(Some(Err(refusal)));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
            None => return Poll::Ready(None),
        };
        let Some(refusal) = frame.data_ref().and_then(|piece| self.refusal(piece)) else {
            return Poll::Ready(Some(Ok(frame)));
        };
        self.ended = true;
        match self.direction {
            Direction::Received => Poll::Ready(Some(Err(refusal))),
            Direction::Sent => {
                let mut trailers = http::HeaderMap::new();
                // It fails for texts that are no header, and this one is.
                refusal.add_header(&mut trailers).ok();
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
