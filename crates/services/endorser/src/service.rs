use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ripstop_chaincode::{ChaincodeHost, Execution, Invocation, is_system_chaincode};
use ripstop_channel_config::acl::{self, Resource};
use ripstop_crypto::SigningIdentity;
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_operations::Metrics;
use ripstop_private_data::PrivateDataService;
use ripstop_proto::protos;
use ripstop_proto::protos::endorser_server::{Endorser, EndorserServer};
use ripstop_transport::{BOUNDED_BY_LISTENER, ConcurrencyLimit, PeerInfo};
use ripstop_types::ChannelId;
use tonic::{Request, Response, Status};

use crate::answer::{Scope, Simulated, failure};
use crate::filter::Filters;
use crate::metrics::{EndorserMetrics, NONE};
use crate::proposal::{Proposal, ProposalError, short};

/// The parts of the peer that endorsing needs.
#[derive(Clone)]
pub struct EndorserConfig {
    /// All ledgers.
    pub ledgers: Arc<Ledgers>,
    /// The peer's own organization.
    pub local_msp: Arc<LocalMsp>,
    /// Who endorses.
    pub signer: SigningIdentity,
    /// Runs chaincode.
    pub chaincode: ChaincodeHost,
    /// Keeps private data, and gives them to other peers.
    pub private_data: PrivateDataService,
    /// What is asked of a proposal first.
    pub filters: Filters,
    /// How many proposals are handled at once (`peer.limits.concurrency.endorserService`).
    pub limit: ConcurrencyLimit,
}

/// `protos.Endorser`. Clones are the same service.
#[derive(Clone)]
pub struct EndorserService {
    inner: Arc<Inner>,
}

struct Inner {
    config: EndorserConfig,
    metrics: EndorserMetrics,
}

impl EndorserService {
    /// The endorser of a peer.
    pub fn new(config: EndorserConfig, metrics: &Metrics) -> Self {
        Self { inner: Arc::new(Inner { config, metrics: EndorserMetrics::new(metrics) }) }
    }

    /// The gRPC service.
    pub fn into_server(self) -> EndorserServer<Self> {
        EndorserServer::new(self)
            .max_decoding_message_size(BOUNDED_BY_LISTENER)
            .max_encoding_message_size(BOUNDED_BY_LISTENER)
    }
}

#[tonic::async_trait]
impl Endorser for EndorserService {
    async fn process_proposal(
        &self,
        request: Request<protos::SignedProposal>,
    ) -> Result<Response<protos::ProposalResponse>, Status> {
        let _permit = self.inner.config.limit.enter()?;
        let from = PeerInfo::of(&request).map(|peer| peer.address().to_string());
        tracing::debug!(target: "endorser", "request from {}", from.as_deref().unwrap_or("this peer's gateway"));
        self.inner.process(request.into_inner()).await.map(Response::new)
    }
}

impl Inner {
    async fn process(&self, signed: protos::SignedProposal) -> Result<protos::ProposalResponse, Status> {
        let started = Instant::now();
        self.metrics.received.with_label_values(&NONE).inc();
        self.config
            .filters
            .check(&signed, SystemTime::now())
            .map_err(|refusal| self.refuse("Failed to authenticate proposal", None, &refusal))?;
        if self.config.ledgers.any_behind() {
            return Err(Status::unknown("endorse requests are blocked while ledgers are being rebuilt"));
        }
        let proposal =
            Proposal::parse(signed).map_err(|error| self.refuse("Failed to unpack proposal", None, &error))?;
        let ledger = match proposal.channel() {
            "" => None,
            channel => match ChannelId::new(channel).ok().and_then(|id| self.config.ledgers.get(&id)) {
                Some(ledger) => Some(ledger),
                None => return Ok(failure(format!("channel '{channel}' not found"))),
            },
        };
        self.check(&proposal, ledger.as_deref())
            .map_err(|error| self.refuse("Failed to preProcess proposal", Some(&proposal), &error))?;
        let has_channel = ledger.is_some();
        let answer = self.endorse(&proposal, ledger).await.unwrap_or_else(|message| {
            tracing::warn!(target: "endorser", channel = proposal.channel(), chaincode = proposal.chaincode, error = message, "Failed to invoke chaincode");
            failure(message)
        });
        let successful = answer.endorsement.is_some() || (!has_channel && answer.response.is_some());
        if successful {
            self.metrics.successful.with_label_values(&NONE).inc();
        }
        let chaincode = self.metrics.names.label(&proposal.chaincode);
        let labels = [proposal.channel(), chaincode, if successful { "true" } else { "false" }];
        self.metrics.duration.with_label_values(&labels).observe(started.elapsed().as_secs_f64());
        Ok(answer)
    }

