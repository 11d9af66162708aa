use std::collections::{BTreeMap, VecDeque};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use prost::Message;
use ripstop_channel_config::ChannelConfig;
use ripstop_ledger::Ledger;
use ripstop_lifecycle::{collection, collection_endorsement_policy, validation_info};
use ripstop_proto::{common, gateway, protos};
use ripstop_types::MspId;
use tonic::{Code, Status};

use crate::layout::{self, Layout};
use crate::peers::Peer;
use crate::plan::Plan;
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
        let mut plan = if request.endorsing_organizations.is_empty() {
            self.plan_from_first_endorser(&proposal).await?
        } else {
            self.plan_for_orgs(&proposal.channel, &request.endorsing_organizations).map_err(Status::unavailable)?
        };
        let action = loop {
            if let Some(action) = plan.complete() {
                break action;
            }
            let peers = plan.next_peers();
            if peers.is_empty() {
                let text = "failed to collect enough transaction endorsements, see attached details for more info";
                return Err(with_details(Code::Aborted, text, plan.into_details()));
            }
            self.ask(&mut plan, peers, &proposal).await;
        };
        Ok(gateway::EndorseResponse { prepared_transaction: Some(prepare_transaction(&proposal, action)) })
    }

    /// Asks peers at once; each one that fails is followed by another one of its organisation.
    async fn ask(&self, plan: &mut Plan, peers: Vec<Peer>, proposal: &Proposal) {
        let mut asked: FuturesUnordered<_> = peers.into_iter().map(|peer| self.ask_one(peer, proposal)).collect();
        while let Some((peer, answer)) = asked.next().await {
            let endorsed = match answer {
                Ok(mut response) => {
                    // The same result is in the payload that was signed.
                    if let Some(response) = &mut response.response {
                        response.payload.clear();
                    }
                    plan.endorsed(&peer, response)
                }
                Err(refusal) => {
                    plan.failed(peer.detail(&refusal.message));
                    false
                }
            };
            if !endorsed && let Some(next) = plan.next_of(peer.org()) {
                asked.push(self.ask_one(next, proposal));
            }
        }
    }

    /// Asks one peer.
    pub(crate) async fn ask_one(
        &self,
        peer: Peer,
        proposal: &Proposal,
    ) -> (Peer, Result<protos::ProposalResponse, EndorserRefusal>) {
        let limit = self.config.endorsement_timeout;
        let mut client = peer.client();
        let call = client.process_proposal(proposal.signed.clone());
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no endorsement within {limit:?}"))),
        };
        let judged = judge(answer, peer.location());
        if let Err(refusal) = &judged {
            tracing::warn!(
                target: "gateway",
                channel = proposal.channel,
                chaincode = proposal.chaincode,
                MSPID = %peer.org(),
                endpoint = peer.address(),
                error = refusal.message,
                "Endorse call to endorser failed"
            );
            if refusal.disconnect {
                self.peers.disconnect(&peer);
            }
        }
        (peer, judged)
    }

    /// One peer of each named organisation.
    fn plan_for_orgs(&self, channel: &str, orgs: &[String]) -> Result<Plan, String> {
        let peers = self.channel_config(channel).map(|config| self.peers.endorsers(&config)).unwrap_or_default();
        let missing: Vec<_> =
            orgs.iter().filter(|org| !peers.contains_key(&MspId::new(org))).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(format!("failed to find any endorsing peers for org(s): {}", missing.join(", ")));
        }
        let layout = Layout(orgs.iter().map(|org| (MspId::new(org), 1)).collect());
        Ok(Plan::new([layout], peers))
    }

    /// Lets a peer of the gateway's own organisation endorse, and plans the rest by what it says the call touched.
    async fn plan_from_first_endorser(&self, proposal: &Proposal) -> Result<Plan, Status> {
        let Some(ledger) = self.ledger(&proposal.channel) else {
            let text = format!(
                "no combination of peers can be derived which satisfy the endorsement policy: channel '{}' not found",
                proposal.channel
            );
            return Err(Status::failed_precondition(text));
        };
        let config = ledger.config();
        let mut candidates = self.first_endorsers(&config, proposal.audience);
        let mut details = Vec::new();
        let mut asked = Vec::new();
        let (first, response) = loop {
            let Some(peer) = candidates.pop_front() else {
                let text = "failed to endorse transaction, see attached details for more info";
                return Err(with_details(Code::Aborted, text, details));
            };
            let (peer, answer) = self.ask_one(peer, proposal).await;
            match answer {
                Ok(response) => break (peer, response),
                Err(refusal) => {
                    details.push(peer.detail(&refusal.message));
                    if !refusal.retry {
                        // Other organisations would be asked in vain.
                        candidates.retain(|other| other.org() == peer.org());
                    }
                }
            }
            asked.push(peer);
        };
        let interest = interest_of(&response, &proposal.chaincode);
        let layouts = self.layouts(&ledger, &config, &interest, proposal.audience)?;
        let mut plan = Plan::new(layouts, self.peers.endorsers(&config));
        plan.prefer(first.org());
        for peer in asked.iter().chain([&first]) {
            plan.remove(peer);
        }
        plan.endorsed(&first, response);
        if !plan.is_possible() {
            let text = "failed to select a set of endorsers that satisfy the endorsement policy due to unavailability of peers: \
                        the channel's configuration names no anchor peer for the other organisations whose endorsement is needed";
            return Err(Status::failed_precondition(text));
        }
        Ok(plan)
    }

    /// Who may endorse first, in order: the gateway's own organisation, and then, in case none of its peers has the
    /// chaincode, the others, unless the proposal must stay at home.
    fn first_endorsers(&self, config: &ChannelConfig, audience: Audience) -> VecDeque<Peer> {
        let mut peers = self.peers.endorsers(config);
        let mut candidates = peers.remove(self.peers.local_org()).unwrap_or_default();
        if audience == Audience::Anyone {
            candidates.extend(peers.into_values().flatten());
        }
        candidates
    }

    /// The combinations of organisations that satisfy every policy the call touched.
    fn layouts(
        &self,
        ledger: &Ledger,
        config: &ChannelConfig,
        interest: &protos::ChaincodeInterest,
        audience: Audience,
    ) -> Result<Vec<Layout>, Status> {
        let underivable = |why: String| {
            let text = format!("no combination of peers can be derived which satisfy the endorsement policy: {why}");
            Status::failed_precondition(text)
        };
        let layouts = layouts_of(ledger, config, interest, audience).map_err(underivable)?;
        if !layouts.is_empty() {
            return Ok(layouts);
        }
        let exposing = || layouts_of(ledger, config, interest, Audience::Anyone);
        if audience == Audience::Trusted && exposing().is_ok_and(|layouts| !layouts.is_empty()) {
            let collections: Vec<_> = interest
                .chaincodes
                .iter()
                .filter(|call| call.no_private_reads)
                .flat_map(|call| call.collection_names.iter().map(String::as_str))
                .collect();
            let text = format!(
                "requires endorsement from organisation(s) that are not in the distribution policy of the private data collection(s): [{}]; retry specifying trusted endorsing organizations to protect transient data",
                collections.join(" ")
            );
            return Err(Status::failed_precondition(text));
        }
        let names: Vec<_> = interest.chaincodes.iter().map(|call| call.name.as_str()).collect();
        Err(underivable(format!(
            "the endorsement policy of chaincode(s) [{}] cannot be satisfied by peers of the channel's organisations",
            names.join(" ")
        )))
    }
}

