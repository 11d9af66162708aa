use std::sync::Arc;

use ripstop_chaincode_builder::{PackageError, ServerInfoError, StartError};
use ripstop_channel_config::acl::AclRefusal;
use ripstop_ledger::SimulateError;
use ripstop_lifecycle::ExecutionError;
use ripstop_types::TxId;

use crate::authority::IssueError;
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
    /// The package was not built.
    #[error("error building chaincode: error building image: {0}")]
    Build(Arc<BuildError>),
    /// What was built did not start.
    #[error("error starting container: error starting container: {0}")]
    Start(Arc<StartError>),
    /// It could not be given a certificate.
    #[error("could not get connection info: failed to generate TLS certificates for {id}: {cause}")]
    Certificate {
        /// The id.
        id: String,
        /// Why.
        cause: Arc<IssueError>,
    },
    /// It ended too often soon after it was started.
    #[error(
        "chaincode registration failed: {reason}; it failed {count} times in succession and is started again in {seconds} \
         s at the earliest"
    )]
    Pausing {
        /// How it ended last.
        reason: String,
        /// How often.
        count: u32,
        /// How long the pause still is.
        seconds: u64,
    },
    /// Its developer has not started it.
    #[error(
        "chaincode {0} has not registered; in development mode its developer starts it, with CORE_CHAINCODE_ID_NAME={0} in \
         its environment, against the peer's address for chaincode"
    )]
    NotRegistered(String),
    /// The peer is stopping.
    #[error("the peer is stopping")]
    Stopping,
}

/// Why an installed package was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The package cannot be read.
    #[error("failed to get chaincode package for external build: {0}")]
    Store(#[from] StoreError),
    /// The package is broken.
    #[error("failed to get chaincode package for external build: {0}")]
    Package(#[from] PackageError),
    /// No builder could do it.
    #[error(transparent)]
    Builder(#[from] ripstop_chaincode_builder::BuildError),
    /// It says wrongly how to reach its server.
    #[error(transparent)]
    Server(#[from] ServerInfoError),
    /// The peer stops.
    #[error("the build was given up")]
    GivenUp,
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
