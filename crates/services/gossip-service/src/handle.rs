use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ripstop_gossip::{AnnouncedChaincode, Contact, Content, PkiId, View};
use ripstop_ledger::Ledger;
use ripstop_types::ChannelId;
use tokio::sync::{Notify, watch};

use crate::ask::Questions;
use crate::door::{DoorKeeper, door};
use crate::{AcknowledgeError, AskError, ChannelDoor, SendError};

/// This peer among the others. Clones are the same.
#[derive(Clone)]
pub struct Gossip {
    shared: Arc<Shared>,
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip").field("alive", &self.view().alive.len()).finish_non_exhaustive()
    }
}

/// What handles and the loop share.
struct Shared {
    views: watch::Sender<Arc<View>>,
    contacts: Mutex<BTreeMap<PkiId, Contact>>,
    questions: Questions,
    wishes: Wishes,
}

/// What this process wants of its channels: for each the last wish, so that their number is the bound.
#[derive(Default)]
struct Wishes {
    channels: Mutex<BTreeMap<ChannelId, Wish>>,
    changed: Notify,
}

#[expect(dead_code, reason = "the loop comes next")]
enum Wish {
    Join { ledger: Arc<Ledger>, chaincodes: watch::Receiver<Vec<AnnouncedChaincode>>, keeper: DoorKeeper },
    Leave,
}

impl Gossip {
    /// A peer that meets no other one, for tests of what uses gossip.
    pub fn alone() -> Self {
        let (views, _) = watch::channel(Arc::default());
        let shared =
            Shared { views, contacts: Mutex::default(), questions: Questions::default(), wishes: Wishes::default() };
        Self { shared: Arc::new(shared) }
    }

    /// What is known of the network at this moment: who is alive, which channels each is in, at which height.
    ///
    /// Policies are evaluated over what a peer signed: over its [`state_info`](ripstop_gossip::ChannelMember::state_info) for
    /// members of a channel, as Fabric does; over [`Contact::handshake`] for whoever sends something.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.shared.views.borrow())
    }

    /// The views, as they change. What changes while nobody looks is seen at once at the next look.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.shared.views.subscribe()
    }

    /// A peer with which there is a stream now, and the handshake it was opened with.
    pub fn contact(&self, peer: &PkiId) -> Option<Contact> {
        self.shared.contacts.lock().get(peer).cloned()
    }

    /// Sends a message to a peer that is alive, and does not wait. It goes by the stream that there is, or a new one; it may
    /// be lost.
    ///
    /// # Errors
    /// It surely did not leave.
    pub fn send(&self, to: &PkiId, channel: &ChannelId, content: Content) -> Result<(), SendError> {
        self.hand_over(0, to, channel, content)
    }

    /// Sends a message and waits until the peer says that it took it.
    ///
    /// # Errors
    /// It did not leave, it was refused, or nothing came within `patience`.
    pub async fn send_acknowledged(
        &self,
        to: &PkiId,
        channel: &ChannelId,
        content: Content,
        patience: Duration,
    ) -> Result<(), AcknowledgeError> {
        let question = self.shared.questions.note(to);
        self.hand_over(question.nonce(), to, channel, content)?;
        match question.answer(patience).await {
            Some(Content::Acknowledgement { error }) if error.is_empty() => Ok(()),
            Some(Content::Acknowledgement { error }) => Err(AcknowledgeError::Refused(error)),
            Some(_) => Err(AcknowledgeError::Refused("the answer is no acknowledgement".to_owned())),
            None => Err(AcknowledgeError::Timeout(patience)),
        }
    }

    /// Asks a peer something and waits for its answer: a message with the same nonce from that same peer. What it says is
    /// unverified, its kind too.
    ///
    /// # Errors
    /// It did not leave, or nothing came within `patience`.
    pub async fn ask(
        &self,
        to: &PkiId,
        channel: &ChannelId,
        content: Content,
        patience: Duration,
    ) -> Result<Content, AskError> {
        let question = self.shared.questions.note(to);
        self.hand_over(question.nonce(), to, channel, content)?;
        question.answer(patience).await.ok_or(AskError::Timeout(patience))
    }

    /// Takes part in a channel from now on: says how high its ledger is and what it can execute, and follows its
    /// configuration. A door that was open before gets nothing any more.
    pub fn join(&self, ledger: Arc<Ledger>, chaincodes: watch::Receiver<Vec<AnnouncedChaincode>>) -> ChannelDoor {
        let (keeper, door) = door();
        let channel = ledger.channel_id().clone();
        self.wish(channel, Wish::Join { ledger, chaincodes, keeper });
        door
    }

    /// Takes part no longer, and says so.
    pub fn leave(&self, channel: &ChannelId) {
        self.wish(channel.clone(), Wish::Leave);
    }

    fn wish(&self, channel: ChannelId, wish: Wish) {
        self.shared.wishes.channels.lock().insert(channel, wish);
        self.shared.wishes.changed.notify_one();
    }

    fn hand_over(&self, _nonce: u64, to: &PkiId, _: &ChannelId, _: Content) -> Result<(), SendError> {
        Err(SendError::Unknown(to.clone()))
    }
}
