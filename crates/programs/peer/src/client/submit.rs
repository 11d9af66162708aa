use std::time::Duration;

use ripstop_keys::SigningIdentity;
use ripstop_proto::protos;
use ripstop_types::{ChannelId, HeaderType, InvalidChannelId};

use super::{AssembleError, CallError, CommitError, CommitWatch, Invocation, Orderer, Peer, Proposal};

/// Why a transaction did not get through.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The channel's name is none.
    #[error(transparent)]
    Channel(#[from] InvalidChannelId),
    /// An endorser could not be asked.
    #[error("failed to endorse proposal: {0}")]
    Endorse(CallError),
    /// An endorser refused. The text is the one Fabric's lifecycle commands print.
    #[error("proposal failed with status: {status} - {message}")]
    Refused {
        /// The peer that refused.
        peer: String,
        /// Its status.
        status: i32,
        /// Its reason.
        message: String,
    },
    /// The endorsements do not make a transaction.
    #[error("failed to create signed transaction: {0}")]
    Assemble(#[from] AssembleError),
    /// The ordering service did not take it.
    #[error("{}", broadcast_text(.0))]
    Broadcast(CallError),
    /// It was not committed as valid.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Fabric connects to the orderer first, and says so where that fails.
fn broadcast_text(error: &CallError) -> String {
    let failed = match error {
        CallError::Connect { .. } => "failed to retrieve broadcast client",
        _ => "failed to send transaction",
    };
    format!("{failed}: {error}")
}

/// Sends a proposal to all these peers at once; the answers stand in the order of the peers.
pub async fn endorse_on_all(peers: &[Peer], proposal: &Proposal) -> Result<Vec<protos::ProposalResponse>, CallError> {
    futures_util::future::try_join_all(peers.iter().map(|peer| peer.endorse(proposal))).await
}

/// How a call becomes a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// Who executes and signs it.
    pub endorsers: &'a [Peer],
    /// Whose commit is waited for. Nobody's means: until it is handed over to be ordered.
    pub witnesses: &'a [Peer],
    /// Who orders it; all of them get it.
    pub orderers: &'a [Orderer],
    /// Who submits it.
    pub signer: &'a SigningIdentity,
    /// How long committing may take.
    pub limit: Duration,
}

impl Submission<'_> {
    /// Has a call endorsed, ordered and committed. Returns the first endorser's answer.
    pub async fn submit(&self, call: &Invocation) -> Result<protos::Response, SubmitError> {
        let channel = ChannelId::new(&call.channel)?;
        let proposal = call
            .propose(self.signer, HeaderType::EndorserTransaction)
            .map_err(|error| SubmitError::Endorse(error.into()))?;
        let responses = endorse_on_all(self.endorsers, &proposal).await.map_err(SubmitError::Endorse)?;
        // Of the others' refusals, the transaction's making tells.
        if let (Some(peer), Some(response)) = (self.endorsers.first(), responses.first()) {
            let answer = response.response.clone().unwrap_or_default();
            if !(200..400).contains(&answer.status) {
                let peer = peer.address().to_owned();
                return Err(SubmitError::Refused { peer, status: answer.status, message: answer.message });
            }
        }
        let transaction = proposal.assemble(&responses, self.signer)?;
        let watch = CommitWatch::begin(self.witnesses, &channel, &proposal.tx_id, self.signer, self.limit).await?;
        for orderer in self.orderers {
            orderer.broadcast(transaction.clone()).await.map_err(SubmitError::Broadcast)?;
        }
        watch.wait().await?;
        Ok(responses.into_iter().next().and_then(|response| response.response).unwrap_or_default())
    }
}
