//! Everything that a ledger holds, in a form that can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use ripstop_block_store::{TransactionIndex, encode_block};
use ripstop_kv::{Entries, Keyspace, KvError};
use ripstop_state_db::KEYSPACES;
use ripstop_types::{BlockNumber, Digest};

use crate::{Ledger, LedgerError, PrivateStoreError};

/// How many differences are told.
const DIFFERENCES: usize = 20;

/// How many bytes of a key or value are told.
const SHOWN_BYTES: usize = 100;

/// What a ledger holds after some block. Two ledgers that took the same blocks and the same private data are equal, however
/// they came there. All of it is in memory: for tests, and for administrators with time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerContents {
    /// The first block that is here: the genesis block, or the one behind the snapshot with which the ledger begins.
    pub first_block: BlockNumber,
    /// The hash of each block from there on as it is stored, verdicts and commit hash included.
    pub blocks: Vec<Digest>,
    /// The commit hash of the last block.
    pub commit_hash: Bytes,
    /// State (public, hashed and clear private), history, index of blocks and transactions, expiries, savepoint.
    pub derived: Entries,
    /// Committed private data, which may be ahead by one block: that of a block whose commit a crash prevented. Purged
    /// values are erased some time after their purge.
    pub private: Entries,
}

impl Ledger {
    /// Everything it holds after the block that was committed last.
    pub fn contents(&self) -> Result<LedgerContents, ContentsError> {
        let (state, first_block) = (self.snapshot(), self.first_block());
        let blocks = (first_block.get()..state.height()).map(|number| {
            let block = self.block(BlockNumber::new(number))?.ok_or(ContentsError::NoBlock(number))?;
            Ok(Digest::of(&encode_block(&block)))
        });
        let keyspaces: Vec<Keyspace> = KEYSPACES.into_iter().chain(TransactionIndex::KEYSPACES).collect();
        Ok(LedgerContents {
            first_block,
            blocks: blocks.collect::<Result<_, ContentsError>>()?,
            commit_hash: state.commit_hash().clone(),
            derived: state.raw().entries(&keyspaces)?,
            private: self.private_contents()?,
        })
    }
}

/// Why the contents of a ledger cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// A block cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An entry cannot be read.
    #[error(transparent)]
    Store(#[from] KvError),
    /// Private data cannot be read.
    #[error(transparent)]
    Private(#[from] PrivateStoreError),
    /// A block is below the height, and not there.
    #[error("block [{0}] is missing")]
    NoBlock(u64),
}

impl LedgerContents {
    /// The number that the next block has.
    pub fn height(&self) -> u64 {
        self.first_block.get() + self.blocks.len() as u64
    }

    fn block(&self, number: u64) -> Option<&Digest> {
        let place = number.checked_sub(self.first_block.get())?;
        self.blocks.get(usize::try_from(place).ok()?)
    }

    /// In what another ledger differs, for people; empty when it does not. `expected` and `found` are as in assertions:
    /// these contents are expected.
    pub fn differences(&self, found: &Self) -> Vec<String> {
        let mut told = Vec::new();
        if self.first_block != found.first_block {
            told.push(format!("first block: expected [{}], found [{}]", self.first_block, found.first_block));
        }
        if self.height() != found.height() {
            told.push(format!("height: expected {}, found {}", self.height(), found.height()));
        }
        let mut in_both = self.first_block.max(found.first_block).get()..self.height().min(found.height());
        let unequal = in_both.find(|number| self.block(*number) != found.block(*number));
        told.extend(unequal.map(|number| format!("block [{number}] is another one")));
        if self.commit_hash != found.commit_hash {
            told.push("the commit hashes differ".to_owned());
        }
        tell(&self.derived, &found.derived, &mut told);
        tell(&self.private, &found.private, &mut told);
        told.truncate(DIFFERENCES);
        told
    }
}

fn tell(expected: &Entries, found: &Entries, told: &mut Vec<String>) {
    let none = BTreeMap::new();
    let keyspaces: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for keyspace in keyspaces {
        let [expected, found] = [expected, found].map(|entries| entries.get(keyspace).unwrap_or(&none));
        let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        let unequal = keys.into_iter().filter(|key| expected.get(*key) != found.get(*key));
        told.extend(unequal.take(DIFFERENCES).map(|key| {
            let [expected, found] = [expected, found].map(|entries| Shown(entries.get(key).map(Bytes::as_ref)));
            format!("{keyspace} {}: expected {expected}, found {found}", Shown(Some(key)))
        }));
    }
}

/// Bytes for people.
struct Shown<'a>(Option<&'a [u8]>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0 else { return f.write_str("nothing") };
        let beginning = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
        write!(f, "'{}'", beginning.escape_ascii())?;
        if beginning.len() < bytes.len() { write!(f, "... ({} bytes)", bytes.len()) } else { Ok(()) }
    }
}
