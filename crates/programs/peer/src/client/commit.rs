use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ripstop_keys::SigningIdentity;
use ripstop_proto::protos;
use ripstop_types::{ChannelId, TxId, ValidationCode};

use super::{CallError, Peer};

/// How long a peer may take to send its newest block before others are no longer kept waiting. It has asked for its stream
/// by then. A peer that joined by a snapshot has no newest block until the next one comes.
const FIRST_BLOCK_PATIENCE: Duration = Duration::from_secs(1);

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
    stream: Stream,
}

enum Stream {
    /// It was asked for, and nothing has come.
    Opening(BoxFuture<'static, Result<Opened, CommitError>>),
    Open(Opened),
}

struct Opened {
    first: protos::FilteredBlock,
    blocks: tonic::Streaming<protos::DeliverResponse>,
}

impl CommitWatch {
    /// Begins to listen. Returns when every peer has sent its newest block, so that what follows is in the stream, or has
    /// kept the others waiting for [`FIRST_BLOCK_PATIENCE`]. `limit` is for listening and waiting together.
    pub async fn begin(
        peers: &[Peer],
        channel: &ChannelId,
        tx_id: &TxId,
        signer: &SigningIdentity,
        limit: Duration,
    ) -> Result<Self, CommitError> {
        Self::begin_within(FIRST_BLOCK_PATIENCE, peers, channel, tx_id, signer, limit).await
    }

    async fn begin_within(
        patience: Duration,
        peers: &[Peer],
        channel: &ChannelId,
        tx_id: &TxId,
        signer: &SigningIdentity,
        limit: Duration,
    ) -> Result<Self, CommitError> {
        let deadline = tokio::time::Instant::now() + limit;
        let open = futures_util::future::try_join_all(peers.iter().map(|peer| async {
            let mut opening = open(peer.clone(), channel.clone(), signer.clone()).boxed();
            let stream = match tokio::time::timeout(patience, &mut opening).await {
                Ok(opened) => Stream::Open(opened?),
                Err(_) => Stream::Opening(opening),
            };
            Ok(Listening { peer: peer.clone(), stream })
        }));
        let streams = tokio::time::timeout_at(deadline, open).await.map_err(|_| CommitError::ConnectTimeout)??;
        Ok(Self { tx_id: tx_id.clone(), deadline, streams })
    }

    /// Waits until every peer has committed the transaction; the first verdict that is not `VALID` is an error.
    pub async fn wait(self) -> Result<(), CommitError> {
        let tx_id = &self.tx_id;
        let verdicts = futures_util::future::join_all(self.streams.into_iter().map(|listening| async move {
            let peer = listening.peer.clone();
            let code = listening.verdict(tx_id).await?;
            tracing::info!(
                target: "chaincodeCmd",
                function = "ClientWait",
                "txid [{tx_id}] committed with status ({code}) at {}",
                peer.address()
            );
            if code == ValidationCode::Valid { Ok(()) } else { Err(CommitError::Invalid(code)) }
        }));
        let verdicts = tokio::time::timeout_at(self.deadline, verdicts).await.map_err(|_| CommitError::Timeout)?;
        verdicts.into_iter().collect()
    }
}

/// Asks a peer for its filtered blocks, and waits for the newest one.
async fn open(peer: Peer, channel: ChannelId, signer: SigningIdentity) -> Result<Opened, CommitError> {
    let connect = |source| CommitError::Connect { address: peer.address().to_owned(), source };
    let mut blocks = peer.filtered_blocks(&channel, &signer).await.map_err(connect)?;
    let first = blocks.message().await.map_err(|status| connect(peer.failed(status)))?;
    Ok(Opened { first: read(&peer, first)?, blocks })
}

impl Listening {
    async fn verdict(self, tx_id: &TxId) -> Result<ValidationCode, CommitError> {
        let Opened { first: mut block, mut blocks } = match self.stream {
            Stream::Open(opened) => opened,
            Stream::Opening(opening) => opening.await?,
        };
        loop {
            let found = block.filtered_transactions.iter().find(|transaction| transaction.txid == tx_id.as_str());
            if let Some(transaction) = found {
                let code = u8::try_from(transaction.tx_validation_code).ok();
                return code
                    .and_then(|code| ValidationCode::try_from(code).ok())
                    .ok_or_else(|| CommitError::Unexpected(self.peer.address().to_owned()));
            }
            let answer = blocks.message().await.map_err(|status| CommitError::Receive {
                address: self.peer.address().to_owned(),
                source: self.peer.failed(status),
            })?;
            block = read(&self.peer, answer)?;
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::{Stream, stream};
    use parking_lot::Mutex;
    use ripstop_proto::common;
    use ripstop_proto::protos::deliver_server::{Deliver, DeliverServer};
    use ripstop_testkit::Organization;
    use ripstop_transport::{Endpoint, Listener, ServerOptions, serve_grpc};
    use tokio::sync::oneshot;
    use tonic::{Request, Response, Status, Streaming};

    use super::*;

    type Answers = Pin<Box<dyn Stream<Item = Result<protos::DeliverResponse, Status>> + Send>>;

    /// A peer that joined by a snapshot: it has no block before the next one.
    struct WithoutNewest(Mutex<Option<oneshot::Receiver<protos::FilteredBlock>>>);

    #[tonic::async_trait]
    impl Deliver for WithoutNewest {
        type DeliverStream = Answers;
        type DeliverFilteredStream = Answers;
        type DeliverWithPrivateDataStream = Answers;

        async fn deliver(&self, _: Request<Streaming<common::Envelope>>) -> Result<Response<Answers>, Status> {
            Err(Status::unimplemented("not asked for"))
        }

        async fn deliver_filtered(&self, _: Request<Streaming<common::Envelope>>) -> Result<Response<Answers>, Status> {
            let next = self.0.lock().take().ok_or_else(|| Status::internal("asked twice"))?;
            let answer = async move {
                let block = next.await.map_err(|_| Status::internal("no block came"))?;
                Ok(protos::DeliverResponse { r#type: Some(protos::deliver_response::Type::FilteredBlock(block)) })
            };
            Ok(Response::new(Box::pin(stream::once(answer))))
        }

        async fn deliver_with_private_data(
            &self,
            _: Request<Streaming<common::Envelope>>,
        ) -> Result<Response<Answers>, Status> {
            Err(Status::unimplemented("not asked for"))
        }
    }

    #[tokio::test]
    async fn a_peer_without_a_newest_block_is_listened_to_all_the_same() {
        let (send, next) = oneshot::channel();
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(&listener.address().to_string()).unwrap();
        let service = DeliverServer::new(WithoutNewest(Mutex::new(Some(next))));
        let routes = tonic::service::Routes::new(service);
        tokio::spawn(serve_grpc(listener, None, ServerOptions::default(), routes, std::future::pending()));
        let (peers, channel) = ([Peer::new(&endpoint, None)], ChannelId::new("mychannel").unwrap());
        let (tx_id, user) = (TxId::new("tx"), Organization::new("Org1MSP").client("user"));
        let (patience, limit) = (Duration::from_millis(10), Duration::from_secs(60));
        let begun = CommitWatch::begin_within(patience, &peers, &channel, &tx_id, &user, limit).await;
        let watch = begun.unwrap();
        let transaction = protos::FilteredTransaction { txid: "tx".to_owned(), ..Default::default() };
        let block = protos::FilteredBlock { filtered_transactions: vec![transaction], ..Default::default() };
        send.send(block).unwrap();
        watch.wait().await.unwrap();
    }
}
