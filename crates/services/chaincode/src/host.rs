use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ripstop_chaincode_builder::{Build, BuilderOptions, Builders, Package};
use ripstop_channel_config::acl::{self, Resource};
use ripstop_ledger::{Ledger, Ledgers, SimulationResults};
use ripstop_lifecycle::NAMESPACE as LIFECYCLE;
use ripstop_msp::LocalMsp;
use ripstop_operations::Metrics;
use ripstop_policy::Reader;
use ripstop_proto::protos::{self, ChaincodeMessage, chaincode_message::Type};
use ripstop_types::{Block, ChaincodeName, ChannelId, SignedData, TxId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::authority::ChaincodeAuthority;
use crate::call::Call;
use crate::error::{BuildError, Denied, InvalidInvocation, InvokeError, SendError};
use crate::interest::interest;
use crate::launch::launch;
use crate::metrics::HostMetrics;
use crate::pauses::Pauses;
use crate::registry::Registry;
use crate::resolve::{Resolved, Target, init_message, resolve};
use crate::service::RegistrationService;
use crate::store::{PackageStore, StoreError};
use crate::supervise::Processes;
use crate::{ExecuteError, is_system_chaincode, system};

/// An answer from this status on is an error: its event is dropped.
const ERROR_THRESHOLD: i32 = 400;

/// Whom the peer lets register on its chaincode listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Only chaincode that this peer started.
    OnlyLaunched,
    /// Anybody (`chaincode.mode: dev`): a definition without installed package is run by whoever registers as
    /// `name:version`.
    AnyInDevelopment,
}

/// How chaincode is run (`core.yaml`, section `chaincode`).
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where installed packages are kept: `<peer.fileSystemPath>/lifecycle/chaincodes`.
    pub packages: PathBuf,
    /// How long one call may take (`chaincode.executetimeout`).
    pub execute_timeout: Duration,
    /// How long an installation may take (`chaincode.installTimeout`).
    pub install_timeout: Duration,
    /// How long chaincode may take until it registers (`chaincode.startuptimeout`).
    pub startup_timeout: Duration,
    /// After how long without a message a keepalive is sent; none switches it off (`chaincode.keepalive`).
    pub keepalive: Option<Duration>,
    /// How many results one query gives at most (`ledger.state.totalQueryLimit`).
    pub total_query_limit: usize,
    /// How many writes chaincode may send in one message; none switches batches off (`chaincode.runtimeParams`).
    pub write_batch: Option<u32>,
    /// How many keys chaincode may read with one message; none switches it off (`chaincode.runtimeParams`).
    pub multiple_keys: Option<u32>,
    /// System chaincodes that may not be called (`chaincode.system`).
    pub disabled: BTreeSet<String>,
    /// Who may register.
    pub registration: Registration,
    /// How packages are built and run.
    pub builders: BuilderOptions,
    /// Where chaincode that the peer starts finds it (`peer.chaincodeAddress`).
    pub address: String,
    /// Who issues certificates to chaincode that the peer starts, without which nobody may register; none for a listener
    /// without TLS.
    pub authority: Option<Arc<ChaincodeAuthority>>,
}

impl HostOptions {
    /// Fabric's sample configuration.
    pub fn new(packages: PathBuf) -> Self {
        Self {
            builders: BuilderOptions::new(packages.with_extension("builds")),
            packages,
            execute_timeout: Duration::from_secs(30),
            install_timeout: Duration::from_secs(300),
            startup_timeout: Duration::from_secs(300),
            keepalive: None,
            total_query_limit: 100_000,
            write_batch: Some(1000),
            multiple_keys: Some(1000),
            disabled: BTreeSet::new(),
            registration: Registration::OnlyLaunched,
            address: String::new(),
            authority: None,
        }
    }

    /// What chaincode is told about these when it registers.
    pub(crate) fn additional_parameters(&self) -> protos::ChaincodeAdditionalParams {
        protos::ChaincodeAdditionalParams {
            use_write_batch: self.write_batch.is_some(),
            max_size_write_batch: self.write_batch.unwrap_or_default(),
            use_get_multiple_keys: self.multiple_keys.is_some(),
            max_size_get_multiple_keys: self.multiple_keys.unwrap_or_default(),
        }
    }
}

/// What happens when an administrator lets the peer join a channel (`cscc`).
pub trait JoinChannel: Send + Sync {
    /// Creates the channel's ledger from its genesis block, which has been checked, and starts to receive blocks. Called
    /// on a thread that may block. The error's text is what the administrator reads.
    fn join(&self, genesis: Block) -> Result<(), String>;

