use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;
use ripstop_proto::protos::write_record::Type as WriteType;
use ripstop_proto::{msp, protos, queryresult};

use crate::backend::Backend;
use crate::context::{Context, Proposal, Timestamp};
use crate::contract::Contract;
use crate::{Error, Result};

/// The namespace that results of ranges carry.
const NAMESPACE: &str = "memory";
/// Writes collected before they are handed over; as a peer's default.
const WRITE_BATCH: usize = 100;

/// An event of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryEvent {
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Bytes,
}

/// A state in memory on which contracts run without a network: for their unit tests.
///
/// Each transaction that succeeds is committed at once. As on a peer, reads see the state before the transaction, an
/// empty value removes a key, and ranges never give composite keys unless asked for.
#[derive(Debug, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    creator: Bytes,
    transient: BTreeMap<String, Bytes>,
    transactions: u64,
    last_event: Option<MemoryEvent>,
    others: BTreeMap<String, Contract>,
}

#[derive(Debug, Default, Clone)]
struct State {
    /// By collection (empty for the public state) and key.
    values: BTreeMap<(String, String), Bytes>,
    metadata: BTreeMap<(String, String), BTreeMap<String, Bytes>>,
    history: BTreeMap<String, Vec<queryresult::KeyModification>>,
}

impl Memory {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Proposes the following transactions as this identity: an MSP id and a certificate, PEM.
    pub fn creator(mut self, msp_id: &str, certificate_pem: &str) -> Self {
        let identity = msp::SerializedIdentity {
            mspid: msp_id.to_owned(),
            id_bytes: Bytes::copy_from_slice(certificate_pem.as_bytes()),
        };
        self.creator = identity.encode_to_vec().into();
        self
    }

    /// Sends transient data with the following transactions.
    pub fn transient(mut self, name: &str, value: impl Into<Bytes>) -> Self {
        self.transient.insert(name.to_owned(), value.into());
        self
    }

    /// Answers calls of the contracts to a chaincode of this name. It works on the same state, under its own keys only by
    /// convention: give it keys that do not clash.
    pub fn chaincode(mut self, name: &str, contract: Contract) -> Self {
        self.others.insert(name.to_owned(), contract);
        self
    }

    /// Runs one transaction and commits it if it succeeds. Gives the payload, or the message of the failure.
    pub fn submit(&mut self, contract: &Contract, function: &str, arguments: &[&str]) -> Result<Bytes> {
        let (outcome, writes) = self.simulate(contract, function, arguments);
        if outcome.is_ok() {
            self.commit(writes);
        }
        outcome
    }

    /// Runs one transaction without committing it.
    pub fn evaluate(&mut self, contract: &Contract, function: &str, arguments: &[&str]) -> Result<Bytes> {
        self.simulate(contract, function, arguments).0
    }

    /// The event of the last successful transaction.
    pub fn last_event(&self) -> Option<&MemoryEvent> {
        self.last_event.as_ref()
    }

    /// The committed value of a key.
    pub fn value(&self, key: &str) -> Option<Bytes> {
        self.lock().values.get(&(String::new(), key.to_owned())).cloned()
    }

