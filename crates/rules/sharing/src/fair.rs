use std::collections::{BTreeMap, VecDeque};

use ripstop_types::MspId;

/// How many messages of one organization may wait. More are refused.
pub const MAX_QUEUED: usize = 256;

/// Messages that wait, by the organization that sent them. Organizations have their turns, however much one of them sends.
#[derive(Debug)]
pub struct FairQueue<T> {
    waiting: BTreeMap<MspId, VecDeque<T>>,
    /// Whose turn was last.
    last: Option<MspId>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), last: None }
    }
}

impl<T> FairQueue<T> {
    /// Lets a message wait; gives it back where too many of its organization do.
    pub fn push(&mut self, organization: &MspId, message: T) -> Result<(), T> {
        let waiting = self.waiting.entry(organization.clone()).or_default();
        if waiting.len() >= MAX_QUEUED {
            return Err(message);
        }
        waiting.push_back(message);
        Ok(())
    }

    /// Takes so many messages at most, one of each organization in turn.
    pub fn take(&mut self, most: usize) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let after = |last: &MspId| self.waiting.keys().find(|organization| *organization > last).cloned();
            let next = self.last.as_ref().and_then(after).or_else(|| self.waiting.keys().next().cloned());
            let Some(next) = next else { break };
            if let Some(waiting) = self.waiting.get_mut(&next) {
                taken.extend(waiting.pop_front());
                if waiting.is_empty() {
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
            queue.push(&loud, number).unwrap();
        }
        assert_eq!(queue.push(&loud, 9999), Err(9999));
        queue.push(&calm, 1000).unwrap();
        queue.push(&calm, 1001).unwrap();
        assert_eq!(queue.take(5), [1000, 0, 1001, 1, 2]);
        assert_eq!(queue.take(MAX_QUEUED * 2).len(), MAX_QUEUED - 3);
        assert!(queue.take(1).is_empty() && queue.waiting.is_empty());
    }
}
