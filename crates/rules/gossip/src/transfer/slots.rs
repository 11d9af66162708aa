use std::collections::BTreeMap;

use super::{Accepted, Offered};
use crate::PkiId;

/// How many bytes of blocks wait at most. When there is no room, the blocks with the highest numbers go, or the new one.
const BYTES: usize = 256 * 1024 * 1024;

/// How many bytes one peer's blocks may have among them, apart from the block that is needed next.
const BYTES_OF_ONE: usize = BYTES / 2;

/// How many different blocks of one number are kept, each of another peer: one of them may be a fake.
const VERSIONS: usize = 2;

/// Blocks that wait for the committer, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: BTreeMap<u64, Vec<Accepted>>,
    bytes: usize,
    bytes_of: BTreeMap<PkiId, usize>,
}

impl Slots {
    /// Keeps a block if there is room. For the block that is `needed` next, room is made.
    pub(super) fn keep(&mut self, block: Accepted, needed: u64) -> Offered {
        let number = block.payload.number;
        if let Some(versions) = self.slots.get(&number) {
            let is_known = |known: &Accepted| known.from == block.from || known.payload.block == block.payload.block;
            if versions.len() >= VERSIONS || versions.iter().any(is_known) {
                return Offered::Known;
            }
        }
        let size = size(&block);
        let of_sender = self.bytes_of.get(&block.from).copied().unwrap_or_default();
        if number > needed && of_sender + size > BYTES_OF_ONE {
            return Offered::NoRoom;
        }
        while self.bytes + size > BYTES {
            match self.slots.last_key_value().map(|(last, _)| *last) {
                Some(last) if last > number => self.remove(last),
                _ if number <= needed => break,
                _ => return Offered::NoRoom,
            }
        }
        self.bytes += size;
        *self.bytes_of.entry(block.from.clone()).or_default() += size;
        self.slots.entry(number).or_default().push(block);
        Offered::Taken
    }

    /// Whether a block of this number waits.
    pub(super) fn has(&self, number: u64) -> bool {
        self.slots.contains_key(&number)
    }

    /// The block of this number that is tried first.
    pub(super) fn first_of(&self, number: u64) -> Option<&Accepted> {
        self.slots.get(&number).and_then(|versions| versions.first())
    }

    /// The lowest number above this one that waits.
    pub(super) fn above(&self, number: u64) -> Option<u64> {
        self.slots.range(number.saturating_add(1)..).next().map(|(above, _)| *above)
    }

    /// How many bytes wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many numbers wait.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Removes the blocks below a height and gives, for each number, the one that was tried.
    pub(super) fn remove_below(&mut self, height: u64) -> Vec<(u64, Accepted)> {
        let above = self.slots.split_off(&height);
        let below = std::mem::replace(&mut self.slots, above);
        let mut tried = Vec::new();
        for (number, versions) in below {
            versions.iter().for_each(|version| self.forget(version));
            tried.extend(versions.into_iter().next().map(|version| (number, version)));
        }
        tried
    }

    /// Removes all blocks of a peer.
    pub(super) fn remove_of(&mut self, peer: &PkiId) {
        let mut removed = Vec::new();
        self.slots.retain(|_, versions| {
            removed.extend(versions.extract_if(.., |version| version.from == *peer));
            !versions.is_empty()
        });
        removed.iter().for_each(|version| self.forget(version));
    }

    fn remove(&mut self, number: u64) {
        for version in self.slots.remove(&number).unwrap_or_default() {
            self.forget(&version);
        }
    }

    fn forget(&mut self, block: &Accepted) {
        let size = size(block);
        self.bytes -= size;
        if let Some(bytes) = self.bytes_of.get_mut(&block.from) {
            *bytes -= size;
            if *bytes == 0 {
                self.bytes_of.remove(&block.from);
            }
        }
    }
}

fn size(block: &Accepted) -> usize {
    block.payload.block.len() + block.payload.private_data.iter().map(bytes::Bytes::len).sum::<usize>() + 1
}
