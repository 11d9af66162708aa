use std::time::Duration;

use ripstop_keys::SigningIdentity;
use ripstop_proto::protos;
use ripstop_types::{ChannelId, TxId, ValidationCode};

use super::{CallError, Peer};

/// Why it is not known that a transaction was committed as valid. The texts are those of Fabric's commands.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A peer's event stream could not be opened.
    #[error("failed to connect to deliver on all peers: error connecting to deliver filtered at {address}: {source}")]
    Connect {
        /// The peer.
        address: String,
        /// Why not.
        source: CallError,
    },
    /// A peer's event stream broke.
    #[error("error receiving from deliver filtered at {address}: {source}")]
    Receive {
        /// The peer.
        address: String,
        /// Why.
        source: CallError,
    },
    /// A peer ended its event stream with a status.
    #[error("deliver completed with status ({status}) before txid received")]
    Completed {
        /// The status' name.
        status: &'static str,
    },
    /// A peer sent something else than filtered blocks.
    #[error("received unexpected response type from {0}")]
    Unexpected(String),
    /// A peer judged the transaction invalid.
    #[error("transaction invalidated with status ({0})")]
    Invalid(ValidationCode),
    /// It took too long until all peers were listening.
    #[error("timed out waiting for connection to deliver on all peers")]
    ConnectTimeout,
    /// It took too long until all peers had committed.
    #[error("timed out waiting for txid on all peers")]
    Timeout,
}

/// Listens on several peers at once for the commit of one transaction. Made *before* the transaction is broadcast, so
/// that its block cannot be missed.
pub struct CommitWatch {
    tx_id: TxId,
    deadline: tokio::time::Instant,
    streams: Vec<Listening>,
}

struct Listening {
    peer: Peer,
    blocks: tonic::Streaming<protos::DeliverResponse>,
}

impl CommitWatch {
    /// Begins to listen. Returns when every peer has sent its newest block, so that what follows is in the stream.
    /// `limit` is for listening and waiting together.
    pub async fn begin(
        peers: &[Peer],
        channel: &ChannelId,
        tx_id: &TxId,
        signer: &SigningIdentity,
        limit: Duration,
    ) -> Result<Self, CommitError> {
        let deadline = tokio::time::Instant::now() + limit;
        let open = futures_util::future::try_join_all(peers.iter().map(|peer| async {
            let connect = |source| CommitError::Connect { address: peer.address().to_owned(), source };
            let mut blocks = peer.filtered_blocks(channel, signer).await.map_err(connect)?;
            let first = blocks.message().await.map_err(|status| connect(peer.failed(status)))?;
            read(peer, first)?;
            Ok(Listening { peer: peer.clone(), blocks })
        }));
        let streams = tokio::time::timeout_at(deadline, open).await.map_err(|_| CommitError::ConnectTimeout)??;
        Ok(Self { tx_id: tx_id.clone(), deadline, streams })
    }

    /// Waits until every peer has committed the transaction; the first verdict that is not `VALID` is an error.
    pub async fn wait(self) -> Result<(), CommitError> {
        let tx_id = &self.tx_id;
        let verdicts = futures_util::future::join_all(self.streams.into_iter().map(|mut stream| async move {
            let code = stream.verdict(tx_id).await?;
            tracing::info!(
                target: "chaincodeCmd",
                function = "ClientWait",
                "txid [{tx_id}] committed with status ({code}) at {}",
                stream.peer.address()
            );
            if code == ValidationCode::Valid { Ok(()) } else { Err(CommitError::Invalid(code)) }
        }));
        let verdicts = tokio::time::timeout_at(self.deadline, verdicts).await.map_err(|_| CommitError::Timeout)?;
        verdicts.into_iter().collect()
    }
}

impl Listening {
    async fn verdict(&mut self, tx_id: &TxId) -> Result<ValidationCode, CommitError> {
        loop {
            let answer = self.blocks.message().await.map_err(|status| CommitError::Receive {
                address: self.peer.address().to_owned(),
                source: self.peer.failed(status),
            })?;
            let block = read(&self.peer, answer)?;
            let found = block.filtered_transactions.iter().find(|transaction| transaction.txid == tx_id.as_str());
            if let Some(transaction) = found {
                let code = u8::try_from(transaction.tx_validation_code).ok();
                return code
                    .and_then(|code| ValidationCode::try_from(code).ok())
                    .ok_or_else(|| CommitError::Unexpected(self.peer.address().to_owned()));
            }
        }
    }
}

fn read(peer: &Peer, answer: Option<protos::DeliverResponse>) -> Result<protos::FilteredBlock, CommitError> {
    let Some(answer) = answer else {
        return Err(CommitError::Receive { address: peer.address().to_owned(), source: peer.ended() });
    };
    match answer.r#type {
        Some(protos::deliver_response::Type::FilteredBlock(block)) => Ok(block),
        Some(protos::deliver_response::Type::Status(status)) => {
            Err(CommitError::Completed { status: super::connection::status_name(status) })
        }
        _ => Err(CommitError::Unexpected(peer.address().to_owned())),
    }
}
