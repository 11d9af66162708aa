use ripstop_channel_config::{ChannelConfig, ConfigError, ConfigFault, ConsensusType};
use ripstop_types::{Block, ChannelId, data_hash};

/// A configuration block with which a channel can be joined.
#[derive(Debug)]
pub struct JoinBlock {
    pub(crate) channel: ChannelId,
    pub(crate) block: Block,
    pub(crate) config: ChannelConfig,
}

/// Why a block is none to join a channel with. The words are Fabric's where it has some.
#[derive(Debug, thiserror::Error)]
pub enum InvalidJoinBlock {
    /// It holds no configuration.
    #[error("block is not a config block")]
    NotConfig,
    /// It lacks what orderers add.
    #[error("invalid block: does not have metadata")]
    NoMetadata,
    /// Header and data do not belong together.
    #[error("invalid block: Header.DataHash is different from Hash(block.Data)")]
    DataHash,
    /// The configuration of the system channel, which no longer exists.
    #[error("invalid config: contains consortiums: system channel not supported")]
    SystemChannel,
    /// Nobody could use the channel.
    #[error("invalid config: must contain application config")]
    NoApplication,
    /// Nobody could order on the channel.
    #[error("config does not contain orderer config")]
    NoOrderer,
    /// Consensus that this node does not know.
    #[error("failed to find a consenter for consensus type: {0}")]
    Consensus(ConsensusType),
    /// A configuration that cannot be.
    #[error(transparent)]
    Config(ConfigError),
}

impl JoinBlock {
    /// Checks a block (Fabric: `channelparticipation.ValidateJoinBlock`).
    pub fn new(block: Block) -> Result<Self, InvalidJoinBlock> {
        if block.config_envelope().is_none() {
            return Err(InvalidJoinBlock::NotConfig);
        }
        if block.metadata.elements().is_empty() {
            return Err(InvalidJoinBlock::NoMetadata);
        }
        if data_hash(&block.data).to_bytes() != block.header.data_hash {
            return Err(InvalidJoinBlock::DataHash);
        }
        let config = ChannelConfig::from_block(&block).map_err(|error| match error.fault {
            ConfigFault::SystemChannel => InvalidJoinBlock::SystemChannel,
            _ => InvalidJoinBlock::Config(error),
        })?;
        if config.application().is_none() {
            return Err(InvalidJoinBlock::NoApplication);
        }
        config.check_level().map_err(InvalidJoinBlock::Config)?;
        let consensus = config.orderer().ok_or(InvalidJoinBlock::NoOrderer)?.consensus_type.clone();
        if consensus != ConsensusType::EtcdRaft {
            return Err(InvalidJoinBlock::Consensus(consensus));
        }
        Ok(Self { channel: config.channel_id().clone(), block, config })
    }
}
