//! Runs chaincode.
//!
//! What question this crate answers: *what does this chaincode do when called with these arguments on this state?*
//! [`ChaincodeHost::execute`] finds out which code stands behind a name (`lifecycle`), sees that it runs, calls it over the
//! shim protocol, answers its requests from a simulation, and hands back the answer with everything that was read and
//! written. It is step 3 of the journey, called by the endorser.
//!
//! User chaincode is a separate process, reached by a bidirectional stream of `ChaincodeMessage`: this peer dials it
//! (chaincode as a service), or this peer starts it and it dials the peer ([`ChaincodeHost::registration_service`]). How a
//! package becomes a process is a matter of `chaincode-builder`. The system chaincodes `_lifecycle`, `cscc` and `qscc` are
//! functions in this process; they check access themselves.
//!
//! Invariants: a transaction has one simulation, shared by all chaincodes it calls on its channel; calls to other channels
//! read a simulation of their own that is thrown away. When the caller gives up, or a stream dies, the simulation is taken
//! back at once: late requests of the chaincode find none. Which package runs a name is read from the state each time.
//! A process that this peer started lives as long as its stream and as some definition needs it; under TLS it can only
//! register with the certificate that was made for it. What a chaincode does wrong (ending again and again, never
//! answering, sending what nobody waits for, writing without end) costs its own calls and nobody else's.
//!
//! Absent: rich queries, the legacy `lscc`, signing (the endorser's).

mod announce;
mod authority;
mod call;
mod connection;
mod custody;
mod error;
mod host;
mod interest;
mod launch;
mod metrics;
mod outbound;
mod pauses;
mod protocol;
mod query;
mod registry;
mod requests;
mod resolve;
mod service;
mod store;
mod supervise;
mod system;

pub use announce::keep_announced;
pub use authority::{ChaincodeAuthority, IssueError};
pub use error::{BuildError, ExecuteError, InvalidInvocation, InvokeError, LaunchError, ResolveError, SendError};
pub use host::{ChaincodeHost, Execution, HostOptions, Invocation, JoinChannel, NodeParts, Registration};
pub use service::RegistrationService;
pub use store::{InstalledPackage, PackageStore, StoreError};

/// The version that system chaincodes state.
pub const SYSTEM_VERSION: &str = "syscc";

/// Whether a name is one of the chaincodes that are part of the peer. They check access themselves.
pub fn is_system_chaincode(name: &str) -> bool {
    matches!(name, ripstop_lifecycle::NAMESPACE | "cscc" | "qscc" | "lscc")
}
