use std::fmt;

use crate::{BlockNumber, OrderedVaruintError, get_ordered_varuint, put_ordered_varuint};

/// Where in the chain a value was written: block and position of the transaction inside it. It is the version of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Height {
    /// The block.
    pub block: BlockNumber,
    /// The index of the transaction in the block, from 0.
    pub tx: u64,
}

impl Height {
    /// The height of transaction `tx` of block `block`.
    pub const fn new(block: BlockNumber, tx: u64) -> Self {
        Self { block, tx }
    }

    /// Fabric's bytes of a version: both numbers as order-preserving integers.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8);
        self.put(&mut out);
        out
    }

    /// Appends [`Self::to_bytes`].
    pub fn put(self, out: &mut Vec<u8>) {
        put_ordered_varuint(out, self.block.get());
        put_ordered_varuint(out, self.tx);
    }

    /// Reads a version from the front of `input`; returns it and the rest.
    pub fn get(input: &[u8]) -> Result<(Self, &[u8]), OrderedVaruintError> {
        let (block, rest) = get_ordered_varuint(input)?;
        let (tx, rest) = get_ordered_varuint(rest)?;
        Ok((Self::new(BlockNumber::new(block), tx), rest))
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.block, self.tx)
    }
}

impl fmt::Debug for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
