use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ripstop_gossip::{Content, PkiId};
use tokio::sync::oneshot;

/// Why a message surely did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No peer that is alive has this id. Ask the view for another one.
    #[error("no peer with id {0} is alive")]
    Unknown(PkiId),
    /// It takes messages more slowly than they are made. Ask another one, or later.
    #[error("too many messages wait to be sent to peer {0}")]
    Overflow(PkiId),
    /// The message is larger than peers take, or of a kind that is not sent to one peer. A bug of who made it.
    #[error("no message to a single peer: {0}")]
    Unsuitable(&'static str),
    /// This peer is stopping.
    #[error("gossip is stopping")]
    Stopping,
}

/// Why a message was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    /// It did not leave.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The other peer got it and could not use it.
    #[error("{0}")]
    Refused(String),
    /// No answer came in time. Whether it arrived is not known.
    #[error("no acknowledgement within {0:?}")]
    Timeout(Duration),
}

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It did not leave.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Questions that wait for their answers, by nonce and by the only peer whose answer counts. Bounded by those who ask: each
/// waits for its own, and takes its question away when it goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Questions(Arc<Mutex<Waiting>>);

type Waiting = HashMap<(u64, PkiId), oneshot::Sender<Content>>;

/// A question that was noted down.
#[derive(Debug)]
pub(crate) struct Question {
    questions: Questions,
    key: (u64, PkiId),
    answer: oneshot::Receiver<Content>,
}

impl Questions {
    /// Notes down a question to a peer under a new nonce.
    pub(crate) fn note(&self, to: &PkiId) -> Question {
        let (sender, answer) = oneshot::channel();
        let mut questions = self.0.lock();
        let key = loop {
            let key = (rand::random::<u64>(), to.clone());
            // Nonce 0 means that nothing is asked.
            if key.0 != 0 && !questions.contains_key(&key) {
                break key;
            }
        };
        questions.insert(key.clone(), sender);
        Question { questions: self.clone(), key, answer }
    }

    /// Passes an answer on to who asked that peer under that nonce; gives it back when nobody did.
    pub(crate) fn answer(&self, nonce: u64, from: &PkiId, content: Content) -> Result<(), Content> {
        match self.0.lock().remove(&(nonce, from.clone())) {
            Some(waiting) => waiting.send(content),
            None => Err(content),
        }
    }
}

impl Question {
    /// The number that the answer must carry.
    pub(crate) const fn nonce(&self) -> u64 {
        self.key.0
    }

    /// Waits for the answer.
    pub(crate) async fn answer(mut self) -> Option<Content> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.questions.0.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn an_answer_counts_only_from_the_peer_that_was_asked() {
        let (asked, other) = (PkiId::claimed(Bytes::from_static(b"a")), PkiId::claimed(Bytes::from_static(b"b")));
        let acknowledgement = || Content::Acknowledgement { error: String::new() };
        let questions = Questions::default();
        let question = questions.note(&asked);
        let nonce = question.nonce();
        assert!(questions.answer(nonce, &other, acknowledgement()).is_err());
        assert!(questions.answer(nonce ^ 1, &asked, acknowledgement()).is_err());
        questions.answer(nonce, &asked, acknowledgement()).unwrap();
        assert_eq!(question.answer().await, Some(acknowledgement()));
        drop(questions.note(&asked));
        assert!(questions.0.lock().is_empty());
    }
}