    /// Fabric answers what is wrong with the proposal itself as a gRPC error without a code of its own.
    /// Whoever sent it is told all that the log is: see [`ProposalError`].
    fn refuse(&self, what: &str, proposal: Option<&Proposal>, why: &dyn std::error::Error) -> Status {
        self.metrics.validation_failures.with_label_values(&NONE).inc();
        let (channel, tx_id) = (proposal.map(Proposal::channel), proposal.map(|proposal| short(proposal.tx_id())));
        tracing::warn!(target: "endorser", channel, txID = tx_id, error = %why, "{what}");
        Status::unknown(why.to_string())
    }

    /// Who sent it, and may he? (Fabric: `preProcess`.)
    fn check(&self, proposal: &Proposal, ledger: Option<&Ledger>) -> Result<(), ProposalError> {
        let config = ledger.map(Ledger::config);
        proposal.check(config.as_deref(), &self.config.local_msp)?;
        let Some(ledger) = ledger else { return Ok(()) };
        let labels = [proposal.channel(), self.metrics.names.label(&proposal.chaincode)];
        let known =
            ledger.validation_code(proposal.tx_id()).map_err(|error| ProposalError::Ledger(error.to_string()))?;
        if known.is_some() {
            self.metrics.duplicates.with_label_values(&labels).inc();
            let creator = proposal.signature_header.creator.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(ProposalError::Duplicate { tx_id: proposal.tx_id().clone(), creator });
        }
        // System chaincodes ask for the right to their functions themselves.
        if !is_system_chaincode(&proposal.chaincode) {
            let signed = proposal.signed_data();
            acl::check(Resource::PeerPropose, config.as_deref(), &self.config.local_msp, &signed).map_err(
                |refusal| {
                    self.metrics.acl_failures.with_label_values(&labels).inc();
                    ProposalError::Access(refusal)
                },
            )?;
        }
        Ok(())
    }

    /// Runs the chaincode and signs the result; the error is what the peer answers with status 500.
    async fn endorse(
        &self,
        proposal: &Proposal,
        ledger: Option<Arc<Ledger>>,
    ) -> Result<protos::ProposalResponse, String> {
        let started = Instant::now();
        let invocation = Invocation {
            ledger: ledger.clone(),
            tx_id: proposal.tx_id().clone(),
            proposal: proposal.signed.clone(),
            creator: proposal.signature_header.creator.clone(),
            chaincode: proposal.chaincode.clone(),
            input: proposal.input.clone(),
        };
        let executed = self.config.chaincode.execute(invocation).await;
        tracing::info!(
            target: "endorser",
            function = "callChaincode",
            channel = proposal.channel(),
            txID = short(proposal.tx_id()),
            "finished chaincode: {} duration: {}ms",
            proposal.chaincode,
            started.elapsed().as_millis()
        );
        let Execution { response, event, chaincode, results, interest } = executed.map_err(|error| {
            let labels = [proposal.channel(), self.metrics.names.label(&proposal.chaincode)];
            self.metrics.simulation_failures.with_label_values(&labels).inc();
            error.to_string()
        })?;
        self.metrics.names.ran(&proposal.chaincode);
        let has_results = results.is_some();
        let results = match (results, &ledger) {
            (Some(results), Some(ledger)) => {
                let private_data = self.config.private_data.channel(ledger);
                private_data.share(proposal.tx_id(), &results).await.map_err(|error| {
                    let labels = [proposal.channel(), proposal.chaincode.as_str()];
                    self.metrics.simulation_failures.with_label_values(&labels).inc();
                    format!("error in simulation: {error}")
                })?;
                results.public_bytes
            }
            _ => bytes::Bytes::new(),
        };
        let status = response.status;
        let interest = has_results.then_some(interest);
        let simulated = Simulated { response, results, event, chaincode, interest };
        let scope = if ledger.is_some() { Scope::Channel } else { Scope::Peer };
        let answer = simulated
            .endorse(proposal.hash, scope, &self.config.signer)
            .map_err(|error| format!("endorsing with plugin failed: {error}"))?;
        if scope == Scope::Channel && answer.endorsement.is_none() {
            tracing::debug!(target: "endorser", "chaincode error {status}");
            self.metrics
                .endorsement_failures
                .with_label_values(&[proposal.channel(), &proposal.chaincode, "true"])
                .inc();
        }
        Ok(answer)
    }
}
