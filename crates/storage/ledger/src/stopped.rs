use std::path::Path;

use ripstop_block_store::{BlockStoreError, drop_index};
use ripstop_files::{FileError, FileSystem};
use ripstop_types::{BlockNumber, ChannelId};

use crate::directory::{LedgerDirectory, LedgersDirectory};
use crate::rollback::{open_blocks, roll_back};
use crate::{LedgerStatus, OpenError};

/// The ledgers of a peer that does not run, for its operator. While this is held, the peer cannot start.
///
/// A crash in the middle of anything here leaves each ledger as it was before, or it is finished when the ledgers are
/// opened the next time.
pub struct StoppedLedgers(LedgersDirectory);

/// Why an operator's command fails. Fabric's words.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// The ledgers are in use, or their directory cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no such channel to pause or resume.
    #[error("cannot update ledger status, ledger [{0}] does not exist")]
    NoLedger(String),
    /// There is no such channel to leave.
    #[error("unjoin channel [{0}]: cannot update ledger status, ledger [{0}] does not exist")]
    NotJoined(String),
    /// There is no such channel to roll back.
    #[error("ledgerID [{0}] does not exist")]
    NoChain(String),
    /// What is behind a snapshot cannot be made anew from blocks.
    #[error("cannot {what} because the peer contains channel(s) [{}] that were bootstrapped from snapshot", channels.join(" "))]
    Bootstrapped {
        /// What was to be done.
        what: &'static str,
        /// The channels that began with a snapshot.
        channels: Vec<String>,
    },
    /// The channel ends at or before the block that should be its last.
    #[error("target block number [{target}] should be less than the biggest block number [{last}]")]
    NotBehind {
        /// The block.
        target: BlockNumber,
        /// The last block of the chain.
        last: u64,
    },
    /// The blocks of a channel cannot be read or cut.
    #[error("channel [{channel}]: {source}")]
    Blocks {
        /// The channel.
        channel: ChannelId,
        /// Why not.
        source: BlockStoreError,
    },
    /// A ledger cannot be removed; the rest goes when the peer starts.
    #[error("deleting ledger [{channel}]: {source}")]
    Delete {
        /// The channel.
        channel: ChannelId,
        /// Why not.
        source: FileError,
    },
    /// Something in a ledger's directory cannot be read or changed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl StoppedLedgers {
    /// Takes hold of the ledgers under `root`.
    pub fn open(root: &Path) -> Result<Self, AdministrationError> {
        Ok(Self(LedgersDirectory::open(&FileSystem::host(), root)?))
    }

    /// Keeps a peer from taking part in a channel, or lets it do so again.
    pub fn set_status(&self, channel: &str, status: LedgerStatus) -> Result<(), AdministrationError> {
        let (_, directory) = self.find(channel, AdministrationError::NoLedger)?;
        Ok(directory.set_status(status)?)
    }

    /// Takes a channel back: `last` becomes its last block, the state follows when the ledger is opened.
    pub fn roll_back(&self, channel: &str, last: BlockNumber) -> Result<(), AdministrationError> {
        self.check_all_blocks_here("rollback any channel")?;
        let (channel, directory) = self.find(channel, AdministrationError::NoChain)?;
        let failed = |source| AdministrationError::Blocks { channel: channel.clone(), source };
        let blocks = open_blocks(&directory).map_err(failed)?;
        let height = blocks.appended();
        if last.get().saturating_add(1) >= height {
            return Err(AdministrationError::NotBehind { target: last, last: height.saturating_sub(1) });
        }
        roll_back(&directory, blocks, last).map_err(failed)
    }

    /// Takes all channels back to their first block.
    pub fn reset(&self) -> Result<(), AdministrationError> {
        self.check_all_blocks_here("reset channels")?;
        for (channel, directory) in self.0.ledgers()? {
            open_blocks(&directory)
                .and_then(|blocks| roll_back(&directory, blocks, BlockNumber::GENESIS))
                .map_err(|source| AdministrationError::Blocks { channel, source })?;
        }
        Ok(())
    }

    /// Drops all that is derived from the blocks of all channels. It comes back when the ledgers are opened.
    pub fn drop_derived(&self) -> Result<(), AdministrationError> {
        self.check_all_blocks_here("rebuild databases")?;
        for directory in self.0.ledgers()?.values() {
            directory.drop_state()?;
            drop_index(&directory.blocks())?;
        }
        Ok(())
    }

    /// Removes a channel with all its data. The peer may join it again.
    pub fn unjoin(&self, channel: &str) -> Result<(), AdministrationError> {
        let (channel, _) = self.find(channel, AdministrationError::NotJoined)?;
        self.0.delete(&channel).map_err(|source| AdministrationError::Delete { channel, source })
    }

    /// Refuses to go on where a channel began with a snapshot, as Fabric does, for whichever channel it was asked.
    fn check_all_blocks_here(&self, what: &'static str) -> Result<(), AdministrationError> {
        let mut channels = Vec::new();
        for (channel, directory) in self.0.ledgers()? {
            if directory.begins_with_snapshot()? {
                channels.push(channel.to_string());
            }
        }
        if channels.is_empty() { Ok(()) } else { Err(AdministrationError::Bootstrapped { what, channels }) }
    }

    fn find(
        &self,
        channel: &str,
        otherwise: fn(String) -> AdministrationError,
    ) -> Result<(ChannelId, LedgerDirectory), AdministrationError> {
        let found = self.0.ledgers()?.into_iter().find(|(name, _)| name.as_str() == channel);
        found.ok_or_else(|| otherwise(channel.to_owned()))
    }
}
