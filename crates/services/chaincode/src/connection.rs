//! One stream to a running chaincode, and the transactions at work on it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use ripstop_lifecycle::CollectionRights;
use ripstop_proto::protos::{self, ChaincodeMessage, chaincode_message::Type};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::custody;
use crate::error::SendError;
use crate::host::ChaincodeHost;
use crate::outbound::Outbound;
use crate::protocol::{Protocol, Step, message};
use crate::query::OpenQueries;
use crate::registry::Expected;
use crate::requests::{self, RequestError};

/// How long who dialled this peer may take to register.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(60);
/// How many messages a chaincode may send within [`STRAY_PERIOD`] that no transaction waits for: keepalives, late answers,
/// requests of transactions that are over or were never its own. Its stream is ended when there are more.
const MAX_STRAYS: u32 = 10_000;
/// See [`MAX_STRAYS`].
const STRAY_PERIOD: Duration = Duration::from_secs(60);

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
    /// How many bytes it asked to be written.
    pub(crate) written: AtomicUsize,
    /// Whether a request of it is being answered: the protocol allows one at a time.
    busy: AtomicBool,
    /// Nobody waits for it any more.
    over: CancellationToken,
    done: Mutex<Option<oneshot::Sender<ChaincodeMessage>>>,
}

/// A registered chaincode.
pub(crate) struct Connection {
    id: String,
    outbound: Outbound,
    transactions: Mutex<HashMap<Key, Arc<Transaction>>>,
    /// Transactions that were given up and have not been answered.
    overdue: Mutex<HashSet<Key>>,
    /// It takes no more calls, and is dismissed when those at work are over.
    retiring: AtomicBool,
    /// Nobody needs it any longer.
    dismissed: CancellationToken,
    /// Its stream is to end.
    closing: CancellationToken,
    /// Its stream has ended.
    ended: CancellationToken,
    /// It keeps calls waiting for ever.
    stuck: CancellationToken,
}

impl Connection {
    pub(crate) fn new(id: String, outbound: Outbound) -> Self {
        Self {
            id,
            outbound,
            transactions: Mutex::default(),
            overdue: Mutex::default(),
            retiring: AtomicBool::new(false),
            dismissed: CancellationToken::new(),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            stuck: CancellationToken::new(),
        }
    }

    /// The id it registered with.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether its stream has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Completes when its stream has ended.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Completes when it has left a call unanswered for twice the time that a call may take.
    pub(crate) async fn stuck(&self) {
        self.stuck.cancelled().await;
    }

    /// Completes when nobody needs it any longer: whoever launched it is to end it.
    pub(crate) async fn dismissed(&self) {
        self.dismissed.cancelled().await;
    }

    /// Ends its stream.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    /// Dismisses it when the transactions at work are over. It must not be found for further ones.
    pub(crate) fn retire(&self) {
        self.retiring.store(true, Ordering::Release);
        if self.transactions.lock().is_empty() {
            self.dismissed.cancel();
        }
    }

    /// Runs one transaction in the chaincode and waits for its answer.
    pub(crate) async fn execute(
        self: &Arc<Self>,
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
            written: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            over: CancellationToken::new(),
            done: Mutex::new(Some(done)),
        };
        let _entry = self.enter(key.clone(), transaction)?;
        let run = async {
            self.outbound.send(request).await.map_err(|_| SendError::StreamTerminated)?;
            answer.await.map_err(|_| SendError::StreamTerminated)
        };
        tokio::select! {
            biased;
            answered = tokio::time::timeout(timeout, run) => answered.unwrap_or_else(|_| {
                self.wait_for_late_answer(key, timeout);
                Err(SendError::Timeout)
            }),
            () = self.ended.cancelled() => Err(SendError::StreamTerminated),
        }
    }

    /// Nobody waits for a transaction any longer; a chaincode that is in order answers all the same.
    fn wait_for_late_answer(self: &Arc<Self>, key: Key, patience: Duration) {
        self.overdue.lock().insert(key.clone());
        let connection = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(patience) => {}
                () = connection.ended() => return,
            }
            if connection.overdue.lock().remove(&key) {
                connection.stuck.cancel();
            }
        });
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
    fn answer(self: &Arc<Self>, host: &ChaincodeHost, kind: Type, request: ChaincodeMessage) -> Heed {
        let Some(transaction) = self.transaction(&request) else {
            // Late, or never begun. Where the queue is full the answer is dropped: nobody waits for it.
            let refused = answer_to(kind, request, Err(RequestError::NoContext.to_string()));
            self.outbound.send_if_there_is_room(refused);
            return Heed::Stray;
        };
        if transaction.busy.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "[{}] Another request pending for this CC: {}, Txid: {}, ChannelID: {}. Cannot process.",
                short(&request.txid),
                self.id,
                request.txid,
                request.channel_id
            );
            return Heed::Stray;
        }
        let (host, connection) = (host.clone(), self.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let (name, channel) = (kind.as_str_name(), transaction.call.channel());
            host.metrics().request_received(name, channel, &connection.id);
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
            host.metrics().request_completed(name, channel, &connection.id, began.elapsed(), &outcome);
            let reserved = tokio::select! {
                reserved = connection.outbound.reserve(answer_to(kind, request, outcome)) => reserved,
                () = transaction.over.cancelled() => return,
            };
            // Free before the answer is on its way, because the next request may come at once; but not before there is room
            // for it: a chaincode that asks and never reads has one answer a transaction waiting, no more.
            transaction.busy.store(false, Ordering::Release);
            // A stream that has ended takes no answer; its transactions are over.
            if let Ok(reserved) = reserved {
                reserved.send();
            }
        });
        Heed::Awaited
    }

    fn finish(&self, answer: ChaincodeMessage) -> Heed {
        let Some(transaction) = self.transaction(&answer) else {
            tracing::debug!("a late answer for transaction {} of {}", answer.txid, self.id);
            self.overdue.lock().remove(&(answer.channel_id, answer.txid));
            return Heed::Stray;
        };
        let done = transaction.done.lock().take();
        match done.map(|done| done.send(answer)) {
            Some(Ok(())) => Heed::Awaited,
            _ => Heed::Stray,
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
        let mut transactions = self.connection.transactions.lock();
        if let Some(transaction) = transactions.remove(&self.key) {
            transaction.over.cancel();
        }
        if transactions.is_empty() && self.connection.retiring.load(Ordering::Acquire) {
            self.connection.dismissed.cancel();
        }
    }
}

