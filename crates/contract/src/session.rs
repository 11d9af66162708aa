//! One stream to a peer: registers, then runs the transactions the peer sends.

use std::collections::HashMap;
use std::sync::{Arc, mpsc as blocking};

use bytes::Bytes;
use prost::Message;
use ripstop_proto::protos::{self, ChaincodeMessage, chaincode_message::Type};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{Stream, StreamExt};

use crate::backend::Backend;
use crate::context::{Context, Proposal};
use crate::contract::{Contract, ERROR};
use crate::{Error, Result};

/// Messages to the peer that may wait; transactions that send more wait themselves.
pub(crate) const OUTBOUND_QUEUE: usize = 128;
/// Transactions that run at once on one stream; more wait for a free place.
const MAX_TRANSACTIONS: usize = 256;
/// Transactions that wait for that on one stream; more are refused, and their clients may try again.
const MAX_WAITING: usize = 4096;
/// Transactions that ended and are still to be forgotten; more wait themselves.
const FINISHED_QUEUE: usize = 128;
/// Keys or writes in one message when the peer takes batches but names no limit.
const DEFAULT_BATCH: usize = 100;

/// Why a stream to the peer ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The stream broke.
    #[error("the stream to the peer broke: {0}")]
    Broken(#[from] tonic::Status),
    /// The peer sent something that does not belong there.
    #[error("the peer sent {found} where {expected} was expected")]
    Unexpected {
        /// What came.
        found: String,
        /// What should have come.
        expected: &'static str,
    },
}

/// What the peer can do beyond the plain protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PeerLimits {
    /// Writes in one message; one when the peer takes no batches.
    writes: usize,
    /// Keys in one read; one when the peer takes no lists.
    reads: usize,
}

impl PeerLimits {
    fn parse(ready: Bytes) -> Self {
        let params = protos::ChaincodeAdditionalParams::decode(ready).unwrap_or_default();
        let limit = |enabled: bool, size: u32| match (enabled, usize::try_from(size).unwrap_or(DEFAULT_BATCH)) {
            (false, _) => 1,
            (true, 0) => DEFAULT_BATCH,
            (true, size) => size,
        };
        Self {
            writes: limit(params.use_write_batch, params.max_size_write_batch),
            reads: limit(params.use_get_multiple_keys, params.max_size_get_multiple_keys),
        }
    }
}

type Key = (String, String);

/// Talks to a peer until the stream ends.
pub(crate) async fn run(
    chaincode_id: &str,
    contract: Arc<Contract>,
    inbound: impl Stream<Item = std::result::Result<ChaincodeMessage, tonic::Status>>,
    outbound: mpsc::Sender<ChaincodeMessage>,
) -> std::result::Result<(), SessionError> {
    let mut inbound = std::pin::pin!(inbound);
    let Some(limits) = register(chaincode_id, &mut inbound, &outbound).await? else { return Ok(()) };
    tracing::info!("a peer is connected and calls {chaincode_id}");

    let [places, slots] =
        [MAX_TRANSACTIONS + MAX_WAITING, MAX_TRANSACTIONS].map(|count| Arc::new(Semaphore::new(count)));
    let (finished, mut finished_keys) = mpsc::channel::<Key>(FINISHED_QUEUE);
    let mut waiting: HashMap<Key, blocking::SyncSender<ChaincodeMessage>> = HashMap::new();
    loop {
        let received = tokio::select! {
            received = inbound.next() => received,
            Some(key) = finished_keys.recv() => {
                waiting.remove(&key);
                continue;
            }
        };
        let Some(received) = received else { return Ok(()) };
        let received = received?;
        match received.r#type() {
            Type::Transaction | Type::Init => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    drop(outbound.send(refusal(received)).await);
                    continue;
                };
                let key = (received.channel_id.clone(), received.txid.clone());
                // The peer answers one request at a time, so one place never fills.
                let (responses, receiver) = blocking::sync_channel(1);
                waiting.insert(key.clone(), responses);
                let backend = PeerBackend {
                    channel_id: key.0.clone(),
                    tx_id: key.1.clone(),
                    outbound: outbound.clone(),
                    responses: receiver,
                    limits,
                };
                let (contract, outbound, finished, slots) =
                    (contract.clone(), outbound.clone(), finished.clone(), slots.clone());
                tokio::spawn(async move {
                    let Ok(_slot) = slots.acquire_owned().await else { return };
                    let _place = place;
                    let answer = tokio::task::spawn_blocking(move || transaction(&contract, received, backend)).await;
                    // Nobody forgets anything when the stream has ended.
                    finished.send(key).await.ok();
                    match answer {
                        Ok(answer) => drop(outbound.send(answer).await),
                        Err(error) => tracing::error!("a transaction's thread died: {error}"),
                    }
                });
            }
            Type::Response | Type::Error => {
                if let Some(responses) = waiting.get(&(received.channel_id.clone(), received.txid.clone())) {
                    // A transaction that has ended no longer listens; the late answer is of no use to anybody.
                    responses.try_send(received).ok();
                }
            }
            Type::Keepalive => drop(outbound.send(received).await),
            other => {
                let found = other.as_str_name().to_owned();
                return Err(SessionError::Unexpected { found, expected: "a transaction or an answer" });
            }
        }
    }
}

