use ripstop_types::MspId;

use crate::orderer::organizations_without_endpoints;
use crate::{ChannelConfig, ConsensusType};

/// Why a configuration, valid by itself, may not follow the current one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// The ordering went away.
    #[error("current config has orderer section, but new config does not")]
    OrdererRemoved,
    /// The application went away.
    #[error("current config has application section, but new config does not")]
    ApplicationRemoved,
    /// Another consensus, before that was possible.
    #[error("attempted to change consensus type from {from} to {to}")]
    ConsensusType {
        /// The current one.
        from: ConsensusType,
        /// The new one.
        to: ConsensusType,
    },
    /// The step to V3_0 while an organization names no address.
    #[error("illegal orderer config update detected: endpoints of org {0} are missing")]
    NoEndpoints(String),
    /// An organization that becomes another one.
    #[error("{section} org {org} attempted to change MSP ID from {from} to {to}")]
    MspId {
        /// `orderer` or `application`.
        section: &'static str,
        /// The organization.
        org: String,
        /// The current id.
        from: MspId,
        /// The new one.
        to: MspId,
    },
}

/// See [`ChannelConfig::check_successor`].
pub(crate) fn check(current: &ChannelConfig, next: &ChannelConfig) -> Result<(), TransitionError> {
    if let Some(orderer) = current.orderer() {
        let next_orderer = next.orderer().ok_or(TransitionError::OrdererRemoved)?;
        if !current.capabilities().consensus_type_migration() && orderer.consensus_type != next_orderer.consensus_type {
            return Err(TransitionError::ConsensusType {
                from: orderer.consensus_type.clone(),
                to: next_orderer.consensus_type.clone(),
            });
        }
        if !current.capabilities().consensus_type_bft()
            && next.capabilities().consensus_type_bft()
            && let Some(name) = organizations_without_endpoints(&next_orderer.organizations).next()
        {
            return Err(TransitionError::NoEndpoints(name.to_owned()));
        }
        for (name, organization) in &orderer.organizations {
            let next = next_orderer.organizations.get(name).map(|next| &next.msp_id);
            check_msp_id("orderer", name, &organization.msp_id, next)?;
        }
    }
    if let Some(application) = current.application() {
        let next_application = next.application().ok_or(TransitionError::ApplicationRemoved)?;
        for (name, organization) in &application.organizations {
            let next = next_application.organizations.get(name).map(|next| &next.msp_id);
            check_msp_id("application", name, &organization.msp_id, next)?;
        }
    }
    Ok(())
}

fn check_msp_id(section: &'static str, org: &str, from: &MspId, to: Option<&MspId>) -> Result<(), TransitionError> {
    match to {
        Some(to) if to != from => {
            Err(TransitionError::MspId { section, org: org.to_owned(), from: from.clone(), to: to.clone() })
        }
        _ => Ok(()),
    }
}