    /// Begins to create a channel's ledger from the snapshot in a directory of the peer's machine, after which it starts to
    /// receive blocks. Only one is created at a time, and no other ledger meanwhile.
    fn join_by_snapshot(&self, directory: &Path) -> Result<(), String>;

    /// The snapshot from which a ledger is being created.
    fn joining(&self) -> Option<PathBuf>;
}

/// The parts of the peer that chaincode works with.
#[derive(Clone)]
pub struct NodeParts {
    /// All ledgers.
    pub ledgers: Arc<Ledgers>,
    /// The peer's own organization.
    pub local_msp: Arc<LocalMsp>,
    /// Joins channels.
    pub join: Arc<dyn JoinChannel>,
    /// Counts what happens.
    pub metrics: Metrics,
}

/// One proposal, checked for form and signature.
#[derive(Clone)]
pub struct Invocation {
    /// The ledger of the channel that the proposal names; none for a call outside of any.
    pub ledger: Option<Arc<Ledger>>,
    /// The transaction.
    pub tx_id: TxId,
    /// The proposal as signed.
    pub proposal: protos::SignedProposal,
    /// Who signed it: the bytes of a `SerializedIdentity`.
    pub creator: Bytes,
    /// The chaincode that the header extension names.
    pub chaincode: String,
    /// Function and arguments.
    pub input: protos::ChaincodeInput,
}

/// What a chaincode did.
#[derive(Debug)]
pub struct Execution {
    /// Its answer. From status 400 on nothing is endorsed; from 500 on it is an error.
    pub response: protos::Response,
    /// Its event, with name and transaction put right. None for an answer from status 400 on.
    pub event: Option<protos::ChaincodeEvent>,
    /// Which chaincode ran, as the endorsement states it.
    pub chaincode: ChaincodeName,
    /// What was read and written; none outside of a channel and for `qscc` and `cscc`, which simulate nothing.
    pub results: Option<SimulationResults>,
    /// What an endorsement plan has to heed. Empty without results.
    pub interest: protos::ChaincodeInterest,
}

/// Runs chaincode. Cheap to clone.
#[derive(Clone)]
pub struct ChaincodeHost {
    inner: Arc<Inner>,
}

struct Inner {
    options: HostOptions,
    node: NodeParts,
    packages: PackageStore,
    builders: Builders,
    registry: Registry,
    processes: Processes,
    pauses: Pauses,
    resolved: Resolved,
    metrics: HostMetrics,
    stopping: CancellationToken,
    stopped: CancellationToken,
}