/// Whether a transaction waited for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heed {
    Awaited,
    Stray,
}

/// Counts messages that nobody waited for.
struct Strays {
    count: u32,
    since: Instant,
}

impl Strays {
    fn new() -> Self {
        Self { count: 0, since: Instant::now() }
    }

    /// Counts one more; whether that is too many.
    fn one_more(&mut self) -> bool {
        if self.since.elapsed() > STRAY_PERIOD {
            *self = Self::new();
        }
        self.count += 1;
        self.count > MAX_STRAYS
    }
}

/// Serves a stream until it ends; says why it did.
pub(crate) async fn serve(
    host: ChaincodeHost,
    expected: Expected,
    inbound: impl Stream<Item = Result<ChaincodeMessage, tonic::Status>>,
    outbound: Outbound,
) -> String {
    let mut inbound = std::pin::pin!(inbound);
    let mut protocol = Protocol::new();
    let mut registered: Option<Arc<Connection>> = None;
    let mut strays = Strays::new();
    let patience = Instant::now() + REGISTRATION_PATIENCE;
    let stopped = host.stopped();
    let keepalive = host.options().keepalive;
    let reason = loop {
        let received = tokio::select! {
            received = inbound.next() => received,
            () = stopped.cancelled() => break "the peer is stopping".to_owned(),
            () = closing(registered.as_ref(), patience) => break match registered {
                Some(_) => "the peer has no more use for the chaincode".to_owned(),
                None => format!("the chaincode did not register within {} s", REGISTRATION_PATIENCE.as_secs()),
            },
            () = idle(keepalive) => {
                // Only to keep the stream from being idle; nobody waits for an answer.
                outbound.send_if_there_is_room(message(Type::Keepalive, Bytes::new()));
                continue;
            }
        };
        let received = match received {
            None => break "received EOF, ending chaincode support stream".to_owned(),
            Some(Err(status)) => break format!("receive from chaincode support stream failed: {}", status.message()),
            Some(Ok(received)) => received,
        };
        let heed = match (protocol.handle(received), &registered) {
            (Step::Ignore, _) => Heed::Stray,
            (Step::Register(id), _) => {
                let connection = Arc::new(Connection::new(id, outbound.clone()));
                if let Err(refusal) = host.registry().register(&expected, &connection) {
                    tracing::warn!("{refusal}");
                    break refusal;
                }
                registered = Some(connection.clone());
                let parameters = host.options().additional_parameters();
                for greeting in protocol.registered(parameters) {
                    outbound.send(greeting).await.ok();
                }
                if let Err(refusal) = host.registry().ready(&connection) {
                    tracing::warn!("{refusal}");
                    break refusal;
                }
                tracing::info!("chaincode {} is registered", connection.id());
                tokio::spawn(custody::watch(host.clone(), connection));
                Heed::Awaited
            }
            (Step::Finish(answer), Some(connection)) => connection.finish(answer),
            (Step::Request(kind, request), Some(connection)) => connection.answer(&host, kind, request),
            (Step::Finish(_) | Step::Request(..), None) => break "the chaincode did not register".to_owned(),
            (Step::Fail(reason), _) => break format!("error handling message, ending stream: {reason}"),
        };
        if heed == Heed::Stray && strays.one_more() {
            break format!("the chaincode sent more than {MAX_STRAYS} messages that no transaction waited for");
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

/// Completes when this peer wants the stream to end, or when nobody registered on it in time.
async fn closing(registered: Option<&Arc<Connection>>, patience: Instant) {
    match registered {
        Some(connection) => connection.closing.cancelled().await,
        None => tokio::time::sleep_until(patience).await,
    }
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
