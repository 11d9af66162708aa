use std::collections::VecDeque;

use ripstop_deliver::PulledBlock;
use ripstop_private_data::Prefetched;
use ripstop_types::Block;
use ripstop_validation::VerifiedBlock;
use tokio::sync::mpsc;

use crate::commit::Tip;

/// How many blocks may wait, with those that are being verified, while others are written. All that are verified by then are
/// written together. When so many wait, no further ones are taken out of the queue.
pub const GROUP_BLOCKS: usize = 128;

/// How many bytes of transactions these may have; the last of them may be above it.
pub const GROUP_BYTES: usize = 8 << 20;

/// The blocks between the queue and the ledger.
pub(crate) struct Line {
    /// Where the next block attaches that is verified.
    pub(crate) tip: Tip,
    /// Not verified yet.
    pub(crate) received: VecDeque<PulledBlock>,
    /// Verified, and not being written yet.
    pub(crate) ready: VecDeque<Ready>,
    /// Whether a configuration block is ready, or being written.
    pub(crate) waits_for_config: bool,
    /// Those that are being verified.
    verifying: Weight,
}

/// A block that waits to be written.
pub(crate) struct Ready {
    pub(crate) verified: VerifiedBlock,
    pub(crate) prefetched: Prefetched,
}

#[derive(Default, Clone, Copy)]
struct Weight {
    blocks: usize,
    bytes: usize,
}

impl Line {
    pub(crate) fn new(tip: Tip) -> Self {
        Self {
            tip,
            received: VecDeque::new(),
            ready: VecDeque::new(),
            waits_for_config: false,
            verifying: Weight::default(),
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.received.is_empty() && self.ready.is_empty()
    }

    /// Whether another block may be taken out of the queue.
    pub(crate) fn has_room(&self) -> bool {
        let received = Weight::of(self.received.iter().map(|pulled| &pulled.block));
        let ready = Weight::of(self.ready.iter().map(|ready| ready.verified.block()));
        let weights = [received, self.verifying, ready];
        weights.iter().map(|weight| weight.blocks).sum::<usize>() < GROUP_BLOCKS
            && weights.iter().map(|weight| weight.bytes).sum::<usize>() < GROUP_BYTES
    }

    /// Takes a block in, and what else is in the queue, as far as there is room.
    pub(crate) fn receive(&mut self, pulled: PulledBlock, queue: &mut mpsc::Receiver<PulledBlock>) {
        self.received.push_back(pulled);
        while self.has_room() {
            let Ok(pulled) = queue.try_recv() else { return };
            self.received.push_back(pulled);
        }
    }

    /// Takes out received blocks that follow each other, to be verified. What another connection sent of the same blocks waits
    /// until it is known what these are worth.
    pub(crate) fn take_received(&mut self) -> VecDeque<PulledBlock> {
        let (mut taken, mut doubles) = (VecDeque::new(), VecDeque::new());
        let mut expected = self.tip.next;
        while let Some(pulled) = self.received.pop_front() {
            let number = pulled.block.number();
            if pulled.is_refused() || number < self.tip.next {
                continue;
            }
            if number > expected && !taken.is_empty() {
                self.received.push_front(pulled);
                break;
            }
            if number < expected {
                doubles.push_back(pulled);
            } else {
                expected = number.next();
                taken.push_back(pulled);
            }
        }
        self.put_back(doubles);
        self.verifying = Weight::of(taken.iter().map(|pulled| &pulled.block));
        taken
    }

    /// The lowest come first again, and of one number the one that came first.
    fn put_back(&mut self, blocks: VecDeque<PulledBlock>) {
        if blocks.is_empty() {
            return;
        }
        blocks.into_iter().rev().for_each(|pulled| self.received.push_front(pulled));
        self.received.make_contiguous().sort_by_key(|pulled| pulled.block.number());
    }

    /// Takes those in that were verified, and those back that were left.
    pub(crate) fn verified(&mut self, verified: Vec<Ready>, left: VecDeque<PulledBlock>) {
        for ready in verified {
            self.tip = Tip::behind(ready.verified.block());
            self.waits_for_config |= ready.verified.is_config();
            self.ready.push_back(ready);
        }
        self.put_back(left);
        self.verifying = Weight::default();
    }

    /// Takes out what is written next.
    pub(crate) fn take_ready(&mut self) -> VecDeque<Ready> {
        std::mem::take(&mut self.ready)
    }

    /// What was taken out last is written.
    pub(crate) fn written(&mut self) {
        // A configuration block is the last of those that are verified before it is written.
        self.waits_for_config &= !self.ready.is_empty();
    }
}

impl Weight {
    fn of<'a>(blocks: impl Iterator<Item = &'a Block>) -> Self {
        blocks.fold(Self::default(), |sum, block| Self {
            blocks: sum.blocks + 1,
            bytes: sum.bytes + block.data.iter().map(|data| data.len()).sum::<usize>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ripstop_deliver::BlockOrigin;
    use ripstop_types::{BlockNumber, Digest};

    use super::*;

    fn block(number: u64, bytes: usize) -> Block {
        Block::new(BlockNumber::new(number), Bytes::new(), vec![vec![0; bytes].into()])
    }

    fn line(next: u64) -> Line {
        Line::new(Tip { next: BlockNumber::new(next), hash: Digest::of(&[]) })
    }

    fn numbers(blocks: &VecDeque<PulledBlock>) -> Vec<(u64, String)> {
        blocks.iter().map(|pulled| (pulled.block.number().get(), pulled.orderer().to_owned())).collect()
    }

    #[test]
    fn what_two_connections_sent_of_the_same_blocks_is_tried_once_and_kept_until_it_is_known_good() {
        let (one, two) = (BlockOrigin::new("one"), BlockOrigin::new("two"));
        let mut line = line(5);
        line.received.extend([4, 5, 6].map(|number| one.pulled(block(number, 1))));
        line.received.extend([5, 6, 7].map(|number| two.pulled(block(number, 1))));
        let mut taken = line.take_received();
        let expected = [(5, "one"), (6, "one"), (7, "two")].map(|(number, from)| (number, from.to_owned()));
        assert_eq!(numbers(&taken), expected);
        // The first is refused, and those behind it were not looked at.
        taken.pop_front().unwrap().refuse();
        line.verified(Vec::new(), taken);
        let expected = [5, 6, 7].map(|number| (number, "two".to_owned()));
        assert_eq!(numbers(&line.take_received()), expected);
    }

    #[test]
    fn there_is_room_for_so_many_blocks_and_so_many_bytes() {
        let origin = BlockOrigin::new("orderer");
        for (bytes, expected) in [(1, GROUP_BLOCKS), (GROUP_BYTES / 4, 4), (2 * GROUP_BYTES, 1)] {
            let mut line = line(0);
            let mut count = 0;
            while line.has_room() {
                line.received.push_back(origin.pulled(block(count as u64, bytes)));
                count += 1;
                // Half of them are being verified.
                if count == expected / 2 {
                    line.take_received();
                }
            }
            assert_eq!(count, expected, "blocks of {bytes} bytes");
        }
    }
}
