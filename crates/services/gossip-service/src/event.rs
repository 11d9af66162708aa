use std::sync::Arc;

use ripstop_gossip::{ChannelInput, Contact, Endpoint, PkiId, SignedMessage};
use ripstop_types::ChannelId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How many things that happened may wait for the loop. When it is full those wait to whom they happened: a stream reads no
/// further, and each gets its turn.
pub(crate) const EVENT_QUEUE: usize = 256;
/// How many bytes of messages may wait for the loop. A larger message waits until nothing else does.
const WAITING_BYTES: usize = 256 << 20;

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A stream came up.
    Connected {
        contact: Contact,
        /// Where it was dialled, if it was.
        dialled: Option<Endpoint>,
    },
    /// Dialling came to its end.
    Dialled(DialEnd),
    /// A stream said something.
    Received {
        from: PkiId,
        message: SignedMessage,
        /// The stream's turn, and its share of what may wait, until the message is handled.
        _turn: [OwnedSemaphorePermit; 2],
    },
    /// The stream of a peer ended, and there is no other one.
    Ended(PkiId),
    /// A message is to be sent for which there was no stream.
    Send { to: PkiId, endpoint: Endpoint, message: SignedMessage },
    /// A channel's ledger or configuration changed.
    Channel(ChannelId, ChannelInput),
    /// A channel's configuration changed who is trusted.
    TrustChanged,
    /// A block that came through the door was refused.
    Refused { channel: ChannelId, number: u64, from: PkiId },
}

/// How dialling ended.
#[derive(Debug)]
pub(crate) struct DialEnd {
    pub(crate) endpoint: Endpoint,
    /// Whom it was to reach, if that was known.
    pub(crate) wanted: Option<PkiId>,
    /// Who is there, or why nobody was reached.
    pub(crate) reached: Result<Contact, String>,
}

/// The way of events to the loop. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<Event>,
    bytes: Arc<Semaphore>,
}

impl Events {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Event>) {
        let (queue, events) = mpsc::channel(EVENT_QUEUE);
        (Self { queue, bytes: Arc::new(Semaphore::new(WAITING_BYTES)) }, events)
    }

    /// Waits until there is room. Nothing happens when the loop has ended.
    pub(crate) async fn push(&self, event: Event) {
        self.queue.send(event).await.ok();
    }

    /// Gives the event back when there is no room.
    pub(crate) fn try_push(&self, event: Event) -> Result<(), Event> {
        self.queue.try_send(event).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Passes on what a stream said, when it is the stream's turn: only one message of a stream waits for the loop, so that
    /// a loud peer waits as long as a quiet one.
    pub(crate) async fn received(&self, from: &PkiId, message: SignedMessage, turns: &Arc<Semaphore>) {
        let size = message.envelope().payload.len().min(WAITING_BYTES);
        let Ok(turn) = Arc::clone(turns).acquire_owned().await else { return };
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let Ok(bytes) = Arc::clone(&self.bytes).acquire_many_owned(size).await else { return };
        self.push(Event::Received { from: from.clone(), message, _turn: [turn, bytes] }).await;
    }
}