/// Says who this is, and learns what the peer can do; `None` when it hung up.
async fn register(
    chaincode_id: &str,
    inbound: &mut (impl Stream<Item = std::result::Result<ChaincodeMessage, tonic::Status>> + Unpin),
    outbound: &mpsc::Sender<ChaincodeMessage>,
) -> std::result::Result<Option<PeerLimits>, SessionError> {
    let register = protos::ChaincodeId { name: chaincode_id.to_owned(), ..Default::default() };
    let register = message(Type::Register, register.encode_to_vec().into());
    if outbound.send(register).await.is_err() || expect(inbound, Type::Registered, "REGISTERED").await?.is_none() {
        return Ok(None);
    }
    let ready = expect(inbound, Type::Ready, "READY").await?;
    Ok(ready.map(|ready| PeerLimits::parse(ready.payload)))
}

async fn expect(
    inbound: &mut (impl Stream<Item = std::result::Result<ChaincodeMessage, tonic::Status>> + Unpin),
    kind: Type,
    expected: &'static str,
) -> std::result::Result<Option<ChaincodeMessage>, SessionError> {
    loop {
        let Some(message) = inbound.next().await.transpose()? else { return Ok(None) };
        match message.r#type() {
            Type::Keepalive => {}
            found if found == kind => return Ok(Some(message)),
            found => return Err(SessionError::Unexpected { found: found.as_str_name().to_owned(), expected }),
        }
    }
}

