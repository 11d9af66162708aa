use std::fmt;
use std::sync::Arc;

use crate::Digest;

/// The longest channel id, in bytes (Fabric: `common/configtx/validator.go`).
const MAX_CHANNEL_ID_LENGTH: usize = 249;

/// The name of a channel: lower-case letters, digits, `.` and `-`, beginning with a letter, at most 249 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(Arc<str>);

/// A channel id that breaks the rule of [`ChannelId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{id}' contains illegal characters: a channel ID begins with a lower-case letter, holds only lower-case letters, digits, '.' and '-', and is 1 to 249 bytes long"
)]
pub struct InvalidChannelId {
    /// What was offered as a channel id.
    pub id: String,
}

impl ChannelId {
    /// Checks and takes a channel id.
    pub fn new(id: &str) -> Result<Self, InvalidChannelId> {
        let mut bytes = id.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let goes_on_well = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-');
        if starts_well && goes_on_well && id.len() <= MAX_CHANNEL_ID_LENGTH {
            Ok(Self(id.into()))
        } else {
            Err(InvalidChannelId { id: id.to_owned() })
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a membership service provider, such as `Org1MSP`. Fabric sets no rule for its form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MspId(Arc<str>);

impl MspId {
    /// Takes an MSP id.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MspId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MspId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A transaction id as the channel header carries it: normally 64 lower-case hexadecimal digits, but hostile headers may
/// hold any text, and configuration transactions none.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxId(Arc<str>);

impl TxId {
    /// Takes a transaction id as it stands in a header.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id that nonce and creator determine: the lower-case hexadecimal SHA-256 of `nonce || creator`.
    pub fn compute(nonce: &[u8], creator: &[u8]) -> Self {
        Self(hex::encode(Digest::of_parts([nonce, creator]).as_bytes()).into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none, as with configuration transactions.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a block; the genesis block is 0. A ledger of height `h` holds blocks `0..h`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BlockNumber(u64);

impl BlockNumber {
    /// The genesis block.
    pub const GENESIS: Self = Self(0);

    /// Takes a block number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of the block that follows. Saturates, because no chain reaches the end of `u64`.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number of the block before; none before the genesis block.
    pub const fn previous(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl fmt::Display for BlockNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BlockNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_ids_follow_fabrics_rule() {
        for good in ["a", "mychannel", "my.channel-2"] {
            assert!(ChannelId::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(250);
        for bad in ["", "1a", "My", "a_b", ".a", "ä", long.as_str()] {
            assert!(ChannelId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn transaction_id_is_the_hash_of_nonce_and_creator() {
        assert_eq!(
            TxId::compute(b"nonce", b"creator").as_str(),
            "709184f9d24f6ade8fcd4d6521a6eef295fef6c2e67216c58b68ac15e8946492"
        );
    }
}