    /// Sets a key as if an earlier transaction had.
    pub fn set(&mut self, key: &str, value: impl Into<Bytes>) {
        self.lock().values.insert((String::new(), key.to_owned()), value.into());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn simulate(
        &mut self,
        contract: &Contract,
        function: &str,
        arguments: &[&str],
    ) -> (Result<Bytes>, Vec<protos::WriteRecord>) {
        self.transactions += 1;
        let timestamp = Timestamp { seconds: i64::try_from(self.transactions).unwrap_or(i64::MAX), nanos: 0 };
        let proposal =
            Proposal { signed: None, creator: self.creator.clone(), timestamp, transient: self.transient.clone() };
        let arguments: Vec<Bytes> = std::iter::once(&function)
            .chain(arguments)
            .map(|argument| Bytes::copy_from_slice(argument.as_bytes()))
            .collect();
        let writes = Arc::new(Mutex::new(Vec::new()));
        let backend = MemoryBackend {
            state: self.state.clone(),
            writes: writes.clone(),
            proposal: proposal.clone(),
            tx_id: self.tx_id(),
            others: self.others.clone(),
        };
        let context = Context::new(NAMESPACE.to_owned(), self.tx_id(), arguments, proposal, Box::new(backend));
        let (response, event) = contract.execute(&context);
        let writes = std::mem::take(&mut *writes.lock().unwrap_or_else(PoisonError::into_inner));
        if response.status >= crate::contract::ERROR {
            return (Err(Error::new(response.message)), Vec::new());
        }
        self.last_event = event.map(|event| MemoryEvent { name: event.event_name, payload: event.payload });
        (Ok(response.payload), writes)
    }

    fn tx_id(&self) -> String {
        format!("tx{}", self.transactions)
    }

    fn commit(&mut self, writes: Vec<protos::WriteRecord>) {
        let (tx_id, seconds) = (self.tx_id(), i64::try_from(self.transactions).unwrap_or(i64::MAX));
        let mut state = self.lock();
        // Of several writes to a key the last one counts.
        let last: BTreeMap<_, _> = writes
            .into_iter()
            .map(|record| {
                let is_metadata = record.r#type == WriteType::PutStateMetadata as i32;
                ((record.collection.clone(), record.key.clone(), is_metadata), record)
            })
            .collect();
        for ((collection, key, _), record) in last {
            let place = (collection.clone(), key.clone());
            if let Some(entry) = record.metadata.filter(|_| record.r#type == WriteType::PutStateMetadata as i32) {
                state.metadata.entry(place).or_default().insert(entry.metakey, entry.value);
                continue;
            }
            let is_delete = record.value.is_empty();
            match is_delete {
                true => drop(state.values.remove(&place)),
                false => drop(state.values.insert(place, record.value.clone())),
            }
            if collection.is_empty() {
                state.history.entry(key).or_default().push(queryresult::KeyModification {
                    tx_id: tx_id.clone(),
                    value: record.value,
                    timestamp: Some(prost_types::Timestamp { seconds, nanos: 0 }),
                    is_delete,
                });
            }
        }
    }
}

struct MemoryBackend {
    state: Arc<Mutex<State>>,
    writes: Arc<Mutex<Vec<protos::WriteRecord>>>,
    proposal: Proposal,
    tx_id: String,
    others: BTreeMap<String, Contract>,
}

impl MemoryBackend {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all(results: impl Iterator<Item = Vec<u8>>) -> protos::QueryResponse {
    let results = results.map(|bytes| protos::QueryResultBytes { result_bytes: bytes.into() }).collect();
    protos::QueryResponse { results, has_more: false, id: String::new(), metadata: Bytes::new() }
}

impl Backend for MemoryBackend {
    fn get(&mut self, collection: &str, key: &str) -> Result<Bytes> {
        Ok(self.lock().values.get(&(collection.to_owned(), key.to_owned())).cloned().unwrap_or_default())
    }

    fn get_many(&mut self, collection: &str, keys: &[String]) -> Result<Vec<Bytes>> {
        keys.iter().map(|key| self.get(collection, key)).collect()
    }

    fn private_hash(&mut self, _collection: &str, _key: &str) -> Result<Bytes> {
        Err(Error::new("the memory state has no hashes of private data"))
    }

    fn write(&mut self, records: Vec<protos::WriteRecord>) -> Result<()> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).extend(records);
        Ok(())
    }

    fn metadata(&mut self, collection: &str, key: &str) -> Result<Vec<protos::StateMetadata>> {
        let state = self.lock();
        let entries = state.metadata.get(&(collection.to_owned(), key.to_owned())).into_iter().flatten();
        Ok(entries
            .map(|(metakey, value)| protos::StateMetadata { metakey: metakey.clone(), value: value.clone() })
            .collect())
    }

    fn range(&mut self, range: protos::GetStateByRange) -> Result<protos::QueryResponse> {
        let paging = protos::QueryMetadata::decode(range.metadata.clone())
            .map_err(|error| Error::new(format!("the query's metadata does not decode: {error}")))?;
        let start = if paging.bookmark.is_empty() { range.start_key } else { paging.bookmark };
        let state = self.lock();
        let mut found = state
            .values
            .range((range.collection.clone(), start)..)
            .take_while(|((collection, key), _)| {
                *collection == range.collection && (range.end_key.is_empty() || *key < range.end_key)
            })
            .map(|((_, key), value)| queryresult::Kv {
                namespace: NAMESPACE.to_owned(),
                key: key.clone(),
                value: value.clone(),
            });
        if paging.page_size <= 0 {
            return Ok(all(found.map(|entry| entry.encode_to_vec())));
        }
        let size = usize::try_from(paging.page_size).unwrap_or(usize::MAX);
        let entries: Vec<_> = found.by_ref().take(size).collect();
        let metadata = protos::QueryResponseMetadata {
            fetched_records_count: i32::try_from(entries.len()).unwrap_or(i32::MAX),
            bookmark: found.next().map(|entry| entry.key).unwrap_or_default(),
        };
        let page = all(entries.iter().map(Message::encode_to_vec));
        Ok(protos::QueryResponse { metadata: metadata.encode_to_vec().into(), ..page })
    }

