use std::sync::Arc;

use ripstop_channel_config::acl::AclRefusal;
use ripstop_ledger::SimulateError;
use ripstop_lifecycle::ExecutionError;
use ripstop_types::TxId;

use crate::ServerInfoError;
use crate::package::PackageError;
use crate::store::StoreError;

/// Why a proposal has no result. The text is what the peer answers with status 500.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The name does not lead to code on this peer.
    #[error(
        "make sure the chaincode {chaincode} has been successfully defined on channel {channel} and try again: {cause}"
    )]
    NotDefined {
        /// The chaincode.
        chaincode: String,
        /// The channel.
        channel: String,
        /// Why.
        cause: ResolveError,
    },
    /// The chaincode could not be called, or did not answer.
    #[error("error in simulation: failed to execute transaction {tx_id}: {cause}")]
    Failed {
        /// The transaction.
        tx_id: TxId,
        /// Why.
        cause: InvokeError,
    },
    /// The answer makes no sense.
    #[error("error in simulation: {0}")]
    Answer(String),
}

impl ExecuteError {
    /// Whether the chaincode's stream died while it ran: the same peer may answer after a restart of the chaincode.
    pub fn stream_terminated(&self) -> bool {
        matches!(self, Self::Failed { cause: InvokeError::Sending(SendError::StreamTerminated), .. })
    }
}

/// Why a name does not lead to code on this peer.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No such chaincode is defined.
    #[error("chaincode {0} not found")]
    NotFound(String),
    /// A chaincode of a channel was called without one.
    #[error("could not get channel config for channel ''")]
    NoChannel,
    /// It is defined, but this peer cannot run it.
    #[error(transparent)]
    Definition(#[from] ExecutionError),
}

/// Why a chaincode could not be called, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The call is not allowed in this form.
    #[error("invalid invocation: {0}")]
    Invalid(InvalidInvocation),
    /// The code could not be started.
    #[error("could not launch chaincode {chaincode_id}: {cause}")]
    Launch {
        /// The id it registers with.
        chaincode_id: String,
        /// Why.
        cause: LaunchError,
    },
    /// It was called but did not answer.
    #[error("error sending: {0}")]
    Sending(SendError),
}

/// Why a call is not allowed.
#[derive(Debug, thiserror::Error)]
pub enum InvalidInvocation {
    /// The name does not lead to code.
    #[error("[channel {channel}] failed to get chaincode container info for {chaincode}: {cause}")]
    Resolve {
        /// The channel.
        channel: String,
        /// The chaincode.
        chaincode: String,
        /// Why.
        cause: ResolveError,
    },
    /// The mark of initialization could not be read or set.
    #[error("could not {action} 'initialized' key: {cause}")]
    State {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        cause: SimulateError,
    },
    /// The definition asks for no initialization.
    #[error("chaincode '{0}' does not require initialization but called as init")]
    InitNotRequired(String),
    /// It was initialized before.
    #[error("chaincode '{0}' is already initialized but called as init")]
    AlreadyInitialized(String),
    /// It must be initialized first.
    #[error("chaincode '{0}' has not been initialized for this version, must call as init first")]
    NotInitialized(String),
    /// There is no ledger behind the call.
    #[error("chaincode '{0}' needs a channel")]
    NoSimulation(String),
}

/// Why a called chaincode did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It took too long.
    #[error("timeout expired while executing transaction")]
    Timeout,
    /// Its stream ended.
    #[error("chaincode stream terminated")]
    StreamTerminated,
    /// It is at work on the same transaction already.
    #[error("txid: {tx_id}({channel}) exists")]
    Exists {
        /// The transaction.
        tx_id: String,
        /// The channel.
        channel: String,
    },
}

/// Why chaincode could not be started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaunchError {
    /// It did not register in time.
    #[error("timeout expired while starting chaincode {0} for transaction")]
    Timeout(String),
    /// Its server cannot be reached.
    #[error("connection to {chaincode_id} failed: error cannot create connection for {chaincode_id}: {reason}")]
    Connect {
        /// The id.
        chaincode_id: String,
        /// Why.
        reason: String,
    },
    /// Its stream ended before it registered.
    #[error("chaincode registration failed: {0}")]
    Registration(String),
    /// The package does not say how to run it, or in a way this peer cannot.
    #[error("error building chaincode: {0}")]
    Build(Arc<BuildError>),
    /// The peer is stopping.
    #[error("the peer is stopping")]
    Stopping,
}

/// Why a package cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The package cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The package is broken.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Its `connection.json` is missing or broken.
    #[error(transparent)]
    ServerInfo(#[from] ServerInfoError),
    /// It is of another type.
    #[error(
        "chaincode of type '{0}' cannot be built by this peer yet; run it as a service and package it with type 'ccaas'"
    )]
    Type(String),
}

/// Why a system chaincode refuses, with the status it answers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Failed(String),
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        Self::Failed(text.to_owned())
    }
}

/// Access was denied.
pub(crate) type Denied = AclRefusal;