impl ChaincodeHost {
    /// Opens the store of installed packages. Starts nothing: chaincode is started when it is first called.
    pub fn new(options: HostOptions, node: NodeParts) -> Result<Self, StoreError> {
        let inner = Inner {
            packages: PackageStore::open(&options.packages)?,
            builders: Builders::new(options.builders.clone()),
            registry: Registry::new(options.registration, options.authority.clone()),
            processes: Processes::default(),
            pauses: Pauses::default(),
            resolved: Resolved::default(),
            metrics: HostMetrics::new(&node.metrics),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
            options,
            node,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Executes a proposal. Must be called inside a tokio runtime; dropping the future gives the execution up.
    pub async fn execute(&self, invocation: Invocation) -> Result<Execution, ExecuteError> {
        let Invocation { ledger, tx_id, proposal, creator, chaincode, input } = invocation;
        let signed = SignedData {
            identity: creator,
            message: proposal.proposal_bytes.clone(),
            signature: proposal.signature.clone(),
        };
        // `qscc` and `cscc` read the ledger itself.
        let simulator = match chaincode.as_str() {
            "qscc" | "cscc" => None,
            _ => ledger.as_ref().map(|ledger| ledger.simulate(tx_id.clone())),
        };
        let call = Arc::new(Call::new(tx_id.clone(), proposal, signed, chaincode.clone(), ledger, simulator));
        let _end = EndCall(call.clone());
        let target = resolve(self, &call, &chaincode).map_err(|cause| ExecuteError::NotDefined {
            chaincode: chaincode.clone(),
            channel: call.channel().to_owned(),
            cause,
        })?;
        let name = ChaincodeName { name: chaincode.clone(), version: target.version().to_owned() };
        let answer = self
            .invoke(call.clone(), chaincode.clone(), target, input)
            .await
            .map_err(|cause| ExecuteError::Failed { tx_id: tx_id.clone(), cause })?;
        let (response, event) = read_answer(answer, &chaincode, &tx_id)?;
        let results = call.end().map(|simulator| simulator.finish());
        let interest = match &results {
            Some(results) => interest(results).map_err(|error| ExecuteError::Answer(error.to_string()))?,
            None => protos::ChaincodeInterest::default(),
        };
        Ok(Execution { response, event, chaincode: name, results, interest })
    }

    /// The gRPC service on which chaincode registers that dials the peer (`peer.chaincodeListenAddress`).
    pub fn registration_service(&self) -> RegistrationService {
        RegistrationService::new(self.clone())
    }

    /// The installed packages.
    pub fn packages(&self) -> &PackageStore {
        &self.inner.packages
    }

    /// Ends all processes, then all streams: a process may still finish what it is at when it is asked to end. Calls at work
    /// fail.
    pub async fn stop(&self) {
        self.inner.stopping.cancel();
        self.inner.processes.all_gone().await;
        self.inner.stopped.cancel();
    }

    /// Builds a package, unless that was done before.
    pub(crate) async fn build(&self, id: &str, package: Package) -> Result<Build, BuildError> {
        let began = Instant::now();
        let built = self.inner.builders.build(id, package).await;
        self.inner.metrics.built(id, began.elapsed(), &built.as_ref().map(drop));
        Ok(built?)
    }

    pub(crate) fn options(&self) -> &HostOptions {
        &self.inner.options
    }

    pub(crate) fn node(&self) -> &NodeParts {
        &self.inner.node
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(crate) fn builders(&self) -> &Builders {
        &self.inner.builders
    }

    pub(crate) fn processes(&self) -> &Processes {
        &self.inner.processes
    }

    pub(crate) fn pauses(&self) -> &Pauses {
        &self.inner.pauses
    }

    pub(crate) fn metrics(&self) -> &HostMetrics {
        &self.inner.metrics
    }

    pub(crate) fn resolved(&self) -> &Resolved {
        &self.inner.resolved
    }

    /// Cancelled when nothing is launched any more and processes end.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.inner.stopping.clone()
    }

    /// Cancelled when streams end.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.inner.stopped.clone()
    }

    /// Checks that whoever signed the proposal may use a resource on a channel.
    pub(crate) fn authorize(
        &self,
        resource: Resource,
        ledger: Option<&Ledger>,
        signed: &SignedData,
    ) -> Result<(), Denied> {
        let config = ledger.map(Ledger::config);
        acl::check(resource, config.as_deref(), &self.inner.node.local_msp, signed).inspect_err(|refusal| {
            tracing::warn!(target: "aclmgmt", channel = ledger.map(|ledger| ledger.channel_id().as_str()), resource = %resource, error = refusal.text(Reader::Member), "access denied");
        })
    }

    /// Calls a chaincode and gives its last message: `COMPLETED` or `ERROR`.
    fn invoke<'a>(
        &'a self,
        call: Arc<Call>,
        chaincode: String,
        target: Target,
        input: protos::ChaincodeInput,
    ) -> Pin<Box<dyn Future<Output = Result<ChaincodeMessage, InvokeError>> + Send + 'a>> {
        // Boxed, because chaincode may call chaincode.
        Box::pin(async move {
            let timeout = self.timeout(&chaincode, &input);
            let execution = match target {
                Target::System => {
                    let answered = system::call(self.clone(), call, chaincode, input.args);
                    return match tokio::time::timeout(timeout, answered).await {
                        Ok(answer) => Ok(answer),
                        Err(_) => Err(InvokeError::Sending(SendError::Timeout)),
                    };
                }
                Target::Package(execution) => execution,
            };
            let kind = init_message(&call, &chaincode, &execution.parameters, &input).map_err(InvokeError::Invalid)?;
            let id = &execution.package_id;
            let connection =
                launch(self, id).await.map_err(|cause| InvokeError::Launch { chaincode_id: id.clone(), cause })?;
            connection.execute(kind, &chaincode, &input, call, timeout).await.map_err(|error| {
                if error == SendError::Timeout {
                    self.metrics().execution_timed_out(id);
                }
                InvokeError::Sending(error)
            })
        })
    }

    /// Answers a chaincode that calls another one.
    pub(crate) async fn invoke_from(&self, request: Bytes, caller: Arc<Call>) -> Result<Bytes, String> {
        let spec = protos::ChaincodeSpec::decode(request).map_err(|error| format!("unmarshal failed: {error}"))?;
        let id = spec.chaincode_id.ok_or("the request names no chaincode")?;
        let (chaincode, channel) = parse_name(&id.name);
        let other_channel = channel.filter(|channel| *channel != caller.channel());
        let ledger = match other_channel {
            None => caller.ledger.clone(),
            Some(channel) => {
                let id = ChannelId::new(channel).ok();
                let ledger = id.and_then(|id| self.inner.node.ledgers.get(&id));
                Some(ledger.ok_or_else(|| format!("failed to find ledger for channel: {channel}"))?)
            }
        };
        if !is_system_chaincode(chaincode) {
            if ledger.is_none() {
                return Err("could not get valid transaction".to_owned());
            }
            // What a chaincode is told may become part of its result, and that must be the same on Fabric's peers.
            self.authorize(Resource::PeerChaincodeToChaincode, ledger.as_deref(), &caller.signed)
                .map_err(|denied| denied.headline())?;
        }
        // Another channel is read with a simulation of its own, and what the callee writes there is thrown away.
        let call = match (other_channel, ledger) {
            (Some(_), Some(ledger)) => Arc::new(caller.on_channel(ledger)),
            _ => caller,
        };
        let _end = other_channel.map(|_| EndCall(call.clone()));
        let target = resolve(self, &call, chaincode).map_err(|cause| {
            let invalid = InvalidInvocation::Resolve {
                channel: call.channel().to_owned(),
                chaincode: chaincode.to_owned(),
                cause,
            };
            format!("execute failed: {}", InvokeError::Invalid(invalid))
        })?;
        let input = spec.input.unwrap_or_default();
        let answer = self
            .invoke(call.clone(), chaincode.to_owned(), target, input)
            .await
            .map_err(|error| format!("execute failed: {error}"))?;
        Ok(answer.encode_to_vec().into())
    }

    fn timeout(&self, chaincode: &str, input: &protos::ChaincodeInput) -> Duration {
        let options = self.options();
        let is_install = input.args.first().is_some_and(|function| function.as_ref() == b"InstallChaincode");
        match chaincode == LIFECYCLE && is_install {
            true => options.install_timeout.max(options.execute_timeout),
            false => options.execute_timeout,
        }
    }
}

