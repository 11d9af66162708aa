use std::collections::HashMap;

use bytes::Bytes;
use ripstop_ordering::Message;
use ripstop_raft::NodeId;
use tokio::sync::oneshot;

use crate::consensus::OrderKind;
use crate::error::OrderError;

/// Tells a client what became of its message.
pub(crate) type Answer = oneshot::Sender<Result<(), OrderError>>;

/// A message whose sender waits until it is in an agreed block.
pub(crate) struct Waiting {
    pub(crate) message: Message,
    pub(crate) kind: OrderKind,
    /// The sequence of the configuration it was checked against.
    pub(crate) validated_at: u64,
    pub(crate) answer: Answer,
    /// The leader it was sent to; none on the leader itself.
    pub(crate) forwarded: Option<Forwarded>,
}

/// Where a message was sent, and until when it must be in a block, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forwarded {
    pub(crate) to: NodeId,
    pub(crate) until: i64,
}

/// The messages that wait for their block, where there are several consenters. Clients are told of success when the block
/// is written here: a majority has it in its log then, and no crash of a minority loses it.
#[derive(Default)]
pub(crate) struct Answers {
    /// By the bytes that will be in the block. The same message may have been sent twice.
    waiting: HashMap<Bytes, Vec<Waiting>>,
    /// How many wait in all.
    count: usize,
}

impl Answers {
    /// How many clients wait; of one message there may be several.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn add(&mut self, raw: Bytes, waiting: Waiting) {
        self.count += 1;
        self.waiting.entry(raw).or_default().push(waiting);
    }

    /// These are in a block.
    pub(crate) fn ordered(&mut self, data: &[Bytes]) {
        for waiting in data.iter().filter_map(|raw| self.waiting.remove(raw)).flatten() {
            self.count -= 1;
            // A client that is gone needs no answer.
            let _ = waiting.answer.send(Ok(()));
        }
    }

    /// Refuses those for which there is an error, and returns how many there were.
    pub(crate) fn refuse_if(&mut self, verdict: impl Fn(&Waiting) -> Option<OrderError>) -> usize {
        let mut refused = 0;
        self.count = 0;
        for (raw, all) in std::mem::take(&mut self.waiting) {
            for waiting in all {
                match verdict(&waiting) {
                    Some(error) => {
                        refused += 1;
                        let _ = waiting.answer.send(Err(error));
                    }
                    None => self.add(raw.clone(), waiting),
                }
            }
        }
        refused
    }
}