    fn query(&mut self, _query: protos::GetQueryResult) -> Result<protos::QueryResponse> {
        Err(Error::new("ExecuteQuery not supported for leveldb"))
    }

    fn history(&mut self, key: &str) -> Result<protos::QueryResponse> {
        let state = self.lock();
        let entries = state.history.get(key).map(Vec::as_slice).unwrap_or_default();
        Ok(all(entries.iter().rev().map(Message::encode_to_vec)))
    }

    fn next(&mut self, _query: &str) -> Result<protos::QueryResponse> {
        Err(Error::new("query iterator not found"))
    }

    fn close(&mut self, _query: &str) -> Result<()> {
        Ok(())
    }

    fn invoke(&mut self, chaincode: &str, arguments: Vec<Bytes>) -> Result<protos::Response> {
        let contract = self.others.get(chaincode).cloned();
        let contract = contract.ok_or_else(|| Error::new(format!("namespace {chaincode} is not defined")))?;
        let backend = Self {
            state: self.state.clone(),
            writes: self.writes.clone(),
            proposal: self.proposal.clone(),
            tx_id: self.tx_id.clone(),
            others: self.others.clone(),
        };
        let context =
            Context::new(NAMESPACE.to_owned(), self.tx_id.clone(), arguments, self.proposal.clone(), Box::new(backend));
        Ok(contract.execute(&context).0)
    }

    fn write_batch_size(&self) -> usize {
        WRITE_BATCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        Contract::new("test")
            .function("put", |ctx: &Context, key: String, value: String| {
                ctx.put(&key, value)?;
                ctx.set_event("put", key)
            })
            .function("get", |ctx: &Context, key: String| {
                Ok(ctx.get(&key)?.map(|value| String::from_utf8_lossy(&value).into_owned()))
            })
            .function("own", |ctx: &Context| {
                ctx.put("own", "1")?;
                ctx.exists("own")
            })
            .function("fail", |ctx: &Context| {
                ctx.put("a", "lost")?;
                Err::<(), _>(Error::new("no"))
            })
            .function("keys", |ctx: &Context| {
                ctx.range("", "")?.map(|entry| Ok(entry?.key)).collect::<Result<Vec<_>>>()
            })
            .function("page", |ctx: &Context, size: i32, bookmark: String| {
                let page = ctx.range_page("", "", size, &bookmark)?;
                Ok((page.entries.len(), page.bookmark))
            })
            .function("composite", |ctx: &Context, kind: String| {
                ctx.put(&crate::composite_key(&kind, &["x", "1"])?, "v")?;
                ctx.range_composite(&kind, &["x"])?.map(|entry| Ok(entry?.key)).collect::<Result<Vec<_>>>()
            })
            .function("history", |ctx: &Context, key: String| {
                ctx.history(&key)?
                    .map(|entry| entry.map(|entry| (entry.tx_id, entry.is_delete)))
                    .collect::<Result<Vec<_>>>()
            })
            .function("delete", |ctx: &Context, key: String| ctx.delete(&key))
            .function("policy", |ctx: &Context, key: String| {
                let before = ctx.key_policy(&key)?.is_some();
                ctx.set_key_policy(&key, "policy")?;
                Ok(before)
            })
            .function("secret", |ctx: &Context| {
                Ok(ctx.transient("secret").map(|secret| String::from_utf8_lossy(secret).into_owned()))
            })
            .function("call", |ctx: &Context, name: String| {
                ctx.invoke(&name, vec![Bytes::from_static(b"get"), Bytes::from_static(b"a")], "")
                    .map(|answer| String::from_utf8_lossy(&answer).into_owned())
            })
            .function("empty", |ctx: &Context| ctx.put("", "v"))
            .function("status", |ctx: &Context, status: i32| {
                ctx.set_status(status, "of no importance")?;
                ctx.put("answered", status.to_string())
            })
            .function("hide", |ctx: &Context, key: String| {
                ctx.put_private_json("coll", &key, &vec![1, 2])?;
                ctx.put_private("coll", &crate::composite_key("kind", &[&key])?, "v")?;
                ctx.set_private_key_policy("coll", &key, "policy")
            })
            .function("seek", |ctx: &Context, key: String| {
                let value: Option<Vec<u8>> = ctx.get_private_json("coll", &key)?;
                let many = ctx.get_private_many("coll", &[key.clone(), "x".to_owned()])?;
                let found = ctx.range_private_composite("coll", "kind", &[])?.count();
                let policy = ctx.private_key_policy("coll", &key)?;
                Ok((value, many.iter().filter(|value| value.is_some()).count(), found, policy.is_some()))
            })
    }

