//! From a name to code, and whether it may be called now.

use ripstop_ledger::SimulatedLifecycle;
use ripstop_lifecycle::{ChaincodeParameters, ExecutionError, execution};
use ripstop_proto::protos::chaincode_message::Type;

use crate::call::Call;
use crate::error::{InvalidInvocation, ResolveError};
use crate::host::{ChaincodeHost, Registration};
use crate::{SYSTEM_VERSION, is_system_chaincode};

/// The key in a chaincode's namespace that holds the version it was initialized with.
const INITIALIZED: &str = "\u{0}\u{10ffff}initialized";

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// A function of this peer.
    System,
    /// An installed package under a committed definition.
    Package {
        /// What it registers as.
        package_id: String,
        /// The definition's terms.
        parameters: ChaincodeParameters,
    },
}

impl Target {
    /// The version that endorsements state.
    pub(crate) fn version(&self) -> &str {
        match self {
            Self::System => SYSTEM_VERSION,
            Self::Package { parameters, .. } => &parameters.version,
        }
    }
}

/// Finds what a name stands for on the call's channel.
pub(crate) fn resolve(host: &ChaincodeHost, call: &Call, name: &str) -> Result<Target, ResolveError> {
    if is_system_chaincode(name) {
        return Ok(Target::System);
    }
    let ledger = call.ledger.as_ref().ok_or(ResolveError::NoChannel)?;
    let mut guard = call.simulator();
    let simulator = guard.as_mut().ok_or(ResolveError::NoChannel)?;
    let committed = simulator.state().clone();
    let installed = host.packages().list();
    let ids = installed.iter().map(|package| package.id.as_str());
    let (channel, org) = (ledger.channel_id().as_str(), host.node().local_msp.id());
    let mut state = SimulatedLifecycle::new(simulator);
    match execution(&mut state, committed.as_ref(), channel, org, name, ids) {
        Ok(Some(found)) => Ok(Target::Package { package_id: found.package_id, parameters: found.parameters }),
        Ok(None) => {
            // Fabric then looks for a legacy definition, which is one more read in the read set.
            Err(ResolveError::NotFound(name.to_owned()))
        }
        Err(ExecutionError::NotInstalled { name, parameters, .. })
            if host.options().registration == Registration::AnyInDevelopment =>
        {
            let package_id = format!("{name}:{}", parameters.version);
            Ok(Target::Package { package_id, parameters: *parameters })
        }
        Err(error) => Err(error.into()),
    }
}

/// Holds a definition to its word about initialization, and says with which message the chaincode is called.
pub(crate) fn init_message(
    call: &Call,
    chaincode: &str,
    parameters: &ChaincodeParameters,
    is_init: bool,
) -> Result<Type, InvalidInvocation> {
    let name = || chaincode.to_owned();
    if !parameters.init_required {
        return match is_init {
            true => Err(InvalidInvocation::InitNotRequired(name())),
            false => Ok(Type::Transaction),
        };
    }
    let mut guard = call.simulator();
    let simulator = guard.as_mut().ok_or_else(|| InvalidInvocation::NoSimulation(name()))?;
    let failed = |action| move |cause| InvalidInvocation::State { action, cause };
    let initialized = simulator.get(chaincode, INITIALIZED).map_err(failed("get"))?;
    let is_done = initialized.unwrap_or_default() == parameters.version;
    match (is_init, is_done) {
        (true, true) => Err(InvalidInvocation::AlreadyInitialized(name())),
        (false, false) => Err(InvalidInvocation::NotInitialized(name())),
        (false, true) => Ok(Type::Transaction),
        (true, false) => {
            let version = parameters.version.clone().into();
            simulator.put(chaincode, INITIALIZED, version).map_err(failed("set"))?;
            Ok(Type::Init)
        }
    }
}
