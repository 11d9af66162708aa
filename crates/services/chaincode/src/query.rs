//! Queries that a transaction has open, answered in batches.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{History, RangeId, Simulator};
use ripstop_proto::{protos, queryresult};

use crate::requests::RequestError;

/// Results in one message; one more is read ahead, to know whether any are left.
const BATCH: usize = 100;
/// Queries that one transaction may have open at once.
const MAX_OPEN: usize = 1000;

/// Where results come from.
pub(crate) enum Source {
    /// Keys of a range.
    Range(RangeId),
    /// The history of a key.
    History(Box<History>),
}

/// How a query is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paging {
    /// In batches, until the end.
    Batches,
    /// One page, with a bookmark.
    Page,
}

struct Open {
    source: Source,
    /// Read, but not yet handed out.
    pending: Vec<protos::QueryResultBytes>,
    returned: usize,
}

/// The open queries of one transaction.
#[derive(Default)]
pub(crate) struct OpenQueries {
    open: BTreeMap<String, Open>,
    opened: u64,
}

impl OpenQueries {
    /// Opens a query and gives its first results. At most `limit` results are given altogether; then it ends silently.
    pub(crate) fn open(
        &mut self,
        simulator: &mut Simulator,
        source: Source,
        paging: Paging,
        limit: usize,
    ) -> Result<protos::QueryResponse, RequestError> {
        if self.open.len() >= MAX_OPEN {
            close(simulator, &source);
            return Err(RequestError::TooManyQueries(MAX_OPEN));
        }
        self.opened += 1;
        let id = self.opened.to_string();
        self.open.insert(id.clone(), Open { source, pending: Vec::new(), returned: 0 });
        self.answer(simulator, &id, paging, limit)
    }

    /// The next results of an open query.
    pub(crate) fn next(
        &mut self,
        simulator: &mut Simulator,
        id: &str,
        limit: usize,
    ) -> Result<protos::QueryResponse, RequestError> {
        self.answer(simulator, id, Paging::Batches, limit)
    }

    /// Ends a query; an unknown one is ended already.
    pub(crate) fn close(&mut self, simulator: &mut Simulator, id: &str) {
        if let Some(query) = self.open.remove(id) {
            close(simulator, &query.source);
        }
    }

    fn answer(
        &mut self,
        simulator: &mut Simulator,
        id: &str,
        paging: Paging,
        limit: usize,
    ) -> Result<protos::QueryResponse, RequestError> {
        // A query that fails or ends is forgotten; one with more to give is put back.
        let mut query = self.open.remove(id).ok_or(RequestError::UnknownQuery)?;
        loop {
            // At the limit nothing more is read: reading the end would make it part of the read set.
            if query.returned >= limit {
                return finish(simulator, id, query, paging);
            }
            let Some(result) = read(simulator, &mut query.source)? else {
                return finish(simulator, id, query, paging);
            };
            query.returned += 1;
            let result = protos::QueryResultBytes { result_bytes: result };
            if paging == Paging::Batches && query.pending.len() == BATCH {
                let results = std::mem::replace(&mut query.pending, vec![result]);
                self.open.insert(id.to_owned(), query);
                return Ok(protos::QueryResponse {
                    results,
                    has_more: true,
                    id: id.to_owned(),
                    metadata: Bytes::new(),
                });
            }
            query.pending.push(result);
        }
    }
}

fn finish(
    simulator: &mut Simulator,
    id: &str,
    query: Open,
    paging: Paging,
) -> Result<protos::QueryResponse, RequestError> {
    let metadata = match (paging, &query.source) {
        (Paging::Page, Source::Range(range)) => {
            let metadata = protos::QueryResponseMetadata {
                fetched_records_count: i32::try_from(query.returned).unwrap_or(i32::MAX),
                bookmark: simulator.bookmark(*range)?,
            };
            metadata.encode_to_vec().into()
        }
        _ => {
            close(simulator, &query.source);
            Bytes::new()
        }
    };
    Ok(protos::QueryResponse { results: query.pending, has_more: false, id: id.to_owned(), metadata })
}

fn read(simulator: &mut Simulator, source: &mut Source) -> Result<Option<Bytes>, RequestError> {
    let result = match source {
        Source::Range(range) => simulator.next(*range)?.map(|found| {
            queryresult::Kv { namespace: found.namespace, key: found.key, value: found.value }.encode_to_vec()
        }),
        Source::History(history) => history.next().transpose()?.map(|change| {
            let timestamp = change
                .timestamp
                .map(|timestamp| prost_types::Timestamp { seconds: timestamp.seconds, nanos: timestamp.nanos });
            queryresult::KeyModification {
                tx_id: change.tx_id.to_string(),
                value: change.value,
                timestamp,
                is_delete: change.is_delete,
            }
            .encode_to_vec()
        }),
    };
    Ok(result.map(Bytes::from))
}

fn close(simulator: &mut Simulator, source: &Source) {
    if let Source::Range(range) = source {
        simulator.close(*range);
    }
}
