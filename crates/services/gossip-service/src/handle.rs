use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ripstop_gossip::{
    AnnouncedChaincode, ChannelInput, Contact, Content, Endpoint, Message, PkiId, SignedMessage, Tag, View,
};
use ripstop_ledger::Ledger;
use ripstop_runtime::TaskKind;
use ripstop_types::ChannelId;
use tokio::sync::{Notify, watch};

use crate::assemble::{Assembled, assemble};
use crate::conversation::Conversations;
use crate::door::{DoorKeeper, Leadership, door};
use crate::event::Event;
use crate::stream::Undelivered;
use crate::{AcknowledgeError, AskError, ChannelDoor, GossipConfig, GossipParts, GossipService, SendError};

/// How long a message that somebody waits for may wait for room in its stream.
const ROOM_PATIENCE: Duration = Duration::from_secs(3);

/// This peer among the others. Clones are the same.
#[derive(Clone)]
pub struct Gossip {
    shared: Arc<Shared>,
    /// `None`: nobody is there.
    conversations: Option<Arc<Conversations>>,
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip").field("alive", &self.view().alive.len()).finish_non_exhaustive()
    }
}

/// What handles and the loop share.
pub(crate) struct Shared {
    pub(crate) views: watch::Sender<Arc<View>>,
    pub(crate) wishes: Wishes,
    /// Who leads before gossip has said anything.
    pub(crate) at_first: Leadership,
}

impl Shared {
    pub(crate) fn new(at_first: Leadership) -> Self {
        Self { views: watch::channel(Arc::default()).0, wishes: Wishes::default(), at_first }
    }
}

/// Which channels are to be joined: for each the last wish, so that their number is the bound.
#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) channels: Mutex<BTreeMap<ChannelId, Join>>,
    pub(crate) changed: Notify,
}

/// How a channel is joined.
pub(crate) struct Join {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) chaincodes: watch::Receiver<Vec<AnnouncedChaincode>>,
    pub(crate) keeper: DoorKeeper,
}

impl Gossip {
    /// A peer that meets no other one and leads, for tests of what uses gossip.
    pub fn alone() -> Self {
        Self { shared: Arc::new(Shared::new(Leadership::Leads)), conversations: None }
    }

    /// Begins to take part; the service is to be offered on the peer's listener. Ends with the group of its tasks.
    pub fn start(config: GossipConfig, parts: GossipParts) -> (Self, GossipService) {
        let Assembled { driver, service } = assemble(config, parts);
        let gossip =
            Self { shared: Arc::clone(&driver.shared), conversations: Some(Arc::clone(&driver.conversations)) };
        let runtime = tokio::runtime::Handle::current();
        driver.tasks.clone().spawn(TaskKind::Essential, "gossip", async move {
            tokio::task::spawn_blocking(move || runtime.block_on(driver.run())).await
        });
        (gossip, service)
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
        let stream = self.conversations.as_ref()?.streams.get(peer)?;
        Some(stream.contact().clone())
    }

    /// Sends a message to a peer that is alive, and does not wait. It goes by the stream that there is, or a new one; it may
    /// be lost.
    ///
    /// # Errors
    /// It surely did not leave.
    pub fn send(&self, to: &PkiId, channel: &ChannelId, content: Content) -> Result<(), SendError> {
        let (conversations, endpoint) = self.way_to(to)?;
        let message = message(0, channel, content)?;
        match conversations.streams.get(to).map(|stream| stream.outbox().try_send(&message)) {
            Some(Ok(())) => Ok(()),
            Some(Err(Undelivered::Overflow)) => Err(SendError::Overflow(to.clone())),
            None | Some(Err(Undelivered::Closed)) => conversations
                .events
                .try_push(Event::Send { to: to.clone(), endpoint, message })
                .map_err(|_| SendError::Overflow(to.clone())),
        }
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
        let answer = self.question(to, channel, content, patience).await?;
        match answer {
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
        self.question(to, channel, content, patience).await?.ok_or(AskError::Timeout(patience))
    }

    /// Takes part in a channel from now on: says how high its ledger is and what it can execute, and follows its
    /// configuration. A door that was open before gets nothing any more.
    pub fn join(&self, ledger: Arc<Ledger>, chaincodes: watch::Receiver<Vec<AnnouncedChaincode>>) -> ChannelDoor {
        let (keeper, door) = door(self.shared.at_first);
        let channel = ledger.channel_id().clone();
        self.shared.wishes.channels.lock().insert(channel, Join { ledger, chaincodes, keeper });
        self.shared.wishes.changed.notify_one();
        door
    }

    /// Says that a block which came through a door is not what it should be: it is fetched from somebody else, and all
    /// blocks from it on come again.
    pub async fn refuse_block(&self, channel: &ChannelId, number: u64, from: &PkiId) {
        if let Some(conversations) = &self.conversations {
            let (channel, from) = (channel.clone(), from.clone());
            conversations.events.push(Event::Refused { channel, number, from }).await;
        }
    }

    /// Says that no orderer can be reached from here: another peer of the organization may lead in a channel.
    pub async fn yield_leadership(&self, channel: &ChannelId) {
        if let Some(conversations) = &self.conversations {
            let input = ChannelInput::OrderersUnreachable;
            conversations.events.push(Event::Channel(channel.clone(), input)).await;
        }
    }

    /// Where a peer that is alive is reached.
    fn way_to(&self, to: &PkiId) -> Result<(&Arc<Conversations>, Endpoint), SendError> {
        let unknown = || SendError::Unknown(to.clone());
        let conversations = self.conversations.as_ref().ok_or_else(unknown)?;
        if conversations.router.tasks.is_cancelled() {
            return Err(SendError::Stopping);
        }
        let endpoint = match self.view().alive.get(to) {
            Some(peer) => peer.member.preferred_endpoint().to_owned(),
            // One that has just connected may not be alive yet.
            None if conversations.streams.get(to).is_some() => Endpoint::new(),
            None => return Err(unknown()),
        };
        Ok((conversations, endpoint))
    }

    /// Sends a message under a new nonce and waits for what answers it.
    async fn question(
        &self,
        to: &PkiId,
        channel: &ChannelId,
        content: Content,
        patience: Duration,
    ) -> Result<Option<Content>, SendError> {
        let (conversations, endpoint) = self.way_to(to)?;
        let question = conversations.router.questions.note(to);
        let message = message(question.nonce(), channel, content)?;
        let asking = async {
            let sent = match conversations.streams.get(to) {
                Some(stream) => stream.outbox().send(&message, ROOM_PATIENCE).await,
                None => Err(Undelivered::Closed),
            };
            match sent {
                Ok(()) => {}
                Err(Undelivered::Overflow) => return Err(SendError::Overflow(to.clone())),
                Err(Undelivered::Closed) => {
                    conversations.events.push(Event::Send { to: to.clone(), endpoint, message }).await;
                }
            }
            Ok(question.answer().await)
        };
        tokio::time::timeout(patience, asking).await.unwrap_or(Ok(None))
    }
}

/// A message to a single peer.
fn message(nonce: u64, channel: &ChannelId, content: Content) -> Result<SignedMessage, SendError> {
    let tag = match content {
        Content::PrivateData(_) | Content::PrivateRequest(_) | Content::PrivateResponse(_) => Tag::Channel,
        Content::StateRequest { .. } | Content::StateResponse(_) => Tag::ChannelOrOrganization,
        _ => return Err(SendError::Unsuitable("only private data and blocks are sent to one peer")),
    };
    Ok(SignedMessage::unsigned(Message { nonce, channel: Some(channel.clone()), tag, content }))
}
