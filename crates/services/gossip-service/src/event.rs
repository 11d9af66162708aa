use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_gossip::{ChannelInput, Contact, Endpoint, PkiId, SignedMessage};
use ripstop_transport::ReceiveShare;
use ripstop_types::{ChannelId, MspId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How many things that happened may wait for the loop. When it is full those wait to whom they happened: a stream reads no
/// further, and each gets its turn.
pub(crate) const EVENT_QUEUE: usize = 256;
/// How many bytes of what the peers of one organization sent may wait for the loop. A larger message waits until nothing else of
/// that organization does.
const WAITING_BYTES: usize = 128 << 20;
/// How many messages of the peers of one organization may stand before the loop. Others wait for their turn: whoever makes
/// identities at will is heard as often as a few peers.
const TURNS_OF_ORGANIZATION: usize = 32;
/// How many bytes of large messages of the peers of one organization may be on their way.
const ARRIVING_BYTES: usize = 256 << 20;

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
        /// The turns of the stream and of its organization, and the share of what may wait, until the message is handled.
        _turn: [OwnedSemaphorePermit; 3],
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
    /// There are no more of them than organizations that the channels know.
    shares: Arc<Mutex<BTreeMap<MspId, Arc<Share>>>>,
}

/// What the peers of one organization together may have before the loop.
#[derive(Debug)]
pub(crate) struct Share {
    turns: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// Of messages that are still arriving.
    pub(crate) arriving: ReceiveShare,
}

/// What a message takes of its organization's share while it waits.
pub(crate) type Weight = OwnedSemaphorePermit;

impl Default for Share {
    fn default() -> Self {
        let [turns, bytes] = [TURNS_OF_ORGANIZATION, WAITING_BYTES].map(|count| Arc::new(Semaphore::new(count)));
        Self { turns, bytes, arriving: ReceiveShare::new(ARRIVING_BYTES) }
    }
}

impl Share {
    /// Waits until a message may wait. `None` never comes: shares are not closed.
    pub(crate) async fn weigh(&self, message: &SignedMessage) -> Option<Weight> {
        let size = message.envelope().payload.len().min(WAITING_BYTES);
        Arc::clone(&self.bytes).acquire_many_owned(u32::try_from(size).unwrap_or(u32::MAX)).await.ok()
    }
}

impl Events {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Event>) {
        let (queue, events) = mpsc::channel(EVENT_QUEUE);
        (Self { queue, shares: Arc::default() }, events)
    }

    /// The share of an organization.
    pub(crate) fn share_of(&self, organization: &MspId) -> Arc<Share> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(organization) {
            return Arc::clone(share);
        }
        // Those that nobody uses are of organizations that are gone.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        Arc::clone(shares.entry(organization.clone()).or_default())
    }

    /// Waits until there is room. Nothing happens when the loop has ended.
    pub(crate) async fn push(&self, event: Event) {
        self.queue.send(event).await.ok();
    }

    /// Gives the event back when there is no room.
    pub(crate) fn try_push(&self, event: Event) -> Result<(), Event> {
        self.queue.try_send(event).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Passes on what a stream said, when it is the stream's turn: only one message of a stream waits for the loop, and few of
    /// an organization, so that a loud peer waits as long as a quiet one.
    pub(crate) async fn received(
        &self,
        (from, share): (&PkiId, &Share),
        (message, weight): (SignedMessage, Weight),
        turns: &Arc<Semaphore>,
    ) {
        let Ok(turn) = Arc::clone(turns).acquire_owned().await else { return };
        let Ok(turn_of_organization) = Arc::clone(&share.turns).acquire_owned().await else { return };
        let _turn = [turn, turn_of_organization, weight];
        self.push(Event::Received { from: from.clone(), message, _turn }).await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ripstop_gossip::{Content, Message, Tag};

    use super::*;

    #[tokio::test]
    async fn an_organisation_of_many_loud_peers_takes_its_turns_and_no_more() {
        let (events, mut happened) = Events::new();
        let [loud, quiet] = ["Loud", "Quiet"].map(MspId::new);
        let message = || {
            SignedMessage::unsigned(Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Empty })
        };
        let say = |organization: MspId, number: usize| {
            let events = events.clone();
            async move {
                let (from, share) =
                    (PkiId::claimed(Bytes::from(format!("{organization}{number}"))), events.share_of(&organization));
                let weight = share.weigh(&message()).await.unwrap();
                events.received((&from, &share), (message(), weight), &Arc::new(Semaphore::new(1))).await;
            }
        };
        for number in 0..1_000 {
            tokio::spawn(say(loud.clone(), number));
        }
        tokio::task::yield_now().await;
        tokio::spawn(say(quiet.clone(), 0));
        let mut before = 0;
        while let Some(Event::Received { from, .. }) = happened.recv().await {
            if from.as_bytes().starts_with(b"Quiet") {
                break;
            }
            before += 1;
        }
        // Those that were there, and as many that came before the quiet one did.
        assert!(before <= 2 * TURNS_OF_ORGANIZATION, "{before} messages of the loud ones came first");
    }
}
