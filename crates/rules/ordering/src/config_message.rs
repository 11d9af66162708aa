use bytes::Bytes;
use prost::Message as _;
use ripstop_channel_config::{ChannelConfig, update};
use ripstop_policy::Reader;
use ripstop_proto::common::{self, Status};
use ripstop_types::{ChannelId, Envelope};

use crate::consensus_metadata::{self, ConsensusRefusal};
use crate::filter::{ExpirationRule, Refusal, check};
use crate::maintenance::{self, MaintenanceRefusal};

const INITIAL: &str = "config update for existing channel did not pass initial checks";
const FINAL: &str = "config update for existing channel did not pass final checks";

/// A configuration that an update leads to. The orderer signs an envelope of type CONFIG around [`Self::data`], without
/// transaction id and stamped in whole seconds; [`check_produced`] checks it, and it is ordered.
#[derive(Debug)]
pub struct ProposedConfig {
    /// The configuration as it will be.
    pub next: ChannelConfig,
    envelope: common::ConfigEnvelope,
}

impl ProposedConfig {
    /// The content of the configuration transaction: the configuration, and the update behind it.
    pub fn data(&self) -> Bytes {
        self.envelope.encode_to_vec().into()
    }
}

/// Why a configuration update is not ordered. Texts begin as Fabric's do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigRefusal {
    /// The update's envelope does not pass the filters of every message.
    #[error("{INITIAL}: {0}")]
    Initial(Refusal),
    /// The update cannot be applied.
    #[error("error applying config update to existing channel '{channel}': {reason}")]
    Update {
        /// The channel.
        channel: ChannelId,
        /// What is wrong.
        reason: UpdateRefusal,
    },
    /// The configuration transaction made from it does not pass the filters: it is too large, or this orderer's own
    /// identity may not write to the channel.
    #[error("{FINAL}: {0}")]
    Final(Refusal),
    /// The rules of a change of consensus are not kept.
    #[error(
        "config update for existing channel did not pass maintenance checks: config transaction inspection failed: {0}"
    )]
    Maintenance(#[from] MaintenanceRefusal),
}

/// Why an update cannot be applied to a configuration.
#[derive(Debug, thiserror::Error)]
pub enum UpdateRefusal {
    /// The update itself, or what it leads to.
    #[error(transparent)]
    Update(#[from] update::UpdateError),
    /// The consenters or their options.
    #[error("consensus metadata update for channel config update is invalid: {0}")]
    Consensus(#[from] ConsensusRefusal),
}

impl ConfigRefusal {
    /// All that a reader may know. Displays as for the sender.
    pub fn text(&self, reader: Reader) -> String {
        match self {
            Self::Initial(refusal) => format!("{INITIAL}: {}", refusal.text(reader)),
            Self::Final(refusal) => format!("{FINAL}: {}", refusal.text(reader)),
            Self::Update { .. } | Self::Maintenance(_) => self.to_string(),
        }
    }

    /// The status that a client is answered with.
    pub const fn status(&self) -> Status {
        match self {
            Self::Initial(refusal) | Self::Final(refusal) => refusal.status(),
            Self::Update { .. } | Self::Maintenance(_) => Status::BadRequest,
        }
    }
}

/// Checks an update and applies it to the configuration in force. `consenters` judges a change of consenters against
/// those that are alive, which only the running consensus knows.
pub fn propose_config(
    config: &ChannelConfig,
    update: &Envelope,
    expiration: ExpirationRule,
    now: i64,
    consenters: impl FnOnce(&ChannelConfig) -> Result<(), String>,
) -> Result<ProposedConfig, ConfigRefusal> {
    check(config, update, expiration).map_err(ConfigRefusal::Initial)?;
    let proposed = apply(config, update).map_err(|reason| refused(config, reason))?;
    check_next(config, &proposed.next, update, now, consenters)?;
    Ok(proposed)
}

/// Checks that a configuration that another orderer made of an update may follow the one in force, by the same rules: a
/// block with one that may not would stop the channel everywhere.
pub fn check_foreign_config(
    config: &ChannelConfig,
    content: &common::ConfigEnvelope,
    now: i64,
    consenters: impl FnOnce(&ChannelConfig) -> Result<(), String>,
) -> Result<(), ConfigRefusal> {
    let refuse = |error: update::UpdateError| refused(config, error.into());
    let next = update::accept(config, content).map_err(refuse)?;
    let update = Envelope::from_proto(content.last_update.clone().unwrap_or_default())
        .map_err(|error| refuse(update::UpdateError::Envelope(error)))?;
    check_next(config, &next, &update, now, consenters)
}

fn refused(config: &ChannelConfig, reason: UpdateRefusal) -> ConfigRefusal {
    ConfigRefusal::Update { channel: config.channel_id().clone(), reason }
}

/// What is asked of a configuration beyond being what the update leads to.
fn check_next(
    config: &ChannelConfig,
    next: &ChannelConfig,
    update: &Envelope,
    now: i64,
    consenters: impl FnOnce(&ChannelConfig) -> Result<(), String>,
) -> Result<(), ConfigRefusal> {
    consensus_metadata::check(config, next, now).map_err(|error| refused(config, error.into()))?;
    consenters(next).map_err(|text| refused(config, ConsensusRefusal::Consenters(text).into()))?;
    Ok(maintenance::check(config, next, update)?)
}

fn apply(config: &ChannelConfig, update: &Envelope) -> Result<ProposedConfig, UpdateRefusal> {
    let last_update = update.to_proto();
    let next = update::propose(config, &update::extract(&last_update)?)?;
    let envelope = common::ConfigEnvelope { config: Some(next.config().clone()), last_update: Some(last_update) };
    Ok(ProposedConfig { next, envelope })
}

/// Checks the signed configuration transaction as any message.
pub fn check_produced(
    config: &ChannelConfig,
    produced: &Envelope,
    expiration: ExpirationRule,
) -> Result<(), ConfigRefusal> {
    check(config, produced, expiration).map_err(ConfigRefusal::Final)
}
