use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::seq::SliceRandom;
use ripstop_channel_config::ConsensusType;
use ripstop_proto::{common, gateway, orderer};
use ripstop_transport::describe_failure;
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
        let orderers = self.peers.orderers(&config);
        if orderers.is_empty() {
            return Err(Status::unavailable("no orderer nodes available"));
        }
        let byzantine = config.orderer().is_some_and(|orderer| orderer.consensus_type == ConsensusType::Bft);
        if byzantine {
            self.submit_to_all(orderers, transaction).await
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
            let answer = match self.broadcast(&orderer, transaction.clone()).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::warn!(target: "gateway", "Error sending transaction to orderer {}: {error}", orderer.address);
                    details.push(orderer.detail(&error));
                    continue;
                }
            };
            if answer.status() == common::Status::Success {
                return Ok(gateway::SubmitResponse {});
            }
            let text = unsuccessful(&answer);
            tracing::warn!(target: "gateway", "Unsuccessful response sending transaction to orderer {}: {text}", orderer.address);
            if (400..500).contains(&answer.status) {
                // The transaction is at fault: another orderer would say the same.
                return Err(Status::aborted(text));
            }
            details.push(orderer.detail(&text));
        }
        Err(with_details(Code::Unavailable, "no orderers could successfully process transaction", details))
    }

    /// Byzantine ordering: more than a third of the orderers might lie, so a quorum must have taken it.
    async fn submit_to_all(
        &self,
        orderers: Vec<Orderer>,
        transaction: common::Envelope,
    ) -> Result<gateway::SubmitResponse, Status> {
        let quorum = byzantine_quorum(orderers.len());
        let mut answers: FuturesUnordered<_> = orderers
            .iter()
            .map(|orderer| {
                let transaction = transaction.clone();
                async move { (orderer, self.broadcast(orderer, transaction).await) }
            })
            .collect();
        let mut successes = 0;
        let mut details = Vec::new();
        while let Some((orderer, answer)) = answers.next().await {
            match answer {
                Ok(answer) if answer.status() == common::Status::Success => successes += 1,
                Ok(answer) if answer.status() == common::Status::ServiceUnavailable && answer.info == ALREADY_THERE => {
                    successes += 1;
                }
                Ok(answer) => details.push(orderer.detail(&unsuccessful(&answer))),
                Err(error) => details.push(orderer.detail(&error)),
            }
            if successes >= quorum {
                return Ok(gateway::SubmitResponse {});
            }
        }
        let text =
            "insufficient number of orderers could successfully process transaction to satisfy quorum requirement";
        Err(with_details(Code::Unavailable, text, details))
    }

    async fn broadcast(
        &self,
        orderer: &Orderer,
        transaction: common::Envelope,
    ) -> Result<orderer::BroadcastResponse, String> {
        let limit = self.config.broadcast_timeout;
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
