//! What an operator does to the ledgers of a peer that does not run.

use anyhow::bail;
use ripstop_ledger::{LedgerStatus, StoppedLedgers};
use ripstop_node_config::{Environment, PeerConfig};
use ripstop_types::BlockNumber;

use crate::commands::{Failure, usage};

/// The subcommands of `peer node` that need the peer to be offline.
#[derive(Debug, clap::Subcommand)]
pub enum AdministrationCommand {
    /// Resets all channels to their genesis blocks.
    #[command(
        about = "Resets the node.",
        long_about = "Resets all channels to the genesis block. When the command is executed, the peer must be offline. When the peer starts after the reset, it will receive blocks starting with block number one from an orderer or another peer to rebuild the block store and state database. The command is not supported if the peer contains any channel that was bootstrapped from a snapshot."
    )]
    Reset,
    /// Takes a channel back to a block.
    #[command(
        about = "Rolls back a channel.",
        long_about = "Rolls back a channel to a specified block number. When the command is executed, the peer must be offline. When the peer starts after the rollback, it will receive blocks, which got removed during the rollback, from an orderer or another peer to rebuild the block store and state database. The command is not supported if the peer contains any channel that was bootstrapped from a snapshot."
    )]
    Rollback {
        /// The channel.
        #[arg(short = 'c', long = "channelID", default_value = "", help = "Channel to rollback.")]
        channel: String,
        /// The last block to keep.
        #[arg(
            short = 'b',
            long = "blockNumber",
            default_value = "0",
            value_parser = ripstop_command_line::value::unsigned,
            help = "Block number to which the channel needs to be rolled back to."
        )]
        block: u64,
    },
    /// Has a channel take no blocks.
    #[command(
        about = "Pauses a channel on the peer.",
        long_about = "Pauses a channel on the peer. When the command is executed, the peer must be offline. When the peer starts after pause, it will not receive blocks for the paused channel."
    )]
    Pause {
        /// The channel.
        #[arg(short = 'c', long = "channelID", default_value = "", help = "Channel to pause.")]
        channel: String,
    },
    /// Ends a pause.
    #[command(
        about = "Resumes a channel on the peer.",
        long_about = "Resumes a channel on the peer. When the command is executed, the peer must be offline. When the peer starts after resume, it will receive blocks for the resumed channel."
    )]
    Resume {
        /// The channel.
        #[arg(short = 'c', long = "channelID", default_value = "", help = "Channel to resume.")]
        channel: String,
    },
    /// Drops what the peer derives from the blocks.
    #[command(
        about = "Rebuilds databases.",
        long_about = "Drops the databases for all the channels and rebuilds them upon peer restart. When the command is executed, the peer must be offline. The command is not supported if the peer contains any channel that was bootstrapped from a snapshot."
    )]
    RebuildDbs,
    /// Removes a channel.
    #[command(
        about = "Unjoin the peer from a channel.",
        long_about = "Unjoin the peer from a channel.  When the command is executed, the peer must be offline."
    )]
    Unjoin {
        /// The channel.
        #[arg(short = 'c', long = "channelID", default_value = "", help = "Channel to unjoin.")]
        channel: String,
    },
    /// Brings what an older peer has written up to date.
    #[command(
        about = "Upgrades databases.",
        long_about = "Upgrades databases by directly updating the database format or dropping the databases. Dropped databases will be rebuilt with new format upon peer restart. When the command is executed, the peer must be offline."
    )]
    UpgradeDbs,
}

impl AdministrationCommand {
    pub(crate) fn run(self) -> Result<(), Failure> {
        if self.channel().is_some_and(str::is_empty) {
            return usage("Must supply channel ID");
        }
        // Fabric shows the usage with every problem of these commands.
        self.apply().map_err(|error| Failure::Usage(format!("{error:#}")))
    }

    fn apply(self) -> anyhow::Result<()> {
        let config = PeerConfig::load(&Environment::of_process())?.config;
        let ledgers = StoppedLedgers::open(&config.ledger.directory)?;
        let said = match self {
            Self::Reset => {
                ledgers.reset()?;
                "All channel ledgers have been successfully reset to the genesis block".to_owned()
            }
            Self::Rollback { channel, block } => {
                ledgers.roll_back(&channel, BlockNumber::new(block))?;
                format!("The channel [{channel}] has been successfully rolled back to the block number [{block}]")
            }
            Self::Pause { channel } => {
                ledgers.set_status(&channel, LedgerStatus::Inactive)?;
                format!("The channel [{channel}] has been successfully paused")
            }
            Self::Resume { channel } => {
                ledgers.set_status(&channel, LedgerStatus::Active)?;
                format!("The channel [{channel}] has been successfully resumed")
            }
            Self::RebuildDbs => {
                ledgers.drop_derived()?;
                "The databases of all channels have been dropped; they are rebuilt when the peer starts".to_owned()
            }
            Self::UpgradeDbs => {
                // Ledgers have had one format so far, and open in no other.
                bail!("the data format is already up to date. No upgrade is required")
            }
            Self::Unjoin { channel } => {
                ledgers.unjoin(&channel)?;
                format!("channel has been successfully unjoined ledgerID={channel}")
            }
        };
        tracing::info!(target: "kvledger", "{said}");
        Ok(())
    }

    /// The channel that it is about; `None` for those that are about all.
    fn channel(&self) -> Option<&str> {
        match self {
            Self::Reset | Self::RebuildDbs | Self::UpgradeDbs => None,
            Self::Rollback { channel, .. }
            | Self::Pause { channel }
            | Self::Resume { channel }
            | Self::Unjoin { channel } => Some(channel),
        }
    }
}
