//! Smart contracts in Rust.
//!
//! What question this crate answers: *how does a Rust function become a transaction?* A [`Contract`] is a list of named
//! functions with typed arguments; it is served over Fabric's ordinary shim protocol, so any Fabric peer can run it and
//! any Fabric client can call it.
//!
//! ```no_run
//! use ripstop_contract::{Context, Contract, Result};
//!
//! fn set(ctx: &Context, key: String, value: u64) -> Result<()> {
//!     ctx.put_json(&key, &value)
//! }
//!
//! fn get(ctx: &Context, key: String) -> Result<Option<u64>> {
//!     ctx.get_json(&key)
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     ripstop_contract::run(Contract::new("counters").function("Set", set).function("Get", get))
//! }
//! ```
//!
//! Arguments are what clients of Fabric's contract API send: strings as they are, numbers and booleans as text, everything
//! else as JSON. Results go back the same way. An `Err` becomes a response of status 500 with the error as message.
//!
//! Functions are ordinary blocking functions, one thread a transaction; many run at once. They must be deterministic: the
//! same arguments and the same state give the same reads, writes and result on every peer. So no clocks, no randomness,
//! no iteration over a `HashMap`. Reads see the committed state, never the transaction's own writes.
//!
//! [`run`] lets the environment decide whether the contract is a service that the peer dials (`CHAINCODE_SERVER_ADDRESS`)
//! or dials the peer (`CORE_PEER_ADDRESS`); [`Server`] and [`dial`] do one of the two. [`Memory`] runs a contract without
//! any network, for its unit tests.
//!
//! Absent: rich queries (state databases here have none), any state between transactions.

mod arguments;
mod backend;
mod composite;
mod context;
mod contract;
mod creator;
mod memory;
mod query;
mod serve;
mod session;

pub use composite::{composite_key, split_composite_key};
pub use context::{Context, Timestamp};
pub use contract::{Contract, Function};
pub use creator::{Creator, CreatorError};
pub use memory::{Memory, MemoryEvent};
pub use query::{HistoryEntry, HistoryIter, KeyValue, Page, QueryResult, Results, StateIter};
pub use serve::{RunError, Server, ServerTlsFiles, dial, run, serve, serve_environment};
pub use session::SessionError;

/// What a contract function returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a transaction fails. The text becomes the message of the response (status 500), so say what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
}

impl Error {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<CreatorError> for Error {
    fn from(error: CreatorError) -> Self {
        Self::new(error.to_string())
    }
}
