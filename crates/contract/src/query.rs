use std::collections::VecDeque;
use std::marker::PhantomData;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::{protos, queryresult};
use serde::de::DeserializeOwned;

use crate::context::{Context, Timestamp};
use crate::{Error, Result};

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Bytes,
}

impl KeyValue {
    /// The value, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.value).map_err(|error| Error::new(format!("the value of {}: {error}", self.key)))
    }
}

/// What became of a key in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The transaction.
    pub tx_id: String,
    /// The value it wrote; empty when it removed the key.
    pub value: Bytes,
    /// When the transaction's proposer says it was proposed.
    pub timestamp: Timestamp,
    /// Whether it removed the key.
    pub is_delete: bool,
}

/// One page of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The results.
    pub entries: Vec<KeyValue>,
    /// Where the next page begins; empty on the last one.
    pub bookmark: String,
}

/// Keys and values in key order. Fetches as it goes; dropping it early tells the peer.
pub type StateIter<'a> = Results<'a, KeyValue>;
/// The history of a key, newest first.
pub type HistoryIter<'a> = Results<'a, HistoryEntry>;

/// The results of a query.
pub struct Results<'a, T> {
    context: &'a Context,
    id: String,
    buffered: VecDeque<Bytes>,
    has_more: bool,
    kind: PhantomData<fn() -> T>,
}

/// What a query can give.
pub trait QueryResult: Sized {
    /// Reads one result.
    fn decode(bytes: Bytes) -> Result<Self>;
}

impl QueryResult for KeyValue {
    fn decode(bytes: Bytes) -> Result<Self> {
        let entry = queryresult::Kv::decode(bytes).map_err(undecodable)?;
        Ok(Self { key: entry.key, value: entry.value })
    }
}

impl QueryResult for HistoryEntry {
    fn decode(bytes: Bytes) -> Result<Self> {
        let entry = queryresult::KeyModification::decode(bytes).map_err(undecodable)?;
        let timestamp = entry.timestamp.unwrap_or_default();
        Ok(Self {
            tx_id: entry.tx_id,
            value: entry.value,
            timestamp: Timestamp { seconds: timestamp.seconds, nanos: timestamp.nanos },
            is_delete: entry.is_delete,
        })
    }
}

fn undecodable(error: prost::DecodeError) -> Error {
    Error::new(format!("the peer's query result does not decode: {error}"))
}

impl<'a, T: QueryResult> Results<'a, T> {
    pub(crate) fn new(context: &'a Context, first: protos::QueryResponse) -> Self {
        Self {
            context,
            id: first.id,
            buffered: first.results.into_iter().map(|result| result.result_bytes).collect(),
            has_more: first.has_more,
            kind: PhantomData,
        }
    }
}

impl<T: QueryResult> Iterator for Results<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.buffered.is_empty() && self.has_more {
            match self.context.next_results(&self.id) {
                Ok(response) => {
                    self.buffered.extend(response.results.into_iter().map(|result| result.result_bytes));
                    self.has_more = response.has_more;
                }
                Err(error) => {
                    self.has_more = false;
                    return Some(Err(error));
                }
            }
        }
        self.buffered.pop_front().map(T::decode)
    }
}

impl<T> Drop for Results<'_, T> {
    fn drop(&mut self) {
        if self.has_more {
            self.context.close_results(&self.id);
        }
    }
}

/// Turns a paginated answer into a page.
pub(crate) fn page(response: protos::QueryResponse) -> Result<Page> {
    let metadata = protos::QueryResponseMetadata::decode(response.metadata).map_err(undecodable)?;
    let entries =
        response.results.into_iter().map(|result| KeyValue::decode(result.result_bytes)).collect::<Result<_>>()?;
    Ok(Page { entries, bookmark: metadata.bookmark })
}
