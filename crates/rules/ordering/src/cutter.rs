use bytes::Bytes;

/// How large blocks become (the channel's `BatchSize`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most messages in a block; at least 1.
    pub max_messages: usize,
    /// A block is cut before it grows beyond this, in bytes of payloads and signatures. A single message may be larger.
    pub preferred_bytes: usize,
}

/// What adding a message led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Batches now complete, in order; at most two.
    pub batches: Vec<Vec<Bytes>>,
    /// Whether messages wait, so that the batch timer must run. When false it must not.
    pub pending: bool,
}

/// Collects messages into batches. Each batch becomes a block.
#[derive(Debug, Default)]
pub struct BlockCutter {
    pending: Vec<Bytes>,
    pending_bytes: usize,
}

impl BlockCutter {
    /// Adds a message of `size` bytes of payload and signature, recorded as `raw` (Fabric: `blockcutter.Ordered`).
    pub fn add(&mut self, raw: Bytes, size: usize, limits: BatchLimits) -> Cut {
        let mut batches = Vec::new();
        if size > limits.preferred_bytes {
            batches.extend(self.cut());
            batches.push(vec![raw]);
            return Cut { batches, pending: false };
        }
        if self.pending_bytes + size > limits.preferred_bytes {
            batches.extend(self.cut());
        }
        self.pending.push(raw);
        self.pending_bytes += size;
        if self.pending.len() >= limits.max_messages {
            batches.extend(self.cut());
        }
        Cut { batches, pending: !self.pending.is_empty() }
    }

    /// Ends the batch under way, if there is one.
    pub fn cut(&mut self) -> Option<Vec<Bytes>> {
        self.pending_bytes = 0;
        Some(std::mem::take(&mut self.pending)).filter(|batch| !batch.is_empty())
    }

    /// The messages of the batch under way.
    pub fn pending(&self) -> &[Bytes] {
        &self.pending
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits { max_messages: 3, preferred_bytes: 100 };

    /// Adds messages of these sizes and tells, for each, the lengths of the batches cut and whether one waits.
    fn script(sizes: &[usize]) -> Vec<(Vec<usize>, bool)> {
        let mut cutter = BlockCutter::default();
        let mut add = |size: &usize| cutter.add(Bytes::from(vec![0; *size]), *size, LIMITS);
        sizes.iter().map(&mut add).map(|cut| (cut.batches.iter().map(Vec::len).collect(), cut.pending)).collect()
    }

    #[test]
    fn a_batch_is_cut_at_the_most_messages() {
        assert_eq!(script(&[1, 1, 1, 1]), [(vec![], true), (vec![], true), (vec![3], false), (vec![], true)]);
    }

    #[test]
    fn a_batch_is_cut_before_it_grows_too_large() {
        assert_eq!(script(&[60, 50, 50]), [(vec![], true), (vec![1], true), (vec![], true)]);
    }

    #[test]
    fn a_large_message_gets_a_batch_of_its_own() {
        assert_eq!(script(&[101]), [(vec![1], false)]);
        assert_eq!(script(&[10, 10, 101]), [(vec![], true), (vec![], true), (vec![2, 1], false)]);
    }

    proptest! {
        #[test]
        fn every_message_is_in_one_batch_in_order_within_the_limits(
            sizes in proptest::collection::vec(0usize..150, 0..200),
            max_messages in 1usize..20,
            preferred_bytes in 1usize..120,
        ) {
            let limits = BatchLimits { max_messages, preferred_bytes };
            let mut cutter = BlockCutter::default();
            let mut batches = Vec::new();
            let mut sent = Vec::new();
            for (number, size) in sizes.into_iter().enumerate() {
                let raw = Bytes::from(format!("{number}:{size}"));
                sent.push(raw.clone());
                let cut = cutter.add(raw, size, limits);
                prop_assert!(cut.batches.len() <= 2);
                prop_assert_eq!(cut.pending, !cutter.pending().is_empty());
                batches.extend(cut.batches);
            }
            batches.extend(cutter.cut());
            prop_assert_eq!(cutter.cut(), None);
            for batch in &batches {
                let size = |raw: &Bytes| -> usize { std::str::from_utf8(raw).unwrap().split(':').nth(1).unwrap().parse().unwrap() };
                let bytes: usize = batch.iter().map(size).sum();
                prop_assert!(!batch.is_empty() && batch.len() <= max_messages);
                prop_assert!(bytes <= preferred_bytes || batch.len() == 1);
            }
            prop_assert_eq!(batches.concat(), sent);
        }
    }
}