fn message(kind: Type, payload: Bytes) -> ChaincodeMessage {
    ChaincodeMessage { r#type: kind as i32, payload, ..Default::default() }
}

/// What the peer is told of a transaction that there is no room for.
fn refusal(request: ChaincodeMessage) -> ChaincodeMessage {
    let text = format!("the chaincode runs {MAX_TRANSACTIONS} transactions and {MAX_WAITING} wait; try again later");
    let ChaincodeMessage { txid, channel_id, .. } = request;
    ChaincodeMessage { txid, channel_id, ..message(Type::Error, text.into()) }
}

/// Runs one transaction on a thread of its own.
fn transaction(contract: &Contract, request: ChaincodeMessage, backend: PeerBackend) -> ChaincodeMessage {
    let is_init = request.r#type() == Type::Init;
    let (channel_id, txid) = (request.channel_id.clone(), request.txid.clone());
    let outcome = read_request(request, backend).map(|context| contract.execute(&context));
    let (response, chaincode_event) = match outcome {
        Ok(done) => done,
        Err(text) => {
            let failed = message(Type::Error, text.into());
            return ChaincodeMessage { txid, channel_id, ..failed };
        }
    };
    // Fabric's shims answer a failed initialization with an error instead of a response.
    let answer = match is_init && response.status >= ERROR {
        true => message(Type::Error, response.message.into()),
        false => message(Type::Completed, response.encode_to_vec().into()),
    };
    ChaincodeMessage { txid, channel_id, chaincode_event, ..answer }
}

fn read_request(request: ChaincodeMessage, backend: PeerBackend) -> std::result::Result<Context, String> {
    let input = protos::ChaincodeInput::decode(request.payload)
        .map_err(|error| format!("failed to unmarshal input: {error}"))?;
    let proposal =
        Proposal::parse(request.proposal).map_err(|error| format!("failed to unmarshal the proposal: {error}"))?;
    Ok(Context::new(request.channel_id, request.txid, input.args, proposal, Box::new(backend)))
}

/// Asks the peer.
struct PeerBackend {
    channel_id: String,
    tx_id: String,
    outbound: mpsc::Sender<ChaincodeMessage>,
    responses: blocking::Receiver<ChaincodeMessage>,
    limits: PeerLimits,
}

impl PeerBackend {
    fn ask(&mut self, kind: Type, payload: Vec<u8>) -> Result<Bytes> {
        let closed = || Error::new("the peer closed the stream");
        let request = ChaincodeMessage {
            txid: self.tx_id.clone(),
            channel_id: self.channel_id.clone(),
            ..message(kind, payload.into())
        };
        self.outbound.blocking_send(request).map_err(|_| closed())?;
        let response = self.responses.recv().map_err(|_| closed())?;
        match response.r#type() {
            Type::Response => Ok(response.payload),
            _ => Err(Error::new(String::from_utf8_lossy(&response.payload))),
        }
    }

    fn ask_for<M: Message + Default>(&mut self, kind: Type, payload: Vec<u8>) -> Result<M> {
        M::decode(self.ask(kind, payload)?).map_err(|error| {
            Error::new(format!("the peer's answer to {} does not decode: {error}", kind.as_str_name()))
        })
    }
}

impl Backend for PeerBackend {
    fn get(&mut self, collection: &str, key: &str) -> Result<Bytes> {
        let request = protos::GetState { key: key.to_owned(), collection: collection.to_owned() };
        self.ask(Type::GetState, request.encode_to_vec())
    }

    fn get_many(&mut self, collection: &str, keys: &[String]) -> Result<Vec<Bytes>> {
        if self.limits.reads <= 1 {
            return keys.iter().map(|key| self.get(collection, key)).collect();
        }
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(self.limits.reads) {
            let request = protos::GetStateMultiple { keys: keys.to_vec(), collection: collection.to_owned() };
            let result: protos::GetStateMultipleResult =
                self.ask_for(Type::GetStateMultiple, request.encode_to_vec())?;
            values.extend(result.values);
        }
        Ok(values)
    }

    fn private_hash(&mut self, collection: &str, key: &str) -> Result<Bytes> {
        let request = protos::GetState { key: key.to_owned(), collection: collection.to_owned() };
        self.ask(Type::GetPrivateDataHash, request.encode_to_vec())
    }

