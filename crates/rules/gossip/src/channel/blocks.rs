use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Moment, SignedMessage};

/// How many bytes of blocks are kept for others. The oldest blocks go first.
const BYTES: usize = 128 * 1024 * 1024;

/// The newest blocks of a channel, for peers that pull them. All of them were accepted by the committer or came from the
/// orderers.
#[derive(Debug, Default)]
pub(crate) struct BlockStore {
    blocks: BTreeMap<u64, Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    message: SignedMessage,
    since: Moment,
}

impl BlockStore {
    /// Adds a block and drops those that are more than `count` blocks older than the newest. Says whether it was added: it
    /// is not when it is there already, or too old.
    pub(crate) fn add(&mut self, now: Moment, number: u64, message: SignedMessage, count: usize) -> bool {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let newest = self.blocks.last_key_value().map_or(number, |(newest, _)| number.max(*newest));
        let oldest = newest.saturating_sub(count);
        if number < oldest || self.blocks.contains_key(&number) {
            return false;
        }
        self.bytes += size(&message);
        self.blocks.insert(number, Kept { message, since: now });
        while let Some(first) = self.blocks.first_entry() {
            let is_alone = *first.key() == newest;
            if *first.key() >= oldest && (self.bytes <= BYTES || is_alone) {
                break;
            }
            self.bytes -= size(&first.remove().message);
        }
        true
    }

    /// Drops blocks that were kept for longer than `lifetime`.
    pub(crate) fn expire(&mut self, now: Moment, lifetime: Duration) {
        self.blocks.retain(|_, kept| {
            let keep = now.since(kept.since) <= lifetime;
            if !keep {
                self.bytes -= size(&kept.message);
            }
            keep
        });
    }

    /// When the next block is to be dropped.
    pub(crate) fn expires_at(&self, lifetime: Duration) -> Option<Moment> {
        // Blocks come nearly in order: the first one stands for all.
        self.blocks.first_key_value().map(|(_, kept)| kept.since + lifetime + Duration::from_nanos(1))
    }

    /// A block that is kept.
    pub(crate) fn get(&self, number: u64) -> Option<&SignedMessage> {
        self.blocks.get(&number).map(|kept| &kept.message)
    }

    /// The numbers of the blocks that are kept.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.blocks.keys().copied()
    }
}

fn size(message: &SignedMessage) -> usize {
    message.envelope().payload.len()
}
