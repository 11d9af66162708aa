use prost::Message;
use ripstop_proto::{gateway, protos};
use ripstop_types::MspId;
use tonic::Status;

use crate::endorser::Purpose;
use crate::proposal::{Audience, Proposal};
use crate::refusal::with_details;
use crate::service::Gateway;

impl Gateway {
    /// Asks one peer after the other until one answers.
    pub(crate) async fn evaluate_proposal(
        &self,
        request: gateway::EvaluateRequest,
    ) -> Result<gateway::EvaluateResponse, Status> {
        let invalid = |why: String| Status::invalid_argument(format!("failed to unpack transaction proposal: {why}"));
        let signed = request.proposed_transaction.filter(|signed| !signed.proposal_bytes.is_empty());
        let signed = signed.ok_or_else(|| invalid("a signed proposal is required".to_owned()))?;
        let proposal = Proposal::parse(signed).map_err(invalid)?;
        proposal.check_names().map_err(invalid)?;
        let Some(ledger) = self.ledger(&proposal.channel) else {
            let text = format!("failed to get config for channel [{}]", proposal.channel);
            return Err(Status::unavailable(text));
        };
        let config = ledger.config();
        let mut targets: Vec<MspId> = request.target_organizations.iter().map(|org| MspId::new(org)).collect();
        let audience = if targets.is_empty() { proposal.audience } else { Audience::Anyone };
        if audience == Audience::Trusted {
            targets.push(self.peers.local_org().clone());
        }
        let mut peers = self.evaluators(&ledger, &proposal.chaincode, &targets);
        let mut details = Vec::new();
        let mut last = None;
        while let Some(peer) = peers.pop_front() {
            let (peer, answer) = self.ask(peer, &config, &proposal, Purpose::Evaluate).await;
            let refusal = match answer {
                Ok(response) => return Ok(gateway::EvaluateResponse { result: Some(result_of(response)) }),
                Err(refusal) => refusal,
            };
            details.push(peer.detail(&refusal.message));
            if !refusal.retry {
                let text = format!("evaluate call to endorser returned error: {}", refusal.message);
                return Err(with_details(refusal.code, text, details));
            }
            last = Some(refusal.code);
        }
        Err(match last {
            Some(code) => {
                with_details(code, "failed to evaluate transaction, see attached details for more info", details)
            }
            None => {
                let all = config.application().into_iter().flat_map(|all| all.organizations.values());
                let all: Vec<_> = all.map(|org| org.msp_id.clone()).collect();
                let asked = if targets.is_empty() { &all } else { &targets };
                let text = no_peers(&proposal, audience);
                Status::failed_precondition(self.explained(text, Some(&ledger), &proposal, asked))
            }
        })
    }
}

fn no_peers(proposal: &Proposal, audience: Audience) -> String {
    let none =
        format!("no peers available to evaluate chaincode {} in channel {}", proposal.chaincode, proposal.channel);
    match audience {
        Audience::Anyone => none,
        Audience::Trusted => format!(
            "no endorsers found in the gateway's organization; retry specifying target organization(s) to protect transient data: {none}"
        ),
    }
}

/// The result as endorsed, which an endorser may leave out of the response beside it.
fn result_of(answer: protos::ProposalResponse) -> protos::Response {
    let mut response = answer.response.unwrap_or_default();
    let action = protos::ProposalResponsePayload::decode(answer.payload)
        .and_then(|payload| protos::ChaincodeAction::decode(payload.extension));
    match action.map(|action| action.response) {
        Ok(endorsed) => response.payload = endorsed.unwrap_or_default().payload,
        Err(error) => {
            tracing::warn!(target: "gateway", "Successful proposal response contained no transaction result: {error}");
        }
    }
    response
}
