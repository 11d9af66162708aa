//! Where a received message goes: to the machine, through a channel's door, or to who asked for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use ripstop_gossip::{Content, Message, PrivateElement, SignedMessage, Tag, Trust};
use ripstop_ledger::Ledger;
use ripstop_runtime::TaskGroup;
use ripstop_types::ChannelId;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::PrivateIncoming;
use crate::ask::Questions;
use crate::stream::Stream;
use crate::trust::ChannelTrust;

/// How long an answer to another peer may wait for room in the stream.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);

/// The name of the tasks that answer other peers.
const ANSWER: &str = "answer to another peer";

/// What is behind a channel's door, for streams.
#[derive(Clone)]
pub(crate) struct Inside {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) private: mpsc::Sender<PrivateIncoming>,
}

/// Passes on what comes in.
pub(crate) struct Router {
    pub(crate) trust: ChannelTrust,
    pub(crate) questions: Questions,
    pub(crate) tasks: TaskGroup,
    doors: RwLock<BTreeMap<ChannelId, Inside>>,
}

impl Router {
    pub(crate) fn new(trust: ChannelTrust, questions: Questions, tasks: TaskGroup) -> Self {
        Self { trust, questions, tasks, doors: RwLock::default() }
    }

    /// Opens the door of a channel.
    pub(crate) fn open(&self, channel: ChannelId, inside: Inside) {
        self.doors.write().insert(channel, inside);
    }

    /// What is behind a door.
    pub(crate) fn inside(&self, channel: &ChannelId) -> Option<Inside> {
        self.doors.read().get(channel).cloned()
    }

    /// Passes a message on; gives back what is for the machine.
    pub(crate) fn route(&self, stream: &Stream, message: SignedMessage) -> Option<SignedMessage> {
        let nonce = message.message().nonce;
        match &message.message().content {
            Content::Acknowledgement { .. } | Content::PrivateResponse(_) => {
                let content = message.message().content.clone();
                if self.questions.answer(nonce, &stream.contact().pki_id, content).is_err() {
                    tracing::debug!(target: "gossip.comm", "{:?} answers what nobody asked, or too late", stream.contact());
                }
                None
            }
            Content::PrivateData(_) | Content::PrivateRequest(_) => {
                self.private(stream, &message);
                None
            }
            Content::StateRequest { .. } | Content::StateResponse(_) => {
                self.reader_of(stream, message.message()).map(|_| message)
            }
            Content::Empty | Content::Establish { .. } => None,
            _ => Some(message),
        }
    }

    /// The channel of a message that only its readers may send.
    fn reader_of(&self, stream: &Stream, message: &Message) -> Option<(ChannelId, Inside)> {
        let channel = message.channel.clone()?;
        let inside = self.inside(&channel)?;
        let may = stream.may_read(&channel, inside.ledger.config().sequence(), || {
            let contact = stream.contact();
            let handshake = contact.handshake.envelope();
            let may = self.trust.verify_reader(&channel, &contact.identity, &handshake.payload, &handshake.signature);
            // Once: whoever asks again and again writes no lines.
            if !may {
                tracing::warn!(target: "gossip.state", "Got unauthorized request from {contact:?} ({}): it may not read channel {channel}", stream.address());
            }
            may
        });
        may.then_some((channel, inside))
    }

    fn private(&self, stream: &Stream, message: &SignedMessage) {
        let nonce = message.message().nonce;
        let Some((channel, inside)) = self.reader_of(stream, message.message()) else { return };
        let Some(room) = stream.room_for_private() else {
            return self.busy(stream, message.message());
        };
        let from = stream.contact().clone();
        match message.message().content.clone() {
            Content::PrivateData(payload) => {
                let (reply, replied) = oneshot::channel();
                match inside.private.try_send(PrivateIncoming::Data { from, payload, reply }) {
                    Ok(()) => self.tasks.spawn_droppable(ANSWER, acknowledge(stream.clone(), nonce, replied, room)),
                    Err(_) => self.busy(stream, message.message()),
                }
            }
            Content::PrivateRequest(digests) => {
                let (reply, replied) = oneshot::channel();
                let asked = inside.private.try_send(PrivateIncoming::Request { from, digests, reply });
                if asked.is_ok() {
                    self.tasks.spawn_droppable(ANSWER, respond(stream.clone(), channel, nonce, replied, room));
                }
            }
            _ => {}
        }
    }

    /// Tells a sender that its private data were not taken; whoever asks something asks another peer after a while.
    fn busy(&self, stream: &Stream, message: &Message) {
        if matches!(message.content, Content::PrivateData(_)) {
            let error = "too many private messages wait at this peer; try another one, or later".to_owned();
            stream.outbox().try_send(&acknowledgement(message.nonce, error)).ok();
        }
    }
}

fn acknowledgement(nonce: u64, error: String) -> SignedMessage {
    let content = Content::Acknowledgement { error };
    SignedMessage::unsigned(Message { nonce, channel: None, tag: Tag::Everybody, content })
}

async fn acknowledge(
    stream: Stream,
    nonce: u64,
    replied: oneshot::Receiver<Result<(), String>>,
    _room: OwnedSemaphorePermit,
) {
    let error = match replied.await {
        Ok(Ok(())) => String::new(),
        Ok(Err(error)) => error,
        Err(_) => "the private data were not taken".to_owned(),
    };
    stream.outbox().send(&acknowledgement(nonce, error), ANSWER_PATIENCE).await.ok();
}

async fn respond(
    stream: Stream,
    channel: ChannelId,
    nonce: u64,
    replied: oneshot::Receiver<Vec<PrivateElement>>,
    _room: OwnedSemaphorePermit,
) {
    let Ok(elements) = replied.await else { return };
    let content = Content::PrivateResponse(elements);
    let message = SignedMessage::unsigned(Message { nonce, channel: Some(channel), tag: Tag::Channel, content });
    stream.outbox().send(&message, ANSWER_PATIENCE).await.ok();
}
