//! Model blocks and ledgers: a block names the hash of the one before it and carries the orderers' seal, so that nobody else
//! can make one.

use bytes::Bytes;
use ripstop_types::Digest;

/// What only orderers know.
const SEAL_KEY: &[u8] = b"the orderers' key";
/// What stands before the seal.
const SEAL: &str = "\nseal ";

/// What orderers agree on: a block without its seal.
pub(crate) fn draft(number: u64, previous: &Digest, transactions: &[String]) -> Bytes {
    let mut text = format!("{number} {previous}");
    for transaction in transactions {
        text.push('\n');
        text.push_str(transaction);
    }
    text.into()
}

/// A block as peers get it.
pub(crate) fn sealed(draft: &Bytes) -> Bytes {
    let text = std::str::from_utf8(draft).expect("drafts are text");
    format!("{text}{SEAL}{}", seal(text)).into()
}

/// What orderers agreed on to get a block.
pub(crate) fn unsealed(block: &Bytes) -> Bytes {
    let end = block.windows(SEAL.len()).rposition(|window| window == SEAL.as_bytes());
    block.slice(..end.unwrap_or(block.len()))
}

/// The number of a draft.
pub(crate) fn number_of(draft: &Bytes) -> u64 {
    let text = std::str::from_utf8(draft).expect("drafts are text");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a draft begins with its number")
}

fn seal(draft: &str) -> Digest {
    Digest::of_parts([SEAL_KEY, draft.as_bytes()])
}

/// A chain of blocks as it is on a disk.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    blocks: Vec<Bytes>,
    tip: Digest,
    commit_hash: Digest,
}

/// A block that does not continue a ledger, or that orderers did not seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

impl Default for Ledger {
    fn default() -> Self {
        let genesis = Bytes::from_static(b"genesis");
        let tip = Digest::of(&genesis);
        Self { blocks: vec![genesis], tip, commit_hash: tip }
    }
}

impl Ledger {
    /// How many blocks there are.
    pub(crate) fn height(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// The hash of the last block.
    pub(crate) const fn tip(&self) -> &Digest {
        &self.tip
    }

    /// A digest of all blocks in their order.
    pub(crate) const fn commit_hash(&self) -> &Digest {
        &self.commit_hash
    }

    /// A block.
    pub(crate) fn block(&self, number: u64) -> Option<&Bytes> {
        usize::try_from(number).ok().and_then(|number| self.blocks.get(number))
    }

    /// All transactions of a block.
    pub(crate) fn transactions(&self, number: u64) -> impl Iterator<Item = &str> {
        let text = self.block(number).and_then(|block| std::str::from_utf8(block).ok()).unwrap_or_default();
        let draft = text.rsplit_once(SEAL).map_or("", |(draft, _)| draft);
        draft.lines().skip(1)
    }

    /// Verifies a block and appends it.
    pub(crate) fn commit(&mut self, block: &Bytes) -> Result<(), Refused> {
        let text = std::str::from_utf8(block).map_err(|_| Refused)?;
        let (draft, sealed) = text.rsplit_once(SEAL).ok_or(Refused)?;
        let head = format!("{} {}", self.height(), self.tip);
        if sealed != seal(draft).to_string() || draft.lines().next() != Some(head.as_str()) {
            return Err(Refused);
        }
        self.tip = Digest::of(block);
        self.commit_hash = Digest::of_parts([&self.commit_hash.as_bytes()[..], self.tip.as_ref()]);
        self.blocks.push(block.clone());
        Ok(())
    }
}
