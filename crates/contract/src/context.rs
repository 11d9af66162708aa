use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::{common, protos};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::Backend;
use crate::composite::composite_range;
use crate::contract::OK;
use crate::query::page;
use crate::{Creator, Error, HistoryIter, Page, Result, StateIter};

/// Replaces an empty start of a range: it comes after all composite keys and before all others.
const FIRST_SIMPLE_KEY: &str = "\u{1}";
/// The name under which a key's own endorsement policy is kept.
const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";
/// The status from which on an answer is an error: such a transaction is not endorsed.
const ERROR_THRESHOLD: i32 = 400;

/// A moment, as the proposer of the transaction stated it. The same on every peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds of the second.
    pub nanos: i32,
}

/// What a proposal says besides its arguments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proposal {
    pub(crate) signed: Option<protos::SignedProposal>,
    pub(crate) creator: Bytes,
    pub(crate) timestamp: Timestamp,
    pub(crate) transient: BTreeMap<String, Bytes>,
}

impl Proposal {
    /// Reads a signed proposal; a call without one has no creator.
    pub(crate) fn parse(signed: Option<protos::SignedProposal>) -> std::result::Result<Self, prost::DecodeError> {
        let Some(signed) = signed else { return Ok(Self::default()) };
        let proposal = protos::Proposal::decode(signed.proposal_bytes.clone())?;
        let header = common::Header::decode(proposal.header)?;
        let channel_header = common::ChannelHeader::decode(header.channel_header)?;
        let signature_header = common::SignatureHeader::decode(header.signature_header)?;
        let payload = protos::ChaincodeProposalPayload::decode(proposal.payload)?;
        let timestamp = channel_header.timestamp.unwrap_or_default();
        Ok(Self {
            signed: Some(signed),
            creator: signature_header.creator,
            timestamp: Timestamp { seconds: timestamp.seconds, nanos: timestamp.nanos },
            transient: payload.transient_map,
        })
    }
}

/// One transaction: its arguments, who proposed it, and the state it works on.
///
/// Reads see the committed state of the moment the transaction began; writes take effect when the transaction commits.
pub struct Context {
    channel_id: String,
    tx_id: String,
    arguments: Vec<Bytes>,
    proposal: Proposal,
    backend: RefCell<Box<dyn Backend>>,
    writes: RefCell<Vec<protos::WriteRecord>>,
    event: RefCell<Option<protos::ChaincodeEvent>>,
    status: RefCell<Option<(i32, String)>>,
}

impl Context {
    pub(crate) fn new(
        channel_id: String,
        tx_id: String,
        arguments: Vec<Bytes>,
        proposal: Proposal,
        backend: Box<dyn Backend>,
    ) -> Self {
        Self {
            channel_id,
            tx_id,
            arguments,
            proposal,
            backend: RefCell::new(backend),
            writes: RefCell::default(),
            event: RefCell::default(),
            status: RefCell::default(),
        }
    }

    /// The channel; empty for a call outside of any.
    pub fn channel_id(&self) -> &str {
        &self.channel_id
    }

    /// The transaction.
    pub fn tx_id(&self) -> &str {
        &self.tx_id
    }

    /// All arguments as they came, the function's name first.
    pub fn arguments(&self) -> &[Bytes] {
        &self.arguments
    }

    /// When the proposer says it was proposed. Use this instead of a clock.
    pub fn timestamp(&self) -> Timestamp {
        self.proposal.timestamp
    }

    /// Who proposed the transaction.
    pub fn creator(&self) -> Result<Creator> {
        Ok(Creator::parse(self.proposal.creator.clone())?)
    }

    /// Data that came with the proposal and is not recorded in the transaction.
    pub fn transient(&self, name: &str) -> Option<&Bytes> {
        self.proposal.transient.get(name)
    }

    /// The proposal as its creator signed it: bytes and signature. None for a call without one.
    pub fn signed_proposal(&self) -> Option<(Bytes, Bytes)> {
        self.proposal.signed.as_ref().map(|signed| (signed.proposal_bytes.clone(), signed.signature.clone()))
    }

    /// The committed value of a key.
    pub fn get(&self, key: &str) -> Result<Option<Bytes>> {
        present(self.backend.borrow_mut().get("", key))
    }

