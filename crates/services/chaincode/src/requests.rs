//! Answers the requests of a running transaction from its simulation.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{LedgerError, SimulateError, Simulator};
use ripstop_proto::protos::{self, chaincode_message::Type, write_record};

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
    #[error(
        "private data is not supported by this peer yet: chaincode {namespace} cannot use collection {collection} here"
    )]
    Private { namespace: String, collection: String },
    #[error("query iterator not found")]
    UnknownQuery,
    #[error("a transaction may have at most {0} queries open at once; close some")]
    TooManyQueries(usize),
    #[error("the page size {0} is negative")]
    PageSize(i32),
    #[error("unknown operation type")]
    UnknownWrite,
    #[error("the request has no {0}")]
    Lacks(&'static str),
    #[error("the request {0} is not for the ledger")]
    NotAState(&'static str),
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
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
            request.refuse_private(&get.collection)
        }
        Type::PurgePrivateData => {
            let purge = protos::DelState::decode(payload)?;
            request.purge(&purge.collection)
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
    fn namespace(&self) -> &str {
        &self.transaction.namespace
    }

    fn get(&mut self, get: protos::GetState) -> Result<Bytes, RequestError> {
        self.public_only(&get.collection)?;
        Ok(self.simulator.get(&self.transaction.namespace, &get.key)?.unwrap_or_default())
    }

    fn get_many(&mut self, get: protos::GetStateMultiple) -> Result<Bytes, RequestError> {
        self.public_only(&get.collection)?;
        let values = self.simulator.get_many(&self.transaction.namespace, &get.keys)?;
        let values = values.into_iter().map(Option::unwrap_or_default).collect();
        Ok(protos::GetStateMultipleResult { values }.encode_to_vec().into())
    }

    fn put(&mut self, collection: &str, key: &str, value: Bytes) -> Result<Bytes, RequestError> {
        self.public_only(collection)?;
        self.simulator.put(&self.transaction.namespace, key, value)?;
        Ok(Bytes::new())
    }

    fn delete(&mut self, collection: &str, key: &str) -> Result<Bytes, RequestError> {
        self.public_only(collection)?;
        self.simulator.delete(&self.transaction.namespace, key)?;
        Ok(Bytes::new())
    }

    fn purge(&self, collection: &str) -> Result<Bytes, RequestError> {
        match collection {
            "" => Err(RequestError::OnlyPrivate),
            collection => self.refuse_private(collection),
        }
    }

    fn write(&mut self, record: protos::WriteRecord) -> Result<Bytes, RequestError> {
        match record.r#type() {
            write_record::Type::PutState => self.put(&record.collection, &record.key, record.value),
            write_record::Type::DelState => self.delete(&record.collection, &record.key),
            write_record::Type::PutStateMetadata => {
                self.put_metadata(&record.collection, &record.key, Some(record.metadata.unwrap_or_default()))
            }
            write_record::Type::PurgePrivateData => self.purge(&record.collection),
            write_record::Type::Undefined => Err(RequestError::UnknownWrite),
        }
    }

    fn get_metadata(&mut self, get: protos::GetStateMetadata) -> Result<Bytes, RequestError> {
        self.public_only(&get.collection)?;
        let metadata = self.simulator.get_metadata(&self.transaction.namespace, &get.key)?;
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
        self.public_only(collection)?;
        let entry = metadata.ok_or(RequestError::Lacks("metadata"))?;
        let entries = BTreeMap::from([(entry.metakey, entry.value)]);
        self.simulator.put_metadata(&self.transaction.namespace, key, entries)?;
        Ok(Bytes::new())
    }

    fn range(&mut self, range: protos::GetStateByRange) -> Result<Bytes, RequestError> {
        let metadata = protos::QueryMetadata::decode(range.metadata)?;
        self.public_only(&range.collection)?;
        let namespace = &self.transaction.namespace;
        let is_page = metadata.page_size != 0 || !metadata.bookmark.is_empty();
        let (source, paging, limit) = if is_page {
            let size = u32::try_from(metadata.page_size).map_err(|_| RequestError::PageSize(metadata.page_size))?;
            let start = if metadata.bookmark.is_empty() { &range.start_key } else { &metadata.bookmark };
            let page = self.simulator.range_page(namespace, start, &range.end_key, size)?;
            let limit = match usize::try_from(size) {
                Ok(size) if size > 0 => size.min(self.limit),
                _ => self.limit,
            };
            (page, Paging::Page, limit)
        } else {
            (self.simulator.range(namespace, &range.start_key, &range.end_key)?, Paging::Batches, self.limit)
        };
        let response = self.queries.open(self.simulator, Source::Range(source), paging, limit)?;
        Ok(response.encode_to_vec().into())
    }

    fn rich_query(&self, query: protos::GetQueryResult) -> Result<Bytes, RequestError> {
        self.public_only(&query.collection)?;
        Err(SimulateError::RichQuery.into())
    }

    fn history(&mut self, history: protos::GetHistoryForKey) -> Result<Bytes, RequestError> {
        let ledger = self.transaction.call.ledger.as_ref().ok_or(RequestError::NoContext)?;
        let changes = ledger.history(&self.transaction.namespace, &history.key)?;
        let source = Source::History(Box::new(changes));
        let response = self.queries.open(self.simulator, source, Paging::Batches, self.limit)?;
        Ok(response.encode_to_vec().into())
    }

    fn public_only(&self, collection: &str) -> Result<(), RequestError> {
        match collection {
            "" => Ok(()),
            collection => self.refuse_private(collection).map(drop),
        }
    }

    fn refuse_private(&self, collection: &str) -> Result<Bytes, RequestError> {
        if self.transaction.is_init {
            return Err(RequestError::PrivateInInit);
        }
        Err(RequestError::Private { namespace: self.namespace().to_owned(), collection: collection.to_owned() })
    }
}
