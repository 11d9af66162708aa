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

/// The transaction that brings a configuration.
pub(crate) fn configuring(sequence: usize) -> String {
    format!("config {sequence}")
}

/// The transaction that brings a definition.
pub(crate) fn defining(sequence: usize) -> String {
    format!("define {sequence}")
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
    // The blocks with which each next configuration, and each next definition of the chaincode, came.
    configurations: Vec<u64>,
    definitions: Vec<u64>,
}

/// A block that does not continue a ledger, or that orderers did not seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

impl Default for Ledger {
    fn default() -> Self {
        let genesis = Bytes::from_static(b"genesis");
        let tip = Digest::of(&genesis);
        Self { blocks: vec![genesis], tip, commit_hash: tip, configurations: vec![0], definitions: vec![0] }
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

    /// The number of the configuration in force.
    pub(crate) fn configuration(&self) -> usize {
        self.configurations.len() - 1
    }

    /// The block that brought the configuration in force.
    pub(crate) fn configured_by(&self) -> u64 {
        self.configurations.last().copied().unwrap_or_default()
    }

    /// The number of the definition in force.
    pub(crate) fn definition(&self) -> usize {
        self.definitions.len() - 1
    }

    /// The number of the definition that was in force for a block.
    pub(crate) fn definition_for(&self, block: u64) -> usize {
        self.definitions.iter().rposition(|by| *by < block).unwrap_or_default()
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
        let number = self.height();
        self.blocks.push(block.clone());
        // Of what is ordered twice the second one is invalid.
        for transaction in draft.lines().skip(1) {
            if transaction == configuring(self.configurations.len()) {
                self.configurations.push(number);
            } else if transaction == defining(self.definitions.len()) {
                self.definitions.push(number);
            }
        }
        Ok(())
    }
}
