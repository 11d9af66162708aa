//! One stream to a running chaincode, and the transactions at work on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use ripstop_lifecycle::CollectionRights;
use ripstop_proto::protos::{self, ChaincodeMessage, chaincode_message::Type};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::error::SendError;
use crate::host::ChaincodeHost;
use crate::protocol::{Protocol, Step, message};
use crate::query::OpenQueries;
use crate::requests::{self, RequestError};

/// Messages to one chaincode that may wait; who sends more waits too.
pub(crate) const OUTBOUND_QUEUE: usize = 256;

/// Names a transaction on a stream: channel and transaction id.
type Key = (String, String);

/// A transaction at work in a chaincode.
pub(crate) struct Transaction {
    /// The chaincode's namespace.
    pub(crate) namespace: String,
    /// Whether it is the chaincode's initialization.
    pub(crate) is_init: bool,
    /// The proposal and the simulation.
    pub(crate) call: Arc<Call>,
    /// Queries it has open.
    pub(crate) queries: Mutex<OpenQueries>,
    /// What the creator of the proposal may do with the collections that were touched.
    pub(crate) rights: Mutex<BTreeMap<String, CollectionRights>>,
    /// Whether a request of it is being answered: the protocol allows one at a time.
    busy: AtomicBool,
    done: Mutex<Option<oneshot::Sender<ChaincodeMessage>>>,
}

/// A registered chaincode.
pub(crate) struct Connection {
    id: String,
    outbound: mpsc::Sender<ChaincodeMessage>,
    transactions: Mutex<HashMap<Key, Arc<Transaction>>>,
    ended: CancellationToken,
}

impl Connection {
    pub(crate) fn new(id: String, outbound: mpsc::Sender<ChaincodeMessage>) -> Self {
        Self { id, outbound, transactions: Mutex::default(), ended: CancellationToken::new() }
    }

    /// The id it registered with.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether its stream has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Runs one transaction in the chaincode and waits for its answer.
    pub(crate) async fn execute(
        &self,
        kind: Type,
        namespace: &str,
        input: &protos::ChaincodeInput,
        call: Arc<Call>,
        timeout: Duration,
    ) -> Result<ChaincodeMessage, SendError> {
        let key = (call.channel().to_owned(), call.tx_id.to_string());
        let (done, answer) = oneshot::channel();
        let request = ChaincodeMessage {
            txid: key.1.clone(),
            channel_id: key.0.clone(),
            proposal: Some(call.proposal.clone()),
            ..message(kind, input.encode_to_vec().into())
        };
        let transaction = Transaction {
            namespace: namespace.to_owned(),
            is_init: kind == Type::Init,
            call,
            queries: Mutex::default(),
            rights: Mutex::default(),
            busy: AtomicBool::new(false),
            done: Mutex::new(Some(done)),
        };
        let _entry = self.enter(key, transaction)?;
        let run = async {
            self.outbound.send(request).await.map_err(|_| SendError::StreamTerminated)?;
            answer.await.map_err(|_| SendError::StreamTerminated)
        };
        tokio::select! {
            biased;
            answered = tokio::time::timeout(timeout, run) => answered.unwrap_or(Err(SendError::Timeout)),
            () = self.ended.cancelled() => Err(SendError::StreamTerminated),
        }
    }

    fn enter(&self, key: Key, transaction: Transaction) -> Result<Entry<'_>, SendError> {
        let mut transactions = self.transactions.lock();
        if transactions.contains_key(&key) {
            return Err(SendError::Exists { tx_id: key.1, channel: key.0 });
        }
        transactions.insert(key.clone(), Arc::new(transaction));
        Ok(Entry { connection: self, key })
    }

    fn transaction(&self, message: &ChaincodeMessage) -> Option<Arc<Transaction>> {
        let key = (message.channel_id.clone(), message.txid.clone());
        self.transactions.lock().get(&key).cloned()
    }

    /// Answers a request in a task of its own, so that one slow transaction does not hold up others.
    fn answer(self: &Arc<Self>, host: &ChaincodeHost, kind: Type, request: ChaincodeMessage) {
        let Some(transaction) = self.transaction(&request) else {
            // Late, or never begun. Where the queue is full the answer is dropped: nobody waits for it.
            let refused = answer_to(kind, request, Err(RequestError::NoContext.to_string()));
            self.outbound.try_send(refused).ok();
            return;
        };
        if transaction.busy.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "[{}] Another request pending for this CC: {}, Txid: {}, ChannelID: {}. Cannot process.",
                short(&request.txid),
                self.id,
                request.txid,
                request.channel_id
            );
            return;
        }
        let (host, connection) = (host.clone(), self.clone());
        tokio::spawn(async move {
            let payload = request.payload.clone();
            let limit = host.options().total_query_limit;
            let outcome = if kind == Type::InvokeChaincode {
                host.invoke_from(payload, transaction.call.clone()).await
            } else if requests::is_long(kind) {
                let transaction = transaction.clone();
                let read = move || requests::answer(kind, payload, &transaction, limit).map_err(|e| e.to_string());
                tokio::task::spawn_blocking(read)
                    .await
                    .unwrap_or_else(|error| Err(format!("panic during execution: {error}")))
            } else {
                requests::answer(kind, payload, &transaction, limit).map_err(|error| error.to_string())
            };
            // Free before the answer is on its way: the next request may come at once.
            transaction.busy.store(false, Ordering::Release);
            // A stream that has ended takes no answer; its transactions are over.
            connection.outbound.send(answer_to(kind, request, outcome)).await.ok();
        });
    }

    fn finish(&self, answer: ChaincodeMessage) {
        let Some(transaction) = self.transaction(&answer) else {
            tracing::debug!("a late answer for transaction {} of {}", answer.txid, self.id);
            return;
        };
        let done = transaction.done.lock().take();
        if let Some(done) = done {
            done.send(answer).ok();
        }
    }

    /// Fails what is at work.
    fn end(&self) {
        self.ended.cancel();
        self.transactions.lock().clear();
    }
}