    /// The committed value of a key, read as JSON.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        json(key, self.get(key)?)
    }

    /// The committed values of several keys at once, in their order.
    pub fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let values = self.backend.borrow_mut().get_many("", keys)?;
        Ok(values.into_iter().map(|value| Some(value).filter(|value| !value.is_empty())).collect())
    }

    /// Whether a key exists.
    pub fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// Sets a key. An empty value removes it.
    pub fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<()> {
        self.write("", key, value.into(), protos::write_record::Type::PutState)
    }

    /// Sets a key to a value's JSON. Fields keep the order of the struct, so all peers write the same bytes.
    pub fn put_json<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<()> {
        self.put(key, serde_json::to_vec(value)?)
    }

    /// Removes a key.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.write("", key, Bytes::new(), protos::write_record::Type::DelState)
    }

    /// The keys from `start` up to, but without, `end`, in order. Two empty strings mean all; composite keys are never
    /// among them.
    pub fn range(&self, start: &str, end: &str) -> Result<StateIter<'_>> {
        let start = if start.is_empty() { FIRST_SIMPLE_KEY } else { start };
        if start.starts_with('\0') {
            return Err(Error::new(format!(
                "first character of the key [{start:?}] contains a null character which is not allowed"
            )));
        }
        self.open_range("", start, end)
    }

    /// The composite keys that begin with these parts, in order.
    pub fn range_composite(&self, object_type: &str, attributes: &[&str]) -> Result<StateIter<'_>> {
        let (start, end) = composite_range(object_type, attributes)?;
        self.open_range("", &start, &end)
    }

    /// One page of a range. Only for transactions that write nothing. `bookmark` is that of the page before, empty for
    /// the first.
    pub fn range_page(&self, start: &str, end: &str, page_size: i32, bookmark: &str) -> Result<Page> {
        let start_key = if start.is_empty() { FIRST_SIMPLE_KEY } else { start };
        let metadata = protos::QueryMetadata { page_size, bookmark: bookmark.to_owned() }.encode_to_vec().into();
        let range = protos::GetStateByRange {
            start_key: start_key.to_owned(),
            end_key: end.to_owned(),
            collection: String::new(),
            metadata,
        };
        page(self.backend.borrow_mut().range(range)?)
    }

    /// The results of a rich query. Fails where the peer's state database has none.
    pub fn query(&self, query: &str) -> Result<StateIter<'_>> {
        let query = protos::GetQueryResult { query: query.to_owned(), ..Default::default() };
        let first = self.backend.borrow_mut().query(query)?;
        Ok(StateIter::new(self, first))
    }

    /// What became of a key, newest first. Not protected against changes before the transaction commits.
    pub fn history(&self, key: &str) -> Result<HistoryIter<'_>> {
        let first = self.backend.borrow_mut().history(key)?;
        Ok(HistoryIter::new(self, first))
    }

    /// The endorsement policy of a single key: bytes of a `SignaturePolicyEnvelope`.
    pub fn key_policy(&self, key: &str) -> Result<Option<Bytes>> {
        self.policy("", key)
    }

    /// Sets the endorsement policy of a single key: bytes of a `SignaturePolicyEnvelope`.
    pub fn set_key_policy(&self, key: &str, policy: impl Into<Bytes>) -> Result<()> {
        self.set_policy("", key, policy.into())
    }

    /// The value of a private key. Fails where this peer's organization does not belong to the collection, or the peer has
    /// not received the newest value yet; where the collection is for its members only, it fails for other proposers too.
    ///
    /// Private values must not come as arguments of the transaction, which everybody sees: let clients send them as
    /// [`Self::transient`] data.
    pub fn get_private(&self, collection: &str, key: &str) -> Result<Option<Bytes>> {
        present(self.backend.borrow_mut().get(not_empty(collection)?, key))
    }

    /// The value of a private key, read as JSON.
    pub fn get_private_json<T: DeserializeOwned>(&self, collection: &str, key: &str) -> Result<Option<T>> {
        json(key, self.get_private(collection, key)?)
    }

    /// The values of several private keys at once, in their order. A value that this peer does not have counts as none.
    pub fn get_private_many(&self, collection: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let values = self.backend.borrow_mut().get_many(not_empty(collection)?, keys)?;
        Ok(values.into_iter().map(|value| Some(value).filter(|value| !value.is_empty())).collect())
    }

    /// The SHA-256 of a private value. Every peer of the channel knows it and everybody may read it, so a contract can check
    /// here what someone claims to be the value.
    pub fn get_private_hash(&self, collection: &str, key: &str) -> Result<Option<Bytes>> {
        present(self.backend.borrow_mut().private_hash(not_empty(collection)?, key))
    }

    /// Sets a private key. Only hashes of key and value enter the transaction; an empty value removes the key.
    pub fn put_private(&self, collection: &str, key: &str, value: impl Into<Bytes>) -> Result<()> {
        self.write(not_empty(collection)?, key, value.into(), protos::write_record::Type::PutState)
    }

    /// Sets a private key to a value's JSON.
    pub fn put_private_json<T: Serialize + ?Sized>(&self, collection: &str, key: &str, value: &T) -> Result<()> {
        self.put_private(collection, key, serde_json::to_vec(value)?)
    }

    /// Removes a private key. Peers keep its past values beside their ledgers; see [`Self::purge_private`].
    pub fn delete_private(&self, collection: &str, key: &str) -> Result<()> {
        self.write(not_empty(collection)?, key, Bytes::new(), protos::write_record::Type::DelState)
    }

    /// Removes a private key and its past values from all peers, for good. The channel needs the capability `V2_5`.
    pub fn purge_private(&self, collection: &str, key: &str) -> Result<()> {
        self.write(not_empty(collection)?, key, Bytes::new(), protos::write_record::Type::PurgePrivateData)
    }

    /// The private keys of a range. Only for transactions that write nothing: what is found is not checked again before the
    /// transaction commits.
    pub fn range_private(&self, collection: &str, start: &str, end: &str) -> Result<StateIter<'_>> {
        let start = if start.is_empty() { FIRST_SIMPLE_KEY } else { start };
        self.open_range(not_empty(collection)?, start, end)
    }

    /// The private composite keys that begin with these parts, as [`Self::range_private`].
    pub fn range_private_composite(
        &self,
        collection: &str,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<StateIter<'_>> {
        let (start, end) = composite_range(object_type, attributes)?;
        self.open_range(not_empty(collection)?, &start, &end)
    }

    /// The endorsement policy of a single private key: bytes of a `SignaturePolicyEnvelope`.
    pub fn private_key_policy(&self, collection: &str, key: &str) -> Result<Option<Bytes>> {
        self.policy(not_empty(collection)?, key)
    }

    /// Sets the endorsement policy of a single private key: bytes of a `SignaturePolicyEnvelope`.
    pub fn set_private_key_policy(&self, collection: &str, key: &str, policy: impl Into<Bytes>) -> Result<()> {
        self.set_policy(not_empty(collection)?, key, policy.into())
    }

    /// Calls another chaincode and returns its payload. On the same channel (`channel` empty) its reads and writes become
    /// part of this transaction; on another channel it may only read. An answer of status 400 or above is an error.
    pub fn invoke(&self, chaincode: &str, arguments: Vec<Bytes>, channel: &str) -> Result<Bytes> {
        self.flush()?;
        let name = match channel {
            "" => chaincode.to_owned(),
            channel => format!("{chaincode}/{channel}"),
        };
        let response = self.backend.borrow_mut().invoke(&name, arguments)?;
        if response.status >= ERROR_THRESHOLD {
            return Err(Error::new(response.message));
        }
        Ok(response.payload)
    }

    /// Announces an event with the transaction. A transaction has one; the last call counts.
    pub fn set_event(&self, name: &str, payload: impl Into<Bytes>) -> Result<()> {
        if name.is_empty() {
            return Err(Error::new("event name can not be empty string"));
        }
        let event =
            protos::ChaincodeEvent { event_name: name.to_owned(), payload: payload.into(), ..Default::default() };
        self.event.replace(Some(event));
        Ok(())
    }

    /// Announces an event whose payload is JSON.
    pub fn set_event_json<T: Serialize + ?Sized>(&self, name: &str, payload: &T) -> Result<()> {
        self.set_event(name, serde_json::to_vec(payload)?)
    }

    /// Answers with another status than 200 and a message, if the function succeeds. Below 400 a transaction is endorsed and
    /// can be submitted; a failure is an error of the function instead.
    pub fn set_status(&self, status: i32, message: impl Into<String>) -> Result<()> {
        if !(OK..ERROR_THRESHOLD).contains(&status) {
            return Err(Error::new(format!(
                "a successful transaction cannot answer with status {status}; return an error instead"
            )));
        }
        self.status.replace(Some((status, message.into())));
        Ok(())
    }

    pub(crate) fn take_status(&self) -> (i32, String) {
        self.status.take().unwrap_or((OK, String::new()))
    }

    pub(crate) fn take_event(&self) -> Option<protos::ChaincodeEvent> {
        self.event.take()
    }

    /// Sends the writes collected so far.
    pub(crate) fn flush(&self) -> Result<()> {
        let writes = self.writes.take();
        match writes.is_empty() {
            true => Ok(()),
            false => self.backend.borrow_mut().write(writes),
        }
    }

    pub(crate) fn next_results(&self, query: &str) -> Result<protos::QueryResponse> {
        self.backend.borrow_mut().next(query)
    }

    /// Tells the peer that a query is done. Called on drop, so a failure can only be noted; the peer forgets the query at
    /// the end of the transaction anyway.
    pub(crate) fn close_results(&self, query: &str) {
        if let Err(error) = self.backend.borrow_mut().close(query) {
            tracing::debug!("closing a query failed: {error}");
        }
    }

    fn open_range(&self, collection: &str, start: &str, end: &str) -> Result<StateIter<'_>> {
        let range = protos::GetStateByRange {
            start_key: start.to_owned(),
            end_key: end.to_owned(),
            collection: collection.to_owned(),
            metadata: Bytes::new(),
        };
        let first = self.backend.borrow_mut().range(range)?;
        Ok(StateIter::new(self, first))
    }

    fn policy(&self, collection: &str, key: &str) -> Result<Option<Bytes>> {
        let entries = self.backend.borrow_mut().metadata(collection, key)?;
        Ok(entries.into_iter().find(|entry| entry.metakey == VALIDATION_PARAMETER).map(|entry| entry.value))
    }

    fn set_policy(&self, collection: &str, key: &str, policy: Bytes) -> Result<()> {
        let metadata = protos::StateMetadata { metakey: VALIDATION_PARAMETER.to_owned(), value: policy };
        self.record(protos::WriteRecord {
            key: not_empty(key)?.to_owned(),
            collection: collection.to_owned(),
            metadata: Some(metadata),
            r#type: protos::write_record::Type::PutStateMetadata as i32,
            ..Default::default()
        })
    }

    fn write(&self, collection: &str, key: &str, value: Bytes, kind: protos::write_record::Type) -> Result<()> {
        self.record(protos::WriteRecord {
            key: not_empty(key)?.to_owned(),
            value,
            collection: collection.to_owned(),
            metadata: None,
            r#type: kind as i32,
        })
    }

    /// Collects writes: nobody sees them before the end of the transaction, and one message for many is quicker.
    fn record(&self, record: protos::WriteRecord) -> Result<()> {
        let mut writes = self.writes.borrow_mut();
        writes.push(record);
        let full = writes.len() >= self.backend.borrow().write_batch_size();
        drop(writes);
        if full { self.flush() } else { Ok(()) }
    }
}

fn not_empty(name: &str) -> Result<&str> {
    match name {
        "" => Err(Error::new("key and collection must not be an empty string")),
        name => Ok(name),
    }
}

fn json<T: DeserializeOwned>(key: &str, value: Option<Bytes>) -> Result<Option<T>> {
    let parse = |value: Bytes| {
        serde_json::from_slice(&value).map_err(|error| Error::new(format!("the value of {key}: {error}")))
    };
    value.map(parse).transpose()
}

/// The shim protocol does not tell an empty value from none; neither does Fabric's state.
fn present(value: Result<Bytes>) -> Result<Option<Bytes>> {
    Ok(Some(value?).filter(|value| !value.is_empty()))
}