/// What the first endorser says the call touched; the chaincode itself where it says nothing.
fn interest_of(response: &protos::ProposalResponse, chaincode: &str) -> protos::ChaincodeInterest {
    match &response.interest {
        Some(interest) if !interest.chaincodes.is_empty() => interest.clone(),
        _ => protos::ChaincodeInterest {
            chaincodes: vec![protos::ChaincodeCall { name: chaincode.to_owned(), ..Default::default() }],
        },
    }
}

/// The layouts that satisfy all calls of an interest. Of a proposal that is not for anyone, only members of the collections may
/// learn.
fn layouts_of(
    ledger: &Ledger,
    config: &ChannelConfig,
    interest: &protos::ChaincodeInterest,
    audience: Audience,
) -> Result<Vec<Layout>, String> {
    let empty = common::ConfigGroup::default();
    let channel = config.config().channel_group.as_ref().unwrap_or(&empty);
    let state = ledger.snapshot();
    let mut demands = Vec::new();
    let mut entitled: Option<Vec<MspId>> = None;
    for call in &interest.chaincodes {
        let undefined =
            || format!("no metadata was found for chaincode {} in channel {}", call.name, ledger.channel_id());
        if !call.disregard_namespace_policy && call.collection_names.is_empty() {
            let info = validation_info(state.as_ref(), config, &call.name).ok().flatten().ok_or_else(undefined)?;
            demands.push(layout::of_application_policy(&info.policy, channel));
        }
        for name in &call.collection_names {
            let unknown =
                || format!("collection {name} doesn't exist in collection config for chaincode {}", call.name);
            let policy = collection_endorsement_policy(state.as_ref(), config, &call.name, name).ok().flatten();
            demands.push(layout::of_application_policy(&policy.ok_or_else(unknown)?, channel));
            if audience == Audience::Trusted || !call.no_private_reads {
                let found = collection(state.as_ref(), config, &call.name, name).ok().flatten().ok_or_else(unknown)?;
                let members = member_orgs(&found);
                entitled = Some(match entitled {
                    Some(so_far) => so_far.into_iter().filter(|org| members.contains(org)).collect(),
                    None => members,
                });
            }
        }
        demands.extend(call.key_policies.iter().map(layout::of_signature_policy));
    }
    let mut layouts = layout::all_of(demands.iter().map(Vec::as_slice));
    if let Some(entitled) = entitled {
        layouts.retain(|layout| layout.0.keys().all(|org| entitled.contains(org)));
    }
    Ok(layouts)
}

/// The organisations that a collection's data is distributed to.
fn member_orgs(collection: &protos::StaticCollectionConfig) -> Vec<MspId> {
    use protos::collection_policy_config::Payload;
    let Some(Payload::SignaturePolicy(policy)) =
        collection.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref())
    else {
        return Vec::new();
    };
    layout::orgs_of(policy)
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
