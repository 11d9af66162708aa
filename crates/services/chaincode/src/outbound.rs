//! Messages on their way to one chaincode: a bounded number of a bounded size. Who sends more waits.

use std::sync::Arc;

use prost::Message;
use ripstop_proto::protos::ChaincodeMessage;
use ripstop_transport::MAX_MESSAGE_SIZE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// How many messages may wait.
const MAX_MESSAGES: usize = 256;
/// How large they may be together, in bytes: one of the largest always fits. A chaincode that does not read its answers
/// keeps no more than this in the peer's memory.
const MAX_BYTES: usize = MAX_MESSAGE_SIZE;

/// The sending end. Clones send to the same chaincode.
#[derive(Clone)]
pub(crate) struct Outbound {
    messages: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

/// A message that waits, with the room it takes.
pub(crate) struct Queued {
    message: ChaincodeMessage,
    _room: OwnedSemaphorePermit,
}

impl Queued {
    pub(crate) fn into_message(self) -> ChaincodeMessage {
        self.message
    }
}

/// The stream has ended.
#[derive(Debug)]
pub(crate) struct Closed;

/// Both ends for a new stream.
pub(crate) fn channel() -> (Outbound, ReceiverStream<Queued>) {
    let (messages, queued) = mpsc::channel(MAX_MESSAGES);
    (Outbound { messages, room: Arc::new(Semaphore::new(MAX_BYTES)) }, ReceiverStream::new(queued))
}

/// The room that a message takes: at most all there is.
fn size(message: &ChaincodeMessage) -> u32 {
    u32::try_from(message.encoded_len().min(MAX_BYTES)).unwrap_or(u32::MAX)
}

impl Outbound {
    /// Waits until a message may be sent.
    pub(crate) async fn reserve(&self, message: ChaincodeMessage) -> Result<Reserved<'_>, Closed> {
        let room = Arc::clone(&self.room).acquire_many_owned(size(&message)).await.map_err(|_| Closed)?;
        let place = self.messages.reserve().await.map_err(|_| Closed)?;
        Ok(Reserved { place, message: Queued { message, _room: room } })
    }

    /// Sends a message when there is room for it.
    pub(crate) async fn send(&self, message: ChaincodeMessage) -> Result<(), Closed> {
        self.reserve(message).await.map(Reserved::send)
    }

    /// Sends a message for which nobody waits, unless there is no room for it.
    pub(crate) fn send_if_there_is_room(&self, message: ChaincodeMessage) {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(size(&message)) {
            self.messages.try_send(Queued { message, _room: room }).ok();
        }
    }
}

/// A message that may be sent.
pub(crate) struct Reserved<'a> {
    place: mpsc::Permit<'a, Queued>,
    message: Queued,
}

impl Reserved<'_> {
    pub(crate) fn send(self) {
        self.place.send(self.message);
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    fn message(size: usize) -> ChaincodeMessage {
        ChaincodeMessage { payload: vec![0; size].into(), ..Default::default() }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_number_and_size() {
        let (outbound, mut queued) = channel();
        for _ in 0..=MAX_MESSAGES {
            outbound.send_if_there_is_room(message(1));
        }
        for _ in 0..MAX_MESSAGES {
            assert_eq!(queued.next().await.map(|queued| queued.into_message().payload.len()), Some(1));
        }
        outbound.send(message(2 * MAX_BYTES)).await.unwrap();
        let mut second = Box::pin(outbound.send(message(1)));
        tokio::select! {
            biased;
            _ = &mut second => panic!("there is no room"),
            () = tokio::task::yield_now() => {}
        }
        drop(queued.next().await);
        second.await.unwrap();
        drop(queued);
        assert!(outbound.send(message(1)).await.is_err());
    }
}
