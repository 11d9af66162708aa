//! Answers the requests of a running transaction from its simulation.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use prost::Message;
use ripstop_channel_config::ApplicationConfig;
use ripstop_ledger::{LedgerError, SimulateError, Simulator};
use ripstop_lifecycle::{CollectionRights, MembershipError};
use ripstop_proto::protos::{self, chaincode_message::Type, write_record};
use ripstop_transport::MAX_MESSAGE_SIZE;

use crate::connection::Transaction;
use crate::query::{OpenQueries, Paging, Source};

/// Why a request fails. Chaincode sees the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("unmarshal failed: {0}")]
    Unmarshal(#[from] prost::DecodeError),
    #[error("no ledger context")]
    NoContext,
    #[error("private data APIs are not allowed in chaincode Init()")]
    PrivateInInit,
    #[error("only applicable for private data")]
    OnlyPrivate,
    #[error("purge private data is not enabled, channel application capability of V2_5 or later is required")]
    NoPurge,
    #[error("collection {channel}/{namespace}/{collection} could not be found")]
    NoCollection { channel: String, namespace: String, collection: String },
    #[error(
        "error setting up collection for collection criteria privdata.CollectionCriteria{{Channel:\"{channel}\", Collection:\"{collection}\", Namespace:\"{namespace}\"}}: {cause}"
    )]
    Members { channel: String, namespace: String, collection: String, cause: MembershipError },
    #[error(
        "tx creator does not have {right} access permission on privatedata in chaincodeName:{namespace} collectionName: {collection}"
    )]
    Denied { right: Right, namespace: String, collection: String },
    #[error("query iterator not found")]
    UnknownQuery,
    #[error("a transaction may have at most {0} queries open at once; close some")]
    TooManyQueries(usize),
    #[error("the page size {0} is negative")]
    PageSize(i32),
    #[error("unknown operation type")]
    UnknownWrite,
    #[error("a transaction may write at most {MAX_WRITTEN} bytes: a larger one could not be sent to an orderer")]
    TooMuchWritten,
    #[error("the request has no {0}")]
    Lacks(&'static str),
    #[error("the request {0} is not for the ledger")]
    NotAState(&'static str),
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a chaincode does to private data on behalf of the creator of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Read,
    Write,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// How much one transaction may ask to be written, in bytes.
const MAX_WRITTEN: usize = MAX_MESSAGE_SIZE;

/// Whether a request writes.
fn writes(kind: Type) -> bool {
    matches!(
        kind,
        Type::PutState | Type::DelState | Type::PutStateMetadata | Type::WriteBatchState | Type::PurgePrivateData
    )
}

/// Whether a request may read much, so that it should not hold up others.
pub(crate) fn is_long(kind: Type) -> bool {
    matches!(kind, Type::GetStateByRange | Type::GetHistoryForKey | Type::QueryStateNext)
}

/// Answers one request for the ledger: the payload of the response. `limit` bounds the results of a query.
pub(crate) fn answer(
    kind: Type,
    payload: Bytes,
    transaction: &Transaction,
    limit: usize,
) -> Result<Bytes, RequestError> {
    if writes(kind) && transaction.written.fetch_add(payload.len(), Ordering::Relaxed) + payload.len() > MAX_WRITTEN {
        return Err(RequestError::TooMuchWritten);
    }
    let mut guard = transaction.call.simulator();
    let simulator = guard.as_mut().ok_or(RequestError::NoContext)?;
    let mut queries = transaction.queries.lock();
    let mut request = Request { transaction, simulator, queries: &mut queries, limit };
    match kind {
        Type::GetState => request.get(protos::GetState::decode(payload)?),
        Type::GetStateMultiple => request.get_many(protos::GetStateMultiple::decode(payload)?),
        Type::PutState => {
            let put = protos::PutState::decode(payload)?;
            request.put(&put.collection, &put.key, put.value)
        }
        Type::DelState => {
            let delete = protos::DelState::decode(payload)?;
            request.delete(&delete.collection, &delete.key)
        }
        Type::WriteBatchState => {
            let batch = protos::WriteBatchState::decode(payload)?;
            batch.rec.into_iter().try_for_each(|record| request.write(record).map(drop)).map(|()| Bytes::new())
        }
        Type::GetStateMetadata => request.get_metadata(protos::GetStateMetadata::decode(payload)?),
        Type::PutStateMetadata => {
            let put = protos::PutStateMetadata::decode(payload)?;
            request.put_metadata(&put.collection, &put.key, put.metadata)
        }
        Type::GetStateByRange => request.range(protos::GetStateByRange::decode(payload)?),
        Type::GetQueryResult => request.rich_query(protos::GetQueryResult::decode(payload)?),
        Type::GetHistoryForKey => request.history(protos::GetHistoryForKey::decode(payload)?),
        Type::QueryStateNext => {
            let next = protos::QueryStateNext::decode(payload)?;
            let response = request.queries.next(request.simulator, &next.id, limit)?;
            Ok(response.encode_to_vec().into())
        }
        Type::QueryStateClose => {
            let close = protos::QueryStateClose::decode(payload)?;
            request.queries.close(request.simulator, &close.id);
            Ok(protos::QueryResponse { id: close.id, ..Default::default() }.encode_to_vec().into())
        }
        Type::GetPrivateDataHash => {
            let get = protos::GetState::decode(payload)?;
            request.private_hash(&get.collection, &get.key)
        }
        Type::PurgePrivateData => {
            let purge = protos::DelState::decode(payload)?;
            request.purge(&purge.collection, &purge.key)
        }
        other => Err(RequestError::NotAState(other.as_str_name())),
    }
}

struct Request<'a> {
    transaction: &'a Transaction,
    simulator: &'a mut Simulator,
    queries: &'a mut OpenQueries,
    limit: usize,
}

impl Request<'_> {
    fn get(&mut self, get: protos::GetState) -> Result<Bytes, RequestError> {
        let namespace = &self.transaction.namespace;
        let value = match get.collection.as_str() {
            "" => self.simulator.get(namespace, &get.key)?,
            collection => {
                self.demand(Right::Read, collection)?;
                self.simulator.get_private(namespace, collection, &get.key)?
            }
        };
        Ok(value.unwrap_or_default())
    }

    fn get_many(&mut self, get: protos::GetStateMultiple) -> Result<Bytes, RequestError> {
        let namespace = &self.transaction.namespace;
        let values = match get.collection.as_str() {
            "" => self.simulator.get_many(namespace, &get.keys)?,
            collection => {
                self.demand(Right::Read, collection)?;
                self.simulator.get_private_many(namespace, collection, &get.keys)?
            }
        };
        let values = values.into_iter().map(Option::unwrap_or_default).collect();
        Ok(protos::GetStateMultipleResult { values }.encode_to_vec().into())
    }

    /// The hash of a private value is no secret: anybody may read it.
    fn private_hash(&mut self, collection: &str, key: &str) -> Result<Bytes, RequestError> {
        self.no_init()?;
        let hash = self.simulator.get_private_hash(&self.transaction.namespace, collection, key)?;
        Ok(hash.unwrap_or_default())
    }

    fn put(&mut self, collection: &str, key: &str, value: Bytes) -> Result<Bytes, RequestError> {
        let namespace = &self.transaction.namespace;
        match collection {
            "" => self.simulator.put(namespace, key, value)?,
            collection => {
                self.demand(Right::Write, collection)?;
                self.simulator.put_private(namespace, collection, key, value)?;
            }
        }
        Ok(Bytes::new())
    }

    fn delete(&mut self, collection: &str, key: &str) -> Result<Bytes, RequestError> {
        self.put(collection, key, Bytes::new())
    }

    fn purge(&mut self, collection: &str, key: &str) -> Result<Bytes, RequestError> {
        let config = self.transaction.call.ledger.as_ref().ok_or(RequestError::NoContext)?.config();
        let can_purge = |application: &ApplicationConfig| application.capabilities.purge_private_data();
        if !config.application().is_some_and(can_purge) {
            return Err(RequestError::NoPurge);
        }
        if collection.is_empty() {
            return Err(RequestError::OnlyPrivate);
        }
        self.demand(Right::Write, collection)?;
        self.simulator.purge_private(&self.transaction.namespace, collection, key)?;
        Ok(Bytes::new())
    }

    fn write(&mut self, record: protos::WriteRecord) -> Result<Bytes, RequestError> {
        match record.r#type() {
            write_record::Type::PutState => self.put(&record.collection, &record.key, record.value),
            write_record::Type::DelState => self.delete(&record.collection, &record.key),
            write_record::Type::PutStateMetadata => {
                self.put_metadata(&record.collection, &record.key, Some(record.metadata.unwrap_or_default()))
            }
            write_record::Type::PurgePrivateData => self.purge(&record.collection, &record.key),
            write_record::Type::Undefined => Err(RequestError::UnknownWrite),
        }
    }

    fn get_metadata(&mut self, get: protos::GetStateMetadata) -> Result<Bytes, RequestError> {
        let namespace = &self.transaction.namespace;
        let metadata = match get.collection.as_str() {
            "" => self.simulator.get_metadata(namespace, &get.key)?,
            collection => {
                self.demand(Right::Read, collection)?;
                self.simulator.get_private_metadata(namespace, collection, &get.key)?
            }
        };
        let entries = metadata.into_iter().map(|(metakey, value)| protos::StateMetadata { metakey, value }).collect();
        Ok(protos::StateMetadataResult { entries }.encode_to_vec().into())
    }

    /// Replaces all metadata of a key by one entry, as Fabric does.
    fn put_metadata(
        &mut self,
        collection: &str,
        key: &str,
        metadata: Option<protos::StateMetadata>,
    ) -> Result<Bytes, RequestError> {
        let namespace = &self.transaction.namespace;
        let entry = metadata.ok_or(RequestError::Lacks("metadata"))?;
        let entries = BTreeMap::from([(entry.metakey, entry.value)]);
        match collection {
            "" => self.simulator.put_metadata(namespace, key, entries)?,
            collection => {
                self.demand(Right::Write, collection)?;
                self.simulator.put_private_metadata(namespace, collection, key, entries)?;
            }
        }
        Ok(Bytes::new())
    }

    fn range(&mut self, range: protos::GetStateByRange) -> Result<Bytes, RequestError> {
        let metadata = protos::QueryMetadata::decode(range.metadata)?;
        let (namespace, collection) = (&self.transaction.namespace, range.collection.as_str());
        // A page's size bounds private ranges too, which otherwise know no pages.
        let limit = match usize::try_from(metadata.page_size) {
            Ok(size) if size > 0 => size.min(self.limit),
            _ => self.limit,
        };
        let is_page = metadata.page_size != 0 || !metadata.bookmark.is_empty();
        let (source, paging) = if !collection.is_empty() {
            self.demand(Right::Read, collection)?;
            let results = self.simulator.private_range(namespace, collection, &range.start_key, &range.end_key)?;
            (results, Paging::Batches)
        } else if is_page {
            let size = u32::try_from(metadata.page_size).map_err(|_| RequestError::PageSize(metadata.page_size))?;
            let start = if metadata.bookmark.is_empty() { &range.start_key } else { &metadata.bookmark };
            (self.simulator.range_page(namespace, start, &range.end_key, size)?, Paging::Page)
        } else {
            (self.simulator.range(namespace, &range.start_key, &range.end_key)?, Paging::Batches)
        };
        let response = self.queries.open(self.simulator, Source::Range(source), paging, limit)?;
        Ok(response.encode_to_vec().into())
    }

    fn rich_query(&mut self, query: protos::GetQueryResult) -> Result<Bytes, RequestError> {
        match query.collection.as_str() {
            "" => Err(SimulateError::RichQuery.into()),
            collection => {
                self.demand(Right::Read, collection)?;
                Err(self.simulator.private_query(&self.transaction.namespace, collection).into())
            }
        }
    }

    fn history(&mut self, history: protos::GetHistoryForKey) -> Result<Bytes, RequestError> {
        let ledger = self.transaction.call.ledger.as_ref().ok_or(RequestError::NoContext)?;
        let changes = ledger.history(&self.transaction.namespace, &history.key)?;
        let source = Source::History(Box::new(changes));
        let response = self.queries.open(self.simulator, source, Paging::Batches, self.limit)?;
        Ok(response.encode_to_vec().into())
    }

    fn no_init(&self) -> Result<(), RequestError> {
        if self.transaction.is_init { Err(RequestError::PrivateInInit) } else { Ok(()) }
    }

    /// Asks whether the creator of the proposal may do this to a collection (`memberOnlyRead`, `memberOnlyWrite`). A chaincode
    /// in its initialization may do nothing.
    fn demand(&mut self, right: Right, collection: &str) -> Result<(), RequestError> {
        self.no_init()?;
        let rights = self.rights(collection)?;
        let is_allowed = match right {
            Right::Read => rights.read,
            Right::Write => rights.write,
        };
        if is_allowed {
            return Ok(());
        }
        let namespace = self.transaction.namespace.clone();
        Err(RequestError::Denied { right, namespace, collection: collection.to_owned() })
    }

    /// Looked up once in a transaction.
    fn rights(&mut self, collection: &str) -> Result<CollectionRights, RequestError> {
        let mut known = self.transaction.rights.lock();
        if let Some(rights) = known.get(collection) {
            return Ok(*rights);
        }
        let (namespace, call) = (&self.transaction.namespace, &self.transaction.call);
        let names = || (call.channel().to_owned(), namespace.clone(), collection.to_owned());
        let config = self.simulator.collection(namespace, collection)?.ok_or_else(|| {
            let (channel, namespace, collection) = names();
            RequestError::NoCollection { channel, namespace, collection }
        })?;
        let channel = call.ledger.as_ref().ok_or(RequestError::NoContext)?.config();
        let rights = CollectionRights::of(&config, &call.signed, channel.msps()).map_err(|cause| {
            let (channel, namespace, collection) = names();
            RequestError::Members { channel, namespace, collection, cause }
        })?;
        known.insert(collection.to_owned(), rights);
        Ok(rights)
    }
}
