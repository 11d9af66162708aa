use std::collections::{BTreeMap, VecDeque};

use ripstop_types::MspId;

/// How many messages of one organization may wait. More are refused.
pub const MAX_QUEUED: usize = 256;

/// How many bytes the messages of one organization may have that wait, apart from a single larger one; and about how many are
/// taken at once. More are refused.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Messages that wait, by the organization that sent them. Organizations have their turns, however much one of them sends.
#[derive(Debug)]
pub struct FairQueue<T> {
    waiting: BTreeMap<MspId, Waiting<T>>,
    /// Whose turn was last.
    last: Option<MspId>,
}

#[derive(Debug)]
struct Waiting<T> {
    messages: VecDeque<(usize, T)>,
    bytes: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { messages: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), last: None }
    }
}

impl<T> FairQueue<T> {
    /// Lets a message of so many bytes wait; gives it back where too many of its organization do.
    pub fn push(&mut self, organization: &MspId, bytes: usize, message: T) -> Result<(), T> {
        let waiting = self.waiting.entry(organization.clone()).or_default();
        let is_full = waiting.messages.len() >= MAX_QUEUED || waiting.bytes.saturating_add(bytes) > MAX_QUEUED_BYTES;
        if is_full && !waiting.messages.is_empty() {
            return Err(message);
        }
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        waiting.messages.push_back((bytes, message));
        Ok(())
    }

    /// Takes so many messages at most, one of each organization in turn.
    pub fn take(&mut self, most: usize) -> Vec<T> {
        let (mut taken, mut bytes) = (Vec::new(), 0_usize);
        while taken.len() < most && bytes < MAX_QUEUED_BYTES {
            let after = |last: &MspId| self.waiting.keys().find(|organization| *organization > last).cloned();
            let next = self.last.as_ref().and_then(after).or_else(|| self.waiting.keys().next().cloned());
            let Some(next) = next else { break };
            if let Some(waiting) = self.waiting.get_mut(&next) {
                if let Some((size, message)) = waiting.messages.pop_front() {
                    waiting.bytes = waiting.bytes.saturating_sub(size);
                    bytes = bytes.saturating_add(size);
                    taken.push(message);
                }
                if waiting.messages.is_empty() {
                    self.waiting.remove(&next);
                }
            }
            self.last = Some(next);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_very_much_does_not_keep_others_waiting() {
        let (loud, calm) = (MspId::new("Loud"), MspId::new("Calm"));
        let mut queue = FairQueue::default();
        for number in 0..MAX_QUEUED {
            queue.push(&loud, 1, number).unwrap();
        }
        assert_eq!(queue.push(&loud, 1, 9999), Err(9999));
        queue.push(&calm, 1, 1000).unwrap();
        queue.push(&calm, 1, 1001).unwrap();
        assert_eq!(queue.take(5), [1000, 0, 1001, 1, 2]);
        assert_eq!(queue.take(MAX_QUEUED * 2).len(), MAX_QUEUED - 3);
        assert!(queue.take(1).is_empty() && queue.waiting.is_empty());
    }
    #[test]
    fn what_waits_has_a_bound_in_bytes_too() {
        let (loud, calm) = (MspId::new("Loud"), MspId::new("Calm"));
        let mut queue = FairQueue::default();
        queue.push(&loud, 2 * MAX_QUEUED_BYTES, 0).unwrap();
        assert_eq!(queue.push(&loud, 1, 1), Err(1), "a large message waits alone");
        queue.push(&calm, 1, 2).unwrap();
        assert_eq!(queue.take(9), [2, 0]);
        for number in 0..4 {
            queue.push(&loud, MAX_QUEUED_BYTES / 4, number).unwrap();
        }
        assert_eq!(queue.push(&loud, 1, 4), Err(4));
        queue.push(&calm, MAX_QUEUED_BYTES / 2, 5).unwrap();
        assert_eq!(queue.take(9), [5, 0, 1]);
        assert_eq!(queue.take(9), [2, 3]);
        assert!(queue.take(9).is_empty() && queue.waiting.is_empty());
    }
}
