use std::time::Duration;

use rand::seq::SliceRandom;
use ripstop_channel_config::ConsensusType;
use ripstop_proto::{common, gateway, orderer};
use ripstop_transport::describe_failure;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::peers::Orderer;
use crate::refusal::with_details;
use crate::service::Gateway;

/// What a byzantine orderer says when another one passed the transaction on already: that is a success.
const ALREADY_THERE: &str = "failed to submit request: request already exists";

impl Gateway {
    /// Hands a signed transaction to the ordering service.
    pub(crate) async fn submit_transaction(
        &self,
        request: gateway::SubmitRequest,
    ) -> Result<gateway::SubmitResponse, Status> {
        let transaction = request
            .prepared_transaction
            .ok_or_else(|| Status::invalid_argument("a prepared transaction is required"))?;
        if transaction.signature.is_empty() {
            return Err(Status::invalid_argument("prepared transaction must be signed"));
        }
        let Some(config) = self.channel_config(&request.channel_id) else {
            let text = format!("failed to get config for channel [{}]: channel not found", request.channel_id);
            return Err(Status::failed_precondition(text));
        };
        let (orderers, nodes) = self.peers.orderers(&config);
        if orderers.is_empty() {
            return Err(Status::unavailable("no orderer nodes available"));
        }
        let byzantine = config.orderer().is_some_and(|orderer| orderer.consensus_type == ConsensusType::Bft);
        if byzantine {
            self.submit_to_all(orderers, nodes, transaction).await
        } else {
            self.submit_to_one(orderers, transaction).await
        }
    }

    /// Crash-tolerant ordering: one orderer that takes it is enough. Tried in random order.
    async fn submit_to_one(
        &self,
        mut orderers: Vec<Orderer>,
        transaction: common::Envelope,
    ) -> Result<gateway::SubmitResponse, Status> {
        orderers.shuffle(&mut rand::rng());
        let mut details = Vec::new();
        for orderer in orderers {
            let answer = match broadcast(&orderer, transaction.clone(), self.config.broadcast_timeout).await {
                Ok(answer) => answer,
                Err(error) => {
                    details.push(refused(&orderer, &error));
                    continue;
                }
            };
            if answer.status() == common::Status::Success {
                return Ok(gateway::SubmitResponse {});
            }
            let text = unsuccessful(&answer);
            let (status, info) = (answer.status().as_str_name(), &answer.info);
            tracing::warn!(target: "gateway", endpoint = orderer.address, status, info, "Unsuccessful response sending transaction to orderer");
            if (400..500).contains(&answer.status) {
                // The transaction is at fault: another orderer would say the same.
                return Err(Status::aborted(text));
            }
            details.push(orderer.detail(&text));
        }
        Err(with_details(Code::Unavailable, "no orderers could successfully process transaction", details))
    }

    /// Byzantine ordering: more than a third of the `nodes` might lie, so a quorum must have taken it. All get it, also those
    /// who are slow: they go on beside this call, no longer than an orderer may take.
    async fn submit_to_all(
        &self,
        orderers: Vec<Orderer>,
        nodes: usize,
        transaction: common::Envelope,
    ) -> Result<gateway::SubmitResponse, Status> {
        let quorum = byzantine_quorum(nodes);
        let total = orderers.len();
        let mut answers = JoinSet::new();
        for orderer in orderers {
            let (limit, transaction) = (self.config.broadcast_timeout, transaction.clone());
            answers.spawn(async move {
                let answer = broadcast(&orderer, transaction, limit).await;
                (orderer, answer)
            });
        }
        let (mut successes, mut details) = (0, Vec::new());
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok((_, Ok(answer))) if is_taken(&answer) => successes += 1,
                Ok((orderer, Ok(answer))) => details.push(refused(&orderer, &unsuccessful(&answer))),
                Ok((orderer, Err(error))) => details.push(refused(&orderer, &error)),
                Err(_) => {}
            }
            if successes >= quorum {
                answers.detach_all();
                return Ok(gateway::SubmitResponse {});
            }
            if details.len() + quorum > total {
                answers.detach_all();
                break;
            }
        }
        let text =
            "insufficient number of orderers could successfully process transaction to satisfy quorum requirement";
        tracing::warn!(target: "gateway", successes, quorum, "Insufficient number of orderers could successfully process transaction to satisfy quorum requirement");
        Err(with_details(Code::Unavailable, text, details))
    }
}

/// Hands a transaction to an orderer, which may take so long.
async fn broadcast(
    orderer: &Orderer,
    transaction: common::Envelope,
    limit: Duration,
) -> Result<orderer::BroadcastResponse, String> {
    tracing::info!(target: "gateway", endpoint = orderer.address, "Sending transaction to orderer");
    let mut client = orderer.client.clone();
    let call = async {
        // The requests end behind the only one: requests that go on for ever would keep the stream open after the
        // answer was dropped.
        client.broadcast(tokio_stream::once(transaction)).await?.into_inner().message().await
    };
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(Some(answer))) => Ok(answer),
        Ok(Ok(None)) => Err("EOF".to_owned()),
        Ok(Err(status)) => Err(describe_failure(&status)),
        Err(_) => Err(format!("the orderer did not answer within {limit:?}")),
    }
}

/// Whether an orderer has the transaction now.
fn is_taken(answer: &orderer::BroadcastResponse) -> bool {
    match answer.status() {
        common::Status::Success => true,
        common::Status::ServiceUnavailable => answer.info == ALREADY_THERE,
        _ => false,
    }
}

fn refused(orderer: &Orderer, why: &str) -> gateway::ErrorDetail {
    tracing::warn!(target: "gateway", endpoint = orderer.address, err = why, "Error sending transaction to orderer");
    orderer.detail(why)
}

fn unsuccessful(answer: &orderer::BroadcastResponse) -> String {
    let status = answer.status().as_str_name();
    format!("received unsuccessful response from orderer: status={status}, info={}", answer.info)
}

/// The least number of nodes such that any two quorums share an honest one: ceil((n + f + 1) / 2).
fn byzantine_quorum(nodes: usize) -> usize {
    let faulty = nodes.saturating_sub(1) / 3;
    (nodes + faulty + 1).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums_are_fabrics() {
        for (nodes, quorum) in [(1, 1), (4, 3), (5, 4), (7, 5), (10, 7)] {
            assert_eq!(byzantine_quorum(nodes), quorum, "{nodes}");
        }
    }
}