    fn text(outcome: Result<Bytes>) -> std::result::Result<String, String> {
        outcome.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn transactions_read_what_was_committed_before() {
        let (contract, mut memory) = (contract(), Memory::new().transient("secret", "s"));
        assert_eq!(text(memory.submit(&contract, "put", &["a", "1"])), Ok(String::new()));
        let event = memory.last_event().cloned();
        assert_eq!(event, Some(MemoryEvent { name: "put".to_owned(), payload: Bytes::from_static(b"a") }));
        assert_eq!(text(memory.evaluate(&contract, "get", &["a"])), Ok("1".to_owned()));
        assert_eq!(text(memory.submit(&contract, "own", &[])), Ok("false".to_owned()));
        assert_eq!(text(memory.submit(&contract, "fail", &[])), Err("no".to_owned()));
        assert_eq!(memory.value("a").as_deref(), Some(&b"1"[..]));
        assert_eq!(text(memory.evaluate(&contract, "secret", &[])), Ok("s".to_owned()));
        assert!(memory.submit(&contract, "empty", &[]).is_err());
    }

    #[test]
    fn ranges_pages_histories_and_policies_work_as_on_a_peer() {
        let (contract, mut memory) = (contract(), Memory::new());
        for key in ["b", "a", "c"] {
            memory.submit(&contract, "put", &[key, "1"]).unwrap();
        }
        assert_eq!(text(memory.submit(&contract, "composite", &["kind"])), Ok("[]".to_owned()));
        assert_eq!(
            text(memory.evaluate(&contract, "composite", &["kind"])).unwrap(),
            r#"["\u0000kind\u0000x\u00001\u0000"]"#
        );
        assert_eq!(text(memory.evaluate(&contract, "keys", &[])), Ok(r#"["a","b","c"]"#.to_owned()));
        assert_eq!(text(memory.evaluate(&contract, "page", &["2", ""])), Ok(r#"[2,"c"]"#.to_owned()));
        assert_eq!(text(memory.evaluate(&contract, "page", &["2", "c"])), Ok(r#"[1,""]"#.to_owned()));
        memory.submit(&contract, "delete", &["a"]).unwrap();
        let history = text(memory.evaluate(&contract, "history", &["a"])).unwrap();
        assert!(history.contains("true") && history.contains("false"), "{history}");
        assert_eq!(text(memory.submit(&contract, "policy", &["b"])), Ok("false".to_owned()));
        assert_eq!(text(memory.submit(&contract, "policy", &["b"])), Ok("true".to_owned()));
    }

    #[test]
    fn private_keys_stand_apart_from_public_ones() {
        let (contract, mut memory) = (contract(), Memory::new());
        memory.submit(&contract, "hide", &["a"]).unwrap();
        assert_eq!(text(memory.evaluate(&contract, "seek", &["a"])), Ok("[[1,2],1,1,true]".to_owned()));
        assert_eq!(text(memory.evaluate(&contract, "seek", &["b"])), Ok("[null,0,1,false]".to_owned()));
        assert_eq!(memory.value("a"), None);
    }

    #[test]
    fn a_transaction_may_succeed_with_another_status_and_never_fail_with_one() {
        let (contract, mut memory) = (contract(), Memory::new());
        memory.submit(&contract, "status", &["399"]).unwrap();
        assert_eq!(memory.value("answered"), Some(Bytes::from_static(b"399")));
        for refused in ["400", "199", "500"] {
            assert!(memory.submit(&contract, "status", &[refused]).is_err(), "{refused}");
        }
    }

    #[test]
    fn contracts_call_each_other() {
        let mut memory = Memory::new().chaincode("other", contract());
        memory.set("a", "7");
        assert_eq!(text(memory.evaluate(&contract(), "call", &["other"])), Ok("7".to_owned()));
        assert_eq!(
            text(memory.evaluate(&contract(), "call", &["none"])),
            Err("namespace none is not defined".to_owned())
        );
    }
}
