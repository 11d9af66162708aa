//! What a transaction asks of whoever runs it: a peer, or memory.

use bytes::Bytes;
use ripstop_proto::protos;

use crate::Result;

/// Where a transaction's requests go. One transaction, one request at a time.
pub(crate) trait Backend: Send {
    /// The committed value of a key; empty when there is none.
    fn get(&mut self, collection: &str, key: &str) -> Result<Bytes>;

    /// The committed values of several keys, in their order; empty where there is none.
    fn get_many(&mut self, collection: &str, keys: &[String]) -> Result<Vec<Bytes>>;

    /// The hash of a private value; empty when there is none.
    fn private_hash(&mut self, collection: &str, key: &str) -> Result<Bytes>;

    /// Applies writes in their order. May be called with more than a peer takes at once.
    fn write(&mut self, records: Vec<protos::WriteRecord>) -> Result<()>;

    /// All metadata of a key.
    fn metadata(&mut self, collection: &str, key: &str) -> Result<Vec<protos::StateMetadata>>;

    /// The first results of a range.
    fn range(&mut self, range: protos::GetStateByRange) -> Result<protos::QueryResponse>;

    /// The first results of a rich query.
    fn query(&mut self, query: protos::GetQueryResult) -> Result<protos::QueryResponse>;

    /// The first entries of a key's history.
    fn history(&mut self, key: &str) -> Result<protos::QueryResponse>;

    /// The next results of an open query.
    fn next(&mut self, query: &str) -> Result<protos::QueryResponse>;

    /// Forgets an open query.
    fn close(&mut self, query: &str) -> Result<()>;

    /// Calls another chaincode, named `name` or `name/channel`.
    fn invoke(&mut self, chaincode: &str, arguments: Vec<Bytes>) -> Result<protos::Response>;

    /// How many writes are worth collecting before they are sent.
    fn write_batch_size(&self) -> usize;
}
