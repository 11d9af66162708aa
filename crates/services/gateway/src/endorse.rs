use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use prost::Message;
use ripstop_channel_config::ChannelConfig;
use ripstop_ledger::Ledger;
use ripstop_proto::{common, gateway, protos};
use tonic::{Code, Status};

use crate::endorser::{Endorser, Location, Purpose};
use crate::plan::{Plan, Step};
use crate::planning::interest_in;
use crate::proposal::{Audience, Proposal};
use crate::refusal::{EndorserRefusal, judge, with_details};
use crate::service::Gateway;

impl Gateway {
    /// Collects endorsements and assembles the transaction for the application to sign.
    pub(crate) async fn endorse_proposal(
        &self,
        request: gateway::EndorseRequest,
    ) -> Result<gateway::EndorseResponse, Status> {
        let signed = request.proposed_transaction.filter(|signed| !signed.proposal_bytes.is_empty());
        let signed = signed
            .ok_or_else(|| Status::invalid_argument("the proposed transaction must contain a signed proposal"))?;
        let proposal = Proposal::parse(signed).map_err(Status::invalid_argument)?;
        let ledger = self.ledger(&proposal.channel);
        let orgs = &request.endorsing_organizations;
        let unknown = || {
            Status::failed_precondition(format!(
                "no combination of peers can be derived which satisfy the endorsement policy: channel '{}' not found",
                proposal.channel
            ))
        };
        let (plan, ledger) = if orgs.is_empty() {
            let ledger = ledger.ok_or_else(unknown)?;
            (self.plan_from_first_endorser(&ledger, &proposal).await?, ledger)
        } else {
            (self.plan_for_orgs(ledger.as_deref(), &proposal, orgs)?, ledger.ok_or_else(unknown)?)
        };
        let action = self.carry_out(plan, &ledger.config(), &proposal).await?;
        Ok(gateway::EndorseResponse { prepared_transaction: Some(prepare_transaction(&proposal, action)) })
    }

    /// Asks peers until a layout is complete or none can be completed.
    async fn carry_out(
        &self,
        mut plan: Plan,
        config: &ChannelConfig,
        proposal: &Proposal,
    ) -> Result<protos::ChaincodeEndorsedAction, Status> {
        let mut asked = FuturesUnordered::new();
        loop {
            match plan.step() {
                Step::Ask(endorser) => asked.push(self.ask(endorser, config, proposal, Purpose::Endorse)),
                Step::Complete(action) => return Ok(action),
                Step::Impossible => break,
                Step::Wait => {
                    let Some((endorser, answer)) = asked.next().await else { break };
                    match answer {
                        Ok(mut response) => {
                            // The same result is in the payload that was signed.
                            if let Some(response) = &mut response.response {
                                response.payload.clear();
                            }
                            if let Err(mismatch) = plan.endorsed(&endorser, response) {
                                mismatch.warn();
                            }
                        }
                        Err(refusal) => plan.failed(&endorser, &refusal.message),
                    }
                }
            }
        }
        let text = "failed to collect enough transaction endorsements, see attached details for more info";
        Err(with_details(Code::Aborted, text, plan.into_details()))
    }

    /// Asks one peer.
    pub(crate) async fn ask(
        &self,
        endorser: Endorser,
        config: &ChannelConfig,
        proposal: &Proposal,
        purpose: Purpose,
    ) -> (Endorser, Result<protos::ProposalResponse, EndorserRefusal>) {
        let Endorser { org, address, location, .. } = &endorser;
        let Proposal { channel, chaincode, tx_id, .. } = proposal;
        let peer = match purpose {
            Purpose::Endorse => "endorser",
            Purpose::Evaluate => "peer",
        };
        tracing::debug!(target: "gateway", channel, chaincode, txID = tx_id, MSPID = %org, endpoint = address, "Sending to {peer}:");
        let limit = self.config.endorsement_timeout;
        let call = async {
            let mut client = self.peers.client(&endorser, config).map_err(Status::unavailable)?;
            client.process_proposal(proposal.signed.clone()).await.map(tonic::Response::into_inner)
        };
        let judged = match tokio::time::timeout(limit, call).await {
            Ok(answer) => judge(answer, *location),
            // Another peer may be quicker, wherever this one runs.
            Err(_) => {
                let late = Status::deadline_exceeded(format!("no endorsement within {limit:?}"));
                judge(Err(late), Location::Remote)
            }
        };
        if let Err(EndorserRefusal { message, disconnect, .. }) = &judged {
            match purpose {
                Purpose::Endorse => {
                    tracing::warn!(target: "gateway", channel, chaincode, txID = tx_id, MSPID = %org, endpoint = address, error = message, "Endorse call to endorser failed");
                }
                // That a chaincode says no to a query is between it and its user.
                Purpose::Evaluate => {
                    tracing::debug!(target: "gateway", channel, chaincode, txID = tx_id, endorserMspid = %org, endorserAddress = address, error = message, "Evaluate call to endorser failed");
                }
            }
            if *disconnect && *location == Location::Remote {
                self.peers.disconnect(&endorser);
            }
        }
        (endorser, judged)
    }

