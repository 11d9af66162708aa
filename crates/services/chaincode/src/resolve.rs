//! From a name to code, and whether it may be called now.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_ledger::SimulatedLifecycle;
use ripstop_lifecycle::{ChaincodeParameters, Execution, ExecutionError, current_sequence, execution};
use ripstop_proto::protos::ChaincodeInput;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_types::ChannelId;

use crate::call::Call;
use crate::error::{InvalidInvocation, ResolveError};
use crate::host::{ChaincodeHost, Registration};
use crate::store::InstalledPackage;
use crate::{SYSTEM_VERSION, is_system_chaincode};

/// The key in a chaincode's namespace that holds the version it was initialized with.
const INITIALIZED: &str = "\u{0}\u{10ffff}initialized";

/// Definitions remembered at once; when there are more, all are forgotten and read again.
const MAX_REMEMBERED: usize = 1024;

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// A function of this peer.
    System,
    /// An installed package under a committed definition.
    Package(Arc<Execution>),
}

impl Target {
    /// The version that endorsements state.
    pub(crate) fn version(&self) -> &str {
        match self {
            Self::System => SYSTEM_VERSION,
            Self::Package(execution) => &execution.parameters.version,
        }
    }
}

/// What names stood for at one height of their ledger with one set of packages. At another height nothing of it is used.
#[derive(Default)]
pub(crate) struct Resolved(Mutex<HashMap<(ChannelId, String), Remembered>>);

struct Remembered {
    height: u64,
    installed: Arc<[InstalledPackage]>,
    execution: Arc<Execution>,
}

impl Resolved {
    fn get(
        &self,
        key: &(ChannelId, String),
        height: u64,
        installed: &Arc<[InstalledPackage]>,
    ) -> Option<Arc<Execution>> {
        let remembered = self.0.lock();
        let found = remembered.get(key)?;
        (found.height == height && Arc::ptr_eq(&found.installed, installed)).then(|| found.execution.clone())
    }

    fn put(&self, key: (ChannelId, String), found: Remembered) {
        let mut remembered = self.0.lock();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key, found);
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
    let key = (ledger.channel_id().clone(), name.to_owned());
    let mut state = SimulatedLifecycle::new(simulator);
    if let Some(execution) = host.resolved().get(&key, committed.height(), &installed) {
        // Read all the same: it belongs to the read set.
        if current_sequence(&mut state, name).map_err(ExecutionError::from)? == execution.sequence {
            return Ok(Target::Package(execution));
        }
    }
    let ids = installed.iter().map(|package| package.id.as_str());
    let (channel, org) = (ledger.channel_id().as_str(), host.node().local_msp.id());
    match execution(&mut state, committed.as_ref(), channel, org, name, ids) {
        Ok(Some(found)) => {
            let execution = Arc::new(found);
            let remembered = Remembered { height: committed.height(), installed, execution: execution.clone() };
            host.resolved().put(key, remembered);
            Ok(Target::Package(execution))
        }
        Ok(None) => Err(ResolveError::NotFound(name.to_owned())),
        Err(ExecutionError::NotInstalled { name, parameters, sequence })
            if host.options().registration == Registration::AnyInDevelopment =>
        {
            let package_id = format!("{name}:{}", parameters.version);
            Ok(Target::Package(Arc::new(Execution { sequence, parameters: *parameters, package_id })))
        }
        Err(error) => Err(error.into()),
    }
}

/// Holds a definition to its word about initialization, and says with which message the chaincode is called.
pub(crate) fn init_message(
    call: &Call,
    chaincode: &str,
    parameters: &ChaincodeParameters,
    input: &ChaincodeInput,
) -> Result<Type, InvalidInvocation> {
    let (name, is_init) = (|| chaincode.to_owned(), input.is_init);
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