/// Keeps a transaction on its stream as long as somebody waits for it.
struct Entry<'a> {
    connection: &'a Connection,
    key: Key,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.connection.transactions.lock().remove(&self.key);
    }
}

/// Who may register on a stream.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// Whoever the registry lets: the chaincode dialled this peer.
    Anyone,
    /// Only this id: this peer dialled it.
    Only(String),
}

/// Serves a stream until it ends; says why it did.
pub(crate) async fn serve(
    host: ChaincodeHost,
    expected: Expected,
    inbound: impl Stream<Item = Result<ChaincodeMessage, tonic::Status>>,
    outbound: mpsc::Sender<ChaincodeMessage>,
) -> String {
    let mut inbound = std::pin::pin!(inbound);
    let mut protocol = Protocol::new();
    let mut registered: Option<Arc<Connection>> = None;
    let stopping = host.stopping();
    let keepalive = host.options().keepalive;
    let reason = loop {
        let received = tokio::select! {
            received = inbound.next() => received,
            () = stopping.cancelled() => break "the peer is stopping".to_owned(),
            () = idle(keepalive) => {
                // Only to keep the stream from being idle; nobody waits for an answer.
                outbound.try_send(message(Type::Keepalive, Bytes::new())).ok();
                continue;
            }
        };
        let received = match received {
            None => break "received EOF, ending chaincode support stream".to_owned(),
            Some(Err(status)) => break format!("receive from chaincode support stream failed: {}", status.message()),
            Some(Ok(received)) => received,
        };
        match (protocol.handle(received), &registered) {
            (Step::Ignore, _) => {}
            (Step::Register(id), _) => {
                let connection = Arc::new(Connection::new(id, outbound.clone()));
                if let Err(refusal) = host.registry().register(&expected, &connection) {
                    break refusal;
                }
                registered = Some(connection.clone());
                let parameters = host.options().additional_parameters();
                for greeting in protocol.registered(parameters) {
                    outbound.send(greeting).await.ok();
                }
                host.registry().ready(&connection);
                tracing::info!("chaincode {} is registered", connection.id());
            }
            (Step::Finish(answer), Some(connection)) => connection.finish(answer),
            (Step::Request(kind, request), Some(connection)) => connection.answer(&host, kind, request),
            (Step::Finish(_) | Step::Request(..), None) => break "the chaincode did not register".to_owned(),
            (Step::Fail(reason), _) => break format!("error handling message, ending stream: {reason}"),
        }
    };
    if let Some(connection) = registered {
        connection.end();
        host.registry().deregister(&connection);
        tracing::info!("the stream of chaincode {} ended: {reason}", connection.id());
    }
    reason
}

/// The answer to a request, with the names of its transaction.
fn answer_to(kind: Type, request: ChaincodeMessage, outcome: Result<Bytes, String>) -> ChaincodeMessage {
    let ChaincodeMessage { txid, channel_id, .. } = request;
    let answer = match outcome {
        Ok(payload) => message(Type::Response, payload),
        Err(error) => {
            tracing::error!("[{}] Failed to handle {}. error: {error}", short(&txid), kind.as_str_name());
            message(Type::Error, format!("{} failed: transaction ID: {txid}: {error}", kind.as_str_name()).into())
        }
    };
    ChaincodeMessage { txid, channel_id, ..answer }
}

/// Waits for a keepalive to be due; for ever when there is none.
async fn idle(keepalive: Option<Duration>) {
    match keepalive {
        Some(interval) => tokio::time::sleep(interval).await,
        None => std::future::pending().await,
    }
}

/// The first characters of a transaction id, for log lines.
fn short(tx_id: &str) -> &str {
    tx_id.get(..8).unwrap_or(tx_id)
}