    /// Lets one peer endorse, if possible one of the gateway's own organization, and plans the rest by what it says the call
    /// touched.
    async fn plan_from_first_endorser(&self, ledger: &Ledger, proposal: &Proposal) -> Result<Plan, Status> {
        let config = ledger.config();
        let mut candidates = self.first_endorsers(ledger, proposal)?;
        let mut failed: Vec<(Endorser, String)> = Vec::new();
        let (first, response) = loop {
            let Some(endorser) = candidates.pop_front() else {
                let text = "failed to endorse transaction, see attached details for more info";
                let details = failed.iter().map(|(endorser, message)| endorser.detail(message)).collect();
                return Err(with_details(Code::Aborted, text, details));
            };
            match self.ask(endorser, &config, proposal, Purpose::Endorse).await {
                (endorser, Ok(response)) => break (endorser, response),
                (endorser, Err(refusal)) => {
                    if !refusal.retry {
                        // Other organizations would be asked in vain.
                        candidates.retain(|other| other.org == endorser.org);
                    }
                    failed.push((endorser, refusal.message));
                }
            }
        };
        let mut plan = self.plan_for_interest(ledger, &interest_of(&response, &proposal.chaincode), proposal)?;
        failed.iter().for_each(|(endorser, message)| plan.failed(endorser, message));
        plan.prefer(&first);
        // Without a response to compare with, it cannot differ.
        let _first = plan.endorsed(&first, response);
        if !plan.is_possible() {
            let text = "failed to select a set of endorsers that satisfy the endorsement policy due to unavailability of peers";
            let details = plan.into_details();
            return Err(with_details(Code::FailedPrecondition, text, details));
        }
        Ok(plan)
    }

    /// Plans for what a call touched. Transient data is for members of all collections that it touched.
    fn plan_for_interest(
        &self,
        ledger: &Ledger,
        interest: &protos::ChaincodeInterest,
        proposal: &Proposal,
    ) -> Result<Plan, Status> {
        let (guarded, protected) = match proposal.audience {
            Audience::Anyone => (interest.clone(), Vec::new()),
            Audience::Trusted => guard(interest),
        };
        self.plan(ledger, &guarded, proposal).map_err(|why| {
            if !protected.is_empty() && self.plan(ledger, interest, proposal).is_ok() {
                let text = format!(
                    "requires endorsement from organisation(s) that are not in the distribution policy of the private data collection(s): [{}]; retry specifying trusted endorsing organizations to protect transient data",
                    protected.join(" ")
                );
                return Status::failed_precondition(text);
            }
            Status::failed_precondition(why)
        })
    }
}

/// The same interest, for members of its collections only; and the collections that others might have endorsed.
fn guard(interest: &protos::ChaincodeInterest) -> (protos::ChaincodeInterest, Vec<String>) {
    let (mut guarded, mut protected) = (interest.clone(), Vec::new());
    for call in guarded.chaincodes.iter_mut().filter(|call| call.no_private_reads) {
        call.no_private_reads = false;
        protected.extend_from_slice(&call.collection_names);
    }
    (guarded, protected)
}

/// What the first endorser says the call touched; the chaincode itself where it says nothing.
fn interest_of(response: &protos::ProposalResponse, chaincode: &str) -> protos::ChaincodeInterest {
    match &response.interest {
        Some(interest) if !interest.chaincodes.is_empty() => interest.clone(),
        _ => interest_in(chaincode),
    }
}

/// The transaction that the application signs.
fn prepare_transaction(proposal: &Proposal, action: protos::ChaincodeEndorsedAction) -> common::Envelope {
    let without_transient =
        protos::ChaincodeProposalPayload { input: proposal.input.clone(), transient_map: BTreeMap::new() };
    let payload = protos::ChaincodeActionPayload {
        chaincode_proposal_payload: without_transient.encode_to_vec().into(),
        action: Some(action),
    };
    let transaction = protos::Transaction {
        actions: vec![protos::TransactionAction {
            header: proposal.header.signature_header.clone(),
            payload: payload.encode_to_vec().into(),
        }],
    };
    let payload = common::Payload { header: Some(proposal.header.clone()), data: transaction.encode_to_vec().into() };
    common::Envelope { payload: payload.encode_to_vec().into(), signature: bytes::Bytes::new() }
}