    fn write(&mut self, records: Vec<protos::WriteRecord>) -> Result<()> {
        if self.limits.writes > 1 {
            for records in records.chunks(self.limits.writes) {
                let batch = protos::WriteBatchState { rec: records.to_vec() };
                self.ask(Type::WriteBatchState, batch.encode_to_vec())?;
            }
            return Ok(());
        }
        for record in records {
            let protos::WriteRecord { key, value, collection, metadata, r#type } = record;
            match protos::write_record::Type::try_from(r#type) {
                Ok(protos::write_record::Type::DelState) => {
                    self.ask(Type::DelState, protos::DelState { key, collection }.encode_to_vec())?
                }
                Ok(protos::write_record::Type::PurgePrivateData) => {
                    self.ask(Type::PurgePrivateData, protos::DelState { key, collection }.encode_to_vec())?
                }
                Ok(protos::write_record::Type::PutStateMetadata) => self.ask(
                    Type::PutStateMetadata,
                    protos::PutStateMetadata { key, collection, metadata }.encode_to_vec(),
                )?,
                _ => self.ask(Type::PutState, protos::PutState { key, value, collection }.encode_to_vec())?,
            };
        }
        Ok(())
    }

    fn metadata(&mut self, collection: &str, key: &str) -> Result<Vec<protos::StateMetadata>> {
        let request = protos::GetStateMetadata { key: key.to_owned(), collection: collection.to_owned() };
        let result: protos::StateMetadataResult = self.ask_for(Type::GetStateMetadata, request.encode_to_vec())?;
        Ok(result.entries)
    }

    fn range(&mut self, range: protos::GetStateByRange) -> Result<protos::QueryResponse> {
        self.ask_for(Type::GetStateByRange, range.encode_to_vec())
    }

    fn query(&mut self, query: protos::GetQueryResult) -> Result<protos::QueryResponse> {
        self.ask_for(Type::GetQueryResult, query.encode_to_vec())
    }

    fn history(&mut self, key: &str) -> Result<protos::QueryResponse> {
        self.ask_for(Type::GetHistoryForKey, protos::GetHistoryForKey { key: key.to_owned() }.encode_to_vec())
    }

    fn next(&mut self, query: &str) -> Result<protos::QueryResponse> {
        self.ask_for(Type::QueryStateNext, protos::QueryStateNext { id: query.to_owned() }.encode_to_vec())
    }

    fn close(&mut self, query: &str) -> Result<()> {
        self.ask(Type::QueryStateClose, protos::QueryStateClose { id: query.to_owned() }.encode_to_vec()).map(drop)
    }

    fn invoke(&mut self, chaincode: &str, arguments: Vec<Bytes>) -> Result<protos::Response> {
        let spec = protos::ChaincodeSpec {
            chaincode_id: Some(protos::ChaincodeId { name: chaincode.to_owned(), ..Default::default() }),
            input: Some(protos::ChaincodeInput { args: arguments, ..Default::default() }),
            ..Default::default()
        };
        let answer: ChaincodeMessage = self.ask_for(Type::InvokeChaincode, spec.encode_to_vec())?;
        match answer.r#type() {
            Type::Completed => protos::Response::decode(answer.payload)
                .map_err(|error| Error::new(format!("the answer of {chaincode} does not decode: {error}"))),
            _ => Err(Error::new(String::from_utf8_lossy(&answer.payload))),
        }
    }

    fn write_batch_size(&self) -> usize {
        self.limits.writes
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;
    use crate::contract::Contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn transactions_for_which_there_is_no_room_are_refused_and_the_others_answered() {
        // Each asks the peer, which does not answer before it has sent all.
        let read = |context: &Context| context.exists("key");
        let contract = Contract::new("c").function("read", read);
        let (inbound, requests) = mpsc::channel(16);
        let (outbound, mut answers) = mpsc::channel(OUTBOUND_QUEUE);
        let running =
            tokio::spawn(async move { run("cc:1", Arc::new(contract), ReceiverStream::new(requests), outbound).await });
        assert_eq!(answers.recv().await.unwrap().r#type(), Type::Register);
        for kind in [Type::Registered, Type::Ready] {
            inbound.send(Ok(message(kind, Bytes::new()))).await.unwrap();
        }
        let input = protos::ChaincodeInput { args: vec!["read".into()], ..Default::default() };
        let all = MAX_TRANSACTIONS + MAX_WAITING + 10;
        let sending = tokio::spawn({
            let inbound = inbound.clone();
            async move {
                for number in 0..all {
                    let payload = input.encode_to_vec().into();
                    let request = ChaincodeMessage { txid: number.to_string(), ..message(Type::Transaction, payload) };
                    inbound.send(Ok(request)).await.unwrap();
                }
            }
        });
        let (mut refused, mut asked, mut completed) = (0, Vec::new(), 0);
        while refused < 10 {
            let answer = answers.recv().await.unwrap();
            match answer.r#type() {
                Type::Error => refused += 1,
                Type::GetState => asked.push(answer.txid),
                other => panic!("{other:?}"),
            }
        }
        sending.await.unwrap();
        while completed < all - 10 {
            for txid in asked.drain(..) {
                inbound.send(Ok(ChaincodeMessage { txid, ..message(Type::Response, Bytes::new()) })).await.unwrap();
            }
            let answer = answers.recv().await.unwrap();
            match answer.r#type() {
                Type::GetState => asked.push(answer.txid),
                Type::Completed => completed += 1,
                other => panic!("{other:?}"),
            }
        }
        drop(inbound);
        running.await.unwrap().unwrap();
    }
}