/// Takes the simulation back when nobody waits any more, however the call ended.
struct EndCall(Arc<Call>);

impl Drop for EndCall {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Takes `name[:version][/channel]` apart; the version is ignored, as in Fabric.
fn parse_name(name: &str) -> (&str, Option<&str>) {
    let (name, channel) = match name.split_once('/') {
        Some((name, channel)) => (name, Some(channel).filter(|channel| !channel.is_empty())),
        None => (name, None),
    };
    (name.split_once(':').map_or(name, |(name, _)| name), channel)
}

/// Reads a chaincode's last message, and puts its event right: chaincode could claim to be another.
fn read_answer(
    answer: ChaincodeMessage,
    chaincode: &str,
    tx_id: &TxId,
) -> Result<(protos::Response, Option<protos::ChaincodeEvent>), ExecuteError> {
    match answer.r#type() {
        Type::Completed => {
            let response = protos::Response::decode(answer.payload).map_err(|error| {
                ExecuteError::Answer(format!("failed to unmarshal response for transaction {tx_id}: {error}"))
            })?;
            let event = answer.chaincode_event.filter(|_| response.status < ERROR_THRESHOLD).map(|event| {
                protos::ChaincodeEvent { chaincode_id: chaincode.to_owned(), tx_id: tx_id.to_string(), ..event }
            });
            Ok((response, event))
        }
        Type::Error => {
            let text = String::from_utf8_lossy(&answer.payload);
            Err(ExecuteError::Answer(format!("transaction returned with failure: {text}")))
        }
        other => {
            Err(ExecuteError::Answer(format!("unexpected response type {} for transaction {tx_id}", other as i32)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn called_names_may_state_version_and_channel() {
        for (name, expected) in [
            ("basic", ("basic", None)),
            ("basic:1.0", ("basic", None)),
            ("basic/other", ("basic", Some("other"))),
            ("basic:1.0/other", ("basic", Some("other"))),
            ("basic/", ("basic", None)),
            ("", ("", None)),
        ] {
            assert_eq!(parse_name(name), expected, "{name}");
        }
    }

    #[test]
    fn events_carry_the_name_of_the_chaincode_that_ran() {
        let event = protos::ChaincodeEvent { chaincode_id: "forged".to_owned(), ..Default::default() };
        let answer = |status| {
            let response = protos::Response { status, ..Default::default() };
            ChaincodeMessage {
                chaincode_event: Some(event.clone()),
                ..crate::protocol::message(Type::Completed, response.encode_to_vec().into())
            }
        };
        let tx_id = TxId::new("tx");
        let (_, event) = read_answer(answer(200), "basic", &tx_id).unwrap();
        assert_eq!(event.map(|event| (event.chaincode_id, event.tx_id)), Some(("basic".to_owned(), "tx".to_owned())));
        assert_eq!(read_answer(answer(400), "basic", &tx_id).unwrap().1, None);
        let failed = crate::protocol::message(Type::Error, Bytes::from_static(b"boom"));
        assert_eq!(
            read_answer(failed, "basic", &tx_id).unwrap_err().to_string(),
            "error in simulation: transaction returned with failure: boom"
        );
    }
}
